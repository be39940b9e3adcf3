"""A movie that is a folder: of files with one frame each, of stacks in a row, or of the files of one movie."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis, choose
from localization.io.movies.source import WHAT_IS_THERE, MovieFormat, MovieOptions, Source
from localization.io.movies.tiff import DAMAGE, TiffStack, damaged
from localization.io.movies.tiff_movie import join, open_stack
from localization.io.movies.tiff_parts import part_of
from localization.io.movies.tiff_sets import SUFFIXES, head_of, heads, lost_head
from localization.types import LocalizationError


class FolderMovie:
    """Files of one frame each, in the order of their numbers; opened one at a time, as they are read."""

    by_frame = True

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.notes = _gaps(folder, files)
        self._files = files
        for k in sorted({0, len(files) // 2, len(files) - 1}):
            self._check(k, first=k == 0)

    def _check(self, k: int, *, first: bool = False) -> TiffStack:
        file = self._files[k]
        stack = TiffStack(file)
        stack.close()
        if stack.n_pages != 1:
            raise LocalizationError(
                f"{file}: holds {stack.n_pages} frames, a folder must hold single ones; open the stack itself"
            )
        if first:
            self.shape, self.dtype = (len(self._files), *stack.shape), stack.dtype
            self.notes += stack.notes
        if ((len(self._files), *stack.shape), stack.dtype) != (self.shape, self.dtype):
            raise LocalizationError(
                f"{file}: {stack.shape} {stack.dtype}, but {self._files[0].name} is {self.shape[1:]} {self.dtype}; "
                "keep one movie per folder"
            )
        return stack

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        size = (stop - start, rows.stop - rows.start, columns.stop - columns.start)
        frames = np.empty(size, self.dtype)
        for k in range(start, stop):
            try:
                stack = TiffStack(self._files[k])
                try:
                    if ((len(self._files), *stack.shape), stack.dtype) != (self.shape, self.dtype):
                        self._check(k)
                    stack.read(0, rows, columns, frames[k - start])
                finally:
                    stack.close()
            except LocalizationError:
                raise
            except DAMAGE as error:
                raise damaged(self._files[k], error) from error
        return frames

    def close(self) -> None:
        """Do nothing: files are open only while they are read."""


_MICROMANAGER = re.compile(
    r"img_(?P<time>\d+)_(?P<channel>.+)_(?P<z>\d+)\.tiff?"
    r"|img_channel(?P<channel2>\d+)_position(?P<position>\d+)_time\d+_z(?P<z2>\d+)\.tiff?",
    re.I,
)


def _gaps(folder: Path, files: list[Path], what: str = "frames") -> list[str]:
    """Refuse a folder of two movies or of one frame twice; say where numbers are missing."""
    names = [file.name for file in files]
    skeletons = {re.sub(r"\d+", "#", file.stem.lower()): file.name for file in files}
    if len(skeletons) > 1:
        one, other = list(skeletons.values())[:2]
        raise LocalizationError(f"{folder}: files of different names ({one} and {other}); keep one movie per folder")
    numbers = [tuple(int(n) for n in re.findall(r"\d+", file.stem)) for file in files]
    for k in range(1, len(files)):
        if numbers[k] == numbers[k - 1]:
            raise LocalizationError(f"{folder}: {names[k - 1]} and {names[k]} carry the same number; keep one of them")
    table = np.array(numbers, dtype=object)
    varying = [c for c in range(table.shape[1]) if len(set(table[:, c])) > 1]
    if len(varying) != 1:
        return []
    counted = table[:, varying[0]].astype(np.float64)
    steps = np.diff(counted)
    wide = np.flatnonzero(steps > steps.min())
    if not wide.size:
        return []
    k = int(wide[0])
    lost = int(round(sum(steps[wide] / steps.min() - 1)))
    return [
        f"{lost} {what} are missing from the numbers of the files, first between {names[k]} and {names[k + 1]}: "
        "frame numbers count the files that are there"
    ]


def _of_one_channel(folder: Path, files: list[Path], options: MovieOptions) -> tuple[list[Path], Sequence[str]]:
    """Choose the images of one channel and position by the names that Micro-Manager gives them."""
    found = [m for file in files if (m := _MICROMANAGER.fullmatch(file.name))]
    if len(found) < len(files):
        return files, choose(folder, [], options).notes
    placed = {"channel": [m["channel"] or m["channel2"] for m in found], "position": [m["position"] for m in found]}
    labels = {name: sorted(set(values) - {None}) for name, values in placed.items()}
    chosen = choose(folder, [Axis(name, len(of), tuple(of)) for name, of in labels.items() if of], options)
    wanted = {name: labels[name][k] for name, k in chosen.index.items()}
    keep = [all(placed[name][k] == value for name, value in wanted.items()) for k in range(len(files))]
    return [file for file, kept in zip(files, keep, strict=True) if kept], chosen.notes


def _natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sort 2.tif before 10.tif: runs of digits compare as numbers."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name.lower())]


def _open(folder: Path, options: MovieOptions) -> Source:
    """Open a folder of single-frame files, or one that holds the files of one movie."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
    if not files:
        raise LocalizationError(f"{folder}: the folder holds no .tif files; give a movie or a folder of frames")
    files.sort(key=lambda file: _natural_key(file.name))
    options = replace(options, alone=False)  # a folder means what it holds
    if any("_MMStack" in file.name for file in files):
        return _one(folder, heads(files), "Micro-Manager movies", options)
    if any(head_of(file) for file in files):
        return _one(folder, [file for file in files if head_of(file) is None], "movies", options)
    if len(files) > 1 and _is_stack(files[0]):
        notes = _gaps(folder, files, "files")
        if lost := lost_head(files):
            notes.insert(0, f"{lost}, with which the movie begins, is missing")
        if notes and not options.allow_cut:
            raise LocalizationError(f"{folder}: {notes[0]}; copy the whole set, or {WHAT_IS_THERE}")
        movie = join(files, options)
        movie.notes += notes
        return movie
    if len(files) == 1 and _is_stack(files[0]):
        return open_stack(files[0], options)
    files, notes = _of_one_channel(folder, files, options)
    movie = FolderMovie(folder, files)
    movie.notes[:0] = notes
    return movie


def _one(folder: Path, found: list[Path], what: str, options: MovieOptions) -> Source:
    if len(found) == 1:
        return open_stack(found[0], options)
    raise LocalizationError(
        f"{folder}: holds {len(found)} {what} ({', '.join(f.name for f in found[:1])}, ...); name the one that is meant"
    )


def _is_stack(file: Path) -> bool:
    """Tell whether a file holds more than one frame."""
    stack = TiffStack(file)
    try:
        return part_of(stack, alone=True)[0].n_frames > 1
    finally:
        stack.close()


MOVIE = MovieFormat("folder", Path.is_dir, _open)
