"""A crowd fitted: the likelihood of a whole frame, climbed by all emitters and the background at once.

Each step is one of Levenberg and Marquardt with the Fisher matrix of all parameters (Fisher scoring, as in `climb.py`;
doi 10.1038/nmeth0510-338), which is one product of the derivative images with themselves. Drawing the derivatives costs
more than a step does, so that up to three steps use the same ones (the chord method: Ortega and Rheinboldt 1970,
doi 10.1137/1.9780898719468, ch. 7). Fitting everything at once goes back to Boyd, Schiebinger and Recht 2017
(doi 10.1137/15M1035793) and, one Newton step an emitter in turn, to 3D-DAOSTORM (Babcock et al. 2012,
doi 10.1186/2192-2853-1-6).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from optics.bounds.fisher import pixel_information
from optics.camera import adu_to_electrons, adu_to_photons, relative_log_likelihood
from optics.fits.crowd import (
    LEAST_MEAN,
    Crowd,
    CrowdModel,
    Frame,
    doubted,
    draw_crowd,
    draw_images,
    misfit,
    rough,
    with_stray,
)
from optics.fits.smooth import MOST_SPREAD, gram, learn_spread, project, roughness, surface_at
from optics.pytree import pytree, replace

_CHORDS, _TRIES = 3, 6  # steps with the same derivatives, and how many may be tried
_WORTH = 0.1  # of the gain that ends a fit: a step with old derivatives that gains less is the last one
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-4, 1e5
_EASIER, _HARDER = 0.2, 8.0
_STEP_PX, _STEP_DEPTH = 0.55, 0.05  # longest step across, and in depth as a share of the range
_BRIGHTER, _DIMMER = 3.0, 0.3  # and in photons
_MOST_BLUR = 3.0  # standard deviations of an emitter's own blur
_OUTSIDE = 0.5  # of a stamp: an emitter may stand so far outside the frame


@pytree
class CrowdFit:
    """A fitted crowd: its `mean` (H, W) in photons, and what is known of its emitters with all others unknown.

    `covariance` (M, 4, 4) of x, y, z (um) and photons, infinite variances in a free slot; `overlap` (M, M) the cosine
    between the images of any two, 0 with itself and in free slots; `worth` (M,) the significance of each: the signed
    root of twice what the frame loses in log-likelihood without it, where it stands, all else following, less what the
    model's error makes of it. `surprise` (M,) is by how many standard deviations what is left in each one's image is
    more than noise, and that error. `excess` () is by how much that error makes the misfit larger. `evidence` () is
    what the background's structure costs beside its fit: with it explanations over different backgrounds compare.
    """

    crowd: Crowd
    mean: jax.Array
    covariance: jax.Array
    overlap: jax.Array
    worth: jax.Array
    surprise: jax.Array
    excess: jax.Array
    evidence: jax.Array


@pytree
class Slopes:
    """The mean's derivatives by all J = Q M + A B parameters of a crowd: the Q unknowns of each emitter, background.

    Those are x, y, z, photons, and blur where it is the emitter's own. `columns` (Q M, H * W) are 0 for a free slot;
    `fisher` (J, J) the information of all, with the background's prior if `scale` (J,) is not 1: then in units of
    1 / scale, so that its diagonal is 1 (0 where nothing is known).
    """

    columns: jax.Array
    scale: jax.Array
    fisher: jax.Array


def slopes_at(model: CrowdModel, frame: Frame, crowd: Crowd, mean: jax.Array) -> Slopes:
    """Evaluate the derivatives of the mean at a crowd, and the Fisher matrix of all its parameters."""
    slots, surface = crowd.present.size, model.surface
    each = model.unknowns
    rows = draw_images(model, crowd, each).reshape(slots, each, -1)
    light = jnp.where(crowd.present, crowd.photons, 0.0)[:, None, None]
    by_photons = jnp.where(crowd.present[:, None, None], rows[:, :1], 0.0)
    columns = jnp.concatenate([rows[:, 1:4] * light, by_photons, rows[:, 4:] * light], axis=1)
    columns = columns.reshape(each * slots, -1)
    known = jnp.where(frame.valid, pixel_information(model.camera, mean), 0.0)
    weighted = columns * known.ravel()[None]
    # the background's functions are products over rows and columns: as such they cost next to nothing
    between = project(surface, weighted.reshape(-1, *known.shape))
    fisher = jnp.block([[weighted @ columns.T, between], [between.T, gram(surface, known)]])
    return Slopes(columns=columns, scale=jnp.ones(len(fisher), fisher.dtype), fisher=fisher)


def with_prior(model: CrowdModel, crowd: Crowd, at: Slopes) -> Slopes:
    fisher = at.fisher + jnp.diag(jnp.concatenate([_blur_prior(model, crowd)[0], _prior(model, crowd)]))
    own = jnp.diagonal(fisher)
    scale = jnp.where(own > 0, 1 / jnp.sqrt(jnp.maximum(own, 1e-30)), 0.0)
    return replace(at, scale=scale, fisher=fisher * scale[:, None] * scale[None])


def _prior(model: CrowdModel, crowd: Crowd) -> jax.Array:
    """What is known of the background's coefficients (A * B,) beforehand: 1 / variance."""
    return model.surface.stiffness.ravel() / crowd.spread**2


