"""COMET's array: n rows of x, y, z (nm) and frame, as NumPy's .npy, or as text by name.

`comet_run_kd` of comet-smlm takes such an array, and returns the drift and the corrected array in the same form.
COMET's units are nm, and it takes frames as they come: written here are frames from 0 and positions from the outer
corner of the first pixel, and so they are read. Text of four columns without a header is read with `format="comet"`,
which alone cannot be told from other tables. The drift of COMET (frames, 4), whose rows are to be taken off, counts
frames as its input did.

Source: `comet/core/drift_optimizer.py` and `io_utils.py` of comet-smlm 1.2.0. Checked by COMET itself: on a list
written here its correction and `colocus drift --apply` of its drift agree to 1e-12 nm.
"""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io import hdf5, text
from localization.io.lines import NO_END, ends_with_a_line
from localization.io.part import PartFile, cannot_write
from localization.io.table_format import Content, Format, Head, TableInfo
from localization.types import LocalizationError, make_localizations, one_line

_MAGIC = b"\x93NUMPY"
_HOLDS = ("frame", "x_um", "y_um", "z_um")
_LABELS = ["x [nm]", "y [nm]", "z [nm]", "frame"]


def _recognise(head: Head) -> bool:
    return head.magic.startswith(_MAGIC)


def _read(path: Path, info: TableInfo) -> Content:
    rows = _array(path) if Head(path).magic.startswith(_MAGIC) else _text(path)
    x, y, z, frame = rows.T
    locs = make_localizations(frame, *(axis / text.NM_PER_UM for axis in (x, y, z)))
    note = "x, y and frames are taken as they are: an array does not say where they begin; 0 is the first frame"
    cut = not Head(path).magic.startswith(_MAGIC) and not ends_with_a_line(path)
    return locs, [note, NO_END] if cut else [note], info


def _array(path: Path) -> NDArray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an old header
            held = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, kind = held.shape, held.dtype.kind
        rows = np.array(held, dtype=np.float64) if len(shape) == 2 and shape[1] == 4 and kind in "iuf" else None
    except Exception as error:  # numpy's errors for a damaged file are of many kinds
        raise LocalizationError(f"{path}: cannot be read ({one_line(error)}); save the array again") from error
    if rows is None:
        raise LocalizationError(
            f"{path}: an array of {shape}, a localization table is (n, 4) numbers: x, y, z in nm and frame"
        )
    return rows


def _text(path: Path) -> NDArray:
    with open(path, "rb") as file:
        first = file.readline(1 << 16).decode("latin-1")
    separator = next((mark for mark in (",", "\t", ";") if mark in first), " ")
    table = text.read(path, separator=separator, comment="#", labels=list(_LABELS))
    return np.stack([text.numbers(path, label, table.rows.iloc[:, k]) for k, label in enumerate(_LABELS)], axis=1)


def _write(part: PartFile, spool: hdf5.Spool, info: TableInfo) -> list[str]:
    try:
        with open(part.temporary, "wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<f8", "fortran_order": False, "shape": (spool.n_rows, 4)}
            )
            for _, rows in spool.blocks():
                lengths = [rows[name] * text.NM_PER_UM for name in ("x_um", "y_um", "z_um")]
                file.write(np.stack([*lengths, rows["frame"].astype(np.float64)], axis=1).astype("<f8").tobytes())
    except OSError as error:
        raise cannot_write(part.path, error) from error
    return []


FORMAT = Format(
    name="comet",
    title="COMET",
    recognise=_recognise,
    read=_read,
    writer=partial(hdf5.SpoolWriter, write=_write),
    suffix=".npy",
    owns_suffix=True,
    holds=_HOLDS,
)
