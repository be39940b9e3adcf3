"""Tables as text: one reader and one writer for every format, told by a `Columns` what the columns mean."""

import csv
import io
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from localization.io.dialect import decimal_of, encoding_of, separator_of, with_points
from localization.io.lines import NO_END, ends_with_a_line, refuse_short_lines
from localization.io.part import PartFile
from localization.io.table_format import Content, Head, TableInfo, depths, not_text
from localization.types import COLUMNS, FINITE, LocalizationError, Localizations, make_localizations, one_line

NM_PER_UM = 1000.0
_LABEL = re.compile(r"\s*(.*?)\s*(?:[\[(]\s*([^\])]*?)\s*[\])])?\s*")

Units = Mapping[str | None, float | None]
BARE: Units = {None: 1.0}
BARE_NM: Units = {None: 1e-3}
LENGTH: Units = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0}
_SURPLUS = "\0"  # no label: files with zero bytes are refused, or end there
COUNTS: Units = dict.fromkeys(("ADU", "adu", "count", "counts", "Counts", "A/D counts", "DN"))  # of the camera
_PIXELS = ("px", "pix", "pixel", "pixels")
_OURS = (*COLUMNS, "sigma_xy_um")


@dataclass(frozen=True)
class Columns:
    """What the columns of a text format mean.

    `columns`: name in the file (lower case) -> (our column, factor per unit). A unit with the factor None is
    understood, but is not ours (camera counts): such a column is kept as an extra one, with a note. `sigma_xy_um`
    stands for both lateral sigmas, `width_xy_um` for both widths. A target that is no column of `Localizations` is an
    extra column (`localization.io.extras`); columns that are not named here are extra ones under the file's label,
    except `counters`, which merely number the rows. Frames count from `first_frame`. `shift_um` (x, y) is added to
    positions: half a pixel where the first pixel's centre is at 0. `z_shift_um` is added to z. Without a `separator` it
    is found in the file.
    """

    title: str
    columns: Mapping[str, tuple[str, Units]]
    first_frame: int
    labels: Mapping[str, str]
    shift_um: tuple[float, float] = (0.0, 0.0)
    z_shift_um: float = 0.0
    separator: str = ""
    encoding: str = "utf-8-sig"
    counters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of text as it stands in the file: labels, rows with their line numbers as index, notes."""

    labels: list[str]
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()


def labels_in(head: Head) -> dict[str, str | None]:
    """Read the column names of a table of text, in lower case, with their units; none where there is no header."""
    line = head.first_line
    try:
        return dict(split_label(label) for label in header_labels(head.path, line, separator_of(line)))
    except LocalizationError:
        return {}  # the reader says what is wrong with the header


def split_label(label: str) -> tuple[str, str | None]:
    """Split a column's name, in lower case, from its unit in brackets of either kind.

    >>> split_label("x [nm]"), split_label("Position X (um)"), split_label("score")
    (('x', 'nm'), ('position x', 'um'), ('score', None))
    """
    parts = _LABEL.fullmatch(label)
    return (parts[1].lower(), parts[2]) if parts else (label.lower(), None)


def to_localizations(
    path: Path, text: Table, rules: Columns, info: TableInfo | None = None
) -> tuple[Localizations, list[str]]:
    """Convert a table of text into localizations, and notes on what was left out. Raises LocalizationError.

    `info` may know the camera pixel, for columns in pixels, and what the user says of frames and origin.
    """
    info = info or TableInfo()
    rules = _as_told(path, rules, info)
    chosen = _choose(path, text.labels, rules, info.pixel_um)
    columns: dict[str, Any] = {}
    further: dict[str, np.ndarray] = {}
    header: dict[str, str] = {}
    notes = list(text.notes)
    words: list[str] = []
    for k, label in enumerate(text.labels):
        name, unit = split_label(label)
        if not name or name in rules.counters:
            continue
        column = text.rows.iloc[:, k]
        if k not in chosen:
            values = _numbers_if_any(column)
            if values is None:
                words.append(label)
            elif not np.isnan(values).all():
                further[label] = values
                if unit in rules.columns.get(name, ("", {}))[1]:
                    notes.append(f"column '{label}' is in {unit}, not in ours: kept under its own name")
            continue
        target, factor = chosen[k]
        header[target] = label
        flat = target == "z_um" and bool(column.isna().all())
        values = numbers(path, label, column, finite=target in FINITE and not flat) * factor
        values = depths(values, label, notes) if flat else values
        if target in _OURS:
            columns[target] = values
        elif not np.isnan(values).all():
            further[target] = values
    for name in ("frame", "x_um", "y_um"):
        if name not in columns:
            raise LocalizationError(
                f"{path}: no column '{rules.labels[name]}'; export it as {rules.title} with that column"
            )
    whole = {"frame": rules.first_frame, "channel": 0}
    for name, first in whole.items():
        values = columns.get(name, np.zeros(0))
        wrong = np.flatnonzero((values < first) | (values != np.round(values)) | (np.abs(values) > 2**53))
        if wrong.size:
            line = text.rows.index[wrong[0]]
            other = "; if these start at 0, say so (--frames-from 0; as Picasso's, --origin centre too)"
            raise LocalizationError(
                f"{path}: line {line}: column '{header[name]}' is {values[wrong[0]]:g}; "
                f"{name}s are whole and start at {first} in {rules.title}{other if values[wrong[0]] == 0 else ''}"
            )
    columns["frame"] = columns["frame"] - rules.first_frame
    columns["x_um"] = columns["x_um"] + rules.shift_um[0]
    columns["y_um"] = columns["y_um"] + rules.shift_um[1]
    columns["z_um"] = columns.get("z_um", np.zeros(columns["frame"].size)) + rules.z_shift_um
    _give_both_axes(columns, "sigma_xy_um", ("sigma_x_um", "sigma_y_um"))
    _give_both_axes(further, "width_xy_um", ("width_x_um", "width_y_um"))
    if words:
        notes.append(f"no column of numbers: {', '.join(words)}: left out")
    for values in (*columns.values(), *further.values()):
        values.setflags(write=False)  # handed over, not copied
    return make_localizations(**columns, extras=further), notes


def _as_told(path: Path, rules: Columns, info: TableInfo) -> Columns:
    if info.frames_from is not None:
        rules = replace(rules, first_frame=info.frames_from)
    if info.origin == "corner":
        return replace(rules, shift_um=(0.0, 0.0))
    if info.origin == "centre" and info.pixel_um is None:
        raise LocalizationError(
            f"{path}: positions count from the first pixel's centre; give pixel_um (colocus convert --pixel NM) to add "
            "half of it"
        )
    return rules if info.origin is None else replace(rules, shift_um=(half_pixel_um(info.pixel_um),) * 2)


def _choose(path: Path, labels: list[str], rules: Columns, pixel_um: float | None) -> dict[int, tuple[str, float]]:
    """Choose the columns that `rules` ask for: place in the table -> our column, factor.

    Where lengths stand in pixels and in another unit, those are taken.
    """
    chosen: dict[int, tuple[str, float]] = {}
    header: dict[str, str] = {}
    doubtful: dict[str, tuple[int, str, float | None]] = {}
    for k, label in enumerate(labels):
        name, unit = split_label(label)
        target, units = rules.columns.get(name, ("", {}))
        if not target or name in rules.counters:
            continue
        factor = units.get(unit)
        if factor is None and unit not in units:
            in_pixels = unit is not None and unit.lower() in _PIXELS and "nm" in units
            doubtful.setdefault(target, (k, label, pixel_um if in_pixels else None))
        elif factor is not None and target not in header:
            chosen[k], header[target] = (target, factor), label
        elif factor is not None and target in _OURS:
            raise LocalizationError(f"{path}: columns '{header[target]}' and '{label}' mean the same; drop one")
    for target, (k, label, factor) in doubtful.items():
        if target in header:
            continue
        if factor is not None:
            chosen[k] = (target, factor)
        elif target in _OURS:
            raise LocalizationError(f"{path}: {_unit_unknown(label, rules)}")
    return chosen


def _unit_unknown(label: str, rules: Columns) -> str:
    name, unit = split_label(label)
    units = rules.columns[name][1]
    if unit is not None and unit.lower() in _PIXELS and "nm" in units:
        return f"column '{label}' is in camera pixels; give pixel_um (colocus convert --pixel NM)"
    known = " or ".join(f"'{name} [{u}]'" if u else f"'{name}'" for u, f in list(units.items())[:2] if f)
    return f"unknown unit in column '{label}'; convert it and call it {known}"


def _give_both_axes(columns: dict[str, np.ndarray], lateral: str, axes: tuple[str, str]) -> None:
    values = columns.pop(lateral, None)
    for name in axes:
        if values is not None:
            columns.setdefault(name, values)


def reader(rules: Columns) -> Callable[[Path, TableInfo], Content]:
    """Make the reader of a text format whose columns say all that is needed."""

    def read_table(path: Path, info: TableInfo) -> Content:
        table = read(path, separator=rules.separator, encoding=rules.encoding)
        return *to_localizations(path, table, rules, info), info

    return read_table


def read(
    path: Path,
    *,
    separator: str = "",
    comment: str = "",
    labels: list[str] | None = None,
    encoding: str = "utf-8-sig",
) -> Table:
    """Read a table of text with its line numbers in the file. Raises LocalizationError for what is no such table.

    Lines at the top that begin with `comment` are passed over; with `labels` the file has no header line. Without a
    `separator` the first line tells it; where tabs or semicolons separate, decimals may stand behind a comma. In
    latin-1 the table ends at the first zero byte: Elyra's notes follow there.
    """
    skipped = 0
    try:
        notes = () if ends_with_a_line(path) else (NO_END,)
        with open(path, "rb") as start:
            encoding = encoding_of(start.read(4), encoding)
        with open(path, encoding=encoding, newline="") as opened:
            file = opened if encoding != "latin-1" else io.StringIO(opened.read().partition("\0")[0])
            while comment and file.readline().startswith(comment):
                skipped += 1
            if comment:
                file.seek(0)
                for _ in range(skipped):
                    file.readline()
            here = file.tell()
            first = file.readline()
            separator = separator or separator_of(first)
            if labels is None:
                labels = header_labels(path, first, separator)
                skipped += 1
            else:
                file.seek(here)
            decimal = decimal_of(path, file, separator)
            rows = _fields(file, labels, separator, decimal)
            refuse_short_lines(path, file, labels, skipped, separator, rows)
    except pd.errors.EmptyDataError:
        return Table(labels or [], pd.DataFrame({label: np.zeros(0) for label in labels or []}), notes)
    except LocalizationError:
        raise
    except UnicodeError as error:
        raise not_text(path) from error
    except OSError as error:
        raise LocalizationError(f"{path}: cannot read ({error.strerror}); check the file") from error
    except (ValueError, csv.Error, MemoryError, OverflowError) as error:
        raise LocalizationError(
            f"{path}: not a regular CSV table ({one_line(error)}); repair or export it again"
        ) from error
    if _SURPLUS in rows and rows.pop(_SURPLUS).notna().any():  # a separator at the end of a line is none too many
        raise LocalizationError(f"{path}: rows have more fields than the header; repair or export it again")
    rows.index = pd.RangeIndex(skipped + 1, len(rows) + skipped + 1)
    rows = with_points(path, rows) if decimal == "," else rows
    return Table(labels, rows.dropna(how="all"), notes)


def _fields(file: TextIO, labels: list[str], separator: str, decimal: str) -> pd.DataFrame:
    """Read the rows; blank lines are kept so that row numbers are line numbers, and dropped later.

    A field more than the header has is read as a column of its own, which costs time: pandas would take the first one
    for row labels and shift the rest (where the first line has it), or refuse.
    """
    here = file.tell()
    options: dict[str, Any] = dict(
        header=None, skip_blank_lines=False, skipinitialspace=True, low_memory=False, decimal=decimal,
        sep=separator if separator != " " else r"\s+",
    )  # fmt: skip
    first = next((line for line in iter(file.readline, "") if line.strip()), "")
    file.seek(here)
    if separator != " " and first.count(separator) < len(labels):
        try:
            return pd.read_csv(file, names=labels, **options)
        except pd.errors.EmptyDataError:
            raise
        except pd.errors.ParserError:
            pass
    file.seek(here)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of several fields more: refused afterwards
        return pd.read_csv(file, names=[*labels, _SURPLUS], index_col=False, **options)


def header_labels(path: Path, line: str, separator: str = ",") -> list[str]:
    """Read the column names of a header line. Raises LocalizationError where it is empty or names one twice."""
    try:
        labels = next(csv.reader([line], delimiter=separator), [])
        if len(labels) == 1:  # a spreadsheet has quoted the whole line once more
            labels = next(csv.reader(labels, delimiter=separator), [])
    except csv.Error as error:
        raise LocalizationError(f"{path}: the header cannot be read ({error}); write the table again") from error
    labels = [label.strip() for label in labels]
    if not any(labels):
        raise LocalizationError(f"{path}: the file is empty or has no header; write the table again")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise LocalizationError(f"{path}: column '{twice[0]}' appears twice; drop one")
    return labels


def numbers(path: Path, label: str, column: pd.Series, *, finite: bool = False) -> np.ndarray:
    """Convert a column of text; nothing is NaN, or, with `finite`, refused. Raises LocalizationError for words."""
    values = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    text = np.isnan(values) & column.notna().to_numpy()
    bad = np.flatnonzero(text | ~np.isfinite(values)) if finite else np.flatnonzero(text)
    if bad.size:
        shown = str(column.iloc[bad[0]])[:40]
        raise LocalizationError(
            f"{path}: line {column.index[bad[0]]}: column '{label}' is {' '.join(shown.split())}, "
            "not a number; remove or correct that line"
        )
    return values


def _numbers_if_any(column: pd.Series) -> np.ndarray | None:
    """Convert a column that nobody asked for; None where it holds words."""
    numbers = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    return None if (np.isnan(numbers) & column.notna().to_numpy()).any() else numbers


def unknown_where_not_positive(locs: Localizations) -> Localizations:
    """Take an uncertainty that is not above 0 for unknown: programs write 0 where they have none."""
    names = ("sigma_x_um", "sigma_y_um", "sigma_z_um")
    return replace(locs, **{name: np.where(getattr(locs, name) > 0, getattr(locs, name), np.nan) for name in names})


def decimals(column: np.ndarray, places: int) -> np.ndarray:
    """Round to `places` decimals; what is not known stays NaN, and minus zero becomes zero."""
    return np.round(column, places) + 0.0


def nanometres(column: np.ndarray) -> np.ndarray:
    """Convert um to nm, rounded to 1 pm: far below any precision."""
    return decimals(column * NM_PER_UM, 3)


def header(labels: tuple[str, ...], quote: str = "") -> Callable[[TableInfo], str]:
    """Make the header line of a text format."""
    return lambda info: ",".join(f"{quote}{label}{quote}" for label in labels) + "\n"


class Writer:
    """Writes rows of text as they come: `head(info)`, then `rows(locs, number of rows before, info)`."""

    def __init__(
        self,
        part: PartFile,
        info: TableInfo,
        *,
        head: Callable[[TableInfo], str],
        rows: Callable[[Localizations, int, TableInfo], pd.DataFrame],
    ) -> None:
        self._info, self._rows, self._written = info, rows, 0
        self._file = open(part.temporary, "w", encoding="utf-8", newline="")
        self._file.write(head(info))

    def append(self, locs: Localizations) -> None:
        """Add rows."""
        rows = self._rows(locs, self._written, self._info)
        rows.to_csv(self._file, header=False, index=False, na_rep="NaN")
        self._written += locs.frame.size

    def finish(self) -> list[str]:
        """Write what is left in memory."""
        self._file.close()
        return []

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def half_pixel_um(pixel_um: float | None) -> float:
    """Halve a pixel. Raises LocalizationError for a size that is none."""
    if pixel_um is None or not (math.isfinite(pixel_um) and 0 < pixel_um < 1000):
        raise LocalizationError(f"pixel_um = {pixel_um} must be the camera pixel in the sample, in um, such as 0.1")
    return 0.5 * pixel_um
