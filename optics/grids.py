"""The only maker of pixel, pupil and mask grids: every centre and every pitch is decided here.

It also holds the pupil quadrature, the rule that turns an integral over the aperture into a sum. A
square lattice of samples converges slowly, because the aperture's rim and the critical angle cut through
its cells: 256 samples across leave 1e-3. Here every row of samples ends exactly on the rim, with
Gauss-Legendre nodes along the row, and rows and nodes gather where the integrand has a square root
(rim, critical angle). The error then falls exponentially: 48 samples leave 1e-4 where 256 left 1e-3
(`benchmarks/accuracy.py`). All nodes are symmetric about both axes, which `fourier.py` uses.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.pytree import pytree


@pytree
class DiskNodes:
    """A quadrature of the disk: `x`, `weight` are (P, Q), `y` is (P,); one row of nodes per y."""

    x: jax.Array
    y: jax.Array
    weight: jax.Array


def pixel_centres_um(n_px: int, pixel_um: ArrayLike) -> jax.Array:
    """Centres of `n_px` pixels of a stamp, relative to the stamp's centre, in um; shape (n_px,)."""
    pixel = jnp.asarray(pixel_um) * 1.0
    return (jnp.arange(n_px, dtype=pixel.dtype) - (n_px - 1) / 2) * pixel


def mask_centres(n_px: int, half_width: ArrayLike = 1.0) -> jax.Array:
    """Centres of `n_px` mask cells across [-half_width, half_width], in pupil radii; shape (n_px,)."""
    return ((jnp.arange(n_px) + 0.5) * (2 / n_px) - 1) * jnp.asarray(half_width)


def safe_sqrt(value: jax.Array) -> jax.Array:
    """Square root of a number clipped at 0 whose gradient at 0 is 0 instead of infinite."""
    positive = value > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, value, 1.0)), 0.0)


@cache
def gauss_nodes(n: int, dtype=np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [-1, 1], in the precision of what they will multiply."""
    t, w = np.polynomial.legendre.leggauss(n)
    return t.astype(dtype), w.astype(dtype)


def sine_panel(low: ArrayLike, high: ArrayLike, n: int) -> tuple[jax.Array, jax.Array]:
    """`n` nodes and weights for the integral over [low, high], dense at both ends.

    The substitution x = centre + half sin(t) turns a square root at an end into a smooth function.
    `low` and `high` may be arrays (...,); nodes and weights are then (..., n).
    """
    low, high = jnp.asarray(low), jnp.asarray(high)
    half, centre = (high - low)[..., None] / 2, (high + low)[..., None] / 2
    t, w = gauss_nodes(n)
    node, weight = np.sin(t * np.pi / 2), np.cos(t * np.pi / 2) * (np.pi / 2) * w
    node, weight = (a.astype(half.dtype).reshape((1,) * (half.ndim - 1) + (n,)) for a in (node, weight))
    return centre + half * node, half * weight


def disk_nodes(n_inner: int, n_ring: int, radius: ArrayLike, critical: ArrayLike) -> DiskNodes:
    """Quadrature nodes for the disk of `radius`, aware of a square root on the circle `critical`.

    `n_inner` nodes a side cover the disk inside `critical`, `n_ring` more on each side the ring beyond
    it; with `n_ring` 0 the circle is ignored. P = Q = n_inner + 2 n_ring. Differentiable in `radius` and
    `critical`, which move the nodes. A critical circle beyond the rim leaves the ring's nodes with weight 0.
    """
    radius = jnp.asarray(radius) * 1.0
    if n_ring == 0:
        # rows: the integral along a row is chord x (a smooth function of y): Gauss-Chebyshev, second kind
        angle = np.pi * np.arange(n_inner, 0, -1) / (n_inner + 1)
        y = radius * np.cos(angle).astype(radius.dtype)
        wy = radius * (np.pi / (n_inner + 1) * np.sin(angle)).astype(radius.dtype)
        chord = safe_sqrt(radius**2 - y**2)
        t, w = gauss_nodes(n_inner, radius.dtype)
        return DiskNodes(x=chord[:, None] * t[None, :], y=y, weight=(wy * chord)[:, None] * w[None, :])

    inner = jnp.minimum(jnp.asarray(critical), radius)
    # the integral over x has smoothed the root in y to t log t: plain Gauss nodes do, and reach farther
    t, w = gauss_nodes(n_inner, radius.dtype)
    y_in, wy_in = inner * t, inner * w
    y_out, wy_out = sine_panel(inner, radius, n_ring)
    # rows inside the critical circle: [-chord, -edge], [-edge, edge], [edge, chord]
    chord, edge = safe_sqrt(radius**2 - y_in**2), safe_sqrt(inner**2 - y_in**2)
    x_mid, w_mid = sine_panel(-edge, edge, n_inner)
    t, w = gauss_nodes(n_ring, radius.dtype)
    s, ws = (t[None, :] + 1) / 2, w[None, :] / 2
    width = (chord - edge)[:, None]
    x_side, w_side = edge[:, None] + width * s**2, width * (2 * s * ws)  # s**2: the root at the inner end
    x_rows = jnp.concatenate([-x_side[:, ::-1], x_mid, x_side], axis=1)
    w_rows = jnp.concatenate([w_side[:, ::-1], w_mid, w_side], axis=1) * wy_in[:, None]
    # rows wholly in the ring: one panel
    chord_out = safe_sqrt(radius**2 - y_out**2)[:, None]
    t, w = gauss_nodes(n_inner + 2 * n_ring, radius.dtype)
    x_far, w_far = chord_out * t[None, :], chord_out * w[None, :] * wy_out[:, None]
    return DiskNodes(
        x=jnp.concatenate([x_far[::-1], x_rows, x_far]),
        y=jnp.concatenate([-y_out[::-1], y_in, y_out]),
        weight=jnp.concatenate([w_far[::-1], w_rows, w_far]),
    )
