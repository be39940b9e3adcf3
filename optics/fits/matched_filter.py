"""Matched filters over depth: at each pixel, how sure is "an emitter here" against "background only".

For each template t the significance is that of the weighted least-squares estimate of its photons, with weights
w = 1 / variance of each pixel and a background that may be off by a constant (t less its mean):
S = sum w t (I - b) / sqrt(sum w t^2), in standard deviations of the camera's noise, by FFT. S^2 / 2 is the gain in
log-likelihood of the best brightness over none under Gaussian noise (Kay 1998, Fundamentals of Statistical Signal
Processing II, ch. 7), and S / sqrt(sum w (I - b)^2) under the template is the normalised correlation.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from optics.psf_table import PsfTable, evaluate_on_host
from optics.pytree import pytree, static
from optics.render import lay_stamps

_ALIKE = 0.85  # of two templates: what a depth between chosen ones may lose of its significance
_LEAST_VARIANCE = 0.25  # photons^2: a dark pixel without read noise is not infinitely sure
_SURE = 4.0  # standard deviations above which a proposal is taken off before others are looked for
_LOBE = 0.25  # of a stronger one's significance: what its own side lobes, or what a pixel's rounding leaves, may reach


@pytree
class Templates:
    """Images of one photon at some depths, (Z, K, K), and what `significance_maps` needs of them for one frame size."""

    depth: jax.Array
    images: jax.Array
    spectra: jax.Array
    power: jax.Array
    gain: jax.Array
    coverage: jax.Array
    shape: tuple[int, int] = static()

    @property
    def image_px(self) -> int:
        """Side of an image."""
        return self.images.shape[-1]


@pytree
class Proposals:
    """N places where an emitter may be: the middle of a pixel, and a template's depth.

    `xyz_um` (N, 3) in frame coordinates, `photons` (N,), `significance` (N,) in standard deviations; where there are
    fewer than N maxima the significance is 0.
    """

    xyz_um: jax.Array
    photons: jax.Array
    significance: jax.Array


def choose_depths(table: PsfTable) -> tuple[NDArray, NDArray]:
    """Depths (Z,) and images (Z, K, K) of one photon there: as few as leave no depth unlike all of them."""
    low, high = np.asarray(table.z_range_um, np.float64)
    depth = np.linspace(low, high, int(3 * table.degrees[1]) + 2)
    images = evaluate_on_host(table, np.stack([0 * depth, 0 * depth, depth], axis=1))[:, 0]
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
    return depth[picked], images[picked].reshape(-1, table.image_px, table.image_px)


def make_templates(
    depth: NDArray, images: NDArray, shape: tuple[int, int], *, smooth_px: float | None = None
) -> Templates:
    """Templates for frames of `shape` (H, W) from images (Z, K, K) of one photon at `depth` (Z,).

    With `smooth_px` they are blind to what is smoother than a Gaussian of that sigma, at some cost in significance: for
    frames whose background has structure.
    """
    side = images.shape[-1]
    size = tuple(_fast(n + side) for n in shape)
    shapes = images - images.mean(axis=(1, 2), keepdims=True)
    if smooth_px is not None:
        blurred = scipy.ndimage.gaussian_filter(images, (0, smooth_px, smooth_px), mode="nearest")
        shapes = images - blurred
        shapes -= shapes.mean(axis=(1, 2), keepdims=True)
    canvas = np.zeros((len(shapes), *size))
    canvas[:, :side, :side] = shapes
    canvas = np.roll(canvas, (-(side // 2), -(side // 2)), axis=(1, 2))
    power = np.sum(shapes**2, axis=(1, 2))
    cover = np.mean(canvas**2 / power[:, None, None], axis=0)
    kind = jnp.result_type(jnp.complex64, float)
    return Templates(
        depth=jnp.asarray(depth, dtype=float),
        images=jnp.asarray(images, dtype=float),
        spectra=jnp.asarray(np.fft.rfft2(canvas).conj(), dtype=kind),
        power=jnp.asarray(power, dtype=float),
        gain=jnp.asarray(np.sum(shapes * images, axis=(1, 2)), dtype=float),
        coverage=jnp.asarray(np.fft.rfft2(cover).conj(), dtype=kind),
        shape=(size[0], size[1]),
    )


def _fast(n: int) -> int:
    """The next length from n up that an FFT likes."""
    return int(scipy.fft.next_fast_len(n, real=True) or n)


def significance_maps(
    templates: Templates, rest: jax.Array, variance: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of one frame `rest` (H, W), photons above the background, with noise of `variance` (H, W) photons^2.

    Returns, each (H, W): the significance of the best template there in standard deviations, its number, its photons.

    >>> spot = np.exp(-0.5 * (np.arange(-4, 5) ** 2 + np.arange(-4, 5)[:, None] ** 2))[None] / 6.28
    >>> frame = jnp.zeros((20, 24)).at[6:15, 3:12].add(100 * spot[0])
    >>> strength, _, photons = significance_maps(make_templates(np.zeros(1), spot, (20, 24)), frame, jnp.ones((20, 24)))
    >>> divmod(int(strength.argmax()), 24), round(float(photons[10, 7]))
    ((10, 7), 100)
    """
    size, shape = templates.shape, rest.shape

    def correlate(spectrum: jax.Array, kernel: jax.Array) -> jax.Array:
        return jnp.fft.irfft2(spectrum * kernel, size)[: shape[0], : shape[1]]

    weight = 1 / jnp.maximum(variance, _LEAST_VARIANCE)
    spectrum = jnp.fft.rfft2(rest * weight, size)
    covered = jnp.maximum(correlate(jnp.fft.rfft2(weight, size), templates.coverage), 1e-6 * weight.min())

    def better(best, kernel):
        strength, kind, light = best
        spectra, power, gain, number = kernel
        found = correlate(spectrum, spectra)
        height = found / jnp.sqrt(covered * power)
        taken = height > strength
        number = jnp.full_like(kind, number)
        return (
            jnp.where(taken, height, strength),
            jnp.where(taken, number, kind),
            jnp.where(taken, found / (covered * gain), light),
        ), None

    nothing = jnp.full(shape, -jnp.inf, rest.dtype), jnp.zeros(shape, jnp.int32), jnp.zeros(shape, rest.dtype)
    kinds = jnp.arange(len(templates.power), dtype=jnp.int32)
    return jax.lax.scan(better, nothing, (templates.spectra, templates.power, templates.gain, kinds))[0]


