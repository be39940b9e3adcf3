"""One emitter's fit: where to start, how to step, how it ended. Pure functions of one image; `fit.py` runs thousands.

Levenberg-Marquardt with the Fisher matrix in place of the Hessian (Fisher scoring; Laurence and Chromy 2010,
doi 10.1038/nmeth0510-338) inside a box: a parameter on its limit with the slope pointing outwards is held there.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from optics.bounds.fisher import bound_std, pixel_information
from optics.camera import adu_to_electrons, adu_to_photons, log_likelihood
from optics.psf import PupilFields, image_and_slopes
from optics.psf_table import PsfTable, evaluate, weights
from optics.pytree import pytree
from optics.types import Camera, Psf

LEAST_PHOTONS = 1.0  # lower limits of a fit: low enough for an empty stamp to end there
LEAST_BACKGROUND = 1e-3  # photons per pixel
FIRST_DAMPING = 0.01
_LEAST_DAMPING, _WORRIED_DAMPING, _MOST_DAMPING = 1e-4, 0.3, 1e7
_EASIER, _HARDER = 0.1, 10.0  # what a good step, and a refused or much too long one, do to the damping
_FAR_BEYOND, _BEYOND = -0.5, -0.25  # slope along the step at its end over that at its start: 0 at the summit
_DEPTHS_PER_DEGREE = 1.5  # depths tried for a start: the PSF changes as fast as its degree in z says
_LATERAL_STEP_PX = 0.5
# A depth whose template explains so much less than the best one's, as a share and in log-likelihood, is not climbed:
# templates are dense enough to explain nine tenths of what the best fit does.
_HOPELESS_SHARE, _HOPELESS_GAP = 0.6, 20.0


@pytree
class Stamp:
    """One image: counts and whether they count (K*K,); `camera` where it differs between stamps, else None.

    `beneath` (K*K,) is light in photons that is known beforehand, as that of neighbours; None where there is none.
    """

    adu: jax.Array
    valid: jax.Array
    camera: Camera | None
    beneath: jax.Array | None = None


@pytree
class Climb:
    """A search on its way: x, y, z, photons, background in `theta` (5,), the damping, and how it stands."""

    theta: jax.Array
    damping: jax.Array
    log_likelihood: jax.Array
    iterations: jax.Array
    converged: jax.Array
    stuck: jax.Array


@pytree
class ExactImages:
    """A `Psf` as a source of images in place of a `PsfTable`; `shared` is its `pupil_fields`."""

    psf: Psf
    shared: PupilFields
    dipole_rad: jax.Array | None


Source = PsfTable | ExactImages


@pytree
class StartImages:
    """Images on a lattice of depths (Z,) and sideways positions (L, 2), in the components of a table."""

    depth_um: jax.Array
    sideways_um: jax.Array
    components: jax.Array
    total: jax.Array
    spread: jax.Array


def limits(table: PsfTable) -> jax.Array:
    """Lower and upper limits (2, 5) of the five parameters."""
    reach, (low, high) = table.reach_um, table.z_range_um
    inf = jnp.full_like(reach, jnp.inf)
    lower = [-reach, -reach, low, jnp.full_like(reach, LEAST_PHOTONS), jnp.full_like(reach, LEAST_BACKGROUND)]
    return jnp.stack([jnp.stack(lower), jnp.stack([reach, reach, high, inf, inf])])


def start_images(table: PsfTable) -> StartImages:
    """The images that a start is chosen from: half a pixel apart at most, at more depths than the PSF tells apart."""
    low, high = table.z_range_um
    depth = jnp.linspace(low, high, int(_DEPTHS_PER_DEGREE * table.degrees[1]) + 2)
    n = 2 * int(np.ceil(table.reach_px / _LATERAL_STEP_PX)) + 1
    side = jnp.linspace(-1, 1, n + 2)[1:-1] * table.reach_um
    z, y, x = jnp.meshgrid(depth, side, side, indexing="ij")
    points = jnp.stack([x, y, z], axis=-1).reshape(-1, 3)
    components = jax.vmap(lambda point: weights(table, point, 1)[0])(points)
    total = jnp.matmul(components, table.pictures.sum(axis=1), precision=Precision.HIGHEST)
    square = jnp.matmul(components**2, jnp.sum(table.pictures**2, axis=1), precision=Precision.HIGHEST)
    return StartImages(
        depth_um=depth,
        sideways_um=points[: n * n, :2],
        components=components,
        total=total,
        spread=square - total**2 / table.pictures.shape[1],
    )


def depth_starts(
    table: PsfTable, tried: StartImages, camera: Camera, stamp: Stamp, count: int
) -> tuple[jax.Array, jax.Array]:
    """Parameters (count, 5) to start from, and which of them are there (count,): the best depths, one a basin.

    Least squares of photons and background for each template; the maxima of what the best sideways position explains,
    as a function of depth. Pixels that are left out, or noisier than most, count as background.
    """
    flux = adu_to_photons(camera, stamp.adu)
    if stamp.beneath is not None:
        flux = flux - stamp.beneath
    n_valid = jnp.maximum(stamp.valid.sum(), 1)
    level = jnp.sum(jnp.where(stamp.valid, flux, 0)) / n_valid
    expected = jnp.full_like(flux, jnp.maximum(level, 1.0))
    if stamp.beneath is not None:
        expected = jnp.maximum(expected + stamp.beneath, 1.0)
    information_px = jnp.where(stamp.valid, pixel_information(camera, expected), 0)
    trust = jnp.minimum(information_px / (information_px.sum() / n_valid), 1.0)
    contrast = (flux - level) * trust
    contrast = contrast - contrast.mean()
    projected = jnp.matmul(table.pictures, contrast, precision=Precision.HIGHEST)
    match = jnp.matmul(tried.components, projected, precision=Precision.HIGHEST)
    photons = match / tried.spread
    explained = jnp.where(match > 0, match * photons, 0.0).reshape(tried.depth_um.shape[0], -1)
    sideways, by_depth = jnp.argmax(explained, axis=1), jnp.max(explained, axis=1)
    beside = jnp.pad(by_depth, 1, constant_values=-1.0)
    peak = (by_depth >= beside[:-2]) & (by_depth > beside[2:])
    # a stamp without light has no peak: it starts in the middle, and ends at the least photons
    height, where = jax.lax.top_k(jnp.where(peak, by_depth, -1.0), count)
    pick = where * tried.sideways_um.shape[0] + sideways[where]
    light = jnp.maximum(photons[pick], 10 * LEAST_PHOTONS)
    background = jnp.maximum(level - light * tried.total[pick] / flux.shape[0], 10 * LEAST_BACKGROUND)
    theta = jnp.concatenate(
        [tried.sideways_um[sideways[where]], jnp.stack([tried.depth_um[where], light, background], axis=1)], axis=1
    )
    behind = (height[0] - height) * information_px.sum() / n_valid / 2
    hopeless = (height < _HOPELESS_SHARE * height[0]) & (behind > _HOPELESS_GAP)
    return theta, ((height > 0) & ~hopeless) | (jnp.arange(count) == 0)


def begin(theta: jax.Array) -> Climb:
    """A search that stands at `theta` (..., 5) and has not moved yet."""
    shape = theta.shape[:-1]
    none = jnp.zeros(shape, bool)
    return Climb(
        theta=theta,
        damping=jnp.full(shape, FIRST_DAMPING, theta.dtype),
        log_likelihood=jnp.full(shape, -jnp.inf, theta.dtype),
        iterations=jnp.zeros(shape, jnp.int32),
        converged=none,
        stuck=none,
    )


def image_rows(source: Source, xyz_um: jax.Array) -> jax.Array:
    """Image and derivatives by x, y, z at `xyz_um`, (4, K*K), from a table or from the exact optics."""
    if isinstance(source, PsfTable):
        return evaluate(source, xyz_um)
    return image_and_slopes(source.psf, source.shared, xyz_um, source.dipole_rad).reshape(4, -1)


@pytree
class Standing:
    """The likelihood at a point: its logarithm, slope (5,), Fisher matrix (5, 5); `mean` (K*K,) expected photons."""

    log_likelihood: jax.Array
    slope: jax.Array
    fisher: jax.Array
    mean: jax.Array


def standing(source: Source, camera: Camera, stamp: Stamp, theta: jax.Array) -> Standing:
    """Evaluate the likelihood of a stamp at `theta` (5,)."""
    rows = image_rows(source, theta[:3])
    mean = theta[3] * rows[0] + theta[4]
    if stamp.beneath is not None:
        mean = jnp.maximum(mean + stamp.beneath, LEAST_BACKGROUND)
    slopes = jnp.concatenate([theta[3] * rows[1:], rows[:1], jnp.ones_like(rows[:1])])
    each, score = jax.jvp(lambda photons: log_likelihood(camera, stamp.adu, photons), (mean,), (jnp.ones_like(mean),))
    known = jnp.where(stamp.valid, pixel_information(camera, mean), 0)
    return Standing(
        log_likelihood=jnp.sum(jnp.where(stamp.valid, each, 0)),
        slope=jnp.matmul(slopes, jnp.where(stamp.valid, score, 0), precision=Precision.HIGHEST),
        fisher=jnp.einsum("ip,jp->ij", slopes * known[None, :], slopes, precision=Precision.HIGHEST),
        mean=mean,
    )


def climb_step(
    source: Source, camera: Camera, stamp: Stamp, box: jax.Array, climb: Climb, here: Standing, tolerance: jax.Array
) -> tuple[Climb, Standing]:
    """One step up: tried, then taken if the likelihood did not fall.

    Converged: a taken, hardly damped step that moved no parameter by `tolerance` of its 1 / sqrt(F_ii).
    """
    low, high = box
    held = ((climb.theta <= low) & (here.slope < 0)) | ((climb.theta >= high) & (here.slope > 0))
    scale = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(here.fisher), jnp.finfo(here.fisher.dtype).tiny))
    both = ~held[:, None] & ~held[None, :]
    matrix = jnp.where(both, here.fisher * scale[:, None] * scale[None, :], 0)
    matrix = matrix + jnp.diag(jnp.where(held, 1.0, climb.damping))
    step = scale * jnp.linalg.solve(matrix, jnp.where(held, 0.0, here.slope * scale))
    theta = jnp.clip(climb.theta + step, low, high)
    there = standing(source, camera, stamp, theta)
    made = (theta - climb.theta) / scale
    # what rounding alone may do to a sum of counts times logarithms
    counts = adu_to_electrons(camera, stamp.adu) * stamp.valid
    slack = jnp.finfo(counts.dtype).eps * (8 * jnp.linalg.norm(counts) + 4 * counts.shape[0])
    taken = there.log_likelihood >= here.log_likelihood - slack
    # dim images can be twice as curved as the Fisher matrix says: such steps swing about the summit, too little for the
    # likelihood to show among its rounding; the slopes show it
    before, after = jnp.sum(made * scale * here.slope), jnp.sum(made * scale * there.slope)
    harder = ~taken | (after < _FAR_BEYOND * before)
    factor = jnp.where(harder, _HARDER, jnp.where(after > _BEYOND * before, _EASIER, 1.0))
    damping = jnp.maximum(climb.damping * factor, jnp.where(harder, _WORRIED_DAMPING, _LEAST_DAMPING))
    moved = jnp.max(jnp.abs(made))
    now = jax.tree.map(lambda new, old: jnp.where(taken, new, old), there, here)
    climb = Climb(
        theta=jnp.where(taken, theta, climb.theta),
        damping=damping,
        log_likelihood=now.log_likelihood,
        iterations=climb.iterations + 1,
        converged=taken & (moved < tolerance) & (climb.damping <= 1),
        stuck=damping >= _MOST_DAMPING,
    )
    return climb, now


def summary(source: Source, camera: Camera, stamp: Stamp, box: jax.Array, theta: jax.Array) -> dict[str, jax.Array]:
    """Summarise a finished fit: bounds, log-likelihood, chi-square over its expectation, whether it met a limit."""
    here = standing(source, camera, stamp, theta)
    reading = adu_to_photons(camera, stamp.adu)
    known = jnp.where(stamp.valid, pixel_information(camera, here.mean), 0)
    freedom = jnp.maximum(stamp.valid.sum() - theta.shape[0], 1)
    return {
        "crlb_std": bound_std(here.fisher),
        "log_likelihood": here.log_likelihood,
        "chi2_ratio": jnp.sum((reading - here.mean) ** 2 * known) / freedom,
        "at_bound": jnp.any((theta <= box[0]) | (theta >= box[1])),
    }
