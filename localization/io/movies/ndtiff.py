"""NDTiff, what Micro-Manager 2 and pycro-manager write: TIFF files of up to 4 GB, and NDTiff.index that says which
frame lies where.

The index is read here and the pixels where it points: the pages of the files lie in the order in which they were
saved, of all channels and positions, and a frame that was saved twice lies there twice. Format: README of
https://github.com/micro-manager/NDTiffStorage (versions 2 and 3), checked against what the packages ndtiff 3.1.0 and
ndstorage 0.1.18 write.
"""

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis, Chosen, choose
from localization.io.movies.micromanager import micromanager_facts, parsed
from localization.io.movies.source import MovieFormat, MovieOptions, Source, pread, read_plain, refuse_size
from localization.io.movies.tiff_movie import open_stack
from localization.io.movies.tiff_sets import heads
from localization.types import LocalizationError, MovieFacts, one_line

INDEX = "NDTiff.index"
_MAGIC = struct.pack("<I", 483729)  # eight bytes into each file
_SUMMARY = struct.pack("<I", 2355492)
_TYPES = {0: np.uint8} | dict.fromkeys((1, 3, 4, 5, 6), np.uint16)  # 2 is colour; 3 to 6 are 10, 12, 14, 11 bits
_REMEDY = "copy the whole folder, or read what is there with allow_cut=True (--allow-cut)"
_SHOWN = 3

Value = int | str | None


class _Entry(NamedTuple):
    """A frame of the index: its place on the axes, its file, where its pixels and its description begin."""

    axes: tuple[tuple[str, Value], ...]
    file: str
    pixels_at: int
    shape: tuple[int, int]
    pixel_type: int
    about_at: int
    about_bytes: int


