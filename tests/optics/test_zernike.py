"""Zernike polynomials against tables, the factorial formula and exact quadrature."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import zernike
from optics.types import OpticsError


def factorial_formula(n, m, x, y):
    """R_n^m by factorials (Born & Wolf 9.2.1), azimuth by atan2: independent of the recurrences."""
    r, azimuth = np.hypot(x, y), np.arctan2(y, x)
    k_max = (n - abs(m)) // 2
    radial = sum(
        (-1) ** k
        * math.factorial(n - k)
        / (math.factorial(k) * math.factorial(k_max + abs(m) - k) * math.factorial(k_max - k))
        * r ** (n - 2 * k)
        for k in range(k_max + 1)
    )
    angular = np.cos(m * azimuth) if m >= 0 else np.sin(-m * azimuth)
    return math.sqrt((n + 1) * (1 if m == 0 else 2)) * radial * angular


def disc_quadrature(order):
    """Nodes and weights exact on the unit disc, of total weight 1, for polynomials up to 2 order - 2."""
    t, wt = np.polynomial.legendre.leggauss(order)
    r = np.sqrt((t + 1) / 2)
    azimuth = 2 * np.pi * np.arange(2 * order) / (2 * order)
    x, y = np.outer(r, np.cos(azimuth)), np.outer(r, np.sin(azimuth))
    weights = np.outer(wt / 2, np.full(2 * order, 1 / (2 * order)))
    return x.ravel(), y.ravel(), weights.ravel()


def test_modes_are_orthonormal_over_the_pupil():
    """<Z_i Z_j> = delta_ij by a quadrature that is exact for these polynomials (66 modes, order 10)."""
    x, y, weights = disc_quadrature(24)
    basis = np.asarray(zernike.zernike_basis(66, x, y))
    np.testing.assert_allclose((basis * weights) @ basis.T, np.eye(66), atol=1e-12)


@pytest.mark.parametrize("n_modes", [1, 2, 28, 91])
def test_basis_equals_the_factorial_formula(n_modes):
    """The recurrences reproduce an independent formula up to order 12, in OSA order."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.7, 0.7, (2, 50))
    want = np.stack([factorial_formula(*zernike.osa_to_nm(j), x, y) for j in range(n_modes)])
    np.testing.assert_allclose(zernike.zernike_basis(n_modes, x, y), want, atol=1e-11)


def test_low_orders_have_their_closed_forms():
    """Tilt, defocus, astigmatism, coma and spherical aberration as written in any textbook, y down."""
    x, y = np.array([0.3, -0.5, 0.0]), np.array([0.4, 0.2, -0.9])
    r2 = x**2 + y**2
    forms = {
        (1, -1): 2 * y,
        (1, 1): 2 * x,
        (2, -2): 2 * math.sqrt(6) * x * y,
        (2, 0): math.sqrt(3) * (2 * r2 - 1),
        (2, 2): math.sqrt(6) * (x**2 - y**2),
        (3, 1): math.sqrt(8) * (3 * r2 - 2) * x,
        (4, 0): math.sqrt(5) * (6 * r2**2 - 6 * r2 + 1),
        (4, 2): math.sqrt(10) * (4 * r2 - 3) * (x**2 - y**2),
    }
    for (n, m), want in forms.items():
        np.testing.assert_allclose(zernike.zernike_mode(n, m, x, y), want, atol=1e-13)


def test_osa_indices_follow_the_standard():
    """The OSA/ANSI table of the first 15 modes, and both maps invert each other up to 500."""
    table = [(0, 0), (1, -1), (1, 1), (2, -2), (2, 0), (2, 2), (3, -3), (3, -1), (3, 1), (3, 3)]
    table += [(4, -4), (4, -2), (4, 0), (4, 2), (4, 4)]
    assert [zernike.osa_to_nm(j) for j in range(15)] == table
    # ANSI Z80.28: j = (n (n + 2) + m) / 2
    assert [(n * (n + 2) + m) // 2 for n, m in map(zernike.osa_to_nm, range(500))] == list(range(500))


def test_noll_indices_follow_the_paper():
    """Table I of Noll 1976 (first 21 modes), and both maps invert each other up to 500."""
    table = [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0)]
    table += [(4, 2), (4, -2), (4, 4), (4, -4), (5, 1), (5, -1), (5, 3), (5, -3), (5, 5), (5, -5)]
    assert [zernike.noll_to_nm(j) for j in range(1, 22)] == table
    assert [zernike.nm_to_noll(*zernike.noll_to_nm(j)) for j in range(1, 501)] == list(range(1, 501))


def test_gradient_equals_differences_and_is_finite_at_the_axis():
    """d/dx, d/dy by autodiff: closed form at the origin (only m = 1 slopes there), differences elsewhere."""
    slope = jax.jacfwd(lambda p: zernike.zernike_basis(45, p[0], p[1]))
    at_axis = np.asarray(slope(jnp.zeros(2)))
    assert np.isfinite(at_axis).all()
    modes = [zernike.osa_to_nm(j) for j in range(45)]
    for (n, m), (gx, gy) in zip(modes, at_axis, strict=True):
        # R_n^1 = (-1)^((n-1)/2) (n+1)/2 r + O(r^3)
        steep = (-1) ** ((n - 1) // 2) * (n + 1) / 2 * math.sqrt(2 * (n + 1)) if abs(m) == 1 else 0.0
        np.testing.assert_allclose((gx, gy), (steep if m == 1 else 0, steep if m == -1 else 0), atol=1e-10)
    point, h = np.array([0.31, -0.64]), 1e-6
    for axis in range(2):
        step = h * np.eye(2)[axis]
        up, down = (zernike.zernike_basis(45, *(point + s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope(jnp.array(point))[:, axis], (up - down) / (2 * h), atol=1e-7)


def test_fit_returns_the_amplitudes_and_ignores_the_corners():
    """A known sum is recovered exactly although the points outside the pupil are spoilt."""
    x, y = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 40))
    want = np.random.default_rng(1).normal(size=21)
    surface = np.tensordot(want, np.asarray(zernike.zernike_basis(21, x, y)), 1)
    surface[np.hypot(x, y) > 1] = 7.0
    np.testing.assert_allclose(zernike.fit(21, surface, x, y), want, atol=1e-12)


def test_dtype_of_the_points_is_kept():
    """float32 points give float32 modes, so that nothing is silently promoted on the device."""
    assert zernike.zernike_basis(10, jnp.zeros(3, jnp.float32), jnp.zeros(3, jnp.float32)).dtype == jnp.float32
    assert zernike.zernike_mode(2, 0, 0, 1).dtype == jnp.zeros(1).dtype


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: zernike.zernike_mode(2, 1, 0.0, 0.0), r"\(2, 1\)"),
        (lambda: zernike.nm_to_noll(1, 3), r"\(1, 3\)"),
        (lambda: zernike.osa_to_nm(-1), "-1"),
        (lambda: zernike.noll_to_nm(0), "Noll index 0"),
        (lambda: zernike.zernike_basis(0, 0.0, 0.0), "n_modes"),
        (lambda: zernike.fit(6, np.zeros(3), np.zeros(3), np.zeros(3)), "3 points"),
    ],
)
def test_impossible_modes_are_refused_by_name(call, word):
    """An index that is no mode raises OpticsError that shows it."""
    with pytest.raises(OpticsError, match=word):
        call()
