"""Movies on disk, read a few frames at a time: TIFF, BigTIFF, OME stacks, folders of single-frame TIFFs."""

import logging
import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from localization.types import LocalizationError

_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
# What tifffile and its codecs raise on a damaged file; codec errors are RuntimeErrors.
_DAMAGE = (
    tifffile.TiffFileError,
    OSError,
    EOFError,
    struct.error,
    ValueError,
    RuntimeError,
    IndexError,
    KeyError,
)


class Movie:
    """A movie (frames, height, width) whose frames stay on disk until they are read. Opened by `open_movie`.

    `shape` and `dtype` describe the file; `read(start, stop)` gives float32 counts (stop - start, height,
    width). A context manager: leaving the block closes the file.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        read_frame: Callable[[int], NDArray],
        close: Callable[[], None],
    ) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self._read_frame = read_frame
        self._close = close

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Frames start to stop - 1 (0-based) as float32 counts, (stop - start, height, width)."""
        n_frames, height, width = self.shape
        if not 0 <= start <= stop <= n_frames:
            raise LocalizationError(
                f"{self.path}: frames {start} to {stop} wanted, the movie has {n_frames}; they count from 0"
            )
        frames = np.empty((stop - start, height, width), np.float32)
        for k in range(start, stop):
            try:
                with _quiet_tifffile():
                    frame = self._read_frame(k)
            except LocalizationError:
                raise
            except _DAMAGE as error:
                raise LocalizationError(
                    f"{self.path}: frame {k} cannot be read ({_one_line(error)}); copy or export it again"
                ) from error
            if frame.shape != (height, width):
                raise LocalizationError(
                    f"{self.path}: frame {k} has shape {frame.shape}, the first {(height, width)}; "
                    "export frames of one size"
                )
            frames[k - start] = frame
        return frames

    def close(self) -> None:
        """Close the file; reading afterwards fails."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_movie(path: str | os.PathLike[str], *, min_size_px: int | None = None) -> Movie:
    """Open a TIFF stack (classic, BigTIFF, OME, ImageJ) or a folder of single-frame TIFFs in number order.

    Only headers are read here. Raises LocalizationError for a missing, empty, truncated or foreign file,
    colour, floating-point or complex pixels, no frames, several channels or planes, frames of unequal shape
    or type, and a movie with a side below `min_size_px`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/movie.tif", np.zeros((3, 8, 6), np.uint16), photometric="minisblack")
    ...     with open_movie(f"{folder}/movie.tif") as movie:
    ...         movie.shape, movie.read(1, 3).shape
    ((3, 8, 6), (2, 8, 6))
    """
    path = Path(path)
    if not path.exists():
        raise LocalizationError(f"{path}: no such file or folder; check the name")
    movie = _open_folder(path) if path.is_dir() else _open_stack(path)
    smallest = min(movie.shape[1:])
    if min_size_px is not None and smallest < min_size_px:
        movie.close()
        raise LocalizationError(
            f"{path}: frames of {movie.shape[1]} x {movie.shape[2]} px are smaller than the {min_size_px} px "
            "that are needed; crop the movie less or use a model with a smaller field"
        )
    return movie


def _open_stack(path: Path) -> Movie:
    tif = _open_tiff(path)
    try:
        with _quiet_tifffile():
            series = _series(path, tif)
            _refuse_truncated(path, tif)
            first = series[0].pages[0]
            _refuse_pixels(path, first, series)
            height, width = first.shape
            stored = [page for one in series for page in one.pages]
            n_frames = sum(math.prod(one.shape) for one in series) // (height * width)
            _refuse_lost_frames(path, tif, n_frames, height * width)
            if len(stored) == n_frames:
                # The chain of headers can be whole while the pixels of the last frame are not there.
                _frame_of_page(path, n_frames - 1, stored[-1])
                return Movie(path, (n_frames, height, width), first.dtype, _page_reader(path, stored), tif.close)
            return _open_contiguous(path, tif, series, n_frames, first)
    except LocalizationError:
        tif.close()
        raise
    except _DAMAGE as error:
        tif.close()
        raise LocalizationError(
            f"{path}: a damaged TIFF ({_one_line(error)}); copy or export the movie again"
        ) from error


def _open_contiguous(path: Path, tif: Any, series: list[Any], n_frames: int, first: Any) -> Movie:
    """One header for many frames that lie back to back: ImageJ above 4 GB, MetaMorph, tifffile's own."""
    if len(series) != 1 or len(series[0].pages) != 1 or series[0].dataoffset is None:
        raise LocalizationError(f"{path}: {n_frames} frames announced, other headers found; export the movie again")
    offset, frame_bytes = series[0].dataoffset, math.prod(first.shape) * first.dtype.itemsize
    held = (tif.filehandle.size - offset) // frame_bytes
    if held < n_frames:
        raise LocalizationError(f"{path}: truncated, {held} of {n_frames} frames are there; copy it again")
    stored_type = first.dtype.newbyteorder(tif.byteorder)

    def read_frame(k: int) -> NDArray:
        tif.filehandle.seek(offset + k * frame_bytes)
        raw = tif.filehandle.read(frame_bytes)
        return np.frombuffer(raw, stored_type).reshape(first.shape)

    return Movie(path, (n_frames, *first.shape), first.dtype, read_frame, tif.close)


