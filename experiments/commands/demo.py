"""`colocus demo`: the preset `demo`, a learned mask beside a Tetrapod."""

import argparse
from collections.abc import Sequence

from experiments.commands import compare
from experiments.commands.arguments import loading

ABOUT = "Learn a mask and compare it with a Tetrapod: minutes on two cores. Goes on where it was stopped."
GROUP = "start"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus demo`."""
    compare.add_run_arguments(parser, "runs/demo")
    parser.set_defaults(config="demo", scenes=None, resume=True)


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Learn, compare and print; returns the exit status."""
    loading(arguments)
    return compare.run(arguments, argv, compare.experiment_of(arguments))
