"""The smooth background and its prior: the field it stands for, what a frame tells of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.fits.smooth import even, gram, learn_spread, make_surface, project, stack, surface_at
from optics.types import OpticsError

SHAPE, LENGTH_PX = (40, 56), 10.0


@pytest.fixture(scope="module")
def surface():
    return make_surface(SHAPE, LENGTH_PX)


def functions(surface):
    """All functions (A * B, H * W), built one by one."""
    rows, columns = np.asarray(surface.rows), np.asarray(surface.columns)
    pairs = [np.outer(rows[:, a], columns[:, b]) for a in range(rows.shape[1]) for b in range(columns.shape[1])]
    return np.stack(pairs).reshape(len(pairs), -1)


def test_the_prior_is_a_random_field(surface):
    """Variance and correlation of the prior are those of exp(-d^2 / (2 l^2)) about its mean over the frame.

    That covariance is written down here for every pixel. Coupling of the mean with what varies is left out by design:
    in the corners it is felt, on average it is 4 % of the variance.
    """
    stiffness = np.asarray(surface.stiffness).ravel()
    free = stiffness > 0
    found = (functions(surface)[free].T / stiffness[free]) @ functions(surface)[free]
    y, x = np.divmod(np.arange(SHAPE[0] * SHAPE[1]), SHAPE[1])
    field = np.exp(-((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / (2 * LENGTH_PX**2))
    about = field - field.mean(axis=0) - field.mean(axis=1)[:, None] + field.mean()
    assert np.abs(found - about).mean() < 0.06
    assert np.trace(found) == pytest.approx(np.trace(about), rel=0.02)


def test_products_are_sums_over_pixels(surface):
    """Those that use rows and columns are what all functions, pixel by pixel, give."""
    rng = np.random.default_rng(0)
    weight, images = rng.uniform(1, 2, SHAPE), rng.normal(size=(3, *SHAPE))
    every = functions(surface)
    np.testing.assert_allclose(
        gram(surface, jnp.asarray(weight)), (every * weight.ravel()) @ every.T, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(project(surface, jnp.asarray(images)), images.reshape(3, -1) @ every.T, atol=1e-9)


@pytest.mark.parametrize("spread", [0.0, 6.0])
def test_a_frame_tells_how_much_its_background_varies(surface, spread):
    """A field made by numpy from its covariance, in Poisson noise: within 40 %, as of 30 numbers; an even one: 2 %."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=SHAPE)
    for axis, n in enumerate(SHAPE):
        values, modes = np.linalg.eigh(np.exp(-((np.arange(n)[:, None] - np.arange(n)) ** 2) / (2 * LENGTH_PX**2)))
        drawn = np.moveaxis(np.tensordot(modes * np.sqrt(np.maximum(values, 0)), drawn, (1, axis)), 0, axis)
    drawn = drawn.ravel()
    counts = rng.poisson(40 + spread * drawn).astype(float)
    every = functions(surface)
    information = jnp.asarray(every @ every.T / 40)
    learn = jax.jit(learn_spread)
    found, level = jnp.asarray(20.0), even(surface, 40.0)
    for _ in range(4):
        slope = every @ (counts - np.asarray(surface_at(surface, level)).ravel()) / 40
        found = learn(surface, level, information, jnp.asarray(slope), found)
    assert float(found) < 0.8 if spread == 0 else float(found) == pytest.approx(spread, rel=0.4)


def test_stacked_frames_have_backgrounds_of_their_own(surface):
    """Two frames, one below the other: a change of one's coefficients leaves the other alone."""
    two = stack(surface, 2)
    level = even(two, 5.0).at[1, 0].add(3.0)
    image = np.asarray(surface_at(two, level))
    assert np.ptp(image[SHAPE[0] :]) < 1e-12 and np.ptp(image[: SHAPE[0]]) > 1


def test_a_length_must_be_positive():
    """The message names the argument."""
    with pytest.raises(OpticsError, match="correlation_px = 0"):
        make_surface(SHAPE, 0.0)
