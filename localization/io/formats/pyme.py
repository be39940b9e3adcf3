"""PYME's .h5r and .hdf: tables in HDF5, nm from the first pixel's centre, frames from 0; read only.

An .h5r holds fits as they were made, in the table `FitResults` with the nested columns fitResults, fitError and
tIndex; an .hdf holds a table that was saved later, `Localizations` or `Data`, with the columns x, y, z, t, error_x,
... Positions are nm on the frame that was recorded, 0 at the first pixel's centre, so that half of the pixel that the
file's metadata names (`MetaData/voxelsize`, um) is added. tIndex and t count from 0. z is kept, with its sign. The
amplitude A is counts of the camera, not photons, and stays under its own name; photons are read where the table has
nPhotons. A fit without an error estimate has a negative one (-5000): unknown. An .hdf that PYME made of another
program's table keeps that program's origin, which it does not tell.

Source: `localization/FitFactories/FFBase.py`, `fitCommon.py`, `IO/tabular.py`, `IO/h5rFile.py`,
`IO/MetaDataHandler.py` and `IO/FileUtils/h5rFormatDef.py` of python-microscopy, 2026-08-21. Checked by files from its
own `H5RFile` and `tabular.RecArraySource.to_hdf` (the program itself does not build here).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from localization.io import hdf5, text
from localization.io.table_format import HDF5_MAGIC, Content, Format, Head, TableInfo
from localization.types import LocalizationError, make_localizations

_TABLES = ("FitResults", "Localizations", "Data")
# name in the file, nested ones joined by _ -> our column or extra column, factor; the first of a column found is read
_NAMES: Mapping[str, tuple[str, float]] = {
    "t": ("frame", 1.0),
    "tIndex": ("frame", 1.0),
    "x": ("x_um", 1e-3),
    "fitResults_x0": ("x_um", 1e-3),
    "y": ("y_um", 1e-3),
    "fitResults_y0": ("y_um", 1e-3),
    "z": ("z_um", 1e-3),
    "fitResults_z0": ("z_um", 1e-3),
    "error_x": ("sigma_x_um", 1e-3),
    "fitError_x0": ("sigma_x_um", 1e-3),
    "error_y": ("sigma_y_um", 1e-3),
    "fitError_y0": ("sigma_y_um", 1e-3),
    "error_z": ("sigma_z_um", 1e-3),
    "fitError_z0": ("sigma_z_um", 1e-3),
    "nPhotons": ("photons", 1.0),
    "probe": ("channel", 1.0),
    "sig": ("width_x_um", 1e-3),
    "fitResults_sigma": ("width_x_um", 1e-3),
    "fitResults_sigmax": ("width_x_um", 1e-3),
    "fitResults_sigmay": ("width_y_um", 1e-3),
    "clumpSize": ("detections", 1.0),
    "clumpIndex": ("group", 1.0),
}
_EXTRA = ("width_x_um", "width_y_um", "detections", "group")


def _recognise(head: Head) -> bool:
    if head.magic != HDF5_MAGIC:
        return False
    with hdf5.Reading(head.path) as file:
        return _table_name(file) is not None


def _table_name(file: h5py.File) -> str | None:
    for name in _TABLES:
        table: Any = file.get(name)
        names = set(table.dtype.names or ()) if isinstance(table, h5py.Dataset) else set()
        if "tIndex" in names or {"x", "y", "t"} <= names:
            return name
    return None


def _read(path: Path, info: TableInfo) -> Content:
    with hdf5.Reading(path) as file:
        name = _table_name(file)
        table = hdf5.array(path, file, name) if name is not None else None
        if table is None or table.ndim != 1:
            raise LocalizationError(f"{path}: no table FitResults or Localizations with its times; save it again")
        said = _metadata(file)
    p = info.pixel_um if info.pixel_um is not None else said.get("voxelsize.x")
    if p is None:
        raise LocalizationError(
            f"{path}: PYME counts from the first pixel's centre and the file does not say its pixel; "
            "give pixel_um (colocus convert --pixel NM) to add half of it"
        )
    half_x, half_y = (
        text.half_pixel_um(p),
        text.half_pixel_um(said.get("voxelsize.y", p) if info.pixel_um is None else p),
    )
    flat, left_out = _flatten(table)
    columns: dict[str, NDArray] = {"z_um": np.zeros(table.size)}
    extras: dict[str, NDArray] = {}
    found: set[str] = set()
    for key, (ours, factor) in _NAMES.items():
        if key in flat and ours not in found:
            found.add(ours)
            (extras if ours in _EXTRA else columns)[ours] = flat.pop(key) * factor
    for ours, key in (("frame", "t"), ("x_um", "x"), ("y_um", "y")):
        if ours not in columns:
            raise LocalizationError(f"{path}: no column {key} in {name}; save the table with PYME again")
    columns["x_um"], columns["y_um"] = columns["x_um"] + half_x, columns["y_um"] + half_y
    for ours in ("sigma_x_um", "sigma_y_um", "sigma_z_um"):
        if ours in columns:
            columns[ours] = np.where(columns[ours] >= 0, columns[ours], np.nan)
    if "width_x_um" in extras:
        extras.setdefault("width_y_um", extras["width_x_um"])
    notes = [f"not columns of numbers: {', '.join(left_out)}: left out"] if left_out else []
    if "photons" not in columns:
        notes.append("photons are not known: PYME's amplitude A is in counts of the camera")
    size = [int(said.get(f"Camera.ROI{side}", 0)) for side in ("Height", "Width")]
    facts = TableInfo(p, (size[0], size[1]) if min(size) > 0 else None, interval_s=said.get("Camera.CycleTime"))
    given: dict[str, Any] = dict(columns)
    return make_localizations(**given, extras=extras | flat), notes, facts


def _flatten(table: NDArray, prefix: str = "") -> tuple[dict[str, NDArray], list[str]]:
    """Name the columns of a table of nested columns, and list what is no column of numbers."""
    flat: dict[str, NDArray] = {}
    left_out: list[str] = []
    for name in table.dtype.names or ():
        column = table[name]
        if prefix + name in ("slicesUsed", "startParams"):  # where a fit looked and began
            left_out.append(prefix + name)
        elif column.dtype.names:
            inner, rest = _flatten(column, f"{prefix}{name}_")
            flat |= inner
            left_out += rest
        elif column.ndim == 1 and column.dtype.kind in "biuf":
            flat[prefix + name] = column.astype(np.float64)
        else:
            left_out.append(prefix + name)
    return flat, left_out


def _metadata(file: h5py.File) -> dict[str, float]:
    """Read the numbers of the metadata that are needed, as group.name."""
    said = {}
    for group, name in (
        ("voxelsize", "x"), ("voxelsize", "y"),
        ("Camera", "ROIWidth"), ("Camera", "ROIHeight"), ("Camera", "CycleTime"),
    ):  # fmt: skip
        node: Any = file.get(f"MetaData/{group}")
        value = node.attrs.get(name) if node is not None else None
        if isinstance(value, int | float | np.number) and np.isfinite(value) and value > 0:
            said[f"{group}.{name}"] = float(value)
    return said


FORMAT = Format(name="pyme", recognise=_recognise, read=_read)
