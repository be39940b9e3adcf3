"""`colocus link`: blinks of one molecule in consecutive frames merged into one row."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from localization import Linked, Localizations, link_blinks, write
from optics.progress import Report, silent


@dataclass(frozen=True)
class LinkConfig:
    """What belongs to one molecule; see `localization.link_blinks`."""

    radius_um: float = 0.05
    z_radius_um: float | None = None
    gap_frames: int = 0


@dataclass(frozen=True, eq=False)
class LinkResult:
    """The merged list, with the number of rows that each of its rows came from; once written, what was lost."""

    linked: Linked
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say how many rows became how many, and how many a molecule has."""
        count = self.linked.count
        lines = [f"{count.sum()} localizations merged into {count.size}"]
        if count.size:
            most = count.max()
            lines.append(f"per molecule: {count.mean():.2f} on average, median {np.median(count):.0f}, at most {most}")
        if self.linked.left_out:
            lines.append(f"note: no meaning for merged rows: {', '.join(self.linked.left_out)}: left out")
        return [*lines, *(f"note: {note}" for note in self.lost)]

    def numbers(self) -> dict[str, Any]:
        """List how many rows there were and are."""
        return {"before": int(self.linked.count.sum()), "after": int(self.linked.count.size)}

    def write(self, out: Path) -> list[Path]:
        """Write the merged list."""
        self.lost[:] = write(out, self.linked.locs)
        return [out]


def link(locs: Localizations, config: LinkConfig = LinkConfig(), report: Report = silent) -> LinkResult:
    """Merge the localizations of one molecule in consecutive frames; see `localization.link_blinks`.

    >>> from localization import make_localizations
    >>> link(make_localizations([0, 1], [1.0, 1.001], [1.0, 1.0], [0.0, 0.0])).lines()[0]
    '2 localizations merged into 1'
    """
    return LinkResult(link_blinks(locs, **dataclasses.asdict(config)))
