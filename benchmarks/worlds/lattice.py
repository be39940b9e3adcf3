"""The pupil as a square lattice, as peers sample it: what our quadrature is compared with."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from optics.grids import DiskNodes, mask_centres


def lattice_nodes(n_px: int, half_width: ArrayLike, radius: ArrayLike) -> DiskNodes:
    """A square lattice of cell centres with a hard edge: how peers sample the pupil."""
    u = mask_centres(n_px, half_width)
    inside = u[:, None] ** 2 + u[None, :] ** 2 < jnp.asarray(radius) ** 2
    cell = (2 * jnp.asarray(half_width) / n_px) ** 2
    return DiskNodes(x=jnp.broadcast_to(u, (n_px, n_px)), y=u, weight=jnp.where(inside, cell, 0.0))
