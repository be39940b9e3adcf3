"""Joint fits: the model against the renderer, slopes against differences, steps and bounds against dense algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.camera import sample_camera
from optics.fits.crowd import draw_crowd, make_crowd_model, make_frame, misfit, no_emitters, rough
from optics.fits.crowd_fit import (
    crowd_covariance,
    factorise,
    fit_crowd,
    inverse_root,
    slopes_at,
    uphill,
    with_prior,
)
from optics.fits.smooth import even, surface_at
from optics.psf import make_psf
from optics.psf_table import tabulate_psf
from optics.pytree import replace
from optics.render import render_frame
from optics.types import make_camera, make_emitters, make_microscope

SHAPE, PIXEL_UM = (24, 28), 0.11
CAMERA = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.2, quantum_efficiency=0.8)
# two that overlap, one apart, one whose stamp hangs out of the frame
XYZ_UM = np.array([[0.9, 0.8, 0.1], [1.25, 1.0, -0.2], [2.23, 1.9, 0.2], [2.9, 0.3, 0.0]])
PHOTONS = np.array([3000.0, 2000.0, 2500.0, 4000.0])


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=PIXEL_UM)
    return make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=13, pupil_px=24, pixel="centre")


@pytest.fixture(scope="module")
def model(psf):
    table = tabulate_psf(psf, (-0.4, 0.4), reach_px=1.0, tolerance=1e-3)
    return make_crowd_model(table, CAMERA, PIXEL_UM, SHAPE, background_px=10)


@pytest.fixture(scope="module")
def level():
    """A background that rises from 8 to about 20 photons over the frame."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 14 - 4 * np.cos(np.pi * x / SHAPE[1]) - 2 * np.cos(np.pi * y / SHAPE[0])


@pytest.fixture(scope="module")
def truth(model, level):
    """The crowd of the scene in 6 slots, the background's coefficients those that fit it best."""
    both = [np.linalg.pinv(np.asarray(part)) for part in (model.surface.rows, model.surface.columns)]
    frame = make_frame(CAMERA, jnp.zeros(SHAPE), jnp.ones(SHAPE, bool))
    crowd = no_emitters(model, frame, 6)
    return replace(
        crowd,
        xyz_um=crowd.xyz_um.at[:4].set(XYZ_UM),
        photons=crowd.photons.at[:4].set(PHOTONS),
        present=jnp.arange(6) < 4,
        level=jnp.asarray(both[0] @ level @ both[1].T),
        spread=jnp.asarray(4.0),
    )


@pytest.fixture(scope="module")
def expected(psf, level):
    light = jax.jit(lambda e: render_frame(psf, e, SHAPE))(make_emitters(XYZ_UM, PHOTONS))
    return np.asarray(light) + level


@pytest.fixture(scope="module")
def frame(expected):
    adu = sample_camera(jax.random.key(4), CAMERA, jnp.asarray(expected))
    return make_frame(CAMERA, adu, jnp.ones(SHAPE, bool).at[3, 4].set(False))


def test_the_model_is_what_the_renderer_draws(model, truth, expected):
    """Emitters within the table's error of `render_frame`, half pixels and the frame's rim included."""
    drawn = draw_crowd(model, truth)
    assert np.abs(np.asarray(drawn) - expected).max() < 2e-3 * expected.max()


def test_slopes_are_those_of_the_misfit(model, truth, frame):
    """The uphill direction is minus the gradient of half the deviance and the prior, by reverse mode through both."""

    def of(xyz, photons, level):
        crowd = replace(truth, xyz_um=xyz, photons=photons, level=level)
        return misfit(model, frame, draw_crowd(model, crowd)) + rough(model, crowd)

    by_xyz, by_photons, by_level = jax.jit(jax.grad(of, (0, 1, 2)))(truth.xyz_um, truth.photons, truth.level)
    mean = draw_crowd(model, truth)
    at = with_prior(model, truth, slopes_at(model, frame, truth, mean))
    slope = np.asarray(uphill(model, frame, truth, at, mean) / jnp.where(at.scale > 0, at.scale, 1.0))
    emitters = np.concatenate([by_xyz, by_photons[:, None]], axis=1)[:4]
    # 1e-9: sums of some thousand pixels that cancel
    assert np.allclose(-slope[:16].reshape(4, 4), emitters, rtol=1e-9, atol=1e-9 * np.abs(emitters).max())
    assert np.allclose(-slope[24:], np.asarray(by_level).ravel(), rtol=1e-9, atol=1e-9)


def dense(model, truth, frame):
    """All derivatives (J, pixels) of the mean by central differences of the model, the pixels' information, and the
    Fisher matrix with the background's prior."""
    drawn = draw_crowd(model, truth)
    parts = [np.asarray(p) for p in (truth.xyz_um[:4], truth.photons[:4], truth.level)]
    flat = np.concatenate([np.column_stack([parts[0], parts[1]]).ravel(), parts[2].ravel()])

    @jax.jit
    def mean(values):
        emitters = values[:16].reshape(4, 4)
        crowd = replace(
            truth,
            xyz_um=truth.xyz_um.at[:4].set(emitters[:, :3]),
            photons=truth.photons.at[:4].set(emitters[:, 3]),
            level=values[16:].reshape(truth.level.shape),
        )
        return draw_crowd(model, crowd).ravel()

    steps = np.concatenate([np.tile([1e-5, 1e-5, 1e-5, 1e-1], 4), np.full(len(flat) - 16, 1e-3)])
    columns = [
        np.asarray(mean(jnp.asarray(flat + step)) - mean(jnp.asarray(flat - step))) / (2 * s)
        for s, step in zip(steps, np.diag(steps), strict=True)
    ]
    photons = np.asarray(drawn).ravel()
    variance = (0.8 * photons + 1.2**2) / 0.8**2
    known = np.where(np.asarray(frame.valid).ravel(), 1 / variance, 0.0)
    slopes = np.stack(columns)
    prior = np.concatenate([np.zeros(16), np.asarray(model.surface.stiffness).ravel() / 4.0**2])
    return slopes, known, (slopes * known) @ slopes.T + np.diag(prior)


