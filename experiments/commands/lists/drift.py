"""`colocus drift`: a localization list in, the list without the stage's drift out."""

import argparse
from collections.abc import Sequence

from experiments.commands.arguments import add_file, add_list, config_of, loading, run_job

ABOUT = "Take the stage's drift in x, y and z out of a localization list."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus drift`."""
    add_list(parser)
    add_file(parser, "the corrected list to write")
    parser.add_argument("--method", choices=("aim", "rcc"), default="aim", help="intersections or correlation (aim)")
    parser.add_argument("--segment", type=int, metavar="N", help="frames per segment (aim: 100 segments, rcc: 30)")
    parser.add_argument("--search", type=float, default=1.0, metavar="UM", help="largest drift looked for (1)")
    parser.add_argument("--pixel", type=float, metavar="UM", help="pixel, or intersection distance (0.025, aim: 0.02)")
    parser.add_argument("--pixel-z", type=float, metavar="UM", help="the one in depth (twice that)")
    parser.epilog = (
        "Writes FILE_drift.csv (nm per frame), .png and .json beside FILE. Where drift cannot be told, an error says "
        "why and nothing is written; doubts are printed as notes."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Estimate, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.drift import DriftConfig, check_name, drift
    from localization import read

    check_name(arguments.out)
    config = config_of(arguments, DriftConfig)
    return run_job(
        lambda report: drift(read(arguments.locs), config, report),
        arguments.out,
        end=lambda written: [f"wrote {written[0]}, " + ", ".join(path.name for path in written[1:])],
    )
