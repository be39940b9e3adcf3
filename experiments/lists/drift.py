"""`colocus drift`: a table without its drift, the curve as CSV, a figure of it, and the numbers behind it."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from experiments.report.plot_style import FIXED_COLOURS, STYLE, new_figure, save_png
from localization import Drift, Localizations, correct_drift, write
from localization.drift.correct import DriftMethod
from optics.whole_file import write_text
from training import ConfigError

_NM = 1000.0


@dataclass(frozen=True)
class DriftConfig:
    """How drift is estimated; see `localization.correct_drift`."""

    method: DriftMethod = "aim"
    segment_frames: int | None = None
    search_um: float = 1.0
    pixel_um: float | None = None
    pixel_z_um: float | None = None


def correct_file(locs: Localizations, config: DriftConfig, out: Path) -> list[str]:
    """Correct a table and write it to `out`, with OUT_drift.csv, .png and .json beside it; says what was found.

    Raises LocalizationError where drift cannot be told; nothing is written then.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name the table to write, such as {out / 'corrected.csv'}")
    corrected, drift = correct_drift(locs, **dataclasses.asdict(config))
    write(out, corrected)
    beside = {suffix: out.with_name(f"{out.stem}_drift{suffix}") for suffix in (".csv", ".png", ".json")}
    write_text(beside[".csv"], drift_csv(drift))
    save_png(drift_figure(drift), beside[".png"])
    numbers = {
        "settings": dataclasses.asdict(config),
        "range_um": drift.range_um.tolist(),
        "error_um": [None if np.isnan(e) else float(e) for e in drift.error_um],
        "diagnostics": drift.diagnostics,
        "notes": list(drift.notes),
    }
    write_text(beside[".json"], json.dumps(numbers, indent=2) + "\n")
    return [*table(drift), f"wrote {out}, " + ", ".join(path.name for path in beside.values())]


def table(drift: Drift) -> list[str]:
    """Range and error per axis, and the notes, as lines."""
    d = drift.diagnostics
    lines = [
        f"method {drift.method}, {d['segments']:.0f} segments of {d['segment_frames']:.0f} frames, "
        f"{drift.frame.size} frames",
        "",
        "axis   range, nm   error, nm",
    ]
    for axis, span, error in zip("xyz", drift.range_um, drift.error_um, strict=True):
        told = "not estimated" if np.isnan(error) else f"{error * _NM:9.1f}"
        lines.append(f"{axis:4} {span * _NM:11.1f}   {told}")
    return [*lines, "", *(f"note: {note}" for note in drift.notes)]


def drift_csv(drift: Drift) -> str:
    """The curve as text: frame (from 0), x, y, z in nm."""
    rows = np.column_stack([drift.frame, *(_NM * axis for axis in (drift.x_um, drift.y_um, drift.z_um))])
    return "\n".join(
        ["frame,x [nm],y [nm],z [nm]", *(f"{r[0]:.0f},{r[1]:.3f},{r[2]:.3f},{r[3]:.3f}" for r in rows), ""]
    )


def drift_figure(drift: Drift):
    """Curves of the drift over frames with the segments' estimates, and the path in x and y."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(7.2, 2.9)
        curves, path = figure.subplots(1, 2, width_ratios=(1.6, 1))
        for axis, colour in zip(range(3), FIXED_COLOURS, strict=False):
            error = drift.error_um[axis]
            if np.isnan(error):
                continue
            curve = _NM * (drift.x_um, drift.y_um, drift.z_um)[axis]
            curves.fill_between(
                drift.frame, curve - _NM * error, curve + _NM * error, color=colour, alpha=0.25, linewidth=0
            )
            curves.plot(drift.frame, curve, color=colour, label="xyz"[axis])
            curves.plot(drift.segment_frame, _NM * drift.segment_um[:, axis], ".", color=colour, markersize=3)
        curves.set(xlabel="frame", ylabel="drift (nm)")
        curves.legend(ncols=3)
        drawn = path.scatter(_NM * drift.x_um, _NM * drift.y_um, c=drift.frame, cmap="viridis", s=2, linewidths=0)
        path.set(xlabel="x (nm)", ylabel="y (nm)", aspect="equal")
        path.invert_yaxis()  # y points down, as in the frames
        figure.colorbar(drawn, ax=path, label="frame")
    return figure
