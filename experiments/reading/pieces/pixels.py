"""Which pixels of a frame count: those that hold a number below the camera's limit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BITS = (8, 10, 12, 14, 16)  # of converters
_LEAST_SATURATED = 2  # pixels at a converter's limit in one frame: one alone may be chance


@dataclass(frozen=True)
class Pixels:
    """Frames (n, H, W) as floating-point `counts`, finite everywhere, and which of them are `valid`.

    `saturated` and `not_finite` say how many pixels are left out for which reason.
    """

    counts: NDArray[np.float32]
    valid: NDArray[np.bool_]
    saturated: int
    not_finite: int


def countable(counts: NDArray, saturation_adu: float | None = None) -> Pixels:
    """Say which pixels of frames (n, H, W) count, and put numbers where there are none.

    A pixel is left out where it is NaN or Inf (the median of its frame stands there), and from `saturation_adu` up. If
    that is None, a frame whose largest count is that of a converter (255, 1023, 4095, 16383, 65535), in two pixels or
    more, is saturated there.

    >>> frames = np.full((1, 4, 4), 100.0)
    >>> frames[0, 0, :3] = 4095, 4095, np.nan
    >>> pixels = countable(frames)
    >>> pixels.saturated, pixels.not_finite, int(pixels.valid.sum()), float(pixels.counts[0, 0, 2])
    (2, 1, 13, 100.0)
    """
    numbers = np.array(counts, np.float32)
    finite = np.isfinite(numbers)
    if not finite.all():
        for frame, known in zip(numbers, finite, strict=True):
            frame[~known] = np.median(frame[known]) if known.any() else 0.0
    if saturation_adu is not None:
        limit = np.full(len(numbers), saturation_adu)
    else:
        most = numbers.max(axis=(1, 2), initial=0.0)
        full = np.isin(most, [2**bits - 1 for bits in _BITS])
        full &= (numbers == most[:, None, None]).sum(axis=(1, 2)) >= _LEAST_SATURATED
        limit = np.where(full, most, np.inf)
    saturated = finite & (numbers >= limit[:, None, None])
    return Pixels(numbers, finite & ~saturated, int(saturated.sum()), int((~finite).sum()))
