"""The quick variant against the light one, which pads and enlarges in so many words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nets
from nets import DeepStormConfig, NetsError
from nets.blocks import depth_to_space
from nets.deepstorm_quick import convolve, corner_kernel, halo_px, read_window, spans


@pytest.fixture(scope="module")
def drawn():
    """Frames, and variables with batch norms that are not those of the start."""
    frames = jax.random.normal(jax.random.key(2), (1, 32, 26, 1), jnp.float32)
    variables = nets.init(jax.random.key(1), DeepStormConfig("light", 4, 0.1), frames)
    more = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.uniform(jax.random.key(leaf.size), leaf.shape), variables)
    return frames, more


def test_quick_is_light_away_from_the_border(drawn):
    """One set of variables for both: inside the halo the maps are the same, whole frame or window."""
    frames, variables = drawn
    light, quick = (DeepStormConfig(variant, 4, 0.1) for variant in ("light", "quick"))
    n = 4 * halo_px(4)
    expected = np.asarray(nets.apply(light, variables, frames, train=False)[0])[:, n:-n, n:-n]
    scale = np.abs(expected).max()
    window = read_window(variables, frames[..., 0], 4)
    assert np.abs(window - expected).max() < 1e-5 * scale  # float32, ten layers
    whole = np.asarray(nets.apply(quick, variables, frames, train=False)[0])
    assert whole.shape == (1, 128, 104)
    assert np.abs(whole[:, n:-n, n:-n] - expected).max() < 1e-5 * scale


def test_corner_kernel_is_enlargement_then_convolution():
    """Against jax.image.resize and a plain convolution, far from the border."""
    x = jax.random.normal(jax.random.key(0), (1, 9, 8, 2), jnp.float32)
    kernel = jax.random.normal(jax.random.key(1), (5, 5, 2, 3), jnp.float32)
    fine = jax.image.resize(x, (1, 18, 16, 2), "bilinear")
    expected = jax.lax.conv_general_dilated(fine, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    found = depth_to_space(convolve(x, corner_kernel(kernel)))
    # fine pixels 3 to 3 + 12 of 18 and 3 + 10 of 16; the plain one begins at 2
    assert np.abs(found - expected[:, 1:13, 1:11]).max() < 1e-5 * np.abs(expected).max()


def test_training_answers_for_the_inside_and_says_when_there_is_none(drawn):
    """What is trained on has its whole neighbourhood in the frame."""
    frames, variables = drawn
    quick = DeepStormConfig("quick", 4, 0.1)
    n = 2 * halo_px(4)
    assert halo_px(8) == 9 and spans(8, 10)[0] == (-3, 13)
    output, fresh = nets.apply(quick, variables, frames, train=True)
    assert output.shape == (1, 4 * (32 - n), 4 * (26 - n)) and sorted(fresh) == ["batch_stats"]
    with pytest.raises(NetsError, match="larger"):
        nets.apply(quick, variables, frames[:, :18, :18], train=True)