def _open_folder(folder: Path) -> Movie:
    files = sorted(
        (file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")),
        key=lambda file: _natural_key(file.name),
    )
    if not files:
        raise LocalizationError(f"{folder}: the folder holds no .tif files; give a movie or a folder of frames")
    shape: tuple[int, int] = (0, 0)
    dtype: np.dtype = np.dtype(np.uint16)
    for k, file in enumerate(files):
        with _open_tiff(file) as tif, _quiet_tifffile():
            try:
                page, n_pages = tif.pages.first, len(tif.pages)
            except _DAMAGE as error:
                raise LocalizationError(f"{file}: a damaged TIFF ({_one_line(error)}); copy it again") from error
            if n_pages != 1:
                raise LocalizationError(
                    f"{file}: holds {n_pages} frames, a folder must hold single ones; open the stack itself"
                )
            _refuse_pixels(file, page, [])
            if k == 0:
                shape, dtype = (page.shape[0], page.shape[1]), np.dtype(page.dtype)
            elif (page.shape, page.dtype) != (shape, dtype):
                raise LocalizationError(
                    f"{file}: {page.shape} {page.dtype}, but {files[0].name} is {shape} {dtype}; "
                    "keep one movie per folder"
                )

    def read_frame(k: int) -> NDArray:
        with _open_tiff(files[k]) as tif:
            return _frame_of_page(files[k], k, tif.pages[0]).asarray()

    return Movie(folder, (len(files), shape[0], shape[1]), dtype, read_frame, lambda: None)


def _natural_key(name: str) -> list[tuple[int, int | str]]:
    """Sorts 2.tif before 10.tif: runs of digits compare as numbers."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name.lower())]


def _open_tiff(path: Path) -> tifffile.TiffFile:
    try:
        if path.stat().st_size == 0:
            raise LocalizationError(f"{path}: the file is empty; copy or export the movie again")
        with _quiet_tifffile():
            return tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        raise LocalizationError(f"{path}: not a TIFF ({_one_line(error)}); convert the movie to TIFF") from error
    except (OSError, struct.error) as error:
        raise LocalizationError(f"{path}: cannot be opened ({_one_line(error)}); check the file") from error


def _series(path: Path, tif: tifffile.TiffFile) -> list[Any]:
    series = list(tif.series) if len(tif.pages) else []
    if not series or math.prod(series[0].shape) == 0:
        raise LocalizationError(f"{path}: the file holds 0 frames; copy or export the movie again")
    # A program that appends frame by frame leaves one series per frame; they are one movie if they are alike.
    if tif.is_ome and len(series) > 1:
        raise LocalizationError(f"{path}: holds {len(series)} OME images; export the one that is the movie")
    kinds = {(one.keyframe.shape, one.dtype) for one in series}
    if len(kinds) > 1:
        shapes = " and ".join(str(shape) for shape in sorted({kind[0] for kind in kinds})[:3])
        raise LocalizationError(f"{path}: frames of unequal shape or type ({shapes}); export frames of one kind")
    return series


def _refuse_truncated(path: Path, tif: Any) -> None:
    """The pointer to the next header must be zero behind the last frame; if not, the rest is missing."""
    position = tif.pages.next_page_offset
    if position is None:
        return
    tif.filehandle.seek(position)
    raw = tif.filehandle.read(tif.tiff.offsetsize)
    if len(raw) < tif.tiff.offsetsize or any(raw):
        raise LocalizationError(
            f"{path}: truncated, the header after frame {len(tif.pages) - 1} is missing; copy it again"
        )


def _refuse_lost_frames(path: Path, tif: tifffile.TiffFile, n_frames: int, frame_px: int) -> None:
    """One header for many frames: where pixels are missing, tifffile falls back to the first frame alone."""
    if len(tif.pages) > 1:
        return
    announced = int((tif.imagej_metadata or {}).get("images", 1))
    for series in tif.shaped_metadata or ():
        announced = max(announced, math.prod(series.get("shape", ())) // frame_px)
    if announced > n_frames:
        raise LocalizationError(f"{path}: truncated, it announces {announced} frames; copy it again")


def _refuse_pixels(path: Path, page: Any, series: list[Any]) -> None:
    if page.samplesperpixel > 1 or page.photometric in (2, 3, 6):  # RGB, palette, YCbCr
        raise LocalizationError(f"{path}: colour images (shape {page.shape}); export one channel as uint16")
    if page.dtype is None or page.dtype.kind not in "ui":
        raise LocalizationError(
            f"{path}: pixels of type {page.dtype}; convert the movie to uint16 camera counts without scaling"
        )
    if page.ndim != 2:
        raise LocalizationError(f"{path}: pages of shape {page.shape}; export flat two-dimensional frames")
    for one in series:
        long_axes = [axis for axis, size in zip(one.axes[:-2], one.shape[:-2], strict=True) if size > 1]
        if len(long_axes) > 1 or "C" in long_axes:
            raise LocalizationError(
                f"{path}: axes {one.axes} of sizes {one.shape}; export one channel and plane as (frame, y, x)"
            )


def _page_reader(path: Path, stored: list[Any]) -> Callable[[int], NDArray]:
    def read_frame(k: int) -> NDArray:
        return _frame_of_page(path, k, stored[k]).asarray()

    return read_frame


def _frame_of_page(path: Path, k: int, page: Any) -> Any:
    """The page itself, after a look whether its pixels lie inside the file."""
    if page is None:
        raise LocalizationError(f"{path}: frame {k} is missing (a file of an OME set?); copy the whole set")
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if not ends or max(ends) > page.parent.filehandle.size:
        raise LocalizationError(f"{path}: truncated, the pixels of frame {k} are missing; copy or export it again")
    return page


@contextmanager
def _quiet_tifffile() -> Iterator[None]:
    """Keeps tifffile's log lines off the terminal: what they report comes out as our one-line error."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
