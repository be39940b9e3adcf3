"""Movies on disk, read a few frames at a time and only where they are wanted, whatever kind of file they are."""

import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from localization.io import movies
from localization.io.movies.source import MovieOptions, Source
from localization.io.movies.store import StoreUrl, is_url
from localization.io.movies.whole_counts import WholeCounts
from localization.io.movies.zarr import ZarrMovie
from localization.types import LocalizationError, MovieFacts, one_line

Span = tuple[int, int]
_BLOCK_PX = 1 << 22  # a request is served in pieces, so that pixels as stored and as float32 stay small
_CACHED_PX = 1 << 18  # in the processor's cache, where frames are read one by one anyway


class Movie:
    """A movie (frames, height, width) whose frames stay on disk until they are read. Opened by `open_movie`.

    `shape` and `dtype` describe the file, `notes` are lines on what is unusual about it (missing frame numbers, a
    file cut off, several files read as one), `facts` is what it says of pixel and time, `options` how it was opened;
    `read` gives float32 counts. A context manager: leaving the block closes the file.
    """

    def __init__(self, path: Path | StoreUrl, source: Source, options: MovieOptions = MovieOptions()) -> None:
        self.path, self.options = path, options
        self.shape: tuple[int, int, int] = source.shape
        self.dtype: np.dtype = np.dtype(source.dtype)
        self.notes: tuple[str, ...] = tuple(source.notes)
        said = getattr(source, "facts", MovieFacts())
        self.facts: MovieFacts = replace(said, n_frames=self.shape[0], frame_px=self.shape[1:])
        self._source = source

    def read(
        self, start: int, stop: int, *, rows: Span | None = None, columns: Span | None = None
    ) -> NDArray[np.float32]:
        """Read frames start to stop - 1 (0-based) as float32 counts, (stop - start, height, width).

        `rows` and `columns` are (first, stop): only that part of every frame is read.
        """
        y, x = self._part(start, stop, rows, columns)
        size = (stop - start, y.stop - y.start, x.stop - x.start)
        frames = np.empty(size, np.float32)
        piece_px = _CACHED_PX if getattr(self._source, "by_frame", False) else _BLOCK_PX
        step = max(1, piece_px // max(1, size[1] * self.shape[2]))
        for first in range(start, stop, step):
            last = min(first + step, stop)
            frames[first - start : last - start] = self._source.block(first, last, y, x)
        return frames

    def read_stored(self, start: int, stop: int, *, rows: Span | None = None, columns: Span | None = None) -> NDArray:
        """Read as `read` does, in the type of the file."""
        y, x = self._part(start, stop, rows, columns)
        return np.ascontiguousarray(self._source.block(start, stop, y, x), self.dtype)

    def _part(self, start: int, stop: int, rows: Span | None, columns: Span | None) -> tuple[slice, slice]:
        n_frames, height, width = self.shape
        if not 0 <= start <= stop <= n_frames:
            raise LocalizationError(
                f"{self.path}: frames {start} to {stop} wanted, the movie has {n_frames}; they count from 0"
            )
        return self._span("rows", rows, height), self._span("columns", columns, width)

    def _span(self, name: str, span: Span | None, size: int) -> slice:
        first, stop = (0, size) if span is None else span
        if not 0 <= first < stop <= size:
            raise LocalizationError(
                f"{self.path}: {name} {first} to {stop} wanted, the movie has {size}; they count from 0"
            )
        return slice(int(first), int(stop))

    def close(self) -> None:
        """Close the file; reading afterwards fails."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_movie(
    path: str | os.PathLike[str],
    *,
    channel: int | str | None = None,
    position: int | str | None = None,
    allow_cut: bool = False,
    alone: bool = False,
    min_size_px: int | None = None,
) -> Movie:
    """Open a movie: a TIFF stack, a folder of frames, zarr, Picasso's .raw, .npy (`localization.io.MOVIES`).

    Zarr and OME-Zarr also by their address (https://, s3://, gs://: whatever fsspec knows; `colocus[remote]`).

    Of a TIFF, classic, BigTIFF, OME and ImageJ's, also those above 4 GB; the files in which Micro-Manager goes on
    are found by themselves, unless the named one is wanted `alone`. Only a few headers are read here. `channel` and
    `position` choose one of several, by number from 0 or by name. With `allow_cut` a movie of which a part is missing
    gives the frames that are there, and says so in `notes`. Raises LocalizationError for a missing, empty, truncated
    or foreign file, colour, complex pixels or fractions, no frames, several channels or positions of which none
    is chosen, several planes, frames of unequal shape or type, and a movie with a side below `min_size_px`.

    >>> import tempfile, tifffile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/movie.tif", np.zeros((3, 8, 6), np.uint16), photometric="minisblack")
    ...     with open_movie(f"{folder}/movie.tif") as movie:
    ...         movie.shape, movie.read(1, 3, rows=(0, 4)).shape
    ((3, 8, 6), (2, 4, 6))
    """
    options = MovieOptions(channel, position, allow_cut, alone)
    place = StoreUrl.of(path) if is_url(path) else Path(path)
    if isinstance(place, Path) and not place.exists():
        raise LocalizationError(f"{place}: no such file or folder; check the name")
    try:
        if isinstance(place, Path):
            kind = movies.recognise(place) or movies.MOVIES["tiff"]  # whose reader says that the file is none
            source = kind.open(place, options)
        else:
            source = ZarrMovie(place, options)
    except OSError as error:
        raise LocalizationError(f"{place}: cannot be read ({one_line(error)}); check its permissions") from error
    if np.dtype(source.dtype).kind == "f":
        try:
            source = WholeCounts(place, source)
        except LocalizationError:
            source.close()
            raise
    movie = Movie(place, source, options)
    smallest = min(movie.shape[1:])
    if min_size_px is not None and smallest < min_size_px:
        movie.close()
        raise LocalizationError(
            f"{path}: frames of {movie.shape[1]} x {movie.shape[2]} px are smaller than the {min_size_px} px "
            "that are needed; crop the movie less or use a model with a smaller field"
        )
    return movie


def is_movie(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file or folder is a movie of a known kind, by its name or its first bytes.

    >>> is_movie("movie.npy"), is_movie("locs.csv")
    (True, False)
    """
    return movies.recognise(Path(path)) is not None
