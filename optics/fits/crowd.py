"""All emitters of a frame and its background, fitted together: the likelihood of the whole frame, climbed at once.

In a crowded frame no emitter has pixels of its own. The model is mean(p) = sum_i N_i PSF(p; x_i, y_i, z_i) + b(p) with
b a smooth surface. Each step is one of Levenberg and Marquardt with the Fisher matrix of all parameters (Fisher
scoring, as in `climb.py`; doi 10.1038/nmeth0510-338), which is one product of the derivative images with themselves.
Drawing the derivatives costs more than a step does, so that up to three steps use the same ones (the chord method:
Ortega and Rheinboldt 1970, doi 10.1137/1.9780898719468, ch. 7). Fitting everything at once goes back to Boyd,
Schiebinger and Recht 2017 (doi 10.1137/15M1035793) and, one Newton step an emitter in turn, to 3D-DAOSTORM (Babcock et
al. 2012, doi 10.1186/2192-2853-1-6).
"""

import jax
import jax.numpy as jnp
import numpy as np

from optics.bounds.fisher import pixel_information
from optics.camera import DARK_MEAN_E, adu_to_electrons, adu_to_photons, log_likelihood
from optics.fits.smooth import Surface, make_surface, surface_at
from optics.psf_table import PsfTable, weights
from optics.pytree import pytree, replace
from optics.types import Camera

LEAST_MEAN = 1e-2  # photons: what a pixel of the model holds at least
_CHORDS, _TRIES = 3, 6  # steps with the same derivatives, and how many may be tried
_WORTH = 0.1  # of the gain that ends a fit: a step with old derivatives that gains less is the last one
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
class CrowdFit:
    """A fitted crowd: its `mean` (H, W) in photons, and what is known of its emitters with all others unknown.

    `covariance` (M, 4, 4) of x, y, z (um) and photons, infinite variances in a free slot; `overlap` (M, M) the cosine
    between the images of any two, 0 with itself and in free slots.
    """

    crowd: Crowd
    mean: jax.Array
    covariance: jax.Array
    overlap: jax.Array


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


def draw_images(model: CrowdModel, crowd: Crowd, rows: int = 1) -> jax.Array:
    """Draw each emitter by itself, of one photon: (M, rows, H, W), `rows` 4 adds its slopes along x, y, z per um."""
    side, pixel, (height, width) = model.table.image_px, model.pixel_um, model.surface.shape
    first = jnp.round(crowd.xyz_um[:, :2] / pixel - side / 2).astype(jnp.int32)
    inside = crowd.xyz_um[:, :2] - (first + side / 2) * pixel
    points = jnp.concatenate([inside, crowd.xyz_um[:, 2:]], axis=1)
    mixed = jax.vmap(lambda point: weights(model.table, point)[:rows])(points)
    stamps = jnp.matmul(mixed, model.table.pictures).reshape(-1, rows, side, side)

    def place(stamp, corner):
        # the frame as a window of the stamp with nothing around it
        around = jnp.pad(stamp, ((0, 0), (height, height), (width, width)))
        return jax.lax.dynamic_slice(
            around, (jnp.int32(0), height - corner[1], width - corner[0]), (rows, height, width)
        )

    return jax.vmap(place)(stamps, first)


def draw_crowd(model: CrowdModel, crowd: Crowd) -> jax.Array:
    """Draw the mean (H, W) that is expected of a crowd, in photons."""
    images = draw_images(model, crowd)[:, 0]
    light = jnp.where(crowd.present, crowd.photons, 0.0)
    return jnp.maximum(jnp.tensordot(light, images, 1) + surface_at(model.surface, crowd.level), LEAST_MEAN)


def misfit(model: CrowdModel, frame: Frame, mean: jax.Array) -> jax.Array:
    """Half the deviance of a frame: summed as differences, so that single precision tells small gains."""
    each = frame.best - log_likelihood(model.camera, frame.adu, mean)
    return jnp.sum(jnp.where(frame.valid, each, 0.0))


@pytree
class Slopes:
    """The mean's derivatives by all J = 4 M + A B parameters of a crowd: x, y, z, photons of each emitter, the splines.

    `columns` (J, H * W), 0 for a free slot; `fisher` (J, J) their information in units of 1 / `scale` (J,), so that its
    diagonal is 1 (0 where nothing is known); `images` (M, H * W) of the emitters, one photon each.
    """

    columns: jax.Array
    scale: jax.Array
    fisher: jax.Array
    images: jax.Array