def _blur_prior(model: CrowdModel, crowd: Crowd) -> tuple[jax.Array, jax.Array]:
    """What is known of the emitters' unknowns (Q * M,) beforehand, 1 / variance, and where they are about that."""
    place = jnp.zeros((crowd.present.size, model.unknowns))
    if model.blur_spread_px2 is None:
        return place.ravel(), place.ravel()
    known = place.at[:, 4].set(jnp.where(crowd.present, 1 / model.blur_spread_px2**2, 0.0))
    return known.ravel(), place.at[:, 4].set(crowd.blur_px2).ravel()


def uphill(model: CrowdModel, frame: Frame, crowd: Crowd, at: Slopes, mean: jax.Array) -> jax.Array:
    """The slopes (J,) of likelihood times prior at a crowd and its mean along the derivatives `at`, in 1 / scale."""
    of_mean = _by_mean(model, frame, mean)
    background = project(model.surface, of_mean) - _prior(model, crowd) * crowd.level.ravel()
    known, apart = _blur_prior(model, crowd)
    return jnp.concatenate([at.columns @ of_mean.ravel() - known * apart, background]) * at.scale


def _by_mean(model: CrowdModel, frame: Frame, mean: jax.Array) -> jax.Array:
    """The slope (H, W) of the likelihood by each pixel's mean."""
    slope = jax.jvp(partial(relative_log_likelihood, model.camera, frame.adu), (mean,), (jnp.ones_like(mean),))[1]
    return jnp.where(frame.valid, slope, 0.0)


def factorise(crowd: Crowd, at: Slopes, held: jax.Array) -> jax.Array:
    """The Cholesky factor (J, J) of the damped Fisher matrix, without what is `held` (J,)."""
    moves = (at.scale > 0) & ~held
    matrix = jnp.where(moves[:, None] & moves[None], at.fisher, 0.0) + jnp.diag(jnp.where(moves, crowd.damping, 1.0))
    return jnp.linalg.cholesky(matrix)


def _held(model: CrowdModel, crowd: Crowd, slope: jax.Array) -> jax.Array:
    """Which parameters (J,) stay: depths at an end of the range that would leave it."""
    low, high = model.table.z_range_um
    each = model.unknowns
    z, along = crowd.xyz_um[:, 2], slope[: each * crowd.present.size].reshape(-1, each)[:, 2]
    ends = ((z <= low) & (along < 0)) | ((z >= high) & (along > 0))
    emitters = ends[:, None] & (jnp.arange(each) == 2)[None]
    return jnp.concatenate([emitters.ravel(), jnp.zeros(crowd.level.size, bool)])


