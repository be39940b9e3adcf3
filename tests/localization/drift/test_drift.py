"""Drift against drift that was put in, and the reasons given where there is none to be found."""

from dataclasses import replace

import numpy as np
import pytest

from localization import Drift, LocalizationError, apply_drift, concatenate, correct_drift, make_localizations, select
from localization.drift.correct import frames_outside
from localization.drift.rcc import axial_pairs
from localization.drift.segments import curve, curve_error_um, cut_segments, summit

FRAMES, ROWS = 1000, 30_000


def drifting(seed=0, *, frames=FRAMES, rows=ROWS, flat=False, wander_um=0.002):
    """Molecules on wavy threads in 6 x 5 x 1 um, seen again and again, and the drift (frames, 3) put on them."""
    rng = np.random.default_rng(seed)
    thread = rng.integers(0, 12, 1500)
    along = rng.uniform(0, 6, 1500)
    place = np.stack(
        [
            along,
            0.4 * thread + 0.3 * np.sin(along + thread),
            0.5 + 0.4 * np.sin(1.7 * along + 2.0 * thread),
        ],
        axis=1,
    )
    t = np.arange(frames) / frames
    drift = np.stack([0.2 * t, -0.15 * t**2, 0.1 * np.sin(3 * t)], axis=1)
    drift = drift + np.cumsum(rng.normal(0, wander_um, (frames, 3)), axis=0)
    frame = rng.integers(0, frames, rows)
    seen = place[rng.integers(0, 1500, rows)] + drift[frame] + rng.normal(0, [0.01, 0.01, 0.02], (rows, 3))
    if flat:
        seen[:, 2] = 0.0
    return make_localizations(frame + 3, *seen.T), drift


def error_um(found, drift, axes=3):
    """Standard deviation of the found less the true curve, per axis."""
    curves = np.stack([found.x_um, found.y_um, found.z_um], axis=1)
    return (curves - drift[found.frame - 3]).std(axis=0)[:axes]


@pytest.fixture(scope="module")
def movie():
    return drifting()


@pytest.fixture(scope="module", params=["rcc", "aim"])
def estimated(request, movie):
    return request.param, *correct_drift(movie[0], method=request.param, search_um=0.5)


def test_drift_that_was_put_in_is_found_again(movie, estimated):
    """Both methods recover 300 nm of linear, curved and wandering drift in x, y and z to a tenth."""
    method, _, found = estimated
    assert found.method == method and found.frame[0] == 3 and found.frame.size == FRAMES
    assert (error_um(found, movie[1]) < {"rcc": 0.015, "aim": 0.008}[method]).all()


def test_reported_error_is_that_of_the_curve(movie, estimated):
    """The error from two halves and from the wander is within a factor 1.6 of the true one, in every axis."""
    _, _, found = estimated
    ratio = found.error_um / error_um(found, movie[1])
    assert (ratio > 1 / 1.6).all() and (ratio < 1.6).all(), ratio


def test_correction_subtracts_the_curve_and_keeps_the_centre(movie, estimated):
    """The corrected table is the table less the curve at its frames; its mean position has not moved."""
    locs = movie[0]
    _, corrected, found = estimated
    np.testing.assert_allclose(corrected.x_um, locs.x_um - found.x_um[locs.frame - 3], rtol=0, atol=1e-12)
    for axis in ("x_um", "y_um", "z_um"):
        assert abs(getattr(corrected, axis).mean() - getattr(locs, axis).mean()) < 1e-10
    np.testing.assert_array_equal(apply_drift(locs, found).y_um, corrected.y_um)
    np.testing.assert_array_equal(corrected.frame, locs.frame)


def test_row_order_does_not_matter(movie):
    """A shuffled table has the same drift."""
    locs, _ = movie
    some = select(locs, np.arange(8000))
    shuffled = select(some, np.random.default_rng(1).permutation(8000))
    one, other = (correct_drift(t, segment_frames=100, search_um=0.5)[1] for t in (some, shuffled))
    np.testing.assert_allclose(one.x_um, other.x_um, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["rcc", "aim"])
def test_two_dimensional_table_says_that_z_was_left_out(method):
    """With all z equal, x and y are corrected, z is not touched, and a note and NaN say so."""
    locs, drift = drifting(flat=True, rows=12_000)
    corrected, found = correct_drift(locs, method=method, search_um=0.5)
    assert (error_um(found, drift, 2) < 0.02).all()
    assert np.isnan(found.error_um[2]) and (corrected.z_um == 0).all()
    assert any("2D" in note for note in found.notes)


