"""All emitters of a frame and its background, fitted together: the likelihood of the whole frame, climbed at once.

In a crowded frame no emitter has pixels of its own. The model is mean(p) = sum_i N_i PSF(p; x_i, y_i, z_i) + b(p) with
b a smooth surface. Each step is one of Levenberg and Marquardt with the Fisher matrix of all parameters (Fisher
scoring, as in `climb.py`; doi 10.1038/nmeth0510-338). The matrix is never built: its products with a vector are stamps
added up and cut out again, and conjugate gradients (Hestenes and Stiefel 1952, doi 10.6028/jres.049.044) solve for the
step, each emitter's own 4 x 4 block and the background's as preconditioner. The cost of a step grows as the number of
emitters. Fitting everything at once goes back to Boyd, Schiebinger and Recht 2017 (doi 10.1137/15M1035793) and, one
Newton step an emitter in turn, to 3D-DAOSTORM (Babcock et al. 2012, doi 10.1186/2192-2853-1-6).
"""

import jax
import jax.numpy as jnp
import numpy as np

from optics.bounds.fisher import pixel_information
from optics.camera import DARK_MEAN_E, adu_to_electrons, adu_to_photons, log_likelihood
from optics.fits.smooth import Surface, make_surface, surface_at
from optics.psf_table import PsfTable, weights
from optics.pytree import pytree, replace
from optics.render import lay_stamps
from optics.types import Camera

LEAST_MEAN = 1e-2  # photons: what a pixel of the model holds at least
_INNER, _RESIDUAL = (
    10,
    1e-3,
)  # conjugate gradients at most, and what they leave of the right side: fewer cost more steps
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-4, 1e5
_EASIER, _HARDER = 0.2, 8.0
_RIDGE = 1e-4  # of the background's own information: splines under an emitter are hardly told from its wings
_STEP_PX, _STEP_DEPTH = 0.55, 0.05  # longest step across, and in depth as a share of the range
_BRIGHTER, _DIMMER = 3.0, 0.3  # and in photons
_OUTSIDE_PX = 2.0  # an emitter may stand so far outside the frame


@pytree
class CrowdModel:
    """What a frame of emitters looks like: images of one emitter, camera, pixel, the background's splines."""

    table: PsfTable
    camera: Camera
    pixel_um: jax.Array
    surface: Surface


@pytree
class Frame:
    """One frame: counts, whether they count, and the log-likelihood of each count under the mean that fits it best."""

    adu: jax.Array
    valid: jax.Array
    best: jax.Array


@pytree
class Crowd:
    """M slots for emitters and a background: `xyz_um` (M, 3) in the frame, `photons` (M,), `present` (M,) bool.

    `level` (A, B) are the coefficients of the background in photons per pixel, `misfit` () half the deviance: how much
    less likely the frame is than under means that fit every pixel; `damping` () belongs to the steps.
    """

    xyz_um: jax.Array
    photons: jax.Array
    present: jax.Array
    level: jax.Array
    damping: jax.Array
    misfit: jax.Array


@pytree
class Drawn:
    """A crowd as it is drawn: first column and row of each stamp (M, 2), image and slopes (M, 4, K, K), mean (H, W)."""

    first: jax.Array
    rows: jax.Array
    mean: jax.Array


def make_crowd_model(
    table: PsfTable, camera: Camera, pixel_um: float, shape: tuple[int, int], *, background_px: float | None = None
) -> CrowdModel:
    """Make the model of frames of `shape` (H, W), its background free over `background_px` (None: a stamp's width)."""
    surface = make_surface(shape, table.image_px if background_px is None else background_px)
    return CrowdModel(table=table, camera=camera, pixel_um=jnp.asarray(pixel_um, dtype=float), surface=surface)


def make_frame(camera: Camera, adu: jax.Array, valid: jax.Array) -> Frame:
    """Make a frame (H, W) ready for fits; `valid` (H, W): pixels that count, such as those not saturated."""
    adu = jnp.where(valid, adu, 0.0)
    photons = jnp.maximum(adu_to_photons(camera, adu), DARK_MEAN_E)
    return Frame(adu=adu, valid=valid, best=log_likelihood(camera, adu, photons))


