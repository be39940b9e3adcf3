"""Crowded frames of several colours behind one plate, and the reader that `localize` makes for them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.spots import SpotTable
from localization import Localizations, make_localizations
from optics import make_camera
from optics.colour.species import SpeciesPsf, species_images, tabulate_species
from optics.psf_table import pad_table
from worlds.colour_world import BACKGROUND, DEEP_UM, SCOPE, STAMP_PX

SIDE_PX, MARGIN_UM, COUNT, SPREAD = 64, 0.65, 10, 1 / 3
TOLERANCE = 1e-2  # of the tables, as `localize` makes them
_ROOM = (512, 176, (12, 28))  # terms, pictures, degrees: tables of one size share compiled programs


@dataclass(frozen=True)
class Scenes:
    """Frames (F, H, W) in counts of a camera that counts photons, and who is where in them."""

    images: NDArray
    truth: Localizations


def drawn(psfs: tuple[SpeciesPsf, ...], photons: float, frames: int) -> Scenes:
    """The same places, colours and photons for every pupil."""
    pixel, rng = float(SCOPE.pixel_um), np.random.default_rng(12)
    n, far = frames * COUNT, SIDE_PX * pixel - MARGIN_UM
    xyz = np.column_stack([rng.uniform(MARGIN_UM, far, (n, 2)), rng.uniform(*DEEP_UM, n)])
    light, channel = photons * rng.uniform(1 - SPREAD, 1 + SPREAD, n), rng.integers(0, len(psfs), n)
    frame = np.repeat(np.arange(frames), COUNT)
    first = np.round(xyz[:, :2] / pixel - STAMP_PX / 2).astype(int)
    inside = np.column_stack([xyz[:, :2] - (first + STAMP_PX / 2) * pixel, xyz[:, 2]])
    mean = np.full((frames, SIDE_PX + 2 * STAMP_PX, SIDE_PX + 2 * STAMP_PX), BACKGROUND)
    for number, psf in enumerate(psfs):
        own = np.flatnonzero(channel == number)
        for k, image in zip(own, np.maximum(species_images(psf, inside[own]), 0), strict=True):
            column, row = first[k] + STAMP_PX
            mean[frame[k], row : row + STAMP_PX, column : column + STAMP_PX] += light[k] * image
    images = rng.poisson(mean[:, STAMP_PX:-STAMP_PX, STAMP_PX:-STAMP_PX]).astype(float)
    return Scenes(images, make_localizations(frame, *xyz.T, photons=light, channel=channel))


def made_reader(psfs: tuple[SpeciesPsf, ...], photons: float) -> JointReader:
    """The reader of `localize --method joint` with a PSF for each colour."""
    tables = [pad_table(tabulate_species(psf, DEEP_UM, tolerance=TOLERANCE), *_ROOM) for psf in psfs]
    first, *rivals = (SpotTable(table, float(SCOPE.pixel_um), deep=True) for table in tables)
    config = ClassicalConfig(photons_min=photons * (1 - SPREAD) / 2)
    return JointReader(first, make_camera(), config, "colours", rivals)
