"""DECODE's two tables, HDF5 and CSV: x along rows, y along columns, the first pixel's centre at 0, z in nm.

Of extra columns they hold DECODE's own: `phot_sig`, `bg_sig`, `phot_cr`, `bg_cr`, and `id` (-1: none), our `group`.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from localization.io import hdf5, text
from localization.io.extras import NATIVE, keeps_native
from localization.io.part import PartFile
from localization.io.table_format import Content, Format, TableInfo, depths, other_pixel
from localization.types import COLUMNS, LocalizationError, Localizations, make_localizations

_VERSION = "0.10.0"
_HOLDS = tuple(name for name in COLUMNS if name != "channel")
_WRITTEN = (
    "x", "y", "z", "phot", "frame_ix", "id", "prob", "bg", "phot_cr", "bg_cr", "phot_sig", "bg_sig",
    "x_cr", "y_cr", "z_cr", "x_sig", "y_sig", "z_sig",
)  # fmt: skip


def _pixel_um(path: Path, size_nm: Any, pixel_um: float | None) -> tuple[float, float]:
    """Find the pixel along DECODE's x (rows) and y (columns), in um: what is given, or what the file says."""
    if pixel_um is not None:
        text.half_pixel_um(pixel_um)
        return pixel_um, pixel_um
    try:
        size = np.asarray(size_nm, np.float64).reshape(-1) / text.NM_PER_UM
        for along in size[:2]:
            text.half_pixel_um(float(along))
        return float(size[0]), float(size[1])
    except (TypeError, ValueError, IndexError) as error:
        raise LocalizationError(f"{path}: names no pixel size; give pixel_um (colocus convert --pixel NM)") from error


def _um_per_unit(path: Path, unit: Any, size_um: tuple[float, float]) -> tuple[float, float]:
    """Convert the file's unit along rows and columns."""
    if unit not in ("px", "nm"):
        raise LocalizationError(f"{path}: xy_unit is {unit!r}, not px or nm; save the table again")
    return size_um if unit == "px" else (1 / text.NM_PER_UM, 1 / text.NM_PER_UM)


def _read_hdf5(path: Path, info: TableInfo) -> Content:
    notes: list[str] = []
    with hdf5.Reading(path) as file:
        meta, data = file["meta"].attrs, file["data"]
        size_um = _pixel_um(path, meta.get("px_size"), info.pixel_um)
        notes += other_pixel(np.ravel(meta.get("px_size", np.nan))[-1], info.pixel_um)
        along_rows, along_columns = _um_per_unit(path, meta.get("xy_unit"), size_um)
        xyz, frame = hdf5.array(path, data, "xyz"), hdf5.array(path, data, "frame_ix")
        if xyz is None or frame is None or xyz.ndim != 2 or xyz.shape[1] != 3:
            raise LocalizationError(f"{path}: no xyz of three columns, or no frame_ix; save the table again")
        columns: dict[str, Any] = {
            "frame": frame,
            "y_um": xyz[:, 0].astype(np.float64) * along_rows + 0.5 * size_um[0],
            "x_um": xyz[:, 1].astype(np.float64) * along_columns + 0.5 * size_um[1],
            "z_um": depths(xyz[:, 2].astype(np.float64) / text.NM_PER_UM, "z", notes),
        }
        for name, column in (("phot", "photons"), ("bg", "background"), ("prob", "score")):
            values = hdf5.array(path, data, name)
            if values is not None:
                columns[column] = values
        extras = {}
        for label, name in NATIVE["decode"].items():
            values = hdf5.array(path, data, name)
            if values is not None and values.shape == frame.shape:
                extras[label] = values
        sigma = hdf5.array(path, data, "xyz_sig")
        if sigma is not None and sigma.shape == xyz.shape:
            sigma = sigma.astype(np.float64)
            columns |= {"sigma_y_um": sigma[:, 0] * along_rows, "sigma_x_um": sigma[:, 1] * along_columns}
            columns["sigma_z_um"] = sigma[:, 2] / text.NM_PER_UM
    return _without_unknown(make_localizations(**columns, extras=extras)), notes, TableInfo(size_um[1])


def _without_unknown(locs: Localizations) -> Localizations:
    """Leave out extra columns of which nothing is known: NaN, or the identity -1, in every row."""
    extras = {name: column for name, column in locs.extras.items() if np.isfinite(column).any()}
    if (extras.get("group", np.zeros(1)) == -1).all():
        extras.pop("group", None)
    return replace(locs, extras=extras)


