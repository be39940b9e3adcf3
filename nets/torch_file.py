"""State dicts out of PyTorch's files, without PyTorch and without executing what a pickle asks for.

Both formats of `torch.save` (documented in PyTorch's serialization notes) hold a pickle whose tensors point at
storages by persistent id: the old one writes the storages behind the pickle, the newer one is a zip archive with
one member per storage. Before anything is unpickled, its opcodes are read one by one: only those that a state
dict needs may occur, and only the few globals of `_GLOBALS`, which become inert constructors of our own.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nets.errors import NetsError

_MAGIC = 0x1950A86A20F9469CFC6C  # first object of the old format
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {name}" for name in _DTYPES),
}
# What pickle protocol 2, torch.save's own, needs for numbers, names, tuples and dictionaries.
_OPCODES = {
    *("PROTO", "STOP", "MARK", "POP", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "BINSTRING"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}
_LONGEST = 50_000  # opcodes: a thousand tensors, and no nesting so deep that Python's own stack would not hold it
_DAMAGED = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(struct.error, MemoryError, RecursionError, OverflowError, zipfile.BadZipFile, NotImplementedError),
)


class _Refused(Exception):
    """What a state dict does not need; its text goes behind the file's name."""


class _Inert:
    """Takes no attributes from a pickle."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise ValueError("attributes for what has none")


class _Storage(_Inert):
    """A place where numbers lie: its key in the file and their type."""

    __slots__ = ("count", "dtype", "key")

    def __init__(self, key: str, dtype: np.dtype, count: int):
        self.key, self.dtype, self.count = key, dtype, count


class _Tensor(_Inert):
    """A view on a storage, in elements; read when the storages are known."""

    __slots__ = ("offset", "size", "storage", "stride")

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any):
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)


class _Maker(_Inert):
    """A callable that pickle may reduce with: no class, nothing to inherit, made anew for each file."""

    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Callable[..., Any]):
        self.name, self._make = name, make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)


class _Dict(dict):
    """A dictionary that takes attributes: state dicts carry a `_metadata` that nobody needs."""

    def __setstate__(self, state: Any) -> None:
        del state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module} {name}" not in _GLOBALS:  # the opcodes were looked at before; never trust one lock
            raise _Refused(f"asks for {module}.{name}")
        if name in _DTYPES:
            return _Maker(name, _no_call)
        if name == "_rebuild_parameter":
            return _Maker(name, lambda data, *_: data)
        return _Maker(name, _Tensor if name == "_rebuild_tensor_v2" else lambda: _Dict())

    def persistent_load(self, pid: Any) -> _Storage:
        kind, maker, key, _, count, *view = pid
        if kind != "storage" or not isinstance(maker, _Maker) or maker.name not in _DTYPES or any(view):
            raise _Refused("holds a storage of an unknown kind")
        if not isinstance(count, int) or count < 0:
            raise ValueError("storage size")
        return _Storage(str(key), np.dtype(_DTYPES[maker.name]), count)


def _no_call(*_: Any) -> Any:
    raise ValueError("a storage's type is not to be called")


def read_torch(path: Path) -> dict[str, NDArray]:
    """Read the state dict in a file of `torch.save`, old format or zip: {name: array}, nothing executed.

    A checkpoint that holds it under "state_dict" or "model_state_dict" is understood. Raises `NetsError` for a
    file that is cut off, of another kind, or whose pickle asks for anything but tensors; the message names it.

    >>> read_torch(Path("absent.pkl"))
    Traceback (most recent call last):
    nets.errors.NetsError: absent.pkl: no such file; give the path of a state dict saved by torch.save
    """
    if not path.is_file():
        raise NetsError(f"{path}: no such file; give the path of a state dict saved by torch.save")
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            root, storages = _read_zip(file) if start == b"PK\x03\x04" else _read_old(file, path.stat().st_size)
        return _arrays(root, storages)
    except _Refused as error:
        raise NetsError(f"{path}: its pickle {error}, which no state dict needs; nothing in it was run") from error
    except (*_DAMAGED, OSError) as error:
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise NetsError(
            f"{path}: cut off, or no state dict saved by torch.save ({reason}); get the file again"
        ) from error


def _unpickle(file: BinaryIO) -> Any:
    """The next object of a stream; refused by its opcodes before it is made."""
    start, largest, n_codes, foreign, strings = file.tell(), 0, 0, "", ["", ""]
    for opcode, argument, _ in pickletools.genops(file):
        n_codes += 1
        if isinstance(argument, str):
            strings = [strings[1], argument]
        if opcode.name == "GLOBAL" and argument not in _GLOBALS:
            raise _Refused(f"asks for {str(argument).replace(' ', '.')}")
        if opcode.name == "STACK_GLOBAL":
            raise _Refused(f"asks for {'.'.join(strings)}")
        if opcode.name not in _OPCODES:
            foreign = foreign or opcode.name  # a global further on says more
        if opcode.name in ("BINPUT", "LONG_BINPUT"):
            largest = max(largest, int(argument))  # pyright: ignore[reportArgumentType]
    if foreign:
        raise _Refused(f"uses the opcode {foreign}")
    if largest > n_codes or n_codes > _LONGEST:  # a memo index allocates that many slots
        raise ValueError("an outsized pickle")
    end = file.tell()
    file.seek(start)
    return _Unpickler(io.BytesIO(file.read(end - start))).load()


def _read_old(file: BinaryIO, file_bytes: int) -> tuple[Any, dict[str, NDArray]]:
    if _unpickle(file) != _MAGIC or _unpickle(file) != _PROTOCOL:
        raise ValueError("no magic number")
    system = _unpickle(file)
    if not system["little_endian"]:
        raise _Refused("is of a big-endian machine")
    opened: dict[str, _Storage] = {}
    root = _unpickle(file)
    for tensor in _tensors(root).values():
        opened[tensor.storage.key] = tensor.storage
    storages: dict[str, NDArray] = {}
    for key in _unpickle(file):
        (count,) = struct.unpack("<q", file.read(8))
        storage = opened.get(str(key))
        if storage is None or count != storage.count:
            raise ValueError(f"storage {key}")
        n_bytes = count * storage.dtype.itemsize
        if n_bytes > file_bytes - file.tell():
            raise ValueError("the file ends inside a storage")
        storages[storage.key] = np.frombuffer(file.read(n_bytes), storage.dtype)
    return root, storages


def _read_zip(file: BinaryIO) -> tuple[Any, dict[str, NDArray]]:
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")

        def member(name: str) -> bytes:
            entry = archive.getinfo(folder + name)
            if entry.compress_type != zipfile.ZIP_STORED:  # torch.save never compresses; a bomb does
                raise _Refused("lies in a compressed archive")
            return archive.read(entry)

        if folder + "byteorder" in archive.namelist() and member("byteorder") != b"little":
            raise _Refused("is of a big-endian machine")
        root = _unpickle(io.BytesIO(member("data.pkl")))
        storages: dict[str, NDArray] = {}
        for tensor in _tensors(root).values():
            storage = tensor.storage
            if storage.key not in storages:
                values = np.frombuffer(member(f"data/{storage.key}"), storage.dtype)
                if values.size < storage.count:
                    raise ValueError(f"storage {storage.key}")
                storages[storage.key] = values
    return root, storages


def _tensors(root: Any) -> dict[str, _Tensor]:
    """The state dict in what the file holds."""
    for key in ("state_dict", "model_state_dict"):
        if isinstance(root, dict) and isinstance(root.get(key), dict):
            root = root[key]
    if not isinstance(root, dict) or not root:
        raise ValueError(f"it holds a {type(root).__name__.strip('_').lower()}, not names with arrays")
    for name, value in root.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise ValueError(f"{name!r} is no array")
    return root


def _arrays(root: Any, storages: dict[str, NDArray]) -> dict[str, NDArray]:
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in _tensors(root).items()}


def _view(tensor: _Tensor, values: NDArray) -> NDArray:
    """The tensor's own copy of its numbers, refusing a view that leaves its storage or repeats parts of it."""
    whole = (tensor.offset, *tensor.size, *tensor.stride)
    if not all(isinstance(n, int) and n >= 0 for n in whole) or len(tensor.size) != len(tensor.stride):
        raise ValueError("a tensor's sizes")
    count = math.prod(tensor.size)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    if count and (last >= values.size or count > values.size):
        raise ValueError("a tensor reaches beyond its storage")
    if not count:
        return np.zeros(tensor.size, values.dtype)
    strides = tuple(step * values.itemsize for step in tensor.stride)
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides).copy()
