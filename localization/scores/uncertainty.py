"""Are predicted standard deviations true? Errors of matched rows against them, and what mends them."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from localization.scores.gate import Gate
from localization.scores.matching import match
from localization.scores.metrics import pair_errors_um
from localization.types import LocalizationError, Localizations

AXES = ("x", "y", "z")
# Half the width of a unit Gaussian's central 68.27 % is 1; these are its ends and, by the asymptotic variance of
# quantiles, sqrt(n) times its relative standard error: sqrt(p (1 - 2p) / 2) / density(1), p = 0.158655
_LOW, _HIGH = 0.15865525393145707, 0.8413447460685429
_ROBUST_ERROR = 0.96175
_CENTRAL = np.linspace(0.05, 0.95, 19)
_HISTOGRAM_EDGES = np.linspace(-6.0, 6.0, 49)


@dataclass(frozen=True, eq=False)
class AxisCalibration:
    """Errors over predicted sigma along one axis, over `n` pairs that have a sigma.

    `ratio` is the half-width of the central 68.27 % of error / sigma: 1 where the prediction is right, 1.2 where
    the errors are 20 % larger; `ratio_error` is its standard error for Gaussian errors. `ratio_rms`, the root
    mean square, also counts outliers and bias. `fraction` is the share of errors inside the predicted central
    interval of probability `probability` (the reliability curve, shape (19,)), `reliability_error` the largest
    distance between the two. `histogram` counts error / sigma between `edges`, the last bins hold all beyond.
    `bin_*` do the same for groups of equal size by predicted sigma. Without pairs everything is NaN and n is 0.
    """

    n: int
    ratio: float
    ratio_error: float
    ratio_rms: float
    bias_in_sigma: float
    probability: NDArray[np.float64]
    fraction: NDArray[np.float64]
    reliability_error: float
    edges: NDArray[np.float64]
    histogram: NDArray[np.int64]
    bin_sigma_um: NDArray[np.float64]
    bin_error_um: NDArray[np.float64]
    bin_n: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class UncertaintyCalibration:
    """One `AxisCalibration` per axis, and the number of pairs, with a sigma or without."""

    x: AxisCalibration
    y: AxisCalibration
    z: AxisCalibration
    n_pairs: int


@dataclass(frozen=True)
class SubpixelUniformity:
    """Kolmogorov-Smirnov distance of sub-pixel positions from even ones, per axis, over n rows.

    `by_chance` is what even positions exceed in 5 % of tables of n rows, 1.358 / sqrt(n).
    """

    x: float
    y: float
    n: int
    by_chance: float


def calibrate_uncertainty(
    found: Localizations,
    truth: Localizations,
    *,
    lateral_um: float = 0.25,
    axial_um: float | None = 0.5,
    ball_um: float | None = None,
    n_bins: int = 8,
) -> UncertaintyCalibration:
    """Compare the errors of matched rows with their predicted sigma, per axis; gates are those of `match`.

    The gate cuts errors: keep it several sigma wide, or the ratios come out too small. Rows without a positive
    sigma are left out; `axial_um=None` leaves out z. Raises LocalizationError for n_bins < 1 and where `match`
    does.

    >>> from localization import make_localizations
    >>> truth = make_localizations([0, 1], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0])
    >>> found = make_localizations([0, 1], [1.02, 0.98], [1.0, 1.0], [0.0, 0.0], sigma_x_um=0.01)
    >>> round(calibrate_uncertainty(found, truth).x.ratio_rms, 6)
    2.0
    """
    if n_bins < 1:
        raise LocalizationError(f"calibrate_uncertainty: n_bins is {n_bins}; need at least 1")
    gate = Gate(lateral_um, axial_um, ball_um)
    matches = match(found, truth, **gate)
    error_um = pair_errors_um(found, truth, matches)
    sigma_um = np.stack([found.sigma_x_um, found.sigma_y_um, found.sigma_z_um], axis=1)[matches.found_index]
    if gate.flat:
        sigma_um[:, 2] = np.nan
    axes = [_calibrate_axis(error_um[:, a], sigma_um[:, a], n_bins) for a in range(3)]
    return UncertaintyCalibration(*axes, n_pairs=len(error_um))


def rescale_sigma(
    locs: Localizations, calibration: UncertaintyCalibration, *, by: Literal["ratio", "ratio_rms"] = "ratio"
) -> Localizations:
    """Multiply the predicted sigmas of a table by the calibration's ratio, axis by axis.

    Raises LocalizationError where the table predicts along an axis that the calibration knows nothing of.

    >>> from localization import make_localizations
    >>> truth = make_localizations([0, 1], [1.0, 1.0], [1.0, 1.0], [0.0, 0.0])
    >>> found = make_localizations([0, 1], [1.02, 0.98], [1.0, 1.0], [0.0, 0.0], sigma_x_um=0.01)
    >>> rescale_sigma(found, calibrate_uncertainty(found, truth), by="ratio_rms").sigma_x_um.round(6)
    array([0.02, 0.02])
    """
    if by not in ("ratio", "ratio_rms"):
        raise LocalizationError(f"rescale_sigma: by is {by!r}; use 'ratio' or 'ratio_rms'")
    columns = {}
    for name in AXES:
        sigma_um, ratio = getattr(locs, f"sigma_{name}_um"), getattr(getattr(calibration, name), by)
        if not np.isfinite(sigma_um).any():
            continue
        if not np.isfinite(ratio):
            raise LocalizationError(
                f"rescale_sigma: the calibration has no pair with a sigma in {name}; "
                "calibrate on a table that predicts it"
            )
        columns[f"sigma_{name}_um"] = sigma_um * ratio
        columns[f"sigma_{name}_um"].setflags(write=False)
    return dataclasses.replace(locs, **columns)


def subpixel_uniformity(locs: Localizations, pixel_um: float) -> SubpixelUniformity:
    """Test how even positions are within the camera pixel: the Kolmogorov-Smirnov distance per axis.

    A decoder that is drawn to centres or edges of pixels has a large one, whatever its RMSE. The distances of an
    empty table are NaN. Raises LocalizationError for a pixel that is not positive.

    >>> from localization import make_localizations
    >>> x_um = 0.1 * (0.5 + np.arange(100)) / 100
    >>> subpixel_uniformity(make_localizations(np.zeros(100), x_um, x_um, x_um), 0.1).x
    0.005...
    """
    if not (np.isfinite(pixel_um) and pixel_um > 0):
        raise LocalizationError(f"subpixel_uniformity: pixel_um is {pixel_um}; give a positive length in um")
    n = locs.frame.size
    distances = [_ks_distance(np.mod(column / pixel_um, 1.0)) for column in (locs.x_um, locs.y_um)]
    return SubpixelUniformity(*distances, n=n, by_chance=1.358 / np.sqrt(n) if n else float("nan"))


def _ks_distance(fraction: NDArray[np.float64]) -> float:
    n = fraction.size
    if n == 0:
        return float("nan")
    ordered, rank = np.sort(fraction), np.arange(n)
    return float(max(np.max((rank + 1) / n - ordered), np.max(ordered - rank / n)))


def _calibrate_axis(error_um: NDArray, sigma_um: NDArray, n_bins: int) -> AxisCalibration:
    known = np.isfinite(sigma_um) & (sigma_um > 0)
    error_um, sigma_um = error_um[known], sigma_um[known]
    n = error_um.size
    last = _HISTOGRAM_EDGES[-1] - 1e-9
    z = error_um / sigma_um
    histogram, _ = np.histogram(np.clip(z, -last, last), _HISTOGRAM_EDGES)
    if n == 0:
        nan, none = float("nan"), np.zeros(0)
        empty = np.full(_CENTRAL.size, np.nan)
        counts = np.zeros(0, np.int64)
        return AxisCalibration(
            0, nan, nan, nan, nan, _CENTRAL, empty, nan, _HISTOGRAM_EDGES, histogram, none, none, counts
        )
    low, high = np.quantile(z, [_LOW, _HIGH])
    ratio = (high - low) / 2.0
    reach = ndtri((1.0 + _CENTRAL) / 2.0)
    fraction = np.searchsorted(np.sort(np.abs(z)), reach, "right") / n
    groups = [rows for rows in np.array_split(np.argsort(sigma_um, kind="stable"), min(n_bins, n)) if rows.size]
    return AxisCalibration(
        n=n,
        ratio=float(ratio),
        ratio_error=float(ratio * _ROBUST_ERROR / np.sqrt(n)),
        ratio_rms=float(np.sqrt(np.mean(z**2))),
        bias_in_sigma=float(np.median(z)),
        probability=_CENTRAL,
        fraction=fraction,
        reliability_error=float(np.max(np.abs(fraction - _CENTRAL))),
        edges=_HISTOGRAM_EDGES,
        histogram=histogram,
        bin_sigma_um=np.array([np.sqrt(np.mean(sigma_um[rows] ** 2)) for rows in groups]),
        bin_error_um=np.array([_robust_spread(error_um[rows]) for rows in groups]),
        bin_n=np.array([rows.size for rows in groups]),
    )


def _robust_spread(error_um: NDArray) -> float:
    low, high = np.quantile(error_um, [_LOW, _HIGH])
    return float((high - low) / 2.0)
