"""Rows of a frame that lies uncompressed in a file, read into their place without a copy where they allow it."""

import os

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.source import pread


def read_rows(
    fd: int, at: int, out: NDArray, columns: slice, *, row_bytes: int, per_pixel: int = 1, which: int = 0
) -> None:
    """Fill `out` (rows, columns) from a file in which rows of `row_bytes` follow each other from `at` on.

    Every pixel has `per_pixel` values in a row, of which number `which` is taken. Values are little-endian, as the
    makers of instruments write them and as `out` has them. Raises EOFError where the file ends before.
    """
    n_bytes = len(out) * row_bytes
    if out.flags.c_contiguous and out.nbytes == n_bytes and per_pixel == 1:
        room, done = out.reshape(-1).view(np.uint8).data, 0
        while done < n_bytes:
            read = os.preadv(fd, [room[done:]], at + done)
            if read == 0:
                raise EOFError("the file ends before")
            done += read
        return
    raw = pread(fd, n_bytes, at)
    if len(raw) < n_bytes:
        raise EOFError("the file ends before")
    values = row_bytes // out.itemsize
    rows = np.ndarray((len(out), values), out.dtype, raw, strides=(row_bytes, out.itemsize))
    out[:] = rows[:, which::per_pixel][:, columns]
