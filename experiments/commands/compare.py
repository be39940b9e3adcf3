"""`colocus compare`: arms of an experiment, one decoder each; a report."""

import argparse
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.commands.arguments import UsageError, add_assignments, add_interruption, loading, time_limit

if TYPE_CHECKING:
    from experiments.compare.config import ExperimentConfig

ABOUT = "Score the masks of CONFIG by decoders, joint fits, or both; report."
GROUP = "learn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus compare`."""
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="a preset or a TOML file")
    text = "train on the scenes of a generator (colocus generate fit); CONFIG may be left out"
    parser.add_argument("--scenes", metavar="RUN", help=text)
    text = "two to four colours, told apart by the decoder: 580,670 or orange,red (run.species)"
    parser.add_argument("--species", metavar="A,B", help=text)
    add_run_arguments(parser)


def add_arm_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that trains one arm of a CONFIG."""
    add_arguments(parser)
    parser.add_argument("--arm", metavar="LABEL", help="another arm of CONFIG")


def add_run_arguments(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add settings, the run's folder (at `default`, or required), and how it is interrupted."""
    add_assignments(parser, "assignments", "settings to change, like run.optimiser.steps=500")
    text = "folder of the run" + (f" ({default})" if default else "")
    place = None if default is None else Path(default)
    parser.add_argument("--out", type=Path, required=default is None, default=place, metavar="DIR", help=text)
    add_interruption(parser, "go on with the unfinished run in DIR", "stop after M minutes, to be resumed")


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Train and score every arm, and print the scores; returns the exit status."""
    loading(arguments)
    return run(arguments, argv, experiment_of(arguments))


def experiment_of(arguments: argparse.Namespace) -> "ExperimentConfig":
    """Read the experiment that the arguments name."""
    from experiments.compare.config import load_experiment

    name, assignments = arguments.config, arguments.assignments
    if name is not None and "=" in name:
        name, assignments = None, [name, *assignments]
    if arguments.species is not None:
        names = [part.strip() for part in arguments.species.split(",") if part.strip()]
        assignments = [*assignments, f"run.species={json.dumps(names)}"]
    if arguments.scenes is not None:
        from experiments.compare.on_scenes import load_on_scenes

        return load_on_scenes(name, arguments.scenes, assignments)
    if name is None:
        raise UsageError(
            f"the following arguments are required: CONFIG (or --scenes); see: colocus {arguments.command} --help"
        )
    return load_experiment(name, assignments)


def run(
    arguments: argparse.Namespace, argv: Sequence[str], config: "ExperimentConfig", *more: str, save_mask: bool = False
) -> int:
    """Run an experiment with its progress on the terminal, print its scores and `more`; returns the exit status."""
    from experiments.compare.run import compare_masks
    from experiments.compare.watch import ArmDisplay
    from training import TimeLimit

    plan = [(arm.label, seed) for seed in config.seeds for arm in config.arms]
    deadline_s = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    try:
        with ArmDisplay(plan, config.run.optimiser.steps) as display:
            found = compare_masks(
                arguments.out,
                config,
                display,
                resume=arguments.resume,
                deadline_s=deadline_s,
                command=shlex.join(["colocus", *argv]),
                save_mask=save_mask,
            )
    except TimeLimit:
        return time_limit(arguments, argv)
    print("\n".join([*found.lines(), "", *more, f"Open {arguments.out / 'report.html'}"]))
    return 0
