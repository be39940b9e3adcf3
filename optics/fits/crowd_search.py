"""Where a residual resembles an emitter: matched filters over depth, and how sure is sure enough.

The filters look for an emitter's light less what the background would explain: a `Surface` takes its share of every
slowly varying image, the more so the more it varies, and what an emitter would gain is what is left. That share is
that of a Gaussian random field seen through noise, 1 / (1 + noise / power) at each spatial frequency (Wiener's).

How significant is enough follows from the false emitters that one is willing to see. In a frame without emitters the
matched filter is a smooth Gaussian random field over x, y and depth; the density of its maxima above a high level u is
the density of its Euler characteristic (Adler 1981, doi 10.1137/1.9780898719222, ch. 5; Worsley et al. 1996,
doi 10.1002/(SICI)1097-0193(1996)4:1<58::AID-HBM4>3.0.CO;2-O, table II).
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.optimize
from numpy.typing import NDArray

from optics.bounds.fisher import pixel_information
from optics.camera import adu_to_photons
from optics.fits.crowd import BACKGROUND_PX, CrowdModel, Frame, Path, doubted, one_path
from optics.fits.smooth import surface_at
from optics.psf_table import PsfTable, evaluate_on_host
from optics.pytree import pytree, replace, static
from optics.types import OpticsError

FALSE_PER_UM2 = 1e-3  # false emitters per um^2 and frame
_DEPTHS_PER_DEGREE = 1.0  # the image changes as fast along z as its degree says
_FINE = 2  # times as many depths for the density of maxima
# variance of the background over that of a pixel's noise: where the filters are made, and interpolated in between
_STRUCTURE = np.logspace(-5, 3, 9)
_APART_PX = 4  # proposals of one round do not share light's core
_CANDIDATES, _PER_PX = 16, 64 * 64  # of one round, and in how many pixels
_FAINTEST = 10.0  # photons that a candidate has at least, where nothing is known of them
_LOBE = 0.5  # a candidate waits if a stronger one near it may make up so much of it
_SHARE = 0.3  # and if it has less of the strongest whose image overlaps with its own: it may be what that leaves
_AMONG_SPECIES = 0.7, 0.75  # the same two where there are several species: one leaves much that looks like another
_BETWEEN = 0.9  # of the level: what a summit between pixels and depths has left at the nearest of them
_RIM_PX = 6  # a stamp's outermost pixels do not tell an emitter beyond the frame


@pytree
class Bank:
    """Images of an emitter at D depths as matched filters for frames of one shape; of S species, D depths in all.

    `depth` (D,) um and `channel` (D,) the species of each, None where there is but one; `spectra` and `squares`
    (D, C, ...) are spectra of the filters and of their squares on C paths; `kept` (G, D) the share of their information
    that a background leaves whose variance over that of a pixel's noise is `structure` (G,), and `levels` (G,) the
    significance that is enough there. Candidates have at least `faintest` photons and may lie `margin` pixels outside
    the frame. `size` is that of the transforms.
    """

    depth: jax.Array
    spectra: jax.Array
    squares: jax.Array
    structure: jax.Array
    kept: jax.Array
    levels: jax.Array
    faintest: jax.Array
    size: tuple[int, int] = static()
    side: int = static()
    margin: int = static()
    channel: jax.Array | None = None

    @property
    def level(self) -> jax.Array:
        """What is enough over an even background."""
        return self.levels[0]


def make_bank(
    table: PsfTable | Sequence[Path],
    shape: tuple[int, int],
    false_per_um2: float = FALSE_PER_UM2,
    *,
    correlation_px: float = BACKGROUND_PX,
    margin_px: int | None = None,
) -> Bank:
    """Make the filters of frames of `shape` (H, W), and the level for `false_per_um2` false emitters a frame.

    `correlation_px` is that of the background. Candidates lie up to `margin_px` outside the frame (None: half a stamp).
    Of several paths `shape` is that of one; how they are turned against each other is not heeded, their shift is.
    Several species share the false emitters that are allowed.
    """
    paths = one_path(table) if isinstance(table, PsfTable) else tuple(table)
    table, species = paths[0].table, [_of_species(paths, number) for number in range(len(paths[0].tables))]
    side = table.image_px
    whole, part = _shifts(paths, shape)
    depths, pictures = [], []
    for one in species:
        low, high = np.asarray(one[0].table.z_range_um, np.float64)
        depths.append(np.linspace(low, high, max(3, int(_DEPTHS_PER_DEGREE * one[0].table.degrees[1]))))
        pictures.append(_rows(one, depths[-1], part)[:, 0].reshape(len(depths[-1]), len(paths), side, side))
    depth, shapes = np.concatenate(depths), np.concatenate(pictures)
    channel = np.repeat(np.arange(len(species)), [len(of) for of in depths])
    n_px, size = _canvas_px(table), tuple(int(scipy.fft.next_fast_len(n + side, real=True) or n) for n in shape)

    def spectra(kernels: NDArray) -> jax.Array:
        canvas = np.zeros((len(depth), len(paths), *size))
        canvas[..., :side, :side] = kernels
        for number, (x, y) in enumerate(whole):
            canvas[:, number] = np.roll(canvas[:, number], (y - side // 2, x - side // 2), axis=(1, 2))
        return jnp.asarray(np.fft.rfft2(canvas).conj(), dtype=jnp.result_type(jnp.complex64, float))

    power = (np.abs(np.fft.fft2(shapes, (n_px, n_px))) ** 2).sum(axis=1)
    left = np.array([_left(n_px, correlation_px, ratio) for ratio in _STRUCTURE])
    kept = np.einsum("dyx,gyx->gd", power, left) / power.sum(axis=(1, 2))
    levels = [_levels(one, false_per_um2 / len(species), correlation_px, _STRUCTURE) for one in species]
    return Bank(
        depth=jnp.asarray(depth, dtype=float),
        spectra=spectra(shapes),
        squares=spectra(shapes**2),
        structure=jnp.asarray(_STRUCTURE, dtype=float),
        kept=jnp.asarray(kept, dtype=float),
        levels=jnp.asarray(np.max(levels, axis=0), dtype=float),
        faintest=jnp.asarray(_FAINTEST, dtype=float),
        size=(size[0], size[1]),
        side=side,
        margin=max(0, side // 2 - _RIM_PX) if margin_px is None else margin_px,
        channel=None if len(species) == 1 else jnp.asarray(channel, jnp.int32),
    )


def _of_species(paths: tuple[Path, ...], number: int) -> tuple[Path, ...]:
    """The paths as one species sees them."""
    return tuple(replace(path, table=path.tables[number], rivals=()) for path in paths)


def _shifts(paths: tuple[Path, ...], shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Where each path sees the middle of the frame, from there: whole pixels (C, 2) and the rest in um (C, 2)."""
    table = paths[0].table
    pixel = float(table.reach_um) / table.reach_px
    middle = np.array([shape[1], shape[0]]) * pixel / 2
    moved = np.array([np.asarray(path.registration, np.float64) @ [*middle, 1.0] - middle for path in paths])
    whole = np.round(moved / pixel).astype(int)
    return whole, moved - whole * pixel