@pytest.mark.parametrize("method", ["rcc", "aim"])
@pytest.mark.parametrize("seed", [0, 1])
def test_points_without_structure_are_refused(method, seed):
    """Independent random points have no drift to be found: an error with the peaks' height, never a curve."""
    rng = np.random.default_rng(seed)
    locs = make_localizations(rng.integers(0, 1000, 20_000), *rng.uniform(0, [8, 8, 1], (20_000, 3)).T)
    with pytest.raises(LocalizationError, match=r"drift in x and y: .* standard deviations, .*common structure"):
        correct_drift(locs, method=method)


@pytest.mark.parametrize("method", ["rcc", "aim"])
def test_drift_beyond_the_search_is_named(method):
    """A drift that jumps by more than the search radius raises an error that says so, or that nothing lines up."""
    locs, _ = drifting(rows=10_000)
    late = locs.frame > 500
    moved = make_localizations(locs.frame, locs.x_um + 1.3 * late, locs.y_um, locs.z_um)
    with pytest.raises(LocalizationError, match="raise search_um|stands out|more often at one shift|jumps by more"):
        correct_drift(moved, method=method, search_um=0.4)


def test_depths_without_structure_leave_x_and_y_corrected():
    """Where only z is random, x and y are corrected and a note says why z was not."""
    locs, drift = drifting(rows=12_000)
    z_um = np.random.default_rng(3).uniform(0, 1, locs.frame.size)
    _, found = correct_drift(make_localizations(locs.frame, locs.x_um, locs.y_um, z_um), search_um=0.5)
    assert (error_um(found, drift, 2) < 0.02).all()
    assert (found.z_um == 0).all() and any("z was not corrected" in note for note in found.notes)


@pytest.mark.parametrize(
    ("locs", "options", "message"),
    [
        (make_localizations([], [], [], []), {}, "empty"),
        (make_localizations([4] * 99, *np.zeros((3, 99))), {}, "span 1 frames"),
        (
            make_localizations(np.arange(40), *np.zeros((3, 40))),
            {"segment_frames": 10},
            "segments of 10 frames hold 50",
        ),
        (make_localizations(np.arange(400), *np.zeros((3, 400))), {"segment_frames": 0}, "segment_frames is 0"),
        (make_localizations(np.arange(400), *np.zeros((3, 400))), {"method": "mean"}, "unknown method 'mean'"),
        (make_localizations(np.arange(400), *np.zeros((3, 400))), {"search_um": 0.0}, "search_um is 0"),
        (make_localizations(np.arange(400), *np.zeros((3, 400))), {"search_um": 0.05}, "at least 5 pixels"),
    ],
)
def test_wrong_input_is_named(locs, options, message):
    """Each mistake raises a LocalizationError that names it."""
    with pytest.raises(LocalizationError, match=message):
        correct_drift(locs, **options)


def test_frame_gap_is_passed_over_and_reported():
    """A dark third of the movie leaves a note and a curve that is still right outside of it."""
    locs, drift = drifting()
    locs = select(locs, (locs.frame < 350) | (locs.frame > 650))
    _, found = correct_drift(locs, segment_frames=20, search_um=0.5)
    assert any("too few localizations" in note for note in found.notes)
    lit = (found.frame < 350) | (found.frame > 650)
    curves = np.stack([found.x_um, found.y_um, found.z_um], axis=1)
    assert ((curves - drift)[lit].std(axis=0) < 0.012).all()


def test_ends_of_a_drift_are_held():
    """A channel with rows before the first and after the last frame of a drift: each moved by hand, sign and all."""
    by_frame = np.array([[0.1, -0.2, 0.3], [0.2, -0.1, 0.4], [0.4, 0.0, 0.5]])
    x, y, z = by_frame.T
    drift = Drift(np.arange(5, 8), x, y, z, np.zeros(3), np.zeros(3), np.zeros((3, 3)), "rcc", {}, ())
    locs = make_localizations([0, 5, 6, 7, 5000], [1.0] * 5, [2.0] * 5, [3.0] * 5)
    moved = apply_drift(locs, drift)
    np.testing.assert_allclose(moved.x_um, [0.9, 0.9, 0.8, 0.6, 0.6], rtol=1e-12)
    np.testing.assert_allclose(moved.y_um, [2.2, 2.2, 2.1, 2.0, 2.0], rtol=1e-12)
    np.testing.assert_allclose(moved.z_um, [2.7, 2.7, 2.6, 2.5, 2.5], rtol=1e-12)
    assert frames_outside(locs, drift).tolist() == [0, 4]


