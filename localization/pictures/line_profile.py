"""Counts along a line through a table, and the width of what it crosses."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from localization.types import LocalizationError, Localizations

ProfileModel = Literal["gaussian", "double"]

_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
_ROWS_MIN = 20
_BINS_MAX = 100_000


@dataclass(frozen=True, eq=False)
class LineProfile:
    """Counts (bins,) along a line, at bin centres `position_um` from its start; `n_rows` in all."""

    position_um: NDArray[np.float64]
    count: NDArray[np.int64]
    bin_um: float
    n_rows: int


@dataclass(frozen=True, eq=False)
class ProfileWidth:
    """A fitted profile: full width at half maximum of its peak or peaks (one width for both), um.

    `centre_um` has shape (1,) or (2,), `separation_um` is NaN for one peak; `*_error_um` are standard errors.
    `deviance` over `freedom` is near 1 where the model fits. `fitted` has shape (bins,). The localization
    uncertainty is part of the width; nothing is subtracted.
    """

    fwhm_um: float
    fwhm_error_um: float
    centre_um: NDArray[np.float64]
    centre_error_um: NDArray[np.float64]
    separation_um: float
    separation_error_um: float
    background_per_um: float
    deviance: float
    freedom: int
    fitted: NDArray[np.float64]


def line_profile(
    locs: Localizations,
    start_um: tuple[float, float],
    stop_um: tuple[float, float],
    width_um: float,
    *,
    bin_um: float = 0.005,
) -> LineProfile:
    """Count the rows along the line from `start_um` to `stop_um`, (x, y), within `width_um` / 2 on either side.

    The bins are `bin_um` wide or a little less, so that a whole number fills the line. Raises LocalizationError
    for a line, width or bin without length, and for more than 100,000 bins.

    >>> from localization import make_localizations
    >>> locs = make_localizations([0, 0], [0.1, 0.3], [0.0, 0.0], [0.0, 0.0])
    >>> line_profile(locs, (0.0, 0.0), (0.4, 0.0), 0.1, bin_um=0.2).count
    array([1, 1])
    """
    start, stop = np.asarray(start_um, np.float64), np.asarray(stop_um, np.float64)
    if start.shape != (2,) or stop.shape != (2,) or not np.isfinite([start, stop]).all():
        raise LocalizationError(f"line_profile: the line runs from {start_um} to {stop_um}; give (x, y) in um for both")
    length_um = float(np.hypot(*(stop - start)))
    for name, value in (("length", length_um), ("width_um", width_um), ("bin_um", bin_um)):
        if not (np.isfinite(value) and value > 0):
            raise LocalizationError(f"line_profile: {name} is {value} um; it must be positive")
    n_bins = int(np.ceil(min(length_um / bin_um, _BINS_MAX + 1.0) - 1e-9))
    if n_bins > _BINS_MAX:
        raise LocalizationError(f"line_profile: more than {_BINS_MAX} bins of {bin_um} um; take wider ones")
    along = (stop - start) / length_um
    dx, dy = locs.x_um - start[0], locs.y_um - start[1]
    position, aside = dx * along[0] + dy * along[1], dy * along[0] - dx * along[1]
    inside = (position >= 0) & (position < length_um) & (np.abs(aside) <= width_um / 2.0)
    count, edges = np.histogram(position[inside], np.linspace(0.0, length_um, n_bins + 1))
    return LineProfile((edges[1:] + edges[:-1]) / 2.0, count, length_um / n_bins, int(count.sum()))


def profile_width(profile: LineProfile, *, model: ProfileModel = "gaussian") -> ProfileWidth:
    """Fit one Gaussian, or two of the same width, on a constant background by maximum Poisson likelihood.

    The model is integrated over bins, so that they may be coarse. Raises LocalizationError for fewer than 20 rows,
    fewer bins than parameters, and a fit that ends without a width (a flat profile, or a peak outside the line).

    >>> import numpy as np
    >>> from localization import make_localizations
    >>> x_um = np.random.default_rng(0).normal(0.2, 0.01, 2000)
    >>> profile = line_profile(make_localizations(x_um * 0, x_um, x_um * 0, x_um * 0), (0, 0), (0.4, 0), 0.1)
    >>> bool(abs(profile_width(profile).fwhm_um / 0.02355 - 1) < 0.1)
    True
    """
    peaks = {"gaussian": 1, "double": 2}.get(model)
    if peaks is None:
        raise LocalizationError(f"profile_width: unknown model {model!r}; use 'gaussian' or 'double'")
    if profile.n_rows < _ROWS_MIN:
        raise LocalizationError(
            f"profile_width: {profile.n_rows} rows along the line; need {_ROWS_MIN}, move the line or make it wider"
        )
    count = profile.count.astype(np.float64)
    bin_um = profile.bin_um
    length_um = bin_um * count.size
    n_parameters = 2 + 2 * peaks
    if count.size <= n_parameters:
        raise LocalizationError(f"profile_width: {count.size} bins for {n_parameters} numbers; take smaller bins")
    left = profile.position_um - bin_um / 2.0

    def expected(parameters: NDArray) -> NDArray:
        sigma, background = np.exp(parameters[:2])
        mean = np.full(count.size, background * bin_um)
        for centre, amount in parameters[2:].reshape(peaks, 2):
            mean = mean + np.exp(amount) * (ndtr((left + bin_um - centre) / sigma) - ndtr((left - centre) / sigma))
        return mean

    def residual(parameters: NDArray) -> NDArray:  # signed roots of the deviance: least squares is the likelihood
        mean = np.maximum(expected(parameters), 1e-12)
        ratio = np.where(count > 0, count / mean, 1.0)
        return np.sign(count - mean) * np.sqrt(np.maximum(2.0 * (mean - count + count * np.log(ratio)), 0.0))

    best = None
    for begin in _starts(profile, peaks, length_um):
        # a scale of 1 for logarithms and of the length for places
        scale = np.array([1.0, 1.0, *([length_um, 1.0] * peaks)])
        fit = least_squares(residual, begin, x_scale=scale, max_nfev=400)
        if best is None or fit.cost < best.cost:
            best = fit
    assert best is not None, "there is always a first start"
    sigma, background = np.exp(best.x[:2])
    order = np.argsort(best.x[2::2])
    centre = best.x[2::2][order]
    mean = np.maximum(expected(best.x), 1e-12)
    errors, covariance = _standard_errors(expected, best.x, mean)
    fwhm_error = _FWHM * sigma * errors[0]
    inside = (centre > 0).all() and (centre < length_um).all()
    if not (inside and np.isfinite(fwhm_error) and fwhm_error < _FWHM * sigma and sigma < length_um):
        raise LocalizationError(
            "profile_width: no peak with a width on this line; let it cross the structure with room on both sides"
            + (", or fit model='gaussian'" if peaks == 2 else "")
        )
    separation, separation_error = float("nan"), float("nan")
    if peaks == 2:
        separation = float(centre[1] - centre[0])
        separation_error = float(np.sqrt(covariance[2, 2] + covariance[4, 4] - 2.0 * covariance[2, 4]))
    return ProfileWidth(
        fwhm_um=float(_FWHM * sigma),
        fwhm_error_um=float(fwhm_error),
        centre_um=centre,
        centre_error_um=errors[2::2][order],
        separation_um=separation,
        separation_error_um=separation_error,
        background_per_um=float(background),
        deviance=float(2.0 * best.cost),
        freedom=count.size - n_parameters,
        fitted=expected(best.x),
    )


def _starts(profile: LineProfile, peaks: int, length_um: float) -> list[NDArray[np.float64]]:
    """Choose starts for the fit: around the median of the profile, at several widths."""
    total = float(profile.n_rows)
    share = np.cumsum(profile.count) / total
    low, middle, high = (float(np.interp(q, share, profile.position_um)) for q in (0.16, 0.5, 0.84))
    spread = max((high - low) / 2.0, profile.bin_um)
    background = np.log(0.2 * total / length_um)
    if peaks == 1:
        peak = float(profile.position_um[np.argmax(profile.count)])
        return [
            np.array([np.log(width), background, place, np.log(0.8 * total)])
            for width, place in ((spread, middle), (spread / 3, peak), (max(spread / 10, profile.bin_um), peak))
        ]
    half = np.log(0.4 * total)
    return [
        np.array([np.log(spread * width), background, middle - spread * apart, half, middle + spread * apart, half])
        for width, apart in ((0.3, 1.0), (0.5, 0.6), (0.2, 0.7))
    ]


def _standard_errors(expected, parameters: NDArray, mean: NDArray) -> tuple[NDArray, NDArray]:
    """Estimate standard errors and covariance from the Fisher matrix of Poisson counts, central differences."""
    step = 1e-5 * np.maximum(np.abs(parameters), 1e-3)
    slopes = np.stack(
        [
            (expected(parameters + h * unit) - expected(parameters - h * unit)) / (2.0 * h)
            for h, unit in zip(step, np.eye(parameters.size), strict=True)
        ],
        axis=1,
    )
    covariance = np.linalg.pinv(slopes.T @ (slopes / mean[:, None]))
    return np.sqrt(np.maximum(np.diag(covariance), 0.0)), covariance
