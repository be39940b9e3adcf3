"""Darkness, light and background of sparse movies whose truth is known, by the paper's way and by lists of fits."""

import numpy as np
import pytest
from scipy.special import ndtr

from localization import LocalizationError, make_localizations
from localization.light import (
    SHARES,
    brightest_photons,
    darkest_pixel,
    isolated,
    light_levels,
    subtract_floor,
)

SIDE, SIGMA, BACKGROUND, READ = 40, 1.3, 12.0, 2.0
EDGES = np.arange(SIDE + 1.0)


def spot(x, y, sigma):
    """A Gaussian of unit light, integrated over pixels."""
    column, row = (np.diff(ndtr((EDGES - at) / sigma)) for at in (x, y))
    return row[:, None] * column[None]


def sparse_movie(photons, widest=1.4, n=300, seed=0):
    """Frames with a molecule in one of five, each of its own width (its depth), on shot and read noise."""
    rng = np.random.default_rng(seed)
    light = np.full((n, SIDE, SIDE), BACKGROUND)
    for k in range(0, n, 5):
        x, y = rng.uniform(8, SIDE - 8, 2)
        light[k] += photons * spot(x, y, rng.uniform(1, widest) * SIGMA)
    return rng.poisson(light) + rng.normal(0, READ, light.shape)


def peak_shares(widest=1.4):
    """The share of a molecule's light in its brightest pixel, over the range of widths."""
    return [spot(20.5, 20.5, width * SIGMA).max() for width in np.linspace(1, widest, 7)]


def test_the_darkest_pixel_knows_darkness_and_noise():
    """Background and its shot and read noise, each within 10 %; the ranges are those, widened as published."""
    dark = darkest_pixel(sparse_movie(2000.0))
    np.testing.assert_allclose([dark.mean_adu, dark.std_adu], [BACKGROUND, np.hypot(READ, BACKGROUND**0.5)], rtol=0.1)
    assert dark.mean_range_adu == (dark.mean_adu, 1.4 * dark.mean_adu)
    assert dark.std_range_adu == (dark.std_adu, 1.4 * dark.std_adu)


@pytest.mark.parametrize("photons", [1500.0, 8000.0])
def test_the_brightest_pixel_brackets_the_photons(photons):
    """0.5 to 1.1 of the estimate, which is too large: the sharpest molecule is taken for a mean one, with its noise.

    The mean of width^2 over widths of 1 to 1.4 is 1.45.
    """
    movie = sparse_movie(photons)
    estimate = brightest_photons(movie, peak_shares(), darkest_pixel(movie))
    assert SHARES[0] * estimate < photons < SHARES[1] * estimate
    assert 1.3 < estimate / photons < 1.45 * 1.35


def test_the_brightest_pixel_is_wrong_where_spots_change_much():
    """The published way has this end: spots that widen twofold over the depths put the truth below its range."""
    movie = sparse_movie(1500.0, widest=2.0)
    estimate = brightest_photons(movie, peak_shares(2.0), darkest_pixel(movie))
    assert SHARES[0] * estimate > 1500.0


def test_fits_of_isolated_molecules_know_the_photons():
    """Fits with errors of their own, doubled ones beside: 5 and 95 % are those of the isolated alone."""
    rng = np.random.default_rng(1)
    n = 400
    frame = np.repeat(np.arange(200), 2)
    x = np.where(np.arange(n) % 2 == 0, 3.0, np.where(frame % 4 == 0, 3.5, 9.0))  # every fourth frame has a pair
    light = rng.normal(2000, 60, n) + np.where(frame % 4 == 0, 2000, 0)
    locs = make_localizations(frame, x, np.full(n, 3.0), rng.uniform(0, 1, n), photons=light,
                              background=rng.normal(12, 0.4, n))  # fmt: skip
    alone = isolated(locs, 2.0)
    np.testing.assert_array_equal(alone, frame % 4 != 0)
    levels = light_levels(locs, 250, 2.0)
    assert levels.isolated == alone.sum() == 300 and levels.rows == n
    np.testing.assert_allclose(levels.photons, 2000 + 60 * np.array([-1.645, 1.645]), rtol=0.01)
    np.testing.assert_allclose(levels.background, 12 + 0.4 * np.array([-1.645, 1.645]), rtol=0.02)
    np.testing.assert_allclose(levels.z_um, [0.01, 0.99], atol=0.02)
    assert levels.mean_per_frame == 1.6 and levels.many_per_frame == 2


def test_a_floor_is_taken_block_by_block():
    """Each pixel's minimum, or percentile, of its own block; the rest of the last block belongs to the one before."""
    movie = np.random.default_rng(0).poisson(30.0, (25, 4, 5)).astype(float)
    movie[10:] += 100
    left = subtract_floor(movie, 10)
    np.testing.assert_array_equal(left[:10], movie[:10] - movie[:10].min(axis=0))
    np.testing.assert_array_equal(left[10:], movie[10:] - movie[10:].min(axis=0))
    median = subtract_floor(movie, 100, 50)
    np.testing.assert_array_equal(median, movie - np.median(movie, axis=0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: darkest_pixel(np.zeros((1, 4, 4))), "2 or more"),
        (lambda: darkest_pixel(np.full((3, 4, 4), np.nan)), "NaN"),
        (lambda: brightest_photons(np.ones((3, 4, 4)), [0.1], darkest_pixel(np.ones((3, 4, 4)))), "brighter"),
        (lambda: brightest_photons(np.ones((3, 4, 4)), [0.0], darkest_pixel(np.ones((3, 4, 4)))), "peak_shares"),
        (lambda: subtract_floor(np.ones((3, 4, 4)), 0), "block = 0"),
        (lambda: light_levels(make_localizations([0], [1], [1], [0]), 1, 1.0), "no row"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    """In one line."""
    with pytest.raises(LocalizationError, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)
