"""Zernike polynomials on the unit pupil: index maps, values at any points, least-squares fit.

Modes have unit rms over the pupil; m > 0 is the cosine, m < 0 the sine of the azimuth atan2(y, x), y down.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from optics.types import OpticsError


def osa_to_nm(index: int) -> tuple[int, int]:
    """Radial order n and azimuthal order m of an OSA/ANSI index counted from 0.

    Raises `OpticsError` for a negative index.

    >>> [osa_to_nm(j) for j in (0, 3, 5, 7, 12)]
    [(0, 0), (2, -2), (2, 2), (3, -1), (4, 0)]
    """
    if index < 0:
        raise OpticsError(f"OSA index {index} must be 0 or more")
    n = (math.isqrt(8 * index + 1) - 1) // 2
    return n, 2 * index - n * (n + 2)


def nm_to_noll(n: int, m: int) -> int:
    """Noll index, counted from 1; even indices are cosines (Noll 1976, doi 10.1364/JOSA.66.000207).

    Raises `OpticsError` where (n, m) is no Zernike mode.

    >>> [nm_to_noll(n, m) for n, m in [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (4, 0)]]
    [1, 2, 3, 4, 5, 6, 11]
    """
    _check_mode(n, m)
    first = n * (n + 1) // 2 + abs(m)
    cosine_first = n % 4 in (0, 1)
    comes_second = m <= 0 if cosine_first else m >= 0
    return first + int(comes_second)


def noll_to_nm(index: int) -> tuple[int, int]:
    """Radial order n and azimuthal order m of a Noll index counted from 1.

    Raises `OpticsError` for an index below 1.

    >>> [noll_to_nm(j) for j in (1, 2, 3, 5, 6, 11)]
    [(0, 0), (1, 1), (1, -1), (2, -2), (2, 2), (4, 0)]
    """
    if index < 1:
        raise OpticsError(f"Noll index {index} must be 1 or more")
    n = (math.isqrt(8 * (index - 1) + 1) - 1) // 2
    candidates = [(n, m) for m in range(-n, n + 1, 2)]
    return next(mode for mode in candidates if nm_to_noll(*mode) == index)


def zernike_mode(n: int, m: int, x: ArrayLike, y: ArrayLike) -> jax.Array:
    """Evaluate one Zernike mode of unit rms at points (x, y) of the unit pupil.

    `x`, `y` dimensionless, of shapes that broadcast; returns their common shape. The polynomial is
    continued outside radius 1. Differentiable everywhere, the origin included.
    Raises `OpticsError` where (n, m) is no Zernike mode.

    >>> round(float(zernike_mode(2, 2, 1.0, 0.0)) ** 2, 5)
    6.0
    """
    _check_mode(n, m)
    x, y = _points(x, y)
    return _family(abs(m), [n], x, y, sine=m < 0)[0]


def zernike_basis(n_modes: int, x: ArrayLike, y: ArrayLike) -> jax.Array:
    """Evaluate the first `n_modes` Zernike modes, in OSA/ANSI order, at points (x, y) of the unit pupil.

    `x`, `y` dimensionless, of shapes that broadcast to S; returns (n_modes, *S), each mode of unit rms.
    Radial parts R_n^m = r^m P_k^(0,m)(2 r^2 - 1) by the recurrence of the Jacobi polynomials, stable at
    high order (doi 10.1364/OE.18.013851), azimuths as Re and Im of (x + i y)^m, so that nothing is
    divided by r. Raises `OpticsError` for fewer than one mode.

    >>> zernike_basis(6, jnp.zeros(3), jnp.zeros(3)).shape
    (6, 3)
    """
    if n_modes < 1:
        raise OpticsError(f"n_modes = {n_modes} must be at least 1")
    x, y = _points(x, y)
    modes = [osa_to_nm(j) for j in range(n_modes)]
    values = {}
    for m in sorted({m for _, m in modes}):
        orders = [n for n, other in modes if other == m]
        for n, value in zip(orders, _family(abs(m), orders, x, y, sine=m < 0), strict=True):
            values[n, m] = value
    return jnp.stack([values[mode] for mode in modes])


def fit(n_modes: int, values: ArrayLike, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> jax.Array:
    """Fit the first `n_modes` OSA/ANSI modes to `values` at points (x, y), by weighted least squares.

    `values`, `x`, `y`, `weights` of one shape; returns (n_modes,) rms amplitudes in the unit of `values`.
    Without weights the points inside the unit pupil count alike and those outside do not count.
    Raises `OpticsError` where there are fewer points than modes.

    >>> x, y = jnp.meshgrid(jnp.linspace(-1, 1, 32), jnp.linspace(-1, 1, 32))
    >>> round(float(fit(6, 0.07 * zernike_mode(2, 2, x, y), x, y)[5]), 4)
    0.07
    """
    x, y = _points(x, y)
    values = jnp.asarray(values, dtype=x.dtype)
    if values.size < n_modes:
        raise OpticsError(f"{n_modes} Zernike modes cannot be fitted to {values.size} points")
    weights = x**2 + y**2 <= 1 if weights is None else weights
    root = jnp.sqrt(jnp.asarray(weights, dtype=x.dtype)).ravel()
    design = zernike_basis(n_modes, x, y).reshape(n_modes, -1).T * root[:, None]
    q, r = jnp.linalg.qr(design)
    projected = jnp.matmul(q.T, values.ravel() * root, precision=jax.lax.Precision.HIGHEST)
    return jax.scipy.linalg.solve_triangular(r, projected)


def _check_mode(n: int, m: int) -> None:
    if n < 0 or abs(m) > n or (n - m) % 2:
        raise OpticsError(f"(n, m) = ({n}, {m}) is no Zernike mode: |m| <= n and n - m even are needed")


def _points(x: ArrayLike, y: ArrayLike) -> tuple[jax.Array, jax.Array]:
    dtype = jnp.result_type(x, y)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    x, y = jnp.broadcast_arrays(jnp.asarray(x, dtype=dtype), jnp.asarray(y, dtype=dtype))
    return x, y


def _family(m: int, orders: list[int], x: jax.Array, y: jax.Array, sine: bool) -> list[jax.Array]:
    """Modes of one azimuthal order m >= 0 and radial orders `orders`, each of unit rms."""
    cosine_part, sine_part = jnp.ones_like(x), jnp.zeros_like(x)
    for _ in range(m):
        cosine_part, sine_part = x * cosine_part - y * sine_part, x * sine_part + y * cosine_part
    azimuth = sine_part if sine else cosine_part
    radial = _jacobi_0m(m, max((n - m) // 2 for n in orders), 2 * (x**2 + y**2) - 1)
    rms = [math.sqrt((n + 1) * (1 if m == 0 else 2)) for n in orders]
    return [scale * radial[(n - m) // 2] * azimuth for n, scale in zip(orders, rms, strict=True)]


def _jacobi_0m(m: int, degree: int, t: jax.Array) -> list[jax.Array]:
    """Jacobi polynomials P_k^(0,m)(t), k = 0 ... degree (three-term recurrence, DLMF 18.9.2)."""
    polynomials = [jnp.ones_like(t), ((m + 2) * t - m) / 2]
    for k in range(2, degree + 1):
        c = 2 * k + m
        linear = (c - 1) * (c * (c - 2) * t - m**2) / (2 * k * (k + m) * (c - 2))
        back = 2 * (k - 1) * (k + m - 1) * c / (2 * k * (k + m) * (c - 2))
        polynomials.append(linear * polynomials[-1] - back * polynomials[-2])
    return polynomials[: degree + 1]