def no_emitters(model: CrowdModel, frame: Frame, capacity: int) -> Crowd:
    """A frame with an even background and `capacity` free slots: where a search begins."""
    photons = jnp.where(frame.valid, adu_to_photons(model.camera, frame.adu), jnp.nan)
    level = jnp.maximum(jnp.nan_to_num(jnp.nanquantile(photons, 0.25), nan=1.0), 10 * LEAST_MEAN)
    height, width = model.surface.shape
    middle = jnp.array([width / 2, height / 2, 0.0]) * model.pixel_um
    middle = middle.at[2].set(model.table.z_range_um.mean())
    shape = (model.surface.rows.shape[1], model.surface.columns.shape[1])
    return Crowd(
        xyz_um=jnp.broadcast_to(middle, (capacity, 3)),
        photons=jnp.ones(capacity, middle.dtype),
        present=jnp.zeros(capacity, bool),
        level=jnp.full(shape, level, middle.dtype),
        damping=jnp.asarray(_FIRST_DAMPING, middle.dtype),
        misfit=jnp.asarray(jnp.inf, middle.dtype),
    )


def draw_crowd(model: CrowdModel, crowd: Crowd) -> Drawn:
    """Draw what is expected of a crowd, each emitter with its slopes."""
    side, pixel = model.table.image_px, model.pixel_um
    first = jnp.round(crowd.xyz_um[:, :2] / pixel - side / 2).astype(jnp.int32)
    inside = crowd.xyz_um[:, :2] - (first + side / 2) * pixel
    points = jnp.concatenate([inside, crowd.xyz_um[:, 2:]], axis=1)
    mixed = jax.vmap(lambda point: weights(model.table, point))(points)
    rows = jnp.matmul(mixed, model.table.pictures).reshape(-1, 4, side, side)
    light = jnp.where(crowd.present, crowd.photons, 0.0)
    stamps = rows[:, 0] * light[:, None, None]
    mean = lay_stamps(stamps, first[:, ::-1], model.surface.shape) + surface_at(model.surface, crowd.level)
    return Drawn(first=first, rows=rows, mean=jnp.maximum(mean, LEAST_MEAN))


def cut_windows(image: jax.Array, first: jax.Array, side: int) -> jax.Array:
    """The parts (M, K, K) of an image (H, W) under stamps at `first` (M, 2), column and row; 0 outside of it."""
    padded = jnp.pad(image, side)
    corner = jnp.clip(first + side, 0, jnp.array(image.shape[::-1])[None] + side)
    return jax.vmap(lambda c: jax.lax.dynamic_slice(padded, (c[1], c[0]), (side, side)))(corner)


def misfit(model: CrowdModel, frame: Frame, mean: jax.Array) -> jax.Array:
    """Half the deviance of a frame: summed as differences, so that single precision tells small gains."""
    each = frame.best - log_likelihood(model.camera, frame.adu, mean)
    return jnp.sum(jnp.where(frame.valid, each, 0.0))


@pytree
class Slopes:
    """The likelihood's slopes at a crowd, in units of 1 / sqrt of each one's own Fisher information.

    `by_emitter` (M, 4, K * K) derivatives of the mean by x, y, z, photons, 0 where a parameter is held; `scale` (M, 4);
    `uphill` (M, 4), `uphill_level` (A * B,); `information` (H, W) of the pixels; `block` (M, 4, 4), `level_block` and
    `level_scale` of the background.
    """

    by_emitter: jax.Array
    scale: jax.Array
    free: jax.Array
    uphill: jax.Array
    information: jax.Array
    block: jax.Array
    uphill_level: jax.Array
    level_block: jax.Array
    level_scale: jax.Array


def slopes_at(model: CrowdModel, frame: Frame, crowd: Crowd, drawn: Drawn) -> Slopes:
    """Evaluate slope and information of a frame's likelihood by all parameters of a crowd."""
    slots, side = crowd.present.size, model.table.image_px
    score = jax.jvp(
        lambda mean: log_likelihood(model.camera, frame.adu, mean), (drawn.mean,), (jnp.ones_like(drawn.mean),)
    )[1]
    score = jnp.where(frame.valid, score, 0.0)
    known = jnp.where(frame.valid, pixel_information(model.camera, drawn.mean), 0.0)
    light = crowd.photons[:, None, None, None]
    rows = jnp.concatenate([drawn.rows[:, 1:] * light, drawn.rows[:, :1]], axis=1).reshape(slots, 4, -1)
    here, there = (cut_windows(image, drawn.first, side).reshape(slots, -1) for image in (score, known))
    uphill = jnp.einsum("mpk,mk->mp", rows, here)
    block = jnp.einsum("mpk,mqk->mpq", rows * there[:, None], rows)
    low, high = model.table.z_range_um
    z = crowd.xyz_um[:, 2]
    held = ((z <= low) & (uphill[:, 2] < 0)) | ((z >= high) & (uphill[:, 2] > 0))
    free = crowd.present[:, None] & ~(held[:, None] & (jnp.arange(4) == 2)[None, :])
    own = jnp.diagonal(block, axis1=1, axis2=2)
    scale = jnp.where(free & (own > 0), 1 / jnp.sqrt(jnp.maximum(own, 1e-30)), 0.0)
    surface = model.surface
    n = surface.rows.shape[1] * surface.columns.shape[1]
    # sum over pixels of row splines a, c and column splines b, d, as two products
    columns = jnp.einsum("xb,xd->xbd", surface.columns, surface.columns).reshape(surface.shape[1], -1)
    rows_of = jnp.einsum("ya,yc->yac", surface.rows, surface.rows).reshape(surface.shape[0], -1)
    b = surface.columns.shape[1]
    level = (rows_of.T @ known @ columns).reshape(n // b, n // b, b, b).transpose(0, 2, 1, 3).reshape(n, n)
    level_scale = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(level), 1e-12))
    return Slopes(
        by_emitter=rows,
        scale=scale,
        free=free,
        uphill=uphill,
        information=known,
        block=block,
        uphill_level=(surface.rows.T @ score @ surface.columns).ravel(),
        level_block=level * level_scale[:, None] * level_scale[None, :],
        level_scale=level_scale,
    )


