"""Precision against recall as the threshold on the table's score moves, and the average precision."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localization.scores.gate import Gate
from localization.scores.matching import gated_edges, pair_edges
from localization.scores.metrics import Interval, resample_frames
from localization.types import LocalizationError, Localizations


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """What is kept and right at each threshold: rows with score >= `threshold`, matched afresh.

    Arrays of shape (thresholds,), by descending threshold, so that recall rises along them; `frame_*` hold the
    counts per frame, (frames, thresholds) and (frames,), that intervals are drawn from.
    """

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    jaccard: NDArray[np.float64]
    n_found: NDArray[np.int64]
    true_positives: NDArray[np.int64]
    n_truth: int
    frame_found: NDArray[np.int64]
    frame_pairs: NDArray[np.int64]
    frame_truth: NDArray[np.int64]


def precision_recall_curve(
    found: Localizations,
    truth: Localizations,
    *,
    lateral_um: float = 0.25,
    axial_um: float | None = 0.5,
    ball_um: float | None = None,
    n_thresholds: int = 50,
) -> PrecisionRecall:
    """Compute precision, recall and Jaccard index of the rows above each threshold on `score`; gates as in `match`.

    At every threshold the rows that it keeps are matched afresh, so that a point of the curve is exactly what
    `localization.score` says of the table cut there (a single greedy pass by score, as for detections in
    pictures, is not: a confident row may hold a place that two rows need). The thresholds are the table's
    distinct scores, or `n_thresholds` of them at even steps of rank where there are more, the smallest always
    among them. An empty table has no thresholds. Raises LocalizationError for a score that is NaN and where
    `match` does.

    >>> from localization import make_localizations
    >>> found = make_localizations([0, 0], [1.0, 3.0], [1.0, 1.0], [0.0, 0.0], score=[0.9, 0.4])
    >>> precision_recall_curve(found, make_localizations([0], [1.0], [1.0], [0.0])).precision
    array([1. , 0.5])
    """
    if np.isnan(found.score).any():
        row = int(np.flatnonzero(np.isnan(found.score))[0])
        raise LocalizationError(f"precision_recall_curve: score of row {row} is NaN; drop such rows or set a score")
    if n_thresholds < 2:
        raise LocalizationError(f"precision_recall_curve: n_thresholds is {n_thresholds}; need at least 2")
    thresholds = _thresholds(found.score, n_thresholds)
    frames = np.union1d(found.frame, truth.frame)
    found_at, truth_at = np.searchsorted(frames, found.frame), np.searchsorted(frames, truth.frame)
    i, j, cost = gated_edges(found, truth, Gate(lateral_um, axial_um, ball_um))
    shape = (frames.size, thresholds.size)
    n_found, n_pairs = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for k, threshold in enumerate(thresholds):
        kept = found.score >= threshold
        edges = kept[i]
        paired, _ = pair_edges(i[edges], j[edges], cost[edges])
        n_found[:, k] = np.bincount(found_at[kept], minlength=frames.size)
        n_pairs[:, k] = np.bincount(found_at[paired], minlength=frames.size)
    n_truth = np.bincount(truth_at, minlength=frames.size)
    total_found, total_pairs, total_truth = n_found.sum(axis=0), n_pairs.sum(axis=0), truth.frame.size
    precision, recall = _ratios(total_pairs, total_found, total_truth)
    return PrecisionRecall(
        threshold=thresholds,
        precision=precision,
        recall=recall,
        jaccard=total_pairs / np.maximum(total_found + total_truth - total_pairs, 1),
        n_found=total_found,
        true_positives=total_pairs,
        n_truth=total_truth,
        frame_found=n_found,
        frame_pairs=n_pairs,
        frame_truth=n_truth,
    )


def average_precision(
    curve: PrecisionRecall, *, rng: np.random.Generator | int, n: int = 1000, level: float = 0.95
) -> Interval:
    """Integrate the precision-recall curve, with a percentile interval from drawing frames with replacement.

    The precision at a recall is the best one at that recall or above, and the area the sum of its steps: the
    convention of the PASCAL challenge since 2010 (Everingham et al. 2010, doi 10.1007/s11263-009-0275-4).
    Found and truth both empty give 1, one of them empty 0. Where scores are all equal the curve is one point
    and the area precision times recall. Raises LocalizationError for n < 1 or a level outside (0, 1).

    >>> from localization import make_localizations
    >>> found = make_localizations([0, 0], [1.0, 3.0], [1.0, 1.0], [0.0, 0.0], score=[0.9, 0.4])
    >>> curve = precision_recall_curve(found, make_localizations([0], [1.0], [1.0], [0.0]))
    >>> average_precision(curve, rng=0, n=10).estimate
    1.0
    """
    if n < 1 or not 0 < level < 1:
        raise LocalizationError(f"average_precision: n is {n} and level {level}; need n >= 1 and 0 < level < 1")
    n_frames, n_thresholds = curve.frame_found.shape
    if n_frames == 0:
        return Interval(1.0, 1.0, 1.0, 1.0)
    stacked = np.concatenate([curve.frame_pairs, curve.frame_found, curve.frame_truth[:, None]], axis=1)
    (drawn,) = resample_frames([stacked.astype(np.float64)], np.random.default_rng(rng), n)
    area = _area(drawn, n_thresholds)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(area, [tail, 1.0 - tail])
    estimate = _area(stacked.sum(axis=0, keepdims=True), n_thresholds)[0]
    return Interval(float(estimate), float(low), float(high), 1.0)


def _thresholds(score: NDArray[np.float64], n_thresholds: int) -> NDArray[np.float64]:
    distinct = np.unique(score)
    if distinct.size <= n_thresholds:
        return distinct[::-1]
    ranked = np.sort(score)[::-1]
    at = np.linspace(0, ranked.size - 1, n_thresholds + 1)[1:].round().astype(np.int64)
    return np.unique(ranked[at])[::-1]


def _ratios(pairs: NDArray, found: NDArray, truth: NDArray | int) -> tuple[NDArray, NDArray]:
    """Divide to precision and recall; where nothing is found, or nothing true, the ratio is 0."""
    return pairs / np.maximum(found, 1), pairs / np.maximum(truth, 1)


def _area(counts: NDArray, n_thresholds: int) -> NDArray[np.float64]:
    """Compute the average precision (n,) from counts (n, 2 thresholds + 1): pairs, found, truth."""
    pairs, found, truth = counts[:, :n_thresholds], counts[:, n_thresholds:-1], counts[:, -1:]
    precision, recall = _ratios(pairs, found, truth)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # a better cut may lose a pair that a worse one has: recall is made to rise as precision is made to fall
    gained = np.diff(np.maximum.accumulate(recall, axis=1), axis=1, prepend=0.0)
    area = (best * gained).sum(axis=1)
    nothing = (truth[:, 0] == 0) & (found.sum(axis=1) == 0)
    return np.where(nothing, 1.0, area)
