"""Haze and background of known latents: smooth, in the right place, straight lines as straight lines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made.made_model import CONFIG, FITTED
from training.generator.surroundings import render_background, render_haze, smooth, spread_cells, unsmoothed_variance


@pytest.fixture(scope="module")
def variables():
    """The small networks as they are drawn."""
    return FITTED.variables


def test_spread_cells_repeats_a_straight_line():
    """Cubic B-splines reproduce straight lines up to the rim, where the cell beyond it carries the slope on."""
    cells = jnp.asarray(2.0 + 3.0 * np.arange(10))[None, :] * jnp.ones((10, 1))
    level = np.asarray(spread_cells(cells, (32, 32), 4.0))
    x = (np.arange(32) + 0.5) / 4 + 0.5
    np.testing.assert_allclose(level[10, 2:-2], (2.0 + 3.0 * x)[2:-2], rtol=1e-6)


def test_haze_is_smooth_and_moves_with_its_emitter(variables):
    """Haze has no light at spatial frequencies beyond its blur (a Gaussian's transfer), and a shift of its place by
    three pixels is a shift of the picture by three pixels."""
    appearance, haze = jnp.array([[0.5, -1.0]]), jnp.array([[1.0, 0.2]])
    render = jax.jit(lambda xy: render_haze(CONFIG, variables, appearance, haze, xy, (48, 48), 0.1))
    here, moved = render(jnp.array([[2.0, 2.2]])), render(jnp.array([[2.3, 2.2]]))
    np.testing.assert_allclose(here[:, :-3], moved[:, 3:], atol=1e-9)
    assert float(here.min()) >= 0 and float(here.max()) > 0
    spectrum = np.abs(np.fft.fft2(np.asarray(here)))
    assert spectrum[16, 16] < 1e-6 * spectrum[0, 0]


def test_level_starts_as_the_first_latent(variables):
    """Before training the level is exp of the first latent, spread over the cells: flat latents, flat level."""
    latents = jnp.zeros((*CONFIG.grid((20, 30)), CONFIG.background_channels)).at[..., 0].set(0.7)
    level = jax.jit(lambda: render_background(CONFIG, variables, latents, (20, 30)))()
    assert level.shape == (20, 30)
    np.testing.assert_allclose(level, np.exp(0.7), rtol=1e-6)


def test_the_unsmoothed_share_is_that_of_white_noise():
    """Variance left of white noise less its smooth part, pixel by pixel, from the smoothing matrix written out."""
    shape, sigma = (6, 7), 1.3
    unit = np.eye(42).reshape(42, *shape)
    matrix = np.asarray(jax.jit(jax.vmap(lambda image: image - smooth(image, sigma)))(jnp.asarray(unit))).reshape(
        42, 42
    )
    np.testing.assert_allclose(unsmoothed_variance(shape, sigma).ravel(), (matrix**2).sum(axis=0), rtol=1e-6)
