"""ThunderSTORM's table: CSV in nm, frames from 1; the fallback for any table of text."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from localization.io import text
from localization.io.table_format import Content, Format, TableInfo
from localization.types import Localizations

_LIGHT: text.Units = {"photon": 1.0, "photons": 1.0}
COLUMNS: dict[str, tuple[str, text.Units]] = {
    "frame": ("frame", text.BARE),
    "x": ("x_um", text.LENGTH),
    "y": ("y_um", text.LENGTH),
    "z": ("z_um", text.LENGTH),
    "intensity": ("photons", _LIGHT),
    "offset": ("background", _LIGHT),
    "uncertainty": ("sigma_xy_um", text.LENGTH),
    "uncertainty_xy": ("sigma_xy_um", text.LENGTH),
    "uncertainty_x": ("sigma_x_um", text.LENGTH),
    "uncertainty_y": ("sigma_y_um", text.LENGTH),
    "uncertainty_z": ("sigma_z_um", text.LENGTH),
    "channel": ("channel", text.BARE),
    "score": ("score", text.BARE),
}
LABELS = {"frame": "frame", "x_um": "x [nm]", "y_um": "y [nm]"}
_RULES = text.Columns("a ThunderSTORM CSV", COLUMNS, 1, LABELS)
_WRITTEN = (
    "id", "frame", "x [nm]", "y [nm]", "z [nm]", "intensity [photon]", "offset [photon]", "uncertainty_xy [nm]",
    "uncertainty_z [nm]", "uncertainty_x [nm]", "uncertainty_y [nm]", "channel", "score",
)  # fmt: skip


def _read(path: Path, info: TableInfo) -> Content:
    return *text.to_localizations(path, _prefer_each_axis(text.read(path)), _RULES), info


def _prefer_each_axis(table: text.Table) -> text.Table:
    """Drop the mean lateral uncertainty where the file has those of both axes."""
    names = [text.split_label(label)[0] for label in table.labels]
    if not {"uncertainty_x", "uncertainty_y"} <= set(names):
        return table
    keep = [k for k, name in enumerate(names) if name not in ("uncertainty", "uncertainty_xy")]
    return text.Table([table.labels[k] for k in keep], table.rows.iloc[:, keep])


def _rows(locs: Localizations, before: int, info: TableInfo) -> pd.DataFrame:
    n = np.arange(locs.frame.size) + before + 1
    lateral_um = np.sqrt((locs.sigma_x_um**2 + locs.sigma_y_um**2) / 2.0)
    position = [text.nanometres(c) for c in (locs.x_um, locs.y_um, locs.z_um)]
    light = [text.decimals(c, 3) for c in (locs.photons, locs.background)]
    sigma = [text.nanometres(c) for c in (lateral_um, locs.sigma_z_um, locs.sigma_x_um, locs.sigma_y_um)]
    columns = [n, locs.frame + 1, *position, *light, *sigma, locs.channel, text.decimals(locs.score, 6)]
    return pd.DataFrame(dict(zip(_WRITTEN, columns, strict=True)))


FORMAT = Format(
    name="thunderstorm",
    title="ThunderSTORM",
    recognise=lambda head: head.is_text,
    read=_read,
    writer=partial(text.Writer, head=text.header(_WRITTEN, '"'), rows=_rows),
    suffix=".csv",
    owns_suffix=True,
)
