"""Tracks against known ones and laptrack on the whole table; diffusion against Brownian motion."""

import numpy as np
import pytest

from localization import LocalizationError, concatenate, diffusion, find_tracks, make_localizations, select


def walks(n, frames, d_um2_s, frame_s, seed, side_um=20.0, noise_um=0.0, lost=0.0):
    """Brownian paths: a table and the path of each row."""
    rng = np.random.default_rng(seed)
    step = rng.normal(0, np.sqrt(2 * d_um2_s * frame_s), (n, frames, 3))
    step[:, 0] = rng.uniform(0, side_um, (n, 3))
    place = (np.cumsum(step, axis=1) + rng.normal(0, noise_um, step.shape)).reshape(-1, 3)
    frame, path = np.tile(np.arange(frames), n), np.repeat(np.arange(n), frames)
    seen = rng.random(frame.size) >= lost
    return make_localizations(frame[seen], *place[seen].T), path[seen]


def same_partition(a, b):
    """Whether two labellings of rows differ by the labels' names alone."""
    pairs = np.unique(np.stack([a, b], axis=1), axis=0)
    return len(pairs) == np.unique(a).size == np.unique(b).size


def test_sparse_walkers_are_tracked_through_gaps():
    """Far apart, every walker is one track, dark frames included, whatever the order of rows."""
    locs, path = walks(40, 30, 0.05, 0.02, seed=0, side_um=200.0, lost=0.1)
    runs = find_tracks(locs, max_step_um=0.4, gap_frames=3)
    assert same_partition(runs, path)
    shuffle = np.random.default_rng(1).permutation(path.size)
    assert same_partition(find_tracks(select(locs, shuffle), max_step_um=0.4, gap_frames=3), path[shuffle])


@pytest.mark.parametrize("gap_frames", [0, 1])
def test_crowded_tracks_are_those_of_laptrack_on_the_whole_table(gap_frames):
    """Groups, and the shortcut for rows without a choice, change no link of laptrack's assignment."""
    from laptrack import LapTrack

    locs, _ = walks(60, 12, 0.2, 0.05, seed=3, side_um=4.0, lost=0.1)
    reach = 0.5 * np.sqrt(gap_frames + 1)
    whole = LapTrack(
        cutoff=0.25,
        gap_closing_cutoff=reach**2 if gap_frames else False,
        gap_closing_max_frame_count=gap_frames + 1,
        track_start_cost=1.05 * 0.25,
        track_end_cost=1.05 * 0.25,
        segment_start_cost=1.05 * reach**2,
        segment_end_cost=1.05 * reach**2,
    )
    rows = [np.flatnonzero(locs.frame == f) for f in range(12)]
    xyz = np.stack([locs.x_um, locs.y_um, locs.z_um], axis=1)
    tree = whole.predict([xyz[r] for r in rows])
    label = np.arange(locs.frame.size)
    for (f, i), (g, j) in sorted(tree.edges()):
        label[rows[g][j]] = label[rows[f][i]]
    found = find_tracks(locs, max_step_um=0.5, gap_frames=gap_frames, max_gap_step_um=reach)
    assert same_partition(found, label)
    assert np.bincount(np.bincount(found))[2:].sum() > 40  # there were tracks to agree on


def test_channels_and_depth_keep_tracks_apart():
    """Rows of two channels, and rows a large step in z apart, are never joined."""
    locs = make_localizations([0, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0], channel=[0, 1, 0])
    assert find_tracks(locs, max_step_um=0.5).tolist() == [0, 1, 0]
    deep = make_localizations([0, 1], [1, 1], [1, 1], [0.0, 0.4])
    assert find_tracks(deep, max_step_um=0.5).tolist() == [0, 0]
    assert find_tracks(deep, max_step_um=0.5, max_step_z_um=0.3).tolist() == [0, 1]


def test_empty_table_has_no_tracks():
    """No rows, no tracks."""
    assert find_tracks(make_localizations([], [], [], []), max_step_um=0.5).size == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_step_um": 0.0}, "max_step_um is 0.0"),
        ({"max_step_um": 0.1, "max_step_z_um": -1.0}, "max_step_z_um is -1.0"),
        ({"max_step_um": 0.1, "gap_frames": -1}, "gap_frames is -1"),
    ],
)
def test_wrong_tracking_options_are_named(options, message):
    """Steps and gaps that make no sense are refused by name."""
    with pytest.raises(LocalizationError, match=message):
        find_tracks(make_localizations([0], [0.0], [0.0], [0.0]), **options)


def test_diffusion_and_localization_error_are_told_apart():
    """D and the error that were put in come back, the true D inside the interval, each track's error its scatter."""
    locs, path = walks(300, 40, 0.1, 0.02, seed=5, noise_um=0.03)
    found = diffusion(locs, path, frame_s=0.02, exposure_share=0.0)
    assert found.low_um2_s < 0.1 < found.high_um2_s
    assert found.pooled_um2_s == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(found.noise_um, 0.03, rtol=0.05)
    assert found.d_um2_s.std() == pytest.approx(np.median(found.d_error_um2_s), rel=0.15)


