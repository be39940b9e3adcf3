"""ThunderSTORM's table: CSV in nm, frames from 1; the fallback for any table of text.

A column of which nothing is known in any row is not written: others take a column of NaN at its word (PYME 26.9 drops
its rows, napari-storm 3.1 draws them). Extra columns are read and written under ThunderSTORM's labels where it has one
(`sigma1 [nm]`, `sigma2 [nm]`, `bkgstd [photon]`, `chi2`, `detections`). A table that Picasso exported for ThunderSTORM
counts from 0 in frames and centres, and is known by its header and ids. Read: ThunderSTORM's tabs (.xls) too.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from localization.io import hdf5, text
from localization.io.extras import EXTRAS, NATIVE, keeps_any
from localization.io.part import PartFile
from localization.io.table_format import Content, Format, Head, TableInfo
from localization.types import LocalizationError

_LIGHT: text.Units = {"photon": 1.0, "photons": 1.0, **text.COUNTS}
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
    "sigma": ("width_xy_um", text.LENGTH),
    "sigma1": ("width_x_um", text.LENGTH),
    "sigma2": ("width_y_um", text.LENGTH),
    "bkgstd": ("background_noise", _LIGHT),
    **{name: (name, text.BARE) for name in EXTRAS if not name.endswith("_um")},
}
LABELS = {"frame": "frame", "x_um": "x [nm]", "y_um": "y [nm]"}
COUNTERS = ("id",)
_PICASSO_MAY = ("z [nm]", "detections")
_PICASSO = [
    ["id", "frame", "x [nm]", "y [nm]", *widths, "intensity [photon]", "offset [photon]", "bkgstd [photon]",
     "uncertainty_xy [nm]"]
    for widths in (["sigma [nm]"], ["sigma1 [nm]", "sigma2 [nm]"])
]  # fmt: skip
_RULES = text.Columns("a ThunderSTORM CSV", COLUMNS, 1, LABELS, counters=COUNTERS)
_OPTIONAL = {
    "intensity [photon]": "photons",
    "offset [photon]": "background",
    "uncertainty_x [nm]": "sigma_x_um",
    "uncertainty_y [nm]": "sigma_y_um",
    "uncertainty_z [nm]": "sigma_z_um",
    "score": "score",
}
_WRITTEN: tuple[str, ...] = (
    "id", "frame", "x [nm]", "y [nm]", "z [nm]", "intensity [photon]", "offset [photon]", "uncertainty_xy [nm]",
    "uncertainty_z [nm]", "uncertainty_x [nm]", "uncertainty_y [nm]", "channel", "score",
)  # fmt: skip


def _read(path: Path, info: TableInfo) -> Content:
    table, notes, told = _named_by_locan(text.read(path)), [], info
    signs = _signs_of_picasso(Head(path), table)
    if signs == 2:
        told = replace(info, frames_from=info.frames_from or 0, origin=info.origin or "centre")
        notes.append("written by Picasso: frames count from 0, positions from the first pixel's centre")
        if told.origin == "centre" and info.pixel_um is None:
            raise LocalizationError(
                f"{path}: written by Picasso, which counts from the first pixel's centre; give pixel_um (colocus "
                "convert --pixel NM) to add half of it"
            )
    elif signs == 1 and info.frames_from != 1 and info.origin is None:
        frames = "" if info.frames_from == 0 else "from 1 and "
        notes.append(
            "it may be of Picasso, which counts frames from 0 and positions from the first pixel's centre: read as "
            f"ThunderSTORM's, {frames}from the corner; else say --frames-from 0 --origin centre"
        )
    locs, more = text.to_localizations(path, _prefer_each_axis(table), _RULES, told)
    return locs, notes + more, info


def _signs_of_picasso(head: Head, table: text.Table) -> int:
    """Count the signs that Picasso's `export_thunderstorm` wrote a table (alike in 0.11.3 and 1.0.0a1), up to 2.

    It has the columns of `_PICASSO` in their order, without quotes; counts ids from 0, and states a background noise of
    0. ThunderSTORM's own header is quoted, its ids start at 1.
    """
    labels = [label for label in table.labels if label not in _PICASSO_MAY]
    if '"' in head.first_line or labels not in _PICASSO or not len(table.rows):
        return 0
    ids, noise = (
        np.asarray(pd.to_numeric(table.rows[label], errors="coerce"), float) for label in ("id", "bkgstd [photon]")
    )
    return int(ids[0] == 0) + int((noise == 0).all())


def _named_by_locan(table: text.Table) -> text.Table:
    """Name each axis where Locan (0.22) calls the uncertainty along x `uncertainty_xy`; that along y has no unit."""
    if not {"uncertainty_xy [nm]", "uncertainty_y"} <= set(table.labels):
        return table
    names = {"uncertainty_xy [nm]": "uncertainty_x [nm]", "uncertainty_y": "uncertainty_y [nm]"}
    labels = [names.get(label, label) for label in table.labels]
    note = "written by Locan: 'uncertainty_xy' is that along x, 'uncertainty_y' in nm"
    return text.Table(labels, table.rows.set_axis(labels, axis=1), (*table.notes, note))


def _prefer_each_axis(table: text.Table) -> text.Table:
    """Drop the mean lateral uncertainty where the file has those of both axes."""
    names = [text.split_label(label)[0] for label in table.labels]
    if not {"uncertainty_x", "uncertainty_y"} <= set(names):
        return table
    keep = [k for k, name in enumerate(names) if name not in ("uncertainty", "uncertainty_xy")]
    return text.Table([table.labels[k] for k in keep], table.rows.iloc[:, keep], table.notes)


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    labels = _labels_known(spool)
    with open(part.temporary, "w", encoding="utf-8", newline="") as file:
        file.write(",".join('"' + label.replace('"', '""') + '"' for label in labels) + "\n")
        for at, rows in spool.blocks():
            columns = _columns(rows, at.start, spool)
            frame = pd.DataFrame({label: columns[label] for label in labels})
            frame.to_csv(file, header=False, index=False, na_rep="NaN")
    return []


def _labels_known(spool: hdf5.Spool) -> list[str]:
    """List the labels to write: none of a column of which nothing is known; all of ours where there are no rows."""
    known = {label: spool.known[name] for label, name in _OPTIONAL.items()}
    known["uncertainty_xy [nm]"] = min(known["uncertainty_x [nm]"], known["uncertainty_y [nm]"])
    extras = [_native(label) for label in spool.labels if spool.known[hdf5.field(label)]]
    return [label for label in _WRITTEN if not spool.n_rows or known.get(label, 1)] + extras


def _columns(rows: NDArray, before: int, spool: hdf5.Spool) -> dict[str, NDArray]:
    lateral_um = np.sqrt((rows["sigma_x_um"] ** 2 + rows["sigma_y_um"] ** 2) / 2.0)
    position = [text.nanometres(rows[name]) for name in ("x_um", "y_um", "z_um")]
    light = [text.decimals(rows[name], 3) for name in ("photons", "background")]
    sigma = [text.nanometres(c) for c in (lateral_um, rows["sigma_z_um"], rows["sigma_x_um"], rows["sigma_y_um"])]
    number, score = np.arange(rows.size) + before + 1, text.decimals(rows["score"], 6)
    ours = [number, rows["frame"] + 1, *position, *light, *sigma, rows["channel"], score]
    columns: dict[str, NDArray] = dict(zip(_WRITTEN, ours, strict=True))
    for label in spool.labels:
        values = rows[hdf5.field(label)]
        if label.endswith("_um") and label in EXTRAS:
            values = text.nanometres(values)
        elif spool.whole[label] and spool.known[hdf5.field(label)] == spool.n_rows:
            values = values.astype(np.int64)
        columns[_native(label)] = values
    return columns


def _native(label: str) -> str:
    return NATIVE["thunderstorm"].get(label, label)


FORMAT = Format(
    name="thunderstorm",
    title="ThunderSTORM",
    recognise=lambda head: head.is_text,
    read=_read,
    writer=partial(hdf5.SpoolWriter, write=_write),
    first_frame=1,
    suffix=".csv",
    owns_suffix=True,
    as_told=True,
    keeps=keeps_any(*_WRITTEN, *(label for label in NATIVE["thunderstorm"].values() if label not in EXTRAS)),
)
