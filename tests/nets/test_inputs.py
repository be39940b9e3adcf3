"""From frames to a network's input: neighbours, the place in the field, and what does not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from nets import DeepStormConfig, ListNetConfig, NetsError, OpticsDesignNetConfig

SMALL = ListNetConfig(channels=8, head_channels=8, dilations=(1, 2))
THREE = dataclasses.replace(SMALL, frames=3)
PLACED = dataclasses.replace(SMALL, position_channels=True, field_px=64)

run = jax.jit(nets.apply, static_argnums=0, static_argnames="train")


def test_a_frame_comes_with_those_before_and_after():
    """Frame k of the output holds frames k, k + 1 and k + 2 of the movie; one-frame networks take it as it is."""
    movie = jnp.arange(5.0)[:, None, None] * jnp.ones((1, 2, 3))
    stacked = nets.with_neighbours(THREE, movie)
    np.testing.assert_array_equal(stacked[:, 0, 0], [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    for config in (SMALL, OpticsDesignNetConfig(depth=3)):
        np.testing.assert_array_equal(nets.with_neighbours(config, movie), movie)


def test_positions_are_pixel_centres_over_the_field():
    """The last pixel of a crop at the field's far corner is half a pixel from 1, the field's centre is 0."""
    maps = nets.position_maps((16, 24), (40, 48), 64)
    assert maps.shape == (16, 24, 2)
    np.testing.assert_allclose(maps[-1, -1], 1 - 1 / 64, rtol=1e-12)
    np.testing.assert_allclose(nets.position_maps((64, 64), (0, 0), 64).mean((0, 1)), 0, atol=1e-15)
    np.testing.assert_allclose(maps[0, 1] - maps[0, 0], [2 / 64, 0], rtol=1e-12)


def test_cut_from_the_field_a_crop_has_the_positions_of_the_whole():
    """What a tile is told is what the whole frame has there."""
    whole = nets.network_input(PLACED, jnp.zeros((1, 32, 48)), (3, 7))
    tile = nets.network_input(PLACED, jnp.zeros((1, 8, 16)), (3 + 20, 7 + 10))
    np.testing.assert_allclose(whole[:, 10:18, 20:36], tile, atol=1e-15)


@pytest.mark.parametrize("config", [THREE, PLACED])
def test_a_decoder_sees_its_extra_channels(config):
    """Each channel of the input has a gradient: neighbours and the place change what is read."""
    x = jax.random.uniform(jax.random.key(1), (1, 8, 8, nets.input_channels(config)), jnp.float32)
    variables = nets.init(jax.random.key(0), config, x)
    slope = jax.jit(jax.grad(lambda x: nets.apply(config, variables, x, train=True)[0].z_um.sum()))(x)
    assert (np.abs(slope).max((0, 1, 2)) > 0).all()


def test_positions_are_not_scaled_as_light():
    """Offset and scale of the input act on the frames alone."""
    scaled = dataclasses.replace(PLACED, input_offset=30.0, input_scale=8.0)
    plain = dataclasses.replace(PLACED, input_offset=0.0, input_scale=1.0)
    images = 100 * jax.random.uniform(jax.random.key(2), (1, 8, 8), jnp.float32)
    variables = nets.init(jax.random.key(0), scaled, nets.network_input(scaled, images))
    got, _ = run(scaled, variables, nets.network_input(scaled, images), train=False)
    want, _ = run(plain, variables, nets.network_input(plain, (images - 30) / 8), train=False)
    # (x - 30) / 8 here and inside the program: an ulp of 1e-7 at the input, through the layers
    np.testing.assert_allclose(got.photons, want.photons, rtol=1e-5)


def test_a_decoder_without_extras_has_the_variables_it_always_had():
    """Names and shapes of the default decoder: checkpoints of earlier runs restore."""
    shapes = jax.eval_shape(lambda: nets.init(jax.random.key(0), ListNetConfig(), jnp.zeros((1, 8, 8, 1))))["params"]
    trunk = {f"trunk{i}": (3, 3, 64, 64) for i in range(10)}
    others = {"stem": (3, 3, 4, 64), "unfold": (1, 1, 64, 192), "skip": (3, 3, 1, 48), "head": (3, 3, 48, 48)}
    expected = trunk | others | {"out": (1, 1, 48, 10)}
    assert {name: layer["kernel"].shape for name, layer in shapes.items()} == expected
    assert all(set(layer) == {"kernel", "bias"} for layer in shapes.values())


def test_a_decoder_in_focus_reports_the_plane():
    """`fixed_z`: z is the middle of the range, its sigma half of it, whatever the frame."""
    config = dataclasses.replace(SMALL, z_min_um=0.95, z_max_um=1.05, fixed_z=True)
    x = jax.random.uniform(jax.random.key(1), (1, 8, 8, 1), jnp.float32)
    maps, _ = run(config, nets.init(jax.random.key(0), config, x), x, train=True)
    np.testing.assert_allclose(maps.z_um, 1.0, rtol=1e-6)
    np.testing.assert_allclose(maps.sigma[..., 2], 0.05, rtol=1e-5)
    assert np.ptp(maps.sigma[..., 0]) > 0


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (SMALL, (2, 8, 8, 3), r"is not \(B, H, W\), which this decoder reads"),
        (THREE, (2, 8, 8), r"is not \(B, H, W, 3\)"),
        (DeepStormConfig(), (8, 8), r"is not \(B, H, W\)"),
    ],
)
def test_images_of_another_decoder_are_refused(config, shape, message):
    """One line with both shapes."""
    with pytest.raises(NetsError, match=message):
        nets.network_input(config, jnp.zeros(shape))


def test_too_short_a_movie_and_half_a_configuration_are_refused():
    """Two frames have no middle; positions need a field; two frames are no context."""
    with pytest.raises(NetsError, match=r"is not \(n \+ 2, H, W\)"):
        nets.with_neighbours(THREE, jnp.zeros((2, 8, 8)))
    with pytest.raises(NetsError, match="field_px"):
        dataclasses.replace(SMALL, position_channels=True)
    with pytest.raises(NetsError, match="frames: 2"):
        dataclasses.replace(SMALL, frames=2)
