"""`colocus fabricate`: a mask in, files for the hardware out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_folder, add_settings, loading, run_job, settings_of

ABOUT = "Write a mask for an SLM or for etching. Reports what misalignment and levels cost."
GROUP = "microscope"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus fabricate`."""
    add_settings(parser, "slm.pitch_um=8")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="a mask that Colocus saved, such as mask.npz")
    text = "the program that shows slm.png as it is: slmsuite (its phase falls with the grey, 256 greys a turn)"
    parser.add_argument("--for", dest="program", metavar="PROGRAM", help=text)
    add_folder(parser, "runs/mask")
    parser.epilog = (
        'Examples: make=["slm"] slm.grey_per_2pi=205 slm.correction=flat.bmp slm.flip_x=true; etch.levels=8 '
        "etch.pitch_um=20. Writes slm.png and .bmp; height.tif, .mat and height_nm.csv, levels.png; the masks as shown "
        "and as etched (.npz, for crlb and compare); robustness.png, .csv and .json; config.json names every setting."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Make, write and print; returns the exit status."""
    loading(arguments)
    import dataclasses

    from experiments.instrument.fabricate import fabricate
    from experiments.instrument.fabricate_config import FabricateConfig, made_for
    from training import MaskConfig
    from training.run_folder import check_folder

    config = settings_of(arguments, FabricateConfig, "; a mask goes behind --mask")
    check_folder(arguments.out)
    if arguments.mask is not None:
        config = dataclasses.replace(config, mask=MaskConfig("file", path=str(arguments.mask)))
    if arguments.program is not None:
        config = dataclasses.replace(config, slm=made_for(arguments.program, config.slm))
    return run_job(lambda report: fabricate(config, report), arguments.out)
