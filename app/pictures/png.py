"""Grey and coloured arrays as PNG, made quickly rather than small."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode (H, W) grey, (H, W, 3) colour or (H, W, 4) with opacity.

    >>> png(np.zeros((2, 3), np.uint8))[:4]
    b'\\x89PNG'
    """
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def stretched(values: NDArray, low: float, high: float, *, log: bool = False) -> NDArray[np.uint8]:
    """Spread values from `low` to `high` over 0 to 255, along their logarithm above `low` with `log`.

    >>> stretched(np.array([0.0, 1.0, 2.0, 9.0]), 0.0, 2.0)
    array([  0, 128, 255, 255], dtype=uint8)
    """
    share = np.clip((np.asarray(values, np.float32) - low) / max(high - low, 1e-9), 0.0, 1.0)
    if log:
        share = np.log1p(1000.0 * share) / np.log(1001.0)
    return np.rint(255 * share).astype(np.uint8)
