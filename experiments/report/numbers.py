"""Numbers as files and tables hold them."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

NM_PER_UM = 1000.0


def plain(value: Any, digits: int | None = None) -> Any:
    """Turn arrays into lists and numbers that are not finite into None, as JSON can hold them.

    `digits` rounds to so many significant ones.

    >>> plain({"a": np.array([1.23456789, np.inf])}, 3)
    {'a': [1.23, None]}
    """
    if isinstance(value, dict):
        return {key: plain(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item, digits) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return value if digits is None else float(f"{value:.{digits}g}")


def fixed(value: float, decimals: int, otherwise: str = "inf") -> str:
    """Write a number with so many decimals; a large one in powers of ten, one that is not finite as `otherwise`.

    >>> fixed(12.345, 1), fixed(float("nan"), 1, "-")
    ('12.3', '-')
    """
    if not math.isfinite(value):
        return otherwise
    return f"{value:.{decimals}f}" if abs(value) < 1e4 else f"{value:.1e}"


def csv_text(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Write a table as CSV; None, an infinite bound, becomes inf.

    >>> csv_text(["z", "sigma"], [[0.5, None]])
    'z,sigma\\n0.5,inf\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([["inf" if value is None else value for value in row] for row in rows])
    return text.getvalue()
