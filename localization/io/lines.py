"""Lines of a table of text that were cut: fewer fields than the header, or no end."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pandas as pd

from localization.types import LocalizationError

NO_END = "the last line has no end: if the file was cut, its last number may be too"


def refuse_short_lines(
    path: Path, file: IO[str], labels: Sequence[str], skipped: int, separator: str, rows: pd.DataFrame
) -> None:
    """Raise where a line has fewer fields than the header: pandas takes what is missing for unknown values.

    `rows` are what it read; the lines are looked at only where the last column lacks a value.
    """
    if rows.empty or not rows.iloc[:, len(labels) - 1].isna().any():
        return
    file.seek(0)
    for k, line in enumerate(file, start=1):
        n = len(line.split()) if separator == " " else line.count(separator) + 1
        if k > skipped and line.strip() and n < len(labels) and any(labels[n:]):
            raise LocalizationError(
                f"{path}: line {k} has {n} of {len(labels)} fields: it was cut; remove it, or export the table again"
            )


def ends_with_a_line(path: Path) -> bool:
    """Tell whether the last line of a file has an end.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "cut.csv"
    ...     _ = path.write_text("1,2\\n3")
    ...     ends_with_a_line(path)
    False
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(-min(size, 2), os.SEEK_END)
        return not size or file.read(2).strip(b"\0")[-1:] in (b"\n", b"\r")  # in UTF-16 beside a zero byte
