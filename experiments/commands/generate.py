"""`colocus generate fit | sample`: learn scenes from a movie; write labelled frames of them."""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import (
    add_interruption,
    add_movie_options,
    loading,
    movie_options,
    run,
    split_settings,
    time_limit,
)

ABOUT = "Learn realistic, labelled scenes from a movie (fit). Then write labelled frames of them (sample)."
GROUP = "movies"
_FIT_ONLY = ("psf", "camera", "minutes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus generate`."""
    parser.usage = (
        "colocus generate fit MOVIE --psf PSF --out RUN [SETTINGS] [KEY=VALUE ...]\n"
        "       colocus generate sample RUN -n 1000 --out DIR [KEY=VALUE ...]"
    )
    parser.add_argument("what", metavar="fit | sample", choices=("fit", "sample"), help="learn, or draw")
    parser.add_argument("source", metavar="MOVIE | RUN", help="a movie, or a fitted generator")
    text = "a preset or TOML file; settings like crops=100, or density=2"
    parser.add_argument("settings", metavar="SETTINGS", nargs="*", default=[], help=text)
    parser.add_argument("--psf", metavar="PSF", help="fit: a psf.npz, or an experiment with the optics")
    parser.add_argument("--camera", metavar="TOML", help="fit: the camera.toml of colocus calibrate-camera")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add_interruption(parser, "fit: go on where it was stopped", "fit: stop after M minutes, to be resumed")
    parser.add_argument("-n", type=int, metavar="N", help="sample: frames (1000)")
    add_movie_options(parser)
    parser.epilog = (
        "Settings: generator, generator-2d, generator-parity, generator-tiny. Keys of fit: z_min_um, z_max_um, "
        "crop_px, crops, slots, fit.steps, learn_psf, photometry, ... (config.json names all). Keys of sample: "
        "density, brightness (factors), places=near|even|both, depths=even|movie, frame_px, seed. Then: colocus "
        "train | codesign | compare --scenes RUN."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Fit or sample; returns the exit status."""
    loading(arguments)
    if arguments.what == "sample":
        arguments.resumable = False
        return _sample(arguments)
    return _fit(arguments, argv)


def _fit(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    from experiments.generator.fit import generate_fit, generator_config
    from training import ConfigError, TimeLimit

    if arguments.n is not None:
        raise ConfigError("-n belongs to colocus generate sample; crops=N says how many crops are learned from")
    settings, assignments = split_settings(arguments.settings)
    if arguments.psf is None and settings is None:
        raise ConfigError("say what the optics are: --psf psf.npz (of colocus retrieve), or an experiment's TOML")
    config = generator_config(arguments.psf, settings, assignments, arguments.camera)
    if opening := movie_options(arguments).given():
        config = dataclasses.replace(config, opening=dataclasses.replace(config.opening, **opening))
    deadline_s = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    out = arguments.out
    try:
        result = run(
            lambda report: generate_fit(
                arguments.source, out, config, report, resume=arguments.resume, deadline_s=deadline_s
            ),
            every=0.2,
        )
    except TimeLimit:
        return time_limit(arguments, argv)
    print("\n".join([*result.lines(), "", f"Open {out / 'report.html'}"]))
    return 0


def _sample(arguments: argparse.Namespace) -> int:
    from experiments.generator.sample import SampleConfig, generate_sample
    from experiments.settings import load_settings
    from training import ConfigError

    for name in _FIT_ONLY:
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name} belongs to colocus generate fit")
    for name in movie_options(arguments).given():
        raise ConfigError(f"--{name.replace('_', '-')} belongs to colocus generate fit")
    wrong = [item for item in arguments.settings if "=" not in item]
    if wrong:
        raise ConfigError(f"{wrong[0]!r} is not KEY=VALUE, like density=2")
    assignments = [*arguments.settings, *([f"frames={arguments.n}"] if arguments.n is not None else [])]
    config = load_settings(SampleConfig, None, assignments)
    result = run(lambda report: generate_sample(arguments.source, arguments.out, config, report), every=0.2)
    print("\n".join(result.lines()))
    return 0
