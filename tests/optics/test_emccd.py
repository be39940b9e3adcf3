"""The EMCCD: its samples against closed forms, its likelihood against quadrature and against draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from optics.camera import (
    adu_to_photons,
    electron_variance,
    log_likelihood,
    photons_to_adu,
    sample_camera,
    sample_camera_differentiable,
    variance_adu,
)
from optics.types import OpticsError, make_camera
from training import CameraConfig, ConfigError, build_camera, from_dict

RANKS = "allow"  # a camera's maps (H, W) are those of every frame (N, H, W)
DRAWS = 60_000
GAIN, OFFSET, EM = 0.05, 100.0, 200.0  # ADU per photo-electron: 10

draw = jax.jit(sample_camera)
smooth = jax.jit(sample_camera_differentiable)
likely = jax.jit(log_likelihood)
slopes = jax.jit(jax.grad(lambda camera, adu, photons: log_likelihood(camera, adu, photons).sum(), (0, 2)))


def camera(read_e=0.25, **changes):
    """`read_e` in photo-electrons, before the multiplication."""
    numbers = {"gain_adu_per_e": GAIN, "offset_adu": OFFSET, "read_noise_e": read_e * EM, "em_gain": EM}
    return make_camera(**{**numbers, "kind": "emccd", **changes})


def density(reading, mean, read):
    """Poisson -> gamma -> Gaussian in photo-electrons, by adaptive quadrature over the multiplied charge."""

    def charge(y):
        root = np.sqrt(mean) - np.sqrt(y)
        law = np.sqrt(mean / y) * special.ive(1, 2 * np.sqrt(mean * y)) * np.exp(-(root**2))
        return law * stats.norm.pdf(reading - y, 0, read)

    low, high = max(0.0, reading - 12 * read), max(reading, 0.0) + 12 * read
    multiplied = integrate.quad(charge, low, high, epsabs=0, epsrel=1e-11, limit=400, points=[max(reading, low)])[0]
    return np.exp(-mean) * stats.norm.pdf(reading, 0, read) + multiplied


@pytest.mark.parametrize("sample", [draw, smooth])
def test_samples_have_the_mean_and_twice_the_shot_variance(sample):
    """60 000 draws: mean and variance within five standard errors of the closed form, spurious charge included."""
    noisy = camera(quantum_efficiency=0.8, spurious_e=0.5)
    for photons in (0.0, 3.0, 60.0, 2000.0):
        electrons = 0.8 * photons + 0.5
        mean, variance = OFFSET + GAIN * EM * electrons, (GAIN * EM) ** 2 * (2 * electrons + 0.25**2)
        np.testing.assert_allclose([photons_to_adu(noisy, photons), variance_adu(noisy, photons)], [mean, variance])
        np.testing.assert_allclose(adu_to_photons(noisy, mean), photons, atol=1e-12)
        draws = np.asarray(sample(jax.random.key(3), noisy, jnp.full(DRAWS, photons)))
        assert abs(draws.mean() - mean) < 5 * np.sqrt(variance / DRAWS)
        # fourth cumulant of a Poisson sum of exponentials of mean 1: 4! electrons
        error = np.sqrt((2 * variance**2 + (GAIN * EM) ** 4 * 24 * electrons) / DRAWS)
        assert abs(draws.var() - variance) < 5 * error + 1e-3 * (GAIN * EM) ** 2


def test_the_excess_noise_factor_is_that_of_the_draws():
    """Without read noise var / mean is 2 within 2 %; an sCMOS camera of the same numbers has 1."""
    for kind, factor, em_gain in (("emccd", 2.0, EM), ("scmos", 1.0, None)):
        made = make_camera(kind=kind, em_gain=em_gain)
        electrons = np.asarray(draw(jax.random.key(4), made, jnp.full(DRAWS, 30.0))) / (em_gain or 1)
        assert electrons.var() / electrons.mean() == pytest.approx(factor, rel=0.02)
        assert float(electron_variance(made, 30.0)) == factor * 30


@pytest.mark.parametrize("read_e", [0.05, 0.3, 1.0, 3.0])
def test_the_likelihood_is_the_convolution(read_e):
    """Relative 1e-6 of scipy's quadrature from 3 sigma below to 5 above, 0.02 to 200 electrons."""
    for mean in (0.02, 0.5, 3.0, 20.0, 200.0):
        spread = np.sqrt(2 * mean + read_e**2)
        reading = np.linspace(max(mean - 3 * spread, -5 * read_e), mean + 5 * spread, 12)
        got = likely(camera(read_e), OFFSET + GAIN * EM * reading, mean)
        truth = [density(value, mean, read_e) for value in reading]
        np.testing.assert_allclose(np.exp(got), truth, rtol=1e-6)


@pytest.mark.parametrize("read_e", [0.1, 0.5, 2.0])
def test_the_likelihood_integrates_to_one_with_the_shared_moments(read_e):
    """Total, mean and variance of the density within 1e-6 of 1, the mean and `electron_variance`."""
    for mean in (0.05, 4.0, 150.0):
        spread = np.sqrt(2 * mean + read_e**2)
        reading = np.linspace(-9 * read_e, mean + 12 * spread + 25, 20_001)
        p = np.exp(np.asarray(likely(camera(read_e), OFFSET + GAIN * EM * reading, mean)))
        total, first = (np.trapezoid(p * reading**k, reading) for k in (0, 1))
        second = np.trapezoid(p * (reading - mean) ** 2, reading)
        np.testing.assert_allclose([total, first], [1, mean], rtol=1e-6)
        np.testing.assert_allclose(second, electron_variance(camera(read_e), mean), rtol=1e-6)


