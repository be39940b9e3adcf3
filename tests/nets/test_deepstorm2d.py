"""Deep-STORM: the published sizes, what a fine pixel sees, and the scale of its input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from nets import DeepStormConfig, NetsError


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (DeepStormConfig("published", 8), 1_366_208),
        (DeepStormConfig("light", 8), 860_736),
        (DeepStormConfig("light", 4), 835_040),
        (DeepStormConfig("light", 16), 886_432),
    ],
)
def test_trainable_parameters_are_those_of_the_published_networks(config, count):
    """Counted from the published layouts, by others."""
    variables = jax.eval_shape(lambda: nets.init(jax.random.key(0), config, jnp.zeros((1, 8, 8, 1))))
    assert nets.count_parameters(variables) == count


@pytest.mark.parametrize("config", [DeepStormConfig("published", 8, 0.1), DeepStormConfig("light", 4, 0.1)])
def test_a_change_of_one_pixel_is_seen_no_further_than_stated(config):
    """Which fine pixels change with a camera pixel: inside the stated square, and almost all of it."""
    frame = jax.random.uniform(jax.random.key(1), (1, 33, 33, 1), jnp.float32)
    variables = nets.init(jax.random.key(0), config, frame)
    run = jax.jit(lambda x: nets.apply(config, variables, x, train=False)[0])
    changed = np.abs(np.asarray(run(frame) - run(frame.at[0, 16, 16, 0].add(5.0)))[0]) > 1e-7
    rows, columns = (np.nonzero(changed.any(axis))[0] // config.upsampling - 16 for axis in (1, 0))
    reach = nets.receptive_field_px(config) // 2
    for found in (rows, columns):
        assert reach - 1 <= max(-found.min(), found.max()) <= reach


def test_windows_of_a_frame_read_as_the_whole():
    """Moved by `frame_multiple`, a window pools the same fine pixels together, at upsampling 4 too."""
    config = DeepStormConfig("published", 4, 0.1)
    assert config.frame_multiple == 2 and DeepStormConfig("published", 8).frame_multiple == 1
    frame = jax.random.uniform(jax.random.key(1), (1, 32, 32, 1), jnp.float32)
    variables = nets.init(jax.random.key(0), config, frame)
    run = jax.jit(lambda x: nets.apply(config, variables, x, train=False)[0])
    halo = -(-nets.receptive_field_px(config) // 4) * 2
    whole, window = run(frame), run(frame[:, 6:])
    # another shape, another order of sums: a rounding of 6e-8 in each of a dozen layers
    np.testing.assert_allclose(window[:, 4 * halo :], whole[:, 4 * (6 + halo) :], atol=1e-6)


def test_a_training_step_changes_what_batch_norms_remember():
    """The mean and variance of the data are learned beside the weights, and used in evaluation."""
    config = DeepStormConfig("published", 8, 0.1)
    x = 3 + jax.random.uniform(jax.random.key(1), (2, 8, 8, 1), jnp.float32)
    variables = nets.init(jax.random.key(0), config, x)
    _, state = jax.jit(lambda v, x: nets.apply(config, v, x, train=True))(variables, x)
    np.testing.assert_allclose(state["batch_stats"]["data"]["mean"], 0.1 * x.mean(), rtol=1e-4)


@pytest.mark.parametrize("variant", ["published", "light"])
def test_each_frame_is_brought_to_the_network_s_scale(variant):
    """Light and background of a frame do not matter; a flat frame is 0, not NaN."""
    config = DeepStormConfig(variant)
    frames = np.random.default_rng(0).uniform(0, 1, (3, 8, 9))
    frames[2] = 7.0
    scaled = np.asarray(nets.normalise_frames(config, jnp.asarray(frames)))
    np.testing.assert_allclose(nets.normalise_frames(config, jnp.asarray(50 + 200 * frames)), scaled, atol=1e-9)
    expected = (0.0, 1.0) if variant == "published" else (0.0, 1.0)
    measured = (scaled[0].min(), scaled[0].max()) if variant == "published" else (scaled[0].mean(), scaled[0].std())
    np.testing.assert_allclose(measured, expected, atol=1e-9)
    assert (scaled[2] == 0).all()


@pytest.mark.parametrize(("field", "value"), [("variant", "deep"), ("upsampling", 3), ("width", 0.0)])
def test_a_config_that_cannot_be_right_is_refused(field, value):
    """The error names the field."""
    with pytest.raises(NetsError, match=field):
        DeepStormConfig(**{field: value})