def test_motion_blur_within_the_exposure_is_taken_out():
    """Positions averaged over the exposure: with its share stated, D and a vanishing error of localization."""
    rng = np.random.default_rng(2)
    fine = np.cumsum(rng.normal(0, np.sqrt(2 * 0.1 * 0.02 / 32), (200, 50 * 32, 3)), axis=1)
    place = fine.reshape(200, 50, 32, 3).mean(axis=2) + np.arange(200)[:, None, None] * 10.0
    locs = make_localizations(np.tile(np.arange(50), 200), *place.reshape(-1, 3).T)
    path = np.repeat(np.arange(200), 50)
    found = diffusion(locs, path, frame_s=0.02, exposure_share=1.0)
    assert found.low_um2_s < 0.1 < found.high_um2_s
    assert (found.noise_um < 0.012).all()  # blur mistaken for noise would make it imaginary, noise without it 0.026


def test_dark_frames_are_left_out():
    """A path with every fifth frame missing has the same D."""
    locs, path = walks(200, 40, 0.1, 0.02, seed=7, noise_um=0.02)
    rest = locs.frame % 5 != 4
    found = diffusion(select(locs, rest), path[rest], frame_s=0.02, exposure_share=0.0)
    assert found.low_um2_s < 0.1 < found.high_um2_s


@pytest.mark.parametrize("frames", ["every other", "every third", "half", "two of three"])
def test_frames_that_were_not_recorded_leave_diffusion_right(frames):
    """Brownian paths of known D and error, seen in every second or third frame, in half of them or in two of three."""
    locs, path = walks(300, 120, 0.1, 0.02, seed=11, noise_um=0.03)
    seen = {
        "every other": locs.frame % 2 == 1,
        "every third": locs.frame % 3 == 2,
        "half": np.random.default_rng(4).random(path.size) < 0.5,
        "two of three": locs.frame % 3 != 0,  # no two steps of one length follow each other
    }[frames]
    locs, path = select(locs, seen), path[seen]
    found = diffusion(locs, path, frame_s=0.02, exposure_share=0.0)
    assert found.step_frames == {"every other": 2, "every third": 3, "half": 1}.get(
        frames, pytest.approx(1.5, abs=0.01)
    )
    assert found.low_um2_s < 0.1 < found.high_um2_s
    assert found.pooled_um2_s == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(found.noise_um, 0.03, rtol=0.1)
    known = np.isfinite(found.d_error_um2_s)
    assert found.d_um2_s[known].std() == pytest.approx(np.median(found.d_error_um2_s[known]), rel=0.3)


def test_motion_blur_of_every_other_frame_is_taken_out():
    """Positions averaged over the exposures of every other frame: D, and a vanishing error of localization."""
    rng = np.random.default_rng(3)
    fine = np.cumsum(rng.normal(0, np.sqrt(2 * 0.1 * 0.02 / 16), (300, 80 * 16, 3)), axis=1)
    place = fine.reshape(300, 80, 16, 3).mean(axis=2)[:, ::2]
    locs = make_localizations(np.tile(np.arange(0, 80, 2), 300), *place.reshape(-1, 3).T)
    found = diffusion(locs, np.repeat(np.arange(300), 40), frame_s=0.02, exposure_share=1.0)
    assert found.low_um2_s < 0.1 < found.high_um2_s
    assert (found.noise_um < 0.02).all()  # with the blur of an exposure of two frames it would be 0.035


def test_tracks_too_short_are_nan_or_refused():
    """A track of two rows has no D; where all are, that is an error."""
    long, path = walks(1, 20, 0.1, 0.02, seed=1)
    short = make_localizations([0, 1], [50.0, 50.1], [1.0, 1.0], [0.0, 0.0])
    found = diffusion(concatenate([long, short]), np.r_[path, 1, 1], frame_s=0.02)
    assert np.isfinite(found.d_um2_s[0]) and np.isnan(found.d_um2_s[1])
    with pytest.raises(LocalizationError, match="three localizations in different frames"):
        diffusion(short, np.zeros(2, int), frame_s=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_s": 0.0}, "frame_s is 0.0"),
        ({"frame_s": 0.1, "exposure_share": 1.5}, "exposure_share is 1.5"),
        ({"frame_s": 0.1, "axes": "w"}, "axes is 'w'"),
        ({"frame_s": 0.1, "track": [0, 1]}, "track has shape"),
    ],
)
def test_wrong_diffusion_options_are_named(options, message):
    """Times, shares and axes that make no sense are refused by name."""
    options = {"track": [0], **options}
    with pytest.raises(LocalizationError, match=message):
        diffusion(make_localizations([0], [0.0], [0.0], [0.0]), **options)
