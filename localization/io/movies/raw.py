"""Picasso's .raw movie: the pixels alone, described by a .yaml of the same name."""

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import choose
from localization.io.movies.source import CUT_REMEDY, MovieFormat, MovieOptions, read_plain, refuse_size, refuse_type
from localization.io.picasso_yaml import load_yaml
from localization.types import LocalizationError, one_line


class RawMovie:
    """Frames back to back in a file, from `offset` on."""

    by_frame = True

    def __init__(
        self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, offset: int, *, allow_cut: bool
    ) -> None:
        refuse_type(path, dtype)
        refuse_size(path, shape[1:])
        self.notes: list[str] = []
        frame_bytes = math.prod(shape[1:]) * dtype.itemsize
        held = max(path.stat().st_size - offset, 0) // frame_bytes
        if held < shape[0]:
            if not allow_cut:
                raise LocalizationError(
                    f"{path}: truncated, it announces {shape[0]} frames and holds {held}; {CUT_REMEDY}"
                )
            self.notes.append(f"{path.name} is cut off: its first {held} frames are read")
        n_frames = min(shape[0], held)
        if (behind := path.stat().st_size - offset - n_frames * frame_bytes) > 0 and n_frames == shape[0]:
            self.notes.append(
                f"{path.name} is {behind} bytes longer than {shape[0]} frames of {shape[1]} x {shape[2]} px: check"
            )
        if n_frames < 1:
            raise LocalizationError(f"{path}: the file holds 0 frames; copy or export the movie again")
        self.path, self.shape = path, (n_frames, *shape[1:])
        self._stored, self.dtype = dtype, dtype.newbyteorder("=")
        self._offset, self._frame_bytes = offset, frame_bytes
        self._fd = os.open(path, os.O_RDONLY)

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        frames = np.empty((stop - start, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for k in range(start, stop):
            at = self._offset + k * self._frame_bytes
            if not read_plain(self._fd, at, self.shape[2], self._stored, rows, columns, frames[k - start]):
                raise LocalizationError(
                    f"{self.path}: frame {k} cannot be read (the file became shorter); copy it again"
                )
        return frames

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _open(path: Path, options: MovieOptions) -> RawMovie:
    choose(path, [], options)
    side = path.with_suffix(".yaml")
    if not side.is_file():
        raise LocalizationError(f"{path}: its description {side.name} is missing; copy it beside the movie")
    info = load_yaml(side)
    if not info:
        raise LocalizationError(f"{side}: empty; copy it again")
    try:
        shape = tuple(int(info[0][key]) for key in ("Frames", "Height", "Width"))
        dtype = np.dtype(str(info[0]["Data Type"]))
        dtype = dtype.newbyteorder("<" if str(info[0].get("Byte Order", "<")) == "<" else ">")
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, OverflowError) as error:
        raise LocalizationError(
            f"{side}: no sensible {one_line(error)}; needed are Frames, Height, Width, Data Type and Byte Order"
        ) from error
    if min(shape) < 1:
        raise LocalizationError(f"{side}: Frames, Height and Width are {shape}; they must be positive")
    return RawMovie(path, (shape[0], shape[1], shape[2]), dtype, 0, allow_cut=options.allow_cut)


MOVIE = MovieFormat("raw", lambda path: path.suffix.lower() == ".raw", _open)
