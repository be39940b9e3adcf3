"""Emitters in pictures of their density, such as Deep-STORM's: a second reading, beside the picture itself."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from localization.types import LocalizationError, Localizations, make_localizations


def image_peaks(
    density: ArrayLike,
    *,
    pixel_um: float,
    upsampling: int,
    threshold: float = 0.5,
    radius: int = 3,
    smooth_px: float = 1.0,
    z_um: float = 0.0,
    first_frame: int = 0,
) -> Localizations:
    """Localize the peaks of density images (H, W) or (B, H, W), in emitters per fine pixel.

    A fine pixel is a peak when, after a Gaussian of `smooth_px`, nothing in the square of side 2 radius + 1 around
    it is larger (of equal ones the first in raster order). The density in that square is its score, the emitters
    that it stands for, and must reach `threshold`; the position is the square's centre of mass. Fine pixels are
    pixel_um / upsampling wide, the first beginning at the frame's outer corner. Raises LocalizationError for
    another shape, a density that is negative or not finite, and sizes that are not positive.

    >>> density = np.zeros((16, 24)); density[4, 9:11] = 0.5
    >>> locs = image_peaks(density, pixel_um=0.1, upsampling=8)
    >>> [round(float(v[0]), 5) for v in (locs.x_um, locs.y_um, locs.score)]
    [0.125, 0.05625, 1.0]
    """
    images = np.asarray(density, dtype=np.float64)
    images = images[None] if images.ndim == 2 else images
    if images.ndim != 3:
        raise LocalizationError(f"image_peaks: density has shape {np.shape(density)}; pass (H, W) or (B, H, W)")
    if images.size and not (images.min() >= 0 and np.isfinite(images.max())):
        raise LocalizationError("image_peaks: the density holds negative, NaN or infinite values; cut it at 0 first")
    for name, value in (("pixel_um", pixel_um), ("upsampling", upsampling), ("threshold", threshold)):
        if not value > 0:
            raise LocalizationError(f"image_peaks: {name} is {value}; it must be positive")
    if radius < 1 or not smooth_px >= 0:
        raise LocalizationError(f"image_peaks: radius {radius} must be at least 1, smooth_px {smooth_px} not negative")
    rows = [_frame_peaks(image, threshold, radius, smooth_px) for image in images]
    frame = np.repeat(first_frame + np.arange(len(rows)), [len(row) for row in rows])
    x, y, mass = np.concatenate([*rows, np.zeros((0, 3))]).T
    fine_um = pixel_um / upsampling
    return make_localizations(frame, x * fine_um, y * fine_um, np.full(x.shape, z_um), score=mass)


def _frame_peaks(image: NDArray[np.float64], threshold: float, radius: int, smooth_px: float) -> NDArray[np.float64]:
    """Find peaks (P, 3): x and y in fine pixels from the outer corner, and the density of each."""
    smooth = ndimage.gaussian_filter(image, smooth_px, mode="constant") if smooth_px else image
    side = 2 * radius + 1
    i, j = np.nonzero((smooth >= ndimage.maximum_filter(smooth, side, mode="constant")) & (smooth > 0))
    windows = np.pad(image, radius)[(i[:, None, None] + np.arange(side)[:, None]), (j[:, None, None] + np.arange(side))]
    mass = windows.sum(axis=(1, 2))
    good = mass >= threshold
    good &= _first_of_equals(smooth, i, j, radius)
    windows, mass = windows[good], mass[good]
    steps = np.arange(side) - radius
    x = j[good] + 0.5 + (windows.sum(axis=1) @ steps) / mass
    y = i[good] + 0.5 + (windows.sum(axis=2) @ steps) / mass
    return np.stack([x, y, mass], axis=1)


def _first_of_equals(smooth: NDArray[np.float64], i: NDArray, j: NDArray, radius: int) -> NDArray[np.bool_]:
    """Tell whether no fine pixel before a peak in raster order, in its square, is as large."""
    value, padded = smooth[i, j], np.pad(smooth, radius)
    first = np.ones(i.shape, bool)
    for di in range(-radius, 1):
        for dj in range(-radius, radius + 1):
            if (di, dj) < (0, 0):
                first &= padded[i + di + radius, j + dj + radius] < value
    return first
