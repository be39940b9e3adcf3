"""Writing tables in HDF5: Picasso's (with its .yaml), DECODE's, and our own, which keeps every column exactly.

An HDF5 file is written in one go from rows that were collected first, so that its bytes depend on the rows alone,
not on the pieces they came in, and so that a column of which nothing is known can be left out.
"""

import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import yaml
from numpy.typing import NDArray

from localization.io.csv import half_pixel_um
from localization.io.hdf5 import OWN_NAME, OWN_VERSION, TableInfo
from localization.io.part import PartFile, cannot_write
from localization.types import COLUMNS, Localizations

_NM = 1000.0
_ROW = np.dtype([(name, "<i8" if name in ("frame", "channel") else "<f8") for name in COLUMNS])
_BLOCK_ROWS = 1 << 16
_IN_MEMORY = 1 << 26


class Spool:
    """Rows waiting to be written, in memory or in a nameless file beside the one to be."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))
        self.n_rows = 0
        self.known = dict.fromkeys(COLUMNS, 0)
        self.not_zero = dict.fromkeys(COLUMNS, False)
        self.not_one = False
        self.most = {name: -math.inf for name in ("frame", "x_um", "y_um")}

    def append(self, locs: Localizations) -> None:
        """Add the rows of a table."""
        rows = np.empty(locs.frame.size, _ROW)
        for name in COLUMNS:
            column = getattr(locs, name)
            rows[name] = column
            self.known[name] += int(np.isfinite(column).sum())
            self.not_zero[name] |= bool((column != 0).any())
            if name in self.most and column.size:
                self.most[name] = max(self.most[name], float(column.max()))
        self.not_one |= bool((locs.score != 1).any())
        self._file.write(rows.tobytes())
        self.n_rows += rows.size

    def blocks(self) -> Iterator[NDArray]:
        """The rows again, some at a time."""
        self._file.seek(0)
        while raw := self._file.read(_BLOCK_ROWS * _ROW.itemsize):
            yield np.frombuffer(raw, _ROW)

    def close(self) -> None:
        """Forget the rows."""
        self._file.close()


def write_own(part: PartFile, spool: Spool, info: TableInfo) -> list[str]:
    """Our own file: one float64 or int64 dataset per column, in um; nothing is rounded."""
    with _writing(part) as file:
        file.attrs["format"], file.attrs["version"] = OWN_NAME, OWN_VERSION
        file.attrs["units"] = "um, photons; frames from 0; x, y from the first pixel's outer corner"
        if info.pixel_um is not None:
            file.attrs["pixel_um"] = info.pixel_um
        columns = {name: _dataset(file, name, (spool.n_rows,), _ROW[name]) for name in COLUMNS}
        first = 0
        for rows in spool.blocks():
            for name, dataset in columns.items():
                dataset[first : first + rows.size] = rows[name]
            first += rows.size
    return []


def write_decode(part: PartFile, spool: Spool, info: TableInfo) -> list[str]:
    """DECODE's file: positions in px from the first pixel's centre, x along rows; empty where nothing is known."""
    half_pixel_um(info.pixel_um)
    p = info.pixel_um or 1.0
    n = spool.n_rows
    with _writing(part) as file:
        meta = file.create_group("meta")
        meta.attrs["xy_unit"], meta.attrs["px_size"] = "px", np.array([p * _NM, p * _NM], np.float32)
        file.create_group("decode").attrs["version"] = "0.10.0"
        data = file.create_group("data")
        lateral = any(spool.known[name] for name in ("sigma_x_um", "sigma_y_um", "sigma_z_um"))
        sizes = {"xyz": (n, 3), "xyz_sig": (n, 3) if lateral else None, "phot": (n,), "bg": (n,), "prob": (n,)}
        sizes |= dict.fromkeys(("xyz_cr", "phot_cr", "phot_sig", "bg_cr", "bg_sig"))
        made = {name: _dataset(data, name, size, np.dtype("<f4")) for name, size in sorted(sizes.items())}
        made |= {name: _dataset(data, name, (n,), np.dtype("<i8")) for name in ("frame_ix", "id")}
        first = 0
        for rows in spool.blocks():
            part_rows = slice(first, first + rows.size)
            made["xyz"][part_rows] = np.stack([rows["y_um"] / p - 0.5, rows["x_um"] / p - 0.5, rows["z_um"] * _NM], 1)
            if lateral:
                made["xyz_sig"][part_rows] = np.stack(
                    [rows["sigma_y_um"] / p, rows["sigma_x_um"] / p, rows["sigma_z_um"] * _NM], 1
                )
            for name, column in (("phot", "photons"), ("bg", "background"), ("prob", "score"), ("frame_ix", "frame")):
                made[name][part_rows] = rows[column]
            made["id"][part_rows] = -1
            first += rows.size
    return []


def write_picasso(part: PartFile, spool: Spool, info: TableInfo) -> list[str]:
    """Picasso's file: x, y and their precisions in px from the first pixel's centre, z in nm; and its .yaml."""
    half_pixel_um(info.pixel_um)
    p, n = info.pixel_um or 1.0, spool.n_rows
    flat = not spool.not_zero["z_um"]
    # file column -> ours, factor, shift. Picasso drops every row with a NaN in any column, so a column of which
    # nothing is known must not be there (picasso.lib.ensure_sanity)
    rules: dict[str, tuple[str, float, float]] = {"frame": ("frame", 1, 0)}
    rules |= {"x": ("x_um", 1 / p, -0.5), "y": ("y_um", 1 / p, -0.5)}
    optional = {"photons": ("photons", 1, 0), "bg": ("background", 1, 0)}
    optional |= {"lpx": ("sigma_x_um", 1 / p, 0), "lpy": ("sigma_y_um", 1 / p, 0)}
    optional |= {} if flat else {"z": ("z_um", _NM, 0), "lpz": ("sigma_z_um", _NM, 0)}
    rules |= {name: rule for name, rule in optional.items() if spool.known[rule[0]]}
    rules |= {"channel": ("channel", 1, 0)} if spool.not_zero["channel"] else {}
    rules |= {"score": ("score", 1, 0)} if spool.not_one and spool.known["score"] else {}
    notes, wanting = [], [name for name in ("photons", "lpx", "lpy") if name not in rules]
    if wanting and n:
        notes.append(f"nothing is known of {', '.join(wanting)}: some of Picasso's tools want them")
    types = {"frame": "<u4", "channel": "<i4"}
    row = np.dtype([(name, types.get(name, "<f4")) for name in rules])
    described = _picasso_info(spool, info, p, notes)
    dropped = 0
    side = PartFile(part.path.with_suffix(".yaml"))
    try:
        with _writing(part) as file:
            locs = _dataset(file, "locs", (n,), row)
            first = 0
            for rows in spool.blocks():
                block = np.empty(rows.size, row)
                for name, (column, factor, shift) in rules.items():
                    block[name] = rows[column] * factor + shift
                floats = [block[name] for name in row.names or () if block[name].dtype.kind == "f"]
                bad = ~np.isfinite(np.stack(floats)).all(axis=0) | (block["x"] < 0) | (block["y"] < 0)
                bad |= (block["x"] >= described["Width"]) | (block["y"] >= described["Height"])
                dropped += int(bad.sum())
                locs[first : first + rows.size] = block
                first += rows.size
            file.create_dataset("metadata", data=json.dumps([described]))
        with open(side.temporary, "w", encoding="utf-8") as text:
            yaml.safe_dump_all([described], text, default_flow_style=False)
        side.finish()
    except OSError as error:
        raise cannot_write(side.path, error) from error
    finally:
        side.discard()
    if dropped:
        notes.append(f"Picasso will drop {dropped} of {n} rows when it loads them: unknown values, or off its frame")
    return notes


def _picasso_info(spool: Spool, info: TableInfo, p: float, notes: list[str]) -> dict[str, Any]:
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
        "Pixelsize": float(p * _NM),
    }


WRITERS = {"colocus": write_own, "decode": write_decode, "picasso": write_picasso}


class _writing:
    """An HDF5 file open for writing under its temporary name; the system's errors become ours."""

    def __init__(self, part: PartFile) -> None:
        self._part = part

    def __enter__(self) -> h5py.File:
        try:
            self._file = h5py.File(self._part.temporary, "w", track_order=False)
        except OSError as error:
            raise cannot_write(self._part.path, error) from error
        return self._file

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError) as failure:
            raise cannot_write(self._part.path, failure) from failure
        if isinstance(error, OSError | RuntimeError):
            raise cannot_write(self._part.path, error) from error


def _dataset(group: Any, name: str, shape: tuple[int, ...] | None, dtype: np.dtype) -> Any:
    # without times in the header the same rows give the same bytes
    if shape is None:
        return group.create_dataset(name, data=h5py.Empty(dtype))
    return group.create_dataset(name, shape=shape, dtype=dtype, track_times=False)