def slopes_at(model: CrowdModel, frame: Frame, crowd: Crowd, mean: jax.Array) -> Slopes:
    """Evaluate the derivatives of the mean at a crowd, and the Fisher matrix of all its parameters."""
    slots = crowd.present.size
    rows = draw_images(model, crowd, 4).reshape(slots, 4, -1)
    light = jnp.where(crowd.present, crowd.photons, 0.0)[:, None, None]
    by_photons = jnp.where(crowd.present[:, None, None], rows[:, :1], 0.0)
    emitters = jnp.concatenate([rows[:, 1:] * light, by_photons], axis=1).reshape(4 * slots, -1)
    splines = jnp.einsum("ya,xb->abyx", model.surface.rows, model.surface.columns)
    columns = jnp.concatenate([emitters, splines.reshape(crowd.level.size, -1)])
    known = jnp.where(frame.valid, pixel_information(model.camera, mean), 0.0).ravel()
    fisher = (columns * known[None]) @ columns.T
    own = jnp.diagonal(fisher)
    scale = jnp.where(own > 0, 1 / jnp.sqrt(jnp.maximum(own, 1e-30)), 0.0)
    return Slopes(columns=columns, scale=scale, fisher=fisher * scale[:, None] * scale[None], images=rows[:, 0])


def uphill(model: CrowdModel, frame: Frame, at: Slopes, mean: jax.Array) -> jax.Array:
    """The slopes (J,) of the log-likelihood at `mean` along the derivatives `at`, in units of 1 / scale."""
    of_mean = jax.jvp(lambda mean: log_likelihood(model.camera, frame.adu, mean), (mean,), (jnp.ones_like(mean),))[1]
    return at.columns @ jnp.where(frame.valid, of_mean, 0.0).ravel() * at.scale


def factorise(crowd: Crowd, at: Slopes, held: jax.Array) -> jax.Array:
    """The Cholesky factor (J, J) of the damped Fisher matrix, without what is `held` (J,)."""
    moves = (at.scale > 0) & ~held
    n_splines = crowd.level.size
    added = jnp.concatenate([jnp.zeros(len(held) - n_splines), jnp.full(n_splines, _RIDGE)]) + crowd.damping
    matrix = jnp.where(moves[:, None] & moves[None], at.fisher, 0.0) + jnp.diag(jnp.where(moves, added, 1.0))
    return jnp.linalg.cholesky(matrix)


def _held(model: CrowdModel, crowd: Crowd, slope: jax.Array) -> jax.Array:
    """Which parameters (J,) stay: depths at an end of the range that would leave it."""
    low, high = model.table.z_range_um
    z, along = crowd.xyz_um[:, 2], slope[: 4 * crowd.present.size].reshape(-1, 4)[:, 2]
    ends = ((z <= low) & (along < 0)) | ((z >= high) & (along > 0))
    emitters = ends[:, None] & (jnp.arange(4) == 2)[None]
    return jnp.concatenate([emitters.ravel(), jnp.zeros(crowd.level.size, bool)])


def _moved(model: CrowdModel, crowd: Crowd, step: jax.Array) -> Crowd:
    """A crowd after a step (J,), no emitter further than it may go at once."""
    by_emitter = step[: 4 * crowd.present.size].reshape(-1, 4)
    low, high = model.table.z_range_um
    longest = jnp.array([_STEP_PX, _STEP_PX, 0.0]) * model.pixel_um
    longest = longest.at[2].set(_STEP_DEPTH * (high - low))
    shorter = jnp.min(longest[None] / jnp.maximum(jnp.abs(by_emitter[:, :3]), 1e-12), axis=1)
    xyz = crowd.xyz_um + by_emitter[:, :3] * jnp.minimum(shorter, 1.0)[:, None]
    height, width = model.surface.shape
    far = jnp.array([width, height]) + _OUTSIDE_PX
    across = jnp.clip(xyz[:, :2], -_OUTSIDE_PX * model.pixel_um, far[None] * model.pixel_um)
    photons = jnp.clip(crowd.photons + by_emitter[:, 3], _DIMMER * crowd.photons, _BRIGHTER * crowd.photons)
    return replace(
        crowd,
        xyz_um=jnp.concatenate([across, jnp.clip(xyz[:, 2:], low, high)], axis=1),
        photons=jnp.where(crowd.present, photons, crowd.photons),
        level=crowd.level + step[4 * crowd.present.size :].reshape(crowd.level.shape),
    )


