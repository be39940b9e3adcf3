"""One TIFF file as a row of frames: where each header lies, and the pixels of a part of a frame.

tifffile parses and decodes single pages; what is done here is to find them without reading them all, and to
read plain pixels where they lie, so that a movie of any length opens at once and memory does not grow with
the frames that were read.
"""

import logging
import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from localization.io.movies.source import pread, read_plain, refuse_size, refuse_type
from localization.types import LocalizationError, one_line

# What tifffile and its codecs raise on a damaged file; codec errors are RuntimeErrors.
DAMAGE = (
    tifffile.TiffFileError, OSError, EOFError, struct.error, ValueError, RuntimeError, IndexError, KeyError,
    TypeError, AttributeError, ArithmeticError, MemoryError, AssertionError,
)  # fmt: skip
_PROBES = 64
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _COUNTS = 256, 257, 258, 259, 273, 277, 279
_PREDICTOR, _TILE, _FILL_ORDER, _FORMAT = 317, 322, 266, 339
_PALETTE = 3
_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_VALUES = 1 << 20


@dataclass(frozen=True)
class _Header:
    """One image file directory: tag -> (type, count, the raw value field), and where the next one lies."""

    tags: dict[int, tuple[int, int, bytes]]
    next: int


class TiffStack:
    """The pages of one TIFF file, found and read one by one; `offsets(k)` is where page k's header lies.

    `n_pages` complete headers were found; `cut` says that the chain of headers ends in nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tif = open_tiff(path)
        self._lock = threading.Lock()
        self._fd = self.tif.filehandle.fileno()
        self.size = self.tif.filehandle.size
        self._order: Literal["<", ">"] = "<" if self.tif.byteorder == "<" else ">"
        self._big = self.tif.tiff.is_bigtiff
        self._list: list[int] = []
        self._stride, self._n_even, self.n_pages = 0, 0, 0
        self.cut = False
        self.notes: list[str] = []
        try:
            with quiet_tifffile():
                self._find_pages()
                if self.n_pages == 0:
                    raise LocalizationError(f"{path}: the file holds 0 frames; copy or export the movie again")
                self.first: Any = self._page(0)
                self._refuse_pixels(self.first)
        except LocalizationError:
            self.close()
            raise
        except DAMAGE as error:
            self.close()
            raise damaged(path, error) from error
        self.shape: tuple[int, int] = (self.first.shape[0], self.first.shape[1])
        self.dtype = np.dtype(self.first.dtype)
        self.description: str = self.first.description or ""

    def close(self) -> None:
        """Close the file."""
        self.tif.close()

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return math.prod(self.shape) * self.dtype.itemsize

    def offset(self, k: int) -> int:
        """Find where the header of page k lies."""
        if k < len(self._list):
            return self._list[k]
        return self._list[-1] + (k - len(self._list) + 1) * self._stride

    def read(self, k: int, rows: slice, columns: slice, out: NDArray) -> None:
        """Read a part of page k into `out`. Raises LocalizationError where its pixels are not in the file."""
        header = self._header(self.offset(k))
        if header is None:
            raise LocalizationError(f"{self.path}: the header of frame {k} is missing; copy or export it again")
        plain = self._plain(k, header)
        if plain is not None:
            self.read_at(plain, rows, columns, out)
            return
        with self._lock, quiet_tifffile():
            page = self._page(k)
            out[...] = self._inside(k, page).asarray()[rows, columns]

    def read_at(self, position: int, rows: slice, columns: slice, out: NDArray) -> None:
        """Read a part of the frame whose plain pixels begin at `position` into `out`."""
        stored = self.dtype.newbyteorder(self._order)
        if not read_plain(self._fd, position, self.shape[1], stored, rows, columns, out):
            raise LocalizationError(f"{self.path}: truncated, pixels are missing; copy or export it again")

    def tag(self, k: int, code: int) -> Any:
        """Read a tag of page k, as tifffile does; None where there is none."""
        with self._lock, quiet_tifffile():
            found = self._page(k).tags.get(code)
            return None if found is None else found.value

    def raw(self, position: int, count: int) -> bytes:
        """Read bytes of the file."""
        return pread(self._fd, count, position)

    def complete(self, k: int) -> bool:
        """Tell whether the header of page k and all its pixels are in the file."""
        header = self._header(self.offset(k))
        if header is None:
            return False
        if self._plain(k, header, quietly=True) is not None:
            return True
        try:
            with self._lock, quiet_tifffile():
                self._inside(k, self._page(k))
        except (LocalizationError, *DAMAGE):
            return False
        return True

    def may_hold_more(self) -> bool:
        """Tell whether behind the last header and its pixels there is room for another frame."""
        with self._lock, quiet_tifffile():
            page = self._page(self.n_pages - 1)
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        return self.size - max(self.offset(self.n_pages - 1), *ends) > max(sum(page.databytecounts), 256)

    def check_alike(self, k: int) -> None:
        """Refuse page k where its frame has another shape or type than the first."""
        with self._lock, quiet_tifffile():
            page = self._page(k)
            if page.shape != self.shape or page.dtype != self.dtype:
                raise LocalizationError(
                    f"{self.path}: frames of unequal shape or type ({self.shape} {self.dtype} and {page.shape} "
                    f"{page.dtype}); export frames of one kind"
                )

    def probes(self) -> list[int]:
        """Choose pages to check before a file is trusted: the first, the last, some between."""
        return sorted({int(k) for k in np.linspace(0, self.n_pages - 1, min(self.n_pages, _PROBES))})

    # finding the headers

    def _find_pages(self) -> None:
        # the header of the file says where the first directory is: 4 bytes in, 8 in a BigTIFF
        position, form = (8, "Q") if self._big else (4, "I")
        raw = pread(self._fd, struct.calcsize(form), position)
        if len(raw) < struct.calcsize(form):
            raise LocalizationError(f"{self.path}: the file holds 0 frames; copy or export the movie again")
        (start,) = struct.unpack(self._order + form, raw)
        seen: set[int] = set()
        while start:
            if start in seen:
                raise LocalizationError(f"{self.path}: a damaged TIFF (its headers run in a circle); copy it again")
            following = self._next(start)
            if following is None:
                self.cut = True
                break
            seen.add(start)
            self._list.append(start)
            if len(self._list) == 4 and (n_more := self._even_rest()):
                self._n_even = n_more
                break
            start = following
        self.n_pages = len(self._list) + (self._n_even if self._stride else 0)

    def _even_rest(self) -> int:
        """Count the pages that follow at one distance, where a look at some of them says that all do.

        Reading frame k parses its own header, so a stray page could not pass for a frame unseen.
        """
        _, b, c, d = self._list
        stride, template = d - c, self._header(d)
        if stride <= 0 or c - b != stride or template is None:
            return 0

        def is_at(j: int) -> bool:
            header = self._header(d + j * stride)
            return header is not None and header.tags.keys() == template.tags.keys() and (
                header.next in (0, d + (j + 1) * stride)
            )  # fmt: skip

        most = (self.size - d) // stride
        last = next((j for j in range(most, max(most - 3, 0), -1) if is_at(j)), 0)
        ending = self._header(d + last * stride) if last else None
        if last < 16 or ending is None or ending.next != 0:
            return 0
        probes = {int(j) for j in np.linspace(1, last - 1, _PROBES)}
        for j in probes:
            header = self._header(d + j * stride)
            if header is None or header.next != d + (j + 1) * stride or not is_at(j):
                return 0
        self._stride = stride
        return last

    def _directory(self, start: int) -> tuple[bytes, int] | None:
        """Read a header's entries, and where the next header lies; None where the file ends before that."""
        count_form, entry, next_form = ("Q", 20, "Q") if self._big else ("H", 12, "I")
        width = struct.calcsize(count_form)
        raw = pread(self._fd, 1024, start)
        if len(raw) < width:
            return None
        (n_tags,) = struct.unpack_from(self._order + count_form, raw)
        if not 0 < n_tags <= 4096:
            return None
        at = width + entry * n_tags
        need = at + struct.calcsize(next_form)
        if need > len(raw):
            raw = pread(self._fd, need, start)
            if len(raw) < need:
                return None
        return raw[width:at], struct.unpack_from(self._order + next_form, raw, at)[0]

    def _next(self, start: int) -> int | None:
        found = self._directory(start)
        return None if found is None else found[1]

    def _header(self, start: int) -> _Header | None:
        found = self._directory(start)
        if found is None:
            return None
        raw, following = found
        entry, form = (20, "HHQ") if self._big else (12, "HHI")
        tags = {}
        for at in range(0, len(raw), entry):
            tag, kind, count = struct.unpack_from(self._order + form, raw, at)
            tags[tag] = (kind, count, raw[at + (12 if self._big else 8) : at + entry])
        return _Header(tags, following)

    # one page

    def _values(self, header: _Header, tag: int) -> tuple[int, ...]:
        kind, count, raw = header.tags.get(tag, (0, 0, b""))
        code = _CODES.get(kind)
        if code is None or not 0 < count <= _MAX_VALUES:
            return ()
        need = struct.calcsize(code) * count
        if need > len(raw):
            (position,) = struct.unpack(self._order + ("Q" if self._big else "I"), raw)
            raw = pread(self._fd, need, position)
        return struct.unpack(f"{self._order}{count}{code}", raw[:need]) if len(raw) >= need else ()

    def _plain(self, k: int, header: _Header, *, quietly: bool = False) -> int | None:
        """Find where the pixels of a page begin if they lie there plainly, in one piece and whole; else None."""
        if k == 0 and not hasattr(self, "dtype"):
            return None
        bits = 8 * self.dtype.itemsize
        wanted = {_WIDTH: self.shape[1], _HEIGHT: self.shape[0], _BITS: bits}
        if any(self._values(header, tag) != (value,) for tag, value in wanted.items()):
            return None
        kind = {"u": 1, "i": 2, "f": 3}[self.dtype.kind]
        if (self._values(header, _FORMAT) or (1,)) != (kind,):
            return None
        ordinary = {_COMPRESSION: 1, _SAMPLES: 1, _PREDICTOR: 1, _FILL_ORDER: 1}
        if any(self._values(header, tag) not in ((), (value,)) for tag, value in ordinary.items()):
            return None
        if _TILE in header.tags:
            return None
        starts, counts = self._values(header, _STRIPS), self._values(header, _COUNTS)
        if not starts or len(starts) != len(counts) or sum(counts) != self.frame_bytes:
            return None
        if any(a + n != b for a, n, b in zip(starts, counts, starts[1:], strict=False)):
            return None
        if starts[0] + self.frame_bytes > self.size:
            if quietly:
                return None
            raise LocalizationError(
                f"{self.path}: truncated, the pixels of frame {k} are missing; copy or export it again"
            )
        return starts[0]

    def _page(self, k: int) -> Any:
        # tifffile's own list of pages keeps every page that it was asked for
        self.tif.filehandle.seek(self.offset(k))
        return tifffile.TiffPage(self.tif, k)

    def _inside(self, k: int, page: Any) -> Any:
        """Return the page itself, after a look whether its pixels lie inside the file."""
        if page.shape != self.shape or page.dtype != self.dtype:
            raise LocalizationError(
                f"{self.path}: frame {k} has shape {page.shape} {page.dtype}, the first {self.shape} {self.dtype}; "
                "export frames of one size"
            )
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > self.size:
            raise LocalizationError(
                f"{self.path}: truncated, the pixels of frame {k} are missing; copy or export it again"
            )
        return page

    def _refuse_pixels(self, page: Any) -> None:
        if page.samplesperpixel == 1 and page.photometric == _PALETTE and page.colormap is not None:
            self.notes.append(
                f"a palette of {page.colormap.shape[-1]} colours{_rising(page.colormap)}: its indices are read"
            )
        elif page.samplesperpixel > 1 or page.photometric in (2, _PALETTE, 6):  # RGB, YCbCr
            raise LocalizationError(f"{self.path}: colour images (shape {page.shape}); export one channel as uint16")
        refuse_type(self.path, page.dtype)
        if page.ndim != 2:
            raise LocalizationError(f"{self.path}: pages of shape {page.shape}; export flat two-dimensional frames")
        refuse_size(self.path, page.shape)


def _rising(colours: NDArray) -> str:
    """Say whether a colour table (3, n), which is for looking at alone, would mislead who takes it for brightness."""
    grey = bool((colours == colours[:1]).all())
    steps = np.diff(colours.astype(np.int64).sum(axis=0))
    if (steps >= 0).all() and (steps > 0).any():
        return " of grey" if grey else ""
    return " that do not rise with their index"


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a file for tifffile. Raises LocalizationError for one that is empty or no TIFF."""
    try:
        if path.stat().st_size == 0:
            raise LocalizationError(f"{path}: the file is empty; copy or export the movie again")
        with quiet_tifffile():
            return tifffile.TiffFile(path)
    except LocalizationError:
        raise
    except tifffile.TiffFileError as error:
        raise LocalizationError(f"{path}: not a TIFF ({one_line(error)}); convert the movie to TIFF") from error
    except OSError as error:
        raise LocalizationError(f"{path}: cannot be opened ({one_line(error)}); check the file") from error
    except DAMAGE as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> LocalizationError:
    """Make the error for a file that makes no sense."""
    return LocalizationError(f"{path}: a damaged TIFF ({one_line(error)}); copy or export the movie again")


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Keep tifffile's log lines off the terminal: what they report comes out as our one-line error."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
