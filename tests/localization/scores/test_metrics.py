"""Scores, intervals and the RMSE over the CRLB against numbers worked out by hand and against theory."""

import dataclasses

import numpy as np
import pytest

from localization import (
    LocalizationError,
    bootstrap,
    bootstrap_difference,
    chance_score,
    concatenate,
    make_localizations,
    match,
    pair_errors_um,
    place_at_random,
    rmse_over_crlb,
    score,
    score_frames,
    score_total,
)

NONE = make_localizations([], [], [], [])
ONE = make_localizations([0], [1.0], [1.0], [1.0])


def test_score_of_a_case_worked_out_by_hand():
    """Three found, four true, two pairs with known errors: every field as computed on paper."""
    truth = make_localizations([0, 0, 1, 1], [1.0, 3.0, 1.0, 5.0], [1.0, 3.0, 1.0, 5.0], [0.5] * 4)
    found = make_localizations([0, 1, 1], [1.03, 0.99, 8.0], [1.04, 1.00, 8.0], [0.6, 0.4, 0.5])
    result = score(found, truth)
    assert (result.n_found, result.n_truth, result.true_positives) == (3, 4, 2)
    assert result.jaccard == pytest.approx(2 / 5)
    assert result.precision == pytest.approx(2 / 3)
    assert result.recall == pytest.approx(1 / 2)
    assert result.rmse_x_um == pytest.approx(np.sqrt((0.03**2 + 0.01**2) / 2))
    assert result.rmse_y_um == pytest.approx(np.sqrt(0.04**2 / 2))
    assert result.rmse_xy_um == pytest.approx(np.sqrt((0.05**2 + 0.01**2) / 2))
    assert result.rmse_z_um == pytest.approx(0.1)
    assert result.bias_x_um == pytest.approx(0.01)
    assert result.bias_y_um == pytest.approx(0.02)
    assert result.bias_z_um == pytest.approx(0.0, abs=1e-12)
    assert result.efficiency_lateral == pytest.approx(100 - np.sqrt(60**2 + 1300))  # RMSE_xy^2 = 1300 nm^2
    assert result.efficiency_axial == pytest.approx(100 - np.hypot(60, 50))
    assert result.rmse_3d_um == pytest.approx(np.sqrt((0.05**2 + 0.01**2) / 2 + 0.1**2))
    assert result.efficiency_3d == pytest.approx((result.efficiency_lateral + result.efficiency_axial) / 2)


def test_a_lateral_score_knows_nothing_of_z():
    """Without an axial gate z may be anything: pairs and lateral errors as with z = 0, all that needs z is NaN."""
    rng = np.random.default_rng(0)
    x, y, z = rng.uniform(0, 3, (3, 200))
    frame = rng.integers(0, 9, 200)
    truth = make_localizations(frame, x, y, np.zeros(200))
    found = make_localizations(frame, x + 0.02, y, 50 * z)
    flat, lateral = (
        score(make_localizations(frame, x + 0.02, y, np.zeros(200)), truth),
        score(found, truth, axial_um=None),
    )
    assert lateral.true_positives == 200 and score(found, truth).true_positives < 20
    for name in ("jaccard", "rmse_xy_um", "bias_x_um", "efficiency_lateral"):
        assert getattr(lateral, name) == pytest.approx(getattr(flat, name))
    unknown = ("rmse_z_um", "bias_z_um", "rmse_3d_um", "efficiency_axial", "efficiency_3d")
    assert np.isnan([getattr(lateral, name) for name in unknown]).all()
    intervals = bootstrap(score_frames(found, truth, axial_um=None), rng=0, n=50)
    assert intervals["jaccard"].low == 1.0 and intervals["rmse_z_um"].defined == 0.0


