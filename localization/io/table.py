"""Localization tables in files of every known format: recognised by content, written by name or suffix.

Units, axes, half pixels and frame numbers are converted in the files of the formats (`localization/io/formats`),
nowhere else; docs/formats.md has them in one table.
"""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from localization.io import formats
from localization.io.part import PartFile, cannot_write
from localization.io.table_format import Origin, RowWriter, TableInfo
from localization.io.text import half_pixel_um
from localization.types import COLUMNS, FINITE, LocalizationError, Localizations, without_false_sigmas


@dataclass(frozen=True, eq=False)
class TableFile:
    """A table with what its file says beside it: format, notes on what was left out or taken for granted, pixel,
    frame size (height, width) and number of frames; None where the file does not say."""

    path: Path
    format: str
    locs: Localizations
    notes: tuple[str, ...] = ()
    pixel_um: float | None = None
    frame_px: tuple[int, int] | None = None
    n_frames: int | None = None


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    pixel_um: float | None = None,
    z_zero_um: float = 0.0,
    frames_from: int | None = None,
    origin: Origin | None = None,
) -> Localizations:
    """Read a localization table of any known format. `read_file` also gives what the file says beside it.

    The format is found from the content, unless `format` names it (`localization.io.FORMATS`). `pixel_um` is needed
    where positions are in pixels, or counted from the first pixel's centre, and the file does not name the pixel; it
    goes before what the file says. `z_zero_um` is added to z in DeepSTORM3D's tables, which count from the lower end
    of their range. `frames_from` (0, 1) and `origin` ("corner", "centre" of the first pixel) say how a table of text
    counts whose program counts otherwise. Raises LocalizationError, naming file, column and line, for a missing,
    empty, damaged or foreign file, a missing column, an unknown unit, and a value that is not a number where one is
    needed.

    >>> import tempfile, os
    >>> from localization import make_localizations
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = write(os.path.join(folder, "locs.csv"), make_localizations([7], [1.0], [2.0], [0.5]))
    ...     read(os.path.join(folder, "locs.csv")).frame
    array([7])
    """
    return read_file(
        path, format=format, pixel_um=pixel_um, z_zero_um=z_zero_um, frames_from=frames_from, origin=origin
    ).locs


def read_file(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    pixel_um: float | None = None,
    z_zero_um: float = 0.0,
    frames_from: int | None = None,
    origin: Origin | None = None,
) -> TableFile:
    """Read a table together with its format, notes, pixel and frame size. Arguments and errors as in `read`."""
    path = Path(path)
    if path.is_dir():
        raise LocalizationError(f"{path}: is a folder; give the file of the table itself")
    if not path.exists():
        raise LocalizationError(f"{path}: no such file; check the name")
    if pixel_um is not None:
        half_pixel_um(pixel_um)
    if not math.isfinite(z_zero_um):
        raise LocalizationError(f"z_zero_um = {z_zero_um} must be a number of um")
    if frames_from not in (None, 0, 1) or origin not in (None, "corner", "centre"):
        raise LocalizationError(f"frames_from = {frames_from} must be 0 or 1, origin = {origin} 'corner' or 'centre'")
    found = formats.recognise(path) if format is None else formats.find(format)
    if (frames_from, origin) != (None, None) and not found.as_told:
        raise LocalizationError(f"{path}: the format {found.name} says how it counts; leave out frames_from and origin")
    told = TableInfo(pixel_um, z_zero_um=z_zero_um, frames_from=frames_from, origin=origin)
    try:
        locs, notes, info = found.read(path, told)
    except LocalizationError as error:
        if str(error).startswith(str(path)):
            raise
        raise LocalizationError(f"{path}: {error}") from error
    locs, n_false = without_false_sigmas(replace(locs, movie=info.movie))
    notes = [*notes, *_false_sigmas(n_false)]
    return TableFile(path, found.name, locs, tuple(notes), info.pixel_um, info.frame_px, info.n_frames)


def _false_sigmas(n_rows: int) -> list[str]:
    return [f"uncertainties that are infinite, zero or negative, in {n_rows} rows: unknown"] if n_rows else []


