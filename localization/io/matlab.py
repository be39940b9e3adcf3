"""MATLAB 5 files, read as far as they are asked for: structs of columns of numbers.

A variable is opened by name and walked field by field; what lies beside the wanted fields is passed over, and a damaged
file is a LocalizationError: `scipy.io.loadmat` 1.17 ends the whole program by a segmentation fault on some files in
which a few bytes have changed. Layout as in MathWorks' "MAT-File Format": elements of a type, a number of bytes and
data, padded to 8 bytes; short ones in eight bytes altogether; whole variables mostly compressed by zlib. Checked by
files that scipy writes.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization.types import LocalizationError, one_line

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _FIRST_NUMERIC, _LAST_NUMERIC = 2, 6, 15
_COMPLEX = 0x0800
_BEGINNING = 4096  # bytes of a compressed variable that hold its name


class _Damaged(Exception):
    """What a file says of its own layout cannot be."""


@dataclass(frozen=True)
class Matrix:
    """One array of a file: its class, shape and the bytes that follow its name, in the file's byte order."""

    name: str
    kind: int
    shape: tuple[int, ...]
    is_complex: bool
    body: memoryview
    order: str

    def structs(self) -> list[dict[str, "Matrix"]]:
        """Give the fields of each struct of a struct array; no structs where it is another kind of array."""
        if self.kind != _STRUCT:
            return []
        elements = _elements(self.body, self.order)
        width = _first_number(next(elements)[1], self.order)
        _, raw = next(elements)
        if not 0 < width <= 256 or len(raw) % width:
            raise _Damaged("names of fields")
        names = [_word(raw[at : at + width]) for at in range(0, len(raw), width)]
        structs = []
        for _ in range(_size(self.shape, len(self.body))):
            structs.append({name: _matrix(*next(elements), self.order) for name in names})
        return structs

    def numbers(self) -> NDArray | None:
        """Give the numbers of a numeric array, column by column, as float64 (complex128 if complex); else None."""
        if not _FIRST_NUMERIC <= self.kind <= _LAST_NUMERIC:
            return None
        elements = _elements(self.body, self.order)
        parts = []
        for _ in range(1 + self.is_complex):
            kind, raw = next(elements, (9, self.body[:0]))
            if kind not in _NUMBERS:
                raise _Damaged(f"numbers of type {kind}")
            dtype = np.dtype(self.order + _NUMBERS[kind])
            parts.append(np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype).astype(np.float64))
        if any(part.size != math.prod(self.shape) for part in parts):
            raise _Damaged(f"{parts[0].size} numbers for the shape {self.shape}")
        return parts[0] + 1j * parts[1] if self.is_complex else parts[0]


class MatlabFile:
    """The variables of a MATLAB 5 file; what goes wrong while one is walked becomes a LocalizationError.

    Use it as a context manager; `variable(name)` finds a variable, None where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "MatlabFile":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        damage = (_Damaged, StopIteration, struct.error, zlib.error, ValueError, OverflowError, MemoryError, OSError)
        if isinstance(error, damage) and not isinstance(error, LocalizationError):
            raise LocalizationError(
                f"{self._path}: cannot be read ({one_line(error)}); copy or save it again"
            ) from error

    def variable(self, name: str) -> Matrix | None:
        """Find a variable by its name."""
        with open(self._path, "rb") as file:
            content = memoryview(file.read())
        order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
        if order is None:
            raise _Damaged("no MATLAB 5 file")
        for kind, raw in _elements(content[128:], order):
            if kind == _COMPRESSED:
                unpacker = zlib.decompressobj()
                begin = memoryview(unpacker.decompress(raw, _BEGINNING))
                if _called(begin, order) != name:
                    continue
                whole = memoryview(bytes(begin) + unpacker.decompress(unpacker.unconsumed_tail) + unpacker.flush())
                return _matrix(*next(_elements(whole, order)), order)
            if kind == _MATRIX and (found := _matrix(kind, raw, order)).name == name:
                return found
        return None


def _element(data: memoryview, at: int, order: str) -> tuple[int, memoryview, int]:
    """Read the element at a place: its type, its bytes, and where the next one begins."""
    if at + 8 > len(data):
        raise _Damaged("it ends within an array")
    word, n_bytes = struct.unpack_from(order + "II", data, at)
    if word >> 16:  # a short one: up to four bytes of data in the same eight
        kind, n_bytes, begin, padded = word & 0xFFFF, word >> 16, at + 4, 4
    else:
        kind, begin = word, at + 8
        padded = n_bytes if kind == _COMPRESSED else -(-n_bytes // 8) * 8
    if begin + n_bytes > len(data) or n_bytes > padded:
        raise _Damaged(f"an element of {n_bytes} bytes where {len(data) - begin} are left")
    return kind, data[begin : begin + n_bytes], begin + padded


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Walk the elements that follow one another: type and bytes of each."""
    at = 0
    while at + 8 <= len(data):
        kind, raw, at = _element(data, at, order)
        yield kind, raw


def _matrix(kind: int, raw: memoryview, order: str) -> Matrix:
    if kind != _MATRIX:
        raise _Damaged(f"an element of type {kind} for an array")
    if not len(raw):  # an empty field
        return Matrix("", 0, (0, 0), False, raw, order)
    at, parts = 0, []
    for _ in range(3):  # flags, dimensions, name
        _, part, at = _element(raw, at, order)
        parts.append(part)
    flags = _first_number(parts[0], order)
    shape = tuple(np.frombuffer(parts[1], np.dtype(order + "i4")).tolist())
    if len(shape) > 32 or any(size < 0 for size in shape):
        raise _Damaged(f"an array of shape {shape[:32]}")
    return Matrix(_word(parts[2]), flags & 0xFF, shape, bool(flags & _COMPLEX), raw[at:], order)


def _called(begin: memoryview, order: str) -> str:
    """Read the name of a variable from its first bytes."""
    if len(begin) < 8:
        raise _Damaged("a variable without a header")
    kind, _ = struct.unpack_from(order + "II", begin, 0)
    return _matrix(_MATRIX, begin[8:], order).name if kind == _MATRIX else ""


def _first_number(raw: memoryview, order: str) -> int:
    return struct.unpack_from(order + "I", raw, 0)[0]


def _word(raw: memoryview) -> str:
    return bytes(raw).split(b"\0")[0].decode("latin-1")


def _size(shape: tuple[int, ...], n_bytes: int) -> int:
    size = math.prod(shape)
    if size * 8 > n_bytes:  # each field takes a tag at least
        raise _Damaged(f"{size} structs in {n_bytes} bytes")
    return size
