"""`colocus register`: two colours' lists in, the second laid onto the first out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_file, config_of, loading, read_list, run_job

ABOUT = "Lay a second colour's localization list onto the first, by common structures or by beads."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus register`."""
    parser.add_argument("first", type=Path, metavar="FIRST", help="the list that stays")
    parser.add_argument("second", type=Path, metavar="SECOND", help="the list that is laid onto it")
    add_file(parser, "the second list, moved")
    text = "lists of beads that both colours show, FIRST's and SECOND's"
    parser.add_argument("--beads", type=Path, nargs=2, metavar="LOCS", help=text)
    kinds = ("shift", "similarity", "affine", "quadratic")
    parser.add_argument("--kind", choices=kinds, default="affine", help="the map (affine)")
    parser.add_argument("--search", type=float, default=2.0, metavar="UM", help="largest shift looked for (2)")
    parser.add_argument("--pixel", type=float, default=10.0, metavar="NM", help="of the overlay (10)")
    parser.epilog = (
        "Without --beads, parts of the second picture are looked for in the first; both colours must show something in "
        "common. Writes beside FILE: FILE_overlay.png (first green, second magenta), FILE_register.png (before, after, "
        "what is left over) and FILE_register.json. Where no map can be trusted, an error says why and nothing is "
        "written. Take out drift first."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Register, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.register import RegisterConfig, TwoColours, check_name, register_colours

    check_name(arguments.out)
    config = config_of(arguments, RegisterConfig)

    def job(report):
        first, second = (read_list(path, arguments.out) for path in (arguments.first, arguments.second))
        beads = None if arguments.beads is None else (read_list(arguments.beads[0]), read_list(arguments.beads[1]))
        return register_colours(TwoColours(first, second, beads), config, report)

    return run_job(
        job, arguments.out, end=lambda written: [f"wrote {written[0]}, " + ", ".join(path.name for path in written[1:])]
    )
