"""storm-analysis' HDF5: one group per frame, positions in px from the first pixel's centre, z in um, drift kept apart.

A group `fr_N` holds the localizations of frame N, counted from 0, one dataset for each property, and in its
attributes dx, dy (px) and dz (um), which are to be added. x runs along columns, y along rows; `sum` and `background`
are photo-electrons. `category` is our channel. Linked rows lie beside them in the group `tracks`; they are read only
where there is nothing else. `xsigma` and `ysigma` (px) are the widths of the fitted spot.

Source: `sa_library/sa_h5py.py`, `sa_utilities/tracker.py` and `doc/source/output_files.rst` of
ZhuangLab/storm-analysis, 2026-04-06, file version 0.1. Checked by its own writer and reader (`SAH5Py`) in both
directions, and by its test files `test_spliner_ref.hdf5` and `test_sim.hdf5`. Where z rises is as the calibration of
the file's maker had it.
"""

import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from localization.io import hdf5, text
from localization.io.extras import keeps_any
from localization.io.part import PartFile
from localization.io.table_format import HDF5_MAGIC, Content, Format, Head, TableInfo, other_pixel
from localization.types import COLUMNS, LocalizationError, make_localizations

_FRAME = re.compile(r"fr_(\d+)")
_VERSION = 0.1
# our column or extra column -> name in the file, and whether it is in px
_NAMES = {
    "photons": ("sum", False),
    "background": ("background", False),
    "chi2": ("error", False),
    "width_x_um": ("xsigma", True),
    "width_y_um": ("ysigma", True),
}
# what storm-analysis has no name for is written under our own, which its programs pass over
_OURS = ("sigma_x_um", "sigma_y_um", "sigma_z_um", "score")
_TAKEN = ("x", "y", "z", "category", "frame_number", "track_length", *(name for name, _ in _NAMES.values()))


def _recognise(head: Head) -> bool:
    if head.magic != HDF5_MAGIC:
        return False
    with hdf5.Reading(head.path) as file:
        return {"sa_type", "version", "n_channels"} <= set(file.attrs)


def _read(path: Path, info: TableInfo) -> Content:
    with hdf5.Reading(path) as file:
        attributes: Any = file.attrs
        wanted = ("pixel_size", "movie_x", "movie_y", "movie_l")
        said = {name: float(attributes[name]) for name in wanted if name in attributes}
        p = info.pixel_um if info.pixel_um is not None else said.get("pixel_size", 0.0) / text.NM_PER_UM
        if not p:
            raise LocalizationError(f"{path}: does not say its pixel; give pixel_um (colocus convert --pixel NM)")
        text.half_pixel_um(p)
        fields, notes = _localizations(path, file)
        notes += other_pixel(said.get("pixel_size"), info.pixel_um)
        size = [int(said.get(name, 0.0)) for name in ("movie_y", "movie_x", "movie_l")]
        rows = int(file.attrs.get("rows", fields["frame"].size))  # of ours alone: the format does not count its frames
    columns = {"frame": fields.pop("frame"), "z_um": fields.pop("z", np.zeros(0))}
    n = columns["frame"].size
    if n != rows:
        raise LocalizationError(f"{path}: {n} of {rows} rows are there; the file is damaged, copy it again")
    if n and not {"x", "y"} <= set(fields):
        raise LocalizationError(f"{path}: no x or no y in its frames; analyse the movie again")
    columns["x_um"], columns["y_um"] = ((fields.pop(name, np.zeros(0)) + 0.5) * p for name in ("x", "y"))
    columns["z_um"] = columns["z_um"] if columns["z_um"].size else np.zeros(n)
    category = fields.get("category", np.zeros(0))
    if category.size and (category >= 0).all():
        columns["channel"] = fields.pop("category")
    extras = {}
    for ours, (name, in_px) in _NAMES.items():
        if name in fields:
            values = fields.pop(name) * (p if in_px else 1.0)
            (columns if ours in ("photons", "background") else extras)[ours] = values
    columns |= {name: fields.pop(name) for name in _OURS if name in fields}
    frame_px = (size[0], size[1]) if min(size[:2]) > 0 else None
    given: dict[str, Any] = dict(columns)
    locs = make_localizations(**given, extras=extras | fields)
    return locs, notes, TableInfo(p, frame_px, size[2] or None)


def _localizations(path: Path, file: h5py.File) -> tuple[dict[str, NDArray], list[str]]:
    """Read every frame, with its drift; where there are none, the tracks. Returns columns in the file's units."""
    frames = sorted((int(found[1]), str(name)) for name in file if (found := _FRAME.fullmatch(str(name))))
    notes = []
    if not file.attrs.get("analysis_finished", 1):
        notes.append(
            f"the analysis of the movie did not finish: rows reach as far as frame {frames[-1][0] if frames else 0}"
        )
    tables = [table for frame, name in frames if (table := _group(path, file[name], name, frame))]
    tracks = _tracks(path, file)
    if tracks and tables:
        n_tracks = sum(table["x"].size for table in tracks)
        notes.append(f"{n_tracks} linked rows (tracks) lie beside the single localizations, which are what is read")
    elif tracks:
        notes.append("holds linked rows (tracks) alone: photons are sums over a track, the rest means")
    return _stack(tables or tracks), notes


