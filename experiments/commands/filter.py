"""`colocus filter`: the rows of a localization list that fulfil some criteria."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus filter`."""
    parser.add_argument("locs", type=Path, metavar="LOCS", help="a localization list")
    parser.add_argument("criteria", metavar="KEY=VALUE", nargs="*", default=[], help="such as sigma_x_um_max=0.02")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the list to write")
    parser.epilog = (
        "KEYs: sigma_x_um_max, sigma_y_um_max, sigma_z_um_max, score_min, photons_min, photons_max; x_um, y_um, z_um "
        "and frames as [from,to]; neighbours_min and neighbours_max with density_radius_um (and density_z_radius_um): "
        "other localizations of the whole movie. Prints how many rows each one removed."
    )


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Filter, print and write; returns the exit status."""
    del argv
    print("colocus filter: loading", file=sys.stderr, flush=True)
    from experiments.settings import load_settings
    from localization import Criteria, filter_localizations, read, write
    from training import ConfigError

    if not arguments.criteria:
        raise ConfigError("name what to filter by, such as photons_min=500; see: colocus filter --help")
    criteria = load_settings(Criteria, None, arguments.criteria)
    kept, report = filter_localizations(read(arguments.locs), criteria)
    write(arguments.out, kept)
    width = max(map(len, report.removed), default=0)
    print("\n".join(f"{name:{width}}  removed {count}" for name, count in report.removed.items()))
    print(f"{report.after} of {report.before} localizations kept\nwrote {arguments.out}")
    return 0
