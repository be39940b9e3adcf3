"""What a movie format must answer, `MovieFormat`, how it is asked, `MovieOptions`, and what all of them refuse."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.store import StoreUrl
from localization.types import LocalizationError

WHAT_IS_THERE = "read what is there with allow_cut=True (--allow-cut)"
CUT_REMEDY = f"copy it again, or {WHAT_IS_THERE}"
_MAX_FRAME_PX = 1 << 28  # a damaged header may ask for any amount of memory


@dataclass(frozen=True)
class MovieOptions:
    """How a movie is opened.

    `channel` and `position` choose one of several, by number (from 0) or by the name that the file gives it. With
    `allow_cut` a movie whose end or middle is missing gives the frames that are there. `alone` reads the one file that
    is named, where others would be read with it.

    >>> MovieOptions(channel="GFP").given()
    {'channel': 'GFP'}
    """

    channel: int | str | None = None
    position: int | str | None = None
    allow_cut: bool = False
    alone: bool = False

    def given(self) -> dict[str, Any]:
        """Return those that were chosen, as arguments of `open_movie`."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


class Source(Protocol):
    """An open movie of `shape` (frames, height, width), with lines on what is unusual about it.

    It may also have `facts`, a `localization.MovieFacts` of what the file says of pixel, exposure and interval, and
    `by_frame`, true where many frames at a time are read no faster than one by one.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    notes: list[str]

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        ...

    def close(self) -> None:
        """Close every file."""
        ...


@dataclass(frozen=True)
class MovieFormat:
    """A kind of movie on disk: whether a file or folder is one, and how it is opened.

    `open(path, options)` reads headers alone.
    """

    name: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path, MovieOptions], Source]


def refuse_type(path: Path | StoreUrl, dtype: np.dtype | None) -> None:
    """Raise where pixels are not numbers; of floating-point ones `open_movie` asks whether they are whole."""
    if dtype is None or np.dtype(dtype).kind not in "uif":
        raise LocalizationError(
            f"{path}: pixels of type {dtype}; convert the movie to uint16 camera counts without scaling"
        )


def refuse_size(path: Path | StoreUrl, shape: tuple[int, ...]) -> None:
    """Raise where a frame has no pixels, or more than any camera."""
    if not 0 < math.prod(shape) <= _MAX_FRAME_PX:
        raise LocalizationError(f"{path}: frames of {shape} pixels; check the file, or crop the frames")


def pread(fd: int, count: int, position: int) -> bytes:
    """Read bytes of a file from a position on; fewer where the file ends, none where no file could reach."""
    if not 0 <= position < 1 << 62 or not 0 <= count < 1 << 40:
        return b""
    pieces = []
    while count:
        piece = os.pread(fd, min(count, 1 << 30), position)
        if not piece:
            break
        pieces.append(piece)
        count, position = count - len(piece), position + len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_plain(fd: int, position: int, width: int, stored: np.dtype, rows: slice, columns: slice, out: NDArray) -> bool:
    """Read a part of a frame that lies plainly in a file from `position` on, into `out`; False where the file ends.

    Whole rows go from the file to `out` without a copy between.
    """
    row_bytes = width * stored.itemsize
    at, wanted = position + rows.start * row_bytes, (rows.stop - rows.start) * row_bytes
    if not 0 <= at < 1 << 62:
        return False
    if columns.stop - columns.start == width and out.flags.c_contiguous and out.dtype == stored.newbyteorder("="):
        target = out.reshape(-1).view(np.uint8).data
        done = 0
        while done < wanted:
            count = os.preadv(fd, [target[done : done + (1 << 30)]], at + done)
            if count == 0:
                return False
            done += count
        if not stored.isnative:
            out.byteswap(inplace=True)
        return True
    raw = pread(fd, wanted, at)
    if len(raw) < wanted:
        return False
    out[...] = np.frombuffer(raw, stored).reshape(-1, width)[:, columns]
    return True
