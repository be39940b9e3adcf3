"""Frames in pieces: pixels that count, lists of windows joined, and what is said of PSF, camera and depths."""

import numpy as np
import pytest

from experiments.reading.pieces.pixels import countable
from experiments.reading.pieces.seams import join_windows, near_core
from experiments.reading.pieces.tiles import tiles
from experiments.reading.remarks import ends, remarks, residual
from localization import make_localizations
from optics import make_camera

PIXEL_UM = 0.1
WINDOWS = [(row, column) for row in tiles(36, 24, 6) for column in tiles(36, 24, 6)]


def as_windows(places):
    """Lists of what windows list of places (n, 3): number of the window, x, y in um of the frame."""
    lists = []
    for number, (row, column) in enumerate(WINDOWS):
        x, y = np.array([place[1:] for place in places if place[0] == number]).reshape(-1, 2).T
        corner = column.window.start * PIXEL_UM, row.window.start * PIXEL_UM
        assert near_core(x - corner[0], y - corner[1], row, column, PIXEL_UM).all()
        lists.append(make_localizations(np.zeros(x.size), x, y, 0 * x, photons=1000 + 0 * x))
    return join_windows(lists, WINDOWS, PIXEL_UM)


def seam():
    """Where the first two windows' cores meet, in um, and a height well inside both."""
    return WINDOWS[0][1].core.stop * PIXEL_UM, 0.7


@pytest.mark.parametrize("left, right", [(-0.01, 0.01), (0.01, -0.01), (-0.01, -0.02), (0.01, 0.02)])
def test_an_emitter_at_a_seam_is_listed_once(left, right):
    """Whichever side of the seam its two windows put it on: it neither appears twice nor vanishes."""
    x, y = seam()
    found = as_windows([(0, x + left, y), (1, x + right, y)])
    assert found.x_um.size == 1 and abs(found.x_um[0] - x) < 0.03


def test_an_emitter_where_four_windows_meet_is_listed_once():
    x, _ = seam()
    off = [(-0.01, 0.01), (0.01, 0.01), (0.01, -0.02), (-0.01, -0.01)]
    found = as_windows([(number, x + dx, x + dy) for number, (dx, dy) in zip((0, 1, 2, 3), off, strict=True)])
    assert found.x_um.size == 1


def test_two_emitters_that_both_windows_tell_apart_stay_two():
    """0.08 um apart across a seam: each window lists both, and both are kept, once."""
    x, y = seam()
    both = [(window, x + side + shift, y) for window, shift in ((0, 0.004), (1, -0.003)) for side in (-0.04, 0.04)]
    found = as_windows(both)
    np.testing.assert_allclose(found.x_um, [x - 0.04, x + 0.04], atol=0.005)


def test_what_one_window_lists_beyond_its_core_is_the_other_windows_to_say():
    x, y = seam()
    assert as_windows([(0, x + 0.05, y)]).x_um.size == 0
    assert as_windows([(0, x - 0.05, y)]).x_um.size == 1


def test_pixels_that_count():
    """NaN and Inf are left out and filled; so is the converter's limit, known or given; a frame of NaN has none."""
    frames = np.full((4, 5, 5), 100.0)
    frames[0, 0, :3] = np.nan, np.inf, 120
    frames[1, 2, 1:3] = 65535
    frames[2] = np.nan
    frames[3, 1, 1] = 4095  # one alone may be a count
    pixels = countable(frames)
    assert np.isfinite(pixels.counts).all() and (pixels.saturated, pixels.not_finite) == (2, 27)
    assert (~pixels.valid).sum(axis=(1, 2)).tolist() == [2, 2, 25, 0]
    assert countable(frames, saturation_adu=110.0).saturated == 4


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_a_gain_off_by_two_is_said_with_its_factor(gain):
    """Frames of a camera whose gain is not the one assumed: variance over mean is the factor, by Poisson's law."""
    counts = 100 + gain * np.random.default_rng(0).poisson(50.0, (2, 64, 64))
    mean = np.full((2, 64, 64), 50.0 * gain)
    tally = residual(make_camera(offset_adu=100.0), counts, np.ones(counts.shape, bool), mean, mean)
    (line,) = remarks(tally)
    said = float(line.split(" times")[0].split()[-1])
    assert "gain" in line and abs(said / gain - 1) < 0.1


def test_an_image_that_is_not_the_movies_is_said_with_what_it_leaves():
    """A spot of 0.15 um where 0.18 um is assumed: the share of light left is that of the two images themselves."""
    at = (np.arange(31) - 15) * PIXEL_UM
    true, assumed = (np.exp(-(at**2 + at[:, None] ** 2) / (2 * s**2)) / (2 * np.pi * s**2) * 0.01 for s in (0.15, 0.18))
    share = np.sqrt(np.sum((true - assumed) ** 2) / np.sum(assumed**2))
    counts = np.random.default_rng(1).poisson(2e4 * true + 20, (8, 31, 31))
    mean, level = np.broadcast_to(2e4 * assumed + 20, counts.shape), np.full(counts.shape, 20.0)
    (line,) = remarks(residual(make_camera(), counts, np.ones(counts.shape, bool), mean, level))
    assert line.startswith("the PSF leaves") and abs(float(line.split()[3]) / (100 * share) - 1) < 0.1
    right = np.broadcast_to(2e4 * true + 20, counts.shape)
    assert remarks(residual(make_camera(), counts, np.ones(counts.shape, bool), right, level)) == []


def test_depths_that_cut_emitters_off_are_said():
    few, many = np.arange(100) < 9, np.arange(100) < 30
    assert remarks(ends(few, True)) == []
    assert remarks(ends(many, True)) == ["30 of 100 emitters are at an end of the depths: widen z_min_um, z_max_um"]
    assert "another gaussian_sigma_um" in remarks(ends(many, False))[0]
