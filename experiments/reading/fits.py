"""Emitters in frames: drawn, taken off, and fitted each with the others taken off."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.reading.spots import SpotTable
from optics import Camera, cut_stamps, fit_emitters
from optics.camera import photons_to_adu, variance_adu
from optics.fits.climb import LEAST_BACKGROUND, LEAST_PHOTONS
from optics.fits.stamps import Stamps, to_frame_um
from optics.psf_table import PsfTable, evaluate
from optics.pytree import replace

_DRAWN = 256  # images at a time: one shape, one compilation
_FITTED = (32, 256)  # fits at a time: two shapes, two compilations
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
        """Those rows."""
        return EmitterList(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    def __len__(self) -> int:
        return len(self.frame)


def unfitted(frame: NDArray, theta: NDArray) -> EmitterList:
    """Emitters as they were guessed."""
    n = len(frame)
    theta = np.asarray(theta, np.float64).reshape(n, 5)
    nothing = np.full(n, np.inf)
    return EmitterList(np.asarray(frame, np.int64), theta, np.full((n, 5), np.inf), nothing, np.zeros(n, bool))


def join(first: EmitterList, second: EmitterList) -> EmitterList:
    """One list behind the other."""
    pairs = {f.name: (getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(EmitterList)}
    return EmitterList(**{name: np.concatenate(pair) for name, pair in pairs.items()})


@jax.jit
def _images(table: PsfTable, xyz_um: jax.Array) -> jax.Array:
    return jax.vmap(lambda point: evaluate(table, point)[0])(xyz_um)


class EmitterFitter:
    """Draws and fits emitters of one kind of spot as one camera sees them; `camera` has numbers or (H, W) maps."""

    def __init__(self, spots: SpotTable, camera: Camera, saturation_adu: float | None = None) -> None:
        self.spots, self.camera, self._saturation_adu = spots, camera, saturation_adu
        low, high = np.asarray(spots.table.z_range_um, np.float64)
        self.z_range = (float(low), float(high))

    def draw(self, emitters: EmitterList, shape: tuple[int, ...]) -> tuple[NDArray, NDArray]:
        """Expected photons (F, H, W) of all emitters, without background, and each one's own stamp (N, K, K)."""
        side = self.spots.image_px
        frames = np.zeros((shape[0], shape[1] + 2 * side, shape[2] + 2 * side))
        own = self._own(emitters)
        row, column = self._first(emitters)
        for k, (f, i, j) in enumerate(zip(emitters.frame, row + side, column + side, strict=True)):
            frames[f, i : i + side, j : j + side] += own[k]
        return frames[:, side:-side, side:-side], own

    def fit(
        self,
        counts: NDArray,
        everyone: EmitterList,
        rows: NDArray | None = None,
        *,
        search: bool,
        max_steps: int = 40,
    ) -> EmitterList:
        """Fit emitters in counts (F, H, W), those of `rows` (default: all), with all others, as they stand, taken off.

        With `search` the depth is looked for anew, else the fit begins where the emitter stands. The neighbours are
        part of what is expected, mean and noise: they shift a stamp's offset and add to its variance, so that the
        likelihood and the bounds are those of the pixels as recorded.
        """
        drawn, own = self.draw(everyone, counts.shape)
        emitters = everyone
        if rows is not None:
            emitters, own = everyone.take(rows), own[rows]
        if not len(emitters):
            return emitters
        side = self.spots.image_px
        where = emitters.theta[:, 1] / self.spots.pixel_um, emitters.theta[:, 0] / self.spots.pixel_um
        stamps = cut_stamps(counts, emitters.frame, *where, self.spots.image_px, camera=self.camera, edge="mask")
        around = cut_stamps(drawn, emitters.frame, *where, self.spots.image_px, edge="mask").images - own
        around = np.where(stamps.valid, np.maximum(around, 0), 0)
        init = None
        if not search:
            init = np.concatenate([self._relative(emitters), emitters.theta[:, 3:]], axis=1)
            init[:, 3] = np.maximum(init[:, 3], 2 * LEAST_PHOTONS)
            init[:, 4] = np.maximum(init[:, 4], 2 * LEAST_BACKGROUND)
        fits = fit_emitters(
            self.spots.table,
            stamps.images,
            camera=_among(stamps, self.camera, around),
            valid=stamps.valid,
            init=init,
            max_steps=max_steps,
            saturation_adu=self._saturation_adu,
            chunk=_FITTED[0] if len(emitters) <= _FITTED[0] else min(_FITTED[1], max(32, 2**18 // side**2)),
        )
        relative = np.asarray(fits.xyz_um, np.float64)
        xyz = to_frame_um(stamps, relative, self.spots.pixel_um)
        light = np.stack([fits.photons, fits.background], axis=1)
        on_rim = (np.abs(relative[:, :2]) > _TRUSTED_MOVE_PX * self.spots.pixel_um).any(axis=1)
        inside = (xyz[:, :2] > 0).all(axis=1) & (xyz[:, :2] < self._size_um(counts.shape)).all(axis=1)
        std = np.asarray(fits.crlb_std, np.float64)
        theta = np.concatenate([xyz, light], axis=1).astype(np.float64)
        # a spot wider than any in a Gaussian's table is still a spot; at a depth's limit it lies beyond
        wide = (np.abs(relative[:, 2]) >= 1 - 1e-6) & (light[:, 0] > 2 * LEAST_PHOTONS) & (not self.spots.deep)
        good = (np.asarray(fits.converged) | wide) & (~np.asarray(fits.at_bound) | wide) & ~on_rim & inside
        good &= np.isfinite(theta).all(axis=1) & np.isfinite(std).all(axis=1)
        # what is not to be kept stays inside the frame and the table, where it can still be drawn
        theta[:, :2] = np.clip(theta[:, :2], 0, np.nextafter(self._size_um(counts.shape), 0))
        return EmitterList(emitters.frame, theta, std, np.asarray(fits.chi2_ratio, np.float64), good)

    def _size_um(self, shape: tuple[int, ...]) -> NDArray:
        return np.array([shape[2], shape[1]]) * self.spots.pixel_um

    def _first(self, emitters: EmitterList) -> tuple[NDArray, NDArray]:
        """Row and column of the first pixel of each emitter's stamp, the nearest one, as `cut_stamps` has it."""
        place = np.floor(emitters.theta[:, :2] / self.spots.pixel_um - self.spots.image_px / 2 + 0.5).astype(int)
        return place[:, 1], place[:, 0]

    def _relative(self, emitters: EmitterList) -> NDArray:
        """Positions (N, 3) from the centres of their stamps, inside the table."""
        row, column = self._first(emitters)
        centre = (np.stack([column, row], axis=1) + self.spots.image_px / 2) * self.spots.pixel_um
        z = np.clip(emitters.theta[:, 2], *self.z_range)
        return np.concatenate([emitters.theta[:, :2] - centre, z[:, None]], axis=1)

    def _own(self, emitters: EmitterList) -> NDArray:
        relative, n, side = self._relative(emitters), len(emitters), self.spots.image_px
        parts = [np.zeros((0, side * side))]
        for start in range(0, n, _DRAWN):
            rows = np.minimum(np.arange(start, start + _DRAWN), n - 1)
            points = jnp.asarray(relative[rows], dtype=float)
            parts.append(np.asarray(_images(self.spots.table, points), np.float64)[: n - start])
        return (np.concatenate(parts) * emitters.theta[:, 3:4]).reshape(n, side, side)


def _among(stamps: Stamps, camera: Camera, around: NDArray) -> Camera:
    """The camera under each stamp with the neighbours' light (N, K, K) as part of its offset and read noise."""
    under = camera if stamps.camera is None else stamps.camera
    none = np.zeros_like(around)
    shift = np.asarray(photons_to_adu(under, around)) - np.asarray(photons_to_adu(under, none))
    more = (np.asarray(variance_adu(under, around)) - np.asarray(variance_adu(under, none))) / np.square(
        np.asarray(under.gain_adu_per_e)
    )
    return replace(
        under,
        offset_adu=np.asarray(under.offset_adu) + shift,
        read_noise_e=np.sqrt(np.square(np.asarray(under.read_noise_e)) + more),
    )