class TableWriter:
    """Writes a table piece by piece under a temporary name, and gives it its name at the very end.

    Use it as a context manager; `append` adds rows. The format follows from the name (.csv ThunderSTORM, .hdf5
    Picasso, .colocus.h5 our own exact one) or from `format`. `pixel_um` is needed by picasso and decode;
    `frame_px` (height, width) and `n_frames` go into Picasso's description. What is not given is taken from the
    `movie` of the first rows. `notes` says, when the block is left, what the format could not hold. The bytes depend
    on the rows alone, not on the pieces they came in. An extra column that one piece lacks is unknown in its rows.

    When the block ends by an exception, or the disk is full, the temporary file is removed and whatever stood at
    `path` before is untouched. Raises LocalizationError when the folder is missing or cannot be written, for
    channels other than 0 in a format without channels, for a position that is not finite, and for pieces from movies
    of different pixels or sizes.

    >>> import tempfile, os
    >>> from localization import make_localizations
    >>> with tempfile.TemporaryDirectory() as folder, TableWriter(os.path.join(folder, "locs.csv")) as writer:
    ...     writer.append(make_localizations([0], [1.0], [2.0], [0.5]))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        pixel_um: float | None = None,
        frame_px: tuple[int, int] | None = None,
        n_frames: int | None = None,
        z_zero_um: float = 0.0,
    ) -> None:
        self._path = Path(path)
        if self._path.is_dir():
            raise LocalizationError(f"{self._path}: is a folder; give the name of a file to write")
        self._format = formats.named(self._path) if format is None else formats.find(format, to_write=True)
        self.format = self._format.name
        if pixel_um is not None:
            half_pixel_um(pixel_um)
        if frame_px is not None and (len(frame_px) != 2 or min(frame_px) < 1):
            raise LocalizationError(f"frame_px = {frame_px} must be height and width in pixels")
        self.notes: tuple[str, ...] = ()
        self._lost: dict[str, None] = {}
        self._info = TableInfo(pixel_um, frame_px, n_frames, z_zero_um)
        self._asked = {name for name in ("pixel_um", "frame_px", "n_frames") if getattr(self._info, name) is not None}
        self._part: PartFile | None = PartFile(self._path)
        self._rows: RowWriter | None = None
        self._n_rows = self._n_false = 0

    def append(self, locs: Localizations) -> None:
        """Add the rows of a table; ids run on from the last piece."""
        if self._part is None:
            raise LocalizationError(f"{self._path}: the writer is closed; open a new one")
        self._check_positions(locs)
        locs, n_false = without_false_sigmas(locs)
        self._n_false += n_false
        lost = self._see_what_is_lost(locs)
        if self._rows is None:
            known = {name: fact for name, fact in vars(self._info).items() if fact is not None}
            self._info = TableInfo(**(vars(locs.movie) | known))
        self._check_movie(locs)
        kept = {label: column for label, column in locs.extras.items() if label not in lost}
        try:
            self._begun(self._part).append(replace(locs, extras=kept))
        except OSError as error:
            self._discard()
            raise cannot_write(self._path, error) from error
        self._n_rows += locs.frame.size

    def _begun(self, part: PartFile) -> RowWriter:
        if self._rows is None:
            if self._format.needs_pixel and self._info.pixel_um is None:
                raise LocalizationError(
                    f"{self._path}: the format {self.format} counts in pixels; give pixel_um (--pixel NM)"
                )
            assert self._format.writer is not None  # `find` and `named` give formats that can be written
            self._rows = self._format.writer(part, self._info)
        return self._rows

    def _check_positions(self, locs: Localizations) -> None:
        for name in FINITE:
            column = getattr(locs, name)
            if not np.isfinite(column).all():
                row = int(np.flatnonzero(~np.isfinite(column))[0])
                raise LocalizationError(
                    f"{self._path}: {name} of row {self._n_rows + row} is {column[row]}, which no table may hold; "
                    "drop such rows, and report the command that made them"
                )

    def _check_movie(self, locs: Localizations) -> None:
        for name in ("pixel_um", "frame_px", "n_frames"):
            one, other = getattr(self._info, name), getattr(locs.movie, name)
            if name not in self._asked and None not in (one, other) and one != other:
                raise LocalizationError(
                    f"{self._path}: rows of different movies, {name} = {one} and {other}; write them apart, "
                    f"or give {name}"
                )

    def _see_what_is_lost(self, locs: Localizations) -> set[str]:
        for name in COLUMNS:
            if name in self._format.holds:
                continue
            column = getattr(locs, name)
            if name == "channel" and column.any():
                others = [f.name for f in formats.FORMATS.values() if f.writer is not None and name in f.holds]
                raise LocalizationError(
                    f"{self._path}: the format {self.format} has no channel; write a file for each channel, or "
                    f"choose {formats.either(others)}"
                )
            if name != "channel" and (column != 1 if name == "score" else np.isfinite(column)).any():
                self._lost[name] = None
        extras = {label for label in locs.extras if not self._format.keeps(label)}
        self._lost |= {
            label: None for label in locs.extras if label in extras and np.isfinite(locs.extras[label]).any()
        }
        return extras

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or self._part is None:
            self._discard()
            return
        notes = [f"the format {self.format} holds no {', '.join(self._lost)}: left out"] if self._lost else []
        notes += _false_sigmas(self._n_false)
        try:
            notes += self._begun(self._part).finish()
            self._part.finish()
        except OSError as failure:
            raise cannot_write(self._path, failure) from failure
        finally:
            self._discard()
        self.notes = tuple(notes)

    def _discard(self) -> None:
        try:
            if self._rows is not None:
                self._rows.close()
        except OSError:
            pass  # closing flushes, which fails again on a full disk; the file goes anyway
        self._rows = None
        if self._part is not None:
            self._part.discard()
        self._part = None


def write(
    path: str | os.PathLike[str],
    locs: Localizations,
    *,
    format: str | None = None,
    pixel_um: float | None = None,
    frame_px: tuple[int, int] | None = None,
    n_frames: int | None = None,
    z_zero_um: float = 0.0,
) -> tuple[str, ...]:
    """Write a table; the file appears whole or not at all. Returns notes on what the format cannot hold.

    Arguments and errors as for `TableWriter`.

    >>> import tempfile, os
    >>> from localization import make_localizations
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     locs = make_localizations([0], [1.0], [2.0], [0.5], photons=900.0, background=7.0)
    ...     write(os.path.join(folder, "locs.csv"), locs, format="challenge")
    ('the format challenge holds no background: left out',)
    """
    with TableWriter(
        path, format=format, pixel_um=pixel_um, frame_px=frame_px, n_frames=n_frames, z_zero_um=z_zero_um
    ) as writer:
        writer.append(locs)
    return writer.notes
