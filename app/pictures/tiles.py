"""A picture drawn from a list, in tiles as a map has them: smooth to zoom and shift however long the list is.

Tile (zoom, x, y) is the square of side S / 2^zoom at column x and row y of the list's own square of side S. Down to
`BASE` the tiles are sums of one histogram of the whole; below, those rows are counted that lie in the tile, which are
found at once because the list is sorted by the tiles of `BASE`. Every molecule is drawn as a Gaussian of the list's
median precision, or of most of a pixel where that is finer, with a peak of 1; or is counted in its pixel.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from app.pictures.png import png
from app.site import Refused
from localization import Localizations

TILE_PX, BASE, DEEPEST = 256, 3, 14
_SIDE_PX = TILE_PX << BASE
MODES = ("light", "histogram", "depth")
FILTERED = ("photons", "sigma", "z")  # what rows can be left out by: photons, the worse precision in nm, depth in nm
_LEAST_PX, _MOST_PX = 0.7, 24.0  # the width of a molecule on the screen: it is seen, and no larger than a mark
_UNKNOWN = 1 / 3000  # of the square: the width of molecules whose precision is not known


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
    sigma_um: float
    columns: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # of `FILTERED`, rows in the same order

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
        order = np.argsort(
            tile.astype(np.uint16), kind="stable"
        )  # of 16 bits: sorted by their digits, in one pass or two
        first = np.searchsorted(tile[order], np.arange((1 << 2 * BASE) + 1))
        depth, z_um = None, None
        if np.ptp(locs.z_um) > 0:
            low, high = map(float, np.percentile(locs.z_um, [1, 99]))
            z_um = (low, high)
            depth = np.clip((locs.z_um - low) / max(high - low, 1e-9), 0, 1).astype(np.float32)[order]
        precision = np.hypot(locs.sigma_x_um, locs.sigma_y_um) / np.sqrt(2)
        told = precision[np.isfinite(precision) & (precision > 0)]
        sigma = float(np.median(told)) if told.size else side * _UNKNOWN
        known = (locs.sigma_x_um > 0) & (locs.sigma_y_um > 0)
        wide = np.where(known, 1e3 * np.maximum(locs.sigma_x_um, locs.sigma_y_um), np.nan)
        values = zip(FILTERED, (locs.photons, wide, 1e3 * np.asarray(locs.z_um)), strict=True)
        columns = {name: np.asarray(column)[order].astype(np.float32) for name, column in values}
        return cls(x[order], y[order], depth, first, x0, y0, side, z_um, sigma, columns)

    def within(self, bounds: Mapping[str, tuple[float, float]]) -> "Drawn":
        """Keep the rows whose columns of `FILTERED` lie within bounds, as `localization.Criteria` does; ends included.

        The picture keeps its place, and its light. Raises `Refused` where none is left.
        """
        kept = np.ones(len(self.x), bool)
        for name, (low, high) in bounds.items():
            values = self.columns[name]
            kept &= (values >= low) & (values <= high)
        if not kept.any():
            raise Refused("no row is within these bounds", 404)
        before = np.concatenate([[0], np.cumsum(kept)])
        depth = None if self.depth is None else self.depth[kept]
        columns = {name: values[kept] for name, values in self.columns.items()}
        part = replace(
            self, x=self.x[kept], y=self.y[kept], depth=depth, first=before[np.asarray(self.first)], columns=columns
        )
        part.__dict__.update(brightest=self.brightest, fullest=self.fullest)
        return part

    def thinned(self, most: int) -> tuple[NDArray, NDArray]:
        """Return places (n, 3) in um from the picture's corner, and depths (n,) from 0 to 1, of at most `most` rows."""
        assert self.depth is not None and self.z_um is not None
        rows = slice(None, None, max(math.ceil(len(self.x) / most), 1))
        depth, (low, high) = np.asarray(self.depth[rows], float), self.z_um
        flat = [self.side_um * np.asarray(v[rows], float) for v in (self.x, self.y)]
        return np.column_stack([*flat, low + depth * (high - low)]), depth

    @property
    def deepest(self) -> int:
        """The zoom beyond which molecules would only grow."""
        return min(max(math.ceil(math.log2(_MOST_PX * self.side_um / (TILE_PX * self.sigma_um))), 2), DEEPEST)

    def width_px(self, zoom: int) -> float:
        """Return the standard deviation of a molecule on the screen."""
        return min(max(TILE_PX * 2**zoom * self.sigma_um / self.side_um, _LEAST_PX), _MOST_PX)

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
        """The light that is drawn brightest, by zoom: the 99.5th percentile of pixels that hold a molecule."""
        levels, counts = [], self.counts
        for zoom in range(BASE, -1, -1):
            light = _smoothed(counts, self.width_px(zoom))
            levels.insert(0, max(float(np.percentile(light[counts > 0], 99.5)), 1.0))
            counts = _summed(counts, 2)
        for zoom in range(BASE + 1, DEEPEST + 1):
            # what overlaps on the screen thins out as the square of the zoom, where molecules do not grow with it
            thinner = (self.width_px(zoom) / self.width_px(zoom - 1) / 2) ** 2
            levels.append(max(levels[-1] * min(thinner, 1.0), 1.0))
        return levels

    @cached_property
    def fullest(self) -> list[float]:
        """The rows in a pixel drawn brightest as a histogram, by zoom: the 99.5th percentile of those not empty."""
        levels, counts = [], self.counts
        for _ in range(BASE, -1, -1):
            levels.insert(0, max(float(np.percentile(counts[counts > 0], 99.5)), 1.0))
            counts = _summed(counts, 2)
        for _ in range(BASE + 1, DEEPEST + 1):
            levels.append(max(levels[-1] / 4, 1.0))
        return levels

    def tile(self, zoom: int, x: int, y: int, mode: str = "light") -> bytes:
        """Draw a tile as PNG. Raises `Refused` for one that the map does not have."""
        if mode not in MODES or not (0 <= zoom <= DEEPEST and 0 <= x < 1 << zoom and 0 <= y < 1 << zoom):
            raise Refused("no such tile", 404)
        if mode == "histogram":
            share = np.sqrt(np.clip(self._pixels(zoom, x, y, 0) / self.fullest[zoom], 0, 1))
            return png((255 * colormaps["inferno"](share)[..., :3]).astype(np.uint8))
        is_deep = mode == "depth" and self.depth is not None
        counts = self._level(zoom, x, y, deep=False)
        depths = self._level(zoom, x, y, deep=True) if is_deep else None
        share = np.sqrt(np.clip(counts / self.brightest[zoom], 0, 1))
        if depths is None:
            return png((255 * colormaps["inferno"](share)[..., :3]).astype(np.uint8))
        mean = depths / np.maximum(counts, 1e-6)
        hue = colormaps["viridis"](np.clip(mean, 0, 1))[..., :3]
        return png((255 * hue * share[..., None]).astype(np.uint8))

    def _level(self, zoom: int, x: int, y: int, *, deep: bool) -> NDArray[np.float32]:
        """The light of a tile, or its depths times its light; drawn with what is beside it, and cut."""
        width = self.width_px(zoom)
        margin = math.ceil(3.5 * width)
        pixels = self._pixels(zoom, x, y, margin, deep=deep)
        return _smoothed(pixels, width)[margin : margin + TILE_PX, margin : margin + TILE_PX]

    def _pixels(self, zoom: int, x: int, y: int, margin: int, *, deep: bool = False) -> NDArray[np.float32]:
        """Count the rows in each pixel of a tile and a margin around it, or sum their depths."""
        part = self._summed_part if zoom <= BASE else self._counted
        return part(zoom, x, y, margin, deep)

    def _summed_part(self, zoom: int, x: int, y: int, margin: int, deep: bool) -> NDArray[np.float32]:
        whole, factor = (self.depths if deep else self.counts), 1 << (BASE - zoom)
        spans = [(at * TILE_PX - margin, (at + 1) * TILE_PX + margin) for at in (y, x)]
        edge = _SIDE_PX // factor
        inside = [(max(first, 0), min(stop, edge)) for first, stop in spans]
        rows, columns = (slice(first * factor, stop * factor) for first, stop in inside)
        missing = [(kept[0] - span[0], span[1] - kept[1]) for span, kept in zip(spans, inside, strict=True)]
        return np.pad(_summed(whole[rows, columns], factor), missing)

    def _counted(self, zoom: int, x: int, y: int, margin: int, deep: bool) -> NDArray[np.float32]:
        scale, edge, side = 1 << zoom, margin / TILE_PX, TILE_PX + 2 * margin
        reach = [((at - edge) / scale, (at + 1 + edge) / scale) for at in (y, x)]
        most = (1 << BASE) - 1
        (top, bottom), (left, right) = ([min(max(int(v * (1 << BASE)), 0), most) for v in ends] for ends in reach)
        pixels = np.zeros(side * side, np.float32)
        for row in range(top, bottom + 1):  # of the tiles of `BASE`, whose rows follow one another in the list
            rows = slice(self.first[(row << BASE) + left], self.first[(row << BASE) + right + 1])
            at_x, at_y = (np.floor((v[rows] * scale - at) * TILE_PX).astype(np.int64) + margin
                          for v, at in ((self.x, x), (self.y, y)))  # fmt: skip
            here = (at_x >= 0) & (at_x < side) & (at_y >= 0) & (at_y < side)
            weights = self.depth[rows][here] if deep and self.depth is not None else None
            pixels += np.bincount(at_y[here] * side + at_x[here], weights, side * side)
        return pixels.reshape(side, side)


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


def _smoothed(pixels: NDArray, width_px: float) -> NDArray[np.float32]:
    """Draw a Gaussian of peak about 1 for each count."""
    peak = 2 * math.pi * width_px**2
    light = gaussian_filter(pixels.astype(np.float32), width_px, mode="constant", truncate=3.5)
    return np.asarray(peak * light, np.float32)
