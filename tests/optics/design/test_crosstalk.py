"""Crosstalk of images: closed form of Gaussian spots, what it says of a random crowd, gradient against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from optics.design import images_crosstalk_um2, make_target, objective_um, random_start
from optics.design.target import target_crosstalk_um2
from optics.masks.params import ZernikePhase
from optics.psf import make_psf
from optics.pytree import replace
from optics.types import OpticsError, make_microscope

KEY = jax.random.key(0)


def spot(sigma_px, side=61, apart_px=0.0):
    """A Gaussian spot, or two of them, in the middle of a picture."""
    y, x = np.indices((side, side)) - side // 2
    halves = [np.exp(-((x - s * apart_px / 2) ** 2 + y**2) / (2 * sigma_px**2)) for s in (-1, 1)]
    return halves[0] + halves[1]


def by_transform(images, beyond_px):
    """Every distance of every pair, by numpy's transforms: (Z, Z, 2K, 2K) correlations squared and summed."""
    side = images.shape[-1]
    bare = images - images.mean(axis=(1, 2), keepdims=True)
    spectra = np.fft.fft2(bare / np.linalg.norm(bare, axis=(1, 2), keepdims=True), (2 * side, 2 * side))
    alike = np.fft.ifft2(spectra[:, None] * spectra[None].conj()).real
    shift = np.fft.fftfreq(2 * side, 1 / (2 * side))
    far = np.hypot(shift[:, None], shift[None, :]) > beyond_px
    return np.mean(np.sum(np.where(far, alike, 0) ** 2, axis=(2, 3)))


def test_gaussian_spots_have_their_closed_form():
    """c of widths a and b is 2 a b / (a^2 + b^2) exp(-d^2 / 2 (a^2 + b^2)); what the mean takes off is below 2 %."""
    a, b = np.meshgrid([2.0, 3.0], [2.0, 3.0])
    expected = np.mean((2 * a * b / (a**2 + b**2)) ** 2 * np.pi * (a**2 + b**2))
    images = jnp.asarray(np.stack([spot(2.0, 161), spot(3.0, 161)]))
    assert float(images_crosstalk_um2(images, 1.0, -1)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("beyond_px", [0, 4])
def test_distances_that_are_left_out(beyond_px):
    images = np.stack([spot(1.5, 21, 8.0), spot(2.0, 21), np.random.default_rng(0).uniform(size=(21, 21))])
    found = float(images_crosstalk_um2(jnp.asarray(images), 0.5, beyond_px))
    assert found == pytest.approx(0.25 * by_transform(images, beyond_px), rel=1e-9)


def test_a_random_crowd_answers_the_filter_with_it():
    """Campbell: the answers of emitters of density rho at a random place have the mean square rho X."""
    density, field = 0.02, 700  # per pixel
    images = np.stack([spot(1.5, 41, 12.0), spot(2.0, 41), spot(1.2, 41, 18.0)])
    bare = images - images.mean(axis=(1, 2), keepdims=True)
    unit = bare / np.linalg.norm(bare, axis=(1, 2), keepdims=True)
    rng = np.random.default_rng(0)
    convolve = scipy.signal.fftconvolve
    crowd = sum(convolve(rng.poisson(density / 3, (field, field)).astype(float), one, mode="same") for one in unit)
    answers = [convolve(crowd, one[::-1, ::-1], mode="same")[50:-50, 50:-50] for one in unit]
    crosstalk = float(images_crosstalk_um2(jnp.asarray(images), 1.0, -1))
    assert np.mean(np.square(answers)) == pytest.approx(density * crosstalk, rel=0.05)


def test_its_slope_is_that_of_differences():
    """By the widths of two spots, in float64."""
    squares = jnp.asarray(np.sum((np.indices((15, 15)) - 7) ** 2, axis=0).astype(float))

    def value(widths):
        return images_crosstalk_um2(jnp.exp(-squares[None] / (2 * widths[:, None, None] ** 2)), 1.0, 2)

    at, h = jnp.array([1.3, 1.8]), 1e-5
    value_of, slope = jax.jit(value), jax.jit(jax.grad(value))(at)
    differences = [(value_of(at + h * step) - value_of(at - h * step)) / (2 * h) for step in np.eye(2)]
    np.testing.assert_allclose(slope, differences, rtol=1e-7)


@pytest.mark.slow  # the bound and its slope through optics: 20 s
def test_the_objective_counts_it_and_has_the_gradient_of_differences():
    """Bound times exp(w X); by mask parameters and focus, in float64: 1e-6 of the gradient's length."""
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    family = ZernikePhase(n_modes=8, size=64, design_wavelength_um=0.6)
    psf = make_psf(scope, image_px=17, pupil_px=16, pixel="centre", kind="scalar")
    goal = make_target((-0.5, 0.6), photons=2000, background=8, n_depths=2, crosstalk_weight=3.0)

    def value(x):
        moved = replace(psf.microscope, focus_um=x[-1])
        return jnp.log(objective_um(KEY, replace(psf, microscope=moved, mask=family.to_mask(x[:-1])), goal))

    at = jnp.append(random_start(KEY, family), 0.1)
    value_of, slope = jax.jit(value), np.asarray(jax.jit(jax.grad(value))(at))
    direction = np.asarray(jax.random.normal(jax.random.key(1), at.shape))
    for along in (direction, np.eye(at.size)[-1]):
        h = 2e-4
        near, far = (value_of(at + k * h * along) - value_of(at - k * h * along) for k in (1, 2))
        assert abs((8 * near - far) / (12 * h) - slope @ along) < 1e-6 * np.linalg.norm(slope)
    more = objective_um(KEY, psf, goal) / objective_um(KEY, psf, replace(goal, crosstalk_weight=None))
    assert float(more) == pytest.approx(np.exp(3.0 * float(target_crosstalk_um2(psf, goal))), rel=1e-9)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_a_weight_that_makes_no_sense_is_refused(weight):
    with pytest.raises(OpticsError, match="crosstalk_weight"):
        make_target((0, 1), photons=1e3, background=1.0, crosstalk_weight=weight)
