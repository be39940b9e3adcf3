"""Our own table: HDF5 with one dataset per column, in um; nothing is rounded."""

from functools import partial
from pathlib import Path

from localization.io import hdf5
from localization.io.part import PartFile
from localization.io.table_format import HDF5_MAGIC, Content, Format, Head, TableInfo
from localization.types import COLUMNS, LocalizationError, make_localizations

_NAME, _VERSION = "colocus localizations", 1


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
        stored = file.attrs.get("pixel_um")
        pixel_um = info.pixel_um if stored is None else float(stored)
    return make_localizations(**columns), [], TableInfo(pixel_um)


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    with hdf5.writing(part) as file:
        file.attrs["format"], file.attrs["version"] = _NAME, _VERSION
        file.attrs["units"] = "um, photons; frames from 0; x, y from the first pixel's outer corner"
        if info.pixel_um is not None:
            file.attrs["pixel_um"] = info.pixel_um
        columns = {name: hdf5.dataset(file, name, (spool.n_rows,), hdf5.ROW[name]) for name in COLUMNS}
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
)
