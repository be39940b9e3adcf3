"""`colocus evaluate`: the scores of a run, or of a localization list against the truth."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_assignments, loading, read_list, run, run_job

ABOUT = "Show or repeat a run's scores, or score a list against the truth. KEY=VALUE scores a run again."
GROUP = "movies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus evaluate`."""
    parser.add_argument("run", type=Path, metavar="RUN | LOCS", help="folder of a run, or a localization list")
    add_assignments(parser, "assignments", "RUN: how to score it again")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the scores as JSON (LOCS: and a figure)")
    parser.add_argument("--truth", type=Path, metavar="TRUTH", help="LOCS: the true positions, a list too")
    text = "LOCS: lateral,axial nm, or the radius of a ball (250,500)"
    parser.add_argument("--gate", nargs="+", metavar="GATE", help=text)
    parser.add_argument("--dimensions", choices=("auto", "2", "3"), default="auto", help="LOCS: 2 leaves z out")
    parser.add_argument("--pixel", type=float, metavar="NM", help="LOCS: camera pixel, to test sub-pixel bias")
    parser.epilog = (
        "RUN is the folder of an experiment or of one of its arms; KEYs are those of [score], like score.frames=500. "
        "LOCS is scored at every GATE: Jaccard, RMSE, efficiency, average precision, calibration of its "
        "uncertainty, and what randomly placed points would have."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Score and print; returns the exit status."""
    if arguments.truth is None and not arguments.run.is_file():
        return _evaluate_run(arguments)
    return _evaluate_list(arguments)


def _evaluate_run(arguments: argparse.Namespace) -> int:
    from experiments.compare.run import evaluate_run
    from training import ConfigError

    if arguments.gate is not None or arguments.pixel is not None or arguments.dimensions != "auto":
        raise ConfigError("--gate, --dimensions and --pixel go with a localization list and its --truth")
    found = evaluate_run(arguments.run, arguments.assignments, again=arguments.out is not None)
    if arguments.out is not None:
        found.write(arguments.out)
    print("\n".join(found.lines()))
    return 0


def _evaluate_list(arguments: argparse.Namespace) -> int:
    loading(arguments)
    from experiments.lists.evaluate import EvaluateConfig, evaluate
    from training import ConfigError

    if arguments.truth is None:
        raise ConfigError(f"{arguments.run} is a file; name the true positions with --truth, or the folder of a run")
    if arguments.assignments:
        raise ConfigError(f"{arguments.assignments[0]!r} is a setting of a run; a list has --gate and --dimensions")
    default = EvaluateConfig()
    gates = default.gates_nm if arguments.gate is None else tuple(_gate(text) for text in arguments.gate)
    config = EvaluateConfig(gates_nm=gates, dimensions=arguments.dimensions, pixel_nm=arguments.pixel)

    def job(report):
        return evaluate(read_list(arguments.run), read_list(arguments.truth), config, report)

    if arguments.out is not None:
        return run_job(job, arguments.out)
    print("\n".join(run(job).lines()))
    return 0


def _gate(text: str) -> tuple[float, ...]:
    from training import ConfigError

    try:
        sizes = tuple(float(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in (1, 2) or not all(0 < size < float("inf") for size in sizes):
        raise ConfigError(f"--gate {text}: give lateral,axial in nm, like 250,500, or one radius, like 100")
    return sizes
