"""Frames that a file announces and does not hold: said, and passed over only where the user allows it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from localization.io.movies.source import CUT_REMEDY, MovieOptions
from localization.types import LocalizationError

_MOST_FRAMES = 1 << 22  # a damaged header may announce any number: seventy minutes at a thousand a second


def check_number(path: Path, n_frames: int) -> int:
    """Return the number of frames that a file announces. Raises LocalizationError where it makes no sense.

    >>> check_number(Path("a.nd2"), 5)
    5
    """
    if not 0 < n_frames <= _MOST_FRAMES:
        raise LocalizationError(f"{path}: announces {n_frames} frames; the file is damaged, copy it again")
    return n_frames


def held_frames(path: Path, held: ArrayLike, options: MovieOptions, notes: list[str]) -> NDArray[np.int64]:
    """List the frames that are there, of those announced; `held` (n,) says of each whether it is.

    Programs and libraries give black frames for those that were never written, which no one who counts photons can
    use. Raises LocalizationError where one is missing, unless `options.allow_cut`; then a note names them.

    >>> notes: list[str] = []
    >>> held_frames(Path("a.nd2"), [True, False, True], MovieOptions(allow_cut=True), notes), notes
    (array([0, 2]), ['a.nd2 holds 2 of the 3 frames that it announces; left out: frame 1'])
    """
    there = np.asarray(held, bool)
    frames = np.flatnonzero(there)
    if frames.size == 0:
        raise LocalizationError(f"{path}: holds none of the {there.size} frames that it announces; copy it again")
    missing = np.flatnonzero(~there)
    if missing.size:
        lost = f"left out: {_runs([int(k) for k in missing])}"
        if not options.allow_cut:
            raise LocalizationError(
                f"{path}: incomplete, it announces {there.size} frames and holds {frames.size} "
                f"(missing: {_runs([int(k) for k in missing])}); {CUT_REMEDY}"
            )
        notes.append(f"{path.name} holds {frames.size} of the {there.size} frames that it announces; {lost}")
    return frames


def _runs(numbers: Sequence[int]) -> str:
    """Write numbers as runs: frame 3, or frames 3, 5 to 9.

    >>> _runs([3, 5, 6, 7, 9])
    'frames 3, 5 to 7, 9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [f"{a}" if a == b else f"{a} to {b}" for a, b in runs[:5]]
    return f"frame{'s' if len(numbers) > 1 else ''} {', '.join(shown)}{', ...' if len(runs) > 5 else ''}"