def _write_hdf5(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    text.half_pixel_um(info.pixel_um)
    p = info.pixel_um or 1.0
    n = spool.n_rows
    with hdf5.writing(part) as file:
        meta = file.create_group("meta")
        meta.attrs["xy_unit"], meta.attrs["px_size"] = "px", np.array([p * text.NM_PER_UM] * 2, np.float32)
        file.create_group("decode").attrs["version"] = _VERSION
        data = file.create_group("data")
        lateral = any(spool.known[name] for name in ("sigma_x_um", "sigma_y_um", "sigma_z_um"))
        sizes = {"xyz": (n, 3), "xyz_sig": (n, 3) if lateral else None, "phot": (n,), "bg": (n,), "prob": (n,)}
        sizes |= dict.fromkeys(("xyz_cr", "phot_cr", "phot_sig", "bg_cr", "bg_sig"))
        further = {NATIVE["decode"][label]: label for label in spool.labels if spool.known[hdf5.field(label)]}
        sizes |= {name: (n,) for name in further if name != "id"}
        made = {name: hdf5.dataset(data, name, size, np.dtype("<f4")) for name, size in sorted(sizes.items())}
        made |= {name: hdf5.dataset(data, name, (n,), np.dtype("<i8")) for name in ("frame_ix", "id")}
        for at, rows in spool.blocks():
            xyz = rows["y_um"] / p - 0.5, rows["x_um"] / p - 0.5, rows["z_um"] * text.NM_PER_UM
            made["xyz"][at] = np.stack(xyz, 1)
            if lateral:
                sigma = rows["sigma_y_um"] / p, rows["sigma_x_um"] / p, rows["sigma_z_um"] * text.NM_PER_UM
                made["xyz_sig"][at] = np.stack(sigma, 1)
            for name, column in (("phot", "photons"), ("bg", "background"), ("prob", "score"), ("frame_ix", "frame")):
                made[name][at] = rows[column]
            made["id"][at] = -1
            for name, label in further.items():
                values = rows[hdf5.field(label)]
                made[name][at] = values if name != "id" else _identity(values)
    return []


def _identity(group: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(group), group, -1).astype(np.int64)


def _read_csv(path: Path, info: TableInfo) -> Content:
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [file.readline() for _ in range(3)]
        meta: dict[str, Any] = json.loads(lines[2].lstrip("# "))
        unit, size_nm = meta.get("xy_unit"), meta.get("px_size")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise LocalizationError(f"{path}: DECODE's third line is damaged; save the table again") from error
    size_um = _pixel_um(path, size_nm, info.pixel_um)
    along_rows, along_columns = _um_per_unit(path, unit, size_um)
    columns: dict[str, tuple[str, text.Units]] = {
        "frame_ix": ("frame", text.BARE),
        "x": ("y_um", {None: along_rows}),
        "y": ("x_um", {None: along_columns}),
        "z": ("z_um", text.BARE_NM),
        "phot": ("photons", text.BARE),
        "bg": ("background", text.BARE),
        "prob": ("score", text.BARE),
        "x_sig": ("sigma_y_um", {None: along_rows}),
        "y_sig": ("sigma_x_um", {None: along_columns}),
        "z_sig": ("sigma_z_um", text.BARE_NM),
        "id": ("group", text.BARE),
    }
    named = {"frame": "frame_ix", "x_um": "y", "y_um": "x"}
    rules = text.Columns("DECODE's table", columns, 0, named, shift_um=(0.5 * size_um[1], 0.5 * size_um[0]))
    locs, notes = text.to_localizations(path, text.read(path, comment="#"), rules)
    return _without_unknown(locs), notes, TableInfo(size_um[1])


def _csv_head(info: TableInfo) -> str:
    text.half_pixel_um(info.pixel_um)
    meta = {"xy_unit": "px", "px_size": [(info.pixel_um or 0.0) * text.NM_PER_UM] * 2}
    version = json.dumps({"version": _VERSION})
    return f"# DECODE EmitterSet\n# {version}\n# {json.dumps(meta)}\n{text.header(_WRITTEN)(info)}"


def _csv_rows(locs: Localizations, before: int, info: TableInfo) -> pd.DataFrame:
    p = info.pixel_um or 0.0
    known = {
        "x": text.decimals(locs.y_um / p - 0.5, 7),
        "y": text.decimals(locs.x_um / p - 0.5, 7),
        "z": text.nanometres(locs.z_um),
        "phot": text.decimals(locs.photons, 3),
        "frame_ix": locs.frame,
        "id": np.full(locs.frame.size, -1),
        "prob": text.decimals(locs.score, 6),
        "bg": text.decimals(locs.background, 3),
        "x_sig": text.decimals(locs.sigma_y_um / p, 7),
        "y_sig": text.decimals(locs.sigma_x_um / p, 7),
        "z_sig": text.nanometres(locs.sigma_z_um),
    }
    for label, column in locs.extras.items():
        name = NATIVE["decode"][label]
        known[name] = column if name != "id" else _identity(column)
    unknown = np.full(locs.frame.size, np.nan)
    return pd.DataFrame({label: known.get(label, unknown) for label in _WRITTEN})


HDF5 = Format(
    name="decode",
    recognise=lambda head: {"data", "meta"} <= set(hdf5.names_in(head)),
    read=_read_hdf5,
    writer=partial(hdf5.SpoolWriter, write=_write_hdf5),
    suffix=".h5",
    holds=_HOLDS,
    keeps=keeps_native("decode"),
    needs_pixel=True,
)
CSV = Format(
    name="decode-csv",
    recognise=lambda head: head.first_line.startswith("# DECODE"),
    read=_read_csv,
    writer=partial(text.Writer, head=_csv_head, rows=_csv_rows),
    suffix=".csv",
    holds=_HOLDS,
    keeps=keeps_native("decode"),
    needs_pixel=True,
)
