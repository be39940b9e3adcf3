"""Nikon's ND2 movie (NIS-Elements), by the library nd2.

nd2 (BSD-3, T. Lambert, a release every few months) knows the axes and the frames. Up to 0.12 it gives black frames for
those that an experiment announces and the file does not hold, so the map of chunks at the file's end is read here too:
which frames there are, and that each lies where the map says. Pixel and exposure are read from the first frame's
description, the interval is the mean that the camera kept. Checked by files written to the published layout of chunks
(nd2 has no writer), which nd2 0.12 opens.
"""

import math
import os
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis, choose, places
from localization.io.movies.instruments.extra import begins_with, is_kind, library
from localization.io.movies.instruments.held import check_number, held_frames
from localization.io.movies.instruments.rows import read_rows
from localization.io.movies.source import MovieFormat, MovieOptions, pread, refuse_size, refuse_type
from localization.types import LocalizationError, MovieFacts, one_line

_MAGIC, _OLD_MAGIC = struct.pack("<I", 0x0ABECEDA), b"\0\0\0\x0c"
_MAP_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_FRAME_AT = 4096  # bytes from the beginning of a frame's chunk to its pixels
_AXES = {"TimeLoop": "time", "NETimeLoop": "time", "XYPosLoop": "position", "ZStackLoop": "z"}


