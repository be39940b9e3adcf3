"""`colocus filter`: the rows of a localization list that fulfil some criteria."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localization import Criteria, FilterReport, Localizations, filter_localizations, write
from optics.progress import Report, silent


@dataclass(frozen=True, eq=False)
class Filtered:
    """The rows that were kept, how many each criterion removed, and, once written, what the file cannot hold."""

    locs: Localizations
    removed: FilterReport
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say how many rows each criterion removed."""
        width = max(map(len, self.removed.removed), default=0)
        lines = [f"{name:{width}}  removed {count}" for name, count in self.removed.removed.items()]
        lines += [f"note: {note}" for note in self.lost]
        return [*lines, f"{self.removed.after} of {self.removed.before} localizations kept"]

    def numbers(self) -> dict[str, Any]:
        """List how many rows there were, are, and were removed by each criterion."""
        return {"before": self.removed.before, "after": self.removed.after, "removed": dict(self.removed.removed)}

    def write(self, out: Path) -> list[Path]:
        """Write the list of the rows that were kept."""
        self.lost[:] = write(out, self.locs)
        return [out]


def filter_list(locs: Localizations, config: Criteria, report: Report = silent) -> Filtered:
    """Keep the rows of a list that fulfil the criteria; see `localization.filter_localizations`.

    >>> from localization import make_localizations
    >>> locs = make_localizations([0, 0], [1.0, 2.0], [1.0, 2.0], [0.0, 0.0], photons=[100.0, 900.0])
    >>> filter_list(locs, Criteria(photons_min=500)).lines()[-1]
    '1 of 2 localizations kept'
    """
    return Filtered(*filter_localizations(locs, config))
