"""Where the rows of a list lie, and the few that lie far from all others: failed fits that no grid should reach."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localization.types import Localizations, select

# per column: its name in a sentence and its unit, its name in `colocus filter`, how many spreads away a row is far,
# and the least spread. Frames may thin out over ten times the span of most of them, as a sample bleaches.
_COLUMNS = {
    "x_um": ("x", " um", "x_um", 3.0, 1.0),
    "y_um": ("y", " um", "y_um", 3.0, 1.0),
    "z_um": ("z", " um", "z_um", 3.0, 1.0),
    "frame": ("frame", "", "frames", 10.0, 1000.0),
}
_SHARE = 100  # one row in so many, and one at least, may be far at either end of a column
_ROWS_MIN = 20  # of fewer rows none is the exception
_NAMED = 3


@dataclass(frozen=True, eq=False)
class FarRows:
    """The rows of a list that lie far from all others: their numbers `row` (k,), ascending, and what they say.

    `within` holds the bounds [low, high] of each column that has such rows, in which all others lie. `named` says the
    first rows with their values, `remedy` the command that drops them all.
    """

    row: NDArray[np.int64]
    within: dict[str, tuple[float, float]]
    named: str

    @property
    def remedy(self) -> str:
        """Write the command that drops these rows."""
        spans = (f"'{_COLUMNS[name][2]}=[{low:.12g},{high:.12g}]'" for name, (low, high) in self.within.items())
        return f"colocus filter LIST --out GOOD {' '.join(spans)}"

    def hint(self) -> str:
        """Add to an error about size who is to blame; "" where no row lies far off."""
        if not self.row.size:
            return ""
        return f"; {self.named} far from all others, and such rows are dropped by: {self.remedy}"

    def note(self, consequence: str) -> tuple[str, ...]:
        """Say which rows lie far off and what was done about it; nothing where there are none."""
        if not self.row.size:
            return ()
        return (f"{self.named} far from all others: {consequence}; to drop such rows: {self.remedy}",)


def far_rows(locs: Localizations, columns: Sequence[str] = tuple(_COLUMNS)) -> FarRows:
    """Find the rows that lie far from all others in one of `columns` ("x_um", "y_um", "z_um", "frame").

    All but the outermost hundredth at either end of a column span its spread (1 um or 1000 frames at least); a row is
    far where it lies three spreads or more (frames: ten) outside of that. So two halves of a list are never far from
    each other, however wide the gap. Time and memory go with the number of rows.

    >>> from localization import make_localizations
    >>> x_um = np.r_[np.linspace(0, 10, 99), 5000.0]
    >>> far_rows(make_localizations(0 * x_um, x_um, 0 * x_um, 0 * x_um)).row
    array([99])
    """
    far = None
    within = {}
    for name in columns:
        values = getattr(locs, name)
        span = usual_span(values, name)
        if span is not None:
            within[name] = span
            beyond = (values < span[0]) | (values > span[1])
            far = beyond if far is None else far | beyond
    row = np.zeros(0, np.int64) if far is None else np.flatnonzero(far)
    return FarRows(row, within, _named(locs, row))


def usual_span(values: NDArray, name: str) -> tuple[float, float] | None:
    """Find the bounds [low, high] of a column that leave out the values far from all others; None where none is.

    `values` (n,) are those of the column `name`, or an even sample of them.

    >>> usual_span(np.r_[np.linspace(0, 10, 99), 5000.0], "x_um")
    (-30.0, 40.0)
    """
    if values.size < _ROWS_MIN:
        return None
    *_, reach, least = _COLUMNS[name]
    trimmed = max(1, values.size // _SHARE)
    ends = np.partition(values, [trimmed, values.size - 1 - trimmed])
    low, high = float(ends[trimmed]), float(ends[-1 - trimmed])
    away = reach * max(high - low, least)
    low, high = _rounded(low - away, high + away, whole=name == "frame")
    return (low, high) if ends[:trimmed].min() < low or ends[-trimmed:].max() > high else None


def without_far_rows(locs: Localizations, columns: Sequence[str] = tuple(_COLUMNS)) -> tuple[Localizations, FarRows]:
    """Leave out the rows that lie far from all others; returns the table itself where there are none, and those rows.

    >>> from localization import make_localizations
    >>> without_far_rows(make_localizations([0], [1.0], [1.0], [0.0]))[0].frame.size
    1
    """
    far = far_rows(locs, columns)
    if not far.row.size:
        return locs, far
    keep = np.ones(locs.frame.size, bool)
    keep[far.row] = False
    return select(locs, keep), far


def _rounded(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Round bounds outwards to two digits of their distance, so that they can be typed; frames from 0 on."""
    digit = 10.0 ** np.floor(np.log10(high - low) - 1)
    low, high = (round(float(end), 6) for end in (np.floor(low / digit) * digit, np.ceil(high / digit) * digit))
    return (max(0.0, low), high) if whole else (low, high)


def _named(locs: Localizations, row: NDArray[np.int64]) -> str:
    def one(k: int) -> str:
        values = (f"{shown} = {float(getattr(locs, name)[k]):g}{unit}" for name, (shown, unit, *_) in _COLUMNS.items())
        return f"row {k + 1} ({', '.join(values)})"

    if row.size == 0:
        return ""
    names = ", ".join(one(int(k)) for k in row[:_NAMED])
    if row.size == 1:
        return f"{names} lies"
    return f"{row.size} rows, such as {names}," + " lie" if row.size > _NAMED else f"{names} lie"