def test_random_points_score_what_their_density_gives():
    """Sparse: n found points meet an emitter with probability (gate area * n_true / field); counts per frame kept."""
    rng = np.random.default_rng(0)
    frame = np.repeat(np.arange(3000), 3)
    x, y = rng.uniform(0, 10, (2, frame.size))
    truth = make_localizations(frame, x, y, np.zeros(frame.size))
    box = ((0.0, 10.0), (0.0, 10.0), (0.0, 0.0))
    placed = place_at_random(truth, rng=1, region_um=box)
    assert placed.frame.tolist() == frame.tolist()
    chance = chance_score(truth, truth, rng=1, region_um=box, axial_um=None)
    assert chance.precision == pytest.approx(3 * np.pi * 0.25**2 / 100, rel=0.2)
    assert chance.rmse_xy_um == pytest.approx(0.25 / np.sqrt(2), rel=0.1)
    assert chance_score(truth, truth, rng=1).n_found == truth.frame.size
    assert (chance_score(NONE, truth, rng=0).jaccard, chance_score(truth, NONE, rng=0).jaccard) == (0.0, 0.0)
    with pytest.raises(LocalizationError, match="spans 1.0 to 0.0 um in y"):
        place_at_random(truth, rng=0, region_um=((0.0, 1.0), (1.0, 0.0), (0.0, 1.0)))


def test_empty_lists_are_defined():
    """Both empty is perfect, one empty is 0; errors and efficiencies without a pair are NaN."""
    both, no_found, no_truth = score(NONE, NONE), score(NONE, ONE), score(ONE, NONE)
    assert (both.jaccard, both.precision, both.recall) == (1.0, 1.0, 1.0)
    for result in (no_found, no_truth):
        assert (result.jaccard, result.precision, result.recall) == (0.0, 0.0, 0.0)
    for result in (both, no_found, no_truth):
        assert np.isnan([result.rmse_xy_um, result.rmse_z_um, result.bias_x_um, result.efficiency_lateral]).all()


def noisy_lists(rng, n_frames, sigma_um, kept):
    """Ten emitters per frame on a 2 um lattice, found with Gaussian error and probability `kept`."""
    frame = np.repeat(np.arange(n_frames), 10)
    x_um, y_um = np.tile(2.0 * np.arange(10), n_frames), np.ones(frame.size)
    truth = make_localizations(frame, x_um, y_um, y_um)
    seen = rng.random(frame.size) < kept
    error_um = rng.normal(0, sigma_um, (3, frame.size))
    found = make_localizations(*(c[seen] for c in (frame, x_um + error_um[0], y_um + error_um[1], y_um + error_um[2])))
    return found, truth


def test_frame_scores_add_up_to_the_score():
    """Summing per-frame statistics, empty frames included, gives the score and numpy's own means."""
    found, truth = noisy_lists(np.random.default_rng(0), 30, 0.03, 0.7)
    per_frame = score_frames(found, truth, n_frames=40)
    assert score_total(per_frame) == score(found, truth)
    assert (per_frame.true_positives[30:] == 0).all()
    error_um = pair_errors_um(found, truth, match(found, truth))
    result = score(found, truth)
    assert result.bias_z_um == pytest.approx(error_um[:, 2].mean())
    assert result.rmse_xy_um == pytest.approx(np.sqrt((error_um[:, :2] ** 2).sum(axis=1).mean()))


def test_bootstrap_interval_of_recall_has_the_binomial_width():
    """Recall of independent emitters: the interval's half-width is 1.96 sqrt(p q / n) of the binomial."""
    found, truth = noisy_lists(np.random.default_rng(1), 400, 0.02, 0.8)
    interval = bootstrap(score_frames(found, truth), rng=2, n=4000)["recall"]
    expected = 1.96 * np.sqrt(0.8 * 0.2 / 4000)
    assert (interval.high - interval.low) / 2 == pytest.approx(expected, rel=0.1)
    assert interval.low < interval.estimate < interval.high and interval.defined == 1.0


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    """Over 200 experiments a 90 % interval of the axial RMSE holds the true 30 nm about 90 % of the time."""
    hits = 0
    for seed in range(200):
        found, truth = noisy_lists(np.random.default_rng(seed), 60, 0.03, 0.9)
        interval = bootstrap(score_frames(found, truth), rng=seed, n=300, level=0.9)["rmse_z_um"]
        hits += interval.low < 0.03 < interval.high
    assert 165 <= hits <= 195  # binomial(200, 0.9): 180 +- 3.5 standard deviations


