"""TIFF movies: what a stack's description announces, and files that belong together."""

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.ome import OmeImage, main_file, ome_images
from localization.io.movies.source import CUT_REMEDY, MovieFormat, MovieOptions
from localization.io.movies.tiff import DAMAGE, TiffStack, damaged, quiet_tifffile
from localization.types import LocalizationError, one_line

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass
class _Part:
    """The frames of one file: pages of their own, or one header for `n_frames` that lie back to back."""

    stack: TiffStack
    n_frames: int
    contiguous_at: int | None = None

    def read(self, k: int, rows: slice, columns: slice) -> NDArray:
        if self.contiguous_at is None:
            return self.stack.read(k, rows, columns)
        return self.stack.read_at(self.contiguous_at + k * self.stack.frame_bytes, rows, columns)


@dataclass
class TiffMovie:
    """The frames of one or several TIFF files, in order; `order` gives the place of frame k where it is another."""

    path: Path
    parts: list[_Part]
    order: NDArray[np.int64] | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ends = list(accumulate(part.n_frames for part in self.parts))
        first = self.parts[0].stack
        n_frames = self._ends[-1] if self.order is None else len(self.order)
        self.shape, self.dtype = (n_frames, *first.shape), first.dtype

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        size = (stop - start, rows.stop - rows.start, columns.stop - columns.start)
        frames = np.empty(size, self.dtype)
        for k in range(start, stop):
            place = k if self.order is None else int(self.order[k])
            i = bisect_right(self._ends, place)
            part = self.parts[i]
            try:
                frames[k - start] = part.read(place - (self._ends[i] - part.n_frames), rows, columns)
            except LocalizationError:
                raise
            except DAMAGE as error:
                raise LocalizationError(
                    f"{part.stack.path}: frame {k} cannot be read ({one_line(error)}); copy or export it again"
                ) from error
        return frames

    def close(self) -> None:
        """Close every file."""
        for part in self.parts:
            part.stack.close()


def open_stack(path: Path, options: MovieOptions) -> TiffMovie:
    """Open a TIFF file, with the files that go on where it ends."""
    allow_cut = options.allow_cut
    first = TiffStack(path)
    opened, notes = [first], []
    try:
        with quiet_tifffile():
            if first.tif.is_ome and (main := main_file(path, first.description)) is not None:
                first.close()
                movie = open_stack(main, options)
                movie.notes.insert(0, f"{path.name} is a part of the movie that {main.name} begins: reading all of it")
                return movie
            image = _ome_image(path, first)
            files, missing = _set_of(path, image, first.n_pages)
            opened += [TiffStack(file) for file in files[1:]]
            for stack in opened[1:]:
                if (stack.shape, stack.dtype) != (first.shape, first.dtype):
                    raise LocalizationError(
                        f"{stack.path}: {stack.shape} {stack.dtype}, but {path.name} is {first.shape} {first.dtype}; "
                        "keep one movie's files together"
                    )
            if len(files) > 1:
                notes.append(f"{len(files)} files read as one movie: {files[0].name} to {files[-1].name}")
            parts, cut = _parts(opened, image, allow_cut, notes)
            order = _order(path, image, files, parts, cut, missing, allow_cut, notes)
    except LocalizationError:
        _close(opened)
        raise
    except DAMAGE as error:
        _close(opened)
        raise damaged(path, error) from error
    return TiffMovie(path, parts, order, notes)


def _close(stacks: list[TiffStack]) -> None:
    for stack in stacks:
        stack.close()


def _parts(
    stacks: list[TiffStack], image: OmeImage | None, allow_cut: bool, notes: list[str]
) -> tuple[list[_Part], bool]:
    """Find what each file holds, and whether something is missing from one of them."""
    parts, any_cut = [], False
    for stack in stacks:
        part, announced = _part(stack, alone=image is None)
        for k in stack.probes() if part.contiguous_at is None else ():
            stack.check_alike(k)
        whole = part.n_frames
        while part.n_frames and not _last_is_there(part):
            part.n_frames -= 1
        if stack.cut or part.n_frames < max(whole, announced):
            any_cut = True
            _cut(stack, part.n_frames, announced, allow_cut, notes)
        parts.append(part)
        rest = stacks[len(parts) :]
        if any_cut and rest and (image is None or not image.places):
            # nothing says which frames the files behind the gap hold
            notes.append(
                f"{len(rest)} files after {stack.path.name} are left out: their frames have lost their numbers"
            )
            _close(rest)
            break
    if not any(part.n_frames for part in parts):
        raise LocalizationError(f"{stacks[0].path}: truncated, not one whole frame is there; copy it again")
    return [part for part in parts if part.n_frames], any_cut


