"""Limits of fabrication: closed forms, exact obedience, rounding that lets gradients through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.masks.library import zernike
from optics.masks.limits import (
    MaskLimits,
    check_limits,
    largest_step_um,
    path_range_um,
    roughness,
    round_to_levels,
    shrink_factor,
    violation,
)
from optics.pytree import replace
from optics.types import OpticsError, make_mask


def test_roughness_of_defocus_is_its_laplacian():
    """a sqrt(3) (2 r^2 - 1) has the Laplacian 8 sqrt(3) a everywhere, whatever the grid."""
    waves = 0.2
    expected = (8 * np.sqrt(3) * waves * 0.1**2) ** 2
    for size in (64, 160):
        x = (np.arange(size) + 0.5) / size * 2 - 1
        surface = 0.6 * waves * np.sqrt(3) * (2 * (x[:, None] ** 2 + x[None, :] ** 2) - 1)
        mask = make_mask(surface, design_wavelength_um=0.6)
        assert float(roughness(mask)) == pytest.approx(expected, rel=1e-9)


def test_steps_and_range_are_those_inside_the_pupil():
    """Against numpy's differences over the pupil; a cliff in the corner does not count."""
    size = 40
    x = (np.arange(size) + 0.5) / size * 2 - 1
    surface = 0.3 * x[None, :] ** 2 + 0.1 * x[:, None]
    surface[:4, :4] = 50.0
    mask = make_mask(surface, design_wavelength_um=0.6)
    inside = np.hypot(x[None, :], x[:, None]) < 1 + 2.83 / size
    across = np.abs(np.diff(surface, axis=1))[inside[:, 1:] & inside[:, :-1]].max()
    down = np.abs(np.diff(surface, axis=0))[inside[1:] & inside[:-1]].max()
    assert float(largest_step_um(mask)) == pytest.approx(max(across, down))
    assert float(path_range_um(mask)) == pytest.approx(np.ptp(surface[inside]))


def test_a_mask_within_its_limits_costs_nothing_and_one_beyond_shrinks_to_them():
    mask = zernike([(4, 2, 0.1), (2, 2, -0.05)], size=48)
    kept = MaskLimits(step_um=1.0, range_um=2.0)
    assert float(violation(mask, kept)) == 0 and float(shrink_factor(mask, kept)) == 1
    tight = MaskLimits(step_um=0.01, range_um=0.3)
    assert float(violation(mask, tight)) > 0
    shrunk = replace(mask, opd_um=shrink_factor(mask, tight) * mask.opd_um)
    assert float(largest_step_um(shrunk)) <= 0.01 and float(path_range_um(shrunk)) <= 0.3
    assert max(float(largest_step_um(shrunk)) / 0.01, float(path_range_um(shrunk)) / 0.3) > 1 - 1e-6


def test_rounded_paths_are_levels_and_pass_the_gradient():
    """Whole multiples of the level above the lowest cell, never above the range; the gradient is the identity's."""
    mask = zernike([(4, 2, 0.1)], size=32)
    limits = MaskLimits(level_um=0.07, range_um=float(path_range_um(mask)))
    stepped = round_to_levels(mask, limits)
    x = (np.arange(32) + 0.5) / 16 - 1
    inside = np.hypot(x[None, :], x[:, None]) < 1
    levels = np.asarray(stepped.opd_um)[inside] / 0.07
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-9)
    assert float(path_range_um(stepped)) <= limits.range_um + 1e-12
    slope = jax.grad(lambda path: round_to_levels(replace(mask, opd_um=path), limits).opd_um.sum())(mask.opd_um)
    np.testing.assert_array_equal(slope, np.ones_like(slope))
    assert round_to_levels(mask, MaskLimits()) is mask


@pytest.mark.parametrize(
    "limits, wrapped, message",
    [
        (MaskLimits(step_um=0.0), False, "limits.step_um = 0 must be positive"),
        (MaskLimits(range_um=-1.0), False, "limits.range_um = -1 must be positive"),
        (MaskLimits(level_um=float("inf")), False, "limits.level_um = inf must not exceed"),
        (MaskLimits(level_um=0.5, range_um=0.2), False, "must not exceed range_um"),
        (MaskLimits(range_um=1.0), True, "mean nothing for a wrapped mask"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(limits, wrapped, message):
    with pytest.raises(OpticsError, match=message):
        check_limits(limits, wrapped)


def test_no_gradient_is_nan_at_a_flat_mask():
    """A search may begin there."""
    mask = zernike([(4, 2, 0.0)], size=16)
    limits = MaskLimits(step_um=0.1, range_um=0.3)

    def cost(path):
        return roughness(replace(mask, opd_um=path)) + violation(replace(mask, opd_um=path), limits)

    assert bool(jnp.isfinite(jax.jit(jax.grad(cost))(mask.opd_um)).all())
