"""Nikon N-STORM's text: tabs, nm, frames from 1, positions raw and corrected side by side; read only.

X, Y, Z are as found, Xc, Yc, Zc corrected for drift, Xw, Yw, Zw for colour (warped), Xwc, Ywc, Zwc for both.
Positions are the ones corrected most: Xwc, else Xc, else X, and likewise Y and Z; the others stay under their own
names. The older header has Channel Name, Photons and Ax, the newer one Channel, Axis Ratio and no photons (its Area
is counts of the camera). A row with Length above 1 is one molecule in so many frames, the first of which is Frame:
`detections`. Names of channels are numbered in the order in which they come.

Source: headers and use of columns in `F-TranslateNS-TS.js`, `F-TranslateNS2-TS.js`, `F-NS2txtSplit.js` of
cleterrier/ChriSTORM, 2023-09-20, and in four more readers of these files; no file of Nikon's was at hand, so it is
checked by rows in both headers alone. Where the first pixel begins and which way z rises is not published: as in the
file.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from localization.io import text
from localization.io.table_format import Content, Format, Head, TableInfo
from localization.types import LocalizationError

_CORRECTED = ("wc", "c", "")
_FURTHER: dict[str, tuple[str, text.Units]] = {
    "frame": ("frame", text.BARE),
    "channel name": ("channel", text.BARE),
    "channel": ("channel", text.BARE),
    "photons": ("photons", text.BARE),
    "lateral localization accuracy": ("sigma_xy_um", text.BARE_NM),
    "length": ("detections", text.BARE),
}
_MOST_NAMED = 12


def _recognise(head: Head) -> bool:
    names = set(text.labels_in(head))
    return "lateral localization accuracy" in names or {"xc", "yc", "frame", "length"} <= names


def _read(path: Path, info: TableInfo) -> Content:
    table = text.read(path, separator="\t")
    names = [text.split_label(label)[0] for label in table.labels]
    chosen = {axis: _most_corrected(table, names, axis) for axis in "xyz"}
    for axis in "xy":
        if chosen[axis] is None:
            raise LocalizationError(f"{path}: no column '{axis.upper()}'; export the list from NIS-Elements again")
    rows, channels = _number_channels(path, table, names)
    columns = dict(_FURTHER) | {name: (f"{axis}_um", text.BARE_NM) for axis, name in chosen.items() if name}
    labels = {"frame": "Frame", "x_um": "X", "y_um": "Y"}
    rules = text.Columns("an N-STORM list", columns, 1, labels, counters=("id",))
    locs, notes = text.to_localizations(path, text.Table(table.labels, rows, table.notes), rules)
    return text.unknown_where_not_positive(locs), [*_say(table, names, chosen), *channels, *notes], info


def _most_corrected(table: text.Table, names: list[str], axis: str) -> str | None:
    """Find the column of an axis that is corrected most, and is filled in: NIS-Elements leaves 0 where it has none."""
    raw = _numbers(table, names, axis)
    nowhere = raw is None or not np.nan_to_num(raw).any()
    for name in (axis + suffix for suffix in _CORRECTED):
        values = _numbers(table, names, name)
        if values is None or table.rows.iloc[:, names.index(name)].isna().all():
            continue
        if values.any() or nowhere:  # a word counts as a value here: the reader says that it is none
            return name
    return axis if raw is not None else None


def _numbers(table: text.Table, names: list[str], name: str) -> np.ndarray | None:
    if name not in names:
        return None
    return np.asarray(pd.to_numeric(table.rows.iloc[:, names.index(name)], errors="coerce"), dtype=np.float64)


def _say(table: text.Table, names: list[str], chosen: dict[str, str | None]) -> list[str]:
    taken = ", ".join(table.labels[names.index(name)] for name in chosen.values() if name)
    kind = {"wc": "corrected for drift and colour", "c": "corrected for drift"}.get((chosen["x"] or "")[1:], "raw")
    notes = [
        f"positions are {taken} ({kind}), the other ones stay under their own names",
        "N-STORM does not say where its first pixel begins: nothing is added",
    ]
    length = _numbers(table, names, "length")
    if length is not None and (length > 1).any():
        notes.append(
            f"{int((length > 1).sum())} rows are linked over several frames ('detections'); frame is the first"
        )
    if "photons" not in names:
        notes.append("photons are not known: Area is in counts of the camera")
    return notes


def _number_channels(path: Path, table: text.Table, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Replace names of channels by numbers, and say which is which."""
    name = next((name for name in ("channel name", "channel") if name in names), None)
    if name is None:
        return table.rows, []
    k = names.index(name)
    words = table.rows.iloc[:, k].astype(str).str.strip()
    if not np.isnan(np.asarray(pd.to_numeric(words, errors="coerce"), dtype=np.float64)).any():
        return table.rows, []
    kinds = list(dict.fromkeys(words))
    if len(kinds) > 1000:
        raise LocalizationError(f"{path}: more than 1000 channel names; is '{table.labels[k]}' the column of channels?")
    rows = table.rows.copy()
    rows.isetitem(k, words.map({word: number for number, word in enumerate(kinds)}))
    named = ", ".join(f"{number} = {word}" for number, word in enumerate(kinds[:_MOST_NAMED]))
    return rows, [f"channels: {named}{' ...' if len(kinds) > _MOST_NAMED else ''}"]


FORMAT = Format(name="nstorm", recognise=_recognise, read=_read)
