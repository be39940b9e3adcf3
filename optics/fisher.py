"""How precisely an image can tell where its emitter is: Fisher information and the Cramer-Rao bound."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optics.camera import electron_variance
from optics.psf import psf_image
from optics.types import Camera, Psf


def fisher_matrix(
    psf: Psf, xyz_um: jax.Array, photons: ArrayLike, background: ArrayLike, camera: Camera | None = None
) -> jax.Array:
    """Fisher matrix (5, 5) of x, y, z (um), photons and background (photons per pixel).

    F_ij = sum over pixels of d_i mu d_j mu / (mu + read_noise**2), mu in photo-electrons. Poisson noise;
    a camera adds its quantum efficiency and, as further variance, its read noise (Huang et al. 2013,
    doi 10.1038/nmeth.2488). Camera maps must have the stamp's shape. Derivatives are forward-mode, exact.
    """
    xyz_um = jnp.asarray(xyz_um) * 1.0
    image, tangents = _image_and_gradient(psf, xyz_um)
    expected = jnp.asarray(photons) * image + jnp.asarray(background)
    by_parameter = jnp.stack([*(jnp.asarray(photons) * t for t in tangents), image, jnp.ones_like(image)])
    return information(by_parameter, 1 / pixel_information(camera, expected))


def pixel_information(camera: Camera | None, photons: jax.Array) -> jax.Array:
    """Fisher information of each pixel about its own expected `photons`: 1 / variance, in 1 / photons**2.

    Without a camera that of Poisson noise, 1 / photons. A camera's is efficiency**2 / variance of its electrons
    (`camera.electron_variance`), the Gaussian-like limit that fits use too. Finite for a dark pixel.
    """
    floor = 1e-12
    if camera is None:
        return 1 / jnp.maximum(photons, floor)
    efficiency = camera.quantum_efficiency
    return efficiency**2 / jnp.maximum(electron_variance(camera, efficiency * photons), floor)


def information(by_parameter: jax.Array, variance: jax.Array) -> jax.Array:
    """Fisher matrix (J, J) from the means' derivatives (J, H, W) and their variances (H, W)."""
    return jnp.einsum("iyx,jyx->ij", by_parameter / variance, by_parameter, precision="highest")


def bound_std(fisher: jax.Array) -> jax.Array:
    """sqrt(diag(F**-1)): the smallest standard deviations (J,) for a Fisher matrix (J, J).

    The matrix is scaled to a unit diagonal before it is inverted: its entries span ten orders of magnitude.
    """
    scale = 1 / jnp.sqrt(jnp.diagonal(fisher))
    inverse = jnp.linalg.inv(fisher * scale[:, None] * scale[None, :])
    return jnp.sqrt(jnp.diagonal(inverse)) * scale


def _image_and_gradient(psf: Psf, xyz_um: jax.Array) -> tuple[jax.Array, jax.Array]:
    def push(direction):
        return jax.jvp(lambda point: psf_image(psf, point), (xyz_um,), (direction,))

    images, tangents = jax.vmap(push)(jnp.eye(3, dtype=xyz_um.dtype))
    return images[0], tangents


def crlb_std(
    psf: Psf, xyz_um: jax.Array, photons: ArrayLike, background: ArrayLike, camera: Camera | None = None
) -> jax.Array:
    """Smallest standard deviations (5,) of x, y, z (um), photons and background, all five unknown."""
    return bound_std(fisher_matrix(psf, xyz_um, photons, background, camera))


def crlb_std_um(
    psf: Psf, xyz_um: jax.Array, photons: ArrayLike, background: ArrayLike, camera: Camera | None = None
) -> jax.Array:
    """Smallest standard deviations (3,) in um of x, y, z, with photons and background unknown as well.

    `xyz_um` (3,) relative to the stamp's centre, `background` photons per pixel. Batch with `jax.vmap`.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> bound = crlb_std_um(make_psf(scope, image_px=21), jnp.array([0.0, 0.0, 0.3]), 1000.0, 10.0)
    >>> bool((bound[:2] < 0.02).all())
    True
    """
    return crlb_std(psf, xyz_um, photons, background, camera)[:3]
