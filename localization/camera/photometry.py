"""How many counts a photon makes, and how many there are without light: read off a movie itself."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d, uniform_filter

from localization.types import LocalizationError

# Second difference along both axes: it takes away what is smooth over three pixels, which a molecule that
# switches on or off nearly is, and keeps the noise of single pixels.
_STENCIL = np.array([1.0, -2.0, 1.0])
_WEIGHT = _STENCIL**2 / 6.0  # its squares, as weights of a mean
_CLIP = 4.0  # robust standard deviations beyond which a filtered difference is a molecule that switched
_CLIPPED_VARIANCE = 0.9989295  # variance of a unit normal cut at 4: 1 - 2 * 4 * pdf(4) / (1 - 2 * sf(4))
# Where the mean of a box around the pixel changed by more than this many robust standard deviations, a molecule
# switched. Box and stencil are orthogonal, so that leaving these pixels out does not bias the noise of the rest.
_BOXES, _STILL = (3, 5), 2.0
_BINS = 24
_BLOCKS = 4  # blocks a side for the jackknife
_MAD_TO_STD = 1.482602218505602
_HUBER = 1.5  # bins further from the line than this many of their own errors count less


@dataclass(frozen=True, eq=False)
class GainEstimate:
    """The line variance = gain (mean - zero) of a movie, with one standard error of each number.

    `gain_adu_per_photon` counts per detected photon; `zero_variance_adu` the mean at which the line meets zero
    variance; `offset_adu` that plus gain times the square of the read noise that was given, by default none.
    `mean_adu`, `variance_adu` (bins,) are the points that the line was drawn through, without the variance
    step_adu^2 / 12 of rounding. `kept` is the share of the samples that no switching molecule spoiled.
    """

    gain_adu_per_photon: float
    offset_adu: float
    gain_error: float
    offset_error_adu: float
    zero_variance_adu: float
    step_adu: float
    kept: float
    mean_adu: NDArray[np.float64]
    variance_adu: NDArray[np.float64]


def estimate_gain_offset(frames: ArrayLike, *, read_noise_e: float = 0.0) -> GainEstimate:
    """Estimate gain and offset from the relation between mean and noise of a movie (T, H, W) in counts.

    Noise is measured on differences of successive frames, which know nothing of fixed patterns and slow
    bleaching, after a spatial second difference, which takes out molecules that switch on or off between
    two frames (their image is smooth over three pixels, noise is not). Pixels whose surroundings changed by
    more than noise are left out, what else is beyond 4 robust standard deviations is clipped, and the variance
    of rounding to whole counts (or multiples of a step) is taken off. Pixels are put into bins by their median
    in one half of the movie, and mean and variance of each bin are measured in the other half, so that the
    noise of the binning does not tilt the line. The line is a weighted, robust (Huber) fit; errors are a
    jackknife over 4 x 4 blocks of the frame.

    Assumed: one gain and offset for the whole sensor; shot noise (an EMCCD's excess noise doubles the gain);
    noise independent from pixel to pixel (no binning by interpolation, no compression); nothing saturated;
    levels that differ over the frame by more than the noise. Read noise cannot be told apart from the offset: the
    line's zero lies gain * read_noise_e^2 below the camera's offset (it is the offset that makes Poisson noise of
    the right size). Give `read_noise_e`, from the data sheet or a dark frame, to have the camera's own.

    A movie with a fixed map m subtracted, such as its minimum over time, keeps its noise but not its levels:
    where m = a + b * (level), levels shrink by 1 - b and move by -a, so that the gain comes out 1 / (1 - b)
    times too large and the offset is (1 - b) * offset - a. For b = 0 that is minus the distance from no
    light to the map: negative, as a minimum lies above the dark level. But a minimum does follow the
    background (b > 0), so take the gain of the raw movie where there is one, and offset - mean(m).

    Raises LocalizationError for another shape, fewer than 8 frames, sides below 16 px, NaN or Inf, and a
    movie whose noise does not grow with its level or that has none.

    >>> rng = np.random.default_rng(0)
    >>> movie = 100 + 2.0 * rng.poisson(np.linspace(5, 80, 64), (20, 64, 64))
    >>> estimate = estimate_gain_offset(movie)
    >>> abs(estimate.gain_adu_per_photon - 2) < 0.1, abs(estimate.offset_adu - 100) < 5
    (True, True)
    """
    movie = np.asarray(frames)
    _check(movie)
    if not 0 <= read_noise_e < np.inf:
        raise LocalizationError(f"read_noise_e = {read_noise_e:g} must be a number of electrons, 0 or more")
    step = rounding_step(movie)
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
    gain, zero = _line(total, step)
    left_out = np.array([_line(total - part, step) for part in sums])
    # the read noise moves the offset with the gain
    left_out = np.column_stack([left_out, left_out[:, 1] + left_out[:, 0] * read_noise_e**2])
    n = len(left_out)
    errors = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))
    if not (gain > 0 and errors[0] < 0.5 * gain):
        raise LocalizationError(
            f"the noise of this movie does not grow with its level (slope {gain:.3g} +- {errors[0]:.2g}); "
            "give gain and offset from the camera's data sheet, or a movie with dark and bright places"
        )
    mean, variance = _points(total, step)[:2]
    kept = float(total[:, 0].sum() / ((n_frames - 2) * height * width))
    return GainEstimate(
        gain_adu_per_photon=gain,
        offset_adu=zero + gain * read_noise_e**2,
        gain_error=float(errors[0]),
        offset_error_adu=float(errors[2]),
        zero_variance_adu=zero,
        step_adu=step,
        kept=kept,
        mean_adu=mean,
        variance_adu=variance,
    )


def rounding_step(frames: ArrayLike) -> float:
    """Find the step between readings, in counts: their greatest common divisor; 0 where they are not whole.

    12-bit counts shifted into 16 bits have a step of 16, whole counts 1.

    >>> rounding_step(np.array([[[100, 104], [112, 96]]]))
    4.0
    """
    values = np.unique(np.asarray(frames)[:2])
    if values.size < 2 or (values != np.round(values)).any():
        return 0.0 if values.size > 1 else 1.0
    return float(np.gcd.reduce(np.diff(values).astype(np.int64)))


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
    changes: dict[int, list[NDArray]] = {side: [] for side in _BOXES}
    for a, b in zip(movie[:-1].astype(np.float64), movie[1:].astype(np.float64), strict=True):
        filtered = correlate1d(correlate1d(b - a, _STENCIL, axis=0), _STENCIL, axis=1)[1:-1, 1:-1]
        noise.append((filtered / np.sqrt(2 * 36.0)).astype(np.float32).ravel()[order])
        level.append(_smooth((a + b) / 2).astype(np.float32).ravel()[order])
        for side, change in changes.items():
            change.append(uniform_filter(b - a, side)[1:-1, 1:-1].astype(np.float32).ravel()[order])
    noise, level = np.array(noise), np.array(level)
    kept = np.abs(noise) <= _CLIP * _scale_at_level(noise, level, label)
    for change in map(np.array, changes.values()):
        kept &= np.abs(change) <= _STILL * _scale(change, label)
    held = [np.where(kept, part, 0).sum(axis=0, dtype=np.float64) for part in (1.0, level, noise**2)]
    columns = held[0], held[1], held[2] / _CLIPPED_VARIANCE
    running = [np.concatenate([[0.0], np.cumsum(column)]) for column in columns]
    sums = np.stack([np.diff(total[starts]) for total in running], axis=-1)
    return sums.reshape(_BLOCKS**2, 2 * _BINS, 3)


def _scale(values: NDArray, label: NDArray) -> NDArray:
    """Robust standard deviation of the values (T, N) of each label, for every column (N,)."""
    return _by_label(lambda held: _MAD_TO_STD * np.median(np.abs(held)), values, label)[label]


def _scale_at_level(noise: NDArray, level: NDArray, label: NDArray) -> NDArray:
    """Standard deviation (T, N) that noise has at each sample's own level: a pixel under a molecule is noisier.

    A line through the robust variances and median levels of the labels, not below a quarter of the least.
    """
    variance = _by_label(lambda held: _MAD_TO_STD * np.median(np.abs(held)), noise, label) ** 2
    centre = _by_label(np.median, level, label)
    used = np.unique(label)
    design = np.column_stack([np.ones(used.size), centre[used]]) / variance[used, None]
    cut, slope = np.linalg.lstsq(design, np.ones(used.size), rcond=None)[0]
    floor = 0.25 * variance[used].min()
    return np.sqrt(np.maximum(cut + max(slope, 0.0) * level, floor)).astype(np.float32)


def _by_label(statistic: Callable[[NDArray], float], values: NDArray, label: NDArray) -> NDArray:
    """A statistic (2 * bins,) of the values (T, N) of each label; at least 1e-9: a noiseless bin keeps its zeros."""
    found = np.zeros(2 * _BINS)
    for k in np.unique(label):
        found[k] = statistic(values[:, label == k])
    return np.maximum(found, 1e-9)


def _points(total: NDArray, step: float) -> tuple[NDArray, NDArray, NDArray]:
    """Mean level, variance less that of rounding, and number of samples, of each bin that has any."""
    held = total[total[:, 0] > 1]
    return held[:, 1] / held[:, 0], held[:, 2] / held[:, 0] - step**2 / 12, held[:, 0]


def _line(total: NDArray, step: float) -> tuple[float, float]:
    """Gain and offset of the weighted robust line through the bins."""
    mean, variance, n = _points(total, step)
    floor = 1e-6 * np.abs(variance).max() + 1e-12  # keeps the weight of a noiseless bin finite
    error = (np.maximum(variance, 0) + step**2 / 12 + floor) * np.sqrt(2 / n)
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
