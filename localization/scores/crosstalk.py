"""Species taken for one another: who is listed as what, among emitters that were found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localization.scores.matching import match
from localization.scores.metrics import Interval, score_frames, score_total
from localization.types import Localizations, select

_Z = 1.96  # of 95 %


@dataclass(frozen=True, eq=False)
class Crosstalk:
    """Pairs of found and true emitters by channel, matched whatever it is.

    `counts` (C, C) how many of each true channel (row) are listed as each (column); `share` of pairs that are listed as
    another, with its interval of 95 % (Wilson's); `jaccard` (C,) of each channel by itself: what is listed as another
    is lost to it.
    """

    counts: NDArray[np.int64]
    share: Interval
    jaccard: NDArray[np.float64]


def crosstalk(found: Localizations, truth: Localizations, **gate) -> Crosstalk | None:
    """Count who is listed as what inside a gate, given as to `match`; None where the list tells no channels (all 0).

    The truth may have one channel alone: a sample of one species, by which crosstalk is measured. Raises
    LocalizationError where `match` does.

    >>> from localization import make_localizations
    >>> truth = make_localizations([0, 0, 0], [1.0, 2.0, 3.0], [1.0] * 3, [0.0] * 3, channel=[0, 1, 1])
    >>> found = make_localizations([0, 0], [1.0, 2.0], [1.0] * 2, [0.0] * 2, channel=[1, 1])
    >>> crosstalk(found, truth).counts.tolist()
    [[0, 1], [0, 1]]
    """
    if not found.channel.any():
        return None
    n = 1 + max(int(table.channel.max()) for table in (found, truth) if table.frame.size)
    pairs = match(found, truth, **gate)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (truth.channel[pairs.truth_index], found.channel[pairs.found_index]), 1)
    jaccard = np.array([_alone(found, truth, channel, gate) for channel in range(n)])
    return Crosstalk(counts, _share(int(counts.sum() - np.trace(counts)), int(counts.sum())), jaccard)


def _alone(found: Localizations, truth: Localizations, channel: int, gate: dict) -> float:
    of = (select(table, table.channel == channel) for table in (found, truth))
    return float(score_total(score_frames(*of, **gate)).jaccard)


def _share(wrong: int, n: int) -> Interval:
    if not n:
        return Interval(np.nan, np.nan, np.nan, 0.0)
    share, square = wrong / n, _Z**2 / n
    centre = (share + square / 2) / (1 + square)
    half = _Z * np.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return Interval(share, max(0.0, float(centre - half)), min(1.0, float(centre + half)), 1.0)