class NdtiffMovie:
    """The frames of one channel and position of a data set, in the order of their times."""

    by_frame = True

    def __init__(self, folder: Path, options: MovieOptions, only: str | None = None) -> None:
        saved, self.notes = _read_index(folder / INDEX, options)
        if only is not None:
            saved = [entry for entry in saved if entry.file == only]
            self.notes.append(f"{only} is read alone: {len(saved)} frames of the data set lie in it")
        if not saved:
            raise LocalizationError(
                f"{folder / (only or INDEX)}: the index names no frame of it; copy the whole folder"
            )
        self._folder, self._files = folder, dict[str, int]()
        summary = _summary(folder / saved[0].file)
        latest = {entry.axes: entry for entry in saved}  # of a frame saved twice the later one, as the package reads
        if len(latest) < len(saved):
            twice = len(saved) - len(latest)
            self.notes.append(f"{twice} frame{'s were' if twice > 1 else ' was'} saved twice: the later one is read")
        chosen, entries, times = _ordered(folder, list(latest.values()), summary, options)
        self.notes += chosen.notes
        entries, times = self._there(entries, times, options)
        self.notes += _gaps(chosen.along, times)
        self._entries = entries
        first, last = entries[0], entries[-1]
        if first.pixel_type not in _TYPES:
            what = "colour images" if first.pixel_type == 2 else f"pixels of an unknown type ({first.pixel_type})"
            raise LocalizationError(f"{folder}: {what}; export one channel as uint16")
        refuse_size(folder, first.shape)
        other = next((e for e in entries if (e.shape, e.pixel_type) != (first.shape, first.pixel_type)), None)
        if other is not None:
            raise LocalizationError(
                f"{folder}: frames of unequal shape or type ({first.shape}, {other.shape}); export frames of one kind"
            )
        self.shape = (len(entries), *first.shape)
        self.dtype = np.dtype(_TYPES[first.pixel_type])
        in_use = {entry.file for entry in entries}
        used = [name for name in dict.fromkeys(entry.file for entry in saved) if name in in_use]
        if len(used) > 1:
            self.notes.append(f"{len(used)} files read as one movie: {used[0]} to {used[-1]}")
        steps = times[-1] - times[0] if chosen.along == "time" and _whole(times) else 0  # pyright: ignore
        self.facts: MovieFacts = micromanager_facts(summary, self._about(first), self._about(last), int(steps))

    def _there(
        self, entries: list[_Entry], times: list[Value], options: MovieOptions
    ) -> tuple[list[_Entry], list[Value]]:
        """Keep the frames whose pixels are in the files. Raises where some are not, unless that is allowed."""
        sizes = {name: _size(self._folder / name) for name in dict.fromkeys(entry.file for entry in entries)}
        there = [entry.pixels_at + _frame_bytes(entry) <= sizes[entry.file] for entry in entries]
        if all(there):
            return entries, times
        gone = next(entry.file for entry, is_there in zip(entries, there, strict=True) if not is_there)
        lost = there.count(False)
        what = "is missing" if not sizes[gone] else "is cut off"
        if not options.allow_cut:
            raise LocalizationError(
                f"{self._folder / gone}: {what}, {lost} of {len(there)} frames lie in it; {_REMEDY}"
            )
        if lost == len(there):
            raise LocalizationError(f"{self._folder / gone}: {what}, no frame is left; copy the whole folder")
        self.notes.append(f"{gone} {what}: {lost} of {len(there)} frames are left out")
        kept = [k for k, is_there in enumerate(there) if is_there]
        return [entries[k] for k in kept], [times[k] for k in kept]

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        frames = np.empty((stop - start, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        width, stored = self.shape[2], self.dtype.newbyteorder("<")
        for k in range(start, stop):
            entry = self._entries[k]
            fd, out = self._open(entry.file), frames[k - start]
            if not read_plain(fd, entry.pixels_at, width, stored, rows, columns, out):
                raise LocalizationError(f"{self._folder / entry.file}: the file became shorter; copy it again")
        return frames

    def _open(self, name: str) -> int:
        if name not in self._files:
            try:
                self._files[name] = os.open(self._folder / name, os.O_RDONLY)
            except OSError as error:
                raise LocalizationError(f"{self._folder / name}: cannot be read ({one_line(error)})") from error
        return self._files[name]

    def _about(self, entry: _Entry) -> dict:
        return parsed(pread(self._open(entry.file), min(entry.about_bytes, 1 << 20), entry.about_at))

    def close(self) -> None:
        """Close every file."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()


def _read_index(path: Path, options: MovieOptions) -> tuple[list[_Entry], list[str]]:
    """Read the frames in the order in which they were saved. Raises where the index ends before the frames do."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LocalizationError(f"{path}: cannot be read ({one_line(error)}); copy the whole folder") from error
    texts: list[bytes] = []
    rest: list[tuple[str, tuple[int, ...]]] = []
    at = 0
    while at + 4 <= len(raw):
        (n_axes,) = struct.unpack_from("<I", raw, at)
        if n_axes == 0:  # space kept for entries that never came
            break
        name_at = at + 8 + n_axes
        if name_at > len(raw):
            break
        (n_name,) = struct.unpack_from("<I", raw, name_at - 4)
        if name_at + n_name + 32 > len(raw):
            break
        texts.append(raw[at + 4 : name_at - 4])
        rest.append(
            (
                raw[name_at : name_at + n_name].decode("utf-8", "replace"),
                struct.unpack_from("<8I", raw, name_at + n_name),
            )
        )
        at = name_at + n_name + 32
    try:
        places = json.loads(b"[" + b",".join(texts) + b"]")
        if len(places) != len(texts):
            raise ValueError("axes of another number than frames")
        entries = [_entry(place, *other) for place, other in zip(places, rest, strict=True)]
    except (ValueError, TypeError, RecursionError) as error:
        raise LocalizationError(f"{path}: a damaged index ({one_line(error)}); copy the whole folder") from error
    notes: list[str] = []
    left = "the index is cut off" if raw[at:].strip(b"\0") else _beyond(path.parent, entries)
    if left:
        if not options.allow_cut:
            raise LocalizationError(f"{path}: {left}; {_REMEDY}")
        notes.append(f"{left}: only the frames that it names are read")
    return entries, notes


def _entry(axes: object, file: str, numbers: tuple[int, ...]) -> _Entry:
    if not isinstance(axes, dict) or not all(isinstance(value, int | str) for value in axes.values()):
        raise ValueError("a frame without axes")
    if not file or "/" in file or "\\" in file or "\0" in file:
        raise ValueError(f"a file named {file!r}")
    pixels_at, width, height, pixel_type, compression, about_at, about_bytes, _ = numbers
    if compression:
        raise ValueError("compressed pixels")
    return _Entry(tuple(sorted(axes.items())), file, pixels_at, (height, width), pixel_type, about_at, about_bytes)


def _beyond(folder: Path, entries: Sequence[_Entry]) -> str:
    """Say where files go on behind the last frame that the index names, as after a crash."""
    ends: dict[str, int] = {}
    for entry in entries:
        ends[entry.file] = max(ends.get(entry.file, 0), entry.about_at + entry.about_bytes)
    for name, end in ends.items():
        if _bytes(folder / name, end + end % 2, 2).strip(b"\0"):
            return f"{name} holds frames that the index does not name"
    strange = sorted(f.name for f in folder.iterdir() if f.name not in ends and _is_part(f))
    return f"{strange[0]} holds frames that the index does not name" if strange else ""


def _ordered(
    folder: Path, entries: list[_Entry], summary: dict, options: MovieOptions
) -> tuple[Chosen, list[_Entry], list[Value]]:
    """Choose the frames of one channel and position, in the order of their place on the axis that is left."""
    placed = [dict(entry.axes) for entry in entries]
    names = list(dict.fromkeys(name for place in placed for name in place))
    values = {name: _sorted(dict.fromkeys(place.get(name) for place in placed)) for name in names}
    axes = [Axis(name, len(values[name]), _labels(name, values[name], summary)) for name in names]
    chosen = choose(folder, axes, options)
    wanted = {name: values[name][k] for name, k in chosen.index.items()}
    kept = [k for k, place in enumerate(placed) if all(place.get(name) == value for name, value in wanted.items())]
    if not kept:
        raise LocalizationError(f"{folder}: no frame of that channel and position was saved; choose another")
    if chosen.along is None:
        return chosen, [entries[k] for k in kept], [0]
    along = [placed[k].get(chosen.along) for k in kept]
    rank = {value: k for k, value in enumerate(values[chosen.along])}
    order = sorted(range(len(kept)), key=lambda j: rank[along[j]])
    return chosen, [entries[kept[j]] for j in order], [along[j] for j in order]


def _sorted(values: dict[Value, None]) -> list[Value]:
    """Sort numbers by size; names stay in the order in which they first came."""
    return sorted(values) if _whole(list(values)) else list(values)  # pyright: ignore


def _whole(values: Sequence[Value]) -> bool:
    return all(isinstance(value, int) for value in values)


def _labels(name: str, values: list[Value], summary: dict) -> tuple[str, ...]:
    called = summary.get("ChNames")
    if name == "channel" and _whole(values) and isinstance(called, list):
        return tuple(str(called[v]) if isinstance(v, int) and 0 <= v < len(called) else str(v) for v in values)
    return tuple("none" if value is None else str(value) for value in values)


def _gaps(along: str | None, times: list[Value]) -> list[str]:
    """Say which numbers are missing between the first and the last; a movie of every fifth number lacks none."""
    if along is None or not _whole(times):
        return []
    counted = np.array(times, np.float64)
    notes = [] if along == "time" else [f"the frames run along the axis {along}"]
    steps = np.diff(counted)
    wide = np.flatnonzero(steps > steps.min()) if steps.size else []
    if len(wide):
        lost = int(round(sum(steps[wide] / steps.min() - 1)))
        shown = ", ".join(f"{times[k]} and {times[k + 1]}" for k in wide[:_SHOWN])
        what = "1 frame is missing" if lost == 1 else f"{lost} frames are missing"
        notes.append(
            f"{what}, between {along} {shown}{', ...' if len(wide) > _SHOWN else ''}: "
            "frame numbers count the frames that are there"
        )
    return notes


def _frame_bytes(entry: _Entry) -> int:
    return entry.shape[0] * entry.shape[1] * np.dtype(_TYPES.get(entry.pixel_type, np.uint8)).itemsize


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _bytes(path: Path, at: int, count: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(at)
            return file.read(count)
    except OSError:
        return b""


def _summary(path: Path) -> dict:
    """Read the description of the whole set, which every file of it begins with."""
    head = _bytes(path, 0, 28)
    if len(head) < 28 or head[20:24] != _SUMMARY:
        return {}
    return parsed(_bytes(path, 28, min(struct.unpack("<I", head[24:])[0], 1 << 24)))


def _is_part(path: Path) -> bool:
    return path.suffix.lower() in (".tif", ".tiff") and _bytes(path, 8, 4) == _MAGIC


def _sets(path: Path) -> list[Path]:
    """List the folders of data sets that a path means: its own, or those inside it."""
    if not path.is_dir():
        return [path.parent] if path.name == INDEX or _is_part(path) else []
    if (path / INDEX).is_file() or any("NDTiffStack" in file.name for file in path.iterdir()):
        return [path]
    return sorted(inner for inner in path.iterdir() if (inner / INDEX).is_file())


def _recognises(path: Path) -> bool:
    try:
        return bool(_sets(path))
    except OSError:
        return False


def _open(path: Path, options: MovieOptions) -> Source:
    folders = _sets(path)
    if len(folders) > 1:
        raise LocalizationError(
            f"{path}: holds {len(folders)} data sets ({folders[0].name}, {folders[1].name}, ...); name the one to read"
        )
    folder = folders[0]
    if (folder / INDEX).is_file():
        only = path.name if options.alone and _is_part(path) else None
        try:
            return NdtiffMovie(folder, options, only)
        except OSError as error:
            raise LocalizationError(f"{folder}: cannot be read ({one_line(error)}); copy the whole folder") from error
    if not options.allow_cut:
        raise LocalizationError(
            f"{folder}: {INDEX}, which says what each frame is, is missing; copy the whole folder, or read the frames "
            "in the order in which they were saved with allow_cut=True (--allow-cut)"
        )
    movie = open_stack(path if path.is_file() else _head(folder), options)
    movie.notes.insert(0, f"{INDEX} is missing: frames are in the order in which they were saved")
    return movie


def _head(folder: Path) -> Path:
    parts = [file for file in sorted(folder.iterdir()) if _is_part(file)]
    found = heads(parts)
    if len(found) != 1:
        raise LocalizationError(f"{folder}: holds {len(found)} NDTiff movies; name the one that is meant")
    return found[0]


MOVIE = MovieFormat("ndtiff", _recognises, _open)
