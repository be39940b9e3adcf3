"""A smooth surface over a frame: cubic B-splines on an even lattice, a few coefficients for all pixels.

de Boor, A Practical Guide to Splines (Springer 2001), ch. IX; the uniform cubic one in closed form.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from optics.pytree import pytree
from optics.types import OpticsError


@pytree
class Surface:
    """Splines of a frame (H, W): `rows` (H, A) and `columns` (W, B), the value of each spline in each pixel."""

    rows: jax.Array
    columns: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frame."""
        return self.rows.shape[0], self.columns.shape[0]


def make_surface(shape: tuple[int, int], spacing_px: float) -> Surface:
    """Make the splines of frames of `shape` (H, W), knots about `spacing_px` apart (at least one interval a side).

    Coefficients that are all alike are an even surface. Raises `OpticsError` for a spacing that is not positive.

    >>> surface = make_surface((40, 64), 20.0)
    >>> surface.rows.shape, surface.columns.shape, bool(jnp.allclose(surface_at(surface, jnp.full((5, 6), 7.0)), 7.0))
    ((40, 5), (64, 6), True)
    """
    if not spacing_px > 0:
        raise OpticsError(f"spacing_px = {spacing_px} must be positive")
    rows, columns = (jnp.asarray(_splines(n, max(1, round(n / spacing_px))), dtype=float) for n in shape)
    return Surface(rows=rows, columns=columns)


def surface_at(surface: Surface, coefficients: jax.Array) -> jax.Array:
    """The surface (H, W) of coefficients (A, B)."""
    return surface.rows @ coefficients @ surface.columns.T


def _splines(n_px: int, intervals: int) -> NDArray:
    """Values (n_px, intervals + 3) of the splines at the pixels' centres."""
    place = (np.arange(n_px) + 0.5) / n_px * intervals
    far = np.abs(place[:, None] - np.arange(-1, intervals + 2)[None, :])
    near = 2 / 3 - far**2 + far**3 / 2
    return np.where(far < 1, near, np.where(far < 2, np.maximum(2 - far, 0) ** 3 / 6, 0.0))
