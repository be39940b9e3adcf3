"""Emitters of a crowded frame without a network: proposed where the residual resembles an emitter, fitted together.

A matched filter of the residual, weighted by each pixel's information, says for every pixel and depth by how many
standard deviations an emitter there would lower the misfit. The strongest ones are added, everything is fitted anew
(`crowd.py`), what then is not significant is taken out, and so on until nothing is added. Alternating additions from
the residual with joint local descent is ADCG (Boyd, Schiebinger and Recht 2017, doi 10.1137/15M1035793).

How significant is enough follows from the false emitters that one is willing to see. In a frame without emitters the
matched filter is a smooth Gaussian random field over x, y and depth; the density of its maxima above a high level u is
the density of its Euler characteristic (Adler 1981, doi 10.1137/1.9780898719222, ch. 5; Worsley et al. 1996,
doi 10.1002/(SICI)1097-0193(1996)4:1<58::AID-HBM4>3.0.CO;2-O, table II).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.optimize
from numpy.typing import NDArray

from optics.bounds.fisher import pixel_information
from optics.camera import adu_to_photons
from optics.fits.crowd import CrowdModel, Frame
from optics.psf_table import PsfTable, evaluate
from optics.pytree import pytree, static
from optics.types import OpticsError

FALSE_PER_UM2 = 1e-3  # false emitters per um^2 and frame
_DEPTHS_PER_DEGREE = 1.0  # the image changes as fast along z as its degree says
_FINE = 8  # times as many depths for the density of maxima
_APART_PX = 4  # proposals of one round do not share light's core
N_CANDIDATES = 16  # of one frame and round
_FAINTEST = 10.0  # photons that a candidate has at least
_LOBE = 0.5  # a candidate waits if a stronger one near it may make up so much of it


@pytree
class Bank:
    """Images of an emitter at D depths as matched filters for frames of one shape.

    `depth` (D,) um; `spectra` and `squares` (D, ...) are spectra of the filters and of their squares; `level` the
    significance that is enough. `size` is that of the transforms.
    """

    depth: jax.Array
    spectra: jax.Array
    squares: jax.Array
    level: jax.Array
    size: tuple[int, int] = static()
    side: int = static()


def make_bank(table: PsfTable, shape: tuple[int, int], false_per_um2: float = FALSE_PER_UM2) -> Bank:
    """Make the filters of frames of `shape` (H, W), and the level for `false_per_um2` false emitters a frame."""
    low, high = np.asarray(table.z_range_um, np.float64)
    side = table.image_px
    depth = np.linspace(low, high, max(3, int(_DEPTHS_PER_DEGREE * table.degrees[1])))
    shapes = _filters(table, depth).reshape(-1, side, side)
    size = tuple(int(scipy.fft.next_fast_len(n + side, real=True) or n) for n in shape)

    def spectra(kernels: NDArray) -> jax.Array:
        canvas = np.zeros((len(depth), *size))
        canvas[:, :side, :side] = kernels
        canvas = np.roll(canvas, (-(side // 2), -(side // 2)), axis=(1, 2))
        return jnp.asarray(np.fft.rfft2(canvas).conj(), dtype=jnp.result_type(jnp.complex64, float))

    return Bank(
        depth=jnp.asarray(depth, dtype=float),
        spectra=spectra(shapes),
        squares=spectra(shapes**2),
        level=jnp.asarray(significance_level(table, false_per_um2), dtype=float),
        size=(size[0], size[1]),
        side=side,
    )


def _filters(table: PsfTable, depth: NDArray) -> NDArray:
    """Images (D, K * K) without what an even background explains."""
    points = jnp.asarray(np.stack([0 * depth, 0 * depth, depth], axis=1), dtype=float)
    images = np.asarray(jax.vmap(lambda point: evaluate(table, point)[0])(points), np.float64)
    return images - images.mean(axis=1, keepdims=True)


def significance_level(table: PsfTable, false_per_um2: float) -> float:
    """The significance u above which noise alone has `false_per_um2` maxima per um^2, over all depths of a table.

    With L the covariance of the slopes of the unit field along x, y, z, maxima above u have the density
    sqrt(det L) (u^2 - 1) exp(-u^2 / 2) / (2 pi)^2 within the range of depths, and
    sqrt(det L_xy) u exp(-u^2 / 2) / (2 pi)^(3/2) / 2 on each of its two ends. Raises `OpticsError` for a rate that is
    not positive.
    """
    if not 0 < false_per_um2 < math.inf:
        raise OpticsError(f"false_per_um2 = {false_per_um2} must be a positive number of false emitters per um^2")
    low, high = np.asarray(table.z_range_um, np.float64)
    depth = np.linspace(low, high, _FINE * table.degrees[1] + 1)
    points = jnp.asarray(np.stack([0 * depth, 0 * depth, depth], axis=1), dtype=float)
    rows = np.asarray(jax.vmap(lambda point: evaluate(table, point))(points), np.float64)
    rows = rows - rows.mean(axis=2, keepdims=True)
    rows = rows / np.linalg.norm(rows[:, :1], axis=2, keepdims=True)
    # slopes of images of unit norm: what lies along the image itself changes its brightness only
    slopes = rows[:, 1:] - np.einsum("dip,dp->di", rows[:, 1:], rows[:, 0])[:, :, None] * rows[:, :1]
    covariance = np.einsum("dip,djp->dij", slopes, slopes)
    across = np.sqrt(np.maximum(np.linalg.det(covariance[:, :2, :2]), 0))
    volume = np.trapezoid(np.sqrt(np.maximum(np.linalg.det(covariance), 0)), depth)
    ends = (across[0] + across[-1]) / 2

    def log_rate(u: float) -> float:
        inside = volume * (u**2 - 1) / (2 * math.pi) ** 2
        return math.log(inside + ends * u / (2 * math.pi) ** 1.5) - u**2 / 2

    wanted = math.log(false_per_um2)
    if log_rate(2.0) <= wanted:
        return 2.0
    return float(scipy.optimize.brentq(lambda u: log_rate(u) - wanted, 2.0, 40.0))  # pyright: ignore[reportArgumentType]


def significance(model: CrowdModel, bank: Bank, frame: Frame, mean: jax.Array) -> tuple[jax.Array, ...]:
    """What one more emitter would gain at each pixel: standard deviations, depth's number and photons, each (H, W).

    Score over root of information of an emitter's photons, at its best depth, by the residual adu - mean of the frame.
    """
    height, width = mean.shape
    known = jnp.where(frame.valid, pixel_information(model.camera, mean), 0.0)
    rest = adu_to_photons(model.camera, frame.adu) - mean
    residual = jnp.fft.rfft2(known * jnp.where(frame.valid, rest, 0.0), bank.size)
    weight = jnp.fft.rfft2(known, bank.size)
    # a filter that hangs out of the frame far enough sees no pixel at all
    least = 1e-6 * jnp.max(known)

    def better(best, kernel):
        spectrum, square, number = kernel
        score = jnp.fft.irfft2(residual * spectrum, bank.size)[:height, :width]
        information = jnp.maximum(jnp.fft.irfft2(weight * square, bank.size)[:height, :width], least * 1e-3)
        strength = score / jnp.sqrt(information)
        taken = strength > best[0]
        fresh = (strength, jnp.full_like(best[1], number), score / information)
        return jax.tree.map(lambda new, old: jnp.where(taken, new, old), fresh, best), None

    nothing = jnp.full(mean.shape, -jnp.inf, mean.dtype), jnp.zeros(mean.shape, jnp.int32), jnp.zeros_like(mean)
    numbers = jnp.arange(len(bank.depth), dtype=jnp.int32)
    return jax.lax.scan(better, nothing, (bank.spectra, bank.squares, numbers))[0]


def _highest(values: jax.Array, side_px: int) -> jax.Array:
    for window in ((side_px, 1), (1, side_px)):
        values = jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, window, (1, 1), "SAME")
    return values


@pytree
class Candidates:
    """The strongest places for one more emitter, strongest first: `xyz_um` (C, 3), `photons` and `strength` (C,).

    `strength` is in standard deviations, 0 where there is no further candidate.
    """

    xyz_um: jax.Array
    photons: jax.Array
    strength: jax.Array


def propose(
    model: CrowdModel, bank: Bank, frame: Frame, mean: jax.Array, level: jax.Array | float, n_most: int = N_CANDIDATES
) -> Candidates:
    """Find where one more emitter is significant above `level`, in a frame (H, W) whose mean so far is `mean`."""
    strength, kind, light = significance(model, bank, frame, mean)
    peak = (strength >= _highest(strength, 2 * _APART_PX + 1)) & (strength > level)
    peak &= strength > _LOBE * _highest(strength, 2 * (bank.side // 3) + 1)
    found, place = jax.lax.top_k(jnp.where(peak, strength, 0.0).ravel(), min(n_most, strength.size))
    row, column = jnp.divmod(place, strength.shape[1])
    # an even stamp's middle is the corner between pixels
    middle = jnp.stack([column, row], axis=1) - bank.side // 2 + bank.side / 2
    xyz = jnp.concatenate([middle * model.pixel_um, bank.depth[kind.ravel()[place]][:, None]], axis=1)
    return Candidates(xyz_um=xyz, photons=jnp.maximum(light.ravel()[place], _FAINTEST), strength=found)