def _part(stack: TiffStack, *, alone: bool) -> tuple[_Part, int]:
    """Find the frames of a file, and how many its description announces (0 where it says nothing)."""
    announced = _announced(stack) if alone else 0
    if stack.n_pages > 1 or announced <= 1 and not (stack.tif.is_stk or stack.tif.is_lsm):
        # a program that appends frame by frame describes its first write alone
        return _Part(stack, stack.n_pages), announced if announced > stack.n_pages else 0
    if stack.tif.is_stk or stack.tif.is_lsm:
        announced = int(np.prod(stack.tif.series[0].shape)) // int(np.prod(stack.shape))
    page = stack.first
    if not page.is_contiguous or page.compression != 1:
        return _Part(stack, stack.n_pages), announced
    held = (stack.size - page.dataoffsets[0]) // stack.frame_bytes
    return _Part(stack, min(announced, held), page.dataoffsets[0]), announced


def _announced(stack: TiffStack) -> int:
    """Read how many frames ImageJ's or tifffile's description announces. Raises where they are no movie."""
    text = stack.description
    if stack.tif.is_imagej and text.startswith("ImageJ="):
        found = {
            key: int(value) for key, value in re.findall(r"^(images|channels|slices|frames)=(\d{1,12})\s*$", text, re.M)
        }
        axes = [("T", found.get("frames", 1)), ("Z", found.get("slices", 1)), ("C", found.get("channels", 1))]
        refuse_axes(stack.path, axes, stack.shape)
        return found.get("images", 1)
    if text.startswith("{") and stack.tif.is_shaped:
        try:
            shape = [int(n) for n in json.loads(text).get("shape", ())]
        except (ValueError, TypeError, AttributeError):
            return 0
        refuse_axes(stack.path, [("Q", n) for n in shape[:-2]], stack.shape)
        return int(np.prod([n for n in shape[:-2]], dtype=object)) if len(shape) > 2 else 1
    return 0


def refuse_axes(path: Path, axes: list[tuple[str, int]], shape: tuple[int, ...]) -> None:
    """Raise where more than one axis beside y and x is longer than 1, or where that one is of channels."""
    long_axes = [(name, size) for name, size in axes if size > 1]
    if len(long_axes) > 1 or any(name == "C" for name, _ in long_axes):
        names = "".join(name for name, _ in long_axes) + "YX"
        raise LocalizationError(
            f"{path}: axes {names} of sizes {(*(size for _, size in long_axes), *shape)}; "
            "export one channel and plane as (frame, y, x)"
        )


def _last_is_there(part: _Part) -> bool:
    return part.contiguous_at is not None or part.stack.complete(part.n_frames - 1)


def _cut(stack: TiffStack, n_frames: int, announced: int, allow_cut: bool, notes: list[str]) -> None:
    if not allow_cut:
        said = (
            f"it announces {announced} frames and holds {n_frames}"
            if announced
            else f"it ends after frame {n_frames - 1}"
        )
        raise LocalizationError(f"{stack.path}: truncated, {said}; {CUT_REMEDY}")
    notes.append(f"{stack.path.name} is cut off: its first {n_frames} frames are read")


def _ome_image(path: Path, first: TiffStack) -> OmeImage | None:
    """Find the image of an OME description that this file belongs to."""
    if not first.tif.is_ome:
        return None
    images = ome_images(first.description)
    mine = [image for image in images if path.name in image.files] or images
    if len(mine) > 1:
        raise LocalizationError(f"{path}: holds {len(mine)} OME images; export the one that is the movie")
    if not mine:
        return None
    refuse_axes(path, mine[0].axes, first.shape)
    return mine[0]