def crowd_steps(
    model: CrowdModel, frame: Frame, crowd: Crowd, mean: jax.Array, least_gain: jax.Array | float
) -> tuple[Crowd, jax.Array, jax.Array, Slopes]:
    """Up to three steps of a whole crowd with the derivatives of where it stands, shorter ones where they fail.

    Returns crowd and mean after them, the gain in log-likelihood (0 if no step was taken), and the derivatives.
    """
    at = slopes_at(model, frame, crowd, mean)
    slope = uphill(model, frame, at, mean)
    held = _held(model, crowd, slope)
    slack = _rounding(model, frame)

    def goes_on(state):
        crowd, _, _, tries, taken, last = state
        worth = (taken == 0) | (last > _WORTH * least_gain)
        return (tries < _TRIES) & (taken < _CHORDS) & worth & (crowd.damping < _MOST_DAMPING)

    def step(state):
        crowd, mean, slope, tries, taken, last = state
        factor = factorise(crowd, at, held)
        change = jax.scipy.linalg.cho_solve((factor, True), jnp.where(held, 0.0, slope)) * at.scale
        tried = _moved(model, crowd, change)
        fresh = draw_crowd(model, tried)
        found = misfit(model, frame, fresh)
        gain = crowd.misfit - found
        # a first step may lose what rounding does; a later one that fails ends them
        good = gain >= jnp.where(taken == 0, -slack, 0.0)
        tried = replace(tried, misfit=found)
        crowd, mean = jax.tree.map(lambda new, old: jnp.where(good, new, old), (tried, fresh), (crowd, mean))
        damping = jnp.where(good, _EASIER * crowd.damping, _HARDER * crowd.damping)
        crowd = replace(crowd, damping=jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING))
        last = jnp.where(good, gain, jnp.where(taken == 0, last, -1.0))
        return crowd, mean, uphill(model, frame, at, mean), tries + 1, taken + good, last

    before = crowd.misfit
    state = crowd, mean, slope, 0, 0, jnp.asarray(jnp.inf, mean.dtype)
    crowd, mean, _, _, taken, _ = jax.lax.while_loop(goes_on, step, state)
    return crowd, mean, jnp.where(taken > 0, before - crowd.misfit, 0.0), at


def _rounding(model: CrowdModel, frame: Frame) -> jax.Array:
    """What rounding alone may do to the sum of a frame's log-likelihood: counts times logarithms."""
    counts = adu_to_electrons(model.camera, frame.adu) * frame.valid
    return jnp.finfo(counts.dtype).eps * (8 * jnp.linalg.norm(counts) + 4 * counts.size)


def fit_crowd(
    model: CrowdModel,
    frame: Frame,
    crowd: Crowd,
    max_steps: jax.Array | int = 20,
    least_gain: jax.Array | float = 0.02,
) -> CrowdFit:
    """Climb until new derivatives gain less than `least_gain` in log-likelihood, or for `max_steps` of them.

    Batch over frames with `jax.vmap`. Numbers of steps are data: another number needs no new compilation.
    """
    with jax.default_matmul_precision("highest"):
        mean = draw_crowd(model, crowd)
        damping = jnp.full_like(crowd.damping, _FIRST_DAMPING)
        crowd = replace(crowd, misfit=misfit(model, frame, mean), damping=damping)
        n_params = 4 * crowd.present.size + crowd.level.size

        def goes_on(state):
            crowd, _, gain, n, *_ = state
            return (n == 0) | ((n < max_steps) & (gain > least_gain) & (crowd.damping < _MOST_DAMPING))

        def step(state):
            crowd, mean, _, n, *_ = state
            crowd, mean, gain, at = crowd_steps(model, frame, crowd, mean, least_gain)
            return crowd, mean, gain, n + 1, at.fisher, at.scale, at.images

        first = jnp.asarray(jnp.inf, mean.dtype)
        nothing = (
            jnp.zeros((n_params, n_params), mean.dtype),
            jnp.zeros(n_params, mean.dtype),
            jnp.zeros((crowd.present.size, mean.size), mean.dtype),
        )
        state = jax.lax.while_loop(goes_on, step, (crowd, mean, first, 0, *nothing))
        crowd, mean, _, _, fisher, scale, images = state
        return CrowdFit(crowd, mean, crowd_covariance(crowd, fisher, scale), _overlap(crowd, images))


def crowd_covariance(crowd: Crowd, fisher: jax.Array, scale: jax.Array) -> jax.Array:
    """Covariance (M, 4, 4) of x, y, z (um) and photons of each emitter, all others and the background unknown.

    From the scaled Fisher matrix (J, J) of `slopes_at`. A slot without an emitter has infinite variances.
    """
    slots = crowd.present.size
    told = scale > 0
    matrix = fisher + jnp.diag(jnp.where(told, 10 * np.finfo(fisher.dtype).eps, 1.0))
    root = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(matrix), jnp.eye(len(scale)), lower=True)
    root = root[:, : 4 * slots].reshape(len(scale), slots, 4)
    own = jnp.einsum("jmp,jmq->mpq", root, root)
    scale = scale[: 4 * slots].reshape(slots, 4)
    found = own * scale[:, :, None] * scale[:, None, :]
    nothing = jnp.where(jnp.eye(4, dtype=bool), jnp.inf, 0.0)
    return jnp.where(crowd.present[:, None, None], found, nothing[None])


def _overlap(crowd: Crowd, images: jax.Array) -> jax.Array:
    unit = images / jnp.maximum(jnp.linalg.norm(images, axis=1, keepdims=True), 1e-12)
    both = crowd.present[:, None] & crowd.present[None] & ~jnp.eye(crowd.present.size, dtype=bool)
    return jnp.where(both, unit @ unit.T, 0.0)
