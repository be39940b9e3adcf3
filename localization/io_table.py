"""Localization tables in files: ThunderSTORM's CSV, written whole or in pieces, and read back.

The file holds nanometres, frames that count from 1, and positions with the first pixel's centre at half a
pixel, which is our own origin (the outer corner of the first pixel): only the units and the frame number
change.
"""

import csv
import os
import re
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import pandas as pd

from localization.types import LocalizationError, Localizations, make_localizations

_NM_PER_UM = 1000.0
# What the file's columns are called, and the decimals that are written: 1 pm is far below any precision.
_DECIMALS = {
    "x [nm]": 3,
    "y [nm]": 3,
    "z [nm]": 3,
    "intensity [photon]": 3,
    "offset [photon]": 3,
    "uncertainty_xy [nm]": 3,
    "uncertainty_z [nm]": 3,
    "score": 6,
}
THUNDERSTORM_HEADER = ("id", "frame", *_DECIMALS)

_LENGTH_UM = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0}
_LIGHT = {"photon": 1.0, "photons": 1.0}
_NO_UNIT = {None: 1.0}
# file column -> (our column, units that are understood with their factor)
_READABLE = {
    "frame": ("frame", _NO_UNIT),
    "x": ("x_um", _LENGTH_UM),
    "y": ("y_um", _LENGTH_UM),
    "z": ("z_um", _LENGTH_UM),
    "intensity": ("photons", _LIGHT),
    "offset": ("background", _LIGHT),
    "uncertainty": ("sigma_xy_um", _LENGTH_UM),
    "uncertainty_xy": ("sigma_xy_um", _LENGTH_UM),
    "uncertainty_z": ("sigma_z_um", _LENGTH_UM),
    "score": ("score", _NO_UNIT),
}
_FINITE = ("frame", "x_um", "y_um", "z_um")


