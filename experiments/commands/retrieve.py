"""`colocus retrieve`: bead stacks in, a calibrated PSF out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_movie_options, loading, movie_options, run_job, split_files

ABOUT = "Retrieve a calibrated PSF from one or several bead stacks."
GROUP = "microscope"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus retrieve`."""
    parser.add_argument(
        "beads", metavar="BEADS", nargs="+", help="TIFF stacks, and settings like retrieval.phase=zernike"
    )
    parser.add_argument("--focus", metavar="START:STOP:N", help="focus of the N slices, um; or a CSV with one a line")
    parser.add_argument(
        "--microscope", metavar="TOML", required=True, help="na, n_immersion, n_sample, ... of the optics"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--crop", type=int, metavar="PX", help="find isolated beads in whole fields and crop them")
    parser.add_argument("--beads-max", type=int, default=4, metavar="N", help="the N brightest beads of a field (4)")
    parser.add_argument("--camera", metavar="TOML", help="the camera.toml of colocus calibrate-camera")
    add_movie_options(parser)
    parser.epilog = (
        "Focus positions grow into the sample. Writes psf.npz, mask.npz, mask.mat (for peers: phase in radians), "
        "run.toml (for colocus train, codesign, compare), metrics.json, slices.csv and report.html."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Retrieve, write and print; returns the exit status."""
    loading(arguments)
    import dataclasses

    from experiments.instrument.retrieve import retrieve
    from experiments.instrument.retrieve_config import load_config
    from training.run_folder import check_folder

    check_folder(arguments.out, unused=True)
    files, assignments = split_files(arguments.beads)
    config = load_config(arguments.microscope, assignments, camera=arguments.camera)
    config = dataclasses.replace(
        config,
        focus=arguments.focus,
        crop_px=arguments.crop,
        beads_max=arguments.beads_max,
        opening=movie_options(arguments),
    )
    return run_job(
        lambda report: retrieve(files, config, report), arguments.out, end=lambda written: ["", f"Open {written[0]}"]
    )