def test_rows_far_from_all_others_change_nothing(movie, estimated):
    """Rows 5 mm aside, 1 cm deep and in frame 10^9: the drift of the rest to the bit, a note, and they move with it."""
    locs, _ = movie
    method, corrected, good = estimated
    stray = make_localizations([500, 500, 10**9], [5000.0, 1.0, 1.0], [-3000.0, 1.0, 1.0], [0.0, 1e4, 0.0])
    moved, found = correct_drift(concatenate([stray, locs]), method=method, search_um=0.5)
    for axis in ("x_um", "y_um", "z_um"):
        np.testing.assert_array_equal(getattr(found, axis), getattr(good, axis))
    np.testing.assert_array_equal(moved.x_um[3:], corrected.x_um)
    np.testing.assert_allclose(moved.z_um[1], 1e4 - good.z_um[500 - 3], rtol=1e-12)
    np.testing.assert_allclose(moved.x_um[2], 1.0 - good.x_um[-1], rtol=1e-12)
    assert "3 rows" in found.notes[0] or "row 1 (x = 5000 um" in found.notes[0]
    assert "colocus filter LIST --out GOOD" in found.notes[0] and "frames=[0," in found.notes[0]


def test_a_field_of_two_far_tiles_takes_the_time_of_two():
    """Two halves 50 mm apart: neither is far from all others, and the empty tiles between them are not visited."""
    locs, _ = drifting(rows=10_000, flat=True)
    other = replace(locs, x_um=locs.x_um + 50_000.0)
    found = correct_drift(concatenate([locs, other]), method="rcc", search_um=0.3, segment_frames=330)[1]
    alone = correct_drift(locs, method="rcc", search_um=0.3, segment_frames=330)[1]
    assert not any("far from" in note for note in found.notes)
    np.testing.assert_allclose(found.x_um - found.x_um.mean(), alone.x_um - alone.x_um.mean(), atol=0.003)


def test_a_fog_of_failed_fits_takes_no_tiles():
    """One row in twenty is strewn over 5 x 5 mm: too many to be exceptions, they cost no transforms and no accuracy."""
    locs, drift = drifting(rows=10_000, flat=True)
    rng = np.random.default_rng(1)
    x_um, y_um = rng.uniform(0, 5000, (2, 500))
    fog = make_localizations(rng.integers(3, 1003, 500), x_um, y_um, np.zeros(500))
    found = correct_drift(concatenate([locs, fog]), method="rcc", search_um=0.3, segment_frames=250)[1]
    assert (error_um(found, drift, 2) < 0.02).all()


def test_frames_and_depths_beyond_memory_are_refused_at_once():
    """Half of a list in the far future, or a metre deep: one line with the remedy, before memory is asked for."""
    rng = np.random.default_rng(0)
    place = rng.uniform(0, 5, (20_000, 3))
    frame = rng.integers(0, 1000, 20_000)
    late = make_localizations(frame + 10**12 * (frame > 500), *place.T)
    with pytest.raises(LocalizationError, match="span 100000.* frames, more than"):
        correct_drift(late)
    deep = np.where(rng.random(20_000) < 0.5, 0.0, 1e6)
    with pytest.raises(LocalizationError, match="1000000 um of depth in 20 segments"):
        axial_pairs(
            np.zeros(20_000, np.int64),
            np.zeros(20_000, np.int64),
            deep,
            cut_segments(make_localizations(frame, *place.T), 50, rows_each=1, most=30),
            pixel_um=0.05,
            search_um=1.0,
        )


def test_summit_of_a_gaussian_on_a_symmetric_pedestal_is_exact():
    """The summit of a function that is symmetric about a sub-pixel point is that point, in one and two axes."""
    y, x = np.mgrid[:41, :41].astype(float)
    image = np.exp(-((x - 20.3) ** 2 + (y - 18.8) ** 2) / 12) + 0.5 * np.exp(-(((x - 20.3) + (y - 18.8)) ** 2) / 200)
    np.testing.assert_allclose(summit(image, (19, 20), 2.0), [18.8, 20.3], atol=0.02)
    np.testing.assert_allclose(summit(np.exp(-((np.arange(30) - 14.4) ** 2) / 8), (14,), 2.0), [14.4], atol=0.005)


def test_curve_goes_through_segments_and_straight_beyond():
    """A straight drift is the same straight line at every frame, outer half segments included."""
    centre = np.array([10.0, 30.0, 50.0, 70.0, 90.0])
    line = curve(centre, np.stack([0.01 * centre, -0.02 * centre], axis=1), 0, 99)
    np.testing.assert_allclose(line, np.outer(np.arange(100), [0.01, -0.02]), atol=1e-12)


def test_error_of_a_random_walk_between_segments():
    """Segment means of Brownian motion, interpolated, miss it by what `curve_error_um` says."""
    rng = np.random.default_rng(5)
    length, count = 100, 400
    walk = np.cumsum(rng.normal(0, 0.001, length * count))
    means = walk.reshape(count, length).mean(axis=1)
    centre = (np.arange(count) + 0.5) * length - 0.5
    missed = (curve(centre, means[:, None], 0, length * count - 1)[:, 0] - walk).std()
    assert curve_error_um(means, 0.0) == pytest.approx(missed, rel=0.15)
