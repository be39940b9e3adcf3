"""What a table format must answer: `Format`, of which every file in `localization/io/formats` makes one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from localization.io.dialect import encoding_of
from localization.io.extras import keeps_none
from localization.io.part import PartFile
from localization.types import COLUMNS, LocalizationError, Localizations, MovieFacts

_OLE2 = b"\xd0\xcf\x11\xe0"
HDF5_MAGIC, ZIP_MAGIC = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"

Origin = Literal["corner", "centre"]


@dataclass(frozen=True)
class TableInfo:
    """What is known of a table beside its rows: facts of its movie (`MovieFacts`), and where it counts from.

    `z_zero_um` is the depth that a format counts from which counts from the lower end of its range (DeepSTORM3D).
    `frames_from` (0, 1) and `origin` are what the user says of a table of text: the number of its first frame, and
    whether positions count from the first pixel's outer corner or from its centre.
    """

    pixel_um: float | None = None
    frame_px: tuple[int, int] | None = None
    n_frames: int | None = None
    z_zero_um: float = 0.0
    exposure_s: float | None = None
    interval_s: float | None = None
    frames_from: int | None = None
    origin: Origin | None = None

    @property
    def movie(self) -> MovieFacts:
        """What is known of the movie."""
        return MovieFacts(self.pixel_um, self.frame_px, self.n_frames, self.exposure_s, self.interval_s)


Content = tuple[Localizations, list[str], TableInfo]  # of a file: rows, notes, what is known beside them


class Head:
    """The beginning of a file, by which formats recognise it. Raises LocalizationError for a file that is not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self.magic = file.read(8)
        except OSError as error:
            raise LocalizationError(f"{path}: cannot read ({error.strerror}); check the file") from error

    @property
    def is_text(self) -> bool:
        """Whether the file is neither HDF5 nor zip."""
        return not self.magic.startswith((HDF5_MAGIC, ZIP_MAGIC))

    @cached_property
    def first_line(self) -> str:
        """The first line of a text file; "" for HDF5 and zip. Raises LocalizationError for other binary files."""
        if not self.is_text:
            return ""
        try:
            with open(self.path, "rb") as file:
                start = file.read(1 << 16)
            encoding = encoding_of(start)
            if encoding == "utf-16":
                line = start[: len(start) // 2 * 2].decode(encoding, errors="replace").partition("\n")[0]
            else:
                line = start.partition(b"\n")[0].decode(encoding)
        except UnicodeDecodeError as error:
            raise not_text(self.path) from error
        if "\0" in line:
            raise not_text(self.path)
        return line


def not_text(path: Path) -> LocalizationError:
    """Make the error for a binary file where a table of text was expected."""
    with open(path, "rb") as file:
        if file.read(4) == _OLE2:
            return LocalizationError(f"{path}: a workbook of Excel; save the sheet as CSV, or as text with tabs")
    return LocalizationError(f"{path}: not a text file; give a localization table (docs/formats.md)")


def other_pixel(said_nm: Any, given_um: float | None) -> list[str]:
    """Say that the pixel given is not the file's own.

    >>> other_pixel(100.0, 0.11)
    ['the file says a pixel of 100 nm: 110 nm is taken, as given; leave --pixel out if the file is right']
    """
    try:
        said_um = float(said_nm) / 1000.0
    except (TypeError, ValueError):
        return []
    if given_um is None or not said_um > 0 or math.isclose(said_um, given_um, rel_tol=1e-3):
        return []
    return [
        f"the file says a pixel of {said_um * 1000.0:g} nm: {given_um * 1000.0:g} nm is taken, as given; leave --pixel "
        "out if the file is right"
    ]


def depths(z_um: NDArray[np.float64], label: str, notes: list[str]) -> NDArray[np.float64]:
    """Take a column of z that is NaN throughout for none: z is 0, as in a table without it, and a note says so.

    >>> depths(np.array([np.nan]), "z", notes := []), notes
    (array([0.]), ["column 'z' holds no depth: z is 0"])
    """
    if not z_um.size or not np.isnan(z_um).all():
        return z_um
    notes.append(f"column '{label}' holds no depth: z is 0")
    return np.zeros(z_um.size)


class RowWriter(Protocol):
    """Writes the rows of one table under a temporary name."""

    def append(self, locs: Localizations) -> None:
        """Add rows."""
        ...

    def finish(self) -> list[str]:
        """Complete the file; returns notes for the user."""
        ...

    def close(self) -> None:
        """Free files and memory, whether finished or not."""
        ...


@dataclass(frozen=True)
class Format:
    """A table format: how it is recognised, read and written, and what it can hold.

    `recognise` looks at the beginning of a file; `read` takes a path and what the user knows, and returns rows, notes
    and what is known with the file. `writer` (None: read only) begins a file under its temporary name. `suffix` is
    the usual ending of a written file; with `owns_suffix` that ending alone asks for the format (by the program's
    name, `title`). `holds` are the columns of `Localizations` that a file keeps, `keeps` says whether it keeps an extra
    column of a label; with `needs_pixel` it counts in pixels and cannot be written without their size. `first_frame` is
    the number that a written file gives the first frame.
    """

    name: str
    recognise: Callable[[Head], bool]
    read: Callable[[Path, TableInfo], Content]
    writer: Callable[[PartFile, TableInfo], RowWriter] | None = None
    suffix: str = ""
    owns_suffix: bool = False
    title: str = ""
    holds: tuple[str, ...] = COLUMNS
    needs_pixel: bool = False
    keeps: Callable[[str], bool] = keeps_none
    as_told: bool = False
    first_frame: int = 0
