"""The precision-recall curve against scores of tables cut by hand, average precision against areas on paper."""

import numpy as np
import pytest

from localization import (
    LocalizationError,
    average_precision,
    concatenate,
    make_localizations,
    precision_recall_curve,
    score,
    select,
)

NONE = make_localizations([], [], [], [])


def scored(rng, n_frames=40):
    """Ten emitters a frame on a lattice; most found with high scores, false ones with lower, some crowded."""
    frame = np.repeat(np.arange(n_frames), 10)
    x_um, y_um = np.tile(0.3 * np.arange(10), n_frames), np.ones(frame.size)
    truth = make_localizations(frame, x_um, y_um, y_um)
    kept = rng.random(frame.size) < 0.8
    errors = rng.normal(0, 0.08, (3, frame.size))
    right = make_localizations(
        frame, x_um + errors[0], y_um + errors[1], y_um + errors[2], score=rng.beta(5, 2, frame.size)
    )
    wrong = make_localizations(frame, rng.uniform(0, 30, frame.size), y_um, y_um, score=rng.beta(2, 4, frame.size))
    return concatenate([select(right, kept), wrong]), truth


@pytest.mark.parametrize("options", [{}, {"axial_um": None}, {"ball_um": 0.1}, {"lateral_um": 0.4}])
def test_each_point_is_the_score_of_the_table_cut_there(options):
    """Precision, recall and Jaccard at a threshold are those of `score` on the rows above it, crowded or not."""
    found, truth = scored(np.random.default_rng(0))
    curve = precision_recall_curve(found, truth, n_thresholds=7, **options)
    assert curve.threshold.size == 7 and (np.diff(curve.threshold) < 0).all()
    for k, threshold in enumerate(curve.threshold):
        whole = score(select(found, found.score >= threshold), truth, **options)
        assert (curve.n_found[k], curve.true_positives[k]) == (whole.n_found, whole.true_positives)
        assert curve.precision[k] == pytest.approx(whole.precision)
        assert curve.recall[k] == pytest.approx(whole.recall)
        assert curve.jaccard[k] == pytest.approx(whole.jaccard)
    assert curve.n_found[-1] == found.frame.size


def test_average_precision_of_a_case_worked_out_by_hand():
    """Right, wrong, right, wrong by score with three true ones: 1/3 * 1 + 1/3 * 2/3 = 5/9, intervals around it."""
    truth = make_localizations([0, 1, 2], [1.0] * 3, [1.0] * 3, [0.0] * 3)
    found = make_localizations([0, 0, 1, 1], [1.0, 9.0, 1.0, 9.0], [1.0] * 4, [0.0] * 4, score=[0.9, 0.8, 0.7, 0.6])
    curve = precision_recall_curve(found, truth)
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert curve.recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    area = average_precision(curve, rng=0, n=200)
    assert area.estimate == pytest.approx(5 / 9)
    assert 0 <= area.low < 5 / 9 < area.high <= 1


def test_the_interval_covers_the_estimate_of_other_movies():
    """Of 20 movies of one kind, about 95 % of the intervals hold the average precision of a long one."""
    long = average_precision(
        precision_recall_curve(*scored(np.random.default_rng(99), 400), n_thresholds=20), rng=0, n=10
    ).estimate
    held = 0
    for seed in range(20):
        area = average_precision(
            precision_recall_curve(*scored(np.random.default_rng(seed)), n_thresholds=20), rng=0, n=200
        )
        held += area.low <= long <= area.high
    assert held >= 16


def test_equal_scores_make_one_point_and_empty_tables_have_defined_areas():
    """One point: precision times recall. Nothing found: 0; nothing true: 0; neither: 1."""
    truth = make_localizations([0, 1], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0])
    found = make_localizations([0, 0], [1.0, 9.0], [1.0, 1.0], [0.0, 0.0])
    curve = precision_recall_curve(found, truth)
    assert curve.threshold.tolist() == [1.0]
    assert average_precision(curve, rng=0, n=20).estimate == pytest.approx(0.25)
    for pair, area in (((NONE, truth), 0.0), ((found, NONE), 0.0), ((NONE, NONE), 1.0)):
        assert average_precision(precision_recall_curve(*pair), rng=0, n=20).estimate == area


def test_scores_that_are_nan_and_senseless_settings_are_refused():
    """A NaN score names its row; fewer than two thresholds and bad levels are errors."""
    bad = make_localizations([0, 0], [1.0, 2.0], [1.0, 1.0], [0.0, 0.0], score=[0.5, np.nan])
    with pytest.raises(LocalizationError, match="score of row 1 is NaN"):
        precision_recall_curve(bad, bad)
    with pytest.raises(LocalizationError, match="n_thresholds is 1"):
        precision_recall_curve(NONE, NONE, n_thresholds=1)
    with pytest.raises(LocalizationError, match="level 1.5"):
        average_precision(precision_recall_curve(NONE, NONE), rng=0, level=1.5)
