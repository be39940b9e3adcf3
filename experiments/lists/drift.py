"""`colocus drift`: a table without its drift, the curve as CSV, a figure of it, and the numbers behind it."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report.numbers import NM_PER_UM, plain
from experiments.report.plot_style import FIXED_COLOURS, Figure, new_figure, save_png, styled
from localization import Drift, Localizations, correct_drift, write
from localization.drift.correct import DriftMethod
from localization.drift.curve_file import curve_text
from localization.io import formats
from optics.progress import Event, Report, silent
from optics.whole_file import write_text
from training import ConfigError


@dataclass(frozen=True)
class DriftConfig:
    """How drift is estimated; see `localization.correct_drift`."""

    method: DriftMethod = "aim"
    segment_frames: int | None = None
    search_um: float = 1.0
    pixel_um: float | None = None
    pixel_z_um: float | None = None


@dataclass(frozen=True, eq=False)
class DriftResult:
    """The list without its drift, and the drift; once written, what the list's format cannot hold."""

    config: DriftConfig
    corrected: Localizations
    drift: Drift
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say range and error per axis, and the notes."""
        drift, d = self.drift, self.drift.diagnostics
        lines = [
            f"method {drift.method}, {d['segments']:.0f} segments of {d['segment_frames']:.0f} frames, "
            f"{drift.frame.size} frames",
            "",
            "axis   range, nm   error, nm",
        ]
        for axis, span, error in zip("xyz", drift.range_um, drift.error_um, strict=True):
            estimate = "not estimated" if np.isnan(error) else f"{error * NM_PER_UM:9.1f}"
            lines.append(f"{axis:4} {span * NM_PER_UM:11.1f}   {estimate}")
        return [*lines, "", *(f"note: {note}" for note in (*drift.notes, *self.lost))]

    def numbers(self) -> dict[str, Any]:
        """List settings, range and error per axis (um), diagnostics and notes."""
        return {
            "settings": dataclasses.asdict(self.config),
            "range_um": self.drift.range_um.tolist(),
            "error_um": plain(self.drift.error_um),
            "diagnostics": self.drift.diagnostics,
            "notes": list(self.drift.notes),
        }

    def figure(self) -> Figure:
        """Draw the drift over frames with the segments' estimates, and the path in x and y."""
        return _figure(self.drift)

    def write(self, out: Path) -> list[Path]:
        """Write the corrected list to `out`, with OUT_drift.csv, .png and .json beside it.

        The CSV has nm for each frame; its column `frame` counts like the list that was written.
        """
        check_name(out)
        self.lost[:] = write(out, self.corrected)
        curve, picture, numbers = (out.with_name(f"{out.stem}_drift{suffix}") for suffix in (".csv", ".png", ".json"))
        write_text(curve, curve_text(self.drift, formats.named(out).first_frame))
        save_png(self.figure(), picture)
        write_text(numbers, json.dumps(self.numbers(), indent=2) + "\n")
        return [out, curve, picture, numbers]


def drift(locs: Localizations, config: DriftConfig = DriftConfig(), report: Report = silent) -> DriftResult:
    """Estimate the drift of a localization list and take it out.

    Raises `LocalizationError` where drift cannot be told from the list.

    >>> from localization import make_localizations
    >>> drift(make_localizations([], [], [], []))
    Traceback (most recent call last):
    localization.types.LocalizationError: ...
    """
    report(Event(f"drift of {locs.frame.size} localizations"))
    return DriftResult(config, *correct_drift(locs, **dataclasses.asdict(config)))


def check_name(out: Path) -> None:
    """Raise `ConfigError` where `out` is a folder, not the name of a table."""
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name the table to write, such as {out / 'corrected.csv'}")


def _figure(drift: Drift) -> Figure:
    with styled():
        figure = new_figure(7.2, 2.9)
        curves, path = figure.subplots(1, 2, width_ratios=(1.6, 1))
        for axis, colour in zip(range(3), FIXED_COLOURS, strict=False):
            error = drift.error_um[axis]
            if np.isnan(error):
                continue
            curve = NM_PER_UM * (drift.x_um, drift.y_um, drift.z_um)[axis]
            curves.fill_between(
                drift.frame, curve - NM_PER_UM * error, curve + NM_PER_UM * error, color=colour, alpha=0.25, linewidth=0
            )
            curves.plot(drift.frame, curve, color=colour, label="xyz"[axis])
            curves.plot(drift.segment_frame, NM_PER_UM * drift.segment_um[:, axis], ".", color=colour, markersize=3)
        curves.set(xlabel="frame", ylabel="drift (nm)")
        curves.legend(ncols=3)
        drawn = path.scatter(
            NM_PER_UM * drift.x_um, NM_PER_UM * drift.y_um, c=drift.frame, cmap="viridis", s=2, linewidths=0
        )
        path.set(xlabel="x (nm)", ylabel="y (nm)", aspect="equal")
        path.invert_yaxis()  # y points down, as in the frames
        figure.colorbar(drawn, ax=path, label="frame")
    return figure
