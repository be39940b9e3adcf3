"""`colocus calibrate-camera`: frames in, a camera.toml out."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus calibrate-camera`."""
    parser.add_argument("movie", metavar="MOVIE", nargs="?", default="", help="a movie of blinking molecules")
    parser.add_argument("--dark", default="", metavar="FILE", help="frames without light")
    parser.add_argument("--flat", nargs="+", default=[], metavar="FILE", help="movies of even light, one per level")
    parser.add_argument("--out", type=Path, default=Path("runs/camera"), metavar="DIR", help="folder (runs/camera)")
    parser.add_argument("--read-noise-e", type=float, metavar="E", help="read noise, to split a movie's line")
    parser.add_argument("--em-gain", type=float, metavar="G", help="the camera is an EMCCD of this multiplication")
    parser.add_argument("--quantum-efficiency", type=float, default=1.0, metavar="Q", help="to be written down (1)")
    parser.epilog = (
        "Either --dark and --flat (photon transfer, with a map per pixel), or a movie, whose noise grows with its "
        "level; --dark or --read-noise-e then tells the read noise. Writes camera.toml (for --camera, or "
        "[run.camera]), camera.json, camera.png, and camera.npz with the maps."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Measure, print and write; returns the exit status."""
    del argv
    print("colocus calibrate-camera: loading", file=sys.stderr, flush=True)
    from rich.console import Console

    from experiments.instrument.calibrate_camera import CalibrateConfig, measure, table, write
    from training.run_folder import check_folder

    check_folder(arguments.out)
    config = CalibrateConfig(
        movie=arguments.movie,
        dark=arguments.dark,
        flats=tuple(arguments.flat),
        read_noise_e=arguments.read_noise_e,
        kind="scmos" if arguments.em_gain is None else "emccd",
        em_gain=arguments.em_gain,
        quantum_efficiency=arguments.quantum_efficiency,
    )
    console = Console(file=sys.stderr, highlight=False)
    if console.is_terminal:
        with console.status("") as status:
            found = measure(config, report=lambda what, done, total: status.update(f"{what}: {done} of {total} frames"))
    else:
        found = measure(config)
    written = write(config, found, arguments.out)
    print("\n".join([*table(found), ""]))
    print("wrote " + ", ".join(map(str, written)))
    return 0