def _set_of(path: Path, image: OmeImage | None, n_pages: int) -> tuple[list[Path], list[str]]:
    """List the files of a movie in order, and the names of those that should be there and are not."""
    if image is None or len(image.files) < 2:
        # a file that describes all its planes as its own is whole, whatever lies beside it
        whole = image is not None and image.n_planes <= n_pages
        return [path] if whole else [path, *continuations(path)], []
    named = [path.parent / Path(name).name for name in image.files]
    if path not in named:  # renamed, perhaps the whole set
        going_on = continuations(path)
        if len(going_on) + 1 == len(named):
            return [path, *going_on], []
    return [file for file in named if file.exists()] or [path], [file.name for file in named if not file.exists()]


def continuations(path: Path) -> list[Path]:
    """List the files in which Micro-Manager goes on when one is full: name_1.ome.tif, name_2.ome.tif, ..."""
    stem = re.fullmatch(r"(.*?)(\.ome)?\.tiff?", path.name, re.I)
    if stem is None or not (stem[2] or "_MMStack" in path.name or "NDTiffStack" in path.name):
        return []
    pattern = re.compile(re.escape(stem[1]) + r"_(\d+)(\.ome)?\.tiff?", re.I)
    found = [(int(m[1]), file) for file in path.parent.iterdir() if (m := pattern.fullmatch(file.name))]
    found.sort()
    for expected, (number, file) in enumerate(found, 1):
        if number != expected:
            raise LocalizationError(f"{file}: the file number {expected} before it is missing; copy the whole set")
    return [file for _, file in found]


def _order(
    path: Path, image: OmeImage | None, files: list[Path], parts: list[_Part], cut: bool, missing: list[str],
    allow_cut: bool, notes: list[str],
) -> NDArray[np.int64] | None:  # fmt: skip
    """Find where each frame lies among all pages by the OME description; None where they simply follow."""
    held = sum(part.n_frames for part in parts)
    if image is None:
        return None
    places: NDArray[np.int64] | None = None
    if image.places:
        begins: dict[str, int] = {}
        total = 0
        by_path = {part.stack.path: part for part in parts}
        limits = {}
        for file, name in _names(path, image, files):
            count = by_path[file].n_frames if file in by_path else 0
            begins[name], limits[name] = total, count
            total += count
        places = np.full(image.n_planes, -1, np.int64)
        for plane, name, ifd in image.places:
            name = name or path.name
            if len(begins) == 1:  # one file, perhaps renamed
                name = next(iter(begins))
            if plane < image.n_planes and name in begins and ifd < limits[name]:
                places[plane] = begins[name] + ifd
        lost = np.flatnonzero(places < 0)
        n_frames = int(lost[0]) if lost.size else image.n_planes
        places = places[:n_frames]
    else:
        n_frames = min(held, image.n_planes)
    if n_frames < image.n_planes and not (cut and allow_cut and not missing):
        what = f"the file {missing[0]} is missing" if missing else f"frame {n_frames} is not there"
        if not allow_cut:
            raise LocalizationError(
                f"{path}: {what} of the {image.n_planes} frames that the movie announces; copy the whole set, or "
                "read what is there with allow_cut=True (colocus convert --allow-cut)"
            )
        notes.append(f"{what} of {image.n_planes} frames announced: {n_frames} are read")
    if n_frames == 0:
        raise LocalizationError(f"{path}: the file holds 0 frames; copy or export the movie again")
    if places is None:
        return None if n_frames == held else np.arange(n_frames)
    return None if np.array_equal(places, np.arange(held)) else places


def _names(path: Path, image: OmeImage, files: list[Path]) -> list[tuple[Path, str]]:
    """Pair each file with its name in the description; in a set that was renamed they go by order."""
    listed = image.files or [path.name]
    if len(listed) == len(files):
        return list(zip(files, listed, strict=True))
    by_name = {Path(name).name: name for name in listed}
    return [(file, by_name.get(file.name, file.name)) for file in files]


def _recognises(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return not path.is_dir()
    try:
        with open(path, "rb") as file:
            return file.read(4) in _MAGIC
    except OSError:
        return False


MOVIE = MovieFormat("tiff", _recognises, open_stack)
