"""The CSV of the SMLM challenges: nm from the outer corner, frames from 1, with or without a header line."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from localization.io import text
from localization.io.table_format import Content, Format, Head, TableInfo
from localization.types import Localizations

_COLUMNS: dict[str, tuple[str, text.Units]] = {
    "frame": ("frame", text.BARE),
    "xnano": ("x_um", text.BARE_NM),
    "ynano": ("y_um", text.BARE_NM),
    "znano": ("z_um", text.BARE_NM),
    "intensity": ("photons", text.BARE),
}
_NAMED = {"frame": "frame", "x_um": "xnano", "y_um": "ynano"}
_RULES = text.Columns("an SMLM challenge CSV", _COLUMNS, 1, _NAMED, counters=("ground-truth", "id"))
_WRITTEN = ("Ground-truth", "frame", "xnano", "ynano", "znano", "intensity")
_NO_HEADER = {4: _WRITTEN[1:5], 5: _WRITTEN[1:], 6: _WRITTEN}


def _recognise(head: Head) -> bool:
    return {"xnano", "ynano"} <= set(text.labels_in(head))


def _read(path: Path, info: TableInfo) -> Content:
    first = Head(path).first_line
    labels = None if re.search("[a-z]", first, re.I) else _NO_HEADER.get(first.count(",") + 1)
    table = text.read(path, labels=None if labels is None else list(labels))
    return *text.to_localizations(path, table, _RULES, info), info


def _rows(locs: Localizations, before: int, info: TableInfo) -> pd.DataFrame:
    n = np.arange(locs.frame.size) + before + 1
    position = [text.nanometres(c) for c in (locs.x_um, locs.y_um, locs.z_um)]
    columns = [n, locs.frame + 1, *position, text.decimals(locs.photons, 3)]
    return pd.DataFrame(dict(zip(_WRITTEN, columns, strict=True)))


FORMAT = Format(
    name="challenge",
    recognise=_recognise,
    read=_read,
    writer=partial(text.Writer, head=text.header(_WRITTEN), rows=_rows),
    first_frame=1,
    suffix=".csv",
    as_told=True,
    holds=("frame", "x_um", "y_um", "z_um", "photons"),
)