def _moved(model: CrowdModel, crowd: Crowd, step: jax.Array) -> Crowd:
    """A crowd after a step (J,), no emitter further than it may go at once."""
    n = model.unknowns * crowd.present.size
    by_emitter = step[:n].reshape(-1, model.unknowns)
    low, high = model.table.z_range_um
    longest = jnp.array([_STEP_PX, _STEP_PX, 0.0]) * model.pixel_um
    longest = longest.at[2].set(_STEP_DEPTH * (high - low))
    shorter = jnp.min(longest[None] / jnp.maximum(jnp.abs(by_emitter[:, :3]), 1e-12), axis=1)
    xyz = crowd.xyz_um + by_emitter[:, :3] * jnp.minimum(shorter, 1.0)[:, None]
    height, width = model.shape
    outside = _OUTSIDE * model.table.image_px
    far = jnp.array([width, height]) + outside
    across = jnp.clip(xyz[:, :2], -outside * model.pixel_um, far[None] * model.pixel_um)
    photons = jnp.clip(crowd.photons + by_emitter[:, 3], _DIMMER * crowd.photons, _BRIGHTER * crowd.photons)
    return replace(
        crowd,
        xyz_um=jnp.concatenate([across, jnp.clip(xyz[:, 2:], low, high)], axis=1),
        photons=jnp.where(crowd.present, photons, crowd.photons),
        blur_px2=_blurred(model, crowd, by_emitter),
        level=crowd.level + step[n:].reshape(crowd.level.shape),
    )


def _blurred(model: CrowdModel, crowd: Crowd, by_emitter: jax.Array) -> jax.Array:
    """The emitters' blur after a step, within what its prior says to be possible."""
    if model.blur_spread_px2 is None:
        return crowd.blur_px2
    most = _MOST_BLUR * model.blur_spread_px2
    return jnp.clip(crowd.blur_px2 + by_emitter[:, 4], -most, most)


def crowd_steps(
    model: CrowdModel,
    frame: Frame,
    crowd: Crowd,
    mean: jax.Array,
    least_gain: jax.Array | float,
    most_spread: jax.Array | float = MOST_SPREAD,
) -> tuple[Crowd, jax.Array, jax.Array, Slopes]:
    """Up to three steps of a whole crowd with the derivatives of where it stands, shorter ones where they fail.

    Returns crowd and mean after them, the gain in log-likelihood and prior (0 if no step was taken), and the
    derivatives.
    """
    at = slopes_at(model, frame, crowd, mean)
    crowd = replace(crowd, spread=_learnt(model, frame, crowd, at, mean, most_spread))
    at = with_prior(model, crowd, at)
    slope = uphill(model, frame, crowd, at, mean)
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
        gain = crowd.misfit - found + rough(model, crowd) - rough(model, tried)
        # a first step may lose what rounding does; a later one that fails ends them
        good = gain >= jnp.where(taken == 0, -slack, 0.0)
        tried = replace(tried, misfit=found)
        crowd, mean = jax.tree.map(lambda new, old: jnp.where(good, new, old), (tried, fresh), (crowd, mean))
        damping = jnp.where(good, _EASIER * crowd.damping, _HARDER * crowd.damping)
        crowd = replace(crowd, damping=jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING))
        last = jnp.where(good, gain, jnp.where(taken == 0, last, -1.0))
        return crowd, mean, uphill(model, frame, crowd, at, mean), tries + 1, taken + good, last

    before = crowd.misfit + rough(model, crowd)
    state = crowd, mean, slope, 0, 0, jnp.asarray(jnp.inf, mean.dtype)
    crowd, mean, _, _, taken, _ = jax.lax.while_loop(goes_on, step, state)
    return crowd, mean, jnp.where(taken > 0, before - crowd.misfit - rough(model, crowd), 0.0), at


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
    most_spread: jax.Array | float = MOST_SPREAD,
    around: jax.Array | float = 0.0,
) -> CrowdFit:
    """Climb until new derivatives gain less than `least_gain` in log-likelihood, or for `max_steps` of them.

    The background varies by at most `most_spread` of its mean. `around` (H, W) is light in photons that stays, as that
    of emitters which are not fitted along.

    Batch over frames with `jax.vmap`. Numbers of steps are data: another number needs no new compilation.
    """
    with jax.default_matmul_precision("highest"):
        crowd = with_stray(model, crowd)
        crowd = replace(crowd, stray=crowd.stray + around, damping=jnp.full_like(crowd.damping, _FIRST_DAMPING))
        mean = draw_crowd(model, crowd)
        crowd = replace(crowd, misfit=misfit(model, frame, mean))
        n_emitters = model.unknowns * crowd.present.size
        n_params = n_emitters + crowd.level.size

        def goes_on(state):
            crowd, _, gain, n, *_ = state
            return (n == 0) | ((n < max_steps) & (gain > least_gain) & (crowd.damping < _MOST_DAMPING))

        def step(state):
            crowd, mean, _, n, *_ = state
            crowd, mean, gain, at = crowd_steps(model, frame, crowd, mean, least_gain, most_spread)
            return crowd, mean, gain, n + 1, at

        first = jnp.asarray(jnp.inf, mean.dtype)
        nothing = Slopes(
            columns=jnp.zeros((n_emitters, mean.size), mean.dtype),
            scale=jnp.zeros(n_params, mean.dtype),
            fisher=jnp.zeros((n_params, n_params), mean.dtype),
        )
        crowd, mean, _, _, at = jax.lax.while_loop(goes_on, step, (crowd, mean, first, 0, nothing))
        root = inverse_root(at)
        images = at.columns[3 :: model.unknowns]
        certain, excess = _certain(model, frame, crowd, images, mean)
        return CrowdFit(
            crowd=crowd,
            mean=mean,
            covariance=crowd_covariance(crowd, root, at.scale),
            overlap=_overlap(crowd, images),
            worth=_worth(model, frame, crowd, at, root, mean) * certain,
            surprise=_surprise(model, frame, crowd, images, mean),
            excess=excess,
            evidence=_evidence(model, crowd, at),
        )


