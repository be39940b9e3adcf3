"""A movie in zarr, version 2 or 3, or OME-zarr."""

import math
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis, Chosen, choose
from localization.io.movies.micromanager import positive
from localization.io.movies.read_ahead import ReadAhead
from localization.io.movies.source import WHAT_IS_THERE, MovieFormat, MovieOptions, refuse_size, refuse_type
from localization.io.movies.store import StoreUrl
from localization.io.movies.zarr_chunks import frames_written
from localization.types import LocalizationError, MovieFacts, one_line

_AXES = {"t": "time", "c": "channel", "p": "position"}
_UNITS = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "second": 1.0, "millisecond": 1e-3}
_FEWEST = 16  # frames that are asked of a store far away at a time: every request takes its while


def _recognises(path: Path) -> bool:
    return any((path / name).is_file() for name in (".zarray", ".zgroup", "zarr.json"))


class ZarrMovie:
    """A zarr array of which one axis beside y and x is longer than 1."""

    def __init__(self, path: Path | StoreUrl, options: MovieOptions) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array, described, image = _zarr_array(path, options)
                axes = [a["name"] if isinstance(a, dict) else str(a) for a in (described or {}).get("axes", [])]
                shape, dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
        except LocalizationError:
            raise
        except Exception as error:  # zarr and its codecs raise errors of many kinds for a damaged store
            raise LocalizationError(f"{path}: not a zarr array ({one_line(error)}); write it again") from error
        refuse_type(path, dtype)
        if len(shape) < 2 or math.prod(shape) == 0:
            raise LocalizationError(f"{path}: zarr array of shape {shape}; export the movie as (frame, y, x)")
        refuse_size(path, shape[-2:])
        names = [_AXES.get(name.lower(), name) for name in axes] if axes and len(axes) == len(shape) else None
        names = names or [f"axis {k}" for k in range(len(shape))]
        if image is not None:
            options = replace(options, position=None)
        chosen = choose(path, [Axis(*pair) for pair in zip(names[:-2], shape[:-2], strict=True)], options)
        self._array, self.path, self.notes = array, path, [*(image.notes if image else ()), *chosen.notes]
        self.facts = _facts(described)
        self._index: list[Any] = [chosen.index.get(name, 0) for name in names[:-2]]
        self._axis = names.index(chosen.along) if chosen.along is not None else None
        n_frames = shape[self._axis] if self._axis is not None else 1
        self.shape, self.dtype = (n_frames, shape[-2], shape[-1]), dtype.newbyteorder("=")
        self._leave_out_what_was_never_written(options)
        self._ahead = ReadAhead(self._block, self.shape[0], self._together(), self.dtype.itemsize)

    def _together(self) -> int:
        """How many frames are best read together: those of a shard or chunk; of a store far away never few."""
        if self._axis is None:
            return 1
        step = int((self._array.shards or self._array.chunks)[self._axis])
        return step if isinstance(self.path, Path) else step * max(1, _FEWEST // step)

    def _leave_out_what_was_never_written(self, options: MovieOptions) -> None:
        """Find where writing was broken off. Raises there, unless what is there is wished; a gap before is told."""
        if self._axis is None:
            return
        n_frames = self.shape[0]
        if isinstance(self.path, StoreUrl):
            return self._look_at_the_end(self.path)
        try:
            folder = self.path.joinpath(*str(self._array.path).split("/"))
            some, every = frames_written(self._array, folder, self._axis, self._index)
        except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, IndexError, OSError) as error:
            self.notes.append(f"whether all frames were written cannot be told ({one_line(error)})")
            return
        last = int(np.flatnonzero(some)[-1]) if some.any() else -1
        held = int(np.flatnonzero(every[: last + 1])[-1]) + 1 if last < n_frames - 1 and every.any() else last + 1
        held -= self._empty_at_end(held)
        if held < n_frames:
            what = f"of {n_frames} frames announced the last {n_frames - held} were never written"
            if held == 0 or not options.allow_cut:
                remedy = WHAT_IS_THERE if held else "copy it again"
                raise LocalizationError(f"{self.path}: {what}, and would read as {self._array.fill_value}; {remedy}")
            self.notes.append(f"{what}: {held} are read")
            self.shape = (held, *self.shape[1:])
        gaps = np.flatnonzero(~every[:held])
        if gaps.size:
            self.notes.append(
                f"chunks are missing in {gaps.size} of the frames, first in {gaps[0]}: black, or never written; "
                f"they read as {self._array.fill_value}"
            )

    def _look_at_the_end(self, url: StoreUrl) -> None:
        """Of a store far away not every chunk is looked for, only the last one. Raises where it was never written."""
        assert self._axis is not None
        outer = self._array.shards or self._array.chunks
        place = [index // step for index, step in zip(self._index, outer, strict=False)] + [0, 0]
        place[self._axis] = (self.shape[0] - 1) // int(outer[self._axis])
        name = "/".join(
            part for part in (self._array.path, self._array.metadata.encode_chunk_key(tuple(place))) if part
        )
        from zarr.core.sync import sync

        if not sync(self._array.store.exists(name)):
            raise LocalizationError(
                f"{url}: the last of {self.shape[0]} frames announced was never written, and would read as "
                f"{self._array.fill_value}; finish the upload"
            )

    def _empty_at_end(self, held: int) -> int:
        """Count the frames at the end that are fill value alone, in a chunk of several: it was not filled up."""
        if held == 0 or self._axis is None or (chunk := int(self._array.chunks[self._axis])) == 1:
            return 0
        rows, columns = (slice(0, size) for size in self.shape[1:])
        first = (held - 1) // chunk * chunk
        for k in range(held - 1, first - 1, -1):
            if (self._block(k, k + 1, rows, columns) != self._array.fill_value).any():
                return held - 1 - k
        return held - first

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        return self._ahead.block(start, stop, rows, columns)

    def _block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        index = list(self._index)
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
        """Stop reading ahead; no file stays open."""
        self._ahead.close()


def _zarr_array(path: Path | StoreUrl, options: MovieOptions) -> tuple[Any, dict[str, Any] | None, Chosen | None]:
    """Find the array of a store (full size first), its OME description, and which of several images it is."""
    import zarr

    found: Any = zarr.open(path if isinstance(path, Path) else path.open(), mode="r")
    if isinstance(found, zarr.Array):
        return found, None, None
    chosen = None
    if not _scales(found):  # images beside each other, as bioformats2raw writes them
        images = sorted(name for name, item in found.members() if isinstance(item, zarr.Group) and _scales(item))
        if images:
            chosen = choose(path, [Axis("position", len(images), tuple(images))], options)
            found = found[images[chosen.index["position"]]]
    if scales := _scales(found):
        dataset = str(scales[0]["datasets"][0]["path"])
        if not re.fullmatch(r"[\w./ -]+", dataset) or ".." in dataset:
            raise LocalizationError(f"{path}: the OME description points to {dataset!r}; write it again")
        return found[dataset], scales[0], chosen
    arrays = [name for name, item in found.members() if isinstance(item, zarr.Array)]
    if len(arrays) != 1:
        raise LocalizationError(f"{path}: holds {len(arrays)} zarr arrays; name the one that is the movie")
    return found[arrays[0]], None, None


def _scales(group: Any) -> Any:
    attributes = dict(group.attrs)
    return (attributes.get("ome") or attributes).get("multiscales")


def _facts(described: dict[str, Any] | None) -> MovieFacts:
    """Read pixel and interval from the scale of an OME description; unknown where it names no unit."""
    try:
        assert described is not None
        steps = described["datasets"][0]["coordinateTransformations"]
        scale = next(step["scale"] for step in steps if step["type"] == "scale")
        sizes = {}
        for axis, size in zip(described["axes"], scale, strict=True):
            number, unit = positive(size), _UNITS.get(axis.get("unit"))
            if number is not None and unit is not None:
                sizes[axis["name"]] = number * unit
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration):
        return MovieFacts()
    return MovieFacts(pixel_um=sizes.get("x"), interval_s=sizes.get("t"))


MOVIE = MovieFormat("zarr", _recognises, ZarrMovie)
