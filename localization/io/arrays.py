"""Movies that are plain arrays on disk: Picasso's .raw with its .yaml, .npy, and zarr."""

import math
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from localization.io.tiff import one_line, pread, refuse_size, refuse_type
from localization.types import LocalizationError


class RawMovie:
    """Frames back to back in a file, from `offset` on."""

    def __init__(
        self, path: Path, shape: tuple[int, int, int], dtype: np.dtype, offset: int, *, allow_cut: bool
    ) -> None:
        refuse_type(path, dtype)
        refuse_size(path, shape[1:])
        self.notes: list[str] = []
        frame_bytes = math.prod(shape[1:]) * dtype.itemsize
        held = max(path.stat().st_size - offset, 0) // frame_bytes
        if held < shape[0]:
            if not allow_cut:
                raise LocalizationError(
                    f"{path}: truncated, it announces {shape[0]} frames and holds {held}; copy it again, or read "
                    "what is there with allow_cut=True (colocus convert --allow-cut)"
                )
            self.notes.append(f"{path.name} is cut off: its first {held} frames are read")
        n_frames = min(shape[0], held)
        if n_frames < 1:
            raise LocalizationError(f"{path}: the file holds 0 frames; copy or export the movie again")
        self.path, self.shape = path, (n_frames, *shape[1:])
        self._stored, self.dtype = dtype, dtype.newbyteorder("=")
        self._offset, self._frame_bytes = offset, frame_bytes
        self._fd = os.open(path, os.O_RDONLY)

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Frames start to stop - 1, a part of each."""
        height, width = self.shape[1:]
        n_rows = rows.stop - rows.start
        row_bytes = width * self._stored.itemsize
        frames = np.empty((stop - start, n_rows, columns.stop - columns.start), self.dtype)
        for k in range(start, stop):
            at = self._offset + k * self._frame_bytes + rows.start * row_bytes
            raw = pread(self._fd, n_rows * row_bytes, at)
            if len(raw) < n_rows * row_bytes:
                raise LocalizationError(
                    f"{self.path}: frame {k} cannot be read (the file became shorter); copy it again"
                )
            frames[k - start] = np.frombuffer(raw, self._stored).reshape(n_rows, width)[:, columns]
        return frames

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def open_raw(path: Path, allow_cut: bool) -> RawMovie:
    """Picasso's .raw: the pixels alone; size, type and byte order stand in the .yaml of the same name."""
    side = path.with_suffix(".yaml")
    if not side.is_file():
        raise LocalizationError(f"{path}: its description {side.name} is missing; copy it beside the movie")
    info = load_yaml(side)
    if not info:
        raise LocalizationError(f"{side}: empty; copy it again")
    try:
        shape = tuple(int(info[0][key]) for key in ("Frames", "Height", "Width"))
        dtype = np.dtype(str(info[0]["Data Type"]))
        dtype = dtype.newbyteorder("<" if str(info[0].get("Byte Order", "<")) == "<" else ">")
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError, OverflowError) as error:
        raise LocalizationError(
            f"{side}: no sensible {one_line(error)}; needed are Frames, Height, Width, Data Type and Byte Order"
        ) from error
    if min(shape) < 1:
        raise LocalizationError(f"{side}: Frames, Height and Width are {shape}; they must be positive")
    return RawMovie(path, (shape[0], shape[1], shape[2]), dtype, 0, allow_cut=allow_cut)


def open_npy(path: Path, allow_cut: bool) -> RawMovie:
    """A .npy array (frame, y, x), or (y, x) for a single frame."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
            shape, fortran, dtype = read_header(file)
            offset = file.tell()
    except Exception as error:  # numpy parses the header as Python, which may fail in any way
        raise LocalizationError(f"{path}: not a .npy array ({one_line(error)}); save it again") from error
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or fortran or dtype.hasobject or min(shape) < 1:
        raise LocalizationError(
            f"{path}: array of shape {shape}{', by columns' if fortran else ''}; save it as (frame, y, x) in C order"
        )
    return RawMovie(path, (int(shape[0]), int(shape[1]), int(shape[2])), dtype, offset, allow_cut=allow_cut)


def load_yaml(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file; tags of Python objects, which Picasso may write, are taken as plain values."""
    try:
        with open(path, encoding="utf-8") as file:
            documents = list(yaml.load_all(file, Loader=_PlainLoader))
    except (OSError, yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise LocalizationError(f"{path}: cannot be read as YAML ({one_line(error)}); copy it again") from error
    return [document for document in documents if isinstance(document, dict)]


class _PlainLoader(yaml.SafeLoader):
    """Never builds an object that a file asks for."""


def _plain(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    del suffix
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def is_zarr(path: Path) -> bool:
    """Whether a folder holds a zarr array or group, of version 2 or 3."""
    return any((path / name).is_file() for name in (".zarray", ".zgroup", "zarr.json"))


class ZarrMovie:
    """A zarr array whose axes beside y and x have one longer than 1. Chunks that were never written read as fill."""

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array, axes = _zarr_array(path)
                shape, dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        except LocalizationError:
            raise
        except Exception as error:  # zarr and its codecs raise errors of many kinds for a damaged store
            raise LocalizationError(f"{path}: not a zarr array ({one_line(error)}); write it again") from error
        refuse_type(path, dtype)
        long_axes = [k for k, size in enumerate(shape[:-2]) if size > 1]
        channels = axes is not None and any(axes[k] == "c" for k in long_axes)
        if len(shape) < 2 or len(long_axes) > 1 or channels or math.prod(shape) == 0:
            named = f" ({axes})" if axes else ""
            raise LocalizationError(
                f"{path}: zarr array of shape {shape}{named}; export one channel and plane as (frame, y, x)"
            )
        refuse_size(path, shape[-2:])
        self._array, self.path, self._axis = array, path, long_axes[0] if long_axes else None
        n_frames = shape[self._axis] if self._axis is not None else 1
        self.shape, self.dtype = (n_frames, shape[-2], shape[-1]), dtype.newbyteorder("=")

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Frames start to stop - 1, a part of each."""
        index: list[Any] = [0] * (len(self._array.shape) - 2)
        if self._axis is not None:
            index[self._axis] = slice(start, stop)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                part = np.asarray(self._array[(*index, rows, columns)])
        except Exception as error:  # as above
            raise LocalizationError(
                f"{self.path}: frames {start} to {stop - 1} cannot be read ({one_line(error)}); copy it again"
            ) from error
        return part.reshape(stop - start, rows.stop - rows.start, columns.stop - columns.start)

    def close(self) -> None:
        """Nothing stays open."""


def _zarr_array(path: Path) -> tuple[Any, str | None]:
    """The array of a store, and the names of its axes where an OME description gives them (full size first)."""
    import zarr

    found: Any = zarr.open(path, mode="r")
    if isinstance(found, zarr.Array):
        return found, None
    attributes = dict(found.attrs)
    scales = (attributes.get("ome") or attributes).get("multiscales")
    if scales:
        names = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in scales[0].get("axes", [])]
        dataset = str(scales[0]["datasets"][0]["path"])
        if not re.fullmatch(r"[\w./ -]+", dataset) or ".." in dataset:
            raise LocalizationError(f"{path}: the OME description points to {dataset!r}; write it again")
        return found[dataset], "".join(names) or None
    arrays = [name for name, item in found.members() if isinstance(item, zarr.Array)]
    if len(arrays) != 1:
        raise LocalizationError(f"{path}: holds {len(arrays)} zarr arrays; name the one that is the movie")
    return found[arrays[0]], None
