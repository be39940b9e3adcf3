"""`colocus localize`: a movie in, a localization list out."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.commands.arguments import (
    UsageError,
    add_assignments,
    add_file,
    add_movie_options,
    add_workers,
    movie_options,
    workers,
)

ABOUT = "Turn a movie into a localization list: a trained arm, or fits of a PSF."
GROUP = "movies"

_OPTIONS = {
    "threshold": (float, "P", "least probability (networks), sigmas (fits)"),
    "gain": (float, "ADU", "camera counts per photon, in place of the run's camera"),
    "offset": (float, "ADU", "camera counts without light"),
    "camera": (str, "TOML", "both from a camera.toml (colocus calibrate-camera)"),
    "frames": (str, "A:B", "a part of the movie from 0, such as 0:100 or 50:"),
    "rows": (str, "A:B", "a part of every frame; so --columns A:B"),
    "columns": (str, "A:B", argparse.SUPPRESS),
    "batch": (int, "N", "frames at a time"),
    "tile-px": (int, "N", "side of the tiles that large frames are cut into"),
    "model-config": (str, "TOML", "settings of DeepSTORM3D weights"),
    "chunk-frames": (int, "N", "frames whose result is kept after a stop (200)"),
}
_NAMES = {"gain": "gain_adu_per_photon", "offset": "offset_adu"}
_SPANS = ("frames", "rows", "columns")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus localize`."""
    parser.usage = "colocus localize MOVIE --model MODEL --out FILE [OPTIONS] [KEY=VALUE ...]"
    parser.add_argument("movie", type=Path, metavar="MOVIE", help="a TIFF stack, zarr, or a folder of TIFF files")
    add_assignments(parser, "assignments", "how fits are made, like z_max_um=1.2 threshold_sigma=6")
    text = "arm, weights, psf.npz, _3dcal.mat, gaussian, autods"
    parser.add_argument("--model", type=Path, metavar="MODEL", help=text)
    add_file(parser, "the table to write, such as locs.csv")
    for name, (kind, metavar, text) in _OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=text)
    text = "for decoder+joint; one a colour; joint: one a plane"
    parser.add_argument("--psf", nargs="+", action="extend", default=[], metavar="NPZ", help=text)
    text = "side (by side), above, or the other planes' movies"
    parser.add_argument("--planes", nargs="+", action="extend", default=[], metavar="P", help=text)
    text = "decoder, classical, joint, patchwise, colour, autods"
    parser.add_argument("--method", metavar="M", help=text)
    parser.add_argument("--chunk", metavar="I/N", help="one share of N (job arrays); then: colocus merge FILE")
    add_workers(parser)
    parser.add_argument("--share-frames", type=int, help=argparse.SUPPRESS)
    add_movie_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on where it stopped (done anyway)")
    parser.set_defaults(resumable=True)


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Localize and print the table's name; returns the exit status."""
    from experiments.progress import Display, duration
    from experiments.reading.autods.config import AutoDsConfig
    from experiments.reading.classical_config import ClassicalConfig
    from experiments.reading.localize import LocalizeConfig, localize, parse_share, parse_span
    from experiments.settings import load_settings
    from training import ConfigError

    # what stands behind --psf or --planes and is no file is a setting
    psfs, planes = ([word for word in words if "=" not in word] for words in (arguments.psf, arguments.planes))
    settings = [word for word in (*arguments.psf, *arguments.planes) if "=" in word]
    arguments.assignments = [*arguments.assignments, *settings]
    if arguments.model is None:
        if len(psfs) < 2:
            raise ConfigError(
                "--model is missing: a trained arm, weights or a psf.npz; or --psf with one of each colour or plane"
            )
        arguments.model = Path(psfs[0])
    given = {name: value for name in _OPTIONS if (value := getattr(arguments, name.replace("-", "_"))) is not None}
    options: dict[str, Any] = {
        _NAMES.get(name, name.replace("-", "_")): parse_span(value) if name in _SPANS else value
        for name, value in given.items()
    }
    options |= {"species": tuple(psfs)} if len(psfs) > 1 else {"psf": "".join(psfs)}
    if planes:
        options["planes"] = tuple(planes)
    if arguments.method:
        options["method"] = arguments.method
    if "autods" in (arguments.method, str(arguments.model)):
        options["autods"] = load_settings(AutoDsConfig, None, arguments.assignments)
        fits = ClassicalConfig()
    else:
        fits = load_settings(ClassicalConfig, None, arguments.assignments)
    if arguments.chunk is not None and arguments.dask is not None:
        raise UsageError("--chunk or --dask: workers of Dask share the frames among themselves")
    share = None if arguments.chunk is None else parse_share(arguments.chunk)
    config = LocalizeConfig(**options, opening=movie_options(arguments), classical=fits)
    if arguments.share_frames is not None:
        config = replace(config, share_frames=arguments.share_frames)
    with workers(arguments.dask) as client, Display(every=0.1) as display:

        def show(event):
            if event.stage == "start":
                display.say(f"{event['movie']}: {event['frames']} frames, read with {event['model']}")
                for note in event["notes"]:
                    display.say(f"  {note}")
            elif event.total or "text" in event.numbers:
                display(event)

        how: dict[str, Any] = {"share": share, "client": client, "report": show}
        result = localize(arguments.movie, arguments.model, arguments.out, config, **how)
        took = duration(result.seconds)
        display.say(f"{result.rows} localizations in {result.frames} frames, {took}")
    after = "" if share is None else f": share done; after the last: colocus merge {arguments.out}"
    print("\n".join(result.lines()) + after)
    return 0
