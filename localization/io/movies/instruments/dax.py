"""The .dax movie of the Zhuang laboratory's programs: 16-bit pixels alone, described by an .inf file beside it.

The layout is that of storm-analysis (docs/movie_formats.rst, sa_library/datawriter.py) and of HAL-4000, which writes
them: "frame dimensions" are width x height, the byte order is a word of "data type", "Exposure Time" is in seconds.
Checked by files made as its writer makes them, and by two test movies of storm-analysis, which give the frames of the
same movies published as TIFF.
"""

import re
from pathlib import Path

import numpy as np

from localization.io.movies.axes import choose
from localization.io.movies.instruments.extra import is_kind
from localization.io.movies.raw import RawMovie
from localization.io.movies.source import MovieFormat, MovieOptions
from localization.types import LocalizationError, MovieFacts

_MAX_INF_BYTES = 1 << 20


class DaxMovie(RawMovie):
    """A .dax movie, with what its .inf says of time."""

    facts = MovieFacts()


def _open(path: Path, options: MovieOptions) -> DaxMovie:
    choose(path, [], options)
    side = next((file for file in (path.with_suffix(s) for s in (".inf", ".INF")) if file.is_file()), None)
    if side is None:
        raise LocalizationError(
            f"{path}: its description {path.with_suffix('.inf').name} is missing; copy it beside the movie"
        )
    with open(side, "rb") as file:
        text = file.read(_MAX_INF_BYTES).decode("utf-8", "replace")
    size = _said(text, r"frame dimensions\s*=\s*(\d{1,6})\s*x\s*(\d{1,6})", side, "frame dimensions = 256 x 256")
    n_frames = _said(text, r"number of frames\s*=\s*(\d{1,12})", side, "number of frames = 100")
    kind = _said(
        text,
        r"data type\s*=\s*16 bit integers\s*\(\s*binary\s*,\s*(little|big) endian",
        side,
        "data type = 16 bit integers (binary, little endian)",
    )
    dtype = np.dtype("<u2" if kind[1].lower() == "little" else ">u2")
    movie = DaxMovie(path, (int(n_frames[1]), int(size[2]), int(size[1])), dtype, 0, allow_cut=options.allow_cut)
    rate = _number(text, r"frames per second")
    movie.facts = MovieFacts(
        exposure_s=_number(text, r"exposure time(?:\s*\(s(?:ec)?\.?\))?"), interval_s=1 / rate if rate else None
    )
    return movie


def _said(text: str, pattern: str, side: Path, example: str) -> re.Match[str]:
    found = re.search(rf"^\s*{pattern}", text, re.M | re.I)
    if found is None:
        raise LocalizationError(f"{side}: no line like '{example}'; copy it again or write that line")
    return found


def _number(text: str, name: str) -> float | None:
    found = re.search(rf"^\s*{name}\s*=\s*([0-9.]+(?:[eE][-+]?\d+)?)\s*$", text, re.M | re.I)
    try:
        value = float(found[1]) if found else 0.0
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


MOVIE = MovieFormat("dax", lambda path: is_kind(path, ".dax"), _open)
