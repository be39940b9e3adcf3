"""Gain and offset from the noise within frames: simulated cameras with known numbers, stretched frames, refusals."""

import numpy as np
import pytest

from localization import LocalizationError
from localization.camera.frame_noise import estimate_frame_noise, is_stretched


def frames(gain: float, offset: float, n: int = 6) -> np.ndarray:
    """Spots on an uneven background, read by a camera of known gain and offset: (n, 96, 96)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    level = 20 + 40 * np.exp(-((x - 40) ** 2 + (y - 60) ** 2) / 1500)
    for u, v in rng.uniform(5, 90, (12, 2)):
        level = level + 60 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * 1.6**2))
    return offset + gain * rng.poisson(level, (n, 96, 96))


@pytest.mark.parametrize("gain, offset", [(1.0, 0.0), (2.7, 120.0), (1e-4, 0.02)])
def test_gain_and_offset_of_a_known_camera(gain, offset):
    """To a tenth, whatever the scale: frames stretched to 0 ... 1 as well as counts."""
    found = estimate_frame_noise(frames(gain, offset))
    assert found.gain_adu_per_photon == pytest.approx(gain, rel=0.1)
    assert found.offset_adu == pytest.approx(offset, abs=5 * gain)
    assert abs(found.gain_adu_per_photon - gain) < 3 * found.gain_error < 0.5 * gain


def test_stretched_frames_are_told_from_a_movie():
    """Each frame from its own minimum to its own maximum: yes; camera counts, or a single frame: no."""
    movie = frames(2.0, 100.0)
    low, high = (f(movie, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    assert is_stretched((movie - low) / (high - low)) and is_stretched(np.round(65535 * (movie - low) / (high - low)))
    assert not is_stretched(movie) and not is_stretched(movie[:1])


@pytest.mark.parametrize(
    "bad, message",
    [
        (np.zeros((2, 8, 8)), "too few pixels"),
        (np.full((4, 64, 64), 7.0), "does not grow"),
        (np.random.default_rng(0).normal(100, 3, (2, 64, 64)), "does not grow"),
        (np.full((2, 64, 64), np.nan), "NaN"),
        (np.zeros(9), "shape"),
    ],
)
def test_frames_that_show_no_camera(bad, message):
    """Constant frames, noise of one size, NaN: one line each."""
    with pytest.raises(LocalizationError, match=message):
        estimate_frame_noise(bad)
