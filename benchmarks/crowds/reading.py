"""Frames read by the joint fit as `colocus localize --method joint` reads them, one at a time, with the CPU's time."""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crowds.scenes import spots_of
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader, search_window
from experiments.reading.readers import Reader
from localization import Localizations, concatenate, make_localizations
from optics import make_camera
from optics.fits.crowd import make_crowd_model
from optics.fits.crowd_search import make_bank
from optics.fits.wishes import Start


@dataclass(frozen=True)
class Reading:
    """What was found in frames numbered from 0, and the CPU seconds (all threads) of each frame.

    The first frames of a shape also compile; their median is not touched by that.
    """

    found: Localizations
    cpu_s: NDArray

    @property
    def frames(self) -> int:
        """How many were read."""
        return len(self.cpu_s)

    @property
    def cpu_s_per_frame(self) -> float:
        """The median."""
        return float(np.median(self.cpu_s))


def joint_reader(mask: str, drawn: str = "even", **settings: Any) -> JointReader:
    """The reader of a mask's frames that are so `drawn`, by its PSF alone; `settings` are those of `ClassicalConfig`.

    Where stray light comes back as an even background there are no wings to be expected.
    """
    spots = spots_of(mask)
    if drawn == "even":
        spots = dataclasses.replace(spots, psf=None)
    return JointReader(spots, make_camera(), ClassicalConfig(**settings), mask)


def read(reader: Reader, images: NDArray, *, most_cpu_s: float = math.inf, most_rows: float = math.inf) -> Reading:
    """Read frames (F, H, W) one after the other, until so much time is spent or so much was found."""
    tables, seconds = [], []
    for number, image in enumerate(images):
        start = time.process_time()
        tables.append(reader.read(np.asarray(image)[None], number))
        seconds.append(time.process_time() - start)
        if sum(seconds) > most_cpu_s or sum(table.frame.size for table in tables) >= most_rows:
            break
    return Reading(concatenate(tables), np.array(seconds))


def search_tools(mask: str, shape: tuple[int, int]) -> Callable[[NDArray, int, Start | None], Localizations]:
    """The search of one frame (H, W) by itself: what it finds in an image with this number, from a list or nothing."""
    spots = spots_of(mask)
    model = make_crowd_model(spots.table, make_camera(), spots.pixel_um, shape)
    bank = make_bank(spots.table, shape)
    known = np.ones(shape, bool)

    def search(image: NDArray, number: int, start: Start | None) -> Localizations:
        found = search_window(model, bank, image, known, start)
        crowd = found.crowd
        own = np.asarray(crowd.present).ravel()
        x, y, z = np.asarray(crowd.xyz_um, np.float64).reshape(-1, 3)[own].T
        photons = np.asarray(crowd.photons, np.float64).ravel()[own]
        return make_localizations(np.full(own.sum(), number), x, y, z, photons=photons)

    return search
