"""`colocus drift --apply`: a list without a drift that is known, such as another channel's of the same movie."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report.numbers import NM_PER_UM
from localization import Drift, Localizations, apply_drift, read_drift, write
from localization.drift.correct import frames_outside
from localization.drift.curve_file import LengthUnit
from optics.progress import Report, silent
from training import ConfigError


@dataclass(frozen=True)
class ApplyConfig:
    """What a file of drift does not say by itself; see `localization.read_drift`."""

    unit: LengthUnit | None = None
    camera_pixel_um: float | None = None
    first_frame: int | None = None


@dataclass(frozen=True, eq=False)
class AppliedDrift:
    """The list without the drift, held in `outside` rows beyond its frames; once written, what the file cannot hold."""

    corrected: Localizations
    drift: Drift
    outside: int
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say which drift was taken out, and of what it was not known."""
        drift = self.drift
        first, last = drift.frame[0], drift.frame[-1]
        ranges = ", ".join(f"{axis} {NM_PER_UM * span:.1f}" for axis, span in zip("xyz", drift.range_um, strict=True))
        lines = [
            f"drift of {drift.method}, frames {first} to {last} counted from 0, taken out of "
            f"{self.corrected.frame.size} localizations",
            f"its range: {ranges} nm",
            *(f"note: {note}" for note in (*drift.notes, *self.lost)),
        ]
        if self.outside:
            lines.append(
                f"note: {self.outside} localizations lie in frames before {first} or after {last}: "
                "there the drift is held as at its ends"
            )
        return lines

    def numbers(self) -> dict[str, Any]:
        """List range (um), frames, rows outside of them and notes."""
        return {
            "range_um": self.drift.range_um.tolist(),
            "frames": [int(self.drift.frame[0]), int(self.drift.frame[-1])],
            "outside": self.outside,
            "notes": list(self.drift.notes),
        }

    def write(self, out: Path) -> list[Path]:
        """Write the corrected list to `out`."""
        if out.is_dir():
            raise ConfigError(f"{out} is a folder; name the table to write, such as {out / 'corrected.csv'}")
        self.lost[:] = write(out, self.corrected)
        return [out]


def apply_known_drift(
    locs: Localizations, curve: Path, config: ApplyConfig = ApplyConfig(), report: Report = silent
) -> AppliedDrift:
    """Take the drift of a file out of a list; where the file counts in pixels, the list may say how large they are.

    Raises `LocalizationError` for a file that cannot be read or does not say what its numbers mean.

    >>> from localization import make_localizations
    >>> apply_known_drift(make_localizations([], [], [], []), Path("no-such-curve.csv"))
    Traceback (most recent call last):
    localization.types.LocalizationError: no-such-curve.csv: cannot be read (No such file or directory); check the name
    """
    pixel_um = config.camera_pixel_um if config.camera_pixel_um is not None else locs.movie.pixel_um
    drift = read_drift(curve, unit=config.unit, pixel_um=pixel_um, first_frame=config.first_frame)
    return AppliedDrift(apply_drift(locs, drift), drift, int(np.size(frames_outside(locs, drift))))
