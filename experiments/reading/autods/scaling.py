"""Frames of other optics brought to those that the networks were trained on, and positions back.

A spot's sigma in camera pixels is S = 0.26 wavelength / (NA pixel) (npj Imaging 2025, doi 10.1038/s44303-025-00123-w).
Narrower spots than the networks' are blurred; wider ones are sampled on a coarser grid.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

ALIKE = 0.05  # share by which spots may differ and are left as they are: an in-focus one a tenth wider is read as two
FARTHEST = 3.0  # times that spots may differ: beyond, there is nothing left to see, or nothing to blur


def spot_px(wavelength_um: float, na: float, pixel_um: float) -> float:
    """Return a spot's sigma in camera pixels.

    >>> round(spot_px(0.715, 1.49, 0.107), 3)
    1.166
    """
    return 0.26 * wavelength_um / (na * pixel_um)


@dataclass(frozen=True)
class Rescaling:
    """What is done to frames: blurred by `blur_px`, then sampled with `rate` pixels for each of theirs (at most 1)."""

    blur_px: float = 0.0
    rate: float = 1.0

    @property
    def off(self) -> bool:
        """Whether frames stay as they are."""
        return self.blur_px == 0 and self.rate == 1

    def frames(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply it to frames (T, H, W). New pixel i reaches from i / rate to (i + 1) / rate of the old ones."""
        if self.blur_px:
            blurred = [ndimage.gaussian_filter(frame, self.blur_px, mode="reflect") for frame in frames]
            return np.asarray(blurred, np.float32)
        if self.rate == 1:
            return frames
        shape = tuple(math.ceil(side * self.rate - 1e-9) for side in frames.shape[1:])
        step = 1 / self.rate
        sampled = [
            ndimage.affine_transform(
                frame, np.array([step, step]), 0.5 * step - 0.5, output_shape=shape, order=3, mode="reflect"
            )
            for frame in frames
        ]
        return np.asarray(sampled, np.float32)


def rescaling(spots_px: float, model_px: float) -> Rescaling:
    """Choose what brings spots of sigma `spots_px` to `model_px`; nothing where they are alike or too far apart.

    >>> rescaling(1.18, 1.166).off, round(rescaling(2.332, 1.166).rate, 3), round(rescaling(0.9, 1.166).blur_px, 3)
    (True, 0.5, 0.741)
    """
    ratio = model_px / spots_px
    if abs(ratio - 1) <= ALIKE or not 1 / FARTHEST <= ratio <= FARTHEST:
        return Rescaling()
    if ratio > 1:
        return Rescaling(blur_px=math.sqrt(model_px**2 - spots_px**2))
    return Rescaling(rate=ratio)
