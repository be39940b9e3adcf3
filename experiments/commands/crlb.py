"""`colocus crlb`: arguments in, bounds out."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus crlb`."""
    parser.add_argument(
        "settings", metavar="TOML | KEY=VALUE", nargs="*", help="a settings file, and settings like photons=9000"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/crlb"), metavar="DIR", help="folder (runs/crlb)")
    text = "a mask file, beside the masks of the settings"
    parser.add_argument("--mask", type=Path, action="append", default=[], metavar="FILE", help=text)
    text = "a calibrated psf.npz, in place of the default masks"
    parser.add_argument("--psf", type=Path, action="append", default=[], metavar="FILE", help=text)
    parser.epilog = (
        "Without settings: clear pupil, astigmatism and a 3 um Tetrapod in oil on water, 3500 photons. "
        "Examples: detection=biplane separation_um=0.6; camera.read_noise_e=1.6; dipole=fixed "
        'unknown=["polar","azimuth"]; neighbours.densities_per_um2=[]. Writes crlb.csv, neighbours.csv, crlb.json, '
        "crlb.png and config.json, which names every setting."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Compute, print and draw; returns the exit status."""
    del argv
    print("colocus crlb: loading", file=sys.stderr, flush=True)
    import dataclasses

    from rich.console import Console

    from experiments.instrument.crlb import compute, table, write
    from experiments.instrument.crlb_config import CrlbArm, CrlbConfig
    from experiments.settings import load_settings
    from training import ConfigError, MaskConfig
    from training.run_folder import check_folder

    files = [item for item in arguments.settings if "=" not in item]
    if len(files) > 1:
        raise ConfigError(f"one settings file at a time, not {', '.join(files)}; masks go behind --mask")
    check_folder(arguments.out)
    assignments = [item for item in arguments.settings if "=" in item]
    config = load_settings(CrlbConfig, files[0] if files else None, assignments)
    # a calibrated PSF has a microscope of its own: the default masks, in another, would be a comparison of two
    named = () if arguments.psf and config.arms == CrlbConfig().arms else config.arms
    from_masks = (CrlbArm(path.stem, MaskConfig("file", path=str(path))) for path in arguments.mask)
    from_psfs = (CrlbArm(path.stem, psf_file=str(path)) for path in arguments.psf)
    config = dataclasses.replace(config, arms=(*named, *from_masks, *from_psfs))
    console = Console(file=sys.stderr, highlight=False)
    if console.is_terminal:
        with console.status("") as status:
            results = compute(config, report=lambda event: status.update(_said(event)))
    else:
        results = compute(config)
    write(config, results, arguments.out)
    print("\n".join(table(results)))
    print(f"\nOpen {arguments.out / 'crlb.png'}")
    return 0


def _said(event: dict[str, Any]) -> str:
    return f"{event['arm']}: {event['what']} ({event['done'] + 1} of {event['total']})"
