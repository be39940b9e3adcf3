"""How precisely an emitter can be placed among neighbours: the Cramer-Rao bound averaged over random scenes.

In a scene every emitter is unknown, position and photons, and so is the even background. The Fisher matrix of all of
them together, over the pixels of the target's stamp, says what the neighbours cost the target: the bound is that of
the target's position with everything else estimated too. Neighbours form a Poisson process of a given density.

An emitter on top of another cannot be told from it: with both brightnesses unknown its bound grows as 1 / distance**2,
so that the variance has no mean over scenes (the distance d has a density of d**2), and the mean of the standard
deviation hangs on few of them. Two things make a sound average.
- A prior: each position is known beforehand to a Gaussian of `prior_um` per axis (a detection), each neighbour's
  photons to their own number. Its information adds to the Fisher matrix, as in the inequality of van Trees (Gill &
  Levit 1995, doi 10.2307/3318681), here at each scene's own positions. No bound exceeds `prior_um`.
- The geometric mean over scenes, exp(mean(log sigma)). Minimising it maximises the expected Shannon information that
  an image gives about the position (in the Gaussian approximation), the Bayesian criterion D of the design of
  experiments (Chaloner & Verdinelli 1995, doi 10.1214/ss/1177009939). Every scene counts by its relative loss;
  a hopeless one counts log(prior / sigma), where in a mean of variances few such scenes would hide all others.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from optics.bounds.fisher import pixel_information
from optics.grids import pixel_centres_um
from optics.psf import image_and_slopes, pupil_fields, transmitted_fraction
from optics.pytree import pytree, replace, static
from optics.types import Camera, OpticsError, Psf

_LEAST_DENSITY = 1e-9  # per um**2: no neighbour within any stamp
_SCENES_AT_ONCE = 8


@pytree
class Neighbours:
    """Emitters around the one whose bound is asked for.

    They have `density_per_um2` in the plane, depths uniform over the range that the bound is given, and photons
    uniform in `photons_range` (None: all as bright as the emitter). The `n_neighbours` nearest are emitters with
    unknown positions and photons; the light of those beyond comes as an even background. `prior_um` is what is known
    of each position beforehand (sigma per axis). `n_scenes` random scenes are drawn. They place `n_stamps` images, of
    depths spread over the range and random sub-pixel positions, at whole-pixel offsets: their number, not that of the
    neighbours, sets the cost.
    """

    density_per_um2: ArrayLike
    photons_range: tuple[ArrayLike, ArrayLike] | None = None
    prior_um: ArrayLike = 0.5
    n_scenes: int = static(default=16)
    n_neighbours: int = static(default=8)
    n_stamps: int = static(default=16)


def density_bound_um(
    key: jax.Array,
    psf: Psf,
    xyz_um: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    density_per_um2: ArrayLike | Neighbours,
    *,
    z_range_um: tuple[ArrayLike, ArrayLike],
    camera: Camera | None = None,
    **settings: Any,
) -> jax.Array:
    """Effective standard deviations (3,) in um of x, y, z of an emitter among neighbours of random scenes.

    The geometric mean of `density_bounds_um` over scenes, see there and above for the arguments. Differentiable by
    the mask and every other optical number, so that a mask can be designed by it; with the same `key` two masks
    meet the same scenes. Batch over depths with `jax.vmap` (the neighbours' stamps are then made once).

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=9, pupil_px=16, pixel="centre", kind="scalar")
    >>> def bound(density):
    ...     around = Neighbours(density, n_scenes=8, n_neighbours=2, n_stamps=4)
    ...     return density_bound_um(jax.random.key(0), psf, [0, 0, 0.3], 2e3, 9.0, around, z_range_um=(0.0, 0.6))
    >>> crowded, empty = jax.jit(jax.vmap(bound))(jnp.array([2.0, 0.0]))
    >>> bool((crowded > empty).all())
    True
    """
    sigma = density_bounds_um(
        key, psf, xyz_um, photons, background, density_per_um2, z_range_um=z_range_um, camera=camera, **settings
    )
    return jnp.exp(jnp.log(sigma).mean(axis=0))


def density_bounds_um(
    key: jax.Array,
    psf: Psf,
    xyz_um: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    density_per_um2: ArrayLike | Neighbours,
    *,
    z_range_um: tuple[ArrayLike, ArrayLike],
    camera: Camera | None = None,
    **settings: Any,
) -> jax.Array:
    """Smallest standard deviations (n_scenes, 3) in um of x, y, z of one emitter, scene by scene.

    `xyz_um` (3,) and `photons` are the emitter's, x and y from the stamp's centre; `background` photons per pixel.
    Around it are `Neighbours`, or as many as `density_per_um2` says, with the other fields of `Neighbours` as keywords
    (`n_stamps` then 32 by default); their depths lie in `z_range_um`. Light outside a stamp counts as even background.
    Raises `OpticsError` for sizes below 1 (a negative number of neighbours).
    """
    if isinstance(density_per_um2, Neighbours):
        around = replace(density_per_um2, **settings)
    else:
        around = Neighbours(density_per_um2, **{"n_stamps": 32, **settings})
    if around.n_scenes < 1 or around.n_stamps < 1 or around.n_neighbours < 0:
        raise OpticsError(
            f"n_scenes = {around.n_scenes} and n_stamps = {around.n_stamps} must be at least 1, "
            f"n_neighbours = {around.n_neighbours} not negative"
        )
    xyz = jnp.asarray(xyz_um, jnp.result_type(psf.microscope.pixel_um))
    photons, background = jnp.asarray(photons, xyz.dtype), jnp.asarray(background, xyz.dtype)
    brightness = (photons, photons) if around.photons_range is None else around.photons_range
    prior_um = jnp.asarray(around.prior_um, xyz.dtype)
    key_stamps, key_scenes = jax.random.split(key)
    shared = pupil_fields(psf)
    stamps = draw_stamps(key_stamps, psf, shared, z_range_um, around.n_stamps, xyz.dtype)
    target = image_and_slopes(psf, shared, xyz)
    scenes = draw_neighbourhoods(key_scenes, psf, stamps, xyz, around, brightness)

    def bound(scene: Neighbourhood) -> jax.Array:
        return neighbourhood_bound(psf, target, stamps, scene, photons, background, camera, prior_um)

    return jax.lax.map(jax.checkpoint(bound), scenes, batch_size=min(_SCENES_AT_ONCE, around.n_scenes))


@pytree
class BoundStamps:
    """Images of neighbours, with margins of a stamp's width: (M, 4, 3K, 3K) image and its slopes by x, y, z (1/um).

    `offset_um` (M, 2) from the middle of the stamp's central pixel; `mean` (K, K) their mean image and `sent` their
    mean light, anywhere on the image plane.
    """

    padded: jax.Array
    offset_um: jax.Array
    mean: jax.Array
    sent: jax.Array


@pytree
class Neighbourhood:
    """The neighbours of one scene: which stamp, where it is placed (x, y) and how bright; photons per pixel beyond."""

    stamp: jax.Array
    corner_px: jax.Array
    photons: jax.Array
    beyond: jax.Array


def draw_stamps(key, psf: Psf, shared, z_range_um, n_stamps: int, dtype) -> BoundStamps:
    key_z, key_xy = jax.random.split(key)
    low, high = (jnp.asarray(z, dtype) for z in z_range_um)
    stratum = (jnp.arange(n_stamps) + jax.random.uniform(key_z, (n_stamps,), dtype)) / n_stamps
    z = low + (high - low) * stratum.astype(dtype)
    offset = (jax.random.uniform(key_xy, (n_stamps, 2), dtype) - 0.5) * psf.microscope.pixel_um
    points = jnp.concatenate([offset, z[:, None]], axis=1)
    drawn = jax.lax.map(jax.checkpoint(lambda point: image_and_slopes(psf, shared, point)), points, batch_size=4)
    margin = ((0, 0), (0, 0), (psf.image_px, psf.image_px), (psf.image_px, psf.image_px))
    sent = jax.vmap(lambda depth: transmitted_fraction(psf, shared, depth))(z)
    return BoundStamps(padded=jnp.pad(drawn, margin), offset_um=offset, mean=drawn[:, 0].mean(axis=0), sent=sent.mean())


def draw_neighbourhoods(
    key, psf: Psf, stamps: BoundStamps, xyz_um: jax.Array, around: Neighbours, brightness
) -> Neighbourhood:
    """Scenes (S, ...) with the N nearest neighbours of a Poisson process around the target.

    The areas pi r**2 of the discs up to the neighbours, in order of distance, grow by independent exponentials of
    mean 1 / density: exact for any density, with N slots always filled.
    """
    shape = (around.n_scenes, around.n_neighbours)
    keys = jax.random.split(key, 4)
    dtype, pixel, size = xyz_um.dtype, psf.microscope.pixel_um, psf.image_px
    density = jnp.maximum(jnp.asarray(around.density_per_um2, dtype), _LEAST_DENSITY)
    area = jnp.cumsum(jax.random.exponential(keys[0], shape, dtype), axis=1) / density
    distance = jnp.sqrt(area / jnp.pi)
    azimuth = 2 * jnp.pi * jax.random.uniform(keys[1], shape, dtype)
    stamp = jax.random.randint(keys[2], shape, 0, stamps.offset_um.shape[0])
    low, high = (jnp.asarray(value, dtype) for value in brightness)
    photons = low + (high - low) * jax.random.uniform(keys[3], shape, dtype)
    wanted = xyz_um[None, None, :2] + distance[..., None] * jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)], axis=-1)
    shift = jnp.clip(jnp.round((wanted - stamps.offset_um[stamp]) / pixel), -size, size)
    # the mean light of the unseen neighbours, in the middle of the stamp
    centres = pixel_centres_um(size, pixel)
    from_middle = jnp.hypot(centres[:, None], centres[None, :])
    reach = distance[:, -1] if around.n_neighbours else jnp.zeros(around.n_scenes, dtype)
    nearby = jnp.sum(stamps.mean[None] * (from_middle[None] < reach[:, None, None]), axis=(1, 2))
    beyond = density * pixel**2 * (low + high) / 2 * (stamps.sent - nearby)
    return Neighbourhood(stamp=stamp, corner_px=size - shift.astype(jnp.int32), photons=photons, beyond=beyond)


def neighbourhood_bound(
    psf: Psf, target, stamps: BoundStamps, scene: Neighbourhood, photons, background, camera, prior_um
) -> jax.Array:
    """Bounds (3,) of the target of one scene.

    The last block of a Cholesky factor of the whole matrix is that of the target's Schur complement: no nuisance
    parameter is inverted, and a matrix of unit diagonal keeps single precision accurate.
    """
    size = psf.image_px

    def place(stamp, corner):
        start = (stamp.astype(corner.dtype), jnp.zeros((), corner.dtype), corner[1], corner[0])
        return jax.lax.dynamic_slice(stamps.padded, start, (1, 4, size, size))[0]

    neighbours = jax.vmap(place)(scene.stamp, scene.corner_px)  # (N, 4, K, K)
    light = photons * target[0] + jnp.einsum("n,nyx->yx", scene.photons, neighbours[:, 0], precision=Precision.HIGHEST)
    information = pixel_information(camera, light + background + scene.beyond)

    by_position = scene.photons[:, None, None, None] * neighbours[:, 1:]
    pixels = size * size
    columns = jnp.concatenate(
        [
            neighbours[:, 0].reshape(-1, pixels),
            by_position.reshape(-1, pixels),
            target[:1].reshape(1, pixels),
            jnp.ones((1, pixels), light.dtype),
            (photons * target[1:]).reshape(3, pixels),
        ]
    ) * jnp.sqrt(information).reshape(1, pixels)
    n_neighbours = scene.photons.shape[0]
    known = jnp.full(3, 1 / prior_um**2, light.dtype)
    prior = jnp.concatenate([1 / scene.photons**2, jnp.tile(known, n_neighbours), jnp.zeros(2, light.dtype), known])
    scale = 1 / jnp.sqrt(jnp.sum(columns**2, axis=1) + prior)
    columns = columns * scale[:, None]
    matrix = jnp.einsum("ip,jp->ij", columns, columns, precision=Precision.HIGHEST)
    rounding = 10 * np.finfo(light.dtype).eps  # two emitters in one place: keep the factor real
    factor = jnp.linalg.cholesky(matrix + jnp.diag(prior * scale**2 + rounding))
    root = solve_triangular(factor[-3:, -3:], jnp.eye(3, dtype=light.dtype), lower=True)
    return jnp.sqrt(jnp.sum(root**2, axis=0)) * scale[-3:]
