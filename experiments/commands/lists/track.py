"""`colocus track`: particle tracks and their diffusion from a localization list."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_list, config_of, loading, read_list, run_job

ABOUT = "Follow particles through a localization list, and measure their diffusion."
GROUP = "lists"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus track`."""
    add_list(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="CSV | DIR", help="tracks alone, or all results")
    parser.add_argument("--max-step", type=float, required=True, metavar="UM", help="largest step between frames")
    parser.add_argument("--max-step-z", type=float, metavar="UM", help="the one in depth (the same)")
    parser.add_argument("--gap", type=int, default=1, metavar="N", help="dark frames within a track (1)")
    parser.add_argument("--max-gap-step", type=float, metavar="UM", help="largest step across them (the same)")
    parser.add_argument("--min-length", type=int, default=3, metavar="N", help="localizations of a track (3)")
    parser.add_argument("--frame-s", type=float, metavar="S", help="seconds from frame to frame, for diffusion")
    parser.add_argument("--exposure", type=float, default=1.0, metavar="SHARE", help="of the frame with light (1)")
    parser.epilog = "A folder holds tracks.csv (um, with a column track), tracks.json, tracks.png and diffusion.csv."


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Track, write and print; returns the exit status."""
    loading(arguments)
    from experiments.lists.track import TrackConfig, check_name, track

    check_name(arguments.out)
    config = config_of(arguments, TrackConfig)
    return run_job(lambda report: track(read_list(arguments.locs), config, report), arguments.out)
