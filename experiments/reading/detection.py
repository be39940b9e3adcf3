"""Where emitters may be: candidates of `optics.matched_filter` in frames of a movie, side lobes put back.

Templates of other depths and places see part of the same light; a candidate that may be a side lobe of a stronger one
waits until that is taken off.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.reading.fits import EmitterList, unfitted
from experiments.reading.spots import SpotTable
from optics import Camera
from optics.camera import adu_per_photon, variance_adu
from optics.fits.matched_filter import (
    Templates,
    choose_depths,
    local_background,
    local_maxima,
    make_templates,
    significance_maps,
)

_LOBE = 0.5  # a candidate waits for the next round if a stronger one's side lobe may make up so much of it


class Detector:
    """Finds candidates of one kind of spot in frames of any size; the templates of a size are made once."""

    def __init__(self, spots: SpotTable, camera: Camera, threshold_sigma: float, background_px: int) -> None:
        self._spots, self._camera, self._threshold = spots, camera, threshold_sigma
        self._block = background_px or max(16, 2 * spots.image_px)
        self.depth, self._images = choose_depths(spots.table)
        self._overlap = _largest_overlap(self._images - self._images.mean(axis=(1, 2), keepdims=True))
        self._templates: dict[tuple[int, int], Templates] = {}

    def find(self, residual: NDArray, drawn: NDArray, model_error: float) -> tuple[EmitterList, NDArray]:
        """Find candidates in what is left of frames (F, H, W) in photons, without `drawn`; and backgrounds."""
        shape = residual.shape[1:]
        if shape not in self._templates:
            self._templates[shape] = make_templates(self.depth, self._images, shape)
        maps = _significance(
            self._templates[shape],
            self._camera,
            jnp.asarray(residual, dtype=float),
            jnp.asarray(drawn, dtype=float),
            jnp.asarray(model_error, dtype=float),
            self._block,
        )
        height, depth, photons, background = (np.asarray(part) for part in maps)
        frame, row, column = np.nonzero(height > self._threshold)
        picked = [
            self._first_ones(height, *(part[frame == f] for part in (frame, row, column))) for f in np.unique(frame)
        ]
        chosen = np.concatenate([np.zeros((0, 3), int), *picked])
        f, i, j = chosen.T
        side, pixel = self._spots.image_px, self._spots.pixel_um
        centre = (np.stack([j, i], axis=1) - side // 2 + side / 2) * pixel
        z = self.depth[depth[f, i, j]]
        light = np.stack([photons[f, i, j], np.maximum(background[f, i, j], 1e-2)], axis=1)
        return unfitted(f, np.concatenate([centre, z[:, None], light], axis=1)), background

    def _first_ones(self, height: NDArray, frame: NDArray, row: NDArray, column: NDArray) -> NDArray:
        """Those candidates of one frame, strongest first, that cannot be side lobes of stronger ones among them."""
        strength = height[frame, row, column]
        order = np.argsort(-strength, kind="stable")
        strength, row, column = strength[order], row[order], column[order]
        waiting, kept, reach = np.zeros(len(order), bool), [], self._spots.image_px - 1
        for k in range(len(order)):
            if waiting[k]:
                continue
            kept.append(k)
            down, right = row - row[k], column - column[k]
            near = (np.abs(down) <= reach) & (np.abs(right) <= reach)
            lobe = strength[k] * self._overlap[down[near] + reach, right[near] + reach]
            waiting[near] |= lobe > _LOBE * strength[near]
        return np.stack([frame[kept], row[kept], column[kept]], axis=1)


def _largest_overlap(shapes: NDArray) -> NDArray:
    """(2K-1, 2K-1): the largest normalised correlation of any template with any template moved by (dy, dx)."""
    side = shapes.shape[-1]
    size = 2 * side - 1
    norm = np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    spectra = np.fft.rfft2(shapes / norm, (size, size))
    lags = np.arange(1 - side, side)
    largest = np.full((size, size), -1.0)
    for spectrum in spectra:
        largest = np.maximum(largest, np.fft.irfft2(spectrum * spectra.conj(), (size, size)).max(axis=0))
    return np.maximum(largest, largest[-np.arange(size)][:, -np.arange(size)])[np.ix_(lags, lags)]


@partial(jax.jit, static_argnums=5)
def _significance(
    templates: Templates, camera: Camera, residual: jax.Array, drawn: jax.Array, model_error: jax.Array, block: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Of frames (F, H, W): the significance where it is a local maximum (else 0), its template, photons, background."""
    per_photon = adu_per_photon(camera)

    def one(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        rest, model = pair
        level = local_background(rest, block)
        variance = variance_adu(camera, jnp.maximum(level, 0) + model) / per_photon**2 + (model_error * model) ** 2
        strength, kind, light = significance_maps(templates, rest - level, variance)
        return local_maxima(strength), kind, light, level

    return jax.lax.map(one, (residual, drawn))
