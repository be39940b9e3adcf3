"""Emitters that share no pixel with others: drawn, and fitted one by one, hundreds at a time."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.reading.spots import SpotTable
from optics import Camera, cut_stamps, fit_emitters
from optics.fits.climb import LEAST_PHOTONS
from optics.fits.stamps import to_frame_um
from optics.psf_table import PsfTable, evaluate

_DRAWN = 256  # images at a time: one shape, one compilation
_FITTED = (32, 256)  # fits at a time: two shapes, two compilations
_FEWEST_PIXELS = 9  # for five unknowns
_TRUSTED_MOVE_PX = 1.4  # a fit ends on the table's rim at 1.5


@dataclass(frozen=True, eq=False)
class EmitterList:
    """N emitters of a group of frames: `frame` (N,) in the group, `theta` (N, 5) x, y, z (um, in the frame), photons,
    background, and how their fits ended; numpy columns of one length."""

    frame: NDArray[np.int64]
    theta: NDArray[np.float64]
    std: NDArray[np.float64]
    chi2_ratio: NDArray[np.float64]
    good: NDArray[np.bool_]

    def take(self, rows: NDArray) -> "EmitterList":
        """Return those rows."""
        return EmitterList(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    def __len__(self) -> int:
        return len(self.frame)


def unfitted(frame: NDArray, theta: NDArray) -> EmitterList:
    """Make a list of emitters as they were guessed."""
    n = len(frame)
    theta = np.asarray(theta, np.float64).reshape(n, 5)
    nothing = np.full(n, np.inf)
    return EmitterList(np.asarray(frame, np.int64), theta, np.full((n, 5), np.inf), nothing, np.zeros(n, bool))


@jax.jit
def _images(table: PsfTable, xyz_um: jax.Array) -> jax.Array:
    return jax.vmap(lambda point: evaluate(table, point)[0])(xyz_um)


class EmitterFitter:
    """Draws and fits emitters of one kind of spot as one camera sees them; `camera` has numbers or (H, W) maps."""

    def __init__(self, spots: SpotTable, camera: Camera) -> None:
        self.spots, self.camera = spots, camera
        low, high = np.asarray(spots.table.z_range_um, np.float64)
        self._z_range = (float(low), float(high))

    def draw(self, emitters: EmitterList, shape: tuple[int, ...]) -> NDArray:
        """Draw the expected photons (F, H, W) of all emitters, without background."""
        side = self.spots.image_px
        frames = np.zeros((shape[0], shape[1] + 2 * side, shape[2] + 2 * side))
        row, column = self._first(emitters)
        places = zip(emitters.frame, row + side, column + side, self._stamps(emitters), strict=True)
        for f, i, j, stamp in places:
            frames[f, i : i + side, j : j + side] += stamp
        return frames[:, side:-side, side:-side]

    def fit(self, counts: NDArray, valid: NDArray, emitters: EmitterList, *, max_steps: int = 40) -> EmitterList:
        """Fit emitters in counts (F, H, W) from where they were seen; `valid` are the pixels that count."""
        if not len(emitters):
            return emitters
        side, pixel_um = self.spots.image_px, self.spots.pixel_um
        where = emitters.theta[:, 1] / pixel_um, emitters.theta[:, 0] / pixel_um
        stamps = cut_stamps(counts, emitters.frame, *where, side, camera=self.camera, edge="mask")
        known = cut_stamps(valid, emitters.frame, *where, side, edge="mask").images & stamps.valid
        # a stamp without pixels is no error of the user's: it is fitted to nothing and not kept
        told = known.sum(axis=(1, 2)) >= _FEWEST_PIXELS
        fits = fit_emitters(
            self.spots.table,
            stamps.images,
            camera=self.camera if stamps.camera is None else stamps.camera,
            valid=known | ~told[:, None, None],
            max_steps=max_steps,
            chunk=_FITTED[0] if len(emitters) <= _FITTED[0] else min(_FITTED[1], max(32, 2**18 // side**2)),
        )
        relative = np.asarray(fits.xyz_um, np.float64)
        xyz = to_frame_um(stamps, relative, pixel_um)
        light = np.stack([fits.photons, fits.background], axis=1)
        on_rim = (np.abs(relative[:, :2]) > _TRUSTED_MOVE_PX * pixel_um).any(axis=1)
        size_um = np.array([counts.shape[2], counts.shape[1]]) * pixel_um
        inside = (xyz[:, :2] > 0).all(axis=1) & (xyz[:, :2] < size_um).all(axis=1)
        std = np.asarray(fits.crlb_std, np.float64)
        theta = np.concatenate([xyz, light], axis=1).astype(np.float64)
        # at an end of the depths (or widths) a fit stands as well as it can
        at_end = self.spots.at_end(relative[:, 2]) & (light[:, 0] > 2 * LEAST_PHOTONS)
        good = told & (np.asarray(fits.converged) | at_end) & (~np.asarray(fits.at_bound) | at_end) & ~on_rim & inside
        good &= np.isfinite(theta).all(axis=1) & np.isfinite(std).all(axis=1)
        # what is not to be kept stays inside the frame and the table, where it can still be drawn
        theta[:, :2] = np.clip(theta[:, :2], 0, np.nextafter(size_um, 0))
        return EmitterList(emitters.frame, theta, std, np.asarray(fits.chi2_ratio, np.float64), good)

    def _first(self, emitters: EmitterList) -> tuple[NDArray, NDArray]:
        """Row and column of the first pixel of each emitter's stamp, the nearest one, as `cut_stamps` has it."""
        place = np.floor(emitters.theta[:, :2] / self.spots.pixel_um - self.spots.image_px / 2 + 0.5).astype(int)
        return place[:, 1], place[:, 0]

    def _stamps(self, emitters: EmitterList) -> NDArray:
        """The light (N, K, K) of each emitter."""
        n, side = len(emitters), self.spots.image_px
        row, column = self._first(emitters)
        centre = (np.stack([column, row], axis=1) + side / 2) * self.spots.pixel_um
        z = np.clip(emitters.theta[:, 2], *self._z_range)
        relative = np.concatenate([emitters.theta[:, :2] - centre, z[:, None]], axis=1)
        parts = [np.zeros((0, side * side))]
        for start in range(0, n, _DRAWN):
            rows = np.minimum(np.arange(start, start + _DRAWN), n - 1)
            points = jnp.asarray(relative[rows], dtype=float)
            parts.append(np.asarray(_images(self.spots.table, points), np.float64)[: n - start])
        return (np.concatenate(parts) * emitters.theta[:, 3:4]).reshape(n, side, side)
