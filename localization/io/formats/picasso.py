"""Picasso's table: HDF5 in px from the first pixel's centre, z in nm, described by a .yaml beside it."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from numpy.typing import NDArray

from localization.io import hdf5, text
from localization.io.part import PartFile, cannot_write
from localization.io.picasso_yaml import load_yaml
from localization.io.table_format import Content, Format, TableInfo
from localization.types import LocalizationError, make_localizations


def _read(path: Path, info: TableInfo) -> Content:
    notes: list[str] = []
    with hdf5.Reading(path) as file:
        table = hdf5.array(path, file, "locs")
        names = table.dtype.names if table is not None else None
        if table is None or names is None or table.ndim != 1:
            raise LocalizationError(f"{path}: locs is not a table of named columns; save it again with Picasso")
        missing = [name for name in ("frame", "x", "y") if name not in names]
        if missing:
            raise LocalizationError(f"{path}: no column '{missing[0]}' in locs; save it again with Picasso")
        description = _description(path, file)
        stored = _said(description, "Pixelsize")
        if info.pixel_um is None and stored is None:
            raise LocalizationError(
                f"{path}: no pixel size in the file or {path.with_suffix('.yaml').name}; "
                "give pixel_um (colocus convert --pixel NM)"
            )
        p = info.pixel_um if info.pixel_um is not None else float(stored or 0) / text.NM_PER_UM
        text.half_pixel_um(p)
        frame = table["frame"].astype(np.float64)
        if np.isfinite(frame).all() and (frame != np.round(frame)).any():
            frame = np.floor(frame)
            notes.append("frames are means over linked localizations: rounded down")
        columns = {"frame": frame, "z_um": np.zeros(frame.size)}
        # file column -> ours, factor, shift
        rules = {"x": ("x_um", p, 0.5 * p), "y": ("y_um", p, 0.5 * p), "z": ("z_um", 1 / text.NM_PER_UM, 0.0)}
        rules |= {"photons": ("photons", 1.0, 0.0), "bg": ("background", 1.0, 0.0), "score": ("score", 1.0, 0.0)}
        rules |= {"lpx": ("sigma_x_um", p, 0.0), "lpy": ("sigma_y_um", p, 0.0)}
        rules |= {"lpz": ("sigma_z_um", 1 / text.NM_PER_UM, 0.0), "channel": ("channel", 1.0, 0.0)}
        for name, (column, factor, shift) in rules.items():
            if name in names:
                columns[column] = table[name].astype(np.float64) * factor + shift
        size = [_said(description, key) for key in ("Height", "Width", "Frames")]
        whole = [int(value) if isinstance(value, int | float) and math.isfinite(value) else 0 for value in size]
        frame_px = (whole[0], whole[1]) if min(whole[:2]) > 0 else None
    return make_localizations(**columns), notes, TableInfo(p, frame_px, whole[2] or None)


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


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    text.half_pixel_um(info.pixel_um)
    p, n = info.pixel_um or 1.0, spool.n_rows
    notes: list[str] = []
    rules = _columns_known(spool, p)
    wanting = [name for name in ("photons", "lpx", "lpy") if name not in rules]
    if wanting and n:
        notes.append(f"nothing is known of {', '.join(wanting)}: some of Picasso's tools want them")
    types = {"frame": "<u4", "channel": "<i4"}
    row = np.dtype([(name, types.get(name, "<f4")) for name in rules])
    description = _describe(spool, info, p, notes)
    dropped = 0
    side = PartFile(part.path.with_suffix(".yaml"))
    try:
        with hdf5.writing(part) as file:
            locs = hdf5.dataset(file, "locs", (n,), row)
            for at, rows in spool.blocks():
                block = np.empty(rows.size, row)
                for name, (column, factor, shift) in rules.items():
                    block[name] = rows[column] * factor + shift
                locs[at] = block
                dropped += _count_dropped(block, description)
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


def _columns_known(spool: hdf5.Spool, p: float) -> dict[str, tuple[str, float, float]]:
    """List the columns to write: name in the file -> ours, factor, shift.

    Picasso drops every row with a NaN in any column (picasso.lib.ensure_sanity), so a column of which nothing is
    known must not be there.
    """
    rules: dict[str, tuple[str, float, float]] = {"frame": ("frame", 1, 0)}
    rules |= {"x": ("x_um", 1 / p, -0.5), "y": ("y_um", 1 / p, -0.5)}
    optional = {"photons": ("photons", 1, 0), "bg": ("background", 1, 0)}
    optional |= {"lpx": ("sigma_x_um", 1 / p, 0), "lpy": ("sigma_y_um", 1 / p, 0)}
    if spool.not_zero["z_um"]:
        optional |= {"z": ("z_um", text.NM_PER_UM, 0), "lpz": ("sigma_z_um", text.NM_PER_UM, 0)}
    rules |= {name: rule for name, rule in optional.items() if spool.known[rule[0]]}
    rules |= {"channel": ("channel", 1, 0)} if spool.not_zero["channel"] else {}
    return rules | ({"score": ("score", 1, 0)} if spool.not_one and spool.known["score"] else {})


def _count_dropped(block: NDArray, description: dict[str, Any]) -> int:
    """Count the rows that Picasso will drop: those with an unknown value, and those off its frame."""
    floats = [block[name] for name in block.dtype.names or () if block[name].dtype.kind == "f"]
    bad = ~np.isfinite(np.stack(floats)).all(axis=0) | (block["x"] < 0) | (block["y"] < 0)
    bad |= (block["x"] >= description["Width"]) | (block["y"] >= description["Height"])
    return int(bad.sum())


def _describe(spool: hdf5.Spool, info: TableInfo, p: float, notes: list[str]) -> dict[str, Any]:
    def reached(name: str) -> int:
        return max(1, math.ceil(spool.most[name] / p)) if spool.n_rows else 1

    if info.frame_px is None and spool.n_rows:
        notes.append("the frame's size is not known: Width and Height are those that the positions reach")
    height, width = info.frame_px or (reached("y_um"), reached("x_um"))
    n_frames = info.n_frames or (int(spool.most["frame"]) + 1 if spool.n_rows else 1)
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
    writer=partial(hdf5.SpoolWriter, write=_write),
    suffix=".hdf5",
    owns_suffix=True,
    needs_pixel=True,
)