def solve(
    model: CrowdModel, at: Slopes, first: jax.Array, damping: jax.Array, n_steps: int, residual: float = _RESIDUAL
) -> tuple[jax.Array, jax.Array]:
    """The step (M, 4) of the emitters and (A, B) of the background: (F + damping diag F)^-1 times the slope."""
    surface, slots, side = model.surface, at.free.shape[0], model.table.image_px
    a, b = surface.rows.shape[1], surface.columns.shape[1]
    diagonal = jnp.where(at.free, damping, 1.0)
    block = at.block * at.scale[:, :, None] * at.scale[:, None, :]
    own = jnp.linalg.inv(block + jax.vmap(jnp.diag)(diagonal))
    ridge = damping + _RIDGE
    level = jax.scipy.linalg.cho_factor(at.level_block + ridge * jnp.eye(a * b), lower=True)

    def times(v):
        emitters, splines = v
        stamps = jnp.einsum("mp,mpk->mk", emitters * at.scale, at.by_emitter).reshape(slots, side, side)
        image = lay_stamps(stamps, first[:, ::-1], surface.shape)
        image = image + surface_at(surface, (splines * at.level_scale).reshape(a, b))
        image = image * at.information
        under = cut_windows(image, first, side).reshape(slots, -1)
        back = jnp.einsum("mpk,mk->mp", at.by_emitter, under) * at.scale
        smooth = (surface.rows.T @ image @ surface.columns).ravel() * at.level_scale
        return back + emitters * diagonal, smooth + splines * ridge

    def precondition(v):
        return jnp.einsum("mpq,mq->mp", own, v[0]), jax.scipy.linalg.cho_solve(level, v[1])

    right = (at.uphill * at.scale, at.uphill_level * at.level_scale)
    start = jax.tree.map(jnp.zeros_like, right)
    step = jax.scipy.sparse.linalg.cg(times, right, x0=start, tol=residual, maxiter=n_steps, M=precondition)[0]
    return step[0] * at.scale, (step[1] * at.level_scale).reshape(a, b)


def crowd_step(
    model: CrowdModel, frame: Frame, crowd: Crowd, drawn: Drawn, n_inner: int = _INNER
) -> tuple[Crowd, Drawn, jax.Array]:
    """One step of a whole crowd: tried, taken if the frame did not become less likely. Returns the gain too.

    The gain is in log-likelihood; infinite for a step that was refused.
    """
    at = slopes_at(model, frame, crowd, drawn)
    by_emitter, by_level = solve(model, at, drawn.first, crowd.damping, n_inner)
    low, high = model.table.z_range_um
    longest = jnp.array([_STEP_PX, _STEP_PX, 0.0]) * model.pixel_um
    longest = longest.at[2].set(_STEP_DEPTH * (high - low))
    shorter = jnp.min(longest[None] / jnp.maximum(jnp.abs(by_emitter[:, :3]), 1e-12), axis=1)
    xyz = crowd.xyz_um + by_emitter[:, :3] * jnp.minimum(shorter, 1.0)[:, None]
    height, width = model.surface.shape
    far = jnp.array([width, height]) + _OUTSIDE_PX
    across = jnp.clip(xyz[:, :2], -_OUTSIDE_PX * model.pixel_um, far[None] * model.pixel_um)
    photons = jnp.clip(crowd.photons + by_emitter[:, 3], _DIMMER * crowd.photons, _BRIGHTER * crowd.photons)
    tried = replace(
        crowd,
        xyz_um=jnp.concatenate([across, jnp.clip(xyz[:, 2:], low, high)], axis=1),
        photons=jnp.where(crowd.present, photons, crowd.photons),
        level=crowd.level + by_level,
    )
    fresh = draw_crowd(model, tried)
    found = misfit(model, frame, fresh.mean)
    taken = found <= crowd.misfit + _rounding(model, frame)
    gain = jnp.where(taken, crowd.misfit - found, jnp.inf)
    damping = jnp.where(taken, _EASIER * crowd.damping, _HARDER * crowd.damping)
    damping = jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)
    tried = replace(tried, misfit=found)
    crowd, drawn = jax.tree.map(lambda new, old: jnp.where(taken, new, old), (tried, fresh), (crowd, drawn))
    return replace(crowd, damping=damping), drawn, gain


