"""The .smlm file: a zip with a manifest and binary tables, read only.

Format: https://github.com/imodpasteur/smlm-file-format (specification 0.2): little-endian rows, nanometres.
Columns that are not ours keep their names and units. Checked by Locan's real file and reader (0.22).
"""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from localization.io.table_format import ZIP_MAGIC, Content, Format, TableInfo, depths
from localization.types import LocalizationError, Localizations, make_localizations, one_line

_TYPES = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}
# name in the file -> (our column, factor); positions stand under three names
_COLUMNS = {
    "frame": ("frame", 1.0),
    **{name: ("x_um", 1e-3) for name in ("x", "x_position", "position_x")},
    **{name: ("y_um", 1e-3) for name in ("y", "y_position", "position_y")},
    **{name: ("z_um", 1e-3) for name in ("z", "z_position", "position_z")},
    "intensity": ("photons", 1.0),
    "background": ("background", 1.0),
    "local_background": ("background", 1.0),
    "uncertainty_x": ("sigma_x_um", 1e-3),
    "uncertainty_y": ("sigma_y_um", 1e-3),
    "uncertainty_z": ("sigma_z_um", 1e-3),
    "channel": ("channel", 1.0),
}
_MOST_BYTES = 1 << 34


def _read(path: Path, info: TableInfo) -> Content:
    try:
        with zipfile.ZipFile(path) as archive:
            if "xl/workbook.xml" in archive.namelist():
                raise LocalizationError(f"{path}: a workbook of Excel; save the sheet as CSV, or as text with tabs")
            manifest = json.loads(archive.read("manifest.json"))
            tables = [entry for entry in manifest["files"] if entry.get("type") == "table"]
            if len(tables) != 1:
                raise LocalizationError(f"{path}: holds {len(tables)} tables; export one by itself")
            kind = manifest["formats"][tables[0]["format"]]
            if archive.getinfo(tables[0]["name"]).file_size > _MOST_BYTES:
                raise LocalizationError(f"{path}: the table announces more bytes than any; export it again")
            raw = archive.read(tables[0]["name"])
        return *_table(path, kind, int(tables[0]["rows"]), raw), info
    except LocalizationError:
        raise
    except (
        zipfile.BadZipFile, zlib.error, OSError, KeyError, ValueError, TypeError, AttributeError, IndexError,
        EOFError, RuntimeError, NotImplementedError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise LocalizationError(f"{path}: not a whole .smlm file ({one_line(error)}); export it again") from error


def _table(path: Path, kind: dict[str, Any], n_rows: int, raw: bytes) -> tuple[Localizations, list[str]]:
    if kind["mode"] != "binary" or not set(kind["dtype"]) <= _TYPES or any(int(n) != 1 for n in kind["shape"]):
        raise LocalizationError(f"{path}: a table that is not of plain binary columns; export it again")
    row = np.dtype([(str(k), np.dtype(name).newbyteorder("<")) for k, name in enumerate(kind["dtype"])])
    if n_rows < 0 or n_rows * row.itemsize > len(raw) or len(kind["headers"]) != len(kind["dtype"]):
        raise LocalizationError(f"{path}: announces {n_rows} rows and holds fewer; copy or export it again")
    rows = np.frombuffer(raw, row, n_rows)
    columns: dict[str, Any] = {}
    extras: dict[str, Any] = {}
    units = kind.get("units", [])
    for k, header in enumerate(kind["headers"]):
        target, factor = _COLUMNS.get(str(header), ("", 0.0))
        values = rows[str(k)].astype(np.float64)
        if target and target not in columns:
            columns[target] = values * factor
        elif np.isfinite(values).any():
            unit = str(units[k]) if k < len(units) else ""
            extras[f"{header} [{unit}]" if unit else str(header)] = values
    for name, header in (("frame", "frame"), ("x_um", "x"), ("y_um", "y")):
        if name not in columns:
            raise LocalizationError(f"{path}: no column {header}; export it again")
    notes = ["the format does not say where its pixels begin nor from where its frames count: taken as they are"]
    columns["z_um"] = depths(columns.get("z_um", np.zeros(n_rows)), "z", notes)
    return make_localizations(**columns, extras=extras), notes


FORMAT = Format(
    name="smlm",
    recognise=lambda head: head.magic.startswith(ZIP_MAGIC),
    read=_read,
)
