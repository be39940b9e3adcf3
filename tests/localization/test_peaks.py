"""Peaks of volumes and probability maps against slow, obvious versions, and the coordinate algebra."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from localization import LocalizationError, list_peaks, volume_peaks

GEOMETRY = {"pixel_um": 0.11, "z_min_um": 2.0, "z_max_um": 6.0}


def slow_volume_peaks(volume, threshold, radius):
    """Indices plus centre-of-mass shift (z, y, x) and values of the peaks, one voxel at a time."""
    padded = np.pad(volume.astype(float), radius)
    side = np.arange(-radius, radius + 1)
    rows = []
    largest = maximum_filter(volume, 2 * radius + 1, mode="constant") == volume
    for index in np.argwhere((volume > threshold) & largest):
        cube = padded[tuple(slice(i, i + 2 * radius + 1) for i in index)]
        profiles = [cube.sum(axis=(1, 2)), cube.sum(axis=(0, 2)), cube.sum(axis=(0, 1))]
        shift = [(profile * side).sum() / cube.sum() for profile in profiles]
        rows.append([*(index + shift), volume[tuple(index)]])
    return np.array(rows).reshape(-1, 4)


@pytest.mark.parametrize(("radius", "upsampling"), [(4, 4), (1, 1), (2, 4)])
def test_volume_peaks_equal_the_slow_version(radius, upsampling):
    """Sparse spots with values up to the border: peaks, refined positions, scores as voxel by voxel."""
    rng = np.random.default_rng(radius)
    volume = rng.gamma(0.3, 20.0, (13, 31, 37)).astype(np.float32)
    expected = slow_volume_peaks(volume, 60.0, radius)
    locs = volume_peaks(volume, threshold=60.0, radius=radius, upsampling=upsampling, **GEOMETRY)
    assert len(expected) > 5
    fine_um = 0.11 / upsampling
    np.testing.assert_allclose(locs.x_um, (expected[:, 2] + 0.5) * fine_um, rtol=1e-9)
    np.testing.assert_allclose(locs.y_um, (expected[:, 1] + 0.5) * fine_um, rtol=1e-9)
    np.testing.assert_allclose(locs.z_um, 2.0 + (expected[:, 0] + 0.5) * 4.0 / 13, rtol=1e-9)
    np.testing.assert_array_equal(locs.score, expected[:, 3])


def test_axes_are_refined_independently():
    """A neighbour along one axis moves the peak along that axis alone, by its share of the mass."""
    for axis, name in enumerate(("z_um", "y_um", "x_um")):
        volume = np.zeros((11, 20, 20))
        volume[5, 9, 9] = 90.0
        volume[tuple(np.array([5, 9, 9]) + 2 * np.eye(3, dtype=int)[axis])] = 30.0
        locs = volume_peaks(volume, threshold=40.0, pixel_um=4.0, z_min_um=0.0, z_max_um=11.0)
        expected = {"z_um": 5.5, "y_um": 9.5, "x_um": 9.5}
        expected[name] += 2 * 30 / 120
        assert {key: float(getattr(locs, key)[0]) for key in expected} == pytest.approx(expected)


def test_threshold_is_strict_and_ties_survive():
    """A value equal to the threshold is no peak; two equal maxima in one cube are both kept."""
    volume = np.zeros((9, 20, 20))
    volume[4, 5, 5] = 40.0
    assert volume_peaks(volume, threshold=40.0, **GEOMETRY).frame.size == 0
    volume[4, 5, 7] = 40.0
    assert volume_peaks(volume, threshold=39.9, frame=6, **GEOMETRY).frame.tolist() == [6, 6]


@pytest.mark.parametrize("camera_px", [120, 121])
def test_corner_coordinates_repeat_the_published_centred_formula(camera_px):
    """With shift 2 and 4x upsampling, x from the centre is (i + d - floor(4 W / 2) + 2 + 0.5) fine pixels."""
    volume = np.zeros((3, 4 * camera_px, 4 * camera_px), np.float32)
    volume[1, 100, 301] = 80.0
    locs = volume_peaks(volume, threshold=40.0, shift_fine_px=2.0, **GEOMETRY)
    fine_um = 0.11 / 4
    centred_um = (301 - np.floor(4 * camera_px / 2) + 2 + 0.5) * fine_um
    assert float(locs.x_um[0]) - camera_px * 0.11 / 2 == pytest.approx(centred_um)


@pytest.mark.parametrize("upsampling", [1, 4])
@pytest.mark.parametrize("camera_px", [32, 33])
def test_shift_undoes_the_published_training_labels(upsampling, camera_px):
    """Labels floor(x_c / fine) + u floor(W / 2) read back to half a voxel: shift u / 2 for odd W, else 0."""
    fine_um = 0.11 / upsampling
    shift = upsampling / 2 if camera_px % 2 else 0.0
    for x_c_um in np.random.default_rng(0).uniform(-1.0, 1.0, 20):
        volume = np.zeros((3, 8, upsampling * camera_px))
        volume[1, 4, int(np.floor(x_c_um / fine_um)) + upsampling * (camera_px // 2)] = 80.0
        locs = volume_peaks(volume, threshold=40.0, upsampling=upsampling, shift_fine_px=shift, **GEOMETRY)
        assert abs(float(locs.x_um[0]) - (x_c_um + camera_px * 0.11 / 2)) <= fine_um / 2 + 1e-9


@pytest.mark.parametrize(
    ("volume", "change", "words"),
    [
        (np.zeros((4, 4)), {}, "shape"),
        (np.full((2, 4, 4), -1.0), {}, "negative"),
        (np.full((2, 4, 4), np.nan), {}, "NaN"),
        (np.zeros((2, 4, 4)), {"threshold": -1.0}, "threshold"),
        (np.zeros((2, 4, 4)), {"z_max_um": 1.0}, "z 2.0 to 1.0"),
    ],
)
def test_bad_volumes_are_refused(volume, change, words):
    """Shapes, negative or NaN values, thresholds and ranges that make no sense are named."""
    with pytest.raises(LocalizationError, match=words):
        volume_peaks(volume, **{"threshold": 1.0} | GEOMETRY | change)


def slow_list_peaks(probability, raw, keep, split):
    """Pixel by pixel: 3 x 3 maxima and adjacent emitters, cross sums, threshold."""
    picks = []
    for b, one in enumerate(probability):
        padded = np.pad(one, 1)
        for i, j in np.ndindex(one.shape):
            patch, p = padded[i : i + 3, j : j + 3], one[i, j]
            cross = min(p + patch[0, 1] + patch[2, 1] + patch[1, 0] + patch[1, 2], 1.0)
            if p > raw and (p == patch.max() or p > split) and cross >= keep:
                picks.append((b, i, j, cross))
    return np.array(picks)


def test_list_peaks_equal_the_slow_version():
    """Random maps in a batch: same pixels in the same order with the same summed probability."""
    rng = np.random.default_rng(8)
    probability = rng.beta(0.2, 1.5, (3, 40, 33))
    b, i, j, p = list_peaks(probability, raw_threshold=0.1, threshold=0.5)
    expected = slow_list_peaks(probability, 0.1, 0.5, 0.6)
    np.testing.assert_array_equal(np.stack([b, i, j], axis=1), expected[:, :3])
    np.testing.assert_allclose(p, expected[:, 3])


def test_emitter_on_a_pixel_border_counts_once_and_neighbours_count_twice():
    """Probability shared evenly by two pixels is one emitter; two pixels of 0.9 side by side are two."""
    probability = np.zeros((9, 9), np.float32)
    probability[4, 4:6] = 0.4
    assert [v.tolist() for v in list_peaks(probability)[:3]] == [[0], [4], [4]]
    probability[4, 4:6] = 0.9
    b, i, j, p = list_peaks(probability)
    assert j.tolist() == [4, 5] and p.tolist() == [1.0, 1.0]


def test_raw_threshold_is_strict_and_threshold_is_not():
    """p = raw_threshold is not looked at; a sum equal to `threshold` stays; batches and edges work."""
    probability = np.zeros((2, 5, 5))
    probability[1, 0, 0], probability[0, 4, 4] = 0.5, 0.25
    b, i, j, p = list_peaks(probability, raw_threshold=0.25, threshold=0.5)
    assert (b.tolist(), i.tolist(), j.tolist(), p.tolist()) == ([1], [0], [0], [0.5])
    assert list_peaks(np.zeros((0, 5, 5)))[0].size == 0


@pytest.mark.parametrize(
    ("probability", "change"),
    [
        (np.zeros(4), {}),
        (np.full((3, 3), 1.2), {}),
        (np.full((3, 3), np.nan), {}),
        (np.zeros((3, 3)), {"threshold": 2}),
    ],
)
def test_bad_probabilities_are_refused(probability, change):
    """Other shapes, logits, NaN and thresholds outside [0, 1] are errors."""
    with pytest.raises(LocalizationError):
        list_peaks(probability, **change)


def test_peaks_of_overlapping_pieces_come_out_once():
    """`rows` and `columns` choose by the peak's voxel; its refinement still sees what lies beyond."""
    volume = np.random.default_rng(5).random((5, 30, 40))
    options = dict(pixel_um=0.1, z_min_um=0.0, z_max_um=1.0, threshold=0.5, radius=2)
    whole = volume_peaks(volume, **options)
    halves = [volume_peaks(volume, **options, columns=span) for span in ((0, 17), (17, 40))]
    assert sum(half.frame.size for half in halves) == whole.frame.size > 10
    x_um = np.sort(np.concatenate([half.x_um for half in halves]))
    np.testing.assert_allclose(x_um, np.sort(whole.x_um), atol=1e-12)
    corner = volume_peaks(volume, **options, rows=(0, 1), columns=(0, 1))
    assert corner.frame.size <= 1
