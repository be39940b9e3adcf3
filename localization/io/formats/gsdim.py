"""Leica SR GSD's event list, text (.ascii) or binary (.bin with .bin.desc beside it): px, photons; read only.

The first line, or the .desc, names each column with its type in round brackets: stackID, frameID, eventID, x0, y0,
z0, photon_count and more. x0 and y0 are camera pixels, so that the pixel has to be given. A list without z has z0 0
or beyond 1e15, which is no position. Frames count within a stack: those of several stacks follow one another.

Source: column lists in PALMsiever's `Leica_GSD` format and MIiSR's `fileConv.m`; types, .desc, pixels and the broken
z in smlmvis 0.1.0 (`gsdreader.py`). Checked by smlmvis 0.1.0 on text and binary lists. No file of Leica's was at
hand. Not published, and taken as it comes, with a note: where the first pixel begins, from where frames count, and
the unit of z0 (its values, some hundreds, are read as nm).
"""

import itertools
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io import text
from localization.io.table_format import HDF5_MAGIC, ZIP_MAGIC, Content, Format, Head, TableInfo
from localization.types import LocalizationError, make_localizations, select

_TYPES = {"UINT32": "<u4", "INT32": "<i4", "FLOAT": "<f4", "DOUBLE": "<f8", "UINT16": "<u2", "INT16": "<i2"}
_WORD = re.compile(r"\s*#?\s*([^(,]+?)\s*\(\s*(\w+)\s*\)\s*")
_MOST_Z_NM = 1e6  # a millimetre: what lies beyond is no position
_AXES = (("x0", "x"), ("y0", "y"), ("z0", "z"))
_USED = ("stackid", "frameid", "eventid", "x0", "y0", "z0", "photon")


def _recognise(head: Head) -> bool:
    if head.magic.startswith((HDF5_MAGIC, ZIP_MAGIC)):
        return False
    described = _description(head.path)
    if described is not None:
        return True
    names = {name.lstrip("# ") for name in text.labels_in(head)} if _is_text(head) else set()
    return {"frameid", "eventid"} <= names


def _is_text(head: Head) -> bool:
    try:
        return bool(head.first_line)
    except LocalizationError:
        return False


def _description(path: Path) -> list[tuple[str, str]] | None:
    """Read names and types of the columns of a binary list from the file beside it; None where there is none."""
    side = path.with_name(f"{path.name}.desc")
    if not side.is_file():
        return None
    try:
        words = side.read_text(encoding="latin-1").splitlines()[0].split(",")
    except (OSError, IndexError):
        return None
    found = [_WORD.fullmatch(word) for word in words if word.strip()]
    if not found or any(match is None or match[2].upper() not in _TYPES for match in found):
        return None
    return [(match[1], _TYPES[match[2].upper()]) for match in found if match]


def _read(path: Path, info: TableInfo) -> Content:
    if info.pixel_um is None:
        raise LocalizationError(f"{path}: counts in pixels and does not say their size; give pixel_um (--pixel NM)")
    text.half_pixel_um(info.pixel_um)
    described = _description(path)
    notes: list[str] = []
    columns = _text(path, notes) if described is None else _binary(path, described)
    lower = {name.lower(): values for name, values in columns.items()}
    x, y, z = (next((lower[name] for name in names if name in lower), None) for names in _AXES)
    if "frameid" not in lower or x is None or y is None:
        raise LocalizationError(f"{path}: no column frameID, x0 or y0; export the event list again")
    notes.append(
        "Leica's list does not say where its first pixel begins nor from where its frames count: taken as they are"
    )
    frame, told = _frames(lower)
    photons = next((values for name, values in lower.items() if name.startswith("photon")), np.full(frame.size, np.nan))
    has_z = np.abs(z) < _MOST_Z_NM if z is not None else np.zeros(frame.size, bool)
    if z is None or not z[has_z].any():
        z, has_z = np.zeros(frame.size), np.ones(frame.size, bool)
    else:
        notes.append("z0 is read as nm: its unit is not published")
    if not has_z.all():
        notes.append(f"{int((~has_z).sum())} of {has_z.size} rows have no z (beyond {_MOST_Z_NM:g} nm): left out")
    # stackID has done its part where there is one stack, or frames were numbered over all of them
    extras = {name: values for name, values in columns.items() if not name.lower().startswith(_USED)}
    locs = make_localizations(
        frame, x * info.pixel_um, y * info.pixel_um, z / text.NM_PER_UM, photons=photons, extras=extras
    )
    return select(locs, has_z), notes + told, info


def _frames(columns: dict[str, NDArray]) -> tuple[NDArray, list[str]]:
    """Number the frames of several stacks one after the other, where they count anew in each."""
    frame = columns["frameid"]
    stack = columns.get("stackid", np.zeros(frame.size))
    stacks = np.unique(stack)
    spans = [(frame[stack == one].min(), frame[stack == one].max()) for one in stacks]
    if all(before[1] <= after[0] for before, after in itertools.pairwise(spans)):
        return frame, []
    first = np.cumsum([0.0, *(last + 1 for _, last in spans[:-1])])
    return frame + first[np.searchsorted(stacks, stack)], [
        f"{len(stacks)} stacks, each of which counts its frames anew: they follow one another"
    ]


def _text(path: Path, notes: list[str]) -> dict[str, NDArray]:
    table = text.read(path)
    notes += table.notes
    columns = {}
    for k, label in enumerate(table.labels):
        match = _WORD.fullmatch(label)
        name = match[1] if match else label.lstrip("# ")
        counts = name.lower() in ("stackid", "frameid")
        columns[name] = text.numbers(path, label, table.rows.iloc[:, k], finite=counts)
    return columns


def _binary(path: Path, described: list[tuple[str, str]]) -> dict[str, NDArray]:
    row = np.dtype([(str(k), kind) for k, (_, kind) in enumerate(described)])
    size = path.stat().st_size
    if size % row.itemsize:
        raise LocalizationError(f"{path}: {size} bytes are no whole number of rows of {row.itemsize}; copy it again")
    rows = np.fromfile(path, row)
    return {name: rows[str(k)].astype(np.float64) for k, (name, _) in enumerate(described)}


FORMAT = Format(name="gsdim", recognise=_recognise, read=_read)
