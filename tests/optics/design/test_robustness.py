"""Wrong masks against closed forms, and scores that know what does not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import make_mask, make_microscope, make_psf, replace
from optics.design.robustness import image_correlation, mask_scores, misaligned, strehl, uneven
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import etch, etched_mask
from optics.masks.library import astigmatism, zernike
from optics.masks.sampling import mask_grid, rotate_180

COMA = zernike([(3, 1, 0.05), (2, -2, 0.03)], design_wavelength_um=0.6, size=96)
wrong = jax.jit(misaligned)


def inside(size, radius):
    x, y = mask_grid(size)
    return np.hypot(np.asarray(x), np.asarray(y)) < radius


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    return make_psf(scope, mask=astigmatism(0.08, design_wavelength_um=0.6, size=48), image_px=17, pixel="centre")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_misaligned_mask_is_the_surface_elsewhere(wrapped):
    """A quadratic path, moved, turned and grown: equal to its formula at the moved points (bilinear: 2e-4 um)."""
    x, y = (np.asarray(u) for u in mask_grid(96))

    def path(x, y):
        return 0.1 * x + 0.15 * x * y - 0.05 * y**2

    mask = make_mask(path(x, y), design_wavelength_um=0.6, wrapped=wrapped)
    moved = wrong(mask, shift=(0.04, -0.03), rotation_rad=0.1, magnification=1.03)
    u, v = (x - 0.04) / 1.03, (y + 0.03) / 1.03
    u, v = np.cos(0.1) * u + np.sin(0.1) * v, np.cos(0.1) * v - np.sin(0.1) * u
    light = inside(96, 0.9)
    np.testing.assert_allclose(np.asarray(moved.opd_um)[light], path(u, v)[light], atol=2e-4)
    np.testing.assert_allclose(moved.transmission[light], 1, atol=1e-12)


def test_no_error_and_half_a_turn_are_exact():
    """Nothing moved is the mask itself; pi is `rotate_180`; a stop moves with its mask."""
    np.testing.assert_allclose(wrong(COMA).opd_um, COMA.opd_um, atol=1e-12)
    turned = wrong(COMA, rotation_rad=np.pi)
    np.testing.assert_allclose(turned.opd_um, rotate_180(COMA).opd_um, atol=1e-9)
    stop = replace(COMA, transmission=jnp.asarray(inside(96, 0.5), float))
    moved = wrong(stop, shift=(2 / 48, 0.0))
    np.testing.assert_allclose(moved.transmission[:, 4:-4], stop.transmission[:, 2:-6], atol=1e-9)


def test_uneven_adds_the_error_that_it_says():
    """rms over the pupil within 1 %, no piston, another key another error."""
    errors = [np.asarray(uneven(jax.random.key(k), COMA, 0.03).opd_um - COMA.opd_um) for k in range(3)]
    light = inside(96, 1.0)
    for error in errors:
        assert error[light].std() == pytest.approx(0.03, rel=0.01) and abs(error[light].mean()) < 1e-3
    assert np.abs(errors[0] - errors[1]).max() > 0.01


def test_strehl_is_the_efficiency_of_levels():
    """A grating of 8 waves over the pupil in 4 levels: 81 % (the disc cuts its lines); itself: 1."""
    x, _ = mask_grid(512)
    blaze = make_mask(0.6 * 4 * np.asarray(x), design_wavelength_um=0.6)
    made = etched_mask(etch(blaze, fused_silica(), levels=4, wrap=True))
    assert float(strehl(made, blaze)) == pytest.approx(np.sinc(1 / 4) ** 2, abs=5e-3)
    assert float(strehl(blaze, blaze)) == pytest.approx(1, abs=1e-12)


def test_a_small_error_costs_strehl_by_marechal():
    """exp(-sigma^2) for an error of sigma radians rms, 1 % at 0.15 rad."""
    error_um = 0.15 * 0.6 / (2 * np.pi)
    lost = 1 - float(strehl(uneven(jax.random.key(1), COMA, error_um), COMA))
    assert lost == pytest.approx(1 - np.exp(-(0.15**2)), rel=0.02)


def test_scores_turn_with_the_mask(psf):
    """A quarter turn of astigmatism: the picture turned, the bounds of x and y swapped, to the pupil's quadrature."""
    scores = jax.jit(mask_scores)
    bound, image = scores(psf, jnp.array([-0.3, 0.2]), 2000.0, 10.0)
    quarter = replace(psf, mask=misaligned(psf.mask, rotation_rad=np.pi / 2))
    turned_bound, turned = scores(quarter, jnp.array([-0.3, 0.2]), 2000.0, 10.0)
    np.testing.assert_allclose(turned, np.swapaxes(image, 1, 2), atol=1e-3 * float(image.max()))
    np.testing.assert_allclose(turned_bound, bound[:, [1, 0, 2]], rtol=2e-3)
    assert (np.asarray(image_correlation(image, turned)) < 0.9).all()
    np.testing.assert_allclose(image_correlation(image, 3 * image + 1), 1, rtol=1e-12)


def test_misalignment_is_differentiable(psf):
    """d(path)/d(shift, angle, scale) against central differences, at a place where cells do not change."""

    def total(shift, angle, scale):
        return (misaligned(COMA, shift=shift, rotation_rad=angle, magnification=scale).opd_um ** 2).sum()

    at = (jnp.array([0.0303, -0.0207]), 0.0511, 1.0201)
    slopes = jax.grad(total, (0, 1, 2))(*at)
    h = 1e-7
    finite = [(total(at[0], at[1] + h, at[2]) - total(at[0], at[1] - h, at[2])) / (2 * h)]
    finite.append((total(at[0], at[1], at[2] + h) - total(at[0], at[1], at[2] - h)) / (2 * h))
    np.testing.assert_allclose(slopes[1:], finite, rtol=1e-5)
