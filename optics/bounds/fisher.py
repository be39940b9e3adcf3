"""How precisely an image can tell where its emitter is: Fisher information and the Cramer-Rao bound.

The parameters are x, y, z, photons and background, always in this order, and after them those that are asked for:
the angles of a fixed dipole and the wavelength (colour). The bound of a parameter is marginal, sqrt((F**-1)_ii), where
all others are unknown too, or conditional, 1 / sqrt(F_ii), where they are known.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optics.camera import electron_variance
from optics.multipath import SplitPsf, split_image
from optics.psf import psf_image, value_and_slopes
from optics.pytree import pytree, replace
from optics.types import Camera, OpticsError, Psf

Further = Literal["polar", "azimuth", "wavelength"]  # rad, rad, um
_DARK = 1e-12  # photons or electrons^2: what a pixel without light and noise counts as


def fisher_matrix(
    psf: Psf | SplitPsf,
    xyz_um: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    camera: Camera | None = None,
    *,
    dipole_rad: ArrayLike | None = None,
    further: tuple[Further, ...] = (),
) -> jax.Array:
    """Fisher matrix (J, J) of x, y, z (um), photons, background (photons per pixel) and `further` parameters.

    F_ij = sum over pixels of d_i mu d_j mu / variance, mu the expected photons, the variance that of the camera: see
    `pixel_information`. Camera maps must have the stamp's shape. Derivatives are forward-mode, exact. J is 5 and one
    for each of `further`: "polar" and "azimuth" (rad) of a fixed dipole, "wavelength" (um).

    A `SplitPsf` adds the information of its paths: photons are those of all paths together, `background` () or (C,)
    is that of each path's pixels, and the unknown one is common to them. Put it inside `jax.jit`, as the rest here.
    Raises `OpticsError` for a further parameter that the PSF does not have.
    """
    scope = _paths(psf)[0].microscope
    xyz = jnp.asarray(xyz_um) * jnp.ones((), jnp.result_type(scope.pixel_um))
    photons = jnp.asarray(photons)
    image, by_xyz, by_further = _image_and_slopes(psf, xyz, dipole_rad, further)
    level = jnp.asarray(background)
    expected = photons * image + (level[:, None, None] if level.ndim == 1 else level)
    slopes = [*(photons * by_xyz), image, jnp.ones_like(image), *(photons * slope for slope in by_further)]
    return information(jnp.stack(slopes), 1 / pixel_information(camera, expected))


def pixel_information(camera: Camera | None, photons: jax.Array) -> jax.Array:
    """Fisher information of each pixel about its own expected `photons`: 1 / variance, in 1 / photons**2.

    Without a camera that of Poisson noise, 1 / photons. A camera's is efficiency**2 / variance of its electrons
    (`camera.electron_variance`): read noise adds its square (Huang et al. 2013, doi 10.1038/nmeth.2488), the
    multiplication of an EMCCD doubles that of the light (Mortensen et al. 2010, doi 10.1038/nmeth.1447), a little
    pessimistic for pixels of few electrons. Finite for a dark pixel.
    """
    if camera is None:
        return 1 / jnp.maximum(photons, _DARK)
    efficiency = camera.quantum_efficiency
    return efficiency**2 / jnp.maximum(electron_variance(camera, efficiency * photons), _DARK)


def information(by_parameter: jax.Array, variance: jax.Array) -> jax.Array:
    """Fisher matrix (J, J) from the means' derivatives (J, ...) and their variances (...), summed over pixels."""
    slopes = by_parameter.reshape(by_parameter.shape[0], -1)
    return jnp.einsum("ip,jp->ij", slopes / variance.reshape(1, -1), slopes, precision="highest")


def bound_std(fisher: jax.Array) -> jax.Array:
    """sqrt(diag(F**-1)): the smallest standard deviations (J,) for a Fisher matrix (J, J), all parameters unknown.

    The matrix is scaled to a unit diagonal before it is inverted: its entries span ten orders of magnitude. A
    parameter without information has the bound infinity, and leaves the others alone.

    >>> bound_std(jnp.array([[4.0, 0.0], [0.0, 0.0]])).tolist()
    [0.5, inf]
    """
    diagonal = jnp.diagonal(fisher)
    told = diagonal > 0
    scale = jnp.where(told, 1 / jnp.sqrt(jnp.where(told, diagonal, 1.0)), 0.0)
    scaled = fisher * scale[:, None] * scale[None, :] + jnp.diag(jnp.where(told, 0.0, 1.0))
    variance = jnp.diagonal(jnp.linalg.inv(scaled))
    known = told & (variance > 0)  # rounding may leave a variance below 0 where parameters cannot be told apart
    return jnp.where(known, jnp.sqrt(jnp.where(known, variance, 1.0)) * scale, jnp.inf)


def conditional_std(fisher: jax.Array) -> jax.Array:
    """1 / sqrt(diag(F)): standard deviations (J,) where all other parameters are known; never above `bound_std`.

    >>> conditional_std(jnp.array([[4.0, 1.0], [1.0, 16.0]])).tolist()
    [0.5, 0.25]
    """
    return 1 / jnp.sqrt(jnp.diagonal(fisher))


def _paths(psf: Psf | SplitPsf) -> tuple[Psf, ...]:
    return psf.paths if isinstance(psf, SplitPsf) else (psf,)


def _recoloured(psf: Psf | SplitPsf, shift_um: jax.Array) -> Psf | SplitPsf:
    def shifted(path: Psf) -> Psf:
        return replace(
            path, microscope=replace(path.microscope, wavelength_um=path.microscope.wavelength_um + shift_um)
        )

    return replace(psf, paths=tuple(map(shifted, psf.paths))) if isinstance(psf, SplitPsf) else shifted(psf)


