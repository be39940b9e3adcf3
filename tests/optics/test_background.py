"""Backgrounds: ranges, recipes and correlations against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.background import (
    Constant,
    RandomField,
    SuperGaussian,
    UniformLevel,
    check_background,
    sample_background,
)
from optics.pytree import pytree
from optics.types import OpticsError

EVERY_KIND = [Constant(20.0), UniformLevel(10.0, 20.0), SuperGaussian(), RandomField(30.0, 0.4, 5.0)]


def draws(config, shape, number, seed=0):
    return np.asarray(
        jax.vmap(lambda key: sample_background(key, config, shape))(jax.random.split(jax.random.key(seed), number))
    )


@pytest.mark.parametrize("config", EVERY_KIND, ids=lambda c: type(c).__name__)
def test_every_kind_fits_the_protocol(config):
    """(H, W) finite, non-negative photons; the same under jit, decided by the key, at odd and even sizes."""
    for shape in ((31, 18), (1, 1)):
        field = sample_background(jax.random.key(0), config, shape)
        assert field.shape == shape and bool(jnp.isfinite(field).all()) and float(field.min()) >= 0
        jitted = jax.jit(sample_background, static_argnums=2)(jax.random.key(0), config, shape)
        np.testing.assert_allclose(jitted, field, rtol=1e-10)
    check_background(config)


def test_levels_are_leaves_and_need_no_new_compilation():
    """Changing a level runs the compiled program again: one trace for two levels."""
    traces = []

    @jax.jit
    def level(config):
        traces.append(1)
        return sample_background(jax.random.key(0), config, (2, 2))

    assert float(level(Constant(3.0))[0, 0]) == 3 and float(level(Constant(4.0))[0, 0]) == 4
    assert len(traces) == 1


def test_a_learned_background_fits_in():
    """Any pytree with `sample(key, shape)` is a background, and gradients reach its numbers."""

    @pytree
    class Learned:
        image: jax.Array

        def sample(self, key, shape):
            return self.image[: shape[0], : shape[1]]

    gradient = jax.grad(lambda c: sample_background(jax.random.key(0), c, (2, 3)).sum())(Learned(jnp.ones((4, 4))))
    assert float(gradient.image.sum()) == 6


def test_uniform_level_is_uniform():
    """10 000 frames: mean and variance of U(10, 20) within five standard errors, each frame flat."""
    frames = draws(UniformLevel(10.0, 20.0), (2, 2), 10_000)
    assert (np.ptp(frames, axis=(1, 2)) == 0).all()
    level = frames[:, 0, 0]
    assert level.min() >= 10 and level.max() <= 20
    assert abs(level.mean() - 15) < 5 * np.sqrt(100 / 12 / 10_000)
    # variance of the sample variance of a uniform: (1/80 - 1/144) w^4 / N
    assert abs(level.var() - 100 / 12) < 5 * np.sqrt((1 / 80 - 1 / 144) * 1e4 / 10_000)


def test_super_gaussian_follows_deepstorm3ds_recipe():
    """Least value in 20-30 and largest in 100-150 photons in every frame, both spread over their range."""
    frames = draws(SuperGaussian(), (121, 121), 200)
    low, high = frames.min(axis=(1, 2)), frames.max(axis=(1, 2))
    for values, (least, most) in ((low, (20, 30)), (high, (100, 150))):
        assert values.min() >= least - 1e-9 and values.max() <= most + 1e-9
        assert abs(values.mean() - (least + most) / 2) < 5 * (most - least) / np.sqrt(12 * 200)
    rows, columns = np.unravel_index(frames.reshape(200, -1).argmax(1), (121, 121))
    assert np.abs(rows - 60).max() <= 10.5 and np.abs(columns - 60).max() <= 10.5


def test_super_gaussian_has_its_shape():
    """-log of the hump is the square of a quadratic form (to 0.2 %) with sigmas of 1/5 to 2/5 frame."""
    frame = draws(SuperGaussian(0.0, 1.0, centre_px=0.0), (121, 121), 1)[0]
    y, x = np.mgrid[-60:61, -60:61]
    near = (np.hypot(x, y) < 20) & (np.hypot(x, y) > 5)
    # the corners are dark, so that the stretch to the peak leaves -log as it is
    form = np.sqrt(-np.log(frame[near] / frame.max()))
    design = np.stack([x[near] ** 2, x[near] * y[near], y[near] ** 2], axis=1).astype(float)
    fit, *_ = np.linalg.lstsq(design, form, rcond=None)
    np.testing.assert_allclose(design @ fit, form, atol=2e-3 * form.max())
    # sigma between W/5 and 2W/5 along the principal axes of q = u^2 / (2 sigma_u^2) + v^2 / (2 sigma_v^2)
    sigma = 1 / np.sqrt(2 * np.linalg.eigvalsh([[fit[0], fit[1] / 2], [fit[1] / 2, fit[2]]]))
    assert (sigma > 121 / 5 * 0.98).all() and (sigma < 2 * 121 / 5 * 1.02).all()


def test_random_field_has_the_given_mean_contrast_and_correlation():
    """Over 3000 draws: mean, contrast and the correlation of the log at 1 and 2 lengths, within 5 errors."""
    mean, contrast, length, number = 30.0, 0.4, 6.0, 3000
    fields = draws(RandomField(mean, contrast, length), (32, 32), number)[:, 8:24:15, 4:29]
    assert abs(fields[:, 0, 0].mean() - mean) < 5 * mean * contrast / np.sqrt(number)
    log = np.log(fields[:, 0] / mean)
    variance = np.log1p(contrast**2)
    assert abs(log[:, 0].var() - variance) < 5 * variance * np.sqrt(2 / number)
    for distance in (6, 12):
        correlation = np.corrcoef(log[:, 0], log[:, distance])[0, 1]
        assert abs(correlation - np.exp(-(distance**2) / (2 * length**2))) < 5 / np.sqrt(number)


def test_random_field_is_band_limited():
    """The log of a field of length 6 px has less than 1e-3 of its power above 1/6 periods per pixel."""
    field = np.log(draws(RandomField(1.0, 0.4, 6.0), (64, 64), 1)[0])
    window = np.outer(np.hanning(64), np.hanning(64))
    power = np.abs(np.fft.fft2((field - field.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    assert power[frequency > 1 / 6].sum() < 1e-3 * power.sum()


@pytest.mark.parametrize(
    "config, word",
    [
        (Constant(-1.0), "photons = -1"),
        (Constant(np.nan), "photons = nan"),
        (UniformLevel(5.0, 4.0), "low_photons"),
        (SuperGaussian(100.0, 120.0), "peak_photons"),
        (RandomField(1.0, 0.1, 0.0), "correlation_px"),
    ],
)
def test_impossible_backgrounds_are_refused_by_name(config, word):
    """check_background raises OpticsError that names the field."""
    with pytest.raises(OpticsError, match=word):
        check_background(config)
