"""Zeiss Elyra's table: text with tabs, lengths with units, frames from 1, notes behind a zero byte; read only.

A grouped row is one molecule in `Number Frames` frames, the first of which is `First Frame`: `detections`. Channels
count from 1. Which width `PSF half width` is, and of what unit `Background variance`, is not published: both keep
their names. Checked by a real list in Locan's tests, and by Locan 0.22's reader.
"""

from dataclasses import replace
from pathlib import Path

from localization.io import text
from localization.io.table_format import Content, Format, TableInfo

_RULES = text.Columns(
    "an Elyra table",
    {
        "first frame": ("frame", text.BARE),
        "number frames": ("detections", text.BARE),
        "position x": ("x_um", text.LENGTH),
        "position y": ("y_um", text.LENGTH),
        "position z": ("z_um", text.LENGTH),
        "precision": ("sigma_xy_um", text.LENGTH),
        "number photons": ("photons", text.BARE),
        "chi square": ("chi2", text.BARE),
        "channel": ("channel", text.BARE),
    },
    first_frame=1,
    labels={"frame": "First Frame", "x_um": "Position X [nm]", "y_um": "Position Y [nm]"},
    separator="\t",
    encoding="latin-1",
    counters=("index",),
)


def _read(path: Path, info: TableInfo) -> Content:
    table = text.read(path, separator=_RULES.separator, encoding=_RULES.encoding)
    locs, notes = text.to_localizations(path, table, _RULES, info)
    if info.origin is None:
        notes.append("Elyra's table does not say where its first pixel begins: nothing is added")
    if locs.channel.size and locs.channel.min() > 0:
        locs = replace(locs, channel=locs.channel - 1)
    grouped = int((locs.extras["detections"] > 1).sum()) if "detections" in locs.extras else 0
    if grouped:
        notes.insert(0, f"{grouped} rows are grouped over several frames ('detections'); frame is the first")
    return locs, notes, info


FORMAT = Format(
    name="elyra",
    recognise=lambda head: bool({"first frame", "position x", "position y"} & set(text.labels_in(head))),
    read=_read,
    as_told=True,
)