def _image_and_slopes(
    psf: Psf | SplitPsf, xyz_um: jax.Array, dipole_rad: ArrayLike | None, further: tuple[Further, ...]
) -> tuple[jax.Array, jax.Array, list[jax.Array]]:
    """Image (...), its slopes by x, y, z (3, ...), and by each further parameter."""
    _check_further(psf, dipole_rad, further)
    dtype = xyz_um.dtype
    angles = None if dipole_rad is None else jnp.asarray(dipole_rad, dtype)

    def image(values, recolour=None):
        here = psf if recolour is None else _recoloured(psf, recolour)
        turned = None if angles is None else values[3:]
        if isinstance(here, SplitPsf):
            return split_image(here, values[:3], dipole_rad=turned)
        return psf_image(here, values[:3], dipole_rad=turned)

    values = xyz_um if angles is None else jnp.concatenate([xyz_um, angles])
    asked = 5 if {"polar", "azimuth"} & set(further) else 3
    found, slopes = value_and_slopes(image, values, asked)
    extra = {"polar": 3, "azimuth": 4}
    by_further = []
    for name in further:
        if name == "wavelength":
            zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
            by_further.append(jax.jvp(lambda shift: image(values, shift), (zero,), (one,))[1])
        else:
            by_further.append(slopes[extra[name]])
    return found, slopes[:3], by_further


def _check_further(psf: Psf | SplitPsf, dipole_rad: ArrayLike | None, further: tuple[Further, ...]) -> None:
    for name in further:
        if name not in ("polar", "azimuth", "wavelength"):
            raise OpticsError(f"further = {name!r} must be 'polar', 'azimuth' or 'wavelength'")
        if name != "wavelength" and dipole_rad is None:
            raise OpticsError(f"further = {name!r} is an angle of a fixed dipole; give dipole_rad and dipole='fixed'")
        plates = [plate for path in _paths(psf) for plate in (path.mask, path.aberration) if plate is not None]
        if name == "wavelength" and any(plate.wrapped for plate in plates):
            raise OpticsError("a wrapped mask says nothing of other wavelengths; unwrap it to ask for 'wavelength'")
    if len(set(further)) < len(further):
        raise OpticsError(f"further = {further} names a parameter twice")


def crlb_std(
    psf: Psf | SplitPsf,
    xyz_um: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    camera: Camera | None = None,
    *,
    dipole_rad: ArrayLike | None = None,
    further: tuple[Further, ...] = (),
) -> jax.Array:
    """Smallest standard deviations (J,) of x, y, z (um), photons, background and `further`, all unknown.

    Arguments as in `fisher_matrix`.
    """
    return bound_std(fisher_matrix(psf, xyz_um, photons, background, camera, dipole_rad=dipole_rad, further=further))


def crlb_std_um(
    psf: Psf | SplitPsf,
    xyz_um: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    camera: Camera | None = None,
    *,
    dipole_rad: ArrayLike | None = None,
    further: tuple[Further, ...] = (),
) -> jax.Array:
    """Smallest standard deviations (3,) in um of x, y, z, with photons, background and `further` unknown as well.

    `xyz_um` (3,) relative to the stamp's centre, `background` photons per pixel; see `fisher_matrix`. Batch with
    `jax.vmap`.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, image_px=9, pupil_px=16, pixel="centre", kind="scalar")
    >>> bound = jax.jit(crlb_std_um)(psf, jnp.array([0.0, 0.0, 0.3]), 1000.0, 10.0)
    >>> bool((bound[:2] < 0.02).all())
    True
    """
    return crlb_std(psf, xyz_um, photons, background, camera, dipole_rad=dipole_rad, further=further)[:3]


@pytree
class DepthBounds:
    """Bounds through depth: `marginal` and `conditional` standard deviations (Z, J) at depths `z_um` (Z,).

    Columns x, y, z (um), photons, background, and the further parameters that were asked for.
    """

    z_um: jax.Array
    marginal: jax.Array
    conditional: jax.Array


def depth_bounds(
    psf: Psf | SplitPsf,
    z_um: ArrayLike,
    photons: ArrayLike,
    background: ArrayLike,
    camera: Camera | None = None,
    *,
    xy_um: ArrayLike | tuple[float, float] = (0.0, 0.0),
    dipole_rad: ArrayLike | None = None,
    further: tuple[Further, ...] = (),
    batch: int = 8,
) -> DepthBounds:
    """Bounds of an emitter at each depth `z_um` (Z,), `batch` depths at a time: memory does not grow with Z.

    Arguments as in `fisher_matrix`; `xy_um` (2,) is the lateral position in the stamp.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, image_px=9, pupil_px=16, pixel="centre", kind="scalar")
    >>> bounds = jax.jit(depth_bounds)(psf, jnp.array([0.2, 0.4]), 1000.0, 10.0)
    >>> photons_and_background = slice(3, 5)  # light of the one can be taken for the other
    >>> bool((bounds.marginal > bounds.conditional)[:, photons_and_background].all())
    True
    """
    depths = jnp.asarray(z_um) * jnp.ones((), jnp.result_type(_paths(psf)[0].microscope.pixel_um))
    xy = jnp.asarray(xy_um, depths.dtype)

    def at(z):
        point = jnp.append(xy, z)
        fisher = fisher_matrix(psf, point, photons, background, camera, dipole_rad=dipole_rad, further=further)
        return bound_std(fisher), conditional_std(fisher)

    marginal, conditional = jax.lax.map(jax.checkpoint(at), depths, batch_size=min(batch, depths.shape[0]))
    return DepthBounds(z_um=depths, marginal=marginal, conditional=conditional)
