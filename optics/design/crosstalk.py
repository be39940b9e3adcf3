"""Crosstalk of a mask: what the images of other emitters, elsewhere in the frame, look like to a matched filter.

A bound on precision supposes that the emitters are known; it says nothing about finding them. A reader finds them
where the frame resembles an image. Let c(d; z, z') be the correlation of the images at depths z and z', each less its
mean and of unit norm, with a distance d between them across the frame. An emitter at z' then answers the filter for z,
that far away, with the share c of its own peak; among emitters of density rho the sum of these answers has the mean
square rho X at a random place and depth (Campbell's theorem; Rice 1944, doi 10.1002/j.1538-7305.1944.tb00874.x), with

    X = mean over z and z' of the integral of c(d; z, z')**2 over all d longer than `beyond_px` pixels.

X is an area. It is small for images that are compact at every depth or that resemble no others, large for two lobes
that each resemble a lobe of other depths. Near distances are left out: there resemblance is the precision's business,
which the bound counts.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jax.typing import ArrayLike

from optics.psf import image_of, pupil_fields
from optics.types import Psf

BEYOND_PX = 4  # some 0.5 um: as wide as the core of an image


def images_crosstalk_um2(images: jax.Array, pixel_um: ArrayLike, beyond_px: int = BEYOND_PX) -> jax.Array:
    """Crosstalk () in um^2 of pictures (Z, K, K), one for each depth; see above. -1 leaves no distance out.

    >>> spot = jnp.exp(-jnp.sum((jnp.indices((41, 41)) - 20) ** 2, axis=0) / (2 * 2.0**2))[None]
    >>> round(float(images_crosstalk_um2(spot, 0.1, -1)), 2)  # 2 pi sigma**2 = 0.25, and what taking off the mean adds
    0.26
    """
    depths, side = images.shape[:2]
    bare = images - images.mean(axis=(1, 2), keepdims=True)
    unit = bare / jnp.sqrt(jnp.sum(bare**2, axis=(1, 2), keepdims=True))
    # All distances by Parseval, with room for every shift: the squares of a correlation sum up to those of the product
    # of two power spectra. As matrix products.
    turns = jnp.outer(jnp.arange(2 * side), jnp.arange(side)) % (2 * side) / (2 * side)
    angle = (2 * jnp.pi * turns).astype(unit.dtype)
    wave = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    spectra = jnp.einsum("vy,zyx,ux->zvu", wave, unit, wave, precision=Precision.HIGHEST)
    power = jnp.mean(spectra.real**2 + spectra.imag**2, axis=0)
    total = jnp.sum(power**2) / (2 * side) ** 2
    # Less the near ones, shift by shift; that of the opposite sign is the pair (z', z).
    flat = unit.reshape(depths, -1)
    padded = jnp.pad(unit, ((0, 0), (beyond_px + 1, beyond_px + 1), (beyond_px + 1, beyond_px + 1)))
    for dx, dy in _half_disc(beyond_px):
        y, x = beyond_px + 1 + dy, beyond_px + 1 + dx
        moved = padded[:, y : y + side, x : x + side].reshape(depths, -1)
        alike = jnp.einsum("ap,bp->ab", flat, moved, precision=Precision.HIGHEST)
        total = total - (1 if (dx, dy) == (0, 0) else 2) * jnp.mean(alike**2)
    return total * pixel_um**2


def _half_disc(radius_px: int) -> list[tuple[int, int]]:
    """Shifts (columns, rows) up to a distance, one of each two of opposite sign."""
    span = range(-radius_px, radius_px + 1)
    return [(x, y) for y in span for x in span if np.hypot(x, y) <= radius_px and (y > 0 or (y == 0 and x >= 0))]


def crosstalk_um2(psf: Psf, z_um: jax.Array, beyond_px: int = BEYOND_PX) -> jax.Array:
    """Crosstalk () in um^2 of a PSF, over the depths `z_um` (Z,); differentiable by the mask.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> common = {"image_px": 21, "pupil_px": 24, "pixel": "centre", "kind": "scalar"}
    >>> sharp, bent = (make_psf(scope, zernike_um=[0, 0, 0, 0, a], **common) for a in (0.0, 0.3))
    >>> z_um = jnp.array([-0.3, 0.3])
    >>> bool(crosstalk_um2(sharp, z_um) < crosstalk_um2(bent, z_um))
    True
    """
    shared = pupil_fields(psf)
    points = jnp.zeros((len(z_um), 3), z_um.dtype).at[:, 2].set(z_um)
    images = jax.lax.map(jax.checkpoint(lambda point: image_of(psf, shared, point)), points, batch_size=4)
    return images_crosstalk_um2(images, psf.microscope.pixel_um, beyond_px)
