"""`colocus drift`: a localization list in, the list without the stage's drift out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_file, add_list, config_of, loading, read_list, run_job, wrote

ABOUT = "Take the stage's drift in x, y and z out of a localization list."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus drift`."""
    add_list(parser)
    add_file(parser, "the corrected list to write")
    parser.add_argument("--method", choices=("aim", "rcc"), default="aim", help="intersections or correlation (aim)")
    parser.add_argument("--segment", type=int, metavar="N", help="frames per segment (aim: 100 segments, rcc: 30)")
    parser.add_argument("--search", type=float, default=1.0, metavar="UM", help="largest drift looked for (1)")
    parser.add_argument("--pixel", type=float, metavar="UM", help="pixel, or intersection distance (0.025, aim: 0.02)")
    parser.add_argument("--pixel-z", type=float, metavar="UM", help="the one in depth (twice that)")
    parser.add_argument("--apply", type=Path, metavar="CURVE", help="take out this drift, another channel's, instead")
    parser.add_argument("--unit", choices=("nm", "um", "px"), help="CURVE: of columns that name none (Picasso's: px)")
    parser.add_argument("--camera-pixel", type=float, metavar="NM", help="CURVE in px: the pixel, if LOCS lacks it")
    parser.add_argument("--frames-from", type=int, choices=(0, 1), help="CURVE: number of the first frame, if untold")
    parser.epilog = (
        "Writes FILE_drift.csv (nm per frame, counted as in FILE), .png and .json beside FILE. Where drift cannot be "
        "told, an error says why and nothing is written; doubts are printed as notes. CURVE is a FILE_drift.csv, or "
        "Picasso's or COMET's drift; it is subtracted, and held at its ends."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Estimate, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.drift import DriftConfig, check_name, drift
    from training import ConfigError

    check_name(arguments.out)
    if arguments.apply is not None:
        return _apply(arguments)
    for name in ("unit", "camera_pixel", "frames_from"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} goes with --apply CURVE")
    config = config_of(arguments, DriftConfig)
    return run_job(
        lambda report: drift(read_list(arguments.locs, arguments.out), config, report),
        arguments.out,
        end=lambda written: [f"wrote {written[0]}, " + ", ".join(path.name for path in written[1:])],
    )


def _apply(arguments: argparse.Namespace) -> int:
    from experiments.lists.apply_drift import ApplyConfig, apply_known_drift
    from training import ConfigError

    if (arguments.segment, arguments.pixel, arguments.pixel_z, arguments.search) != (None, None, None, 1.0):
        raise ConfigError("--segment, --search, --pixel and --pixel-z estimate a drift; --apply takes a known one")
    pixel_um = None if arguments.camera_pixel is None else arguments.camera_pixel / 1000.0
    config = ApplyConfig(arguments.unit, pixel_um, arguments.frames_from)
    return run_job(
        lambda report: apply_known_drift(read_list(arguments.locs, arguments.out), arguments.apply, config, report),
        arguments.out,
        end=wrote,
    )
