"""Hamamatsu's DCIMG movie, the format of HCImage and of the DCAM recorder.

Nothing about it is published. The layout here is what three independent readers found in recordings: lens-biophotonics/
dcimg 0.6.0.post1 (MIT), python-microscopy (PYME/IO/dcimg.py, with issue 73 on padded rows) and Bio-Formats 8; nothing
of their code is used. Versions 0x7, 0x1000000 and 0x2000000 are known. Rows are `bytes_per_row` apart, which may be
more than their pixels take. The camera keeps the first eight bytes of one row of every frame (four pixels of 16 bit)
elsewhere: behind the movie (0x7, with the row said), or behind the frame (line 1023 of the sensor in 0x1000000, the
first row in 0x2000000); where they lie in the frame there is something else, so they are put back.
Rows are given in the order of the file. Bio-Formats turns them upside down. Checked by files written to this layout,
which dcimg 0.6.0.post1 opens to the same frames under numpy 1.24 (0x7 and 0x1000000; 0x2000000 is newer than it).
"""

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import choose
from localization.io.movies.instruments.extra import is_kind
from localization.io.movies.instruments.held import check_number, held_frames
from localization.io.movies.instruments.rows import read_rows
from localization.io.movies.source import MovieFormat, MovieOptions, pread, refuse_size
from localization.types import LocalizationError, MovieFacts

_MAGIC = b"DCIMG"
_OLD, _NEW = (0x7,), (0x1000000, 0x2000000)
_KEPT_BYTES = 8  # of one row of every frame, kept elsewhere
_SENSOR_LINE = 1023  # whose beginning is kept elsewhere in 0x1000000
_KEPT_AT = 12  # behind the frame: frame number, seconds and microseconds come first, four bytes each


