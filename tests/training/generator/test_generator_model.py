"""The generator model: light against the renderer, presence by enumeration, noise and means against samples."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from made.made_model import CONFIG, FITTED, MODEL, POSTERIOR, PSF, SHAPE
from optics import adu_to_photons, make_camera, make_emitters, render_frame, sample_camera
from optics.pytree import replace
from training.generator.model import compose, expected_components, photon_variance, render_emitters
from training.generator.posterior import Normal, posterior_mean, sample_posterior

render = jax.jit(lambda xyz_um, photons, presence: render_emitters(MODEL, xyz_um, photons, presence, SHAPE))
render_exactly = jax.jit(lambda emitters: render_frame(PSF, emitters, SHAPE))


def test_light_is_the_renderers():
    """Emitters rendered from the table are those of the exact renderer, to the table's error."""
    xyz = jnp.array([[0.83, 0.92, 0.1], [1.7, 1.2, 0.25]])
    photons = jnp.array([900.0, 400.0])
    light, ambiguity = render(xyz, photons, jnp.ones(2))
    exact = render_exactly(make_emitters(xyz, photons))
    np.testing.assert_allclose(light, exact, atol=2e-3 * float(exact.max()))
    assert float(ambiguity.max()) == 0


def test_expectation_over_presence_is_exact():
    """The mean squared residual over all subsets of present emitters equals that of the mean plus the ambiguity."""
    xyz = jnp.array([[0.8, 0.9, 0.1], [1.1, 1.0, 0.2], [1.7, 1.2, 0.25]])
    photons, p = jnp.array([900.0, 400.0, 600.0]), np.array([0.7, 0.2, 0.95])
    mean, ambiguity = render(xyz, photons, jnp.asarray(p))
    frame = jax.random.normal(jax.random.key(0), SHAPE) * 5 + 10
    total = 0.0
    for on in itertools.product([0, 1], repeat=3):
        weight = np.prod([a if b else 1 - a for a, b in zip(p, on, strict=True)])
        light, _ = render(xyz, photons, jnp.asarray(on, float))
        total = total + weight * (frame - light) ** 2
    np.testing.assert_allclose((frame - mean) ** 2 + ambiguity, total, rtol=1e-9, atol=1e-9)


def test_variance_is_the_cameras():
    """Noise of the camera's own samples, converted to photons, has the stated variance (100 000 readings, 1.5 %)."""
    camera = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=3.0, quantum_efficiency=0.8)
    rate = jnp.full((100_000,), 25.0)
    sample = jax.jit(lambda key: adu_to_photons(camera, sample_camera(key, camera, rate)))(jax.random.key(0))
    np.testing.assert_allclose(photon_variance(camera, jnp.asarray(25.0)), sample.var(), rtol=0.015)


def test_sampling_is_reproducible_and_spreads_as_stated():
    """Same key, same sample; 4000 samples of x and log photons have the posterior's mean and width (to 5 %)."""
    sample = jax.jit(jax.vmap(lambda key: sample_posterior(key, MODEL.ranges, POSTERIOR)))
    keys = jax.random.split(jax.random.key(0), 4000)
    samples, again = sample(keys), sample(keys[7:8])
    np.testing.assert_array_equal(samples.xyz_um[7], again.xyz_um[0])
    np.testing.assert_allclose(samples.xyz_um[:, 0, 0].std(), 0.01, rtol=0.05)
    np.testing.assert_allclose(jnp.log(samples.photons[:, 1]).mean(), 7.0, atol=0.005)


def test_expected_light_is_the_mean_of_a_log_normal_level():
    """Where log levels are normal (networks that add nothing yet), exp(m + s^2 / 2) is expected, not exp(m): 4000
    samples, 1 % (a standard error of 0.2 % in the mean over cells). The level of the mean latents is 22 % too dark."""
    cells = (*CONFIG.grid(SHAPE), CONFIG.background_channels)
    wide = replace(POSTERIOR, background=Normal(jnp.full(cells, 0.2), jnp.full(cells, np.log(0.7))))
    parts = jax.jit(lambda key: expected_components(key, FITTED, wide, SHAPE, samples=4000))(jax.random.key(1))
    np.testing.assert_allclose(parts.background.mean(), 20.0 * np.exp(0.2 + 0.7**2 / 2), rtol=0.01)
    dark = jax.jit(lambda: compose(FITTED, posterior_mean(MODEL.ranges, wide), SHAPE))().background
    np.testing.assert_allclose(dark, 20.0 * np.exp(0.2), rtol=1e-6)
