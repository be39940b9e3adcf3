"""`colocus merge`: the parts of a job array into one table."""

import argparse
from collections.abc import Sequence
from pathlib import Path

ABOUT = "Join the shares of a job array into one list. They are what colocus localize --chunk i/n has done."
GROUP = "movies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus merge`."""
    parser.add_argument(
        "out", type=Path, metavar="FILE", help="the table that localize --chunk i/n was given, or FILE.parts"
    )
    parser.epilog = (
        "Checks that every chunk is there, names those that are missing, writes FILE as one process would have, "
        "to the byte, and removes FILE.parts."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Merge and print the table's name; returns the exit status."""
    from experiments.reading.chunks import Parts

    parts = Parts.find(arguments.out)
    rows, tally = parts.merge()
    frames = sum(stop - first for first, stop in parts.job.spans)
    print(f"{rows} localizations in {frames} frames")
    for what, count in sorted(tally.items()):
        print(f"{count} {what}")
    print(parts.out)
    return 0
