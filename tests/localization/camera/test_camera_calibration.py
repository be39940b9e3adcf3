"""Dark and flat frames of cameras whose numbers are known: accuracy, errors, and what cannot be measured."""

import numpy as np
import pytest
import tifffile

from localization import LocalizationError, calibrate_camera, measure_level, open_movie
from made.camera_frames import SIDE_PX, record


def calibrated(levels=(30.0, 120.0, 500.0), **camera):
    dark = measure_level(record(0.0, **camera))
    return calibrate_camera(dark, [measure_level(record(e, seed=k + 1, **camera), dark) for k, e in enumerate(levels)])


@pytest.mark.parametrize(("gain", "offset", "read_noise_e"), [(0.46, 100.0, 1.2), (2.2, 400.0, 1.6), (8.0, 50.0, 0.9)])
def test_the_numbers_of_the_camera_come_back(gain, offset, read_noise_e):
    """Gain within 1 %, offset within 0.1 count, read noise within 2 %, each within 5 of its own errors."""
    found = calibrated(gain=gain, offset=offset, read_noise_e=read_noise_e)
    assert found.gain_adu_per_e == pytest.approx(gain, rel=0.01)
    assert found.offset_adu == pytest.approx(offset, abs=0.1)
    assert found.read_noise_e == pytest.approx(read_noise_e, rel=0.02)
    assert abs(found.gain_adu_per_e - gain) < 5 * found.gain_error
    assert abs(found.offset_adu - offset) < 5 * found.offset_error_adu
    assert abs(found.read_noise_e - read_noise_e) < 5 * found.read_noise_error_e
    assert found.warnings == ()


def test_errors_are_those_that_repeats_show():
    """Eight calibrations scatter by about what each says of itself."""
    found = [
        calibrate_camera(measure_level(record(0.0, seed=s)), [measure_level(record(80.0, seed=100 + s))])
        for s in range(8)
    ]
    for value, error in (("gain_adu_per_e", "gain_error"), ("read_noise_e", "read_noise_error_e")):
        scatter = np.std([getattr(one, value) for one in found], ddof=1)
        assert 0.4 < scatter / np.mean([getattr(one, error) for one in found]) < 2.5


def test_maps_follow_the_pixels():
    """sCMOS maps: each pixel's offset, gain and read noise to within the scatter that 150 frames leave."""
    rng = np.random.default_rng(7)
    shape = (SIDE_PX, SIDE_PX)
    gain, offset = rng.normal(2.0, 0.2, shape).clip(1), rng.normal(100, 5, shape)
    read = rng.gamma(4.0, 0.5, shape) + 0.5
    found = calibrated((50.0, 300.0, 1000.0), gain=gain, offset=offset, read_noise_e=read)
    gain_scatter = np.std(found.gain_map_adu_per_e / gain - 1)
    assert 0.7 < gain_scatter / found.map_error < 1.3 and gain_scatter < 0.1
    assert np.std(found.offset_map_adu - offset) < 2 * np.mean(gain * read) / np.sqrt(150)
    # the read noise is that over the sensor's gain, as the camera's model wants it in electrons
    assert np.corrcoef(found.read_noise_map_e.ravel(), (read * gain).ravel())[0, 1] > 0.95


def test_a_lamp_that_flickers_does_not_raise_the_gain():
    """2 % flicker of 2,000 electrons would add 80 % to the variance; uneven light does not hide it."""
    uneven = 2000 * (1 + 0.3 * np.linspace(-1, 1, SIDE_PX))
    dark = measure_level(record(0.0))
    flat = measure_level(record(uneven, flicker=0.02, seed=1), dark)
    assert flat.flicker == pytest.approx(0.02, rel=0.2)
    assert calibrate_camera(dark, [flat]).gain_adu_per_e == pytest.approx(2.2, rel=0.02)


def test_drift_is_told():
    """A dark whose pixels drift by themselves is warned of."""
    movie = (
        record(0.0) + np.round(np.linspace(0, 20, 150)[:, None, None] * np.linspace(-1, 1, SIDE_PX)).astype(int) + 40
    )
    dark = measure_level(movie)
    assert dark.drift > 0.5
    assert any("dark drifts" in warning for warning in calibrate_camera(dark, [measure_level(record(90.0))]).warnings)


def test_a_saturated_flat_is_left_out():
    """With a warning; the others do. Alone it is refused."""
    dark = measure_level(record(0.0, top=4095))
    levels = [measure_level(record(e, seed=1, top=4095), dark) for e in (100.0, 400.0, 1810.0)]
    found = calibrate_camera(dark, levels)
    assert "flat 3 saturates at 4095" in found.warnings[0]
    assert found.level_mean_adu.size == 3
    assert found.gain_adu_per_e == pytest.approx(2.2, rel=0.02)
    with pytest.raises(LocalizationError, match="saturates at 4095"):
        calibrate_camera(dark, levels[2:])


def test_a_curve_that_bends_is_told():
    """A sensor whose response falls off by a tenth at the brightest level."""
    dark, flats = measure_level(record(0.0, gain=1.0)), []
    for e in (200.0, 1000.0, 2000.0):
        straight = record(e, gain=1.0, seed=2) - 100.0
        flats.append(measure_level(np.round(100 + straight * (1 - 0.1 * straight / 2000)), dark))
    found = calibrate_camera(dark, flats)
    assert found.bend is not None and found.bend < -0.2
    assert any("bends" in warning for warning in found.warnings)


def test_few_frames_and_noise_below_a_count_are_told():
    """Twenty frames serve the whole sensor, not its pixels; rounding hides a read noise of 0.2 counts."""
    few = calibrated(frames=20)
    assert "only 20 frames" in few.warnings[0] and few.gain_adu_per_e == pytest.approx(2.2, rel=0.03)
    coarse = calibrated(gain=0.2, read_noise_e=1.0)
    assert any("finer than a count" in warning for warning in coarse.warnings)


def test_compressed_tiff_is_read_from_disk(tmp_path):
    """LZW and deflate, in parts, give what the arrays give."""
    arrays = record(0.0, frames=30), record(200.0, frames=30, seed=1)
    levels = []
    for name, compression, array in zip("df", ("lzw", "deflate"), arrays, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, compression=compression, photometric="minisblack")
        seen = []
        with open_movie(tmp_path / f"{name}.tif") as movie:
            levels.append(measure_level(movie, report=lambda done, total, seen=seen: seen.append((done, total))))
        assert seen[-1] == (60, 60)
    direct = [measure_level(array) for array in arrays]
    assert calibrate_camera(levels[0], levels[1:]).gain_adu_per_e == pytest.approx(
        calibrate_camera(direct[0], direct[1:]).gain_adu_per_e, rel=1e-9
    )


@pytest.mark.parametrize(
    ("dark", "flat", "message"),
    [
        (record(0.0, offset=0.0), record(50.0), "dark frames are cut off at 0"),
        (record(0.0)[:5], record(50.0), "5 frames are too few"),
        (record(0.0), record(50.0)[:, :20], "do not fit the dark's"),
        (record(0.0)[0], record(50.0), "pass a movie"),
        (record(0.0), record(0.0, seed=3), "no brighter than the dark"),
        (record(0.0) * np.nan, record(50.0), "NaN"),
        (record(0.0), np.repeat(record(50.0)[:1], 20, axis=0), "no noisier than the dark"),
    ],
)
def test_frames_that_cannot_tell_are_refused(dark, flat, message):
    """Each in one line that says what to record instead."""
    with pytest.raises(LocalizationError, match=message):
        level = measure_level(dark)
        calibrate_camera(level, [measure_level(flat, level)])
