"""How well an image can tell which species its emitter is of: an upper limit, before any reader is written.

Species are hypotheses, not a parameter: the Fisher matrix says nothing of them. Between two images a and b of expected
counts the Bhattacharyya distance is D = sum (sqrt a - sqrt b)^2 / 2, exact for Poisson counts; no reader is right
more often than (1 + sqrt(1 - exp(-2 D))) / 2 (Kailath 1967, doi 10.1109/TCOM.1967.1089532). Nobody knows where an
emitter is and how bright: an emitter of the one species is told only from the emitter of the other that looks most
like it. The minimum over the other's x, y, z, photons and background is that least favourable pair, and its limit
holds for the mean of the two shares read rightly, whatever the reader. For images of many photons their likelihood
ratio is nearly Gaussian and the best share is Phi(sqrt(2 D)).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from numpy.typing import ArrayLike

from optics.camera import electron_variance
from optics.psf_table import PsfTable, evaluate, pad_table
from optics.pytree import pytree
from optics.types import Camera, OpticsError

_STEPS = 25
_DEPTHS_PER_DEGREE = 1.0  # where a search for the rival begins: the images change as fast as their degree in z says
_LEAST = 1e-9  # counts of a dark pixel
_ORDERS = np.linspace(0.02, 0.98, 49)


def counts_of(camera: Camera | None, photons: ArrayLike) -> jax.Array:
    """Poisson counts that tell as much as a reading of `photons` (...): their variance is their mean.

    Without a camera the photons themselves. Read noise adds its square in electrons, the multiplication of an EMCCD
    halves what is counted (`electron_variance`).

    >>> from optics.types import make_camera
    >>> float(counts_of(make_camera(read_noise_e=2.0), 10.0))
    14.0
    """
    photons = jnp.asarray(photons)
    if camera is None:
        return jnp.maximum(photons, _LEAST)
    dark, one = (electron_variance(camera, mean) for mean in (0.0, 1.0))
    excess = one - dark  # 1, or 2 behind a multiplication
    variance = electron_variance(camera, camera.quantum_efficiency * photons)
    return jnp.maximum(variance / excess**2, _LEAST)


def bhattacharyya(counts: ArrayLike, rival: ArrayLike) -> jax.Array:
    """Bhattacharyya distance of two images of expected counts, (..., K, K) -> (...).

    >>> bool(jnp.isclose(bhattacharyya(jnp.full((1, 1), 4.0), jnp.full((1, 1), 9.0)), 0.5))
    True
    """
    return jnp.sum((jnp.sqrt(jnp.asarray(counts)) - jnp.sqrt(jnp.asarray(rival))) ** 2, axis=(-2, -1)) / 2


def chernoff(counts: jax.Array, rival: jax.Array) -> jax.Array:
    """Chernoff information of two images (K, K): the error of the best reader falls as exp(-C), from half on.

    The maximum over s of sum s a + (1 - s) b - a^s b^(1 - s); at s = 1/2 it is the Bhattacharyya distance, which it
    exceeds little for images alike (Chernoff 1952, doi 10.1214/aoms/1177729330).
    """

    def at(s):
        return jnp.sum(s * counts + (1 - s) * rival - jnp.exp(s * jnp.log(counts) + (1 - s) * jnp.log(rival)))

    return jnp.max(jax.lax.map(at, jnp.asarray(_ORDERS, counts.dtype)))


def accuracy_limit(distance: ArrayLike) -> jax.Array:
    """The share that no reader exceeds, of two species equally frequent, at a Bhattacharyya distance.

    >>> float(accuracy_limit(0.0))
    0.5
    """
    gone = -jnp.expm1(-2 * jnp.asarray(distance))
    lit = gone > 0
    return 0.5 + 0.5 * jnp.where(lit, jnp.sqrt(jnp.where(lit, gone, 1.0)), 0.0)


def accuracy_gaussian(distance: ArrayLike) -> jax.Array:
    """The best share if the likelihood ratio is Gaussian: Phi(sqrt(2 D)); never above `accuracy_limit`."""
    return norm.cdf(jnp.sqrt(2 * jnp.maximum(jnp.asarray(distance), 0.0)))


@pytree
class Rival:
    """The emitter of the other species that looks most like one: Bhattacharyya distance () and theta (5,).

    theta: x, y, z (um), photons, background; `chernoff` () of the same pair.
    """

    distance: jax.Array
    theta: jax.Array
    chernoff: jax.Array


def least_favourable(
    table: PsfTable,
    image: jax.Array,
    start: jax.Array,
    camera: Camera | None = None,
    known: jax.Array | Sequence[bool] = (False,) * 5,
) -> Rival:
    """Find the emitter of another species, of which `table` holds the images, that looks most like `image` (K, K).

    `image` are expected photons, `start` (5,) where the search begins in x, y and (if known) light; all depths of the
    table are tried, `table` bounds the search. `known` numbers keep their start. Traceable; batch with `jax.vmap`.
    """
    counts = counts_of(camera, image)
    root = jnp.sqrt(counts).ravel()
    low, high = _box(table)
    free = ~jnp.asarray(known)

    def model(theta):
        values = evaluate(table, theta[:3])
        expected = theta[3] * values[0] + theta[4]
        slopes = jnp.concatenate([theta[3] * values[1:], values[:1], jnp.ones_like(values[:1])], axis=0)
        seen = expected.reshape(image.shape)
        there, by_photons = jax.jvp(partial(counts_of, camera), (seen,), (jnp.ones_like(seen),))
        there = jnp.sqrt(there.ravel())
        return there, slopes * (by_photons.ravel() / (2 * there))[None]

    def cost(theta):
        return jnp.sum((root - model(theta)[0]) ** 2) / 2

    def step(_, state):
        theta, damping, here = state
        now, slopes = model(theta)
        gradient = slopes @ (root - now)
        matrix = jnp.matmul(slopes, slopes.T, precision="highest")
        held = ((theta <= low) & (gradient < 0)) | ((theta >= high) & (gradient > 0)) | ~free
        scale = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), jnp.finfo(root.dtype).tiny))
        both = ~held[:, None] & ~held[None, :]
        scaled = jnp.where(both, matrix * scale[:, None] * scale[None, :], 0) + jnp.diag(jnp.where(held, 1.0, damping))
        move = scale * jnp.linalg.solve(scaled, jnp.where(held, 0.0, gradient * scale))
        tried = jnp.clip(theta + move, low, high)
        there = cost(tried)
        better = there <= here
        return (
            jnp.where(better, tried, theta),
            jnp.where(better, jnp.maximum(damping / 5, 1e-6), jnp.minimum(damping * 6, 1e6)),
            jnp.where(better, there, here),
        )

    def search(z):
        theta = jnp.where(free & (jnp.arange(5) == 2), z, start)
        theta = jnp.clip(theta, low, high)
        theta, _, distance = jax.lax.fori_loop(0, _STEPS, step, (theta, jnp.asarray(0.1, root.dtype), cost(theta)))
        return distance, theta

    distances, thetas = jax.vmap(search)(_depths(table).astype(root.dtype))
    best = jnp.argmin(distances)
    theta = thetas[best]
    expected = theta[3] * evaluate(table, theta[:3])[0].reshape(image.shape) + theta[4]
    return Rival(distance=distances[best], theta=theta, chernoff=chernoff(counts, counts_of(camera, expected)))


def _depths(table: PsfTable) -> jax.Array:
    count = max(5, int(np.ceil(_DEPTHS_PER_DEGREE * table.degrees[1])))
    low, high = table.z_range_um
    return low + (high - low) * (jnp.arange(count) + 0.5) / count


def _box(table: PsfTable) -> tuple[jax.Array, jax.Array]:
    low_z, high_z = table.z_range_um
    reach = table.reach_um
    light = jnp.asarray(1e9, reach.dtype)
    low = jnp.stack([-reach, -reach, low_z, 0 * reach + 1.0, 0 * reach + 1e-3])
    return low, jnp.stack([reach, reach, high_z, light, light])


@pytree
class SpeciesBounds:
    """Bounds between S species at Z depths and N photon numbers; axes (S, S, Z, N): true species, rival.

    `distance` is Bhattacharyya's at the least favourable pair (infinite on the diagonal), `rival` (S, S, Z, N, 5) that
    emitter of the other species; `limit` is the share that no reader exceeds, `gaussian` the best reader's if its
    likelihood ratio is Gaussian, `chernoff` Chernoff's information of the pair.
    """

    z_um: jax.Array
    photons: jax.Array
    distance: jax.Array
    chernoff: jax.Array
    rival: jax.Array
    limit: jax.Array
    gaussian: jax.Array


def species_bounds(
    tables: Sequence[PsfTable],
    z_um: ArrayLike,
    photons: ArrayLike,
    background: float,
    camera: Camera | None = None,
    *,
    known: Sequence[bool] = (False,) * 5,
) -> SpeciesBounds:
    """Bound how well species are told apart, for emitters at depths `z_um` (Z,) in the middle of their stamp.

    `tables` are the species' images (`tabulate_species`), their range of depths is what is known of z beforehand.
    `photons` (N,) of the emitter, `background` photons per pixel; all five numbers of the rival are free but those
    of `known`. A host function. Raises `OpticsError` for fewer than two tables, stamps of different sizes, depths
    outside a table, or photons that are not positive.
    """
    tables = tuple(tables)
    if len(tables) < 2 or len({table.image_px for table in tables}) > 1:
        raise OpticsError("bounds between species need at least two tables of images, of one stamp size")
    z, light = np.atleast_1d(np.asarray(z_um, float)), np.atleast_1d(np.asarray(photons, float))
    for table in tables:
        low, high = np.asarray(table.z_range_um, float)
        if z.min() < low - 1e-6 or z.max() > high + 1e-6:  # the table may be of single precision
            raise OpticsError(f"z_um from {z.min():g} to {z.max():g} lies outside the table's {low:g} to {high:g} um")
    if not (np.isfinite(light).all() and (light > 0).all() and 0 <= background < np.inf):
        raise OpticsError("photons must be positive and background not negative")
    tables = _of_one_size(tables)
    count, shape = len(tables), (len(z), len(light))
    distance = np.full((count, count, *shape), np.inf)
    information, rival = distance.copy(), np.full((count, count, *shape, 5), np.nan)
    for k, own in enumerate(tables):
        for j, other in enumerate(tables):
            if k == j:
                continue
            found = _rivals(
                jnp.asarray(known, bool), own, other, jnp.asarray(z), jnp.asarray(light), background, camera
            )
            distance[k, j], information[k, j], rival[k, j] = found.distance, found.chernoff, found.theta
    return SpeciesBounds(
        z_um=jnp.asarray(z),
        photons=jnp.asarray(light),
        distance=jnp.asarray(distance),
        chernoff=jnp.asarray(information),
        rival=jnp.asarray(rival),
        limit=accuracy_limit(distance),
        gaussian=accuracy_gaussian(distance),
    )


def _of_one_size(tables: tuple[PsfTable, ...]) -> tuple[PsfTable, ...]:
    """The same tables, filled up with zeros to one size, a round one: one compiled program for all, and for others."""
    terms, pictures = (
        -(-max(table.coefficients.shape[k] for table in tables) // step) * step for k, step in ((0, 256), (1, 64))
    )
    degrees = tuple(max(table.degrees[k] for table in tables) for k in (0, 1))
    return tuple(pad_table(table, terms, pictures, (degrees[0], degrees[1])) for table in tables)


@jax.jit
def _rivals(known, own: PsfTable, other: PsfTable, z: Any, photons: Any, background: Any, camera: Camera | None):
    side = own.image_px

    def at(pair):
        depth, light = pair
        place = jnp.zeros(3, depth.dtype).at[2].set(depth)
        image = light * jnp.maximum(evaluate(own, place)[0], 0).reshape(side, side) + background
        start = jnp.stack([0 * depth, 0 * depth, depth, light, 0 * depth + background])
        return least_favourable(other, image, start, camera, known)

    pairs = jnp.repeat(z, photons.shape[0]), jnp.tile(photons, z.shape[0])
    found = jax.lax.map(at, pairs)
    return jax.tree.map(lambda a: a.reshape(z.shape[0], photons.shape[0], *a.shape[1:]), found)
