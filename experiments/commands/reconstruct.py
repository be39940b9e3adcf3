"""`colocus reconstruct`: a raw movie in, a super-resolved picture and its report out."""

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.commands.arguments import (
    UsageError,
    add_interruption,
    add_workers,
    loading,
    split_files,
    time_limit,
    workers,
)

ABOUT = "Reconstruct a raw MOVIE: find out what it is, read it, draw it."
GROUP = "start"
# name of an option: its place in the plan
_OPTIONS = {
    "beads": ("psf", "beads"), "focus": ("psf", "focus"), "psf": ("psf", "file"), "crop": ("psf", "crop_px"),
    "optics": ("optics",), "camera": ("camera", "file"), "method": ("reader", "method"), "model": ("reader", "model"),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus reconstruct`."""
    parser.usage = "colocus reconstruct MOVIE --out RUN [OPTIONS] [KEY=VALUE ...]"
    text = "a movie or a plan.toml, and settings like optics.pixel_um=0.1"
    parser.add_argument("movie", metavar="MOVIE", nargs="*", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--beads", nargs="+", metavar="STACK", help="3D: stacks of beads, with --focus and --optics")
    parser.add_argument("--focus", metavar="START:STOP:N", help="focus of their slices, um; or a CSV with one a line")
    parser.add_argument("--crop", type=int, metavar="PX", help="find isolated beads in whole fields and crop them")
    parser.add_argument("--psf", nargs="+", metavar="FILE", help="3D: a psf.npz of colocus retrieve; one a colour")
    parser.add_argument("--optics", metavar="TOML", help="na, wavelength_um, pixel_um, focus_um, ...")
    parser.add_argument("--camera", metavar="TOML", help="the camera.toml of colocus calibrate-camera")
    parser.add_argument("--method", metavar="M", help="auto, or how frames are read")
    parser.add_argument("--model", metavar="RUN", help="a trained network")
    parser.add_argument("--second", metavar="MOVIE", help="a second colour, laid onto the first by its structures")
    parser.add_argument("--to", metavar="STEP", help="look, camera, background, psf, crowd, reader, test, ...")
    add_workers(parser)
    add_interruption(parser, "go on in RUN, with its plan.toml", "stop after M minutes, to be resumed")
    parser.epilog = "RUN gets plan.toml, report.html, localizations.csv, picture.png and .tif, and a folder a step."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Reconstruct, and print what each step found; returns the exit status."""
    loading(arguments)
    from experiments.progress import Display
    from experiments.reconstruction.job import PLAN, reconstruct
    from experiments.reconstruction.plan import load_plan
    from experiments.reconstruction.two_colours import second_colour
    from experiments.settings import read_toml
    from training import TimeLimit

    files, assignments = split_files(arguments.movie)
    if len(files) > 1:
        raise UsageError(f"one movie at a time, not {', '.join(files)}")
    source = Path(files[0]) if files else None
    is_plan = source is not None and source.suffix.lower() == ".toml"
    there = arguments.out / PLAN if arguments.resume and (arguments.out / PLAN).exists() else None
    if source is None and there is None:
        raise UsageError("the following arguments are required: MOVIE; see: colocus reconstruct --help")
    given: dict[str, Any] = {}
    # what stands behind --psf and is no file is a setting
    psfs = [word for word in arguments.psf or () if "=" not in word]
    assignments += [word for word in arguments.psf or () if "=" in word]
    if len(psfs) > 1:
        given["psf"] = {"species": psfs[1:]}
    arguments.psf = psfs[0] if psfs else None
    for name, place in _OPTIONS.items():
        value = getattr(arguments, name)
        if value is None:
            continue
        if name == "optics":
            values = read_toml(value)
            value = values.get("optics", values.get("microscope", values))
        below = given
        for key in place[:-1]:
            below = below.setdefault(key, {})
        below[place[-1]] = value
    if source is not None and not is_plan:
        given["movie"] = str(source)
    plan = load_plan(source if is_plan else there, assignments, given)
    if arguments.second is not None and arguments.to is not None:
        raise UsageError("--second needs the whole list of MOVIE; leave --to out")
    deadline_s = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    try:
        with workers(arguments.dask) as client, Display(every=0.1) as display:
            how: dict[str, Any] = {
                "resume": arguments.resume,
                "deadline_s": deadline_s,
                "client": client,
                "report": display,
            }
            done = reconstruct(plan.movie, arguments.out, plan, to=arguments.to, **how)
            both = None if arguments.second is None else second_colour(arguments.second, arguments.out, plan, **how)
    except TimeLimit:
        return time_limit(arguments, argv)
    if both is not None:
        print("\n".join(both.lines()))
    if arguments.to not in (None, "picture"):
        print(f"to go on: {shlex.join(['colocus', 'reconstruct', '--out', str(arguments.out), '--resume'])}")
    print(f"Open {done.report}")
    return 0
