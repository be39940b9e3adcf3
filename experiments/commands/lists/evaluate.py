"""`colocus evaluate`: the scores of a run, or of a localization list or picture against the truth."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_assignments, loading, read_list, run, run_job

ABOUT = "Show or repeat a run's scores, or score a list or a picture."
GROUP = "movies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus evaluate`."""
    text = "folder of a run, a localization list, or .tif, .png"
    parser.add_argument("run", type=Path, metavar="RUN | LOCS | PICTURE", help=text)
    add_assignments(parser, "assignments", "RUN: how to score it again")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the scores as JSON (LOCS: and a figure)")
    parser.add_argument("--truth", type=Path, metavar="TRUTH", help="LOCS, PICTURE: the true one")
    text = "LOCS: lateral,axial nm, or the radius of a ball (250,500)"
    parser.add_argument("--gate", nargs="+", metavar="GATE", help=text)
    parser.add_argument("--dimensions", choices=("auto", "2", "3"), default="auto", help="LOCS: 2 leaves z out")
    text = "LOCS: camera pixel, to test sub-pixel bias; PICTURE: the truth's, if untold"
    parser.add_argument("--pixel", type=float, metavar="NM", help=text)
    text = "PICTURE: not moved onto the truth; --blur PX: Gaussian on both (2)"
    parser.add_argument("--no-register", action="store_true", help=text)
    parser.add_argument("--blur", type=float, metavar="PX", help=argparse.SUPPRESS)
    parser.epilog = (
        "RUN is the folder of an experiment or of one of its arms; KEYs are those of [score], like score.frames=500. "
        "LOCS is scored at every GATE: Jaccard, RMSE, efficiency, average precision, calibration of its "
        "uncertainty, and what randomly placed points would have. PICTURE: PSNR, NRMSE, MS-SSIM, decorrelation."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Score and print; returns the exit status."""
    if arguments.truth is None and not arguments.run.is_file():
        return _evaluate_run(arguments)
    if arguments.run.suffix.lower() in (".tif", ".tiff", ".png"):
        return _evaluate_picture(arguments)
    if arguments.no_register or arguments.blur is not None:
        from training import ConfigError

        raise ConfigError("--no-register and --blur go with a PICTURE, .tif or .png")
    return _evaluate_list(arguments)


def _evaluate_picture(arguments: argparse.Namespace) -> int:
    loading(arguments)
    from experiments.lists.evaluate_picture import PictureConfig, evaluate_picture
    from localization.pictures.picture_file import is_picture, read_picture
    from training import ConfigError

    if arguments.truth is None or not is_picture(arguments.truth):
        raise ConfigError(f"{arguments.run} is a picture; name the true one with --truth, a .tif or .png too")
    if arguments.assignments or arguments.gate is not None or arguments.dimensions != "auto":
        raise ConfigError("--gate, --dimensions and KEY=VALUE are for runs and lists; a picture has --blur, --pixel")
    blur_px = PictureConfig().blur_px if arguments.blur is None else arguments.blur
    config = PictureConfig(blur_px=blur_px, register=not arguments.no_register, pixel_nm=arguments.pixel)

    def job(report):
        return evaluate_picture(read_picture(arguments.run), read_picture(arguments.truth), config, report)

    if arguments.out is not None:
        return run_job(job, arguments.out)
    print("\n".join(run(job).lines()))
    return 0


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
