"""The scalar image of a point: one field of even amplitude, no polarisation, no interface losses.

The low-NA limit of `vectorial.py`, kept for speed and to meet the scalar models of peers.
"""

import jax
import jax.numpy as jnp

from optics.pupil import Pupil, radial_nodes
from optics.types import Microscope


def scalar_fields(scope: Microscope, pupil: Pupil) -> jax.Array:
    """Pupil field of a point at the origin, (1, P, Q) complex."""
    return jnp.ones_like(pupil.phasor)[None]


def scalar_power(scope: Microscope, z_um: jax.Array) -> jax.Array:
    """Light of a point at depth `z_um` through the full, loss-free pupil."""
    _, decay, weight = radial_nodes(scope)
    return jnp.sum(weight * jnp.exp(-2 * decay * z_um))
