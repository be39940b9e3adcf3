"""Picasso's table: HDF5 `locs`, described by a .yaml beside it; positions from the first pixel's centre.

Two generations, told apart by the root attribute `picasso_format`. Without it (Picasso before 1.0) lengths are in
camera pixels; with "1.x" (Picasso 1.0) in nm. In both the first pixel's centre is at 0 and z, lpz are in nm. Which
columns are lengths, and what is refused, is as in `picasso.legacy` and `picasso.io` of 1.0.0a1 and `picasso.lib` of
0.11.3; files of ours were opened by both.
"""

import json
import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from numpy.typing import NDArray

from localization.io import hdf5, text
from localization.io.extras import EXTRAS, NATIVE, keeps_any
from localization.io.part import PartFile, cannot_write
from localization.io.picasso_yaml import load_yaml
from localization.io.table_format import HDF5_MAGIC, Content, Format, Head, TableInfo, depths, other_pixel
from localization.types import LocalizationError, make_localizations

_VERSION = "picasso_format"
_OURS = ("frame", "x", "y", "z", "photons", "bg", "lpx", "lpy", "lpz", "channel", "score")
_OLD_NAMES = {"likelihood": "log_likelihood"}
# further lengths in camera pixels before 1.0, and the power of the pixel in them (picasso.legacy of 1.0)
_LENGTHS = {"sx_unc": 1, "sy_unc": 1, "std_x": 1, "std_y": 1, "x_pick_rot": 1, "y_pick_rot": 1, "d_zcalib": 0.5}
_LENGTHS |= {"area": 2, "volume": 3}
_NOT_NEGATIVE = ("x", "y", "lpx", "lpy", "lpz", "photons", "ellipticity", "sx", "sy")  # Picasso drops rows by them
_WITH_UNIT = re.compile(r"(.+) \[nm(?:\^([\d.]+))?\]")


def _is_new(head: Head) -> bool:
    if head.magic != HDF5_MAGIC:
        return False
    with hdf5.Reading(head.path) as file:
        return "locs" in file and _VERSION in file.attrs


def _counts_in_nm(path: Path, file: h5py.File) -> bool:
    version = file.attrs.get(_VERSION)
    if version is None:
        return False
    said = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
    if re.fullmatch(r"1\.\d+", said.strip()) is None:
        raise LocalizationError(
            f"{path}: {_VERSION} is '{said[:20]}'; known are 1.x and files without it: save it with Picasso 1.0, or as "
            "ThunderSTORM table"
        )
    return True


def _read(path: Path, info: TableInfo) -> Content:
    notes: list[str] = []
    with hdf5.Reading(path) as file:
        in_nm = _counts_in_nm(path, file)
        table = hdf5.array(path, file, "locs")
        names = table.dtype.names if table is not None else None
        if table is None or names is None or table.ndim != 1:
            raise LocalizationError(f"{path}: locs is not a table of named columns; save it again with Picasso")
        missing = [name for name in ("frame", "x", "y") if name not in names]
        if missing:
            raise LocalizationError(f"{path}: no column '{missing[0]}' in locs; save it again with Picasso")
        description = _description(path, file)
        p = _pixel_um(path, description, info.pixel_um)
        notes += other_pixel(_said(description, "Pixelsize"), info.pixel_um)
        unit = 1 / text.NM_PER_UM if in_nm else p
        frame = _floats(path, table, "frame")
        if np.isfinite(frame).all() and (frame != np.round(frame)).any():
            frame = np.floor(frame)
            notes.append("frames are means over linked localizations: rounded down")
        columns = {"frame": frame, "z_um": np.zeros(frame.size)}
        # file column -> ours, factor, shift
        rules = {"x": ("x_um", unit, 0.5 * p), "y": ("y_um", unit, 0.5 * p), "z": ("z_um", 1 / text.NM_PER_UM, 0.0)}
        rules |= {"photons": ("photons", 1.0, 0.0), "bg": ("background", 1.0, 0.0), "score": ("score", 1.0, 0.0)}
        rules |= {"lpx": ("sigma_x_um", unit, 0.0), "lpy": ("sigma_y_um", unit, 0.0)}
        rules |= {"lpz": ("sigma_z_um", 1 / text.NM_PER_UM, 0.0), "channel": ("channel", 1.0, 0.0)}
        for name, (column, factor, shift) in rules.items():
            if name in names:
                columns[column] = _floats(path, table, name, factor, shift)
        columns["z_um"] = depths(columns["z_um"], "z", notes)
        extras, words = {}, []
        for name in names:
            if name in _OURS:
                continue
            if table[name].dtype.kind not in "fiub" or table[name].ndim != 1:
                words.append(name)
                continue
            label, power = _label(name, names)
            factor = (
                1.0 if power is None else unit if label in EXTRAS else (1 if in_nm else p * text.NM_PER_UM) ** power
            )
            extras[label] = _floats(path, table, name, factor)
        if words:
            notes.append(f"no column of numbers: {', '.join(words)}: left out")
        size = [_said(description, key) for key in ("Height", "Width", "Frames")]
        whole = [int(value) if isinstance(value, int | float) and math.isfinite(value) else 0 for value in size]
        frame_px = (whole[0], whole[1]) if min(whole[:2]) > 0 else None
    locs = make_localizations(**columns, extras=extras)
    return locs, notes, TableInfo(p, frame_px, whole[2] if whole[2] > 0 else None)