def test_paired_difference_is_narrower_than_the_lists_alone():
    """Two lists with the same misses differ by nothing in recall; drawing frames in pairs sees that."""
    found, truth = noisy_lists(np.random.default_rng(4), 100, 0.03, 0.7)
    worse = make_localizations(found.frame, found.x_um + 0.05, found.y_um, found.z_um)
    a, b = (score_frames(locs, truth, n_frames=100) for locs in (found, worse))
    difference = bootstrap_difference(a, b, rng=0)
    assert difference["recall"].low == difference["recall"].high == 0.0
    assert difference["bias_x_um"].estimate == pytest.approx(-0.05)
    assert difference["bias_x_um"].high - difference["bias_x_um"].low < 1e-9
    assert difference["rmse_xy_um"].high < 0 < bootstrap(a, rng=0)["rmse_xy_um"].low


def test_bootstrap_repeats_with_its_seed_and_counts_undefined_resamples():
    """The same seed gives the same intervals; resamples without a pair are left out and reported."""
    per_frame = score_frames(ONE, concatenate([ONE, make_localizations([1], [1.0], [1.0], [1.0])]))
    first, again = (bootstrap(per_frame, rng=np.random.default_rng(5), n=400) for _ in range(2))
    assert all(dataclasses.astuple(first[name]) == dataclasses.astuple(again[name]) for name in ("jaccard", "recall"))
    assert first["rmse_z_um"].defined == pytest.approx(0.75, abs=0.07)  # both draws are frame 1 with chance 1/4
    nothing = bootstrap(score_frames(NONE, ONE), rng=0, n=10)["rmse_z_um"]
    assert np.isnan([nothing.estimate, nothing.low, nothing.high]).all() and nothing.defined == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap(score_frames(NONE, NONE), rng=0),
        lambda: bootstrap(score_frames(ONE, ONE), rng=0, level=1.0),
        lambda: bootstrap(score_frames(ONE, ONE), rng=0, n=0),
        lambda: bootstrap_difference(score_frames(ONE, ONE), score_frames(ONE, ONE, n_frames=2), rng=0),
        lambda: score_frames(ONE, make_localizations([7], [0.0], [0.0], [0.0]), n_frames=7),
        lambda: rmse_over_crlb([0.1, 0.2], [0.1, 0.1]),
        lambda: rmse_over_crlb([[0.1, 0.2]], [0.1, 0.1, 0.1]),
        lambda: rmse_over_crlb([[0.1, 0.2]], [0.1, 0.0]),
        lambda: rmse_over_crlb([[0.1, np.nan]], [0.1, 0.1]),
    ],
)
def test_misuse_is_refused(call):
    """No frames, unequal frames, impossible levels and unusable bounds give a one-line error."""
    with pytest.raises(LocalizationError) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_efficient_estimator_has_ratio_one_and_gaussian_outliers():
    """Errors drawn with the CRLB of each emitter give 1 per axis, and 4.55 % beyond two CRLB."""
    rng = np.random.default_rng(6)
    crlb_um = rng.uniform(0.01, 0.1, (200_000, 3))
    result = rmse_over_crlb(rng.normal(0, crlb_um), crlb_um, outlier_k=2.0)
    np.testing.assert_allclose(result.ratio, 1.0, atol=0.01)
    np.testing.assert_allclose(result.outlier_share, 0.0455, atol=0.003)
    assert result.n == 200_000


def test_ratio_weighs_every_emitter_by_its_own_bound():
    """sqrt(mean((e/crlb)^2)) and not RMSE over mean CRLB; one far error shows as the share of outliers."""
    result = rmse_over_crlb([[1.0], [1.0], [10.0]], [[1.0], [0.5], [1.0]], outlier_k=5.0)
    assert result.ratio[0] == pytest.approx(np.sqrt((1 + 4 + 100) / 3))
    assert result.outlier_share[0] == pytest.approx(1 / 3)
    empty = rmse_over_crlb(np.zeros((0, 3)), np.ones(3))
    assert empty.n == 0 and np.isnan(empty.ratio).all()
