"""A mask's phasor, path and grid at any point of the pupil."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optics.grids import mask_centres
from optics.pytree import replace
from optics.types import OpticsError, PhaseMask

# Below this length the mean of four phasors has no direction that rounding has not made.
SMALLEST_PHASOR = 1e-6


def sample_mask(mask: PhaseMask, x: ArrayLike, y: ArrayLike, wavelength_um: ArrayLike) -> jax.Array:
    """Evaluate a mask's complex transmission at points (x, y) of the unit pupil (radius 1 is the NA).

    `x`, `y` dimensionless and of one shape S, `wavelength_um` a number; returns complex S. Bilinear in the
    optical path between cell centres, constant in the outer half cell; outside the mask's square the
    phase is 0 and the transmission 1. A wrapped mask is interpolated as a phasor, brought back to unit
    modulus, and keeps its design phase at every wavelength: `check_wavelength` refuses another one on
    the host. Differentiable in path, transmission, x, y and (unwrapped) wavelength.

    >>> from optics.masks import zernike
    >>> tilted = zernike([(1, 1, 0.1)], size=64)
    >>> phase_rad = jnp.angle(sample_mask(tilted, jnp.array([0.5, 2.0]), jnp.zeros(2), 0.6))
    >>> [round(float(p), 4) for p in phase_rad]
    [1.0472, 0.0]
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    inside, gather = _bilinear(mask, x, y)
    if mask.wrapped:
        path = 2 * jnp.pi / mask.design_wavelength_um * mask.opd_um
        cosine, sine = _unit(gather(jnp.cos(path)), gather(jnp.sin(path)))
        phasor = jax.lax.complex(cosine, sine)
    else:
        phase = 2 * jnp.pi / jnp.asarray(wavelength_um) * gather(mask.opd_um)
        phasor = jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
    return jnp.where(inside, phasor * gather(mask.transmission), 1.0)


def sample_path_um(mask: PhaseMask, x: ArrayLike, y: ArrayLike) -> jax.Array:
    """Optical path (um) of an unwrapped mask at points (x, y) of the unit pupil; 0 outside its square.

    Bilinear, as in `sample_mask`. Raises `OpticsError` for a wrapped mask, which has no path to interpolate.

    >>> from optics.masks import zernike
    >>> round(float(sample_path_um(zernike([(1, 1, 0.1)], size=64), 0.5, 0.0)), 6)
    0.1
    """
    if mask.wrapped:
        raise OpticsError("a wrapped mask has no path between its cells; unwrap it, or sample its phasor")
    inside, gather = _bilinear(mask, jnp.asarray(x), jnp.asarray(y))
    return jnp.where(inside, gather(mask.opd_um), 0.0)


def check_wavelength(mask: PhaseMask | None, wavelength_um: ArrayLike) -> None:
    """Refuse, on the host, a wrapped mask at a wavelength (um) other than the one it was designed for.

    Raises `OpticsError`; an unwrapped mask, or None, passes at every wavelength.

    >>> from optics.masks import flat
    >>> check_wavelength(flat(), 0.58)
    """
    if mask is None or not mask.wrapped:
        return
    design, asked = float(mask.design_wavelength_um), float(jnp.asarray(wavelength_um))
    if abs(design - asked) > 1e-6 * design:
        raise OpticsError(
            f"the mask is wrapped at {design:g} um and means nothing at wavelength_um = {asked:g}; "
            "unwrap it, use its design wavelength, or give its material (optics.fabrication.at_wavelength)"
        )


def rotate_180(mask: PhaseMask) -> PhaseMask:
    """Turn a mask by 180 degrees: what a published mask needs when its model transforms with exp(-i k r).

    Exact, because the cells lie symmetrically about the axis.

    >>> from optics.masks import zernike
    >>> coma = zernike([(3, 1, 0.1)], size=32)
    >>> bool(jnp.allclose(rotate_180(coma).opd_um, -coma.opd_um, atol=1e-6))
    True
    """
    return replace(mask, opd_um=mask.opd_um[::-1, ::-1], transmission=mask.transmission[::-1, ::-1])


def mask_grid(size: int, half_width: ArrayLike = 1.0) -> tuple[jax.Array, jax.Array]:
    """Cell centres (x, y) of a (size, size) mask, in pupil radii, each of shape (size, size).

    >>> x, y = mask_grid(4)
    >>> x[0].tolist(), y[:, 0].tolist()
    ([-0.75, -0.25, 0.25, 0.75], [-0.75, -0.25, 0.25, 0.75])
    """
    centre = mask_centres(size, half_width)
    x, y = jnp.meshgrid(centre, centre)
    return x, y


def _bilinear(mask: PhaseMask, x: jax.Array, y: jax.Array):
    """Whether points lie in the mask's square, and a function that interpolates its cells there."""
    size = mask.opd_um.shape[0]
    inside = (jnp.abs(x) <= mask.half_width) & (jnp.abs(y) <= mask.half_width)
    rows, columns = (((u / mask.half_width + 1) * (size / 2) - 0.5).clip(0, size - 1) for u in (y, x))
    row, column = (jnp.floor(u).clip(0, size - 2) for u in (rows, columns))
    down, right = rows - row, columns - column
    first = row.astype(int) * size + column.astype(int)

    def gather(cells: jax.Array) -> jax.Array:
        flat_cells = cells.ravel()
        top = (1 - right) * flat_cells[first] + right * flat_cells[first + 1]
        bottom = (1 - right) * flat_cells[first + size] + right * flat_cells[first + size + 1]
        return (1 - down) * top + down * bottom

    return inside, gather


def _unit(cosine: jax.Array, sine: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A phasor brought to unit length; where it has none (half way across a jump of pi) phase 0."""
    squared = cosine**2 + sine**2
    has_length = squared > SMALLEST_PHASOR**2
    # the inner where keeps the untaken branch's gradient finite
    length = jnp.sqrt(jnp.where(has_length, squared, 1.0))
    return jnp.where(has_length, cosine / length, 1.0), jnp.where(has_length, sine / length, 0.0)
