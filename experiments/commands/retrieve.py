"""`colocus retrieve`: bead stacks in, a calibrated PSF out."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus retrieve`."""
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
    parser.epilog = (
        "Focus positions grow into the sample. Writes psf.npz, mask.npz, mask.mat (for peers: phase in radians), "
        "run.toml (for colocus train, codesign, compare), metrics.json, slices.csv and report.html."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Retrieve, write and print; returns the exit status."""
    del argv
    print("colocus retrieve: loading", file=sys.stderr, flush=True)
    from rich.console import Console

    from experiments.instrument.retrieve import load_config, retrieve, table
    from training.run_folder import check_folder

    check_folder(arguments.out, unused=True)
    files = [Path(item) for item in arguments.beads if "=" not in item]
    config = load_config(
        arguments.microscope, [item for item in arguments.beads if "=" in item], camera=arguments.camera
    )
    console = Console(file=sys.stderr, highlight=False)

    def run(report):
        return retrieve(
            files, arguments.focus, config, arguments.out, crop_px=arguments.crop, beads_max=arguments.beads_max,
            report=report,
        )  # fmt: skip

    if console.is_terminal:
        with console.status("reading") as status:
            result = run(lambda event: status.update(_said(event)))
    else:
        result = run(lambda event: None)
    print("\n".join(table(result)))
    print(f"\nOpen {arguments.out / 'report.html'}")
    return 0


def _said(event: dict) -> str:
    done = event["step"] / event["steps"]
    left = event["seconds"] * (1 - done) / max(done, 1e-3)
    return f"{event['stage']}: {100 * done:.0f} %, {100 * event['misfit']:.2f} % unexplained, about {left:.0f} s left"
