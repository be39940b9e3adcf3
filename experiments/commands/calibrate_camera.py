"""`colocus calibrate-camera`: frames in, a camera.toml out."""

import argparse
from collections.abc import Sequence

from experiments.commands.arguments import add_folder, add_movie_options, config_of, loading, movie_options, run_job

ABOUT = "Measure a camera's offset, gain and read noise. From dark and flat frames, or estimated from a movie."
GROUP = "microscope"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus calibrate-camera`."""
    parser.usage = "colocus calibrate-camera [MOVIE] [--dark FILE --flat FILE ...] [OPTIONS]"
    parser.add_argument("movie", metavar="MOVIE", nargs="?", default="", help="a movie of blinking molecules")
    parser.add_argument("--dark", default="", metavar="FILE", help="frames without light")
    parser.add_argument("--flat", nargs="+", default=[], metavar="FILE", help="movies of even light, one per level")
    add_folder(parser, "runs/camera")
    parser.add_argument("--read-noise-e", type=float, metavar="E", help="read noise, to split a movie's line")
    parser.add_argument("--em-gain", type=float, metavar="G", help="the camera is an EMCCD of this multiplication")
    parser.add_argument("--quantum-efficiency", type=float, default=1.0, metavar="Q", help="to be written down (1)")
    add_movie_options(parser)
    parser.epilog = (
        "Either --dark and --flat (photon transfer, with a map per pixel), or a movie, whose noise grows with its "
        "level; --dark or --read-noise-e then tells the read noise. Writes camera.toml (for --camera, or "
        "[run.camera]), camera.json, camera.png, and camera.npz with the maps."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Measure, write and print; returns the exit status."""
    loading(arguments)
    from experiments.instrument.calibrate_camera import CalibrateConfig, calibrate_camera
    from training.run_folder import check_folder

    check_folder(arguments.out)
    kind = "scmos" if arguments.em_gain is None else "emccd"
    opening = movie_options(arguments)
    config = config_of(arguments, CalibrateConfig, flats=tuple(arguments.flat), kind=kind, opening=opening)
    return run_job(lambda report: calibrate_camera(config, report), arguments.out)
