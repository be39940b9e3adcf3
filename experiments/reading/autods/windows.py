"""A frame's patches through their networks and into one picture: windows, weights, and the two compiled programs."""

from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from localization.patches import Patches
from nets.deepstorm_quick import halo_px, read_window

BLEND_PX = 2  # on each side of the border between patches their pictures go over into each other
SMOOTH_TAPS = 9  # of the Gaussian of 1 fine pixel that peaks are looked for under
BATCH = 2  # windows at a time: more leave the cache


@partial(jax.jit, static_argnums=(2, 3))
def _densities(variables: Any, windows: jax.Array, upsampling: int, spike: float) -> jax.Array:
    return jnp.maximum(read_window(variables, windows, upsampling), 0.0) / spike


@partial(jax.jit, static_argnums=(1, 2))
def _tops(picture: jax.Array, radius: int, least: float) -> jax.Array:
    """Mark what may be a peak of a picture (h, w): the largest of its square after a Gaussian of 1 px, above `least`.

    The outermost radius + SMOOTH_TAPS // 2 pixels are left out: (h - 2 n, w - 2 n).
    """
    taps = np.exp(-0.5 * (np.arange(SMOOTH_TAPS) - SMOOTH_TAPS // 2) ** 2)
    taps /= taps.sum()
    smooth = picture
    for axis in (0, 1):
        size = smooth.shape[axis] - SMOOTH_TAPS + 1
        parts = (float(tap) * jax.lax.slice_in_dim(smooth, k, k + size, axis=axis) for k, tap in enumerate(taps))
        smooth = sum(parts, jnp.zeros((), picture.dtype))
    largest = smooth
    for axis in (0, 1):
        size = largest.shape[axis] - 2 * radius
        shifted = [jax.lax.slice_in_dim(largest, k, k + size, axis=axis) for k in range(2 * radius + 1)]
        largest = reduce(jnp.maximum, shifted)
    inner = smooth[radius:-radius, radius:-radius]
    return (inner >= largest) & (inner > least)


def ramps(edges: NDArray[np.int64], fine: int, blend_px: int = BLEND_PX) -> NDArray[np.float32]:
    """Weights (patches, fine pixels) along one axis: 1 inside a patch, sloping over its borders; they add up to 1."""
    size = int(edges[-1])
    place = (np.arange(size * fine) + 0.5) / fine
    weights = np.empty((len(edges) - 1, size * fine), np.float32)
    for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        rise = np.ones_like(place) if low == 0 else np.clip((place - low + blend_px) / (2 * blend_px), 0, 1)
        fall = np.ones_like(place) if high == size else np.clip((high + blend_px - place) / (2 * blend_px), 0, 1)
        weights[k] = np.minimum(rise, fall)
    return weights


def spread(values: NDArray, patches: Patches) -> NDArray[np.float32]:
    """Interpolate a number of each patch (R, C) linearly between their centres: (H, W), level beyond the outermost."""
    axes = []
    for edges in (patches.row_edges, patches.column_edges):
        centres, place = (edges[:-1] + edges[1:]) / 2, np.arange(edges[-1]) + 0.5
        axes.append(np.stack([np.interp(place, centres, unit) for unit in np.eye(len(centres))], axis=1))
    return (axes[0] @ values @ axes[1].T).astype(np.float32)


class PatchProgram:
    """The pictures of frames whose patches are read by networks of one shape.

    Windows hold a patch, the blend around it and the halo that decides about both, so that neighbours with one network
    fit together as one picture, whatever the cut.
    """

    def __init__(self, patches: Patches, upsampling: int, spike: float) -> None:
        self.patches, self.fine, self._spike = patches, upsampling, spike
        self._margin = halo_px(upsampling) + BLEND_PX
        sides = (int(np.diff(edges).max()) for edges in (patches.row_edges, patches.column_edges))
        self._core = tuple(side + 2 * BLEND_PX for side in sides)
        self._weights = [ramps(edges, upsampling) for edges in (patches.row_edges, patches.column_edges)]

    def scaled(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a frame to the networks' scale: each place by mean and spread of the patches around it."""
        mean = self.patches.mean(frame)
        square = self.patches.mean(frame.astype(np.float64) ** 2)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        width = spread(np.where(std > 0, std, 1.0), self.patches)
        return (frame - spread(mean, self.patches)) / width

    def picture(
        self, frame: NDArray[np.float32], networks: dict[int, Any], level: NDArray[np.int64], seen: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the density (u H, u W), in emitters per fine pixel, of a frame (H, W) in counts.

        `networks` are variables by level, `level` (R, C) says which one a patch takes, `seen` whether there is anything
        to read in it: where not, no network is asked.
        """
        u, margin = self.fine, self._margin
        height, width = frame.shape
        canvas = np.zeros((u * height, u * width), np.float32)
        if not seen.any():
            return canvas
        side = tuple(c + 2 * (margin - BLEND_PX) for c in self._core)
        # a patch that is a pixel smaller than the largest reaches that much further
        padded = np.pad(self.scaled(frame), [(margin, margin + 2)] * 2, mode="symmetric")
        cut = [(r, c, rows, columns) for r, c, rows, columns in self.patches.each() if seen[r, c]]
        for number in sorted({int(level[r, c]) for r, c, _, _ in cut}):
            mine = [patch for patch in cut if level[patch[0], patch[1]] == number]
            for first in range(0, len(mine), BATCH):
                batch = mine[first : first + BATCH]
                windows = np.zeros((BATCH, *side), np.float32)
                for k, (_, _, rows, columns) in enumerate(batch):
                    window = padded[rows.start : rows.start + side[0], columns.start : columns.start + side[1]]
                    windows[k, : window.shape[0], : window.shape[1]] = window
                found = np.asarray(_densities(networks[number], windows, u, self._spike))
                for (r, c, rows, columns), density in zip(batch, found, strict=False):
                    self._add(canvas, density, r, c, rows, columns)
        return canvas

    def _add(self, canvas: NDArray, density: NDArray, r: int, c: int, rows: slice, columns: slice) -> None:
        """Add a patch's picture, which begins the blend before the patch, with its weights."""
        u, places = self.fine, []
        for part, size in ((rows, canvas.shape[0]), (columns, canvas.shape[1])):
            low, high = max(u * (part.start - BLEND_PX), 0), min(u * (part.stop + BLEND_PX), size)
            begin = low - u * (part.start - BLEND_PX)
            places.append((slice(low, high), slice(begin, begin + high - low)))
        (y, y_own), (x, x_own) = places
        weight = self._weights[0][r, y, None] * self._weights[1][c, None, x]
        canvas[y, x] += weight * density[y_own, x_own]

    def peaks(
        self,
        picture: NDArray[np.float32],
        seen: NDArray[np.bool_],
        threshold: float | NDArray[np.float64],
        radius: int = 3,
    ) -> NDArray[np.float64]:
        """List the peaks (P, 3) of a picture that hold `threshold` emitters: x, y in fine pixels, and what they hold.

        The threshold is one number or one for each patch (R, C). Read as by `localization.image_peaks`, where patches
        were read.
        """
        u, rim = self.fine, radius + SMOOTH_TAPS // 2
        size = tuple(u * core + 2 * rim for core in self._core)
        padded = np.pad(picture, [(rim, rim + u * 8)] * 2)
        limits = np.broadcast_to(np.asarray(threshold, float), self.patches.shape)
        least = float(limits.min()) / (2 * radius + 1) ** 4
        found: set[tuple[int, int]] = set()
        for r, c, rows, columns in self.patches.each():
            if not seen[r, c]:
                continue
            i0, j0 = (u * max(part.start - BLEND_PX, 0) for part in (rows, columns))
            part = padded[i0 : i0 + size[0], j0 : j0 + size[1]]
            window = np.zeros(size, np.float32)
            window[: part.shape[0], : part.shape[1]] = part
            i, j = np.nonzero(np.asarray(_tops(window, radius, least)))
            found.update(zip((i + i0).tolist(), (j + j0).tolist(), strict=True))
        place = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        place = place[(place < picture.shape).all(axis=1)]
        steps = np.arange(2 * radius + 1)
        near = np.pad(picture, radius)
        squares = near[place[:, 0, None, None] + steps[:, None], place[:, 1, None, None] + steps].astype(np.float64)
        held = squares.sum(axis=(1, 2))
        edges = (self.patches.row_edges, self.patches.column_edges)
        row, column = (np.searchsorted(e, place[:, k] // u, side="right") - 1 for k, e in enumerate(edges))
        good = held >= limits[row, column]
        place, squares, held = place[good], squares[good], held[good]
        x = place[:, 1] + 0.5 + squares.sum(axis=1) @ (steps - radius) / held
        y = place[:, 0] + 0.5 + squares.sum(axis=2) @ (steps - radius) / held
        return np.stack([x, y, held], axis=1)
