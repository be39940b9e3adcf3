"""Scores of a localization list against the truth, and their intervals by resampling frames."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from localization.extent import without_far_rows
from localization.scores.gate import Gate, MatchMode
from localization.scores.matching import Matches, match
from localization.types import LocalizationError, Localizations, make_localizations

# Weight of the RMSE in the efficiency of the 2016 challenge, 1/nm (Sage et al. 2019, doi
# 10.1038/s41592-019-0364-4); the efficiency in 3D is the mean of the lateral and the axial one
EFFICIENCY_LATERAL_PER_NM = 1.0
EFFICIENCY_AXIAL_PER_NM = 0.5
_NM_PER_UM = 1000.0
_RESAMPLED_CELLS = 2_000_000  # counts drawn at a time: 16 MB


@dataclass(frozen=True)
class Score:
    """Counts, ratios and errors of one list against one truth; lengths in um, efficiencies in percent.

    `rmse_xy_um` and `rmse_3d_um` are norms. Errors are found minus truth over the pairs; without a pair they
    and the efficiencies are NaN, and so is all that needs z in a lateral score (`axial_um=None`). A ratio 0/0
    is 1 when found and truth are both empty and 0 when only one is.
    """

    n_found: int
    n_truth: int
    true_positives: int
    jaccard: float
    precision: float
    recall: float
    rmse_xy_um: float
    rmse_z_um: float
    rmse_x_um: float
    rmse_y_um: float
    bias_x_um: float
    bias_y_um: float
    bias_z_um: float
    efficiency_lateral: float
    efficiency_axial: float
    rmse_3d_um: float
    efficiency_3d: float


METRICS = tuple(field.name for field in fields(Score))
_COUNTS = METRICS[:3]


@dataclass(frozen=True, eq=False)
class FrameScores:
    """What each frame adds to a score; arrays of shape (frames,), errors summed over the frame's pairs."""

    frame: NDArray[np.int64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    false_negatives: NDArray[np.int64]
    sum_x_um: NDArray[np.float64]
    sum_y_um: NDArray[np.float64]
    sum_z_um: NDArray[np.float64]
    sum_xx_um2: NDArray[np.float64]
    sum_yy_um2: NDArray[np.float64]
    sum_zz_um2: NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with a percentile interval; `defined` is the share of resamples that have the metric."""

    estimate: float
    low: float
    high: float
    defined: float


@dataclass(frozen=True, eq=False)
class CrlbRatio:
    """RMSE over the CRLB and the share of outliers, per axis; arrays of shape (axes,), n emitters."""

    ratio: NDArray[np.float64]
    outlier_share: NDArray[np.float64]
    n: int


def score(
    found: Localizations,
    truth: Localizations,
    *,
    lateral_um: float = 0.25,
    axial_um: float | None = 0.5,
    ball_um: float | None = None,
    mode: MatchMode = "gated",
) -> Score:
    """Score a found list against the true one; the gate is that of `match`, or a `Gate` as `**gate`.

    `axial_um=None` scores x and y alone, for tables that do not know z. Raises LocalizationError where `Gate` does.

    >>> from localization import make_localizations
    >>> truth = make_localizations([0, 0], [1.0, 4.0], [1.0, 4.0], [0.0, 0.0])
    >>> score(make_localizations([0], [1.03], [1.04], [0.0]), truth).recall
    0.5
    """
    return score_total(score_frames(found, truth, **Gate(lateral_um, axial_um, ball_um, mode)))


def score_frames(
    found: Localizations,
    truth: Localizations,
    *,
    lateral_um: float = 0.25,
    axial_um: float | None = 0.5,
    ball_um: float | None = None,
    mode: MatchMode = "gated",
    n_frames: int | None = None,
) -> FrameScores:
    """Score every frame by itself; the sum over frames holds all that a score needs.

    With `n_frames`, frames 0 to n_frames - 1 are all listed, empty ones too, as `bootstrap_difference`
    wants; without it, only those that hold a found or a true emitter. Raises LocalizationError when an
    emitter lies in a frame beyond `n_frames`, and where `match` does.

    >>> from localization import make_localizations
    >>> one = make_localizations([1], [1.0], [1.0], [0.0])
    >>> score_frames(one, one, n_frames=3).true_positives
    array([0, 1, 0])
    """
    gate = Gate(lateral_um, axial_um, ball_um, mode)
    matches = match(found, truth, **gate)
    frame = matches.frame
    if n_frames is not None:
        if frame.size and frame[-1] >= n_frames:
            raise LocalizationError(
                f"score_frames: an emitter in frame {frame[-1]}, n_frames is {n_frames}; frames count from 0"
            )
        frame = np.arange(n_frames)
    error_um = pair_errors_um(found, truth, matches)
    where = np.searchsorted(frame, found.frame[matches.found_index])
    sums = [
        np.bincount(where, weights=error_um[:, axis] ** power, minlength=frame.size).astype(np.float64)
        for power in (1, 2)
        for axis in range(3)
    ]
    if gate.flat:  # z is not known, in a frame without pairs either
        sums[2], sums[5] = (np.full(frame.size, np.nan) for _ in range(2))
    pairs, n_found, n_truth = (np.zeros(frame.size, np.int64) for _ in range(3))
    at = np.searchsorted(frame, matches.frame)
    pairs[at], n_found[at], n_truth[at] = matches.n_pairs, matches.n_found, matches.n_truth
    return FrameScores(frame, pairs, n_found - pairs, n_truth - pairs, *sums)


def pair_errors_um(found: Localizations, truth: Localizations, matches: Matches) -> NDArray[np.float64]:
    """Subtract true from found positions of the pairs, (pairs, 3) in um, columns x, y, z.

    >>> from localization import make_localizations
    >>> found, truth = (make_localizations([0], [x], [1.0], [0.0]) for x in (1.25, 1.125))
    >>> pair_errors_um(found, truth, match(found, truth))
    array([[0.125, 0. , 0. ]])
    """
    i, j = matches.found_index, matches.truth_index
    return np.stack(
        [found.x_um[i] - truth.x_um[j], found.y_um[i] - truth.y_um[j], found.z_um[i] - truth.z_um[j]], axis=1
    )


def score_total(per_frame: FrameScores) -> Score:
    """Sum the frames of `score_frames` into one score.

    >>> from localization import make_localizations
    >>> one = make_localizations([0], [1.0], [1.0], [0.0])
    >>> score_total(score_frames(one, one)).jaccard
    1.0
    """
    totals = _metrics(_stacked(per_frame).sum(axis=0))
    values: dict[str, Any] = {name: float(value) for name, value in totals.items()}
    return Score(**values | {name: int(values[name]) for name in _COUNTS})


def bootstrap(
    per_frame: FrameScores, *, rng: np.random.Generator | int, n: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Estimate an interval of every metric of `Score`, by drawing as many frames with replacement, n times.

    `rng` is a generator or a seed. Raises LocalizationError for no frames, n < 1, or a level outside (0, 1).

    >>> from localization import make_localizations
    >>> one = make_localizations([0, 1, 2], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    >>> bootstrap(score_frames(one, one), rng=0, n=50)["jaccard"]
    Interval(estimate=1.0, low=1.0, high=1.0, defined=1.0)
    """
    stacked = _stacked(per_frame)
    _check_bootstrap("bootstrap", len(stacked), n, level)
    (totals,) = resample_frames([stacked], np.random.default_rng(rng), n)
    estimate, drawn = _metrics(stacked.sum(axis=0)), _metrics(totals)
    return {name: _interval(estimate[name], drawn[name], level) for name in METRICS}


def bootstrap_difference(
    per_frame_a: FrameScores,
    per_frame_b: FrameScores,
    *,
    rng: np.random.Generator | int,
    n: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Estimate intervals of metric(a) - metric(b) of two lists, drawing the same frames for both.

    Raises LocalizationError when the two do not list the same frames (give `score_frames` the same
    `n_frames`), and where `bootstrap` does.

    >>> from localization import make_localizations
    >>> one = make_localizations([0, 1], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0])
    >>> bootstrap_difference(score_frames(one, one), score_frames(one, one), rng=0, n=50)["recall"].high
    0.0
    """
    if not np.array_equal(per_frame_a.frame, per_frame_b.frame):
        raise LocalizationError(
            "bootstrap_difference: the two lists cover different frames; give score_frames the same n_frames"
        )
    both = [_stacked(per_frame_a), _stacked(per_frame_b)]
    _check_bootstrap("bootstrap_difference", len(both[0]), n, level)
    drawn_a, drawn_b = (_metrics(totals) for totals in resample_frames(both, np.random.default_rng(rng), n))
    a, b = (_metrics(stacked.sum(axis=0)) for stacked in both)
    return {name: _interval(a[name] - b[name], drawn_a[name] - drawn_b[name], level) for name in METRICS}


def place_at_random(
    like: Localizations,
    *,
    rng: np.random.Generator | int,
    region_um: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] | None = None,
) -> Localizations:
    """Place as many points per frame as `like` has evenly over a box ((x0, x1), (y0, y1), (z0, z1)).

    Without `region_um` the box is the bounding box of `like`. `score(place_at_random(...), truth)` is what a
    dense set gives for nothing: a score is only worth what it has above that. Raises LocalizationError for a
    box whose sides end before they begin.

    >>> from localization import make_localizations
    >>> place_at_random(make_localizations([3, 5], [1.0, 2.0], [1.0, 2.0], [0.0, 0.0]), rng=0).frame
    array([3, 5])
    """
    axes = (like.x_um, like.y_um, like.z_um)
    if like.frame.size == 0:
        return like
    box = [(a.min(), a.max()) for a in axes] if region_um is None else region_um
    for name, (low, high) in zip("xyz", box, strict=True):
        if not (np.isfinite([low, high]).all() and low <= high):
            raise LocalizationError(f"place_at_random: the box spans {low} to {high} um in {name}; give low <= high")
    draw = np.random.default_rng(rng)
    columns = [draw.uniform(low, high, like.frame.size) for low, high in box]
    return make_localizations(like.frame, *columns)


def chance_score(
    found: Localizations,
    truth: Localizations,
    *,
    rng: np.random.Generator | int,
    region_um: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] | None = None,
    lateral_um: float = 0.25,
    axial_um: float | None = 0.5,
    ball_um: float | None = None,
    mode: MatchMode = "gated",
) -> Score:
    """Score randomly placed points: in each frame as many as were found, over the truth's bounding box.

    Rows of the truth far from all others (`localization.extent`) do not widen it. `region_um` names another box.
    Raises LocalizationError where `place_at_random` and `match` do.

    >>> from localization import make_localizations
    >>> truth = make_localizations([0, 0], [1.0, 40.0], [1.0, 40.0], [0.0, 0.0])
    >>> chance_score(truth, truth, rng=0).jaccard
    0.0
    """
    if region_um is None and truth.frame.size:
        near, _ = without_far_rows(truth, ("x_um", "y_um", "z_um"))
        x, y, z = ((float(a.min()), float(a.max())) for a in (near.x_um, near.y_um, near.z_um))
        region_um = (x, y, z)
    placed = place_at_random(found, rng=rng, region_um=region_um)
    return score(placed, truth, **Gate(lateral_um, axial_um, ball_um, mode))


def rmse_over_crlb(error_um: ArrayLike, crlb_std_um: ArrayLike, *, outlier_k: float = 5.0) -> CrlbRatio:
    """Divide errors by their CRLB: root mean square per axis, and the share beyond `outlier_k` CRLB.

    `error_um` has shape (n, axes); `crlb_std_um` is a standard deviation and has that shape or broadcasts
    to it. An unbiased, efficient estimator gives 1. Raises LocalizationError for other shapes, errors that
    are not finite, and bounds that are not finite and positive. Without emitters the ratios are NaN.

    >>> rmse_over_crlb([[0.01, 0.02], [-0.01, -0.02]], [0.01, 0.01]).ratio
    array([1., 2.])
    """
    error = np.asarray(error_um, np.float64)
    if error.ndim != 2:
        raise LocalizationError(f"rmse_over_crlb: errors have shape {error.shape}; pass (emitters, axes)")
    try:
        bound = np.broadcast_to(np.asarray(crlb_std_um, np.float64), error.shape)
    except ValueError as mismatch:
        raise LocalizationError(
            f"rmse_over_crlb: bounds of shape {np.shape(crlb_std_um)} do not fit errors {error.shape}; "
            "pass one per error or one per axis"
        ) from mismatch
    if not (np.isfinite(bound).all() and (bound > 0).all()):
        raise LocalizationError("rmse_over_crlb: a bound is not finite and positive; drop those emitters first")
    if not np.isfinite(error).all():
        raise LocalizationError("rmse_over_crlb: an error is not finite; drop those emitters first")
    if len(error) == 0:
        undefined = np.full(error.shape[1], np.nan)
        return CrlbRatio(undefined, undefined, 0)
    relative = np.abs(error) / bound
    return CrlbRatio(np.sqrt(np.mean(relative**2, axis=0)), np.mean(relative > outlier_k, axis=0), len(error))


def _stacked(per_frame: FrameScores) -> NDArray[np.float64]:
    """Stack the fields after `frame`, in their order, (frames, 9)."""
    return np.stack([getattr(per_frame, field.name) for field in fields(FrameScores)[1:]], axis=1).astype(float)


def _metrics(sums: NDArray[np.float64]) -> dict[str, Any]:
    """Compute every field of Score from summed statistics (..., 9), as arrays (...)."""
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    nothing = tp + fp + fn == 0

    def ratio(total: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(total > 0, tp / np.maximum(total, 1.0), np.where(nothing, 1.0, 0.0))

    pairs = np.where(tp > 0, tp, np.nan)[..., None]
    bias, mean_square = sums[..., 3:6] / pairs, sums[..., 6:9] / pairs
    rmse = np.sqrt(mean_square)
    rmse_xy = np.sqrt(mean_square[..., 0] + mean_square[..., 1])
    jaccard = ratio(tp + fp + fn)

    def efficiency(rmse_um: NDArray[np.float64], alpha_per_nm: float) -> NDArray[np.float64]:
        return 100.0 - np.hypot(100.0 * (1.0 - jaccard), alpha_per_nm * _NM_PER_UM * rmse_um)

    lateral = efficiency(rmse_xy, EFFICIENCY_LATERAL_PER_NM)
    axial = efficiency(rmse[..., 2], EFFICIENCY_AXIAL_PER_NM)
    return {
        "n_found": tp + fp,
        "n_truth": tp + fn,
        "true_positives": tp,
        "jaccard": jaccard,
        "precision": ratio(tp + fp),
        "recall": ratio(tp + fn),
        "rmse_xy_um": rmse_xy,
        "rmse_z_um": rmse[..., 2],
        "rmse_x_um": rmse[..., 0],
        "rmse_y_um": rmse[..., 1],
        "bias_x_um": bias[..., 0],
        "bias_y_um": bias[..., 1],
        "bias_z_um": bias[..., 2],
        "efficiency_lateral": lateral,
        "efficiency_axial": axial,
        "rmse_3d_um": np.sqrt(mean_square.sum(axis=-1)),
        "efficiency_3d": (lateral + axial) / 2.0,
    }


def _check_bootstrap(name: str, n_frames: int, n: int, level: float) -> None:
    if n_frames == 0:
        raise LocalizationError(f"{name}: there is no frame to draw; score at least one, or pass n_frames")
    if n < 1 or not 0 < level < 1:
        raise LocalizationError(f"{name}: n is {n} and level {level}; need n >= 1 and 0 < level < 1")


def resample_frames(stacked: list[NDArray[np.float64]], rng: np.random.Generator, n: int) -> list[NDArray[np.float64]]:
    """Sum each list over n draws of frames, (n, 9); one draw serves all lists."""
    n_frames = len(stacked[0])
    at_once = max(1, _RESAMPLED_CELLS // n_frames)
    totals: list[list[NDArray[np.float64]]] = [[] for _ in stacked]
    for start in range(0, n, at_once):
        counts = rng.multinomial(n_frames, np.full(n_frames, 1.0 / n_frames), size=min(at_once, n - start))
        for kept, rows in zip(totals, stacked, strict=True):
            kept.append(counts @ rows)
    return [np.concatenate(kept) for kept in totals]


def _interval(estimate: float, drawn: NDArray[np.float64], level: float) -> Interval:
    defined = drawn[np.isfinite(drawn)]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail]) if defined.size else (np.nan, np.nan)
    return Interval(float(estimate), float(low), float(high), defined.size / drawn.size)
