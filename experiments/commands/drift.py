"""`colocus drift`: a localization list in, the list without the stage's drift out."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus drift`."""
    parser.add_argument("locs", type=Path, metavar="LOCS", help="a localization list")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the corrected list to write")
    parser.add_argument("--method", choices=("aim", "rcc"), default="aim", help="intersections or correlation (aim)")
    parser.add_argument("--segment", type=int, metavar="N", help="frames per segment (aim: 100 segments, rcc: 30)")
    parser.add_argument("--search", type=float, default=1.0, metavar="UM", help="largest drift looked for (1)")
    parser.add_argument("--pixel", type=float, metavar="UM", help="pixel, or intersection distance (0.025, aim: 0.02)")
    parser.add_argument("--pixel-z", type=float, metavar="UM", help="the one in depth (twice that)")
    parser.epilog = (
        "Writes FILE_drift.csv (nm per frame), .png and .json beside FILE. Where drift cannot be told, an error says "
        "why and nothing is written; doubts are printed as notes."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Estimate, print and write; returns the exit status."""
    del argv
    print("colocus drift: loading", file=sys.stderr, flush=True)
    from rich.console import Console

    from experiments.lists.drift import DriftConfig, correct_file
    from localization import read

    config = DriftConfig(
        method=arguments.method,
        segment_frames=arguments.segment,
        search_um=arguments.search,
        pixel_um=arguments.pixel,
        pixel_z_um=arguments.pixel_z,
    )
    with Console(file=sys.stderr, highlight=False).status("reading") as status:
        locs = read(arguments.locs)
        status.update(f"drift of {locs.frame.size} localizations")
        lines = correct_file(locs, config, arguments.out)
    print("\n".join(lines))
    return 0
