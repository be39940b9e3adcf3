"""`colocus config`: the presets, or every key of one."""

import argparse
from collections.abc import Sequence

from experiments.commands.arguments import add_assignments

ABOUT = "List the presets, or print one with every key as TOML."
GROUP = "learn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus config`."""
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="a preset or a TOML file")
    add_assignments(parser, "assignments", "settings to change")


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Print; returns the exit status."""
    from experiments.compare.config import load_experiment
    from experiments.settings import presets, read_toml

    if arguments.config is None:
        names = presets()
        width = max(map(len, names))
        print("\n".join(f"{name:{width}}  {read_toml(name).get('title', '')}".rstrip() for name in names))
        return 0
    from experiments.compare.toml import to_toml

    print(to_toml(load_experiment(arguments.config, arguments.assignments)), end="")
    return 0
