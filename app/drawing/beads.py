"""Beads in a whole field, as `colocus retrieve --crop` finds them."""

from typing import Any

import numpy as np

from localization import open_movie
from optics.retrieval.beads import find_beads
from training import ConfigError

_LARGEST = 1 << 30  # pixels of a stack that is read whole


def show_beads(path: str, crop_px: int) -> dict[str, Any]:
    """Find isolated beads in a stack of fields: their `centres` (row, column), the brightest first, and `notes`.

    Raises `ConfigError`, `LocalizationError` or `OpticsError` in one line.
    """
    with open_movie(path) as movie:
        if np.prod(movie.shape, dtype=float) > _LARGEST:
            raise ConfigError(f"{movie.shape[0]} frames are a movie, not a stack of beads; name the stack")
        if not 9 <= crop_px <= min(400, *movie.shape[1:]):
            raise ConfigError(f"a crop of {crop_px} px: give 9 to {min(400, *movie.shape[1:])}")
        field = movie.read(0, movie.shape[0]).astype(float)
    centres, notes = find_beads(field, crop_px)
    return {"centres": centres.tolist(), "notes": notes}
