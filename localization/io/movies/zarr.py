"""A movie in zarr, version 2 or 3, or OME-zarr."""

import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.source import MovieFormat, refuse_size, refuse_type
from localization.types import LocalizationError, one_line


def _recognises(path: Path) -> bool:
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
        """Read frames start to stop - 1, a part of each."""
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
        """Do nothing: no file stays open."""


def _zarr_array(path: Path) -> tuple[Any, str | None]:
    """Find the array of a store, and the names of its axes where an OME description gives them (full size first)."""
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


MOVIE = MovieFormat("zarr", _recognises, lambda path, allow_cut: ZarrMovie(path))
