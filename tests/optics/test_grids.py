"""Grids: where centres lie, and a quadrature of the disk against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.grids import disk_nodes, mask_centres, pixel_centres_um, safe_sqrt, sine_panel
from worlds.lattice import lattice_nodes


def integral(nodes, function):
    return float(np.sum(np.asarray(nodes.weight) * function(np.asarray(nodes.x), np.asarray(nodes.y)[:, None])))


def test_pixel_and_mask_centres():
    """Symmetric about 0; a mask's cells tile its square."""
    np.testing.assert_allclose(pixel_centres_um(4, 0.1), [-0.15, -0.05, 0.05, 0.15])
    np.testing.assert_allclose(pixel_centres_um(3, 0.1), [-0.1, 0.0, 0.1], atol=1e-17)
    np.testing.assert_allclose(mask_centres(4, 2.0), [-1.5, -0.5, 0.5, 1.5])


def test_safe_sqrt_has_a_finite_gradient_at_zero():
    """0 at and below 0 with gradient 0; the ordinary root above."""
    values = jnp.array([-1.0, 0.0, 4.0])
    np.testing.assert_array_equal(safe_sqrt(values), [0, 0, 2])
    np.testing.assert_array_equal(jax.vmap(jax.grad(safe_sqrt))(values), [0, 0, 0.25])


def test_sine_panel_integrates_roots_at_both_ends():
    """The area under a half circle, pi/2, to 1e-12 with 12 nodes, where plain Gauss leaves 1e-4."""
    x, w = sine_panel(-1.0, 1.0, 12)
    assert float(jnp.sum(w * jnp.sqrt(1 - x**2))) == pytest.approx(np.pi / 2, abs=1e-12)


@pytest.mark.parametrize(("n_inner", "n_ring"), [(17, 0), (24, 0), (24, 4), (31, 7)])
def test_nodes_are_symmetric_and_weights_sum_to_the_area(n_inner, n_ring):
    """What the folded transform relies on: mirror images about both axes, to rounding."""
    nodes = disk_nodes(n_inner, n_ring, 0.9, 0.7)
    side = n_inner + 2 * n_ring
    assert nodes.x.shape == nodes.weight.shape == (side, side) and nodes.y.shape == (side,)
    np.testing.assert_allclose(nodes.x, -nodes.x[:, ::-1], atol=1e-15)
    np.testing.assert_allclose(nodes.x, nodes.x[::-1], atol=1e-15)
    np.testing.assert_allclose(nodes.y, -nodes.y[::-1], atol=1e-15)
    np.testing.assert_allclose(nodes.weight, nodes.weight[::-1, ::-1], atol=1e-15)
    assert float(nodes.weight.sum()) == pytest.approx(np.pi * 0.81, rel=5e-5)
    assert float((nodes.x**2 + nodes.y[:, None] ** 2).max()) <= 0.81 * (1 + 1e-12)


def test_polynomials_over_the_disk():
    """Moments of the unit disk, pi/4, pi/24 and 5 pi/64, to 1e-12 without a ring."""
    nodes = disk_nodes(16, 0, 1.0, 9.0)
    assert integral(nodes, lambda x, y: x**2 + 0 * y) == pytest.approx(np.pi / 4, rel=1e-12)
    assert integral(nodes, lambda x, y: x**2 * y**2) == pytest.approx(np.pi / 24, rel=1e-12)
    assert integral(nodes, lambda x, y: y**6 + 0 * x) == pytest.approx(5 * np.pi / 64, rel=1e-12)


@pytest.mark.parametrize("critical", [0.88, 0.97])
def test_roots_on_the_critical_circle(critical):
    """sqrt|c^2 - r^2|, what cos(theta) does at the critical angle: both sides to 2e-5."""
    nodes = disk_nodes(32, 6, 1.0, critical)

    def root(sign):
        return lambda x, y: np.sqrt(np.maximum(sign * (critical**2 - x**2 - y**2), 0))

    assert integral(nodes, root(1)) == pytest.approx(2 * np.pi / 3 * critical**3, abs=2e-5)
    assert integral(nodes, root(-1)) == pytest.approx(2 * np.pi / 3 * (1 - critical**2) ** 1.5, abs=2e-5)
    # a lattice with a hard edge and as many samples misses by a hundred times more
    lattice = lattice_nodes(44, 1.0, 1.0)
    assert abs(integral(lattice, lambda x, y: 1 + 0 * x + 0 * y) - np.pi) > 2e-3


def test_critical_circle_outside_the_rim():
    """The ring's nodes then weigh nothing and the area is still the disk's."""
    nodes = disk_nodes(24, 4, 0.8, 1.3)
    assert float(nodes.weight.sum()) == pytest.approx(np.pi * 0.64, rel=5e-5)
    np.testing.assert_allclose(nodes.weight[:4], 0, atol=1e-15)


def test_area_has_the_right_gradient():
    """d(pi R^2)/dR = 2 pi R, and the split at the critical circle does not change the area."""

    def area(radius, critical):
        return disk_nodes(48, 6, radius, critical).weight.sum()

    by_radius, by_critical = jax.jit(jax.grad(area, argnums=(0, 1)))(0.9, 0.7)
    assert float(by_radius) == pytest.approx(2 * np.pi * 0.9, rel=1e-4)
    assert abs(float(by_critical)) < 1e-4


def test_precision_is_kept():
    """float32 numbers make float32 nodes, even where float64 is on."""
    for n_ring in (0, 3):
        nodes = disk_nodes(16, n_ring, jnp.float32(0.9), jnp.float32(0.7))
        assert {leaf.dtype for leaf in jax.tree.leaves(nodes)} == {jnp.dtype("float32")}
    assert pixel_centres_um(5, jnp.float32(0.1)).dtype == jnp.float32
