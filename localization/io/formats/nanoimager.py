"""ONI Nanoimager's CSV: lengths with units in round brackets, frames from 0; read only.

The short export has Channel, Frame, X (nm), Y (nm), Z (nm), Photons, Background; the full one has the precision of
each axis, and everything once more in pixels. Lengths are read from the nm, and the pixel follows from X (nm) over X
(pix); with it `PSF Sigma X (pix)` is the spot's width. Other columns in pixels stay under their own names.

Checked by a real short list in Locan's tests and Locan 0.22's reader; the full header by `Import_ONI.java` and
`Export_ONI.java` of ekatrukha/DoM_Utrecht, 2021-04-15, which count frames from 0. Where the first pixel begins is not
published: as in the file.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from localization.io import text
from localization.io.table_format import Content, Format, TableInfo

_RULES = text.Columns(
    "a Nanoimager CSV",
    {
        "channel": ("channel", text.BARE),
        "frame": ("frame", text.BARE),
        "x": ("x_um", text.LENGTH),
        "y": ("y_um", text.LENGTH),
        "z": ("z_um", text.LENGTH),
        "x precision": ("sigma_x_um", text.LENGTH),
        "y precision": ("sigma_y_um", text.LENGTH),
        "z precision": ("sigma_z_um", text.LENGTH),
        "photons": ("photons", text.BARE),
        "background": ("background", text.BARE),
    },
    first_frame=0,
    labels={"frame": "Frame", "x_um": "X (nm)", "y_um": "Y (nm)"},
)
_WIDTHS = {"psf sigma x": "width_x_um", "psf sigma y": "width_y_um"}
_ALIKE = 1e-3  # files round to a hundredth of a nm or pixel


def _read(path: Path, info: TableInfo) -> Content:
    table = text.read(path)
    locs, notes = text.to_localizations(path, table, _RULES, info)
    if info.origin is None:
        notes.append("Nanoimager's table does not say where its first pixel begins: nothing is added")
    pixel_um = info.pixel_um if info.pixel_um is not None else _pixel_um(table)
    extras = {}
    for label, column in locs.extras.items():
        name, unit = text.split_label(label)
        width = _WIDTHS.get(name) if unit == "pix" and pixel_um is not None else None
        extras[width or label] = column * pixel_um if width and pixel_um else column
    locs = replace(locs, extras=extras)
    return text.unknown_where_not_positive(locs), notes, replace(info, pixel_um=pixel_um)


def _pixel_um(table: text.Table) -> float | None:
    """Find the pixel from positions that stand in the file in nm and in pixels; None where these do not agree."""
    units: dict[str, np.ndarray] = {}
    for k, label in enumerate(table.labels):
        name, unit = text.split_label(label)
        if name == "x" and unit in ("nm", "pix"):
            units[unit] = np.asarray(pd.to_numeric(table.rows.iloc[:, k], errors="coerce"), dtype=np.float64)
    if set(units) != {"nm", "pix"}:
        return None
    far = np.isfinite(units["nm"]) & (units["pix"] > 10)  # near 0 the rounding of the file is all there is
    ratio = units["nm"][far] / units["pix"][far]
    if not ratio.size or np.ptp(ratio) > _ALIKE * ratio.mean() or ratio.mean() <= 0:
        return None
    return float(round(float(np.median(ratio)), 2)) / text.NM_PER_UM


FORMAT = Format(
    name="nanoimager",
    recognise=lambda head: (
        {"channel", "frame", "x", "y", "photons"} <= set(text.labels_in(head)) and "(" in head.first_line
    ),
    read=_read,
    as_told=True,
)
