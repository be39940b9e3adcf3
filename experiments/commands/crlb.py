"""`colocus crlb`: arguments in, bounds out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.commands.arguments import add_folder, add_settings, loading, run_job, settings_of

ABOUT = "Print and draw the precision that a PSF allows. Per depth, with and without neighbours."
GROUP = "microscope"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `colocus crlb`."""
    add_settings(parser, "photons=9000")
    add_folder(parser, "runs/crlb")
    text = "a mask file, beside the masks of the settings"
    parser.add_argument("--mask", type=Path, action="append", default=[], metavar="FILE", help=text)
    text = "a calibrated psf.npz, in place of the default masks"
    parser.add_argument("--psf", type=Path, action="append", default=[], metavar="FILE", help=text)
    text = "how well images tell species apart: 580,670, bands (orange,red), or files dye.csv*filter.csv"
    parser.add_argument("--species", metavar="A,B", help=text)
    parser.epilog = (
        "Without settings: clear pupil, astigmatism and a 3 um Tetrapod in oil on water, 3500 photons. "
        "Examples: detection=biplane separation_um=0.6; camera.read_noise_e=1.6; dipole=fixed "
        'unknown=["polar","azimuth"]; neighbours.densities_per_um2=[]. Writes crlb.csv, neighbours.csv, crlb.json, '
        "crlb.png and config.json, which names every setting."
    )


def main(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Compute, write and print; returns the exit status."""
    loading(arguments)
    import dataclasses

    if arguments.species is not None:
        return _between_species(arguments)
    from experiments.instrument.crlb import crlb
    from experiments.instrument.crlb_config import CrlbArm, CrlbConfig
    from training import MaskConfig
    from training.run_folder import check_folder

    config = settings_of(arguments, CrlbConfig, "; masks go behind --mask")
    check_folder(arguments.out)
    # a calibrated PSF has a microscope of its own: the default masks, in another, would be a comparison of two
    named = () if arguments.psf and config.arms == CrlbConfig().arms else config.arms
    from_masks = (CrlbArm(path.stem, MaskConfig("file", path=str(path))) for path in arguments.mask)
    from_psfs = (CrlbArm(path.stem, psf_file=str(path)) for path in arguments.psf)
    config = dataclasses.replace(config, arms=(*named, *from_masks, *from_psfs))
    return run_job(lambda report: crlb(config, report), arguments.out, end=lambda written: ["", f"Open {written[0]}"])


def _between_species(arguments: argparse.Namespace) -> int:
    import dataclasses

    from experiments.instrument.crlb_config import CrlbArm
    from experiments.instrument.species import species
    from experiments.instrument.species_config import SpeciesConfig
    from training import ConfigError, MaskConfig
    from training.run_folder import check_folder

    if arguments.psf:
        raise ConfigError("--psf: a calibrated PSF knows one wavelength; between species give masks, behind --mask")
    names = tuple(name.strip() for name in arguments.species.split(",") if name.strip())
    config = settings_of(arguments, SpeciesConfig, "; masks go behind --mask")
    from_masks = (CrlbArm(path.stem, MaskConfig("file", path=str(path))) for path in arguments.mask)
    config = dataclasses.replace(config, species=names, arms=(*config.arms, *from_masks))
    check_folder(arguments.out)
    return run_job(
        lambda report: species(config, report), arguments.out, end=lambda written: ["", f"Open {written[0]}"]
    )
