"""DeepSTORM3D's CSV: nm, frames from 1, z from the lower end of its range, confidence where others have light."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from localization.io import text
from localization.io.formats import thunderstorm
from localization.io.table_format import Content, Format, Head, TableInfo
from localization.types import Localizations

_COLUMNS = {**thunderstorm.COLUMNS, "intensity": ("score", {"au": 1.0})}
_RULES = text.Columns("a DeepSTORM3D CSV", _COLUMNS, 1, thunderstorm.LABELS, counters=thunderstorm.COUNTERS)
_WRITTEN = ("frame", "x [nm]", "y [nm]", "z [nm]", "intensity [au]")


def _recognise(head: Head) -> bool:
    labels = text.labels_in(head)
    return set(labels) == {"frame", "x", "y", "z", "intensity"} and labels["intensity"] == "au"


def _read(path: Path, info: TableInfo) -> Content:
    locs, notes = text.to_localizations(path, text.read(path), replace(_RULES, z_shift_um=info.z_zero_um), info)
    if info.z_zero_um == 0.0:
        notes.append("DeepSTORM3D counts z from the lower end of its range: give z_zero_um to count from the coverslip")
    return locs, notes, info


def _rows(locs: Localizations, before: int, info: TableInfo) -> pd.DataFrame:
    position = [text.nanometres(c) for c in (locs.x_um, locs.y_um, locs.z_um - info.z_zero_um)]
    return pd.DataFrame(dict(zip(_WRITTEN, [locs.frame + 1, *position, text.decimals(locs.score, 6)], strict=True)))


FORMAT = Format(
    name="deepstorm3d",
    recognise=_recognise,
    read=_read,
    writer=partial(text.Writer, head=text.header(_WRITTEN), rows=_rows),
    first_frame=1,
    suffix=".csv",
    as_told=True,
    holds=("frame", "x_um", "y_um", "z_um", "score"),
)
