"""`colocus link`: blinks of one molecule in consecutive frames merged into one row."""

import argparse
from collections.abc import Sequence

from experiments.commands.arguments import add_file, add_list, config_of, loading, read_list, run_job, wrote

ABOUT = "Merge the localizations of one molecule in consecutive frames."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus link`."""
    add_list(parser)
    add_file(parser, "the merged list to write")
    parser.add_argument("--radius", type=float, required=True, metavar="UM", help="largest lateral distance")
    parser.add_argument("--radius-z", type=float, metavar="UM", help="largest distance in depth (twice the other)")
    parser.add_argument("--gap", type=int, default=0, metavar="N", help="dark frames between (0)")
    parser.epilog = "Positions are weighted by 1 / sigma^2, photons summed; a row keeps its first frame."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Link, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.link import LinkConfig, link

    config = config_of(arguments, LinkConfig, z_radius_um=arguments.radius_z)
    return run_job(
        lambda report: link(read_list(arguments.locs, arguments.out), config, report), arguments.out, end=wrote
    )
