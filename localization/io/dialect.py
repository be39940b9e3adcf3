"""How a table of text is written: its encoding, what separates its fields, and its decimal mark."""

import codecs
import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import pandas as pd

from localization.types import LocalizationError

_LINES = 1000
_COMMA = re.compile(r"[-+]?(\d*),(\d+)([eE][-+]?\d+)?")
_POINT = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")


def encoding_of(start: bytes, usual: str = "utf-8-sig") -> str:
    """Tell UTF-16, in which spreadsheets save "Unicode text", by the mark at its beginning.

    >>> encoding_of("x".encode("utf-16")), encoding_of(b"x")
    ('utf-16', 'utf-8-sig')
    """
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else usual


def separator_of(line: str) -> str:
    """Find what separates the fields of a line: tab, semicolon or comma, whichever stands most often outside quotes.

    >>> separator_of("id;x [nm];y, z [nm]"), separator_of("a\\tb"), separator_of("a"), separator_of('"a;b","c;d"')
    (';', '\\t', ',', ',')
    """
    bare = "".join(line.split('"')[::2])
    return max(",", "\t", ";", key=bare.count)


def decimal_of(path: Path, file: TextIO, separator: str) -> str:
    """Find the decimal mark from the next lines of a file, which stays where it is.

    Where commas separate, it is a point. Raises LocalizationError where each comma may as well group thousands.
    """
    if separator not in ("\t", ";"):
        return "."
    here = file.tell()
    lines = list(itertools.islice(iter(file.readline, ""), _LINES))
    file.seek(here)
    return _decimal_in(path, lines, separator)


def _decimal_in(path: Path, lines: Iterable[str], separator: str) -> str:
    doubtful = ""
    for line in lines:
        for field in line.split(separator) if "," in line else ():
            number = _COMMA.fullmatch(field.strip().strip('"'))
            if number is None:
                continue
            whole, decimals, exponent = number.groups()
            if exponent or len(decimals) != 3 or len(whole) > 3 or whole[:1] in ("", "0"):
                return ","  # no group of thousands is written so
            doubtful = doubtful or number[0]
    if doubtful:
        raise LocalizationError(
            f"{path}: {doubtful} may have a decimal comma or a group of thousands; export with decimal points"
        )
    return "."


def with_points(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Write decimal commas as points in the columns that pandas left as words, one of them being no number.

    The index of `rows` are line numbers. Raises LocalizationError for a decimal point among decimal commas.
    """
    for label in rows.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in rows.dtypes]]:
        column = rows[label]
        fields = column.astype(str).str.strip()
        commas, points = (fields.str.fullmatch(number).fillna(False).astype(bool) for number in (_COMMA, _POINT))
        if points.any():  # may group thousands, here or there
            line = points.idxmax()
            raise LocalizationError(
                f"{path}: line {line}: column '{label}' is {fields[line]} in a table with decimal commas; write all "
                "numbers alike"
            )
        rows[label] = column.where(~commas, fields.str.replace(",", "."))
    return rows
