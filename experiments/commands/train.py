"""`colocus train`: a decoder for a mask that stays as it is."""

import argparse
from collections.abc import Sequence

from experiments.commands import compare
from experiments.commands.arguments import loading

ABOUT = "Train a decoder for a mask that stays as it is. It is the first arm of CONFIG that does not learn."
GROUP = "learn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus train`."""
    compare.add_arm_arguments(parser)


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Train, score and print; returns the exit status."""
    loading(arguments)
    from experiments.compare.config import pick_arm

    config = pick_arm(compare.experiment_of(arguments), learn=False, label=arguments.arm)
    return compare.run(arguments, argv, config)