def local_maxima(strength: jax.Array, radius_px: int = 1) -> jax.Array:
    """`strength` (H, W) where nothing within `radius_px` pixels (a square) is larger, else 0."""
    return jnp.where(strength >= _highest(strength, 2 * radius_px + 1), strength, 0.0)


def _highest(values: jax.Array, side_px: int) -> jax.Array:
    return jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, (side_px, side_px), (1, 1), "SAME")


def propose(
    templates: Templates,
    rest: jax.Array,
    variance: jax.Array,
    pixel_um: jax.Array | float,
    *,
    capacity: int,
    radius_px: int = 2,
    rounds: int = 2,
) -> Proposals:
    """The `capacity` most significant places of one frame, strongest first, none within `radius_px` of a stronger one.

    `rest` and `variance` as in `significance_maps`. What is beyond four standard deviations is taken off, with its
    photons, before the next round looks at what is left: side lobes go with their emitter, and weak emitters come out.

    >>> spot = np.exp(-0.5 * (np.arange(-4, 5) ** 2 + np.arange(-4, 5)[:, None] ** 2))[None] / 6.28
    >>> frame = jnp.zeros((20, 24)).at[6:15, 3:12].add(100 * spot[0])
    >>> bank = make_templates(np.zeros(1), spot, (20, 24))
    >>> np.round(np.asarray(propose(bank, frame, jnp.ones((20, 24)), 0.1, capacity=2).xyz_um[0], float), 3).tolist()
    [0.75, 1.05, 0.0]
    """
    side, (height, width) = templates.image_px, rest.shape
    lead = side // 2  # the template's pixel that lies on the proposal's
    rows, columns = jnp.arange(height), jnp.arange(width)
    # a smaller circle of picks is forbidden to later ones; maxima at the frame's rim keep the part they have
    found: list[tuple[jax.Array, ...]] = []
    free, strongest = jnp.ones(rest.shape, bool), jnp.zeros_like(rest)
    reach = 2 * (side // 4) + 1
    for number in range(rounds):
        strength, kind, light = significance_maps(templates, rest, variance)
        peaks = jnp.where(free, local_maxima(jnp.where(free, strength, -jnp.inf), radius_px), 0.0)
        strongest = jnp.maximum(strongest, strength)
        peaks = jnp.where(peaks > _LOBE * _highest(strongest, reach), peaks, 0.0)
        height_of, place = jax.lax.top_k(peaks.ravel(), capacity)
        row, column = jnp.divmod(place, width)
        last = number == rounds - 1
        sure = (height_of > (0.0 if last else _SURE)) & jnp.isfinite(height_of)
        photons = jnp.where(sure, light.ravel()[place], 0.0)
        kinds = kind.ravel()[place]
        found.append((row, column, kinds, photons, jnp.where(sure, height_of, 0.0)))
        if not last:
            stamps = templates.images[kinds] * photons[:, None, None]
            corner = jnp.stack([row - lead, column - lead], axis=1)
            rest = rest - lay_stamps(stamps.astype(rest.dtype), corner, rest.shape)
            near = (
                (jnp.abs(rows[:, None] - row[None, :]) <= radius_px) & sure[None, :],
                jnp.abs(columns[:, None] - column[None, :]) <= radius_px,
            )
            free = free & ~((near[0].astype(jnp.float32) @ near[1].astype(jnp.float32).T) > 0)
    row, column, kinds, photons, strength = (jnp.concatenate(part) for part in zip(*found, strict=True))
    strength, order = jax.lax.top_k(strength, capacity)
    # an even template's middle is the corner between pixels, half a pixel before
    centre_px = jnp.stack([column, row], axis=1)[order] - lead + side / 2
    xyz = jnp.concatenate([centre_px * pixel_um, templates.depth[kinds[order]][:, None]], axis=1)
    return Proposals(xyz_um=xyz, photons=photons[order], significance=strength)


def local_background(frame: jax.Array, block: int) -> jax.Array:
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
