"""`colocus design`: settings in, a mask of least bound out."""

import argparse
import sys
from collections.abc import Sequence

from experiments.commands.arguments import add_folder, add_settings, loading, run, settings_of

ABOUT = "Find the phase mask of least Cramer-Rao bound over a depth range."
GROUP = "microscope"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus design`."""
    add_settings(parser, "photons=9000")
    add_folder(parser, "runs/design")
    parser.epilog = (
        "Without settings: 55 Zernike modes for 0 to 4 um in oil on water, 3500 photons on 50 per pixel. Examples: "
        "microscope.na=1.4 z_max_um=3.0; over_depths=worst; density_per_um2=0.5; parametrisation=pixel; "
        'max_range_um=1.0 level_um=0.1; start_masks=[{name="tetrapod"}]. Writes mask.npz and mask.mat (for a mask of '
        "name = file in other commands), config.json, which names every setting, design.json, bounds.csv and "
        "design.png. Ctrl-C keeps the best mask so far."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Search, score, write and print; returns the exit status."""
    loading(arguments)
    from experiments.instrument.design import design
    from experiments.instrument.design_config import DesignConfig
    from training.run_folder import check_folder

    config = settings_of(arguments, DesignConfig)
    check_folder(arguments.out, unused=True)
    result = run(lambda report: design(config, report), every=0.2)
    written = result.write(arguments.out)
    if not result.design.finished:
        print(f"\ncolocus: interrupted; the best mask so far is {written[0]}, not scored", file=sys.stderr)
        return 130
    print("\n".join([*result.lines(), "", f"The mask: {written[0]} and {written[1]}", f"Open {written[2]}"]))
    return 0
