"""`colocus link`: blinks of one molecule in consecutive frames merged into one row."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus link`."""
    parser.add_argument("locs", type=Path, metavar="LOCS", help="a localization list")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the merged list to write")
    parser.add_argument("--radius", type=float, required=True, metavar="UM", help="largest lateral distance")
    parser.add_argument("--radius-z", type=float, metavar="UM", help="largest distance in depth (twice the other)")
    parser.add_argument("--gap", type=int, default=0, metavar="N", help="dark frames between (0)")
    parser.epilog = "Positions are weighted by 1 / sigma^2, photons summed; a row keeps its first frame."


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Link, print and write; returns the exit status."""
    del argv
    print("colocus link: loading", file=sys.stderr, flush=True)
    import numpy as np

    from localization import link_blinks, read, write

    locs = read(arguments.locs)
    linked = link_blinks(
        locs, radius_um=arguments.radius, z_radius_um=arguments.radius_z, gap_frames=arguments.gap
    )  # fmt: skip
    write(arguments.out, linked.locs)
    print(f"{locs.frame.size} localizations merged into {linked.count.size}")
    if linked.count.size:
        median, most = np.median(linked.count), linked.count.max()
        print(f"per molecule: {linked.count.mean():.2f} on average, median {median:.0f}, at most {most}")
    print(f"wrote {arguments.out}")
    return 0
