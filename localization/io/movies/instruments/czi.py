"""Zeiss' CZI movie (ZEN), uncompressed, zstd or JPEG XR.

Layout: "ZEISS CZI file format" (ZISRAW), as libCZI's CziStructs.h states it: segments of a name and two sizes; the
directory lists every subblock with its place, pixel type, compression and dimensions. The pixels are unpacked by
imagecodecs, which TIFF needs anyhow. Read here and not by a library: pylibCZIrw 6.1 is LGPL-3.0 and installs all of
cmake; czifile is free of that, but what runs on Python 3.11 is of 2019 and knows no zstd, and its present versions want
3.12. Checked by files that pylibCZIrw 6.1 wrote (tests/made/czi_by_pylibczirw.py); JPEG XR by one of imagecodecs;
a recording among the tests of aicspylibczi gives the pixels that pylibCZIrw reads.
"""

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis, choose
from localization.io.movies.instruments.extra import is_kind
from localization.io.movies.instruments.held import check_number, held_frames
from localization.io.movies.instruments.rows import read_rows
from localization.io.movies.source import MovieFormat, MovieOptions, pread, refuse_size
from localization.types import LocalizationError, MovieFacts, one_line

_MAGIC = b"ZISRAWFILE"
_HEADER = 32  # bytes of a segment before its data: name, room, used
_PIXELS = {0: "<u1", 1: "<u2", 12: "<u4"}  # Gray8, Gray16, Gray32; others are colour, float or complex
_PLAIN, _JPEG, _JPEG_XR, _ZSTD0, _ZSTD1 = 0, 1, 4, 5, 6
_PLACE = {"T": "time", "Z": "z", "C": "channel", "S": "position", "M": "tile"}
_MAX_DIRECTORY_BYTES = 1 << 32
_MAX_XML_BYTES = 1 << 28


@dataclass
class _Block:
    """One subblock: where its segment begins, and what it holds."""

    at: int
    pixels: int
    compression: int
    part: int
    start: dict[str, int]
    size: dict[str, int]
    stored: dict[str, int]


