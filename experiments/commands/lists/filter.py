"""`colocus filter`: the rows of a localization list that fulfil some criteria."""

import argparse
from collections.abc import Sequence

from experiments.commands.arguments import add_assignments, add_file, add_list, loading, read_list, run_job, wrote

ABOUT = "Keep the localizations that fulfil criteria: uncertainty, score, light, place, frames, density."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus filter`."""
    add_list(parser)
    add_assignments(parser, "criteria", "such as sigma_x_um_max=0.02")
    add_file(parser, "the list to write")
    parser.epilog = (
        "KEYs: sigma_x_um_max, sigma_y_um_max, sigma_z_um_max, score_min, channel, p_channel_min, photons_min, "
        "photons_max, "
        "detections_min, detections_max (localizations merged by colocus link); x_um, y_um, z_um and frames as "
        "[from,to]; neighbours_min and neighbours_max with density_radius_um (and density_z_radius_um): "
        "other localizations of the whole movie. Prints how many rows each one removed."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Filter, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.filter import filter_list
    from experiments.settings import load_settings
    from localization import Criteria
    from training import ConfigError

    if not arguments.criteria:
        raise ConfigError("name what to filter by, such as photons_min=500; see: colocus filter --help")
    config = load_settings(Criteria, None, arguments.criteria)
    return run_job(
        lambda report: filter_list(read_list(arguments.locs, arguments.out), config, report), arguments.out, end=wrote
    )