class Nd2Movie:
    """The frames of an ND2 file along one loop of its experiment."""

    def __init__(self, path: Path, options: MovieOptions) -> None:
        if begins_with(path, _OLD_MAGIC):
            raise LocalizationError(
                f"{path}: an ND2 file of the kind before 2009 (JPEG 2000); save it anew in NIS-Elements, or as TIFF"
            )
        nd2 = library(path, "nd2", "a Nikon ND2 movie")
        self.path, self.notes = path, []
        self._fd = os.open(path, os.O_RDONLY)
        self._file: Any = None
        try:
            size = path.stat().st_size
            at = self._chunk_map(size)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._file = nd2.ND2File(path)
                self._describe(at, size, options)
        except LocalizationError:
            self.close()
            raise
        except Exception as error:  # nd2 raises errors of many kinds for a damaged file
            self.close()
            raise LocalizationError(f"{path}: a damaged ND2 file ({one_line(error)}); copy it again") from error

    def _chunk_map(self, size: int) -> dict[int, tuple[int, int]]:
        """Read where the frames lie: number -> (place of its chunk, bytes)."""
        tail = pread(self._fd, 40, size - 40) if size >= 40 else b""
        if not begins_with(self.path, _MAGIC) or tail[:32] != _MAP_END:
            raise LocalizationError(
                f"{self.path}: the map of its frames is missing, the file was cut off or its writing broken off; "
                "copy it again, or recover it with nd2.rescue_nd2 of the package nd2"
            )
        (map_at,) = struct.unpack("<Q", tail[32:])
        head = pread(self._fd, 16, map_at)
        if len(head) < 16 or head[:4] != _MAGIC:
            raise LocalizationError(f"{self.path}: the map of its frames is damaged; copy it again")
        _, name_bytes, map_bytes = struct.unpack("<IIQ", head)
        if map_bytes > size:
            raise LocalizationError(f"{self.path}: the map of its frames is damaged; copy it again")
        chunks = pread(self._fd, map_bytes, map_at + 16 + name_bytes)
        found = re.finditer(rb"ImageDataSeq\|(\d{1,12})!(.{16})", chunks, re.S)
        return {int(m[1]): struct.unpack("<QQ", m[2]) for m in found}

    def _describe(self, at: dict[int, tuple[int, int]], size: int, options: MovieOptions) -> None:
        path, file = self.path, self._file
        about = file.attributes
        height, width = int(about.heightPx), int(about.widthPx or 0)
        refuse_size(path, (height, width))
        if file.is_rgb:
            raise LocalizationError(f"{path}: colour frames; export one channel as (frame, y, x)")
        refuse_type(path, np.dtype(file.dtype))
        if about.compressionType == "lossy":
            raise LocalizationError(f"{path}: frames compressed with losses; record or export them without")
        loops, names = [], []
        for loop in file.experiment:
            name = _AXES.get(loop.type, "loop")
            names.append(name if name not in names else f"{name} {len(names)}")
            loops.append(Axis(names[-1], int(loop.count)))
        n_announced = math.prod(axis.size for axis in loops)
        if n_announced < about.sequenceCount and n_announced <= 1:
            loops, n_announced = [Axis("time", int(about.sequenceCount))], int(about.sequenceCount)
        check_number(path, n_announced)
        picture = self._picture()
        channels = _channel_names(picture)
        n_channels = int(about.componentCount)
        axes = [*loops, Axis("channel", n_channels, channels if len(channels) == n_channels else ())]
        chosen = choose(path, axes, options)
        self.notes += chosen.notes
        self._channel, self._n_channels = chosen.index.get("channel", 0), n_channels
        numbers = [place // n_channels for place in places(axes, chosen)]
        packed = about.compressionType == "lossless"
        frame_bytes = 0 if packed else height * int(about.widthBytes or 0)
        there = [
            k in at and at[k][0] + (at[k][1] if packed else _FRAME_AT + frame_bytes) <= size for k in numbers
        ]  # fmt: skip
        self._numbers = [numbers[k] for k in held_frames(path, there, options, self.notes)]
        self._at = {k: at[k][0] for k in self._numbers}
        self.dtype = np.dtype(file.dtype).newbyteorder("=")
        self.shape = (len(self._numbers), height, width)
        self.facts = MovieFacts(
            pixel_um=_pixel_um(picture), exposure_s=_exposure_s(picture, self._channel), interval_s=self._interval()
        )

    def _picture(self) -> dict[str, Any]:
        """Read the description of the first frame; what nd2 makes of it fails where no dye is named (0.12)."""
        name = f"ImageMetadataSeq{'LV' if self._file.version >= (3, 0) else ''}|0"
        found = self._file.unstructured_metadata(strip_prefix=False, include={name}).get(name)
        found = found.get("SLxPictureMetadata", found) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _interval(self) -> float | None:
        for loop in self._file.experiment:
            if loop.type == "TimeLoop":
                difference = loop.parameters.periodDiff
                measured = difference.avg if difference is not None else 0.0
                interval_s = float(measured or loop.parameters.periodMs or 0.0) * 1e-3
                return interval_s if 0 < interval_s < 1e6 else None
        return None

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        frames = np.empty((stop - start, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for k in range(start, stop):
            number = self._numbers[k]
            name = b"ImageDataSeq|%d!" % number
            head = pread(self._fd, 16 + len(name), self._at[number])
            if head[:4] != _MAGIC or head[16:] != name:
                raise LocalizationError(f"{self.path}: frame {k} is not where the map says; copy the file again")
            try:
                self._fill(frames[k - start], number, rows, columns)
            except Exception as error:  # as above
                raise LocalizationError(
                    f"{self.path}: frame {k} cannot be read ({one_line(error)}); copy it again"
                ) from error
        return frames

    def _fill(self, out: NDArray, number: int, rows: slice, columns: slice) -> None:
        about = self._file.attributes
        if about.compressionType == "lossless":
            frame = self._file.read_frame(number)
            out[:] = (frame[self._channel] if self._n_channels > 1 else frame.reshape(self.shape[1:]))[rows, columns]
            return
        row_bytes = int(about.widthBytes)
        at = self._at[number] + _FRAME_AT + rows.start * row_bytes
        read_rows(self._fd, at, out, columns, row_bytes=row_bytes, per_pixel=self._n_channels, which=self._channel)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._file = -1, None


def _within(picture: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        found = picture.get(key)
        picture = found if isinstance(found, dict) else {}
    return picture


def _channel_names(picture: dict[str, Any]) -> tuple[str, ...]:
    planes = _within(picture, "sPicturePlanes", "sPlaneNew") or _within(picture, "sPicturePlanes", "sPlane")
    return tuple(str(_within(planes, key).get("sDescription", "")) for key in planes)


def _pixel_um(picture: dict[str, Any]) -> float | None:
    size_um = picture.get("dCalibration")
    return size_um if picture.get("bCalibrated") and isinstance(size_um, float) and 0 < size_um < 1e3 else None


def _exposure_s(picture: dict[str, Any], channel: int) -> float | None:
    """Read the exposure, which NIS-Elements keeps in milliseconds with the settings of each channel."""
    settings = _within(picture, "sPicturePlanes", "sSampleSetting")
    exposure_ms = _within(settings, f"a{channel}" if f"a{channel}" in settings else "a0").get("dExposureTime")
    return exposure_ms * 1e-3 if isinstance(exposure_ms, float) and 0 < exposure_ms < 1e8 else None


MOVIE = MovieFormat("nd2", lambda path: is_kind(path, ".nd2", _MAGIC), Nd2Movie)
