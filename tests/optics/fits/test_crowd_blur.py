"""Emitters with a blur of their own: against Gaussian spots in closed form, and slopes against reverse mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from optics.camera import sample_camera
from optics.fits.crowd import draw_crowd, make_crowd_model, make_frame, misfit, no_emitters, rough
from optics.fits.crowd_fit import fit_crowd, slopes_at, uphill, with_prior
from optics.fits.smooth import even
from optics.psf_table import tabulate_images
from optics.pytree import replace
from optics.types import OpticsError, make_camera

SHAPE, PIXEL_UM, LEVEL, SIDE_PX = (24, 36), 0.11, 5.0, 15
XYZ_UM = np.array([[1.2, 1.3, 0.1], [2.8, 1.4, 0.2]])
PHOTONS = np.array([8000.0, 6000.0])
SIGMA_PX, EXTRA_PX2 = 1.4, np.array([0.3, -0.25])


def spot(x_px: float, y_px: float, z_um: float, extra_px2: float, shape: tuple[int, int]) -> np.ndarray:
    """A Gaussian spot integrated over pixels, as a cylindrical lens makes it: with depth it widens along x alone."""
    at, wide = (x_px, y_px), (SIGMA_PX * (1 + z_um), SIGMA_PX * (1 - z_um))
    x, y = (
        np.diff(ndtr((np.arange(n + 1) - at[k]) / np.sqrt(wide[k] ** 2 + extra_px2))) for k, n in enumerate(shape[::-1])
    )
    return y[:, None] * x


@pytest.fixture(scope="module")
def table():
    def images(points: np.ndarray) -> np.ndarray:
        middle = SIDE_PX / 2
        each = [spot(x / PIXEL_UM + middle, y / PIXEL_UM + middle, z, 0.0, (SIDE_PX, SIDE_PX)) for x, y, z in points]
        return np.stack(each).reshape(len(points), -1)

    return tabulate_images(images, (0.0, 0.4), image_px=SIDE_PX, pixel_um=PIXEL_UM, degrees=(9, 5), reach_px=1.0)


@pytest.fixture(scope="module")
def model(table):
    return make_crowd_model(table, make_camera(), PIXEL_UM, SHAPE, blur_spread_px2=0.3)


@pytest.fixture(scope="module")
def truth(model):
    frame = make_frame(make_camera(), jnp.full(SHAPE, LEVEL), jnp.ones(SHAPE, bool))
    crowd = no_emitters(model, frame, 3)
    return replace(
        crowd,
        xyz_um=crowd.xyz_um.at[:2].set(XYZ_UM),
        photons=crowd.photons.at[:2].set(PHOTONS),
        blur_px2=crowd.blur_px2.at[:2].set(EXTRA_PX2),
        present=jnp.arange(3) < 2,
        level=even(model.surface, LEVEL),
        spread=jnp.asarray(0.5),
    )


@pytest.fixture(scope="module")
def expected():
    """Each emitter with its own blur."""
    places = zip(XYZ_UM, EXTRA_PX2, strict=True)
    spots = [spot(x / PIXEL_UM, y / PIXEL_UM, z, extra, SHAPE) for (x, y, z), extra in places]
    return np.tensordot(PHOTONS, np.stack(spots), 1) + LEVEL


def test_a_blur_of_its_own_is_nearly_a_wider_spot(model, truth, expected):
    """The first order of the blur leaves a quarter of what leaving it out would: blur over variance, and the pixels."""
    sharp = replace(truth, blur_px2=jnp.zeros(3))
    off = np.abs(np.asarray(draw_crowd(model, truth)) - expected)
    without = np.abs(np.asarray(draw_crowd(model, sharp)) - expected)
    assert off.max() < 0.25 * without.max()


def test_slopes_are_those_of_the_misfit(model, truth, expected):
    """The uphill direction along photons and blur is minus the gradient of misfit and prior, by reverse mode."""
    adu = sample_camera(jax.random.key(1), make_camera(), jnp.asarray(expected))
    frame = make_frame(make_camera(), adu, jnp.ones(SHAPE, bool))

    @jax.jit
    @jax.grad
    def of(parts):
        crowd = replace(truth, photons=parts[0], blur_px2=parts[1])
        return misfit(model, frame, draw_crowd(model, crowd)) + rough(model, crowd)

    wanted = np.stack(of((truth.photons, truth.blur_px2)), axis=1)
    mean = draw_crowd(model, truth)
    at = with_prior(model, truth, slopes_at(model, frame, truth, mean))
    slope = np.asarray(uphill(model, frame, truth, at, mean) / jnp.where(at.scale > 0, at.scale, 1.0))
    assert np.allclose(-slope[:10].reshape(2, 5)[:, 3:], wanted[:2], rtol=1e-9, atol=1e-9)
    assert not slope[10:15].any()  # the free slot


def test_the_blur_is_found_and_photons_are_right(model, truth, expected):
    """Without noise: blur within 0.08 px^2, photons within 2 %; one blur for all leaves ten times the misfit."""
    frame = make_frame(make_camera(), jnp.asarray(expected), jnp.ones(SHAPE, bool))
    start = replace(truth, blur_px2=jnp.zeros(3))
    found = jax.jit(fit_crowd)(model, frame, start, 40).crowd
    assert np.abs(np.asarray(found.blur_px2)[:2] - EXTRA_PX2).max() < 0.08
    assert np.abs(np.asarray(found.photons)[:2] / PHOTONS - 1).max() < 0.02
    off_um = np.abs(np.asarray(found.xyz_um)[:2] - XYZ_UM)
    assert off_um[:, :2].max() < 1e-3
    assert off_um[:, 2].max() < 5e-3  # depth widens the spot too: what the first order leaves goes there
    one = jax.jit(fit_crowd)(replace(model, blur_spread_px2=None), frame, start, 40)
    assert one.crowd.misfit > 10 * found.misfit
    assert one.covariance.shape == (3, 4, 4)


def test_an_impossible_spread_is_refused(table):
    """A spread of 0, negative, or beyond what the first order holds is refused by name."""
    for spread in (0.0, -1.0, 9.0):
        with pytest.raises(OpticsError, match="blur_spread_px2"):
            make_crowd_model(table, make_camera(), PIXEL_UM, SHAPE, blur_spread_px2=spread)
