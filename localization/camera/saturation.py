"""Where a converter ends: the highest value that many pixels share, whatever it is.

A 12-bit camera ends at 4095, at 65520 where its counts are shifted into 16 bits, at less after a dark was taken off.
The tail of a noise thins out towards its last value; where it was cut off, readings pile up on that.
"""

import numpy as np
from numpy.typing import ArrayLike

_FEW, _MANY = 5, 12  # readings on the highest value: of a converter's own limit, and of any other
_LEAST_BITS = 8


def readings_pile_up(on: float, beside: float, places: float, *, least: float, least_places: float) -> bool:
    """Say whether readings pile up on the last value of their range.

    `on` and `beside` count the readings on that value and on the next one, `places` the pixels that ever had it. There
    must be more than `least` of them, more than on the next value, and on more than `least_places` pixels: a hot pixel
    sits on its value by itself.

    >>> readings_pile_up(40, 3, 9, least=5, least_places=2), readings_pile_up(4, 9, 4, least=5, least_places=2)
    (True, False)
    """
    return on > max(least, beside) and places > least_places


def saturation_adu(stack: ArrayLike) -> float | None:
    """Find the value at which a stack (frames, H, W) of whole counts is cut off, or None where it is not.

    Five readings on a converter's limit (255, 4095, 2047, ..., and shifted into 16 bits), or twelve on any other
    highest value, are no chance. Fractions are no counts: None.

    >>> saturation_adu(np.full((3, 9, 9), 4095)) is None  # constant: nothing tells light from limit
    True
    >>> cut = np.minimum(np.random.default_rng(0).poisson(900.0, (4, 9, 9)), 907)
    >>> saturation_adu(cut), saturation_adu(np.random.default_rng(0).poisson(900.0, (4, 9, 9)))
    (907.0, None)
    """
    counts = np.asarray(stack)
    highest, lowest = counts.max(), counts.min()
    if not highest > lowest or (counts.dtype.kind == "f" and (counts != np.round(counts)).any()):
        return None
    below = counts[counts < highest].max()
    there = counts == highest
    least = (_FEW if _is_limit(int(highest)) else _MANY) - 1
    cut = readings_pile_up(
        int(there.sum()),
        int((counts == below).sum()),
        int(there.any(axis=0).sum()),
        least=least,
        least_places=1,
    )
    return float(highest) if cut else None


def _is_limit(value: int) -> bool:
    """Whether a value is all ones from its highest bit to its lowest, eight of them or more."""
    if value <= 0:
        return False
    ones = value // (value & -value)
    return ones & (ones + 1) == 0 and ones.bit_length() >= _LEAST_BITS
