"""Which frames of a zarr array were written: the chunks that lie in its folder, compared with those it announces.

A chunk that is not there reads as the fill value, without a word. It is not there because writing was broken off, or,
legally, because all of it is the fill value. In a shard (zarr 3) the chunks that it holds stand in its index:
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed, checked against zarr 3.1.6.
"""

import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NOT_THERE = (1 << 64) - 1


def frames_written(
    array: Any, folder: Path, axis: int, index: list[int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell of each frame along `axis` whether any, and whether every chunk of it is there: two (n_frames,).

    `folder` is the array's own; `index` has the place on every axis before y and x. Raises ValueError where the array
    is of a kind whose files are not known here.
    """
    shape, outer = tuple(array.shape), tuple(array.shards or array.chunks)
    name_of = array.metadata.encode_chunk_key
    reach = [range(-(-size // step)) for size, step in zip(shape, outer, strict=True)]
    for k, place in enumerate(index):
        if k != axis:
            reach[k] = range(place // outer[k], place // outer[k] + 1)
    some, every = np.zeros(shape[axis], bool), np.zeros(shape[axis], bool)
    layout = _Shard.of(array) if array.shards else None
    for first in reach[axis]:
        there = []
        for place in itertools.product(*(r if k != axis else (first,) for k, r in enumerate(reach))):
            file = os.path.join(folder, name_of(place))
            is_there = os.path.isfile(file)
            if layout is not None and is_there:
                inside = [place_on - place[k] * outer[k] for k, place_on in enumerate(index)]
                there.append(layout.frames_in(file, axis, inside))
            else:
                there.append(np.full(outer[axis], is_there))
        start = first * outer[axis]
        stop = min(start + outer[axis], shape[axis])
        some[start:stop] = np.any(there, axis=0)[: stop - start]
        every[start:stop] = np.all(there, axis=0)[: stop - start]
    return some, every


class _Shard:
    """How the chunks lie in a shard, and where its index is."""

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...], index_bytes: int, at_end: bool) -> None:
        self.inner = inner
        self.grid = tuple(a // b for a, b in zip(outer, inner, strict=True))
        self.outer, self.index_bytes, self.at_end = outer, index_bytes, at_end

    @classmethod
    def of(cls, array: Any) -> "_Shard":
        """Read the layout; raises ValueError where the index is encoded in another way than zarr's own."""
        described = next((c.to_dict() for c in array.metadata.codecs if hasattr(c, "index_location")), None)
        if described is None:
            raise ValueError("no shards")
        said = described["configuration"]
        names = [codec["name"] for codec in said["index_codecs"]]
        little = said["index_codecs"][0].get("configuration", {}).get("endian") == "little"
        if names not in (["bytes"], ["bytes", "crc32c"]) or not little:
            raise ValueError(f"an index of {names}")
        outer, inner = tuple(array.shards), tuple(array.chunks)
        n_chunks = math.prod(a // b for a, b in zip(outer, inner, strict=True))
        at_end = str(getattr(said["index_location"], "value", said["index_location"])) == "end"
        return cls(outer, inner, 16 * n_chunks + (4 if len(names) == 2 else 0), at_end)

    def frames_in(self, file: str, axis: int, inside: list[int]) -> NDArray[np.bool_]:
        """Tell of each frame of a shard whether all its chunks are in the file; (frames of a shard,)."""
        with open(file, "rb") as handle:
            if self.at_end:
                handle.seek(max(os.path.getsize(file) - self.index_bytes, 0))
            raw = handle.read(self.index_bytes)
        n_chunks = math.prod(self.grid)
        if len(raw) < 16 * n_chunks:
            return np.zeros(self.outer[axis], bool)
        places = np.frombuffer(raw[: 16 * n_chunks], "<u8").reshape(*self.grid, 2)
        held = (places != _NOT_THERE).any(axis=-1)
        for k in reversed(range(len(inside))):
            if k != axis:
                held = held.take(inside[k] // self.inner[k], axis=k)
        held = held.reshape(self.grid[axis], -1).all(axis=1)
        return np.repeat(held, self.inner[axis])
