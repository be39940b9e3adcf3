"""TIFF movies: what a stack's description announces, and files that belong together."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import MOST_CHANNELS, Axis, Chosen, choose, places
from localization.io.movies.ome import OmeImage, image_labels, main_file, ome_images
from localization.io.movies.source import MovieFormat, MovieOptions
from localization.io.movies.tiff import DAMAGE, TiffStack, damaged, quiet_tifffile
from localization.io.movies.tiff_facts import tiff_facts
from localization.io.movies.tiff_parts import Part, close_all, described_axes, part_of, parts_of
from localization.io.movies.tiff_sets import SUFFIXES, continuations, head_of, is_certain, numbered_neighbours
from localization.types import LocalizationError, MovieFacts, one_line

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass
class TiffMovie:
    """The frames of one or several TIFF files, in order; `order` gives the place of frame k where it is another."""

    path: Path
    parts: list[Part]
    order: NDArray[np.int64] | None = None
    notes: list[str] = field(default_factory=list)
    facts: MovieFacts = MovieFacts()
    by_frame: ClassVar[bool] = True

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
                part.read(place - (self._ends[i] - part.n_frames), rows, columns, frames[k - start])
            except LocalizationError:
                raise
            except DAMAGE as error:
                raise LocalizationError(
                    f"{part.stack.path}: frame {k} cannot be read ({one_line(error)}); copy or export it again"
                ) from error
        return frames

    def close(self) -> None:
        """Close every file."""
        close_all([part.stack for part in self.parts])


def open_stack(path: Path, options: MovieOptions) -> TiffMovie:
    """Open a TIFF file, with the files that go on where it ends."""
    first = TiffStack(path)
    opened, notes = [first], []
    try:
        with quiet_tifffile():
            if not options.alone and (whole := _from_its_beginning(path, first, options, notes)) is not None:
                first.close()
                return whole
            image, chosen, planes = _choose(path, first, options)
            notes += [*chosen.notes, *first.notes]
            files, missing = ([path], []) if options.alone else _set_of(path, image, first.n_pages)
            opened += [TiffStack(file) for file in files[1:]]
            opened = _alike(opened, notes)
            if len(opened) > 1:
                ends = opened[0].path.name, opened[-1].path.name
                notes.append(f"{len(opened)} files read as one movie: {ends[0]} to {ends[1]}")
            elif not options.alone and len(files) == 1 and image is None:
                notes += _neighbours(path, first)
            return _movie(path, opened, image, planes, missing, options, notes)
    except LocalizationError:
        close_all(opened)
        raise
    except DAMAGE as error:
        close_all(opened)
        raise damaged(path, error) from error


def join(files: Sequence[Path], options: MovieOptions) -> TiffMovie:
    """Open stacks that follow each other as one movie. Raises where they do not look like one."""
    opened: list[TiffStack] = []
    try:
        with quiet_tifffile():
            for file in files:
                opened.append(TiffStack(file))
            reason = _why_not_one(opened)
            if reason:
                raise LocalizationError(f"{reason}; name the one that is the movie, or keep one movie per folder")
            chosen = choose(files[0], described_axes(opened[0])[0], options)
            ends = files[0].name, files[-1].name
            notes = [*chosen.notes, *opened[0].notes]
            notes.append(f"{len(opened)} files read as one movie: {ends[0]} to {ends[1]}")
            return _movie(files[0], opened, None, None, [], options, notes)
    except LocalizationError:
        close_all(opened)
        raise
    except DAMAGE as error:
        close_all(opened)
        raise damaged(files[0], error) from error


def _movie(
    path: Path, opened: list[TiffStack], image: OmeImage | None, planes: list[int] | None, missing: list[str],
    options: MovieOptions, notes: list[str],
) -> TiffMovie:  # fmt: skip
    """Put together what the files hold."""
    placed = image is not None and bool(image.places)
    parts, cut = parts_of(opened, described=image is not None, placed=placed, allow_cut=options.allow_cut, notes=notes)
    files = [stack.path for stack in opened]
    order = _order(path, image, planes, files, parts, cut, missing, options, notes)
    return TiffMovie(path, parts, order, notes, tiff_facts(parts, order, image))


def _from_its_beginning(path: Path, first: TiffStack, options: MovieOptions, notes: list[str]) -> TiffMovie | None:
    """Open the movie that an earlier file begins, where this one is a later part of it."""
    main = main_file(path, first.description) if first.tif.is_ome else None
    if main is not None:
        movie = open_stack(main, options)
    else:
        main = None if first.tif.is_ome else head_of(path)
        if main is None:
            return None
        movie = open_stack(main, options)
        if path not in [part.stack.path for part in movie.parts]:
            movie.close()
            notes.append(f"{main.name} lies beside it and is another movie, by its frames")
            return None
    movie.notes.insert(0, f"{path.name} is a part of the movie that {main.name} begins: reading all of it")
    return movie


def _choose(path: Path, first: TiffStack, options: MovieOptions) -> tuple[OmeImage | None, Chosen, list[int] | None]:
    """Choose position and channel; the planes are None where all pages of the file are frames in their order."""
    images = ome_images(first.description) if first.tif.is_ome else []
    images = [image for image in images if path.name in image.files] or images
    notes: tuple[str, ...] = ()
    image = images[0] if images else None
    if len(images) > MOST_CHANNELS and options.position is None and all(image.n_planes == 1 for image in images):
        # a script that wrote frame by frame into a file named .ome.tif
        image, notes = None, (f"the file names its {len(images)} frames images of their own",)
    elif len(images) > 1:
        several = Axis("position", len(images), image_labels(images))
        at = choose(path, [several], MovieOptions(position=options.position))
        image, notes = images[at.index["position"]], at.notes
        options = replace(options, position=None)
    elif image is not None and image.n_planes < first.n_pages:
        said = f"its description names {image.n_planes} frames, it holds {first.n_pages}: the rest is left out"
        notes = (f"{path.name}: {said}",)
    axes, announced = described_axes(first) if image is None else (image.axes, image.n_planes)
    chosen = choose(path, axes, options)
    of_several = image is not None or any(axis.size > 1 and axis.name in chosen.index for axis in axes)
    described = math.prod(axis.size for axis in axes)
    if image is None and of_several and described < max(first.n_pages, announced):
        raise LocalizationError(
            f"{path}: its axes are {described} frames, the file holds {max(first.n_pages, announced)}: none can "
            "be told from another channel's; export one channel as (frame, y, x)"
        )
    return image, replace(chosen, notes=(*notes, *chosen.notes)), places(axes, chosen) if of_several else None


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


def _alike(stacks: list[TiffStack], notes: list[str]) -> list[TiffStack]:
    """Keep the files of one movie; names that are certain to mean one make a file of another kind an error."""
    first = stacks[0]
    if len(stacks) > 1 and not is_certain(first.path) and (reason := _why_not_one(stacks)):
        notes.append(f"{stacks[1].path.name} is not read with it: {reason}")
        close_all(stacks[1:])
        return stacks[:1]
    for stack in stacks[1:]:
        if (stack.shape, stack.dtype) != (first.shape, first.dtype):
            raise LocalizationError(
                f"{stack.path}: {stack.shape} {stack.dtype}, but {first.path.name} is {first.shape} {first.dtype}; "
                "keep one movie's files together"
            )
    return stacks


def _why_not_one(stacks: Sequence[TiffStack]) -> str:
    """Say why stacks are not one movie in files of which each but the last is full; empty where they may be one."""
    first = stacks[0]
    counts = [part_of(stack, alone=True)[0].n_frames for stack in stacks]
    for stack, count in zip(stacks[1:], counts[1:], strict=True):
        if (stack.shape, stack.dtype) != (first.shape, first.dtype):
            return f"{stack.path}: {stack.shape} {stack.dtype}, but {first.path.name} is {first.shape} {first.dtype}"
        if count != counts[0] and not (stack is stacks[-1] and count < counts[0]) and not stack.cut:
            return f"{stack.path}: {count} frames, but {first.path.name} has {counts[0]}"
    return ""


def _neighbours(path: Path, first: TiffStack) -> list[str]:
    """Name files whose names only differ in the last number: the same movie, or others."""
    others = numbered_neighbours(path)
    if not others:
        return []
    try:
        near = TiffStack(others[0])
    except (LocalizationError, *DAMAGE):
        return []
    near.close()
    if (near.shape, near.dtype) != (first.shape, first.dtype):
        return []
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return [
        f"{others[0].name}{more} beside it {'are' if more else 'is'} not read with it; "
        "to read all as one movie, give their folder"
    ]


def _order(
    path: Path, image: OmeImage | None, planes: list[int] | None, files: list[Path], parts: list[Part], cut: bool,
    missing: list[str], options: MovieOptions, notes: list[str],
) -> NDArray[np.int64] | None:  # fmt: skip
    """Find where each frame lies among all pages; None where they simply follow."""
    held = sum(part.n_frames for part in parts)
    if planes is None:
        return None
    wanted = np.array(planes, np.int64)
    if image is not None and image.places:
        wanted = _places(path, image, files, parts)[wanted]
    there = (wanted >= 0) & (wanted < held)
    if image is None or options.alone:  # then the files are asked, not the description
        return wanted[there]
    lost = np.flatnonzero(~there)
    n_frames = int(lost[0]) if lost.size else len(wanted)
    if lost.size and not (cut and options.allow_cut and not missing):
        what = f"the file {missing[0]} is missing" if missing else f"frame {n_frames} is not there"
        if not options.allow_cut:
            raise LocalizationError(
                f"{path}: {what} of the {len(wanted)} frames that the movie announces; copy the whole set, or "
                "read what is there with allow_cut=True (--allow-cut)"
            )
        notes.append(f"{what} of {len(wanted)} frames announced: {n_frames} are read")
    if n_frames == 0:
        raise LocalizationError(f"{path}: the file holds 0 frames; copy or export the movie again")
    wanted = wanted[:n_frames]
    return None if np.array_equal(wanted, np.arange(held)) else wanted


def _places(path: Path, image: OmeImage, files: list[Path], parts: list[Part]) -> NDArray[np.int64]:
    """Find the place of every plane among all pages by the OME description; -1 where it is not there."""
    begins: dict[str, int] = {}
    limits: dict[str, int] = {}
    total = 0
    by_path = {part.stack.path: part for part in parts}
    for file, name in _names(path, image, files):
        count = by_path[file].n_frames if file in by_path else 0
        begins[name], limits[name] = total, count
        total += count
    found = np.full(image.n_planes, -1, np.int64)
    only = next(iter(begins)) if len(begins) == 1 and len(image.files) < 2 else None
    for plane, name, page in image.places:
        name = only or name or path.name  # one file, perhaps renamed
        if plane < image.n_planes and name in begins and page < limits[name]:
            found[plane] = begins[name] + page
    return found


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
