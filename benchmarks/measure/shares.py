"""How well a share is known that was counted."""

import math

_Z = 1.96  # of 95 %


def wilson(right: int, n: int) -> list[float]:
    """Interval of 95 % of a share, in %: Wilson's.

    >>> wilson(5, 10)
    [23.7, 76.3]
    """
    share, square = right / n, _Z**2 / n
    centre = (share + square / 2) / (1 + square)
    half = _Z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return [round(100 * (centre - half), 1), round(100 * (centre + half), 1)]
