"""The movie's parameters, estimated from posteriors: the bound is stationary there, and noise that was put in comes
out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made.made_model import FITTED, MODEL, MOVIE, POSTERIOR, SHAPE
from optics.pytree import replace
from training.generator.bound import divergences
from training.generator.model import compose, photon_variance
from training.generator.movie import estimate_movie
from training.generator.posterior import Normal, posterior_mean

FRAMES = 12


def posteriors():
    """The same posterior for every frame, its brightness shifted from frame to frame, sure of its surroundings."""

    def tight(part: Normal) -> Normal:
        return Normal(part.mean, jnp.full_like(part.log_std, -8.0))

    sure = replace(
        POSTERIOR, haze=tight(POSTERIOR.haze), appearance=tight(POSTERIOR.appearance),
        background=tight(POSTERIOR.background),
        noise=tight(POSTERIOR.noise), location=Normal(POSTERIOR.location.mean, jnp.full((3, 4), -8.0)),
        presence=jnp.array([12.0, -12.0, 12.0]),
    )  # fmt: skip
    shift = jnp.zeros((FRAMES, 3, 4)).at[..., 3].set(jnp.linspace(-0.4, 0.8, FRAMES)[:, None])
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (FRAMES, *leaf.shape)), sure)
    return replace(many, location=Normal(many.location.mean + shift, many.location.log_std))


@pytest.fixture(scope="module")
def learned():
    """The movie estimated from frames with 10 % more shot noise and half the read variance; and its posteriors."""
    given = posteriors()

    @jax.jit
    def drawn(key, posterior):
        parts = compose(FITTED, posterior_mean(MODEL.ranges, posterior), SHAPE)
        read = parts.read_scale * 0.5 / jnp.exp(MOVIE.log_read)
        noise = jnp.sqrt(photon_variance(MODEL.camera, parts.rate, jnp.log(1.1), read))
        return parts.rate + noise * jax.random.normal(key, SHAPE)

    key = jax.random.key(1)
    frames = [drawn(jax.random.fold_in(key, k), jax.tree.map(lambda leaf: leaf[k], given)) for k in range(FRAMES)]  # noqa: B023
    return estimate_movie(jax.random.key(2), FITTED, jnp.stack(frames), given), given


def test_noise_that_was_put_in_is_found(learned):
    """Gain and read variance trade places over so few rates, and a gain near 1 is expected: their sum, the noise at the
    5th, 50th and 95th percentile of the rate, is within 5 % of what was put in (three deviations for 7500 pixels)."""
    movie, _ = learned
    for rate in (16.0, 21.0, 29.0):
        true = photon_variance(MODEL.camera, jnp.asarray(rate), jnp.log(1.1), 0.5)
        found = photon_variance(MODEL.camera, jnp.asarray(rate), movie.log_gain, jnp.exp(movie.log_read))
        assert float(found / true) == pytest.approx(1.0, abs=0.05)
    assert float(movie.log_haze) == float(MOVIE.log_haze)


def test_number_and_brightness_are_where_the_bound_is_stationary(learned):
    """The slope of all frames' divergences in log count, log photons and log spread is zero."""
    movie, given = learned

    def cost(movie):
        each = jax.vmap(lambda posterior: divergences(MODEL, movie, posterior, SHAPE))(given)
        return jnp.sum(each["presence"] + each["photons"])

    slope_of = jax.jit(jax.grad(cost))
    slope, before = slope_of(movie), slope_of(MOVIE)
    for name in ("log_count", "log_photons", "log_spread"):
        assert abs(float(getattr(slope, name))) < 1e-3 * max(1.0, abs(float(getattr(before, name))))
    assert np.exp(float(movie.log_count)) == pytest.approx(2.0, rel=1e-3)
