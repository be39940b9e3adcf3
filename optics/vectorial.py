"""The vectorial image of a freely rotating dipole: six fields, three dipole axes times two polarisations."""

import jax
import jax.numpy as jnp

from optics.grids import safe_sqrt
from optics.pupil import Pupil, radial_nodes, transmission
from optics.types import Microscope


def dipole_fields(scope: Microscope, pupil: Pupil) -> jax.Array:
    """Pupil fields of unit dipoles at the origin, (5, P, Q) complex: xx, sqrt(2) xy, yy, xz, yz.

    First letter: polarisation at the camera; second: dipole axis. The field xy equals yx, so that one
    stands for both with the weight sqrt(2). In-plane dipoles project with cos(theta_sample) on p and 1
    on s, the axial one with -sin(theta_sample) on p.
    """
    kr = safe_sqrt(pupil.kx_rad_um**2 + pupil.ky_rad_um**2)
    on_axis = kr == 0  # any azimuth does there: p and s agree
    kr_safe = jnp.where(on_axis, 1.0, kr)
    c, s = jnp.where(on_axis, 1.0, pupil.kx_rad_um / kr_safe), jnp.where(on_axis, 0.0, pupil.ky_rad_um / kr_safe)
    sine_squared = (kr * scope.wavelength_um / (2 * jnp.pi)) ** 2
    t = transmission(scope, sine_squared)
    along, across, axial = t.p * t.cos_sample, t.s, -t.p * t.sin_sample
    return jnp.stack(
        [
            c**2 * along + s**2 * across,
            jnp.sqrt(2.0).astype(c.dtype) * c * s * (along - across),
            s**2 * along + c**2 * across,
            c * axial,
            s * axial,
        ]
    )


def dipole_power(scope: Microscope, z_um: jax.Array) -> jax.Array:
    """Light of a free dipole at depth `z_um` through the full, loss-free pupil; the unit cancels in `psf_image`.

    The integral over the pupil of the squared fields, which depends on the angle alone.
    """
    sine_squared, decay, weight = radial_nodes(scope)
    t = transmission(scope, sine_squared)
    per_angle = jnp.abs(t.p) ** 2 * (jnp.abs(t.cos_sample) ** 2 + t.sin_sample**2) + jnp.abs(t.s) ** 2
    return jnp.sum(weight * per_angle * jnp.exp(-2 * decay * z_um))
