"""`colocus resolution`: a localization list in, its ring correlation, decorrelation and line widths out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_list, config_of, loading, numbers, read_list, run_job

ABOUT = "Measure the resolution of a localization list, and the width of what a line crosses."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus resolution`."""
    add_list(parser, "a localization list, linked and free of drift")
    parser.add_argument("--out", type=Path, default=Path("runs/resolution"), metavar="DIR", help="(runs/resolution)")
    parser.add_argument("--pixel", type=float, default=5.0, metavar="NM", help="an eighth of the resolution (5)")
    parser.add_argument("--region", metavar="X0,X1,Y0,Y1", help="part to measure, um (all)")
    parser.add_argument(
        "--split", choices=("blocks", "random"), default="blocks", help="halves by time or row (blocks)"
    )
    parser.add_argument("--block-frames", type=int, metavar="N", help="frames of a block (a 20th, at most 500)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="splits, for the spread (5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the splits (0)")
    parser.add_argument("--profile", metavar="X0,Y0:X1,Y1", help="a line to measure a width along, um")
    parser.add_argument("--width", type=float, default=200.0, metavar="NM", help="how wide the line is (200)")
    parser.add_argument("--bin", type=float, default=5.0, metavar="NM", help="bins along the line (5)")
    parser.add_argument("--double", action="store_true", help="fit two peaks of one width")
    parser.epilog = "Writes resolution.json, resolution.png, frc.csv, decorrelation.csv, profile.csv, config.json."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Measure, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.resolution import ResolutionConfig, resolution
    from training.run_folder import check_folder

    check_folder(arguments.out)
    line = None if arguments.profile is None else arguments.profile.replace(":", ",")
    config = config_of(
        arguments,
        ResolutionConfig,
        region_um=numbers("--region", arguments.region, 4),
        profile_um=numbers("--profile", line, 4),
        profile_width_nm=arguments.width,
        profile_bin_nm=arguments.bin,
        profile_model="double" if arguments.double else "gaussian",
    )
    return run_job(lambda report: resolution(read_list(arguments.locs), config, report), arguments.out)
