"""`colocus render`: a localization list in, a picture out."""

import argparse
from collections.abc import Sequence

from experiments.commands.arguments import add_file, add_list, config_of, loading, numbers, read_list, run_job, wrote

ABOUT = "Draw a localization list: counts, or Gaussians of each one's uncertainty, coloured by depth or channel."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus render`."""
    add_list(parser)
    add_file(parser, ".tif to measure, .png to look at")
    parser.add_argument("--pixel", type=float, default=10.0, metavar="NM", help="pixel of the picture (10)")
    parser.add_argument("--mode", choices=("histogram", "gaussian"), default="histogram", help="(histogram)")
    parser.add_argument("--depth", action="store_true", help="coloured by z; in a TIFF a channel of mean z")
    parser.add_argument("--channels", action="store_true", help="each channel in a colour; in a TIFF one for each")
    parser.add_argument("--region", metavar="X0,X1,Y0,Y1", help="part to draw, um (all)")
    parser.add_argument("--z", metavar="Z0,Z1", help="depths to draw, um (all)")
    parser.add_argument("--sigma", type=float, metavar="NM", help="one uncertainty for all, in place of the table's")
    parser.add_argument("--min-sigma", type=float, default=0.0, metavar="NM", help="no Gaussian narrower (0)")
    parser.add_argument("--saturate", type=float, default=0.995, metavar="Q", help="PNG: quantile drawn white (0.995)")
    parser.add_argument("--gamma", type=float, default=0.6, metavar="G", help="PNG: power of the brightness (0.6)")
    parser.epilog = "gaussian draws every row as wide as its own uncertainty; a TIFF sums to the number of rows."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Draw, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.render import RenderConfig, check_name, render

    check_name(arguments.out)
    region, z_range = numbers("--region", arguments.region, 4), numbers("--z", arguments.z, 2)
    config = config_of(arguments, RenderConfig, region_um=region, z_range_um=z_range)
    return run_job(lambda report: render(read_list(arguments.locs), config, report), arguments.out, end=wrote)
