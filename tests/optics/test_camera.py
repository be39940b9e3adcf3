"""The camera's statistics against their closed forms, its likelihood against sums over electrons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from optics.camera import (
    DARK_VARIANCE_E2,
    adu_to_photons,
    log_likelihood,
    photons_to_adu,
    quantise,
    relative_log_likelihood,
    sample_camera,
    sample_camera_differentiable,
    variance_adu,
)
from optics.types import make_camera

RANKS = "allow"  # a camera's maps (H, W) are those of every frame (N, H, W)
DRAWS = 200_000


def camera(**changes):
    numbers = {"gain_adu_per_e": 2.2, "offset_adu": 100.0, "read_noise_e": 1.6, "quantum_efficiency": 0.7}
    return make_camera(**{**numbers, **changes})


@pytest.mark.parametrize("sample", [sample_camera, sample_camera_differentiable])
@pytest.mark.parametrize("photons", [0.0, 3.0, 40.0, 2000.0])
def test_samples_have_the_mean_and_variance_of_the_law(sample, photons):
    """200 000 draws: mean and variance of either sampler within five standard errors of the closed form."""
    draws = np.asarray(sample(jax.random.key(1), camera(), jnp.full(DRAWS, photons)))
    electrons = 0.7 * photons
    mean, variance = 100 + 2.2 * electrons, 2.2**2 * (electrons + 1.6**2)
    np.testing.assert_allclose([photons_to_adu(camera(), photons), variance_adu(camera(), photons)], [mean, variance])
    assert abs(draws.mean() - mean) < 5 * np.sqrt(variance / DRAWS)
    # fourth cumulant of Poisson + Gaussian is the Poisson's; of the Gaussian sampler it is smaller
    error = np.sqrt((2 * variance**2 + 2.2**4 * electrons) / DRAWS)
    assert abs(draws.var() - variance) < 5 * error + 2.2**2 * DARK_VARIANCE_E2


def test_without_read_noise_the_counts_are_poisson():
    """At 2.1 electrons a chi-squared test on 200 000 draws does not tell it from Poisson (p > 1e-4)."""
    exact = make_camera(gain_adu_per_e=2.0, offset_adu=10.0)
    electrons = (np.asarray(sample_camera(jax.random.key(2), exact, jnp.full(DRAWS, 2.1))) - 10) / 2
    np.testing.assert_allclose(electrons, np.round(electrons), atol=1e-12)
    counted = np.bincount(electrons.astype(int), minlength=10)
    counted = np.append(counted[:9], counted[9:].sum())
    law = stats.poisson(2.1)
    expected = DRAWS * np.append(law.pmf(np.arange(9)), law.sf(8))
    assert stats.chisquare(counted, expected).pvalue > 1e-4


def test_maps_act_pixel_by_pixel():
    """With (H, W) maps each pixel has its own mean and variance; frames broadcast over leading axes."""
    rng = np.random.default_rng(0)
    maps = {
        "gain_adu_per_e": rng.uniform(1, 3, (3, 4)),
        "offset_adu": rng.uniform(90, 110, (3, 4)),
        "read_noise_e": rng.uniform(0, 5, (3, 4)),
        "quantum_efficiency": rng.uniform(0.5, 1, (3, 4)),
    }
    photons = rng.uniform(5, 50, (3, 4))
    frames = np.asarray(sample_camera(jax.random.key(3), make_camera(**maps), jnp.tile(photons, (20_000, 1, 1))))
    electrons = maps["quantum_efficiency"] * photons
    mean = maps["offset_adu"] + maps["gain_adu_per_e"] * electrons
    variance = maps["gain_adu_per_e"] ** 2 * (electrons + maps["read_noise_e"] ** 2)
    assert (np.abs(frames.mean(0) - mean) < 5 * np.sqrt(variance / 20_000)).all()
    error = np.sqrt((2 * variance**2 + maps["gain_adu_per_e"] ** 4 * electrons) / 20_000)
    assert (np.abs(frames.var(0) - variance) < 5 * error).all()


def test_photons_and_counts_convert_both_ways():
    """adu_to_photons inverts photons_to_adu, and both follow gain, offset and efficiency."""
    photons = np.array([0.0, 7.0, 1e4])
    np.testing.assert_allclose(photons_to_adu(camera(), photons), 100 + 2.2 * 0.7 * photons)
    np.testing.assert_allclose(adu_to_photons(camera(), photons_to_adu(camera(), photons)), photons, atol=1e-12)


@pytest.mark.parametrize("efficiency", [1.0, 0.6])
def test_likelihood_without_read_noise_is_poisson(efficiency):
    """Equal to scipy's Poisson at every count, a dark reading of a dark pixel included."""
    exact = camera(read_noise_e=0.0, quantum_efficiency=efficiency)
    counts = np.arange(30)
    for photons in (0.3, 5.0, 400.0):
        got = log_likelihood(exact, 100 + 2.2 * counts, photons)
        np.testing.assert_allclose(got, stats.poisson(efficiency * photons).logpmf(counts), rtol=1e-10)
    assert abs(float(log_likelihood(exact, 100.0, 0.0))) < 1e-12


