"""What all frames of a movie share, learned from what is believed about each: the bound is stationary there, and noise
that was put in comes out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_scene_model import MODEL, MOVIE, POSTERIOR, SHAPE, VARIABLES

from nets.dlp_types import Normal
from optics.pytree import replace
from training.generator.fit import FitState, in_parts, learn_movie
from training.generator.model import compose, divergences, photon_variance, posterior_mean

FRAMES = 12
STATE = FitState(jnp.zeros((), jnp.int32), VARIABLES, MOVIE, None)


def bank():
    """The same posterior for every frame, its brightness shifted from frame to frame, sure of its surroundings."""

    def tight(part: Normal) -> Normal:
        return Normal(part.mean, jnp.full_like(part.log_std, -8.0))

    sure = replace(
        POSTERIOR, haze=tight(POSTERIOR.haze), look=tight(POSTERIOR.look), background=tight(POSTERIOR.background),
        noise=tight(POSTERIOR.noise), place=Normal(POSTERIOR.place.mean, jnp.full((3, 4), -8.0)),
        presence=jnp.array([12.0, -12.0, 12.0]),
    )  # fmt: skip
    shift = jnp.zeros((FRAMES, 3, 4)).at[..., 3].set(jnp.linspace(-0.4, 0.8, FRAMES)[:, None])
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (FRAMES, *leaf.shape)), sure)
    return replace(many, place=Normal(many.place.mean + shift, many.place.log_std))


@pytest.fixture(scope="module")
def learned():
    """The movie that is learned of frames with 10 % more shot noise and half the read variance; and its bank."""
    believed = bank()
    key, frames = jax.random.key(1), []
    for k in range(FRAMES):
        draw = posterior_mean(MODEL, jax.tree.map(lambda leaf: leaf[k], believed))  # noqa: B023
        parts = compose(MODEL, VARIABLES, MOVIE, draw, SHAPE)
        read = parts.read_scale * 0.5 / jnp.exp(MOVIE.log_read)
        noise = jnp.sqrt(photon_variance(MODEL.camera, parts.rate, jnp.log(1.1), read))
        frames.append(parts.rate + noise * jax.random.normal(jax.random.fold_in(key, k), SHAPE))
    return learn_movie(jax.random.key(2), MODEL, STATE, jnp.stack(frames), believed), believed


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
    movie, believed = learned

    def cost(movie):
        each = [divergences(MODEL, movie, jax.tree.map(lambda a: a[k], believed), SHAPE) for k in range(FRAMES)]  # noqa: B023
        return sum(one["presence"] + one["photons"] for one in each)

    slope, before = jax.grad(cost)(movie), jax.grad(cost)(MOVIE)
    for name in ("log_count", "log_photons", "log_spread"):
        assert abs(float(getattr(slope, name))) < 1e-3 * max(1.0, abs(float(getattr(before, name))))
    assert np.exp(float(movie.log_count)) == pytest.approx(2.0, rel=1e-3)


def test_parts_are_put_together_in_order():
    """Eleven frames, eight at a time: the last part is filled up and cut off again, None stays None, and what is done
    is told after each part."""
    told: list[tuple[int, int]] = []
    frames, sizes = jnp.arange(11.0), set()

    def twice(frames, nothing):
        sizes.add(len(frames))
        assert nothing is None
        return {"a": 2 * frames}

    whole = in_parts(twice, (frames, None), 11, lambda done, count: told.append((done, count)))
    np.testing.assert_array_equal(whole["a"], 2 * frames)
    assert sizes == {8} and told == [(8, 11), (11, 11)]


def test_a_fit_can_be_stopped_between_parts():
    """What `each` raises ends it: no further part is begun."""
    begun: list[int] = []

    def stop(done: int, count: int) -> None:
        raise TimeoutError

    def some(frames):
        begun.append(len(frames))
        return frames

    with pytest.raises(TimeoutError):
        in_parts(some, (jnp.arange(20.0),), 20, stop)
    assert begun == [8]
