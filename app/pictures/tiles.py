"""A picture drawn from a list, in tiles as a map has them: smooth to zoom and shift however long the list is.

Tile (zoom, x, y) is the square of side S / 2^zoom at column x and row y of the list's own square of side S. Down to
`BASE` the tiles are sums of one histogram of the whole; below, rows are counted that lie in the tile, which are found
at once because the list is sorted by the tiles of `BASE`.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from app.pictures.png import png
from app.site import Refused
from localization import LocalizationError, Localizations, read

TILE_PX, BASE, DEEPEST = 256, 4, 14
_SIDE_PX = TILE_PX << BASE
MODES = ("light", "depth")
_SMOOTH_PX = 0.6  # single molecules are seen
_LISTS = 2


@dataclass(frozen=True, eq=False)
class Drawn:
    """A list ready to be drawn: positions as shares of its square of side `side_um` from `x0_um`, `y0_um`.

    Rows are sorted by the tile of zoom `BASE` that they lie in, `first` says where each tile's begin; `depth` is z from
    0 to 1 between its 1st and 99th percentile, None in two dimensions.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    depth: NDArray[np.float32] | None
    first: NDArray[np.int64]
    x0_um: float
    y0_um: float
    side_um: float
    z_um: tuple[float, float] | None

    @classmethod
    def make(cls, locs: Localizations) -> "Drawn":
        """Lay out a list. Raises `Refused` for an empty one."""
        if not locs.frame.size:
            raise Refused("the list is empty; nothing is drawn", 404)
        x0, y0 = float(np.min(locs.x_um)), float(np.min(locs.y_um))
        side = 1.04 * max(float(np.max(locs.x_um)) - x0, float(np.max(locs.y_um)) - y0, 1e-3)
        x0, y0 = x0 - 0.02 * side, y0 - 0.02 * side
        x, y = ((np.asarray(v - at) / side).astype(np.float32) for v, at in ((locs.x_um, x0), (locs.y_um, y0)))
        tile = _tile_of(x, y)
        order = np.argsort(tile, kind="stable")
        first = np.searchsorted(tile[order], np.arange((1 << 2 * BASE) + 1))
        depth, z_um = None, None
        if np.ptp(locs.z_um) > 0:
            low, high = map(float, np.percentile(locs.z_um, [1, 99]))
            z_um = (low, high)
            depth = np.clip((locs.z_um - low) / max(high - low, 1e-9), 0, 1).astype(np.float32)[order]
        return cls(x[order], y[order], depth, first, x0, y0, side, z_um)

    @cached_property
    def counts(self) -> NDArray[np.float32]:
        """Rows in each pixel of zoom `BASE`."""
        return _count(self.x, self.y, _SIDE_PX)

    @cached_property
    def depths(self) -> NDArray[np.float32]:
        """Sums of their depths."""
        assert self.depth is not None
        return _count(self.x, self.y, _SIDE_PX, self.depth)

    @cached_property
    def brightest(self) -> list[float]:
        """The count that is drawn brightest, by zoom: the 99.5th percentile of pixels that hold any."""
        levels, counts = [], self.counts
        for _ in range(BASE + 1):
            levels.insert(0, float(np.percentile(counts[counts > 0], 99.5)))
            counts = _summed(counts, 2)
        for zoom in range(BASE + 1, DEEPEST + 1):
            levels.append(max(levels[BASE] / 2 ** (zoom - BASE), 1.0))
        return levels

    def tile(self, zoom: int, x: int, y: int, mode: str = "light") -> bytes:
        """Draw a tile as PNG. Raises `Refused` for one that the map does not have."""
        if mode not in MODES or not (0 <= zoom <= DEEPEST and 0 <= x < 1 << zoom and 0 <= y < 1 << zoom):
            raise Refused("no such tile", 404)
        is_deep = mode == "depth" and self.depth is not None
        counts = self._level(zoom, x, y, False)
        depths = self._level(zoom, x, y, True) if is_deep else None
        share = np.sqrt(np.clip(counts / self.brightest[zoom], 0, 1))
        if depths is None:
            return png((255 * colormaps["inferno"](share)[..., :3]).astype(np.uint8))
        mean = depths / np.maximum(counts, 1e-6)
        hue = colormaps["viridis"](np.clip(mean, 0, 1))[..., :3]
        return png((255 * hue * share[..., None]).astype(np.uint8))

    def _level(self, zoom: int, x: int, y: int, deep: bool) -> NDArray[np.float32]:
        if zoom <= BASE:
            whole, width = (self.depths if deep else self.counts), TILE_PX << (BASE - zoom)
            part = whole[y * width : (y + 1) * width, x * width : (x + 1) * width]
            return _summed(part, width // TILE_PX)
        up = zoom - BASE
        number = ((y >> up) << BASE) + (x >> up)
        rows = slice(self.first[number], self.first[number + 1])
        scale, edge = float(1 << zoom), 0.02  # with what is beside it, so that smoothing meets no border
        px, py = self.x[rows] * scale - x, self.y[rows] * scale - y
        here = (px >= -edge) & (px < 1 + edge) & (py >= -edge) & (py < 1 + edge)
        margin = int(np.ceil(edge * TILE_PX))
        side = TILE_PX + 2 * margin
        at = ((v[here] * TILE_PX + margin).clip(0, side - 1).astype(np.int64) for v in (py, px))
        weights = self.depth[rows][here] if deep and self.depth is not None else None
        row, column = at
        flat = np.bincount(row * side + column, weights, side * side).reshape(side, side)
        # molecules grow with the picture once they are far apart, so that they are still seen
        sigma = min(max(_SMOOTH_PX, 0.09 * 2**up), margin / 2.5)
        gain = 2 * np.pi * sigma**2 if sigma > _SMOOTH_PX else 1.0
        smooth = gain * gaussian_filter(flat.astype(np.float32), sigma, mode="nearest")
        return smooth[margin:-margin, margin:-margin].astype(np.float32)


def _tile_of(x: NDArray, y: NDArray) -> NDArray[np.int64]:
    side = 1 << BASE
    column, row = ((v * side).clip(0, side - 1).astype(np.int64) for v in (x, y))
    return row * side + column


def _count(x: NDArray, y: NDArray, side: int, weights: NDArray | None = None) -> NDArray[np.float32]:
    column, row = ((v * side).clip(0, side - 1).astype(np.int64) for v in (x, y))
    return np.bincount(row * side + column, weights, side * side).reshape(side, side).astype(np.float32)


def _summed(pixels: NDArray, factor: int) -> NDArray[np.float32]:
    height, width = pixels.shape
    return pixels.reshape(height // factor, factor, width // factor, factor).sum((1, 3), dtype=np.float32)


class Lists:
    """The lists that pages show, the last few in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int], tuple[Localizations, Drawn]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, path: Path) -> tuple[Localizations, Drawn]:
        """Read a list, or find it in memory. Raises `Refused` in one line."""
        try:
            key = (path, path.stat().st_mtime_ns)
            with self._lock:  # others wait for a list that is being read, and do not read it as well
                if key not in self._kept:
                    locs = read(path)
                    self._kept[key] = (locs, Drawn.make(locs))
                    while len(self._kept) > _LISTS:
                        self._kept.popitem(last=False)
                self._kept.move_to_end(key)
                return self._kept[key]
        except (LocalizationError, OSError) as error:
            raise Refused(" ".join(str(error).split()), 415) from None