def _floats(path: Path, table: NDArray, name: str, factor: float = 1.0, shift: float = 0.0) -> NDArray:
    if table[name].dtype.kind not in "fiub" or table[name].ndim != 1:
        raise LocalizationError(f"{path}: column '{name}' of locs is not of numbers; save it again with Picasso")
    with np.errstate(invalid="ignore"):  # a damaged file holds signalling NaN
        values = table[name].astype(np.float64)
    if factor != 1:
        values *= factor
    if shift:
        values += shift
    values.setflags(write=False)  # handed over to the table, not copied
    return values


def _pixel_um(path: Path, description: list[dict[str, Any]], given_um: float | None) -> float:
    stored = _said(description, "Pixelsize")
    if given_um is None and stored is None:
        raise LocalizationError(
            f"{path}: no pixel size in the file or {path.with_suffix('.yaml').name}; "
            "give pixel_um (colocus convert --pixel NM)"
        )
    p = given_um if given_um is not None else float(stored or 0) / text.NM_PER_UM
    text.half_pixel_um(p)
    return p


def _label(name: str, names: tuple[str, ...]) -> tuple[str, float | None]:
    """Name an extra column as we do, and the power of a length that it has, None for none."""
    known = {native: label for label, native in NATIVE["picasso"].items()}
    label = known.get(_OLD_NAMES.get(name, name))
    if label is not None:
        return label, 1 if label.endswith("_um") else None
    power: float | None = _LENGTHS.get(name)
    if name == "convexhull":
        power = 3 if "std_z" in names or "z" in names else 2
    base, _, statistic = name.rpartition("_")
    if statistic in ("mean", "std", "min", "max") and (
        base in ("x", "y", "lpx", "lpy", "sx", "sy") or base in _LENGTHS
    ):
        power = 1
    return (name, None) if power is None else (f"{name} [nm{'' if power == 1 else f'^{power:g}'}]", power)


def _description(path: Path, file: h5py.File) -> list[dict[str, Any]]:
    """Read the .yaml beside the file, as Picasso itself prefers it, else what is embedded in the file."""
    side = path.with_suffix(".yaml")
    if side.is_file():
        return load_yaml(side)
    if "metadata" not in file:
        return []
    metadata: Any = file["metadata"]
    raw = metadata[()]
    documents = json.loads(raw.decode() if isinstance(raw, bytes) else str(raw))
    return [document for document in documents if isinstance(document, dict)]


def _said(info: list[dict[str, Any]], key: str) -> Any:
    """Find a value in the last document that has one, as Picasso searches."""
    return next((document[key] for document in reversed(info) if document.get(key)), None)


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo, *, in_nm: bool) -> list[str]:
    text.half_pixel_um(info.pixel_um)
    p, n = info.pixel_um or 1.0, spool.n_rows
    unit = 1 / text.NM_PER_UM if in_nm else p
    notes: list[str] = []
    if n and spool.most["frame"] > np.iinfo(np.uint32).max:
        raise LocalizationError(
            f"{part.path}: a row has frame {spool.most['frame']:g}, which Picasso cannot hold; drop it first "
            "(colocus filter, frames=[first,last])"
        )
    rules = _columns_known(spool, p, unit)
    wanting = [name for name in ("photons", "lpx", "lpy") if name not in rules]
    if wanting and n:
        notes.append(f"nothing is known of {', '.join(wanting)}: some of Picasso's tools want them")
    if not {"lpx", "lpy"} <= set(rules) and n:
        notes.append("Picasso 1.0 opens no table without lpx, lpy, the lateral uncertainties")
    further, left_out = _extras_known(spool, p, unit)
    if left_out:
        notes.append(f"unknown in some rows, which Picasso would drop: {', '.join(left_out)}: left out")
    rules |= {name: rule for name, rule in further.items() if name not in rules}
    types = {"frame": "<u4", "channel": "<i4"}
    types |= {name: "<i4" for name, (field, factor, _) in further.items() if factor == 1 and field in _whole(spool)}
    row = np.dtype([(name, types.get(name, "<f4")) for name in rules])
    description = _describe(spool, info, p, notes)
    dropped = 0
    side = PartFile(part.path.with_suffix(".yaml"))
    try:
        with hdf5.writing(part) as file:
            if in_nm:
                file.attrs[_VERSION] = "1.0"
            locs = hdf5.dataset(file, "locs", (n,), row)
            for at, rows in spool.blocks():
                block = np.empty(rows.size, row)
                for name, (column, factor, shift) in rules.items():
                    block[name] = rows[column] * factor + shift
                locs[at] = block
                dropped += _count_dropped(block, description, p / unit)
            file.create_dataset("metadata", data=json.dumps([description]))
        with open(side.temporary, "w", encoding="utf-8") as file:
            yaml.safe_dump_all([description], file, default_flow_style=False)
        side.finish()
    except OSError as error:
        raise cannot_write(side.path, error) from error
    finally:
        side.discard()
    if dropped:
        notes.append(f"Picasso will drop {dropped} of {n} rows when it loads them: unknown values, or off its frame")
    return notes