def test_draws_follow_the_likelihood():
    """At 1.5 electrons a chi-squared test on 60 000 draws does not tell them from the density (p > 1e-3)."""
    made = camera(0.3)
    draws = (np.asarray(draw(jax.random.key(5), made, jnp.full(DRAWS, 1.5))) - OFFSET) / (GAIN * EM)
    edges = np.linspace(-1.0, 8.0, 46)
    fine = np.linspace(edges[:-1], edges[1:], 21)
    p = np.trapezoid(np.exp(np.asarray(likely(made, OFFSET + GAIN * EM * fine, 1.5))), fine, axis=0)
    counted = np.histogram(draws, edges)[0]
    expected = DRAWS * np.append(p, 1 - p.sum())
    assert stats.chisquare(np.append(counted, DRAWS - counted.sum()), expected).pvalue > 1e-3


def test_gradients_equal_central_differences():
    """The likelihood by photons and by every camera number, float64, relative 1e-6."""
    photons, adu = jnp.array([0.02, 0.5, 8.0, 300.0]), jnp.array([98.0, 101.5, 190.0, 2900.0])
    made = camera(0.3, quantum_efficiency=0.9, spurious_e=0.1)
    by_camera, by_photons = slopes(made, adu, photons)
    leaves, tree = jax.tree.flatten((made, photons))
    for i, gradient in enumerate(jax.tree.leaves((by_camera, by_photons))):
        h = 1e-5 * jnp.maximum(jnp.abs(leaves[i]), 0.1)
        totals = []
        for sign in (1, -1):
            moved, light = jax.tree.unflatten(tree, [*leaves[:i], leaves[i] + sign * h, *leaves[i + 1 :]])
            totals.append(likely(moved, adu, light))
        slope = (totals[0] - totals[1]) / (2 * h)
        np.testing.assert_allclose(gradient, slope if gradient.ndim else slope.sum(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("read_e", [0.0, 0.25, 20.0])
def test_likelihood_and_slopes_are_finite_everywhere(read_e, dtype):
    """Dark pixels, saturated ones, readings far below the offset, no read noise: no NaN, no Inf, no promotion."""
    made = jax.tree.map(lambda leaf: leaf.astype(dtype), camera(read_e))
    adu, photons = np.meshgrid([-6e4, 0.0, 99.0, 100.0, 101.0, 6e4], [0.0, 1e-9, 0.5, 40.0, 1e5])
    adu, photons = jnp.asarray(adu, dtype), jnp.asarray(photons, dtype)
    value = likely(made, adu, photons)
    assert value.dtype == dtype and bool(jnp.isfinite(value).all())
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slopes(made, adu, photons)))
    # a dark pixel that reads its offset: d log p / d photons = -1 + (multiplied share), between -1 and 0
    assert -1 <= float(slopes(made, dtype(100.0), dtype(0.0))[1]) <= 0


def test_maps_and_frames_broadcast():
    """(H, W) maps beside the scalar multiplication, frames on leading axes."""
    made = camera(offset_adu=np.full((3, 4), 100.0), read_noise_e=np.linspace(0, 60, 12).reshape(3, 4))
    frames = jax.eval_shape(sample_camera, jax.random.key(0), made, jnp.ones((5, 3, 4)))
    assert frames.shape == jax.eval_shape(log_likelihood, made, frames, jnp.ones((3, 4))).shape == (5, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "ccd"}, "'scmos' or 'emccd'"),
        ({"em_gain": 1.0}, "belongs to kind='emccd'"),
        ({"em_gain": 0.0}, "belongs to kind='emccd'"),
        ({"spurious_e": 0.1}, "belongs to kind='emccd'"),
        ({"kind": "emccd"}, "needs em_gain"),
        ({"kind": "emccd", "em_gain": 1.0}, "use kind='scmos'"),
        ({"kind": "emccd", "em_gain": 0.0}, "use kind='scmos'"),
        ({"kind": "emccd", "em_gain": float("nan")}, "not a finite"),
        ({"kind": "emccd", "em_gain": 100.0, "spurious_e": -1.0}, "must not be negative"),
    ],
)
def test_an_em_gain_that_does_not_fit_is_refused(arguments, message):
    """None, 0 and 1 are how programs write "off": the message says what to do."""
    with pytest.raises(OpticsError, match=message):
        make_camera(**arguments)


def test_a_configuration_makes_an_emccd():
    """[run.camera] takes kind, em_gain and spurious_e; another kind is refused by name."""
    table = {"kind": "emccd", "em_gain": 300, "gain_adu_per_e": 0.02, "read_noise_e": 74.4, "spurious_e": 0.002}
    made = build_camera(from_dict(CameraConfig, table))
    assert (made.kind, float(made.em_gain), float(made.spurious_e)) == ("emccd", 300.0, 0.002)
    with pytest.raises(ConfigError, match="kind = 'ccd' must be one of"):
        from_dict(CameraConfig, {"kind": "ccd"})
