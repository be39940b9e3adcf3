"""What a mask loses when it is not quite as meant: shifted, turned, magnified, uneven; and how that is scored.

`misaligned` and `uneven` make the wrong mask, `mask_scores` says what precision and what picture are left of it.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optics.bounds.fisher import crlb_std_um
from optics.masks.sampling import mask_grid, sample_mask, sample_path_um
from optics.psf import image_of, pupil_fields
from optics.pytree import replace
from optics.types import Camera, PhaseMask, Psf
from optics.zernike import osa_to_nm, zernike_mode

# one program, where each of its steps would be compiled for itself
_sample = jax.jit(sample_mask)
_UNEVEN_MODES = tuple(range(3, 28))  # OSA indices of the orders 2 to 6


def misaligned(
    mask: PhaseMask,
    *,
    shift: ArrayLike | tuple[float, float] = (0.0, 0.0),
    rotation_rad: ArrayLike = 0.0,
    magnification: ArrayLike = 1.0,
) -> PhaseMask:
    """A mask that lies off the pupil: grown by `magnification`, turned from x towards y, then moved by `shift`.

    `shift` (x, y) in pupil radii. The same cells and square; what comes in from outside the old square has path 0.
    A pupil that is 1 % larger than planned is a mask that is 1 % smaller. Differentiable in all three.

    >>> from optics.masks.library import zernike
    >>> tilt = zernike([(1, 1, 0.1)], size=64)  # path 0.2 x
    >>> moved = misaligned(tilt, shift=(0.1, 0.0))
    >>> round(float(moved.opd_um[32, 40] - tilt.opd_um[32, 40]), 4)
    -0.02
    """
    x, y = mask_grid(mask.opd_um.shape[0], mask.half_width)
    dx, dy = jnp.asarray(shift)
    cosine, sine = jnp.cos(rotation_rad), jnp.sin(rotation_rad)
    x, y = (x - dx) / magnification, (y - dy) / magnification
    x, y = cosine * x + sine * y, cosine * y - sine * x
    if mask.wrapped:
        clear = replace(mask, transmission=jnp.ones_like(mask.transmission))
        phasor = _sample(clear, x, y, mask.design_wavelength_um)
        opd = jnp.arctan2(phasor.imag, phasor.real) * mask.design_wavelength_um / (2 * jnp.pi)
    else:
        opd = sample_path_um(mask, x, y)
    stopped = replace(mask, opd_um=1 - mask.transmission, wrapped=False)  # 0 outside the square, as a path is
    return replace(mask, opd_um=opd, transmission=1 - sample_path_um(stopped, x, y))


def uneven(key: jax.Array, mask: PhaseMask, rms_um: ArrayLike) -> PhaseMask:
    """A mask with a smooth random error of path: what flatness correction leaves on an SLM, or a plate's own figure.

    Zernike modes of orders 2 to 6 (no piston, no tilt) with normal amplitudes, scaled to `rms_um` over the pupil.

    >>> from optics.masks.library import flat
    >>> x, y = mask_grid(64)
    >>> error = uneven(jax.random.key(0), flat(size=64), 0.02).opd_um[jnp.hypot(x, y) < 1]
    >>> bool(abs(error.std() - 0.02) < 1e-3)
    True
    """
    size = mask.opd_um.shape[0]
    x, y = mask_grid(size, mask.half_width)
    # a cell outside the pupil the surface goes on with its value on the rim, as it does in the library of masks
    inward = jnp.minimum(1.0, (1 + 2 / size) / jnp.hypot(x, y).clip(0.5))
    amplitude = jax.random.normal(key, (len(_UNEVEN_MODES),), mask.opd_um.dtype)
    amplitude = amplitude * rms_um / jnp.sqrt(jnp.sum(amplitude**2))
    modes = [zernike_mode(*osa_to_nm(j), inward * x, inward * y) for j in _UNEVEN_MODES]
    error = jnp.einsum("j,jyx->yx", amplitude, jnp.stack(modes), precision=jax.lax.Precision.HIGHEST)
    return replace(mask, opd_um=mask.opd_um + error)


def mask_scores(
    psf: Psf, z_um: jax.Array, photons: ArrayLike, background: ArrayLike, camera: Camera | None = None
) -> tuple[jax.Array, jax.Array]:
    """Bounds (Z, 3) in um of x, y, z, and images (Z, image_px, image_px), of emitters on the axis at `z_um` (Z,).

    The bound takes the PSF as known: of a wrong mask, what is left once the instrument has been calibrated.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> psf = make_psf(scope, image_px=15)
    >>> [one.shape for one in jax.eval_shape(mask_scores, psf, jnp.array([0.0, 0.3]), 1000.0, 10.0)]
    [(2, 3), (2, 15, 15)]
    """
    points = jnp.zeros((z_um.shape[0], 3), z_um.dtype).at[:, 2].set(z_um)
    bounds = jax.lax.map(lambda point: crlb_std_um(psf, point, photons, background, camera), points)
    shared = pupil_fields(psf)
    return bounds, jax.lax.map(lambda point: image_of(psf, shared, point), points)


def image_correlation(one: jax.Array, other: jax.Array) -> jax.Array:
    """Pearson correlation of two images (..., H, W), pixel by pixel where they lie; returns (...).

    >>> round(float(image_correlation(jnp.eye(3), 2 * jnp.eye(3) + 1)), 6)
    1.0
    """
    a, b = (image - image.mean(axis=(-2, -1), keepdims=True) for image in (one, other))
    dot = jnp.sum(a * b, axis=(-2, -1))
    return dot / jnp.sqrt(jnp.sum(a**2, axis=(-2, -1)) * jnp.sum(b**2, axis=(-2, -1)))


def strehl(made: PhaseMask, meant: PhaseMask) -> jax.Array:
    """Light of a mask that goes where it is meant to, |mean over the pupil of exp(i (made - meant))|^2.

    Both at the design wavelength of `meant`, on the cells of `made`. For a blazed grating in N levels the efficiency
    of the first order, (sin(pi / N) / (pi / N))^2.

    >>> from optics.masks.library import astigmatism
    >>> round(float(strehl(astigmatism(0.05, size=64), astigmatism(0.05, size=64))), 6)
    1.0
    """
    x, y = mask_grid(made.opd_um.shape[0], made.half_width)
    light = x**2 + y**2 <= 1
    wavelength = meant.design_wavelength_um
    turned = _sample(made, x, y, wavelength) * jnp.conj(_sample(meant, x, y, wavelength))
    return jnp.abs(jnp.sum(jnp.where(light, turned, 0)) / jnp.sum(light)) ** 2