def _group(path: Path, group: Any, name: str, frame: int) -> dict[str, NDArray]:
    n = int(group.attrs.get("n_locs", -1))
    if n == 0:
        return {}
    table = _datasets(path, group, name, n)
    for axis in ("x", "y", "z"):
        if axis in table:
            table[axis] = table[axis] + float(group.attrs.get(f"d{axis}", 0.0))
    return table | {"frame": np.full(n, float(frame))}


def _tracks(path: Path, file: h5py.File) -> list[dict[str, NDArray]]:
    groups: Any = file.get("tracks")
    tables = []
    for name in sorted(groups, key=lambda name: (len(name), name)) if isinstance(groups, h5py.Group) else ():
        n = int(groups[name].attrs.get("n_tracks", -1))
        table = _datasets(path, groups[name], f"tracks/{name}", n)
        if not {"x", "y", "frame_number", "track_length"} <= set(table):
            raise LocalizationError(f"{path}: tracks/{name} has no x, y, frame_number or track_length; track it again")
        length = np.maximum(table["track_length"], 1.0)
        # every other field is a sum over the track; of those that mean something as a mean, the mean is kept
        means = {key: table[key] / length for key in ("background", "xsigma", "ysigma") if key in table}
        kept = {key: table[key] for key in ("x", "y", "z", "sum", "category", "track_id") if key in table}
        tables.append(kept | means | {"frame": table["frame_number"], "detections": table["track_length"]})
    return tables


def _datasets(path: Path, group: Any, name: str, n: int) -> dict[str, NDArray]:
    table = {}
    for key in group:
        values = hdf5.array(path, group, key)
        if values is None or values.shape != (n,) or values.dtype.kind not in "biuf":
            raise LocalizationError(f"{path}: {name}/{key} is not {n} numbers, as {name} announces; analyse it again")
        table[key] = values.astype(np.float64)
    return table


def _stack(tables: list[dict[str, NDArray]]) -> dict[str, NDArray]:
    if not tables:
        return {"frame": np.zeros(0)}
    names = dict.fromkeys(name for table in tables for name in table)
    unknown = [np.full(table["frame"].size, np.nan) for table in tables]
    return {
        name: np.concatenate([table.get(name, nothing) for table, nothing in zip(tables, unknown, strict=True)])
        for name in names
    }


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    text.half_pixel_um(info.pixel_um)
    p, notes = info.pixel_um or 1.0, []
    if info.frame_px is None and spool.n_rows:
        notes.append("the frame's size is not known: movie_x and movie_y are those that the positions reach")
    most, far = hdf5.reached(spool, info)
    notes += far
    reached = [max(1, math.ceil(most[name] / p)) if spool.n_rows else 1 for name in ("y_um", "x_um")]
    height, width = info.frame_px or reached
    last = int(most["frame"]) + 1 if spool.n_rows else 1
    with hdf5.writing(part) as file:
        file.attrs["analysis_finished"], file.attrs["n_channels"], file.attrs["rows"] = 1, 1, spool.n_rows
        file.attrs["sa_type"], file.attrs["version"] = "Colocus", _VERSION
        file.attrs["movie_hash_value"], file.attrs["pixel_size"] = "", p * text.NM_PER_UM
        file.attrs["movie_x"], file.attrs["movie_y"] = int(width), int(height)
        file.attrs["movie_l"] = int(max(info.n_frames or 1, last))
        settings = f"<settings><pixel_size>{p * text.NM_PER_UM:.10g}</pixel_size></settings>"
        described = file.create_dataset("metadata.xml", (1,), h5py.string_dtype(), track_times=False)
        described[0] = settings
        for frame, rows in _by_frame(spool):
            group = file.create_group(f"fr_{frame}")
            group.attrs["dx"], group.attrs["dy"], group.attrs["dz"] = 0.0, 0.0, 0.0
            group.attrs["n_locs"] = rows.size
            for name, values in _columns(spool, rows, p):
                hdf5.dataset(group, name, values.shape, values.dtype)[()] = values
    return notes


def _by_frame(spool: hdf5.Spool) -> Iterator[tuple[int, NDArray]]:
    if not spool.n_rows:
        return
    rows = np.concatenate([block for _, block in spool.blocks()])
    rows = rows[np.argsort(rows["frame"], kind="stable")]
    frames, first = np.unique(rows["frame"], return_index=True)
    for frame, table in zip(frames, np.split(rows, first[1:]), strict=True):
        yield int(frame), table


def _columns(spool: hdf5.Spool, rows: NDArray, p: float) -> Iterator[tuple[str, NDArray]]:
    yield from (("x", rows["x_um"] / p - 0.5), ("y", rows["y_um"] / p - 0.5), ("z", rows["z_um"]))
    if spool.not_zero["channel"]:
        yield "category", rows["channel"].astype(np.int32)
    for ours in ("photons", "background", *_OURS, *spool.labels):
        field = ours if ours in COLUMNS else hdf5.field(ours)
        if not spool.known[field] or (ours == "score" and not spool.not_one):
            continue
        name, in_px = _NAMES.get(ours, (ours, False))
        yield name, rows[field] / (p if in_px else 1.0)


FORMAT = Format(
    name="storm-analysis",
    recognise=_recognise,
    read=_read,
    writer=partial(hdf5.SpoolWriter, write=_write),
    suffix=".hdf5",
    needs_pixel=True,
    keeps=lambda label: "/" not in label and keeps_any(*_TAKEN, *_OURS)(label),
)
