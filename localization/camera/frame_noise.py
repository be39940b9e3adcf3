"""How many counts a photon makes, from the noise within frames: for frames that were stretched, or are alone.

`photometry.estimate_gain_offset` compares successive frames and is the better choice where a movie has them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d

from localization.types import LocalizationError

_STENCIL = np.array([1.0, -2.0, 1.0])
_WEIGHT = _STENCIL**2 / 6.0  # its squares, as weights of a mean
_BINS = 10
_KEPT = 0.9  # of the levels, lowest first: images of molecules are brightest, and not smooth over two pixels
_MEDIAN_OF_SQUARE = 0.4549364  # median of chi-square with one degree of freedom: a normal number's square
_PARTS = 8  # of the samples, for the jackknife
_LEAST_SAMPLES = 400


@dataclass(frozen=True)
class FrameNoise:
    """The line variance = gain (level - zero) of frames: `gain_adu_per_photon` with one standard error, and
    `offset_adu`, the level at which it meets zero variance (read noise lowers it, as in `GainEstimate`)."""

    gain_adu_per_photon: float
    offset_adu: float
    gain_error: float


def estimate_frame_noise(frames: ArrayLike) -> FrameNoise:
    """Estimate gain and offset from the pixels of frames (F, H, W), or one frame (H, W), of one camera setting.

    Noise is the second difference along both axes of 3 x 3 pixels, which takes out what is smooth over three pixels;
    level is their mean, weighted as their noise is. A line runs through the medians of the squares, over the median of
    chi-square, in bins of level; the brightest tenth, where the images of molecules are, is left out. What is sharper
    counts as noise, so that the gain is good to 10 to 30 %; noise has to be independent from pixel to pixel.

    Raises `LocalizationError` for another shape, too few pixels, NaN, and noise that does not grow with the level.

    >>> rng = np.random.default_rng(0)
    >>> frame = 100 + 3.0 * rng.poisson(np.linspace(5, 80, 128), (128, 128))
    >>> found = estimate_frame_noise(frame)
    >>> abs(found.gain_adu_per_photon - 3) < 0.4, abs(found.offset_adu - 100) < 15
    (True, True)
    """
    images = np.asarray(frames, np.float64)
    images = images[None] if images.ndim == 2 else images
    if images.ndim != 3:
        raise LocalizationError(f"frames have shape {images.shape}; pass (frames, height, width)")
    if not np.isfinite(images).all():
        raise LocalizationError("frames hold NaN or Inf; pass what the camera gave")
    level, square = _samples(images)
    if level.size < _LEAST_SAMPLES:
        raise LocalizationError(
            f"frames of shape {images.shape} are too few pixels to see their noise; pass at least 40 x 40"
        )
    part = np.arange(level.size) * _PARTS // level.size
    gain, offset = _line(level, square)
    without = np.array([_line(level[part != k], square[part != k])[0] for k in range(_PARTS)])
    error = float(np.sqrt((_PARTS - 1) / _PARTS * np.sum((without - without.mean()) ** 2)))
    if not (np.isfinite(offset) and gain > 0 and error < gain / 3):
        raise LocalizationError(
            f"the noise of these frames does not grow with their level (slope {gain:.3g} +- {error:.2g}); "
            "give the camera's gain and offset"
        )
    return FrameNoise(gain, offset, error)


def is_stretched(frames: ArrayLike) -> bool:
    """Tell whether each frame of (F, H, W) was stretched to one range: all have the same least and largest value.

    >>> frames = np.random.default_rng(0).random((3, 8, 8))
    >>> span = np.ptp(frames, axis=(1, 2), keepdims=True)
    >>> is_stretched(frames), is_stretched((frames - frames.min(axis=(1, 2), keepdims=True)) / span)
    (False, True)
    """
    images = np.asarray(frames)
    low, high = images.min(axis=(1, 2)), images.max(axis=(1, 2))
    return len(images) > 1 and bool((low == low[0]).all() and (high == high[0]).all() and high[0] > low[0])


def _samples(images: NDArray) -> tuple[NDArray, NDArray]:
    """Level and squared second difference, of the noise's variance, around every pixel but the border's."""
    inner = np.s_[:, 1:-1, 1:-1]
    noise = correlate1d(correlate1d(images, _STENCIL, axis=1), _STENCIL, axis=2)[inner] / 6.0
    level = correlate1d(correlate1d(images, _WEIGHT, axis=1), _WEIGHT, axis=2)[inner]
    return level.ravel(), noise.ravel() ** 2


def _line(level: NDArray, square: NDArray) -> tuple[float, float]:
    """Slope, and level of zero variance, of the line through the bins."""
    edges = np.quantile(level, np.linspace(0, _KEPT, _BINS))
    where = np.searchsorted(edges, level, side="right") - 1
    held = [where == k for k in range(_BINS - 1)]
    held = [mask for mask in held if np.count_nonzero(mask) > 10]  # ties leave a bin empty
    if len(held) < 2:
        return 0.0, float("nan")
    x = np.array([level[mask].mean() for mask in held])
    y = np.array([np.median(square[mask]) for mask in held]) / _MEDIAN_OF_SQUARE
    if np.ptp(x) == 0:
        return 0.0, float("nan")
    error = (y + 1e-6 * y.max() + 1e-300) / np.sqrt([np.count_nonzero(mask) for mask in held])
    slope, cut = np.polyfit(x, y, 1, w=1 / error)
    return float(slope), float(-cut / slope) if slope else float("nan")
