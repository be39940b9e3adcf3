"""The heaps in which HDF5 keeps texts of variable length, looked through before the library reads them.

libhdf5 (1.14, as in h5py 3) believes what a damaged heap says of itself, and may not come back from it. Layout: HDF5
File Format Specification 3.0, "Global Heap" (III.E); the objects of a heap lie one behind the other and fill it.
"""

import mmap
import os
import struct
from functools import lru_cache
from pathlib import Path

_BEGINS = b"GCOL\x01\0\0\0"
_OBJECT = struct.Struct("<HHIQ")  # number (0: free space), references, nothing, bytes


def heaps_are_sound(path: Path) -> bool:
    """Tell whether the objects of every heap in a file fit it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "short.h5"
    ...     _ = path.write_bytes(_BEGINS + struct.pack("<Q", 4096))
    ...     heaps_are_sound(path)
    False
    """
    about = os.stat(path)
    return _sound(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=16)  # a table is opened more than once: to recognise it, and to read it
def _sound(path: Path, size: int, changed_ns: int) -> bool:
    if not size:
        return True
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        at = raw.find(_BEGINS)
        while at >= 0:
            if at % 8 == 0 and not _fits(raw, at):
                return False
            at = raw.find(_BEGINS, at + 8)
    return True


def _fits(raw: mmap.mmap, at: int) -> bool:
    end = at + int.from_bytes(raw[at + 8 : at + 16], "little")
    place = at + 16
    if end > len(raw) or end < place:
        return False
    while place + _OBJECT.size <= end:
        number, _, _, n_bytes = _OBJECT.unpack_from(raw, place)
        place += n_bytes if number == 0 else _OBJECT.size + -(-n_bytes // 8) * 8
        if place > end or (number == 0 and n_bytes < _OBJECT.size):
            return False
    return True
