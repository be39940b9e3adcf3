"""Rectangles of a movie that a plan names: where molecules lie apart, and what is to be left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training import ConfigError

_TEXT = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s+(\d+)\s*:\s*(\d+)(?:\s+(.*\S))?\s*")


@dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels of the movie: columns and rows from the first to before the last, and a name."""

    columns: tuple[int, int]
    rows: tuple[int, int]
    name: str = ""

    def holds(self, x_px: ArrayLike, y_px: ArrayLike) -> NDArray[np.bool_]:
        """Say which places lie in it; the middle of the movie's first pixel is at 0.5, 0.5.

        >>> Region((10, 41), (8, 64)).holds([9.9, 10.0, 41.0], [8.0, 8.0, 8.0])
        array([False,  True, False])
        """
        x, y = np.asarray(x_px, float), np.asarray(y_px, float)
        (left, right), (top, bottom) = self.columns, self.rows
        return (x >= left) & (x < right) & (y >= top) & (y < bottom)

    def __str__(self) -> str:
        place = "{}:{} {}:{}".format(*self.columns, *self.rows)
        return f"{place} {self.name}" if self.name else place


def parse_region(text: str, setting: str = "region") -> Region:
    """Read a rectangle as a plan writes it: columns, rows and, if it has one, a name. Raises `ConfigError`.

    >>> parse_region("10:41 8:64 the bright corner")
    Region(columns=(10, 41), rows=(8, 64), name='the bright corner')
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"{setting}: {text!r} is no rectangle; write columns, rows and a name, counted from 0, such as "
            "'10:41 8:64 the bright corner'"
        )
    left, right, top, bottom = (int(number) for number in found.groups()[:4])
    if not (left < right and top < bottom):
        raise ConfigError(f"{setting}: {text!r} holds no pixel; each part goes from a first to a later one")
    return Region((left, right), (top, bottom), found[5] or "")


def inside_any(regions: Sequence[Region], x_px: ArrayLike, y_px: ArrayLike) -> NDArray[np.bool_]:
    """Say which places lie in one of them.

    >>> inside_any([Region((0, 2), (0, 2)), Region((5, 6), (0, 9))], [1.0, 3.0, 5.5], [1.0, 1.0, 8.0])
    array([ True, False,  True])
    """
    x = np.asarray(x_px, float)
    return np.logical_or.reduce([np.zeros(x.shape, bool), *(region.holds(x, y_px) for region in regions)])
