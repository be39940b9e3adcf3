"""The model that a retrieval descends on: its gradient, the lines it solves, and beads that are not points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import make_microscope, make_psf, psf_image
from optics.pytree import replace
from optics.retrieval.model import (
    Slices,
    amplitude_scale,
    line_fit,
    misfit_loss,
    pupil_plate,
    slice_images,
    start_params,
)

WATER = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
OIL = make_microscope(na=1.4, n_immersion=1.515, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
RNG = np.random.default_rng(0)


def test_lines_are_numpy_s_least_squares():
    """Signal and background of each slice against numpy.linalg.lstsq, pixels without weight among them."""
    images, model = RNG.normal(size=(2, 5, 9, 9))
    weight = RNG.random((5, 9, 9)) * (RNG.random((5, 9, 9)) > 0.2)
    signal, background = line_fit(*(jnp.asarray(a) for a in (images, model, weight)))
    for z in range(5):
        root = np.sqrt(weight[z].ravel())
        columns = np.stack([model[z].ravel(), np.ones(81)], axis=1)
        expected = np.linalg.lstsq(root[:, None] * columns, root * images[z].ravel(), rcond=None)[0]
        np.testing.assert_allclose([signal[z], background[z]], expected, rtol=1e-10)


def loss_parts():
    """A loss in float64 of six slices and two beads, away from its minimum, and its parameters."""
    template = make_psf(OIL, image_px=9, kind="scalar", pupil_px=14, ring_px=5, blur_um=0.1)
    focus = jnp.linspace(-0.5, 0.5, 6)
    params = start_params(2, 16, amplitude_modes=6, blur_um=0.12, seed=1)
    params = {name: jnp.asarray(value, dtype=float) for name, value in params.items()}
    for name, size in {"phase": 0.7, "log_amplitude": 0.5, "xy_um": 0.05, "focus_um": 0.2, "tilt": 0.02}.items():
        params[name] = params[name] + size * RNG.normal(size=params[name].shape)
    params["step"] = jnp.asarray(0.02)
    slices = Slices(
        images=jnp.asarray(RNG.normal(size=(6, 9, 9)) + 5 * (RNG.random((6, 9, 9)) > 0.9)),
        weight=jnp.asarray(RNG.random((6, 9, 9)) / 81),
        focus_um=focus,
        bead=jnp.array([0, 0, 0, 1, 1, 1]),
    )
    return template, params, slices


def test_the_slope_of_the_loss_is_that_of_finite_differences():
    """Along a direction in each parameter in turn, in float64; the misfit is the loss without its priors."""
    template, params, slices = loss_parts()

    @jax.jit
    def loss(params):
        return misfit_loss(params, slices, template, jnp.mean(slices.focus_um), 0.03, cells=16, radius_um=0.1)

    slope = jax.jit(jax.grad(lambda p: loss(p)[0]))(params)
    step = 1e-5
    for name, value in params.items():
        direction = RNG.normal(size=value.shape)
        ends = [float(loss({**params, name: value + sign * step * direction})[0]) for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * step)
        found = float(np.sum(np.asarray(slope[name]) * direction))
        assert found == pytest.approx(expected, rel=2e-6, abs=1e-9), name
    whole, misfit = loss(params)
    assert 0 < float(misfit) < float(whole)


def one(radius_um, blur_um=0.08):
    params = start_params(1, 16, amplitude_modes=0, blur_um=blur_um, seed=0)
    params = {name: jnp.asarray(value, dtype=float) for name, value in params.items()}
    template = make_psf(WATER, image_px=21, blur_um=blur_um, z_range_um=(-0.9, 0.9))
    focus = jnp.array([-0.4, 0.3])

    def images(params):
        bead = jnp.zeros(2, int)
        return slice_images(template, params, focus, bead, cells=16, centre_um=jnp.asarray(0.0), radius_um=radius_um)

    return np.asarray(jax.jit(images)({**params, "phase": jnp.zeros((16, 16))})), template, focus


@pytest.mark.parametrize("radius_um, tolerance", [(0.02, 3e-4), (0.1, 3e-3)])
def test_a_bead_s_size(radius_um, tolerance):
    """Against the mean of point images over a ball on the coverslip, to a part `tolerance` of the highest pixel.

    A small bead has one plane and no depth: (radius / sqrt(5))^2 over the square of half a depth of focus, 3e-4.
    """
    modelled, template, focus = one(radius_um)
    # the ball as 5 discs (Gauss-Legendre in height) of 2 rings (Gauss in the square of the radius) of 6 points
    height, share = np.polynomial.legendre.leggauss(5)
    ring, part = np.polynomial.legendre.leggauss(2)
    points, weights = [], []
    for h, w in zip(height, share * (1 - height**2), strict=True):
        for r, v in zip(np.sqrt((1 + ring) / 2 * (1 - h**2)), part, strict=True):
            for angle in np.arange(6) * np.pi / 3:
                points.append(radius_um * np.array([r * np.cos(angle), r * np.sin(angle), 1 + h]))
                weights.append(w * v)
    weights = np.array(weights) / np.sum(weights)

    @jax.jit
    def ball(focus_um):
        psf = replace(template, microscope=replace(WATER, focus_um=focus_um))
        shapes = jax.lax.map(lambda at: psf_image(psf, at), jnp.asarray(np.array(points)))
        return jnp.tensordot(jnp.asarray(weights), shapes, 1)

    for z in range(2):
        direct = np.asarray(ball(focus[z])) * 21**2
        np.testing.assert_allclose(modelled[z], direct, atol=tolerance * direct.max())


def test_the_amplitude_reaches_one_and_goes_on_beyond_the_rim():
    """Whatever its modes; the first, piston, changes nothing; without modes the pupil is even."""
    params = start_params(1, 24, amplitude_modes=10, blur_um=0.1, seed=0)
    params["log_amplitude"] = jnp.asarray(RNG.normal(size=10), jnp.float32)
    plate = pupil_plate(params, jnp.asarray(0.6), 24)
    assert float(plate.transmission.max()) == 1 and float(plate.transmission.min()) > 0
    lifted = {**params, "log_amplitude": params["log_amplitude"].at[0].add(3.0)}
    np.testing.assert_array_equal(pupil_plate(lifted, jnp.asarray(0.6), 24).transmission, plate.transmission)
    scale = np.asarray(amplitude_scale(10))
    assert scale[0] == 0 and (np.diff(scale[1:]) <= 0).all()
    bare = pupil_plate(start_params(1, 24, amplitude_modes=0, blur_um=0.1, seed=0), jnp.asarray(0.6), 24)
    assert (np.asarray(bare.transmission) == 1).all()