def _columns_known(spool: hdf5.Spool, p: float, unit: float) -> dict[str, tuple[str, float, float]]:
    """List the columns to write: name in the file -> ours, factor, shift; `unit` is the file's length, um.

    Picasso drops every row with a NaN in any column (picasso.lib.ensure_sanity), so a column of which nothing is
    known must not be there.
    """
    half = 0.5 * (p / unit)
    rules: dict[str, tuple[str, float, float]] = {"frame": ("frame", 1, 0)}
    rules |= {"x": ("x_um", 1 / unit, -half), "y": ("y_um", 1 / unit, -half)}
    optional = {"photons": ("photons", 1, 0), "bg": ("background", 1, 0)}
    optional |= {"lpx": ("sigma_x_um", 1 / unit, 0), "lpy": ("sigma_y_um", 1 / unit, 0)}
    if spool.not_zero["z_um"]:
        optional |= {"z": ("z_um", text.NM_PER_UM, 0), "lpz": ("sigma_z_um", text.NM_PER_UM, 0)}
    rules |= {name: rule for name, rule in optional.items() if spool.known[rule[0]]}
    rules |= {"channel": ("channel", 1, 0)} if spool.not_zero["channel"] else {}
    return rules | ({"score": ("score", 1, 0)} if spool.not_one and spool.known["score"] else {})


def _extras_known(spool: hdf5.Spool, p: float, unit: float) -> tuple[dict[str, tuple[str, float, float]], list[str]]:
    """List the extra columns to write, as `_columns_known` does, and those that are unknown in some rows."""
    rules: dict[str, tuple[str, float, float]] = {}
    partly: list[str] = []
    for label in spool.labels:
        field, factor, name = hdf5.field(label), 1.0, NATIVE["picasso"].get(label, label)
        with_unit = _WITH_UNIT.fullmatch(label)
        if label in EXTRAS:
            factor = 1 / unit if label.endswith("_um") else 1.0
        elif with_unit and _label(with_unit[1], ("std_z",))[1] is not None:
            name = with_unit[1]
            factor = (1 / text.NM_PER_UM / unit) ** float(with_unit[2] or 1)
        if spool.known[field] == spool.n_rows:
            rules[name] = (field, factor, 0.0)
        elif spool.known[field]:
            partly.append(label)
    return rules, partly


def _whole(spool: hdf5.Spool) -> set[str]:
    return {hdf5.field(label) for label, whole in spool.whole.items() if whole}


def _count_dropped(block: NDArray, description: dict[str, Any], unit_per_px: float) -> int:
    """Count the rows that Picasso will drop: those with an unknown or negative value, and those off its frame."""
    floats = [block[name] for name in block.dtype.names or () if block[name].dtype.kind == "f"]
    bad = ~np.isfinite(np.stack(floats)).all(axis=0)
    for name in set(_NOT_NEGATIVE) & set(block.dtype.names or ()):
        bad |= block[name] < 0
    bad |= (block["x"] >= description["Width"] * unit_per_px) | (block["y"] >= description["Height"] * unit_per_px)
    return int(bad.sum())


def _describe(spool: hdf5.Spool, info: TableInfo, p: float, notes: list[str]) -> dict[str, Any]:
    most, far = hdf5.reached(spool, info)
    notes += far

    def pixels(name: str) -> int:
        return max(1, math.ceil(most[name] / p)) if spool.n_rows else 1

    if info.frame_px is None and spool.n_rows:
        notes.append("the frame's size is not known: Width and Height are those that the positions reach")
    height, width = info.frame_px or (pixels("y_um"), pixels("x_um"))
    n_frames = info.n_frames or (int(most["frame"]) + 1 if spool.n_rows else 1)
    return {
        "Generated by": "Colocus",
        "Width": int(width),
        "Height": int(height),
        "Frames": int(n_frames),
        "Pixelsize": float(p * text.NM_PER_UM),
    }


FORMAT = Format(
    name="picasso",
    title="Picasso",
    recognise=lambda head: "locs" in hdf5.names_in(head),
    read=_read,
    writer=partial(hdf5.SpoolWriter, write=partial(_write, in_nm=False)),
    suffix=".hdf5",
    owns_suffix=True,
    needs_pixel=True,
    keeps=keeps_any(*_OURS),
)
NEW = Format(
    name="picasso-1",
    title="Picasso 1.0",
    recognise=_is_new,
    read=_read,
    writer=partial(hdf5.SpoolWriter, write=partial(_write, in_nm=True)),
    suffix=".hdf5",
    needs_pixel=True,
    keeps=keeps_any(*_OURS),
)