def inverse_root(at: Slopes) -> jax.Array:
    """A matrix (J, J) whose product with itself, transpose first, is the inverse of the scaled Fisher matrix."""
    told = at.scale > 0
    matrix = at.fisher + jnp.diag(jnp.where(told, 10 * np.finfo(at.fisher.dtype).eps, 1.0))
    return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(matrix), jnp.eye(len(told)), lower=True)


def crowd_covariance(crowd: Crowd, root: jax.Array, scale: jax.Array) -> jax.Array:
    """Covariance (M, 4, 4) of x, y, z (um) and photons of each emitter, all others and the background unknown.

    A slot without an emitter has infinite variances.
    """
    slots = crowd.present.size
    each = (len(scale) - crowd.level.size) // slots
    own = _own(root, slots, each)[:, :4, :4]
    scale = scale[: each * slots].reshape(slots, each)[:, :4]
    found = own * scale[:, :, None] * scale[:, None, :]
    nothing = jnp.where(jnp.eye(4, dtype=bool), jnp.inf, 0.0)
    return jnp.where(crowd.present[:, None, None], found, nothing[None])


def _own(root: jax.Array, slots: int, each: int) -> jax.Array:
    """Each emitter's block (M, Q, Q) of the inverse, Q = `each`."""
    columns = root[:, : each * slots].reshape(len(root), slots, each)
    return jnp.einsum("jmp,jmq->mpq", columns, columns)


def _worth(model: CrowdModel, frame: Frame, crowd: Crowd, at: Slopes, root: jax.Array, mean: jax.Array) -> jax.Array:
    """The significance (M,) of each emitter, by the likelihood itself: at low light it is far from a parabola."""
    slots, each = crowd.present.size, model.unknowns
    n = each * slots
    # along which all else follows as an emitter's photons change and its position stays
    inverse = jnp.linalg.inv(_own(root, slots, each) + 1e-6 * jnp.eye(each)[None])[:, :, 3]
    along = jnp.einsum("ji,jmp,mp->mi", root, root[:, :n].reshape(-1, slots, each), inverse)
    own = at.scale[3:n:each]
    along = along * at.scale[None] / jnp.where(own > 0, own, 1.0)[:, None]
    light = jnp.where(crowd.present, crowd.photons, 0.0)
    light, along = light, along * light[:, None]
    levels = along[:, n:].reshape(slots, *crowd.level.shape)
    less = (along[:, :n] @ at.columns).reshape(slots, *mean.shape) + jax.vmap(
        lambda level: surface_at(model.surface, level)
    )(levels)

    def loss(change):
        image, level = change
        without = misfit(model, frame, jnp.maximum(mean - image, LEAST_MEAN))
        return without + roughness(model.surface, crowd.level - level, crowd.spread)

    lost = jax.lax.map(loss, (less, levels)) - crowd.misfit - rough(model, crowd)
    return jnp.where(crowd.present, jnp.sqrt(2 * jnp.maximum(lost, 0.0)), 0.0)