class TableWriter:
    """Writes a ThunderSTORM CSV piece by piece under a temporary name, and gives it its name at the very end.

    Use it as a context manager; `append` adds a table. When the block ends by an exception, or the disk is
    full, the temporary file is removed and whatever stood at `path` before is untouched. Raises
    LocalizationError when the folder is missing or cannot be written, and for channels other than 0, which
    the format cannot hold.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder, TableWriter(os.path.join(folder, "locs.csv")) as writer:
    ...     writer.append(make_localizations([0], [1.0], [2.0], [0.5]))
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self._rows = 0
        self._file: IO[str] | None = None
        if self._path.is_dir():
            raise LocalizationError(f"{self._path}: is a folder; give the name of a file to write")
        try:
            self._file = open(self._temporary, "w", encoding="utf-8", newline="")
            self._file.write(",".join(f'"{name}"' for name in THUNDERSTORM_HEADER) + "\n")
        except OSError as error:
            self._discard()
            raise self._cannot_write(error) from error

    def append(self, locs: Localizations) -> None:
        """Add the rows of a table; ids run on from the last piece."""
        if self._file is None:
            raise LocalizationError(f"{self._path}: the writer is closed; open a new one")
        if locs.channel.any():
            raise LocalizationError(f"{self._path}: a ThunderSTORM table has no channel; write a file for each channel")
        try:
            _thunderstorm_frame(locs, self._rows).to_csv(self._file, header=False, index=False, na_rep="NaN")
        except OSError as error:
            self._discard()
            raise self._cannot_write(error) from error
        self._rows += locs.frame.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or self._file is None:
            self._discard()
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())  # a full disk must show before the old file is replaced
            self._file.close()
            os.replace(self._temporary, self._path)
        except OSError as failure:
            self._discard()
            raise self._cannot_write(failure) from failure
        self._file = None

    def _discard(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass  # closing flushes, which fails again on a full disk; the file goes anyway
            self._file = None
        self._temporary.unlink(missing_ok=True)

    def _cannot_write(self, error: OSError) -> LocalizationError:
        reason = error.strerror or str(error)
        return LocalizationError(f"{self._path}: cannot write ({reason}); free space or choose another folder")


def write(path: str | os.PathLike[str], locs: Localizations) -> None:
    """Write a table as a ThunderSTORM CSV; the file appears whole or not at all.

    Lateral uncertainty is one column in the file: the root mean square of sigma_x and sigma_y. Raises
    LocalizationError where `TableWriter` does.

    >>> import tempfile, os, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "locs.csv")
    ...     write(path, make_localizations([0], [1.0], [2.0], [0.5], photons=900.0))
    ...     pathlib.Path(path).read_text().splitlines()[1]
    '1,1,1000.0,2000.0,500.0,900.0,NaN,NaN,NaN,1.0'
    """
    with TableWriter(path) as writer:
        writer.append(locs)


def _thunderstorm_frame(locs: Localizations, rows_before: int) -> pd.DataFrame:
    sigma_xy_um = np.sqrt((locs.sigma_x_um**2 + locs.sigma_y_um**2) / 2.0)
    columns = {
        "x [nm]": locs.x_um * _NM_PER_UM,
        "y [nm]": locs.y_um * _NM_PER_UM,
        "z [nm]": locs.z_um * _NM_PER_UM,
        "intensity [photon]": locs.photons,
        "offset [photon]": locs.background,
        "uncertainty_xy [nm]": sigma_xy_um * _NM_PER_UM,
        "uncertainty_z [nm]": locs.sigma_z_um * _NM_PER_UM,
        "score": locs.score,
    }
    rounded = {name: np.round(column, _DECIMALS[name]) for name, column in columns.items()}
    identity = {"id": np.arange(locs.frame.size) + rows_before + 1, "frame": locs.frame + 1}
    return pd.DataFrame(identity | rounded)


def read(path: str | os.PathLike[str]) -> Localizations:
    """Read a ThunderSTORM CSV, ours or another program's.

    Needed are `frame`, `x [nm]`, `y [nm]`; read where present are `z`, `intensity [photon]`, `offset
    [photon]`, `uncertainty` or `uncertainty_xy`, `uncertainty_z`, `score`. Lengths may be nm or um. A table
    without z is a 2D one and gets z = 0; other columns are passed over. Raises LocalizationError, naming
    file, column and line, for a missing or empty file, a missing column, a unit it does not know, and a
    value that is not a number where a number is needed.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(os.path.join(folder, "locs.csv"), make_localizations([7], [1.0], [2.0], [0.5]))
    ...     read(os.path.join(folder, "locs.csv")).frame
    array([7])
    """
    path = Path(path)
    table = _read_csv(path)
    columns: dict[str, np.ndarray] = {}
    header: dict[str, str] = {}
    for label in table.columns:
        parts = re.fullmatch(r"\s*(\w+)\s*(?:\[\s*(.*?)\s*\])?\s*", str(label))
        if parts is None or parts[1] not in _READABLE:
            continue
        name, units = _READABLE[parts[1]]
        if parts[2] not in units:
            known = " or ".join(f"'{parts[1]} [{unit}]'" if unit else f"'{parts[1]}'" for unit in list(units)[:2])
            raise LocalizationError(f"{path}: unknown unit in column '{label}'; convert it and call it {known}")
        if name in columns:
            raise LocalizationError(f"{path}: columns '{header[name]}' and '{label}' mean the same; drop one")
        columns[name] = _numbers(path, str(label), pd.Series(table[label]), finite=name in _FINITE) * units[parts[2]]
        header[name] = str(label)
    for name, expected in (("frame", "frame"), ("x_um", "x [nm]"), ("y_um", "y [nm]")):
        if name not in columns:
            raise LocalizationError(f"{path}: no column '{expected}'; export it as a ThunderSTORM CSV with that column")
    frame = columns.pop("frame")
    wrong = np.flatnonzero((frame < 1) | (frame != np.round(frame)))
    if wrong.size:
        line = table.index[wrong[0]]
        raise LocalizationError(
            f"{path}: line {line}: column 'frame' is {frame[wrong[0]]:g}; frames are whole and start at 1"
        )
    z_um = columns.pop("z_um", np.zeros(frame.size))
    sigma_xy_um = columns.pop("sigma_xy_um", None)
    if sigma_xy_um is not None:
        columns |= {"sigma_x_um": sigma_xy_um, "sigma_y_um": sigma_xy_um}
    return make_localizations(frame - 1, columns.pop("x_um"), columns.pop("y_um"), z_um, **columns)


def _read_csv(path: Path) -> pd.DataFrame:
    """The table with its line numbers in the file as index."""
    if path.is_dir():
        raise LocalizationError(f"{path}: is a folder; give the CSV file itself")
    if not path.exists():
        raise LocalizationError(f"{path}: no such file; check the name")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            labels = _header(path, file.readline())
            # Blank lines are kept so that row numbers are line numbers, and dropped below.
            table = pd.read_csv(
                file,
                header=None,
                names=labels,
                skip_blank_lines=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except pd.errors.EmptyDataError:
        return pd.DataFrame({label: np.zeros(0) for label in labels})
    except pd.errors.ParserError as error:
        reason = " ".join(str(error).split())
        raise LocalizationError(f"{path}: not a regular CSV table ({reason}); repair or export it again") from error
    except UnicodeDecodeError as error:
        raise LocalizationError(f"{path}: not a text file; give a ThunderSTORM CSV") from error
    except OSError as error:
        raise LocalizationError(f"{path}: cannot read ({error.strerror}); check the file") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus leading fields for row labels
        raise LocalizationError(f"{path}: rows have more fields than the header; repair or export it again")
    table.index = pd.RangeIndex(2, len(table) + 2)  # line 1 is the header
    return table.dropna(how="all")


def _header(path: Path, line: str) -> list[str]:
    labels = next(csv.reader([line]), [])
    if len(labels) == 1:  # a spreadsheet has quoted the whole line once more
        labels = next(csv.reader(labels), [])
    labels = [label.strip() for label in labels]
    if not any(labels):
        raise LocalizationError(f"{path}: the file is empty or has no header; write the table again")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise LocalizationError(f"{path}: column '{twice[0]}' appears twice; drop one")
    return labels


def _numbers(path: Path, label: str, column: pd.Series, *, finite: bool) -> np.ndarray:
    numbers = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    text = np.isnan(numbers) & column.notna().to_numpy()
    bad = np.flatnonzero(text | ~np.isfinite(numbers)) if finite else np.flatnonzero(text)
    if bad.size:
        raise LocalizationError(
            f"{path}: line {column.index[bad[0]]}: column '{label}' is {column.iloc[bad[0]]!s}, "
            "not a number; remove or correct that line"
        )
    return numbers