def test_the_step_solves_the_normal_equations(model, truth, frame):
    """The damped step is that of dense algebra on central differences; free slots do not move."""
    mean, damping = draw_crowd(model, truth), 0.3
    at = with_prior(model, truth, slopes_at(model, frame, truth, mean))
    factor = factorise(replace(truth, damping=jnp.asarray(damping)), at, jnp.zeros(at.scale.size, bool))
    step = jax.scipy.linalg.cho_solve((factor, True), uphill(model, frame, truth, at, mean)) * at.scale
    _, _, fisher = dense(model, truth, frame)
    right = np.asarray(uphill(model, frame, truth, at, mean) / jnp.where(at.scale > 0, at.scale, 1.0))
    right = np.concatenate([right[:16], right[24:]])
    wanted = np.linalg.solve(fisher + np.diag(np.diagonal(fisher) * damping), right)
    found, scale = np.asarray(step), 1 / np.sqrt(np.diagonal(fisher))
    # 1e-4: what central differences leave in a matrix of condition 1e4
    found_used = np.concatenate([found[:16], found[24:]])
    assert np.abs((found_used - wanted) / scale).max() < 1e-4 * np.abs(wanted / scale).max()
    assert not found[16:24].any()


def test_covariance_is_the_inverse_of_the_whole_matrix(model, truth, frame):
    """All neighbours and the background unknown: the blocks of a dense inverse of central differences."""
    slopes, known, fisher = dense(model, truth, frame)
    wanted = np.linalg.inv(fisher)
    at = with_prior(model, truth, slopes_at(model, frame, truth, draw_crowd(model, truth)))
    found = np.asarray(crowd_covariance(truth, inverse_root(at), at.scale))
    for k in range(4):
        block = wanted[4 * k : 4 * k + 4, 4 * k : 4 * k + 4]
        size = np.sqrt(np.outer(np.diagonal(block), np.diagonal(block)))
        # 1e-4: the ten roundings on the diagonal, and what differences of 1e-5 um leave
        assert (np.abs(found[k] - block) / size).max() < 1e-4
    assert np.isinf(found[4, 0, 0])
    # a neighbour costs precision: the overlapping emitters are worse off than alone
    alone = np.linalg.inv((slopes[:4] * known) @ slopes[:4].T)
    assert wanted[0, 0] > 1.05 * alone[0, 0]


@pytest.fixture(scope="module")
def fit():
    return jax.jit(fit_crowd)


def test_a_frame_without_noise_gives_the_truth(model, truth, level, fit):
    """From starts off by 30 nm, 100 nm in depth and 20 % in photons every parameter comes back."""
    adu = 100 + 2 * 0.8 * draw_crowd(model, truth)
    start = replace(
        truth,
        xyz_um=truth.xyz_um + jnp.array([[0.03, -0.03, 0.1]]),
        photons=1.2 * truth.photons,
        level=even(model.surface, 12.0),
    )
    found = fit(model, make_frame(CAMERA, adu, jnp.ones(SHAPE, bool)), start, max_steps=60).crowd
    assert (
        np.abs(np.asarray(found.xyz_um - truth.xyz_um)[:4]).max() < 1e-3
    )  # a gain of 0.02 is far from a sigma of 8 nm
    # the prior pulls the background a little towards its mean, most where an emitter hangs out of the frame
    assert np.abs(np.asarray(found.photons / truth.photons)[:4] - 1).max() < 5e-3
    # the prior holds the background back by less than what noise does to one parameter: half a unit of misfit
    assert found.misfit < 0.5
    assert np.abs(np.asarray(surface_at(model.surface, found.level)) - level).max() < 0.5


def test_noise_scatters_fits_as_predicted(model, truth, expected, fit):
    """120 noisy frames: each parameter's spread over its predicted standard deviation is 1 within 4 sigma (0.26)."""
    keys = jax.random.split(jax.random.key(0), 120)
    adu = jax.vmap(lambda key: sample_camera(key, CAMERA, jnp.asarray(expected)))(keys)

    def one(adu):
        frame = make_frame(CAMERA, adu, jnp.ones(SHAPE, bool))
        fit = fit_crowd(model, frame, truth, 30)
        std = jnp.sqrt(jnp.diagonal(fit.covariance, axis1=1, axis2=2))
        return fit.crowd.xyz_um, fit.crowd.photons, std, fit.crowd.misfit

    xyz, photons, std, left = jax.jit(lambda frames: jax.lax.map(one, frames))(adu)
    found = np.concatenate([xyz, photons[..., None]], axis=2)[:, :4]
    error = found - np.column_stack([truth.xyz_um, truth.photons])[:4]
    ratio = np.sqrt(np.mean((error / np.asarray(std)[:, :4]) ** 2, axis=0))
    assert np.abs(ratio - 1).max() < 0.26
    # half a unit of misfit for each pixel less one for each parameter; of the background's a frame determines a few
    free = SHAPE[0] * SHAPE[1] - 16
    assert 0.97 * (free - truth.level.size) / 2 < float(left.mean()) < 1.03 * free / 2
