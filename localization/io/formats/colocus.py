"""Our own table: HDF5 with one dataset per column, in um; nothing is rounded.

Extra columns lie in the group `extras`, numbered, each with its label; facts of the movie are attributes of the root.
"""

from functools import partial
from pathlib import Path
from typing import Any

from localization.io import hdf5
from localization.io.extras import keeps_any
from localization.io.part import PartFile
from localization.io.table_format import HDF5_MAGIC, Content, Format, Head, TableInfo
from localization.types import COLUMNS, LocalizationError, make_localizations

_NAME, _VERSION = "colocus localizations", 1
_FACTS = ("pixel_um", "exposure_s", "interval_s")


def _recognise(head: Head) -> bool:
    if head.magic != HDF5_MAGIC:
        return False
    with hdf5.Reading(head.path) as file:
        return bool(file.attrs.get("format") == _NAME)


def _read(path: Path, info: TableInfo) -> Content:
    columns = {}
    with hdf5.Reading(path) as file:
        version = file.attrs.get("version")
        if version != _VERSION:
            raise LocalizationError(f"{path}: version {version} of our table, this program reads {_VERSION}; update it")
        for name in COLUMNS:
            column = hdf5.array(path, file, name)
            if column is None:
                raise LocalizationError(f"{path}: no column {name}; write the table again")
            columns[name] = column
        extras, facts = {}, dict[str, Any](file.attrs)
        further: Any = file.get("extras", {})
        for key in sorted(further):
            column = hdf5.array(path, further, key)
            label = further[key].attrs.get("label")
            if column is None or label is None:
                raise LocalizationError(f"{path}: the extra column {key} has no label or no values; write it again")
            extras[str(label)] = column
        said: dict[str, Any] = {name: float(facts[name]) for name in _FACTS if name in facts}
        if "frame_px" in facts:
            height, width = (int(size) for size in facts["frame_px"])
            said["frame_px"] = (height, width)
        if "n_frames" in facts:
            said["n_frames"] = int(facts["n_frames"])
        if info.pixel_um is not None:
            said["pixel_um"] = info.pixel_um
    return make_localizations(**columns, extras=extras), [], TableInfo(**said)


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    with hdf5.writing(part) as file:
        file.attrs["format"], file.attrs["version"] = _NAME, _VERSION
        file.attrs["units"] = "um, photons; frames from 0; x, y from the first pixel's outer corner"
        for name in (*_FACTS, "frame_px", "n_frames"):
            if (fact := getattr(info, name)) is not None:
                file.attrs[name] = fact
        columns = {name: hdf5.dataset(file, name, (spool.n_rows,), hdf5.ROW[name]) for name in COLUMNS}
        if spool.labels:
            extras = file.create_group("extras")
            for k, label in enumerate(spool.labels):
                column = hdf5.dataset(extras, f"{k:04d}", (spool.n_rows,), hdf5.ROW["x_um"])
                column.attrs["label"] = label
                columns[hdf5.field(label)] = column
        for at, rows in spool.blocks():
            for name, column in columns.items():
                column[at] = rows[name]
    return []


FORMAT = Format(
    name="colocus",
    recognise=_recognise,
    read=_read,
    writer=partial(hdf5.SpoolWriter, write=_write),
    suffix=".colocus.h5",
    owns_suffix=True,
    keeps=keeps_any(),
)