class DcimgMovie:
    """The frames of a DCIMG file's session, with the four pixels that are kept elsewhere in their place."""

    def __init__(self, path: Path, options: MovieOptions) -> None:
        choose(path, [], options)
        self.path, self.notes = path, []
        self._fd = os.open(path, os.O_RDONLY)
        try:
            self._read_headers(path.stat().st_size, options)
        except struct.error as error:
            self.close()
            raise LocalizationError(f"{path}: truncated in its header; copy it again") from error
        except (LocalizationError, OSError):
            self.close()
            raise

    def _read_headers(self, size: int, options: MovieOptions) -> None:
        path = self.path
        head = pread(self._fd, 56, 0)
        if not head.startswith(_MAGIC):
            raise LocalizationError(f"{path}: not a DCIMG file; check the name")
        (version,) = struct.unpack_from("<I", head, 8)
        n_sessions, _, session_at = struct.unpack_from("<3I", head, 32)
        if version not in (*_OLD, *_NEW):
            raise LocalizationError(f"{path}: DCIMG of version {version:#x}, which is unknown; export it as TIFF")
        if n_sessions > 1:
            raise LocalizationError(f"{path}: holds {n_sessions} sessions; export the one that is the movie")
        session = pread(self._fd, 752, session_at)
        self._footer_bytes, tail_at = 0, 0
        if version in _OLD:
            n_frames, depth, _, width, self._row_bytes, height, frame_bytes = struct.unpack_from("<7I", session, 32)
            (data_at,) = struct.unpack_from("<I", session, 68)
            tail_at = session_at + struct.unpack_from("<Q", session, 72)[0]
        else:
            n_frames, depth, _, width, height, self._row_bytes, frame_bytes = struct.unpack_from("<7I", session, 60)
            (data_at,) = struct.unpack_from("<Q", session, 96)
            (self._footer_bytes,) = struct.unpack_from("<I", session, 124)
        check_number(path, n_frames)
        if depth not in (1, 2):
            raise LocalizationError(f"{path}: pixels of {depth} bytes; the header is damaged, copy it again")
        refuse_size(path, (height, width))
        if frame_bytes != self._row_bytes * height or self._row_bytes < width * depth:
            raise LocalizationError(
                f"{path}: frames of {height} x {width} px in {frame_bytes} bytes, {self._row_bytes} a row; "
                "the header is damaged, copy it again"
            )
        self.dtype = np.dtype(np.uint8 if depth == 1 else np.uint16)
        self._data_at, self._frame_bytes = session_at + data_at, frame_bytes
        self._kept_row, self._kept_at, self._kept_step = self._find_kept(version, session, n_frames, height, tail_at)
        step = frame_bytes + self._footer_bytes
        n_held = min(n_frames, max(size - self._data_at, 0) // step)
        if self._kept_row >= 0 and version in _OLD:
            n_held = min(n_held, max(size - self._kept_at, 0) // _KEPT_BYTES)
        held_frames(path, np.arange(n_frames) < n_held, options, self.notes)
        self.shape = (n_held, height, width)
        self.facts = MovieFacts(interval_s=self._interval(version, n_frames, n_held, tail_at))

    def _find_kept(
        self, version: int, session: bytes, n_frames: int, height: int, tail_at: int
    ) -> tuple[int, int, int]:
        """Find the row whose beginning is kept elsewhere (-1: none), where that is, and how far apart for frames."""
        if version in _OLD:
            (second_at,) = struct.unpack_from("<Q", pread(self._fd, 16, tail_at), 8)
            tail = pread(self._fd, 112, tail_at + second_at)
            (kept_at,), (place, kept_bytes) = struct.unpack_from("<Q", tail, 88), struct.unpack_from("<IQ", tail, 100)
            row = place // self._row_bytes
            if kept_bytes != _KEPT_BYTES or row >= height:
                return -1, 0, 0
            return row, tail_at + kept_at, _KEPT_BYTES
        there = self._footer_bytes == 32 or self._footer_bytes >= 512  # 16 bytes: a USB camera, which keeps nothing
        row = 0
        if version == _NEW[0]:
            (width,) = struct.unpack_from("<I", session, 72)
            _, sensor_width, y0, _ = struct.unpack_from("<4H", session, 712)
            row = (_SENSOR_LINE - y0) // max(1, sensor_width // max(1, width))
        if not there or not 0 <= row < height:
            return -1, 0, 0
        return row, self._data_at + self._frame_bytes + _KEPT_AT, self._frame_bytes + self._footer_bytes

    def _interval(self, version: int, n_frames: int, n_held: int, tail_at: int) -> float | None:
        """Find the time from frame to frame by the stamps of the first and the last; note frames that were dropped."""
        if version in _OLD:  # behind the movie: 272 bytes, then all numbers, then all times
            number_at = [tail_at + 272 + 4 * k for k in (0, n_held - 1)]
            time_at = [tail_at + 272 + 4 * n_frames + 8 * k for k in (0, n_held - 1)]
        elif self._footer_bytes < _KEPT_AT:
            return None
        else:
            step = self._frame_bytes + self._footer_bytes
            number_at = [self._data_at + k * step + self._frame_bytes for k in (0, n_held - 1)]
            time_at = [at + 4 for at in number_at]
        numbers, times = ([pread(self._fd, 8, at) for at in places] for places in (number_at, time_at))
        if n_held < 2 or any(len(stamp) < 8 for stamp in (*numbers, *times)):
            return None
        first, last = (struct.unpack_from("<I", stamp)[0] for stamp in numbers)
        if last - first > n_held - 1:
            self.notes.append(
                f"the camera counted {last - first + 1} frames, {self.path.name} holds {n_held}: "
                f"{last - first + 1 - n_held} were dropped, and frames after them count too low"
            )
        begin, end = (s + us * 1e-6 for s, us in (struct.unpack("<2I", stamp) for stamp in times))
        interval_s = (end - begin) / max(last - first, n_held - 1)
        return interval_s if 0 < interval_s < 1e5 else None

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        frames = np.empty((stop - start, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        step, first = self._frame_bytes + self._footer_bytes, rows.start * self._row_bytes
        n_kept = min(_KEPT_BYTES // self.dtype.itemsize, columns.stop)
        kept = np.empty((1, max(n_kept - columns.start, 0)), self.dtype)
        for k in range(start, stop):
            try:
                at = self._data_at + k * step + first
                read_rows(self._fd, at, frames[k - start], columns, row_bytes=self._row_bytes)
                if rows.start <= self._kept_row < rows.stop and kept.size:
                    at = self._kept_at + k * self._kept_step
                    read_rows(self._fd, at, kept, slice(columns.start, n_kept), row_bytes=_KEPT_BYTES)
                    frames[k - start, self._kept_row - rows.start, : kept.size] = kept[0]
            except (EOFError, OSError) as error:
                raise LocalizationError(f"{self.path}: frame {k} cannot be read ({error}); copy it again") from error
        return frames

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


MOVIE = MovieFormat("dcimg", lambda path: is_kind(path, ".dcimg", _MAGIC), DcimgMovie)
