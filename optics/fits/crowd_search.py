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
from optics.fits.crowd import Crowd, CrowdModel, Drawn, Frame, crowd_covariance, draw_crowd, fit_crowd, no_emitters
from optics.psf_table import PsfTable, evaluate
from optics.pytree import pytree, replace, static
from optics.render import lay_stamps
from optics.types import OpticsError

FALSE_PER_UM2 = 1e-3  # false emitters per um^2 and frame
_DEPTHS_PER_DEGREE = 1.0  # the image changes as fast along z as its degree says
_FINE = 8  # times as many depths for the density of maxima
_FIRST_ROUNDS = 0.7  # of the level: while emitters are missing, noise is more than it will be
_APART_PX = 4  # proposals of one round do not share light's core
_DIM = 0.5  # of the median: photons that make an emitter doubtful
_ALIKE, _PARTNER = 0.7, 0.15  # overlaps of two images: suspicious by itself, and enough to be the other half
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
    return jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, (side_px, side_px), (1, 1), "SAME")


def add_emitters(
    model: CrowdModel, bank: Bank, frame: Frame, crowd: Crowd, drawn: Drawn, level: jax.Array, per_round: int
) -> tuple[Crowd, jax.Array, jax.Array]:
    """Fill free slots with the strongest candidates above `level`. Returns how many, and how many found no slot."""
    strength, kind, light = significance(model, bank, frame, drawn.mean)
    peak = (strength >= _highest(strength, 2 * _APART_PX + 1)) & (strength > level)
    peak &= strength > _LOBE * _highest(strength, 2 * (bank.side // 3) + 1)
    per_round = min(per_round, crowd.present.size)
    found, place = jax.lax.top_k(jnp.where(peak, strength, 0.0).ravel(), per_round)
    row, column = jnp.divmod(place, strength.shape[1])
    # an even stamp's middle is the corner between pixels
    middle = jnp.stack([column, row], axis=1) - bank.side // 2 + bank.side / 2
    xyz = jnp.concatenate([middle * model.pixel_um, bank.depth[kind.ravel()[place]][:, None]], axis=1)
    photons = jnp.maximum(light.ravel()[place], 10.0)
    free = jnp.argsort(crowd.present, stable=True)[:per_round]
    fits = (found > 0) & ~crowd.present[free]
    crowd = replace(
        crowd,
        xyz_um=crowd.xyz_um.at[free].set(jnp.where(fits[:, None], xyz, crowd.xyz_um[free])),
        photons=crowd.photons.at[free].set(jnp.where(fits, photons, crowd.photons[free])),
        present=crowd.present.at[free].set(crowd.present[free] | fits),
    )
    return crowd, fits.sum(), ((found > 0) & ~fits).sum()


def emitter_significance(crowd: Crowd, covariance: jax.Array) -> jax.Array:
    """By how many standard deviations each emitter's photons differ from 0 where it stands, (M,); 0 in a free slot.

    Position given, all other emitters and the background unknown: what the likelihood-ratio of leaving it out is.
    """
    safe = jnp.where(crowd.present[:, None, None], covariance, jnp.eye(4)[None])
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(safe, axis1=1, axis2=2), 1e-30))
    unit = safe / (scale[:, :, None] * scale[:, None, :])
    inverse = jnp.linalg.inv(unit + 1e-6 * jnp.eye(4)[None])
    std = scale[:, 3] / jnp.sqrt(jnp.maximum(inverse[:, 3, 3], 1.0))
    return jnp.where(crowd.present, crowd.photons / std, 0.0)


@pytree
class Found:
    """A frame explained: the crowd, (M, 4) standard deviations of x, y, z, photons, (M,) significance.

    `lacking` () counts candidates for which there was no free slot: search again with more.
    """

    crowd: Crowd
    std: jax.Array
    significance: jax.Array
    mean: jax.Array
    lacking: jax.Array
    rounds: jax.Array


def search_frame(
    model: CrowdModel,
    bank: Bank,
    frame: Frame,
    crowd: Crowd,
    *,
    max_rounds: int = 20,
    per_round: int = 8,
    shakes: int = 3,
) -> Found:
    """Find the emitters of one frame from where `crowd` stands (`no_emitters`, or a decoder's list).

    A search that adds ends on a local summit now and then: one emitter explained by two at other depths. So what looks
    like that is taken out again with its partner, up to `shakes` times, and the frame searched from there; the
    explanation with the smaller misfit, each emitter costing what one false one is worth, is kept.
    """
    price = bank.level**2 / 2

    def cost(crowd: Crowd) -> jax.Array:
        return crowd.misfit + price * crowd.present.sum()

    def goes_on(state):
        _, _, _, _, number, tried, lacking, _ = state
        return (number <= shakes) & tried & (lacking == 0)

    def shake(state):
        kept, drawn, best, trial, number, _, lacking, rounds = state
        found, found_drawn, more, n = _explain(model, bank, frame, trial, max_rounds, per_round)
        value = cost(found)
        better = value < best - 0.5
        kept, drawn, best, lacking = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (found, found_drawn, value, more),
            (kept, drawn, best, lacking),
        )
        out = _doubtful(kept, drawn, bank, number)
        trial = replace(kept, present=kept.present & ~out)
        # the second kind of doubt is looked at once the first has led nowhere
        return kept, drawn, best, trial, number + 1, out.any() & (better | (number < 2)), lacking, rounds + n

    zero = jnp.asarray(0)
    infinite = jnp.asarray(jnp.inf, crowd.photons.dtype)
    state = crowd, draw_crowd(model, crowd), infinite, crowd, zero, jnp.asarray(True), zero, zero
    crowd, drawn, _, _, _, _, lacking, rounds = jax.lax.while_loop(goes_on, shake, state)
    crowd, drawn = fit_crowd(model, frame, crowd, 20)
    covariance = crowd_covariance(model, frame, crowd, drawn)
    std = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance, axis1=1, axis2=2), 0))
    return Found(crowd, std, emitter_significance(crowd, covariance), drawn.mean, lacking, rounds)


