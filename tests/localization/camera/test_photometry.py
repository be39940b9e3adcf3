"""Gain and offset from a movie's mean and noise, on movies whose answer is known."""

import numpy as np
import pytest

from localization import LocalizationError, estimate_gain_offset
from localization.camera.photometry import rounding_step
from made.camera_frames import blinking_movie


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 100.0), (1.42, 91.0), (2.2, 400.0), (8.0, 0.0)])
def test_gain_and_offset_of_a_blinking_movie(gain, offset):
    """Within 5 % and a few counts, though molecules switch all the time."""
    estimate = estimate_gain_offset(blinking_movie(gain, offset, side=192, emitters=600))
    assert estimate.gain_adu_per_photon == pytest.approx(gain, rel=0.05)
    assert estimate.offset_adu == pytest.approx(offset, abs=4 * gain + 1)


def test_errors_are_those_that_repeats_show():
    """Eight movies scatter by about what each says of itself."""
    estimates = [estimate_gain_offset(blinking_movie(1.5, 100.0, emitters=0, seed=s)) for s in range(8)]
    for value, error in (("gain_adu_per_photon", "gain_error"), ("offset_adu", "offset_error_adu")):
        scatter = np.std([getattr(one, value) for one in estimates], ddof=1)
        stated = np.mean([getattr(one, error) for one in estimates])
        assert 0.4 < scatter / stated < 2.5  # a scatter of 8 is itself known to 27 %, and so is a jackknife


def test_read_noise_lowers_the_offset_by_its_variance_over_the_gain():
    """Not told, the offset comes out gain * read_noise^2 low; told, it is the camera's."""
    movie = blinking_movie(2.0, 300.0, read_noise_e=4.0, emitters=0)
    estimate = estimate_gain_offset(movie)
    assert estimate.gain_adu_per_photon == pytest.approx(2.0, rel=0.05)
    assert estimate.offset_adu == estimate.zero_variance_adu == pytest.approx(300.0 - 2.0 * 16, abs=8)
    told = estimate_gain_offset(movie, read_noise_e=4.0)
    assert told.offset_adu == pytest.approx(told.zero_variance_adu + told.gain_adu_per_photon * 16)
    assert told.offset_adu == pytest.approx(300.0, abs=3 * told.offset_error_adu)
    with pytest.raises(LocalizationError, match="read_noise_e = -1"):
        estimate_gain_offset(movie, read_noise_e=-1.0)


def test_bright_molecules_everywhere_are_left_out():
    """Some 1,500 molecules of 5,000 photons in 192 x 192 px: still within 5 %, though a third is left out."""
    movie = blinking_movie(1.0, 100.0, n_frames=60, side=192, emitters=1500, photons=5000)
    estimate = estimate_gain_offset(movie)
    assert estimate.kept < 0.8
    assert estimate.gain_adu_per_photon == pytest.approx(1.0, rel=0.05)
    assert estimate.offset_adu == pytest.approx(100.0, abs=4)


def test_rounding_is_not_taken_for_light():
    """At 0.2 counts per electron the variance 1/12 of rounding would move the offset by 0.4, of a step of 4 by 27."""
    for step, gain in ((1, 0.2), (4, 2.0)):
        movie = blinking_movie(gain / step, 100.0, emitters=0, side=192) * step
        estimate = estimate_gain_offset(movie)
        assert (rounding_step(movie), estimate.step_adu) == (step, step)
        expected = 100 * step
        assert abs(estimate.offset_adu - expected) < 4 * estimate.offset_error_adu
    assert rounding_step(movie + 0.25 * np.arange(192)) == 0


def test_plain_temporal_noise_would_be_fooled():
    """The spatial filter is what blinking asks for: without it the gain is far too high."""
    movie = blinking_movie(1.5, 100.0, side=192, emitters=600).astype(float)
    level, noise = movie.mean(axis=0), np.diff(movie, axis=0).var(axis=0) / 2
    plain = np.polyfit(level.ravel(), noise.ravel(), 1)[0]
    assert plain > 1.5 * 1.5
    assert estimate_gain_offset(movie).gain_adu_per_photon == pytest.approx(1.5, rel=0.05)


def test_a_subtracted_map_shifts_and_stretches_as_stated():
    """Levels a + b L are taken away: the gain grows by 1 / (1 - b), the offset is (1 - b) offset - a."""
    movie = blinking_movie(1.5, 100.0, emitters=0).astype(float)
    a, b = 40.0, 0.3
    subtracted = movie - (a + b * np.median(movie, axis=0))
    before, after = estimate_gain_offset(movie), estimate_gain_offset(subtracted)
    assert after.gain_adu_per_photon == pytest.approx(before.gain_adu_per_photon / (1 - b), rel=0.02)
    assert after.offset_adu == pytest.approx((1 - b) * before.offset_adu - a, abs=3)


def test_the_raw_recording_and_its_subtracted_twin(data_folder):
    """The same exposures: equal noise, lower levels; the raw one agrees with itself in two halves."""
    import tifffile

    raw = tifffile.imread(data_folder("autods3d-tetrapod") / "frames_00000-00032_00050-00076.tif")
    twin = tifffile.imread(data_folder("ds3d-tetrapod-storm") / "frames_01-33.tif")[:, 16:329, 123:456]
    early, late, less = (estimate_gain_offset(movie) for movie in (raw[:33], raw[33:], twin))
    error = np.hypot(early.gain_error, late.gain_error)
    assert abs(early.gain_adu_per_photon - late.gain_adu_per_photon) < 3 * error
    assert less.gain_adu_per_photon > early.gain_adu_per_photon
    assert less.offset_adu < 0 < early.offset_adu


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((64, 64)), "movie"),
        (np.zeros((7, 64, 64)), "at least 8"),
        (np.full((9, 20, 20), np.nan), "NaN"),
        (np.random.default_rng(0).normal(100, 5, (20, 40, 40)), "does not grow"),
        (np.full((9, 20, 20), 7), "does not grow"),
    ],
)
def test_a_movie_that_cannot_tell_is_refused(frames, message):
    with pytest.raises(LocalizationError, match=message):
        estimate_gain_offset(frames)
