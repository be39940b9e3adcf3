"""From pupil to image: one Fourier convention, E(r) = sum over k of P(k) exp(+i k.r), as matrix products.

A matrix Fourier transform goes from any pupil nodes to any pixels in two products. Nodes and pixels are
symmetric about 0, so even and odd parts are transformed apart with real cosines and sines on a quarter of
the plane: four times fewer multiplications than the complex exponential, in real arithmetic.
"""

import jax
import jax.numpy as jnp
from jax.lax import Precision


def _fold(values: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Even and odd parts over the outer half of a symmetric axis, from the centre outwards."""
    n = values.shape[axis]
    upper = jax.lax.slice_in_dim(values, n - n // 2, n, axis=axis)
    lower = jnp.flip(jax.lax.slice_in_dim(values, 0, n // 2, axis=axis), axis)
    even, odd = upper + lower, upper - lower
    if n % 2:  # the centre is its own mirror image
        middle = jax.lax.slice_in_dim(values, n // 2, n // 2 + 1, axis=axis)
        even = jnp.concatenate([middle, even], axis=axis)
        odd = jnp.concatenate([jnp.zeros_like(middle), odd], axis=axis)
    return even, odd


def _unfold(plus: jax.Array, minus: jax.Array, n: int, axis: int) -> jax.Array:
    """Join the two halves of an axis of length n; `minus` runs outwards like `plus`."""
    if n % 2:
        minus = jax.lax.slice_in_dim(minus, 1, minus.shape[axis], axis=axis)
    return jnp.concatenate([jnp.flip(minus, axis), plus], axis=axis)


def intensity(fields: jax.Array, kx: jax.Array, ky: jax.Array, x_um: jax.Array, y_um: jax.Array) -> jax.Array:
    """Sum over fields of |E(r)|**2 on a pixel grid, by the folded real transform.

    `fields` (F, P, Q) complex, already multiplied by quadrature weights; `kx` (P, Q) and `ky` (P,) in
    rad/um, symmetric about 0 (ky[::-1] = -ky, kx[:, ::-1] = -kx, kx[::-1] = kx); `x_um` (L,) and `y_um`
    (K,) symmetric about 0. Returns (K, L) real. Equal to `field` squared and summed.
    """
    rows, columns = ky.shape[0], kx.shape[1]
    kx_half, ky_half = kx[rows // 2 :, columns // 2 :], ky[rows // 2 :]
    angle_x = kx_half[:, None, :] * x_um[x_um.shape[0] // 2 :][None, :, None]  # (r, l, q)
    angle_y = y_um[y_um.shape[0] // 2 :][:, None] * ky_half[None, :]  # (k, r)
    parts = jnp.stack([fields.real, fields.imag], axis=1)  # (F, 2, P, Q)
    row_even, row_odd = _fold(parts, 2)
    by_row = jnp.stack([row_even, row_odd])
    col_even, col_odd = _fold(by_row, 4)  # (2, F, 2, r, q)

    def along_rows(matrix, values):
        return jnp.einsum("rlq,sfcrq->srlfc", matrix, values, precision=Precision.HIGHEST)

    def along_columns(matrix, values):
        return jnp.einsum("kr,rlfc->klfc", matrix, values, precision=Precision.HIGHEST)

    cos_x, sin_x = along_rows(jnp.cos(angle_x), col_even), along_rows(jnp.sin(angle_x), col_odd)
    cos_y, sin_y = jnp.cos(angle_y), jnp.sin(angle_y)
    ee, oe = along_columns(cos_y, cos_x[0]), along_columns(sin_y, cos_x[1])
    eo, oo = along_columns(cos_y, sin_x[0]), along_columns(sin_y, sin_x[1])
    # E(sx x, sy y) = ee - sx sy oo + i (sx eo + sy oe), for the four sign pairs
    diagonal = _pair(ee - oo, eo + oe)
    anti = _pair(ee + oo, eo - oe)
    low = _unfold(diagonal[0], anti[1], x_um.shape[0], 1)  # y >= 0: +x, then -x
    high = _unfold(anti[0], diagonal[1], x_um.shape[0], 1)  # y <= 0
    return _unfold(low, high, y_um.shape[0], 0)


def _pair(u: jax.Array, p: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums over fields of |u + i p|**2 and |u - i p|**2; real and imaginary parts on the last axis."""
    square = jnp.sum(u**2 + p**2, axis=(-2, -1))
    cross = 2 * jnp.sum(u[..., 1] * p[..., 0] - u[..., 0] * p[..., 1], axis=-1)
    return square + cross, square - cross


def field(values: jax.Array, kx: jax.Array, ky: jax.Array, x_um: jax.Array, y_um: jax.Array) -> jax.Array:
    """E(r) of one pupil field: `values` (P, Q) complex and weighted, any `kx` (P, Q), `ky` (P,) -> (K, L).

    The plain transform, without the symmetry: for phases, and as the witness of `intensity`.
    """
    along = jnp.einsum(
        "rlq,rq->rl", jnp.exp(1j * kx[:, None, :] * x_um[None, :, None]), values, precision=Precision.HIGHEST
    )
    return jnp.einsum("kr,rl->kl", jnp.exp(1j * y_um[:, None] * ky[None, :]), along, precision=Precision.HIGHEST)
