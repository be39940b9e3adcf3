"""Tables in HDF5: opening, whole datasets, and rows that are collected before they are written.

An HDF5 file is written in one go from rows that were collected first, so that its bytes depend on the rows alone,
not on the pieces they came in, and so that a column of which nothing is known can be left out.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from localization.extent import usual_span
from localization.io.hdf5_heap import heaps_are_sound
from localization.io.part import PartFile, cannot_write
from localization.io.table_format import HDF5_MAGIC, Head, TableInfo
from localization.types import COLUMNS, LocalizationError, Localizations, one_line

ROW = np.dtype([(name, "<i8" if name in ("frame", "channel") else "<f8") for name in COLUMNS])
_BLOCK_ROWS = 1 << 16
_SAMPLED_ROWS = 1_000_000
_IN_MEMORY = 1 << 26


def names_in(head: Head) -> list[str]:
    """Name what lies at the root of an HDF5 file; nothing for another file. Raises where it is damaged."""
    if head.magic != HDF5_MAGIC:
        return []
    with Reading(head.path) as file:
        names: list[Any] = list(file)  # bytes, where a damaged name is no text
        return [name.decode("latin-1") if isinstance(name, bytes) else name for name in names]


class Reading:
    """An HDF5 file open for reading; what the library raises inside a damaged one becomes our error."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> h5py.File:
        try:
            if not heaps_are_sound(self._path):
                raise ValueError("texts in it are broken")
            self._file = h5py.File(self._path, "r")
        except Exception as error:  # the library's errors for a damaged file are of many kinds
            raise self._damaged(error) from error
        return self._file

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._file.close()
        if isinstance(error, Exception) and not isinstance(error, LocalizationError):
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> LocalizationError:
        return LocalizationError(f"{self._path}: cannot be read ({one_line(error)}); copy or export it again")


def array(path: Path, group: Any, name: str) -> NDArray | None:
    """Read a whole dataset; None where it is absent or empty by declaration."""
    if name not in group:
        return None
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset):
        raise LocalizationError(f"{path}: {name} is a group, not a table; export it again")
    if dataset.shape is None:
        return None
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > 1 << 20 and dataset.nbytes > 1100 * stored:  # more than any compression leaves
        raise LocalizationError(f"{path}: {name} announces {dataset.nbytes} bytes and holds {stored}; copy it again")
    return np.asarray(dataset[()])


def field(label: str) -> str:
    """Name the field of a spool's rows that holds an extra column, so that it cannot be taken for one of ours."""
    return f"extra {label}"


class Spool:
    """Rows waiting to be written, in memory or in a nameless file beside the one to be.

    Pieces may differ in their extra columns: `labels` has all of them, in the order in which they first came; in the
    rows of a piece without one it is NaN. `known` counts the finite values of a column, of an extra one under
    `field(label)`; `whole` says whether all of an extra's known values are whole numbers of 32 bits.
    """

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder))
        self._runs: list[tuple[tuple[str, ...], int]] = []
        self.n_rows = 0
        self.labels: dict[str, None] = {}
        self.known = dict.fromkeys(COLUMNS, 0)
        self.whole: dict[str, bool] = {}
        self.not_zero = dict.fromkeys(COLUMNS, False)
        self.not_one = False
        self.most = {name: -math.inf for name in ("frame", "x_um", "y_um")}

    def append(self, locs: Localizations) -> None:
        """Add the rows of a table."""
        rows = np.empty(locs.frame.size, _row(locs.extras))
        for label, column in locs.extras.items():
            rows[field(label)] = column
            finite = column[np.isfinite(column)]
            self.labels[label] = None
            self.known[field(label)] = self.known.get(field(label), 0) + finite.size
            whole = bool(((finite == np.round(finite)) & (np.abs(finite) < 2**31)).all())
            self.whole[label] = self.whole.get(label, True) and whole
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
        labels = tuple(locs.extras)
        before = self._runs.pop()[1] if self._runs and self._runs[-1][0] == labels else 0
        self._runs.append((labels, before + rows.size))

    def blocks(self) -> Iterator[tuple[slice, NDArray]]:
        """Give the rows again, some at a time, each with its place in the table."""
        self._file.seek(0)
        first = 0
        everything = _row(self.labels)
        for labels, size in self._runs:
            held = _row(labels)
            for begin in range(0, size, _BLOCK_ROWS):
                n_rows = min(_BLOCK_ROWS, size - begin)
                rows = np.frombuffer(self._file.read(n_rows * held.itemsize), held)
                if held != everything:
                    narrow, rows = rows, np.empty(n_rows, everything)
                    for name in everything.names or ():
                        rows[name] = narrow[name] if name in (held.names or ()) else np.nan
                yield slice(first, first + n_rows), rows
                first += n_rows

    def close(self) -> None:
        """Forget the rows."""
        self._file.close()


def _row(labels: Iterable[str]) -> np.dtype:
    return np.dtype([*ROW.descr, *((field(label), "<f8") for label in labels)])


def reached(spool: Spool, info: TableInfo) -> tuple[dict[str, float], list[str]]:
    """Find how far columns reach, but for rows far from all others where the movie's size is to follow from it.

    Programs make pictures as wide as that size. Returns the largest values, and notes on such rows.
    """
    known = (("frame",) if info.n_frames else ()) + (("x_um", "y_um") if info.frame_px else ())
    names = [name for name in spool.most if name not in known]
    step = max(1, -(-spool.n_rows // _SAMPLED_ROWS))
    most, notes = dict(spool.most), []
    sampled = {name: [np.array([most[name]])] for name in names}
    for _, rows in spool.blocks():
        for name in names:
            sampled[name].append(rows[name][::step])
    for name, parts in sampled.items():
        span = usual_span(np.concatenate(parts), name)
        if span is not None and most[name] > span[1]:
            inside = (rows[name][rows[name] <= span[1]] for _, rows in spool.blocks())
            most[name] = max(float(part.max()) for part in inside if part.size)
            criterion = "frames" if name == "frame" else name
            notes.append(
                f"a row far from all others has {name} = {spool.most[name]:g}: the movie's written size ends before; "
                f"drop it first (colocus filter, {criterion}=[{span[0]:.12g},{span[1]:.12g}])"
            )
    return most, notes


class SpoolWriter:
    """Collects rows, and has `write(part, spool, info)` write them all at the end; that returns notes."""

    def __init__(
        self, part: PartFile, info: TableInfo, *, write: Callable[[PartFile, Spool, TableInfo], list[str]]
    ) -> None:
        self._part, self._info, self._write = part, info, write
        self._spool = Spool(part.path.parent)
        self.append, self.close = self._spool.append, self._spool.close

    def finish(self) -> list[str]:
        """Write the file."""
        return self._write(self._part, self._spool, self._info)


class writing:
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


def dataset(group: Any, name: str, shape: tuple[int, ...] | None, dtype: np.dtype) -> Any:
    # without times in the header the same rows give the same bytes
    if shape is None:
        return group.create_dataset(name, data=h5py.Empty(dtype))
    return group.create_dataset(name, shape=shape, dtype=dtype, track_times=False)
