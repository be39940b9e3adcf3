"""Leica's LIF and LOF movies (LAS X), whose description the library liffile reads.

liffile (BSD-3, C. Gohlke, a release every month) finds the images of a file, their axes, types and the place of their
pixels; these lie in one piece, frame by frame, and are read from there. A file may hold several images: each counts as
a position. Length of an axis is from the middle of the first pixel to that of the last (Leica Image File Formats 3.2).
Checked by files written to that layout, which liffile 2026.2 opens (it has no writer), and by a recording among the
tests of readlif.
"""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis, choose
from localization.io.movies.instruments.extra import is_kind, library
from localization.io.movies.instruments.held import check_number, held_frames
from localization.io.movies.instruments.rows import read_rows
from localization.io.movies.source import MovieFormat, MovieOptions, refuse_size, refuse_type
from localization.types import LocalizationError, MovieFacts, one_line

_AXES = {"T": "time", "Z": "z", "C": "channel"}
_DIMENSIONS = "./Data/Image/ImageDescription/Dimensions/DimensionDescription"
_X, _T = "1", "4"  # DimID


class LifMovie:
    """The frames of one image of a LIF file along one of its axes."""

    def __init__(self, path: Path, options: MovieOptions) -> None:
        liffile = library(path, "liffile", "a Leica LIF movie")
        self.path, self.notes = path, []
        self._fd = os.open(path, os.O_RDONLY)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with liffile.LifFile(path, squeeze=False) as file:
                    self._describe(list(file.images), path.stat().st_size, options)
        except LocalizationError:
            self.close()
            raise
        except Exception as error:  # liffile and the reader of its XML raise errors of many kinds for a damaged file
            self.close()
            raise LocalizationError(f"{path}: not a LIF file, or damaged ({one_line(error)}); copy it again") from error

    def _describe(self, images: list[Any], size: int, options: MovieOptions) -> None:
        path = self.path
        if not images:
            raise LocalizationError(f"{path}: holds no image; check the name")
        series = Axis("position", len(images), tuple(str(image.name) for image in images))
        asked = MovieOptions(position=options.position, allow_cut=options.allow_cut)
        picked = choose(path, [series], asked)
        image = images[picked.index["position"]]
        sizes: dict[str, int] = dict(image.sizes)
        dtype = np.dtype(image.dtype)
        refuse_type(path, dtype)
        if tuple(sizes)[-2:] != ("Y", "X"):
            raise LocalizationError(
                f"{path}: {image.name} has axes {''.join(sizes)}; export one channel as (frame, y, x)"
            )
        axes = [Axis(_AXES.get(name, name), count) for name, count in sizes.items() if name not in ("Y", "X")]
        chosen = choose(path, axes, MovieOptions(channel=options.channel))
        self.notes += [*picked.notes, *chosen.notes]
        if chosen.along not in (None, "time", "z"):
            self.notes.append(f"the frames of {image.name} run along its axis {chosen.along}, not along time")
        block = image.memory_block
        frame_px = (sizes["Y"], sizes["X"])
        refuse_size(path, frame_px)
        self._frame_bytes = math.prod(frame_px) * dtype.itemsize
        if block.offset <= 0 or block.size != self._frame_bytes * math.prod(axis.size for axis in axes):
            raise LocalizationError(
                f"{path}: the pixels of {image.name} take {block.size} bytes, not as many as its axes say; "
                "export it as TIFF"
            )
        strides, step = {}, self._frame_bytes
        for axis in reversed(axes):
            strides[axis.name] = step
            step *= axis.size
        begin = block.offset + sum(strides[name] * k for name, k in chosen.index.items() if name in strides)
        n_frames = check_number(path, next((axis.size for axis in axes if axis.name == chosen.along), 1))
        stride = strides.get(chosen.along or "", 0)
        at = [begin + k * stride for k in range(n_frames)]
        there = [place + self._frame_bytes <= size for place in at]
        self._at = [at[k] for k in held_frames(path, there, options, self.notes)]
        self.dtype = dtype.newbyteorder("=")
        self.shape = (len(self._at), *frame_px)
        self.facts = _facts(image)

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        row_bytes = self.shape[2] * self.dtype.itemsize
        frames = np.empty((stop - start, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for k in range(start, stop):
            try:
                at = self._at[k] + rows.start * row_bytes
                read_rows(self._fd, at, frames[k - start], columns, row_bytes=row_bytes)
            except (EOFError, OSError) as error:
                raise LocalizationError(f"{self.path}: frame {k} cannot be read ({error}); copy it again") from error
        return frames

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _facts(image: Any) -> MovieFacts:
    pixel_m, interval_s = None, None
    for axis in image.xml_element.findall(_DIMENSIONS):
        about = axis.attrib
        n_steps = int(about["NumberOfElements"]) - 1
        step = abs(float(about["Length"])) / n_steps if n_steps > 0 else 0.0
        if about["DimID"] == _X and about["Unit"] == "m" and 0 < step < 1:
            pixel_m = step
        if about["DimID"] == _T and about["Unit"] == "s" and 0 < step < 1e6:
            interval_s = step
    said = {element.attrib["ExposureTime"] for element in image.xml_element.iter() if "ExposureTime" in element.attrib}
    exposures = {float(text) for text in said}
    exposure_s = exposures.pop() if len(exposures) == 1 else 0.0
    return MovieFacts(
        pixel_um=pixel_m * 1e6 if pixel_m else None,
        exposure_s=exposure_s if 0 < exposure_s < 1e5 else None,
        interval_s=interval_s,
    )


MOVIE = MovieFormat("lif", lambda path: is_kind(path, ".lif") or is_kind(path, ".lof"), LifMovie)
