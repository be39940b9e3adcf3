"""`colocus track`: particle tracks and their diffusion from a localization list."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `colocus track`."""
    parser.add_argument("locs", type=Path, metavar="LOCS", help="a localization list")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV | DIR", help="tracks alone, or all results")
    parser.add_argument("--max-step", type=float, required=True, metavar="UM", help="largest step between frames")
    parser.add_argument("--max-step-z", type=float, metavar="UM", help="the one in depth (the same)")
    parser.add_argument("--gap", type=int, default=1, metavar="N", help="dark frames within a track (1)")
    parser.add_argument("--max-gap-step", type=float, metavar="UM", help="largest step across them (the same)")
    parser.add_argument("--min-length", type=int, default=3, metavar="N", help="localizations of a track (3)")
    parser.add_argument("--frame-s", type=float, metavar="S", help="seconds from frame to frame, for diffusion")
    parser.add_argument("--exposure", type=float, default=1.0, metavar="SHARE", help="of the frame with light (1)")
    parser.epilog = "A folder holds tracks.csv (um, with a column track), tracks.json, tracks.png and diffusion.csv."


def main(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Track, print and write; returns the exit status."""
    del argv
    print("colocus track: loading", file=sys.stderr, flush=True)
    from rich.console import Console

    from experiments.lists.track import TrackConfig, track_file
    from localization import read

    config = TrackConfig(
        max_step_um=arguments.max_step,
        max_step_z_um=arguments.max_step_z,
        gap_frames=arguments.gap,
        max_gap_step_um=arguments.max_gap_step,
        min_length=arguments.min_length,
        frame_s=arguments.frame_s,
        exposure_share=arguments.exposure,
    )
    with Console(file=sys.stderr, highlight=False).status("reading") as status:
        locs = read(arguments.locs)

        def report(done: int, total: int) -> None:
            status.update(f"{done} of {total} crowded localizations linked")

        lines = track_file(locs, config, arguments.out, report=report)
    print("\n".join(lines))
    return 0