class CziMovie:
    """The frames of a CZI file along one axis; one subblock each."""

    def __init__(self, path: Path, options: MovieOptions) -> None:
        self.path, self.notes = path, []
        self._fd = os.open(path, os.O_RDONLY)
        try:
            self._read_directory(path.stat().st_size, options)
        except struct.error as error:
            self.close()
            raise LocalizationError(f"{path}: truncated in its directory; copy it again") from error
        except (LocalizationError, OSError):
            self.close()
            raise

    def _read_directory(self, size: int, options: MovieOptions) -> None:
        path = self.path
        head = pread(self._fd, _HEADER + 80, 0)
        if not head.startswith(_MAGIC):
            raise LocalizationError(f"{path}: not a CZI file; check the name")
        part, directory_at, metadata_at = struct.unpack_from("<iqq", head, _HEADER + 48)
        if part != 0:
            raise LocalizationError(f"{path}: part {part} of a set of CZI files; name the first, or export the whole")
        known = self._blocks(directory_at, size)
        blocks = [block for block in known if _whole(block)]
        lost = len({_when(block) for block in known} - {_when(block) for block in blocks})
        if lost:
            self.notes.append(f"{path.name} has smaller copies of {lost} frames that are not there themselves")
        xml = self._xml(metadata_at)
        tiles = [block for block in blocks if block.start.get("M", 0) > 0]
        if tiles:
            raise LocalizationError(f"{path}: frames of several tiles; export them stitched, as one (frame, y, x)")
        axes = _axes(blocks, xml)
        chosen = choose(path, axes, options)
        self.notes += chosen.notes
        letters = {name: letter for letter, name in _PLACE.items()}
        first = {axis.name: min(block.start.get(letters.get(axis.name, axis.name), 0) for block in blocks)
                 for axis in axes}  # fmt: skip
        along = letters.get(chosen.along or "", chosen.along)
        mine = [
            block for block in blocks
            if all(block.start.get(letters.get(name, name), 0) - first[name] == k for name, k in chosen.index.items())
        ]  # fmt: skip
        n_frames = check_number(path, next((axis.size for axis in axes if axis.name == chosen.along), 1))
        at: list[_Block | None] = [None] * n_frames
        for block in mine:
            k = block.start.get(along, 0) - first[chosen.along] if along and chosen.along else 0
            if at[k] is not None:
                raise LocalizationError(f"{path}: frame {k} is there twice; export the movie again")
            at[k] = block
        one = mine[0] if mine else blocks[0]
        wrong = next((b for b in mine if (b.pixels, b.stored) != (one.pixels, one.stored)), None)
        if wrong is not None or one.pixels not in _PIXELS:
            kind = (wrong or one).pixels
            raise LocalizationError(
                f"{path}: frames of unequal shape or of pixel type {kind} (colour or floating point); export them as "
                "grey uint16 counts without scaling"
            )
        height, width = one.stored["Y"], one.stored["X"]
        refuse_size(path, (height, width))
        self._stored = np.dtype(_PIXELS[one.pixels])
        self.dtype = self._stored.newbyteorder("=")
        there = [block is not None and self._reaches(block, size, height * width) for block in at]
        self._frames = [at[k] for k in held_frames(path, there, options, self.notes)]
        self.shape = (len(self._frames), height, width)
        self.facts = _facts(xml)

    def _blocks(self, at: int, size: int) -> list[_Block]:
        """Read the directory of subblocks. Raises where there is none, as in a file whose writing was broken off."""
        head = pread(self._fd, _HEADER + 128, at) if at > 0 else b""
        if not head.startswith(b"ZISRAWDIRECTORY"):
            raise LocalizationError(
                f"{self.path}: the directory of its frames is missing, the file was cut off or its writing broken off; "
                "copy it again, or open it in ZEN and save it"
            )
        room, used, n_blocks = struct.unpack_from("<qqi", head, 16)
        exact, used = used > 0, used or room
        if not 0 <= used <= min(size, _MAX_DIRECTORY_BYTES) or n_blocks < 1:
            raise LocalizationError(
                f"{self.path}: a directory of {n_blocks} frames; the file is damaged, copy it again"
            )
        data = pread(self._fd, used - 128, at + _HEADER + 128)
        blocks, place = [], 0
        for _ in range(n_blocks):
            if data[place : place + 2] != b"DV":
                raise LocalizationError(f"{self.path}: its directory of frames is damaged; copy it again")
            pixels, block_at, part, compression = struct.unpack_from("<iqii", data, place + 2)
            (n_dims,) = struct.unpack_from("<i", data, place + 28)
            start, extent, stored = {}, {}, {}
            for k in range(min(max(n_dims, 0), 40)):
                name, first, count, _, kept = struct.unpack_from("<4siifi", data, place + 32 + 20 * k)
                letter = name.split(b"\0")[0].decode("latin-1")
                start[letter], extent[letter], stored[letter] = first, count, kept or count
            if not {"X", "Y"} <= set(extent):
                raise LocalizationError(f"{self.path}: its directory of frames is damaged; copy it again")
            blocks.append(_Block(block_at, pixels, compression, part, start, extent, stored))
            place += 32 + 20 * n_dims
        if exact and place != used - 128:  # a number of frames that is not that of its entries
            raise LocalizationError(f"{self.path}: its directory of frames is damaged; copy it again")
        if any(block.part for block in blocks):
            raise LocalizationError(f"{self.path}: its frames lie in several CZI files; export them as one")
        return blocks

    def _reaches(self, block: _Block, size: int, n_px: int) -> bool:
        at = block.at + _HEADER + 256
        return 0 < block.at < size and at + (n_px * self._stored.itemsize if block.compression == _PLAIN else 1) <= size

    def _xml(self, at: int) -> str:
        head = pread(self._fd, _HEADER + 8, at) if at > 0 else b""
        if not head.startswith(b"ZISRAWMETADATA"):
            if at > 0:
                self.notes.append(f"{self.path.name}: its metadata are not where it says; was it damaged?")
            return ""
        (n_bytes,) = struct.unpack_from("<i", head, _HEADER)
        text = pread(self._fd, min(max(n_bytes, 0), _MAX_XML_BYTES), at + _HEADER + 256).decode("utf-8", "replace")
        return text[max(text.find("<Information"), 0) :]  # what was recorded; before it stands what was planned

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        frames = np.empty((stop - start, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for k in range(start, stop):
            try:
                self._fill(frames[k - start], k, rows, columns)
            except LocalizationError:
                raise
            except Exception as error:  # the codecs raise errors of their own for damaged pixels
                raise LocalizationError(
                    f"{self.path}: frame {k} cannot be read ({one_line(error)}); copy it again"
                ) from error
        return frames

    def _fill(self, out: NDArray, k: int, rows: slice, columns: slice) -> None:
        height, width = self.shape[1:]
        block = self._frames[k]
        assert block is not None
        head = pread(self._fd, _HEADER + 16, block.at)
        if not head.startswith(b"ZISRAWSUBBLOCK"):
            raise ValueError("no frame at its place")
        metadata_bytes, _, n_bytes = struct.unpack_from("<iiq", head, _HEADER)
        n_dims = len(block.size)
        # the entry of the directory stands here again; with it the fixed part takes 256 bytes, or more for many axes
        at = block.at + _HEADER + max(256, 16 + 32 + 20 * n_dims) + metadata_bytes
        if block.compression == _PLAIN:
            row_bytes = width * self._stored.itemsize
            if n_bytes < height * row_bytes:
                raise ValueError(f"{n_bytes} bytes instead of {height * row_bytes}")
            read_rows(self._fd, at + rows.start * row_bytes, out, columns, row_bytes=row_bytes)
            return
        raw = pread(self._fd, n_bytes, at)
        if len(raw) < n_bytes:
            raise ValueError("the file ends before it")
        out[:] = _unpack(raw, block.compression, self._stored, (height, width))[rows, columns]

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _when(block: _Block) -> tuple[int, ...]:
    return tuple(block.start.get(letter, 0) for letter in "TZC")


def _whole(block: _Block) -> bool:
    """Tell a frame as recorded from a smaller picture of it, which ZEN stores for looking at."""
    return all(block.stored[letter] == block.size[letter] for letter in "XY")


def _unpack(raw: bytes, compression: int, dtype: np.dtype, shape: tuple[int, int]) -> NDArray:
    import imagecodecs

    n_bytes = shape[0] * shape[1] * dtype.itemsize
    if compression == _JPEG_XR:
        found = np.asarray(imagecodecs.jpegxr_decode(raw))
        if found.shape != shape or found.dtype.itemsize != dtype.itemsize:
            raise ValueError(f"pixels of {found.shape} {found.dtype}")
        return found
    if compression == _ZSTD0:
        packed, split = raw, False
    elif compression == _ZSTD1:
        head_bytes = raw[0]  # and then pairs of a kind and a value: kind 1, value 1 is "low and high bytes apart"
        packed, split = raw[head_bytes:], head_bytes >= 3 and raw[1] == 1 and bool(raw[2] & 1)
    else:
        raise ValueError(f"compression {compression} ({'JPEG, with losses' if compression == _JPEG else 'unknown'})")
    data = imagecodecs.zstd_decode(packed, out=n_bytes)
    if len(data) != n_bytes:
        raise ValueError(f"{len(data)} bytes instead of {n_bytes}")
    if split and dtype.itemsize == 2:
        halves = np.frombuffer(data, np.uint8).reshape(2, -1)
        return np.ascontiguousarray(halves.T).view(dtype).reshape(shape)
    return np.frombuffer(data, dtype).reshape(shape)


def _axes(blocks: list[_Block], xml: str) -> list[Axis]:
    """Find the axes beside y and x: as far as the description announces, or as the frames reach."""
    axes = []
    letters = dict.fromkeys(letter for block in blocks for letter in block.start if letter not in "XYM")
    for letter in letters:
        starts = [block.start.get(letter, 0) for block in blocks]
        announced = re.search(rf"<Size{re.escape(letter)}>(\d{{1,9}})</Size{re.escape(letter)}>", xml)
        size = max(max(starts) - min(starts) + 1, int(announced[1]) if announced and min(starts) == 0 else 1)
        axes.append(Axis(_PLACE.get(letter, letter), size, _names(xml, size) if letter == "C" else ()))
    return axes


def _names(xml: str, size: int) -> tuple[str, ...]:
    found = re.findall(r'<Channel\b[^>]*\bId="Channel:\d+"[^>]*\bName="([^"]*)"', xml)[:size]
    return tuple(found) if len(found) == size else ()


def _facts(xml: str) -> MovieFacts:
    pixel = re.search(r'<Distance\b[^>]*\bId="X"[^>]*>\s*<Value>([^<]+)</Value>', xml)
    exposures = list(re.finditer(r"<ExposureTime>([^<]+)</ExposureTime>", xml))
    exposure = exposures[0] if len({found[1] for found in exposures}) == 1 else None  # else one for each channel
    interval = re.search(r"<T>.*?<Interval>.*?<Increment>([^<]+)</Increment>", xml, re.S)
    return MovieFacts(
        pixel_um=_positive(pixel, 1e6), exposure_s=_positive(exposure, 1e-9), interval_s=_positive(interval, 1.0)
    )


def _positive(found: re.Match[str] | None, unit: float) -> float | None:
    """Read a number of the description (metres, nanoseconds, seconds); None where it says nothing of use."""
    try:
        value = float(found[1]) * unit if found else 0.0
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


MOVIE = MovieFormat("czi", lambda path: is_kind(path, ".czi", _MAGIC), CziMovie)
