"""Counts that a file keeps as floating-point numbers: read as the whole numbers that they are, or refused.

Andor Solis and Bio-Formats write camera counts as float32. Whether all are whole is known of what was read, so every
block is looked at; the beginning, middle and end when the movie is opened.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.source import Source
from localization.io.movies.store import StoreUrl
from localization.types import LocalizationError, MovieFacts

_LARGEST = 2.0**31 - 1


class WholeCounts:
    """A movie of floating-point numbers, read as int32."""

    def __init__(self, path: Path | StoreUrl, source: Source) -> None:
        self._path, self._source = path, source
        self.shape, self.dtype = source.shape, np.dtype(np.int32)
        self.notes = [
            *source.notes,
            f"pixels are {np.dtype(source.dtype)}: read as whole counts, which they are so far",
        ]
        self.facts: MovieFacts = getattr(source, "facts", MovieFacts())
        n_frames, height, width = self.shape
        for k in sorted({0, n_frames // 2, n_frames - 1}):
            self.block(k, k + 1, slice(0, height), slice(0, width))

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each. Raises where a number is not whole."""
        frames = self._source.block(start, stop, rows, columns)
        with np.errstate(invalid="ignore"):  # of NaN, which is not whole either
            wrong = ~((np.rint(frames) == frames) & (np.abs(frames) <= _LARGEST))
        if wrong.any():
            frame, y, x = (int(place[0]) for place in np.nonzero(wrong))
            raise LocalizationError(
                f"{self._path}: pixels of type {np.dtype(self._source.dtype)} that are not whole numbers "
                f"({frames[frame, y, x]:.6g} in frame {start + frame}), so scaled or processed; convert the movie to "
                "uint16 camera counts without scaling"
            )
        return frames.astype(self.dtype)

    def close(self) -> None:
        """Close every file."""
        self._source.close()
