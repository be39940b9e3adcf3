"""The vectorial image of a dipole: six fields, three dipole axes times two polarisations.

A freely rotating dipole is the sum of their intensities; a fixed one is their coherent sum over the axes, one
field per polarisation. A polariser in front of the camera keeps the fields of one polarisation.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.lax import Precision

from optics.grids import safe_sqrt
from optics.pupil import Pupil, radial_nodes, transmission
from optics.types import Microscope


def axis_fields(scope: Microscope, pupil: Pupil) -> jax.Array:
    """Pupil fields of unit dipoles at the origin, (2, 3, P, Q) complex: [polarisation x, y][dipole axis x, y, axial].

    In-plane dipoles project with cos(theta_sample) on p and 1 on s. The third axis points the way that the light
    goes, from the sample to the objective, and projects with -sin(theta_sample) on p.
    """
    kr = safe_sqrt(pupil.kx_rad_um**2 + pupil.ky_rad_um**2)
    on_axis = kr == 0  # any azimuth does there: p and s agree
    kr_safe = jnp.where(on_axis, 1.0, kr)
    c, s = jnp.where(on_axis, 1.0, pupil.kx_rad_um / kr_safe), jnp.where(on_axis, 0.0, pupil.ky_rad_um / kr_safe)
    sine_squared = (kr * scope.wavelength_um / (2 * jnp.pi)) ** 2
    t = transmission(scope, sine_squared)
    along, across, axial = t.p * t.cos_sample, t.s, -t.p * t.sin_sample
    crossed = c * s * (along - across)
    return jnp.stack(
        [
            jnp.stack([c**2 * along + s**2 * across, crossed, c * axial]),
            jnp.stack([crossed, s**2 * along + c**2 * across, s * axial]),
        ]
    )


def dipole_fields(
    scope: Microscope,
    pupil: Pupil,
    dipole: Literal["free", "fixed"] = "free",
    polarisation: Literal["both", "x", "y"] = "both",
) -> jax.Array:
    """Pupil fields whose intensities add up to the image of a free dipole, or that `orient` combines for a fixed one.

    "free", "both": (5, P, Q), xx, sqrt(2) xy, yy, xz, yz (polarisation at the camera, dipole axis). The field xy
    equals yx, so that one stands for both with the weight sqrt(2). "free" behind a polariser: (3, P, Q), with the
    weight 1 each, so that the images of "x" and "y" add up to that of "both". "fixed": (polarisations, 3, P, Q).
    """
    fields = axis_fields(scope, pupil)
    kept = {"both": slice(0, 2), "x": slice(0, 1), "y": slice(1, 2)}[polarisation]
    if dipole == "fixed":
        return fields[kept]
    if polarisation != "both":
        return fields[kept][0]
    (xx, xy, xz), (_, yy, yz) = fields
    return jnp.stack([xx, jnp.sqrt(2.0).astype(xy.real.dtype) * xy, yy, xz, yz])


def axis_of(dipole_rad: jax.Array) -> jax.Array:
    """Unit vector (3,) of a dipole on the axes of `axis_fields`, from (polar_rad, azimuth_rad) in sample axes.

    The polar angle is from +z (into the sample), the azimuth from x towards y. The light of `axis_fields` goes
    towards -z, hence the sign of the third component.
    """
    polar, azimuth = dipole_rad[0], dipole_rad[1]
    in_plane = jnp.sin(polar)
    return jnp.stack([in_plane * jnp.cos(azimuth), in_plane * jnp.sin(azimuth), -jnp.cos(polar)])


def orient(fields: jax.Array, dipole_rad: jax.Array) -> jax.Array:
    """Pupil fields (polarisations, P, Q) of a fixed dipole from `dipole_fields(..., "fixed")`: the coherent sum."""
    axis = axis_of(dipole_rad)
    parts = (jnp.einsum("a,capq->cpq", axis, part, precision=Precision.HIGHEST) for part in (fields.real, fields.imag))
    return jax.lax.complex(*parts)


def axis_powers(scope: Microscope, z_um: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Light of one in-plane and of one axial unit dipole at depth `z_um` through the full, loss-free pupil.

    The integrals over the pupil of the squared fields, which depend on the angle alone; the unit is that of
    `axis_fields`.
    """
    sine_squared, decay, weight = radial_nodes(scope)
    t = transmission(scope, sine_squared)
    light = weight * jnp.exp(-2 * decay * z_um)
    p = jnp.abs(t.p) ** 2
    in_plane = (p * jnp.abs(t.cos_sample) ** 2 + jnp.abs(t.s) ** 2) / 2
    return jnp.sum(light * in_plane), jnp.sum(light * p * t.sin_sample**2)


def dipole_power(scope: Microscope, z_um: jax.Array) -> jax.Array:
    """Light of a free dipole, summed over three axes, at depth `z_um` through the full, loss-free pupil."""
    in_plane, axial = axis_powers(scope, z_um)
    return 2 * in_plane + axial


def fixed_dipole_power(scope: Microscope, z_um: jax.Array, dipole_rad: jax.Array) -> jax.Array:
    """Light of a fixed dipole through the full, loss-free pupil; a third of `dipole_power` on average.

    No cross terms: the pupil is round, so that the second moments of its light are diagonal.
    """
    in_plane, axial = axis_powers(scope, z_um)
    return in_plane * jnp.sin(dipole_rad[0]) ** 2 + axial * jnp.cos(dipole_rad[0]) ** 2
