"""How many counts a photon makes, and how many there are without light: read off a movie itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d

from localization.types import LocalizationError

# Second difference along both axes: it takes away what is smooth over three pixels, which a molecule that
# switches on or off nearly is, and keeps the noise of single pixels.
_STENCIL = np.array([1.0, -2.0, 1.0])
_WEIGHT = _STENCIL**2 / 6.0  # its squares, as weights of a mean
_CLIP = 4.0  # robust standard deviations beyond which a filtered difference is a molecule that switched
_CLIPPED_VARIANCE = 0.9989295  # variance of a unit normal cut at 4: 1 - 2 * 4 * pdf(4) / (1 - 2 * sf(4))
_BINS = 24
_BLOCKS = 4  # blocks a side for the jackknife
_MAD_TO_STD = 1.482602218505602
_HUBER = 1.5  # bins further from the line than this many of their own errors count less


@dataclass(frozen=True, eq=False)
class GainEstimate:
    """The line variance = gain (mean - offset) of a movie, with one standard error of each number.

    `gain_adu_per_photon` counts per detected photon; `offset_adu` the mean at which the line meets zero
    variance. `mean_adu`, `variance_adu` (bins,) are the points that the line was drawn through.
    """

    gain_adu_per_photon: float
    offset_adu: float
    gain_error: float
    offset_error_adu: float
    mean_adu: NDArray[np.float64]
    variance_adu: NDArray[np.float64]


def estimate_gain_offset(frames: ArrayLike) -> GainEstimate:
    """Estimate gain and offset from the relation between mean and noise of a movie (T, H, W) in counts.

    Noise is measured on differences of successive frames, which know nothing of fixed patterns and slow
    bleaching, after a spatial second difference, which takes out molecules that switch on or off between
    two frames (their image is smooth over three pixels, noise is not); what is left of those is clipped at
    4 robust standard deviations. Pixels are put into bins by their median in one half of the movie, and
    mean and variance of each bin are measured in the other half, so that the noise of the binning does not
    tilt the line. The line is a weighted, robust (Huber) fit; errors are a jackknife over 4 x 4 blocks of
    the frame.

    Assumed: one gain and offset for the whole sensor; shot noise (an EMCCD's excess noise doubles the gain);
    noise independent from pixel to pixel (no binning by interpolation, no compression); nothing saturated;
    levels that differ over the frame by more than the noise. Read noise cannot be told apart: with a
    standard deviation r in counts, the offset comes out r^2 / gain below the camera's, which is the offset
    that makes Poisson noise of the right size.

    A movie with a fixed map m subtracted, such as its minimum over time, keeps its noise but not its levels:
    where m = a + b * (level), levels shrink by 1 - b and move by -a, so that the gain comes out 1 / (1 - b)
    times too large and the offset is (1 - b) * offset - a. For b = 0 that is minus the distance from no
    light to the map: negative, as a minimum lies above the dark level. But a minimum does follow the
    background (b > 0), so take the gain of the raw movie where there is one, and offset - mean(m).

    Raises LocalizationError for another shape, fewer than 8 frames, sides below 16 px, NaN or Inf, and a
    movie whose noise does not grow with its level.

    >>> rng = np.random.default_rng(0)
    >>> movie = 100 + 2.0 * rng.poisson(np.linspace(5, 80, 64), (20, 64, 64))
    >>> estimate = estimate_gain_offset(movie)
    >>> abs(estimate.gain_adu_per_photon - 2) < 0.1, abs(estimate.offset_adu - 100) < 5
    (True, True)
    """
    movie = np.asarray(frames)
    _check(movie)
    n_frames = len(movie)
    halves = np.array_split(np.arange(n_frames), 2)
    height, width = movie.shape[1] - 2, movie.shape[2] - 2
    row_block, column_block = (np.arange(n) * _BLOCKS // n for n in (height, width))
    block = row_block[:, None] * _BLOCKS + column_block
    # rows: blocks; columns: bins of one half, then of the other; last axis: samples, levels, squares
    sums = np.zeros((_BLOCKS**2, 2 * _BINS, 3))
    for half, (here, there) in enumerate((halves, halves[::-1])):
        level = _smooth(np.median(movie[there], axis=0))
        edges = np.quantile(level, np.linspace(0, 1, _BINS + 1)[1:-1])
        label = half * _BINS + np.searchsorted(edges, level, side="right")
        sums += _measure(movie[here], block * 2 * _BINS + label)
    total = sums.sum(axis=0)
    gain, offset = _line(total)
    left_out = np.array([_line(total - part) for part in sums])
    n = len(left_out)
    errors = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))
    if not (gain > 0 and errors[0] < 0.5 * gain):
        raise LocalizationError(
            f"the noise of this movie does not grow with its level (slope {gain:.3g} +- {errors[0]:.2g}); "
            "give gain and offset from the camera's data sheet, or a movie with dark and bright places"
        )
    mean, variance = _points(total)[:2]
    return GainEstimate(gain, offset, float(errors[0]), float(errors[1]), mean, variance)


def _check(movie: NDArray) -> None:
    if movie.ndim != 3:
        raise LocalizationError(f"frames have shape {movie.shape}; pass a movie (frames, height, width)")
    if len(movie) < 8 or min(movie.shape[1:]) < 16:
        raise LocalizationError(f"frames have shape {movie.shape}; pass at least 8 frames of 16 x 16 px")
    if not np.isfinite(movie).all():
        raise LocalizationError("frames hold NaN or Inf; pass the camera's counts")


def _smooth(frame: NDArray) -> NDArray:
    """Mean of each 3 x 3 neighbourhood with the weights that its noise has in the stencil; no border."""
    frame = frame.astype(np.float64)
    return correlate1d(correlate1d(frame, _WEIGHT, axis=0), _WEIGHT, axis=1)[1:-1, 1:-1]


def _measure(movie: NDArray, cell: NDArray) -> NDArray:
    """Samples, sum of levels and sum of noise variances of every cell (block and bin) of one half."""
    size = _BLOCKS**2 * 2 * _BINS
    order = np.argsort(cell, axis=None, kind="stable")
    label = cell.ravel()[order] % (2 * _BINS)
    starts = np.searchsorted(cell.ravel()[order], np.arange(size + 1))
    noise, level = [], []
    for a, b in zip(movie[:-1].astype(np.float64), movie[1:].astype(np.float64), strict=True):
        filtered = correlate1d(correlate1d(b - a, _STENCIL, axis=0), _STENCIL, axis=1)[1:-1, 1:-1]
        noise.append((filtered / np.sqrt(2 * 36.0)).ravel()[order])
        level.append(_smooth((a + b) / 2).ravel()[order])
    noise, level = np.array(noise), np.array(level)
    scale = np.ones(2 * _BINS)
    for k in np.unique(label):
        scale[k] = _MAD_TO_STD * np.median(np.abs(noise[:, label == k]))
    kept = np.abs(noise) <= _CLIP * np.maximum(scale, 1e-9)[label]  # 1e-9: a noiseless bin keeps its zeros
    columns = kept.sum(axis=0), (kept * level).sum(axis=0), (kept * noise**2).sum(axis=0) / _CLIPPED_VARIANCE
    running = [np.concatenate([[0.0], np.cumsum(column)]) for column in columns]
    sums = np.stack([np.diff(total[starts]) for total in running], axis=-1)
    return sums.reshape(_BLOCKS**2, 2 * _BINS, 3)


def _points(total: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Mean level, variance and number of samples of each bin that has any."""
    held = total[total[:, 0] > 1]
    return held[:, 1] / held[:, 0], held[:, 2] / held[:, 0], held[:, 0]


def _line(total: NDArray) -> tuple[float, float]:
    """Gain and offset of the weighted robust line through the bins."""
    mean, variance, n = _points(total)
    floor = 1e-6 * variance.max() + 1e-12  # keeps the weight of a noiseless bin finite
    error = (variance + floor) * np.sqrt(2 / n)
    weight, slope, cut = 1 / error**2, 0.0, 0.0
    for _ in range(20):
        centre = np.sum(weight * mean) / weight.sum()
        spread = np.sum(weight * (mean - centre) ** 2)
        slope = np.sum(weight * (mean - centre) * variance) / max(spread, 1e-300)
        cut = np.sum(weight * variance) / weight.sum() - slope * centre
        away = np.abs(variance - slope * mean - cut)
        # the scale of the scatter, not the bins' own errors: a line never holds to their last digit
        typical = max(_MAD_TO_STD * float(np.median(away / error)), 1e-9)
        weight = np.minimum(1.0, _HUBER * typical / np.maximum(away / error, 1e-12)) / error**2
    return float(slope), float(-cut / slope) if slope else float("nan")