def _rows(paths: tuple[Path, ...], depth: NDArray, part_um: NDArray | None = None) -> NDArray:
    """Images and their slopes (D, 4, C, K * K) without what even backgrounds explain."""
    images = []
    for number, path in enumerate(paths):
        x, y = (0.0, 0.0) if part_um is None else part_um[number]
        points = np.stack([0 * depth + x, 0 * depth + y, depth], axis=1)
        rows = evaluate_on_host(path.table, points) * float(path.share)
        images.append(rows - rows.mean(axis=2, keepdims=True))
    return np.stack(images, axis=2)


def _canvas_px(table: PsfTable) -> int:
    """The side, even, of a canvas on which a stamp has room for what a background does around it."""
    return 2 * -(-(table.image_px + 24) // 2)


def _left(n_px: int, correlation_px: float, ratio: float) -> NDArray:
    """What a background of variance `ratio` leaves of each spatial frequency's information, (n_px, n_px)."""
    k = 2 * math.pi * np.fft.fftfreq(n_px)
    k2 = k[:, None] ** 2 + k**2
    left = 1 / (1 + ratio * 2 * math.pi * correlation_px**2 * np.exp(-(correlation_px**2) * k2 / 2))
    left[0, 0] = 0
    return left


def significance_level(
    table: PsfTable, false_per_um2: float, *, correlation_px: float = 1.0, structure: float = 0.0
) -> float:
    """The significance u above which noise alone has `false_per_um2` maxima per um^2, over all depths of a table.

    With L the covariance of the slopes of the unit field along x, y, z, maxima above u have the density
    sqrt(det L) (u^2 - 1) exp(-u^2 / 2) / (2 pi)^2 within the range of depths, and
    sqrt(det L_xy) u exp(-u^2 / 2) / (2 pi)^(3/2) / 2 on each of its two ends. `structure`: the variance of a background
    of `correlation_px` over that of a pixel's noise. Raises `OpticsError` for a rate that is not positive.
    """
    return float(_levels(one_path(table), false_per_um2, correlation_px, np.array([structure]))[0])


def _levels(paths: tuple[Path, ...], false_per_um2: float, correlation_px: float, structure: NDArray) -> NDArray:
    """The levels (G,) for each of the ratios `structure`."""
    if not 0 < false_per_um2 < math.inf:
        raise OpticsError(f"false_per_um2 = {false_per_um2} must be a positive number of false emitters per um^2")
    table = paths[0].table
    low, high = np.asarray(table.z_range_um, np.float64)
    side, n_px, depth = table.image_px, _canvas_px(table), np.linspace(low, high, _FINE * table.degrees[1] + 1)
    left = np.array([_left(n_px, correlation_px, ratio)[:, : n_px // 2 + 1] for ratio in structure])
    # each frequency of a real image stands for two, but for the first and the last
    twice = np.full(n_px // 2 + 1, 2.0)
    twice[[0, -1]] = 1.0
    gram = np.empty((len(structure), len(depth), 4, 4))
    for number, rows in enumerate(_rows(paths, depth).reshape(len(depth), 4, len(paths), side, side)):
        spectra = np.fft.rfft2(rows, (n_px, n_px))
        pairs = (spectra[:, None] * spectra.conj()).real.sum(axis=2) * twice
        gram[:, number] = (left.reshape(len(left), -1) @ pairs.reshape(16, -1).T).reshape(-1, 4, 4)
    return np.array([_level(of, depth, false_per_um2) for of in gram])


def _level(gram: NDArray, depth: NDArray, false_per_um2: float) -> float:
    """The level from the products (D, 4, 4) of images and slopes."""
    gram = gram / gram[:, :1, :1]
    # slopes of images of unit norm: what lies along the image itself changes its brightness only
    covariance = gram[:, 1:, 1:] - gram[:, 1:, :1] * gram[:, :1, 1:]
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


def structure_of(model: CrowdModel, frame: Frame, mean: jax.Array, spread: jax.Array) -> jax.Array:
    """The variance of a background that varies by `spread` photons over that of a typical pixel's noise."""
    known = jnp.where(frame.valid, pixel_information(model.camera, mean), 0.0)
    return spread**2 * known.sum() / jnp.maximum(frame.valid.sum(), 1)


def _between(bank: Bank, values: jax.Array, structure: jax.Array) -> jax.Array:
    """Values (G,) at `structure`, interpolated."""
    return jnp.interp(jnp.log(structure + 1e-12), jnp.log(bank.structure), values)


def level_at(bank: Bank, structure: jax.Array) -> jax.Array:
    """The significance that is enough over a background of that `structure`."""
    return _between(bank, bank.levels, structure)


def significance(
    model: CrowdModel, bank: Bank, frame: Frame, mean: jax.Array, level: jax.Array, spread: jax.Array
) -> tuple[jax.Array, ...]:
    """What one more emitter would gain at each pixel: standard deviations, depth's number, photons, (H + 2 M, W + 2 M).

    Score over root of information of an emitter's photons, at its best depth, by the residual adu - mean of the frame,
    from which a background that varies by `spread` photons was fitted; `level` (A, B) are its coefficients, and what
    `mean` has above it may be off by the model's error. The maps reach M = `bank.margin` pixels beyond.
    """
    height, width = (n + 2 * bank.margin for n in model.shape)
    plain = jnp.where(frame.valid, pixel_information(model.camera, mean), 0.0)
    known = doubted(model, plain, mean - surface_at(model.surface, level))
    rest = adu_to_photons(model.camera, frame.adu) - mean
    apart = (-1, *model.shape)
    residual = jnp.fft.rfft2((known * jnp.where(frame.valid, rest, 0.0)).reshape(apart), bank.size)
    weight = jnp.fft.rfft2(known.reshape(apart), bank.size)
    # a filter that hangs out of the frame far enough sees no pixel at all
    least = 1e-6 * jnp.max(known)
    structure = structure_of(model, frame, mean, spread)
    kept = jax.vmap(lambda of: _between(bank, of, structure))(bank.kept.T)

    def back(spectra):
        # the map from `margin` pixels before the frame on: what lies before is at the far end
        whole = jnp.fft.irfft2(spectra.sum(axis=0), bank.size)
        return jnp.roll(whole, (bank.margin, bank.margin), (0, 1))[:height, :width]

    def better(best, kernel):
        spectrum, square, share, number = kernel
        score = back(residual * spectrum)
        information = share * jnp.maximum(back(weight * square), least * 1e-3)
        strength = score / jnp.sqrt(information)
        taken = strength > best[0]
        fresh = (strength, jnp.full_like(best[1], number), score / information)
        return jax.tree.map(lambda new, old: jnp.where(taken, new, old), fresh, best), None

    shape = (height, width)
    nothing = jnp.full(shape, -jnp.inf, mean.dtype), jnp.zeros(shape, jnp.int32), jnp.zeros(shape, mean.dtype)
    numbers = jnp.arange(len(bank.depth), dtype=jnp.int32)
    return jax.lax.scan(better, nothing, (bank.spectra, bank.squares, kept, numbers))[0]


def _highest(values: jax.Array, side_px: int) -> jax.Array:
    for window in ((side_px, 1), (1, side_px)):
        values = jax.lax.reduce_window(values, -jnp.inf, jax.lax.max, window, (1, 1), "SAME")
    return values


@pytree
class Candidates:
    """The strongest places for one more emitter, strongest first: `xyz_um` (C, 3), `photons` and `strength` (C,).

    `strength` is in standard deviations, 0 where there is no further candidate; `level` () how much is enough;
    `inside` (C,) says which lie in the frame, `channel` (C,) the species, None where there is but one.
    """

    xyz_um: jax.Array
    photons: jax.Array
    strength: jax.Array
    level: jax.Array
    inside: jax.Array
    channel: jax.Array | None = None


def in_proportion(count: int, shape: tuple[int, int]) -> int:
    """As many for a frame of `shape` (H, W) as `count` are for 64 x 64 px, but no fewer than those."""
    return max(count, round(count * shape[0] * shape[1] / _PER_PX))


def propose(
    model: CrowdModel,
    bank: Bank,
    frame: Frame,
    mean: jax.Array,
    level: jax.Array,
    spread: jax.Array,
    n_most: int | None = None,
) -> Candidates:
    """Find where one more emitter may be significant, in a frame (H, W) whose mean so far is `mean`.

    `level` (A, B) and `spread` are its background's coefficients, and by how much that varies. A summit between pixels
    and depths is higher than it looks. At most `n_most` are returned (None: 16 in 64 x 64 px).
    """
    strength, kind, light = significance(model, bank, frame, mean, level, spread)
    enough = level_at(bank, structure_of(model, frame, mean, spread))
    strength = jnp.where(light >= bank.faintest, strength, -jnp.inf)
    peak = (strength >= _highest(strength, 2 * _APART_PX + 1)) & (strength > _BETWEEN * enough)
    lobe, share = (_LOBE, _SHARE) if bank.channel is None else _AMONG_SPECIES
    peak &= strength > lobe * _highest(strength, 2 * (bank.side // 3) + 1)
    peak &= strength > share * _highest(strength, 2 * bank.side + 1)
    n_most = in_proportion(_CANDIDATES, model.shape) if n_most is None else n_most
    found, place = jax.lax.top_k(jnp.where(peak, strength, 0.0).ravel(), min(n_most, strength.size))
    row, column = jnp.divmod(place, strength.shape[1])
    # an even stamp's middle is the corner between pixels
    middle = jnp.stack([column, row], axis=1) - bank.margin - bank.side // 2 + bank.side / 2
    number = kind.ravel()[place]
    inside = jnp.all((middle >= 0) & (middle <= jnp.array([model.shape[::-1]])), axis=1)
    return Candidates(
        xyz_um=jnp.concatenate([middle * model.pixel_um, bank.depth[number][:, None]], axis=1),
        photons=jnp.maximum(light.ravel()[place], bank.faintest),
        strength=found,
        level=enough,
        inside=inside,
        channel=None if bank.channel is None else bank.channel[number],
    )