def _certain(
    model: CrowdModel, frame: Frame, crowd: Crowd, images: jax.Array, mean: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What is left (M,) of each emitter's significance if the others' light may be off, and the misfit () that makes.

    With v the variance of a pixel, f the emitter's image and (e L)^2 what an error of the others' light adds, that is
    sqrt(sum(f^2 / (v + (e L)^2)) / sum(f^2 / v)).
    """
    if model.model_error is None:
        return jnp.ones_like(crowd.photons), jnp.zeros_like(crowd.misfit)
    known = jnp.where(frame.valid, pixel_information(model.camera, mean), 0.0).ravel()
    light = jnp.maximum(mean - surface_at(model.surface, crowd.level), 0.0).ravel()
    own = jnp.where(crowd.present, crowd.photons, 0.0)[:, None] * images
    plain = images**2 @ known
    left = jnp.sum(images**2 * doubted(model, known, jnp.maximum(light[None] - own, 0.0)), axis=1)
    return jnp.sqrt(left / jnp.maximum(plain, 1e-30)), jnp.sum(known * (model.model_error * light) ** 2) / 2


def _surprise(model: CrowdModel, frame: Frame, crowd: Crowd, images: jax.Array, mean: jax.Array) -> jax.Array:
    """By how many standard deviations (M,) squared residuals under each image, weighed by it, are more than expected.

    Those of noise are 1 on average, of a variance of 2.
    """
    known = jnp.where(frame.valid, pixel_information(model.camera, mean), 0.0)
    light = jnp.maximum(mean - surface_at(model.surface, crowd.level), 0.0)
    rest = adu_to_photons(model.camera, frame.adu) - mean
    more = jnp.where(frame.valid, doubted(model, known, light) * rest**2 - 1, 0.0).ravel()
    weight = jnp.abs(images) * frame.valid.ravel()[None]
    spread = jnp.sqrt(2 * jnp.sum(weight**2, axis=1))
    return jnp.where(crowd.present, (weight @ more) / jnp.maximum(spread, 1e-30), 0.0)


def _evidence(model: CrowdModel, crowd: Crowd, at: Slopes) -> jax.Array:
    """Minus the logarithm of a frame's evidence by its background, Laplace's approximation, beside the misfit."""
    n, prior = len(at.columns), _prior(model, crowd)
    factor = jnp.linalg.cholesky(at.fisher[n:, n:])
    told = 2 * jnp.sum(jnp.log(jnp.diagonal(factor))) - 2 * jnp.sum(jnp.log(at.scale[n:]))
    before = jnp.sum(jnp.where(prior > 0, jnp.log(jnp.where(prior > 0, prior, 1.0)), 0.0))
    return rough(model, crowd) + (told - before) / 2


def _learnt(
    model: CrowdModel, frame: Frame, crowd: Crowd, at: Slopes, mean: jax.Array, most: jax.Array | float
) -> jax.Array:
    """By how much the background varies, as the frame tells, its emitters following."""
    n = len(at.columns)
    own = jnp.diagonal(at.fisher)[:n]
    size = jnp.where(own > 0, 1 / jnp.sqrt(jnp.maximum(own, 1e-30)), 0.0)
    emitters = at.fisher[:n, :n] * size[:, None] * size[None] + jnp.diag(jnp.where(own > 0, 1e-5, 1.0))
    half = jax.scipy.linalg.solve_triangular(
        jnp.linalg.cholesky(emitters), at.fisher[:n, n:] * size[:, None], lower=True
    )
    slope = project(model.surface, _by_mean(model, frame, mean))
    return learn_spread(model.surface, crowd.level, at.fisher[n:, n:] - half.T @ half, slope, crowd.spread, most)


def _overlap(crowd: Crowd, images: jax.Array) -> jax.Array:
    unit = images / jnp.maximum(jnp.linalg.norm(images, axis=1, keepdims=True), 1e-12)
    both = crowd.present[:, None] & crowd.present[None] & ~jnp.eye(crowd.present.size, dtype=bool)
    return jnp.where(both, unit @ unit.T, 0.0)