def _rounding(model: CrowdModel, frame: Frame) -> jax.Array:
    """What rounding alone may do to the sum of a frame's log-likelihood: counts times logarithms."""
    counts = adu_to_electrons(model.camera, frame.adu) * frame.valid
    return jnp.finfo(counts.dtype).eps * (8 * jnp.linalg.norm(counts) + 4 * counts.size)


def fit_crowd(
    model: CrowdModel, frame: Frame, crowd: Crowd, max_steps: int, least_gain: float = 0.02
) -> tuple[Crowd, Drawn]:
    """Climb until a step gains less than `least_gain` in log-likelihood, or for `max_steps`."""
    drawn = draw_crowd(model, crowd)
    damping = jnp.full_like(crowd.damping, _FIRST_DAMPING)
    crowd = replace(crowd, misfit=misfit(model, frame, drawn.mean), damping=damping)

    def goes_on(state):
        crowd, _, gain, n = state
        return (n < max_steps) & (gain > least_gain) & (crowd.damping < _MOST_DAMPING)

    def step(state):
        crowd, drawn, _, n = state
        return *crowd_step(model, frame, crowd, drawn), n + 1

    first = jnp.asarray(jnp.inf, crowd.photons.dtype)
    crowd, drawn, *_ = jax.lax.while_loop(goes_on, step, (crowd, drawn, first, 0))
    return crowd, drawn


def crowd_covariance(model: CrowdModel, frame: Frame, crowd: Crowd, drawn: Drawn) -> jax.Array:
    """Covariance (M, 4, 4) of x, y, z (um) and photons of each emitter, all others and the background unknown.

    The inverse of the whole frame's Fisher matrix. A slot without an emitter has infinite variances.
    """
    slots = crowd.present.size
    light = jnp.where(crowd.present, crowd.photons, 0.0)[:, None, None, None]
    rows = jnp.concatenate([drawn.rows[:, 1:] * light, drawn.rows[:, :1]], axis=1)

    def whole(stamps, first):
        return jax.vmap(lambda stamp: lay_stamps(stamp[None], first[None, ::-1], model.surface.shape))(stamps)

    on_frame = jax.vmap(whole)(rows, drawn.first).reshape(4 * slots, -1)
    splines = jnp.einsum("ya,xb->abyx", model.surface.rows, model.surface.columns)
    known = jnp.where(frame.valid, pixel_information(model.camera, drawn.mean), 0.0)
    columns = jnp.concatenate([on_frame, splines.reshape(-1, known.size)]) * jnp.sqrt(known).reshape(1, -1)
    size = jnp.sqrt(jnp.sum(columns**2, axis=1))
    told = (size > 0) & jnp.concatenate([jnp.repeat(crowd.present, 4), jnp.ones(len(columns) - 4 * slots, bool)])
    scale = jnp.where(told, 1 / jnp.where(told, size, 1.0), 0.0)
    columns = columns * scale[:, None]
    matrix = columns @ columns.T + jnp.diag(jnp.where(told, 10 * np.finfo(columns.dtype).eps, 1.0))
    inverse = jnp.linalg.inv(matrix)
    own = jax.vmap(lambda m: jax.lax.dynamic_slice(inverse, (4 * m, 4 * m), (4, 4)))(jnp.arange(slots))
    scale = scale[: 4 * slots].reshape(slots, 4)
    found = own * scale[:, :, None] * scale[:, None, :]
    nothing = jnp.where(jnp.eye(4, dtype=bool), jnp.inf, 0.0)
    return jnp.where(crowd.present[:, None, None], found, nothing[None])
