"""`colocus codesign`: a phase mask learned together with its decoder."""

import argparse
from collections.abc import Sequence

from experiments.commands import compare
from experiments.commands.arguments import loading

ABOUT = "Learn a phase mask together with its decoder. It is the first arm of CONFIG with learn = true."
GROUP = "learn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus codesign`."""
    compare.add_arm_arguments(parser)
    parser.epilog = "Writes the learned mask as mask.npz and mask.mat too."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Learn, score and print; returns the exit status."""
    loading(arguments)
    from experiments.compare.config import pick_arm

    config = pick_arm(compare.experiment_of(arguments), learn=True, label=arguments.arm)
    where = f"The learned mask: {arguments.out / 'mask.npz'} and {arguments.out / 'mask.mat'}"
    return compare.run(arguments, argv, config, where, save_mask=True)