def _doubtful(crowd: Crowd, drawn: Drawn, bank: Bank, number: jax.Array) -> jax.Array:
    """Which emitters (M,) may be two explanations of one: the dim ones, and whose image overlaps theirs most."""
    shape = drawn.mean.shape
    images = jax.vmap(lambda rows, first: lay_stamps(rows[:1], first[None, ::-1], shape))(drawn.rows, drawn.first)
    images = images.reshape(images.shape[0], -1)
    unit = images / jnp.maximum(jnp.linalg.norm(images, axis=1, keepdims=True), 1e-12)
    both = crowd.present[:, None] & crowd.present[None, :] & ~jnp.eye(crowd.present.size, dtype=bool)
    overlap = jnp.where(both, unit @ unit.T, 0.0)
    light = jnp.where(crowd.present, crowd.photons, jnp.nan)
    dim = crowd.present & (crowd.photons < _DIM * jnp.nan_to_num(jnp.nanmedian(light)))
    close = (overlap > _ALIKE).any(axis=1)
    chosen = jnp.where(number == 0, dim, dim | close)
    partner = jnp.argmax(overlap, axis=1)
    with_partner = chosen & (overlap.max(axis=1) > _PARTNER)
    return chosen | (jnp.zeros_like(chosen).at[partner].max(with_partner))


def _explain(model: CrowdModel, bank: Bank, frame: Frame, crowd: Crowd, max_rounds: int, per_round: int):
    """Add and fit until nothing is added, then take out what is not significant."""

    def goes_on(state):
        _, _, added, gain, lacking, n = state
        return (n < max_rounds) & (added > 0) & (gain > 1.0) & (lacking == 0)

    def round_of(state):
        crowd, drawn, _, _, _, n = state
        before = crowd.misfit
        crowd, added, lacking = add_emitters(model, bank, frame, crowd, drawn, bank.level, per_round)
        crowd, drawn = fit_crowd(model, frame, crowd, 10, least_gain=0.5)
        strength = emitter_significance(crowd, crowd_covariance(model, frame, crowd, drawn))
        kept = replace(crowd, present=crowd.present & (strength > _FIRST_ROUNDS * bank.level))
        # whatever was taken out leaves its light to the others
        crowd, drawn = jax.lax.cond(
            (kept.present != crowd.present).any(),
            lambda: fit_crowd(model, frame, kept, 5, least_gain=0.5),
            lambda: (kept, drawn),
        )
        gain = jnp.where(n == 0, jnp.inf, before - crowd.misfit)
        return crowd, drawn, added, gain, lacking, n + 1

    def not_clean(state):
        crowd, _, before = state
        return (crowd.present != before).any()

    def clean(state):
        crowd, drawn, _ = state
        before = crowd.present
        # the weakest one at a time: without it, its neighbours may be as significant as they should
        strength = emitter_significance(crowd, crowd_covariance(model, frame, crowd, drawn))
        strength = jnp.where(crowd.present, strength, jnp.inf)
        out = (jnp.arange(strength.size) == jnp.argmin(strength)) & (strength < bank.level)
        crowd = replace(crowd, present=crowd.present & ~out)
        crowd, drawn = jax.lax.cond(out.any(), lambda: fit_crowd(model, frame, crowd, 10), lambda: (crowd, drawn))
        return crowd, drawn, before

    one, zero = jnp.asarray(1), jnp.asarray(0)
    crowd, drawn = fit_crowd(model, frame, crowd, 20, least_gain=0.5)
    state = crowd, drawn, one, jnp.asarray(jnp.inf, crowd.photons.dtype), zero, zero
    crowd, drawn, _, _, lacking, rounds = jax.lax.while_loop(goes_on, round_of, state)
    crowd, drawn = fit_crowd(model, frame, crowd, 30, least_gain=0.1)
    crowd, drawn, _ = jax.lax.while_loop(not_clean, clean, (crowd, drawn, ~crowd.present))
    return crowd, drawn, lacking, rounds


def search_frames(
    model: CrowdModel,
    bank: Bank,
    frames: Frame,
    capacity: int,
    *,
    max_rounds: int = 20,
    per_round: int = 8,
    shakes: int = 3,
) -> Found:
    """Find the emitters of frames (F, H, W) one after the other, each from nothing."""

    def one(frame: Frame) -> Found:
        crowd = no_emitters(model, frame, capacity)
        return search_frame(model, bank, frame, crowd, max_rounds=max_rounds, per_round=per_round, shakes=shakes)

    return jax.lax.map(one, frames)
