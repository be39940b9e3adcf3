"""Where emitters may be: matched filters over depth, in standard deviations of the camera's noise.

At each pixel and for each template t the significance of "an emitter here" against "background only" is that of the
weighted least-squares estimate of its photons, with weights w = 1 / variance of each pixel and a background that may
be off by a constant (t less its mean): S = sum w t (I - b) / sqrt(sum w t^2), by FFT. Templates of other depths and
places see part of the same light; a candidate that may be a side lobe of a stronger one waits until that is taken off.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from experiments.emitter_fits import EmitterList, unfitted
from experiments.spot_table import SpotTable
from optics import Camera
from optics.camera import variance_adu
from optics.psf_table import evaluate
from optics.pytree import pytree, static

_ALIKE = 0.85  # of two templates: what a depth between chosen ones may lose of its significance
_LOBE = 0.5  # a candidate waits for the next round if a stronger one's side lobe may make up so much of it
_LEAST_VARIANCE = 0.25  # photons^2: a dark pixel without read noise is not infinitely sure


@pytree
class Templates:
    """Spots at some depths, (Z, K, K) less their means, and what `significance` needs of them."""

    depth: jax.Array
    spectra: jax.Array
    power: jax.Array
    coverage: jax.Array
    shape: tuple[int, int] = static()
    image_px: int = static()


def choose_depths(spots: SpotTable) -> tuple[NDArray, NDArray]:
    """Depths (Z,) and images (Z, K, K) of one photon there: as few as leave no depth unlike all of them."""
    low, high = np.asarray(spots.table.z_range_um, np.float64)
    depth = np.linspace(low, high, int(3 * spots.table.degrees[1]) + 2)
    points = jnp.asarray(np.stack([0 * depth, 0 * depth, depth], axis=1), dtype=float)
    images = np.asarray(jax.vmap(lambda point: evaluate(spots.table, point)[0])(points), np.float64)
    flat = images - images.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    alike = flat @ flat.T
    chosen: list[int] = []
    uncovered = np.ones(len(depth), bool)
    while uncovered.any():
        best = int(np.argmax(np.sum((alike > _ALIKE) & uncovered, axis=1)))
        chosen.append(best)
        uncovered &= alike[best] <= _ALIKE
    picked = np.sort(chosen)
    side = spots.image_px
    return depth[picked], images[picked].reshape(-1, side, side)


class Detector:
    """Finds candidates of one kind of spot in frames of any size; the templates of a size are made once."""

    def __init__(self, spots: SpotTable, camera: Camera, threshold_sigma: float, background_px: int) -> None:
        self._spots, self._camera, self._threshold = spots, camera, threshold_sigma
        self._block = background_px or max(16, 2 * spots.image_px)
        self.depth, images = choose_depths(spots)
        self._shapes = images - images.mean(axis=(1, 2), keepdims=True)
        self._overlap = _largest_overlap(self._shapes)
        self._templates: dict[tuple[int, int], Templates] = {}

    def find(self, residual: NDArray, drawn: NDArray, model_error: float) -> tuple[EmitterList, NDArray]:
        """Candidates in what is left of frames (F, H, W) in photons, where `drawn` was taken off, and backgrounds."""
        shape = residual.shape[1:]
        if shape not in self._templates:
            self._templates[shape] = _make_templates(self.depth, self._shapes, shape)
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
    size = _fast(2 * side - 1)
    norm = np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    spectra = np.fft.rfft2(shapes / norm, (size, size))
    lags = np.arange(1 - side, side)
    largest = np.full((size, size), -1.0)
    for spectrum in spectra:
        largest = np.maximum(largest, np.fft.irfft2(spectrum * spectra.conj(), (size, size)).max(axis=0))
    return np.maximum(largest, largest[-np.arange(size)][:, -np.arange(size)])[np.ix_(lags, lags)]


def _fast(n: int) -> int:
    """The next length from n up that an FFT likes."""
    return int(scipy.fft.next_fast_len(n, real=True) or n)


def _make_templates(depth: NDArray, shapes: NDArray, shape: tuple[int, int]) -> Templates:
    side = shapes.shape[-1]
    size = tuple(_fast(n + side) for n in shape)
    canvas = np.zeros((len(shapes), *size))
    canvas[:, :side, :side] = shapes
    canvas = np.roll(canvas, (-(side // 2), -(side // 2)), axis=(1, 2))
    power = np.sum(shapes**2, axis=(1, 2))
    cover = np.mean(canvas**2 / power[:, None, None], axis=0)
    kind = jnp.result_type(jnp.complex64, float)
    return Templates(
        depth=jnp.asarray(depth, dtype=float),
        spectra=jnp.asarray(np.fft.rfft2(canvas).conj(), dtype=kind),
        power=jnp.asarray(power, dtype=float),
        coverage=jnp.asarray(np.fft.rfft2(cover).conj(), dtype=kind),
        shape=(size[0], size[1]),
        image_px=side,
    )


@partial(jax.jit, static_argnums=5)
def _significance(
    templates: Templates, camera: Camera, residual: jax.Array, drawn: jax.Array, model_error: jax.Array, block: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Of frames (F, H, W): the significance where it is a local maximum (else 0), its template, photons, background."""
    size, shape = templates.shape, residual.shape[1:]
    per_photon = camera.gain_adu_per_e * camera.em_gain * camera.quantum_efficiency

    def correlate(spectrum: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.fft.irfft2(spectrum * kernel, size)[: shape[0], : shape[1]]

    def one(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        rest, model = pair
        level = background(rest, block)
        variance = variance_adu(camera, jnp.maximum(level, 0) + model) / per_photon**2 + (model_error * model) ** 2
        weight = 1 / jnp.maximum(variance, _LEAST_VARIANCE)
        spectrum = jnp.fft.rfft2((rest - level) * weight, size)
        covered = jnp.maximum(correlate(jnp.fft.rfft2(weight, size), templates.coverage), 1e-6 * weight.min())

        def better(best, kernel):
            strength, kind, light = best
            spectra, power, number = kernel
            found = correlate(spectrum, spectra)
            height = found / jnp.sqrt(covered * power)
            taken = height > strength
            number = jnp.full_like(kind, number)
            return (
                jnp.where(taken, height, strength),
                jnp.where(taken, number, kind),
                jnp.where(taken, found / (covered * power), light),
            ), None

        nothing = jnp.full(shape, -jnp.inf, rest.dtype), jnp.zeros(shape, jnp.int32), jnp.zeros(shape, rest.dtype)
        kinds = jnp.arange(len(templates.power), dtype=jnp.int32)
        (strength, kind, light), _ = jax.lax.scan(better, nothing, (templates.spectra, templates.power, kinds))
        highest = jax.lax.reduce_window(strength, -jnp.inf, jax.lax.max, (3, 3), (1, 1), "SAME")
        return jnp.where(strength >= highest, strength, 0.0), kind, light, level

    return jax.lax.map(one, (residual, drawn))


def background(frame: jax.Array, block: int) -> jax.Array:
    """The level (H, W) of a frame (H, W): medians of blocks of about `block` pixels, the middle of 3 x 3 of them
    where one stands out, and straight lines between."""
    height, width = frame.shape
    rows, columns = max(1, round(height / block)), max(1, round(width / block))
    high, wide = -(-height // rows), -(-width // columns)
    # edges repeated inwards: a block at the rim is as full as the others
    padded = jnp.pad(frame, ((0, rows * high - height), (0, columns * wide - width)), mode="symmetric")
    blocks = padded.reshape(rows, high, columns, wide).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    level = jnp.median(blocks, axis=-1)
    around = jnp.pad(level, 1, mode="edge")
    nine = jnp.stack([around[i : i + rows, j : j + columns] for i in range(3) for j in range(3)])
    # crowded blocks read too high: the lower third of a neighbourhood is nearer the level without emitters
    level = jnp.minimum(level, jnp.median(nine, axis=0))
    smooth = jax.image.resize(level, (rows * high, columns * wide), "linear")
    return smooth[:height, :width]
