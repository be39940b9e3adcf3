"""What a designed mask is to be good at: bounds over depths, of an emitter alone or among neighbours; being found."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from optics.bounds.fisher import crlb_std_um
from optics.bounds.neighbours import Neighbours, density_bound_um
from optics.design.crosstalk import crosstalk_um2
from optics.pytree import pytree, replace
from optics.types import Camera, OpticsError, Psf

# The mean over depths of bound**p, to the power 1/p: for p = 16 within 15 % of the worst of eleven depths.
DEPTH_POWERS = {"mean": 1.0, "rms": 2.0, "worst": 16.0}
CROSSTALK_DEPTHS = 10  # pairs of them are compared: more change it by less than 0.02 um^2


@pytree
class DesignTarget:
    """What a mask is to be good at; `make_target` builds it.

    Bounds at depths `z_um` (Z,), for `photons` and `background` (photons per pixel); neighbours lie in `z_range_um`.
    Per depth the axes are combined as (sum w b**q / sum w)**(1/q), `axis_weights` (3,) w and q = `axis_power`; depths
    as a mean of the p-th powers, p = `depth_power`: 1 is the mean, a large p the worst depth. With a `crosstalk_weight`
    w (1/um^2) the bound counts times exp(w X), X the crosstalk (`optics.design.crosstalk`): how hard emitters are to
    find by their images.
    """

    z_um: jax.Array
    z_range_um: tuple[jax.Array | float, jax.Array | float]
    photons: jax.Array
    background: jax.Array
    axis_weights: jax.Array
    axis_power: jax.Array
    depth_power: jax.Array
    camera: Camera | None = None
    neighbours: Neighbours | None = None
    crosstalk_weight: jax.Array | None = None


def make_target(
    z_range_um: tuple[float, float],
    *,
    photons: float,
    background: float,
    n_depths: int = 11,
    over_depths: Literal["mean", "rms", "worst"] = "mean",
    axis_weights: Sequence[float] = (1.0, 1.0, 1.0),
    axis_power: float = 1.0,
    camera: Camera | None = None,
    neighbours: Neighbours | None = None,
    crosstalk_weight: float = 0.0,
) -> DesignTarget:
    """Build a `DesignTarget` from plain numbers, checking each; raises `OpticsError` naming the field.

    >>> make_target((0.0, 4.0), photons=3500, background=50).z_um.shape
    (11,)
    """
    low, high = z_range_um
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise OpticsError(f"z_range_um = {z_range_um} must be two depths in um, the lower first")
    if high - low > 100:
        raise OpticsError(f"z_range_um = {z_range_um} looks like nanometres; give um")
    if n_depths < 2:
        raise OpticsError(f"n_depths = {n_depths} must be at least 2")
    weights = np.asarray(axis_weights, dtype=float)
    if weights.shape != (3,) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise OpticsError(f"axis_weights = {axis_weights} must be three numbers (x, y, z), none negative, not all 0")
    if over_depths not in DEPTH_POWERS:
        raise OpticsError(f"over_depths = {over_depths!r} must be one of {', '.join(DEPTH_POWERS)}")
    positive: dict[str, Any] = {"photons": photons, "axis_power": axis_power}
    if neighbours is not None:
        positive |= {"neighbours.density_per_um2": neighbours.density_per_um2, "prior_um": neighbours.prior_um}
    for name, value in positive.items():
        if not 0 < float(value) < np.inf:
            raise OpticsError(f"{name} = {float(value):g} must be positive")
    if not 0 <= background < np.inf:
        raise OpticsError(f"background = {background:g} must not be negative")
    if not 0 <= crosstalk_weight < np.inf:
        raise OpticsError(f"crosstalk_weight = {crosstalk_weight:g} must not be negative")
    return DesignTarget(
        z_um=jnp.linspace(low, high, n_depths),
        z_range_um=(float(low), float(high)),
        photons=jnp.asarray(photons, dtype=float),
        background=jnp.asarray(background, dtype=float),
        axis_weights=jnp.asarray(weights, dtype=float),
        axis_power=jnp.asarray(axis_power, dtype=float),
        depth_power=jnp.asarray(DEPTH_POWERS[over_depths]),
        camera=camera,
        neighbours=neighbours,
        crosstalk_weight=jnp.asarray(crosstalk_weight, dtype=float) if crosstalk_weight else None,
    )


def target_bounds_um(key: jax.Array, psf: Psf, target: DesignTarget) -> jax.Array:
    """Bounds (Z, 3) in um of x, y, z at the depths of a target, for an emitter in the middle of the stamp.

    `key` draws the scenes of a target with neighbours, and is not read without them.
    """
    points = jnp.zeros((target.z_um.shape[0], 3), target.z_um.dtype).at[:, 2].set(target.z_um)
    around = target.neighbours
    if around is None:
        return jax.vmap(lambda point: crlb_std_um(psf, point, target.photons, target.background, target.camera))(points)

    def among(point):
        common = (target.photons, target.background, around)
        return density_bound_um(key, psf, point, *common, z_range_um=target.z_range_um, camera=target.camera)

    return jax.vmap(among)(points)


def objective_um(key: jax.Array, psf: Psf, target: DesignTarget) -> jax.Array:
    """The number (um) that a design makes small: the bounds combined over axes and depths, and over the crosstalk.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=9, pupil_px=16, kind="scalar", pixel="centre")
    >>> two_depths = make_target((0.0, 0.4), photons=1e4, background=1.0, n_depths=2)
    >>> bool(jax.jit(objective_um)(jax.random.key(0), psf, two_depths) < 0.05)
    True
    """
    bounds = target_bounds_um(key, psf, target)
    weights = target.axis_weights / target.axis_weights.sum()
    per_depth = jnp.sum(weights[None, :] * bounds**target.axis_power, axis=1) ** (1 / target.axis_power)
    # over the largest, so that a high power stays within the numbers of single precision
    largest = jax.lax.stop_gradient(per_depth.max())
    bound = largest * jnp.mean((per_depth / largest) ** target.depth_power) ** (1 / target.depth_power)
    if target.crosstalk_weight is None:
        return bound
    # One after the other: designs hung on two cores, the cause is not known, and this order alone did not cure it.
    after = jax.tree.map(lambda depth: depth + 0 * bound, target.z_range_um)
    return bound * jnp.exp(target.crosstalk_weight * target_crosstalk_um2(psf, replace(target, z_range_um=after)))


def target_crosstalk_um2(psf: Psf, target: DesignTarget) -> jax.Array:
    """Crosstalk () in um^2 of a PSF over the depths of a target, see `optics.design.crosstalk`."""
    low, high = target.z_range_um
    return crosstalk_um2(psf, jnp.linspace(low, high, CROSSTALK_DEPTHS, dtype=target.z_um.dtype))