@pytest.mark.parametrize("kind", ["scmos", "emccd"])
def test_what_compares_two_means_is_their_likelihoods_difference(kind):
    """Of Poisson counts scipy's; behind a multiplication that of the whole law."""
    camera = make_camera(kind=kind, em_gain=50.0, read_noise_e=20.0) if kind == "emccd" else make_camera()
    adu, means = np.array([0.0, 3.0, 120.0]) * (50 if kind == "emccd" else 1), ([0.7, 2.0, 90.0], [1.3, 4.0, 130.0])
    found = np.subtract(*(relative_log_likelihood(camera, adu, np.array(mean)) for mean in means))
    if kind == "scmos":
        wanted = np.subtract(*(stats.poisson.logpmf(adu, mean) for mean in means))
    else:
        wanted = np.subtract(*(log_likelihood(camera, adu, np.array(mean)) for mean in means))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_likelihood_with_read_noise_approximates_the_convolution():
    """Within 0.06 of the exact log density of Poisson + Gaussian, summed over electrons, to two sigma."""
    read_e, electrons = 1.6, 30.0
    k = np.arange(200)
    spread = np.sqrt(electrons + read_e**2)
    value = np.linspace(electrons - 2 * spread, electrons + 2 * spread, 41)
    density = (stats.poisson(electrons).pmf(k) * stats.norm.pdf(value[:, None], k, read_e)).sum(1)
    got = log_likelihood(make_camera(read_noise_e=read_e), value, electrons)
    np.testing.assert_allclose(got, np.log(density), atol=0.06)


def test_likelihood_peaks_at_the_reading_and_has_poissons_information():
    """The score at the reading is 0, and the mean curvature at the truth is QE^2 / (QE photons + read^2)."""
    photons = 25.0
    slope = jax.grad(lambda p: log_likelihood(camera(), photons_to_adu(camera(), photons), p))
    assert abs(float(slope(photons))) < 1e-12
    curvature = jax.grad(jax.grad(lambda p: log_likelihood(camera(), photons_to_adu(camera(), photons), p)))(photons)
    np.testing.assert_allclose(-curvature, 0.7**2 / (0.7 * photons + 1.6**2), rtol=1e-12)


def test_gradients_equal_central_differences():
    """Sampler and likelihood, by photons and by every camera number, float64, relative 1e-6."""
    photons = jnp.array([0.5, 8.0, 300.0])
    adu = jnp.array([103.0, 110.0, 580.0])

    def noisy(photons, camera):
        return (sample_camera_differentiable(jax.random.key(4), camera, photons) ** 2).sum()

    def likely(photons, camera):
        return log_likelihood(camera, adu, photons).sum()

    for loss in (noisy, likely):
        leaves, tree = jax.tree.flatten((photons, camera()))

        def flat_loss(*leaves, loss=loss, tree=tree):
            return loss(*jax.tree.unflatten(tree, leaves))

        for i, gradient in enumerate(jax.grad(flat_loss, range(len(leaves)))(*leaves)):
            h = 1e-5 * jnp.ones_like(leaves[i])
            up, down = (flat_loss(*leaves[:i], leaves[i] + s * h, *leaves[i + 1 :]) for s in (1, -1))
            np.testing.assert_allclose(gradient.sum(), (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("read_noise_e", [0.0, 1.6])
def test_gradients_are_finite_at_a_dark_pixel(read_noise_e):
    """At 0 photons no NaN or Inf leaves sampler or likelihood, whatever was read, and the slope is right."""
    dark = camera(read_noise_e=read_noise_e)
    for adu in (90.0, 100.0, 130.0):
        assert np.isfinite(jax.grad(lambda p, adu=adu: log_likelihood(dark, adu, p))(0.0))
    np.testing.assert_allclose(jax.grad(lambda p: log_likelihood(dark, 100 - 2.2 * read_noise_e**2, p))(0.0), -0.7)
    draw = jax.grad(lambda p: sample_camera_differentiable(jax.random.key(0), dark, p).sum())
    assert bool(jnp.isfinite(draw(jnp.zeros(100))).all())


def test_float32_frames_stay_float32():
    """A float32 camera and frame are not promoted, so that a device frame keeps its size."""
    small = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), camera())
    photons = jnp.ones((2, 2), jnp.float32)
    for adu in (sample_camera(jax.random.key(0), small, photons), log_likelihood(small, photons, photons)):
        assert adu.dtype == jnp.float32
    assert sample_camera_differentiable(jax.random.key(0), small, photons).dtype == jnp.float32


def test_quantise_rounds_and_saturates():
    """Whole counts within the converter's range: 12 bits end at 4095."""
    np.testing.assert_array_equal(quantise(np.array([-1.0, 3.49, 3.51, 9e9]), bits=12), [0, 3, 4, 4095])


def test_a_key_decides_the_frame():
    """The same key gives the same frame, another key another, jitted or not."""
    photons = jnp.full((8, 8), 20.0)
    first = sample_camera(jax.random.key(5), camera(), photons)
    np.testing.assert_allclose(first, jax.jit(sample_camera)(jax.random.key(5), camera(), photons), rtol=1e-12)
    assert not bool((first == sample_camera(jax.random.key(6), camera(), photons)).all())
