"""Imaris' IMS movie (also Andor Fusion), which is HDF5: read by h5py, no extra needed.

Layout: Oxford Instruments, "Imaris 5.5 file format description": /DataSet/ResolutionLevel 0/TimePoint T/Channel C/Data
of (z, y, x), often larger than the picture, whose size the channel's attributes ImageSizeX, Y, Z say; the extent in um
in /DataSetInfo/Image. Attributes are arrays of single letters. Checked by files that h5py writes to this layout.
"""

import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localization.io.movies.axes import Axis, choose
from localization.io.movies.instruments.extra import is_kind
from localization.io.movies.instruments.held import check_number, held_frames
from localization.io.movies.source import MovieFormat, MovieOptions, refuse_size, refuse_type
from localization.types import LocalizationError, MovieFacts, one_line

_LEVEL = "DataSet/ResolutionLevel 0"


class ImsMovie:
    """The time points of an IMS file, or its planes where there is one time point."""

    def __init__(self, path: Path, options: MovieOptions) -> None:
        import h5py

        self.path, self.notes = path, []
        try:
            self._file: Any = h5py.File(path, "r")
        except OSError as error:
            raise LocalizationError(
                f"{path}: not an IMS file, or cut off ({one_line(error)}); copy it again"
            ) from error
        try:
            self._describe(options)
        except LocalizationError:
            self.close()
            raise
        except Exception as error:  # h5py raises errors of many kinds for a damaged file
            self.close()
            raise LocalizationError(f"{path}: a damaged IMS file ({one_line(error)}); copy it again") from error

    def _describe(self, options: MovieOptions) -> None:
        path, file = self.path, self._file
        if _LEVEL not in file:
            raise LocalizationError(f"{path}: an HDF5 file that is no IMS movie; check the name")
        level = file[_LEVEL]
        times = sorted(int(m[1]) for name in level if (m := re.fullmatch(r"TimePoint (\d{1,9})", name)))
        channels = sorted(
            {int(m[1]) for t in times[:1] for name in level[f"TimePoint {t}"]
             if (m := re.fullmatch(r"Channel (\d{1,6})", name))}
        )  # fmt: skip
        if not times or not channels:
            raise LocalizationError(f"{path}: holds no frames; copy or export it again")
        about = file["DataSetInfo"] if "DataSetInfo" in file else {}
        said = _text(about.get("TimeInfo"), "DatasetTimePoints") or _text(about.get("TimeInfo"), "FileTimePoints")
        n_times = max(times[-1] + 1, int(said) if said and re.fullmatch(r"\d{1,9}", said) else 0)
        check_number(path, n_times)
        first = level[f"TimePoint {times[0]}/Channel {channels[0]}"]
        data = first["Data"]
        refuse_type(path, data.dtype)
        _check_filters(path, data)
        depth, height, width = (
            int(_text(first, f"ImageSize{axis}") or size) for axis, size in zip("ZYX", data.shape, strict=True)
        )
        if depth > data.shape[0] or height > data.shape[1] or width > data.shape[2]:
            raise LocalizationError(f"{path}: frames of {data.shape[1:]} px that should be ({height}, {width})")
        names = tuple(_text(about.get(f"Channel {c}"), "Name") or f"Channel {c}" for c in channels)
        axes = [Axis("time", n_times), Axis("channel", len(channels), names), Axis("z", depth)]
        chosen = choose(path, axes, options)
        self.notes += chosen.notes
        refuse_size(path, (height, width))
        self._channel, self._along_z = channels[chosen.index["channel"]], chosen.along == "z"
        self.dtype, shape = data.dtype.newbyteorder("="), data.shape
        if self._along_z:
            self._frames = list(range(depth))
            held_frames(path, [self._written(times[0], shape)] * depth, options, self.notes)
        else:
            held = [self._written(t, shape) for t in range(n_times)]
            self._frames = [int(t) for t in held_frames(path, held, options, self.notes)]
        self._time = times[0]
        self.shape = (len(self._frames), height, width)
        self.facts = MovieFacts(pixel_um=_pixel_um(about.get("Image"), width), interval_s=_interval(about, n_times))

    def _data(self, time: int) -> Any:
        return self._file[f"{_LEVEL}/TimePoint {time}/Channel {self._channel}/Data"]

    def _written(self, time: int, shape: tuple[int, ...]) -> bool:
        """Tell whether all pixels of a time point were ever written: HDF5 gives its fill value for others."""
        try:
            data = self._data(time)
        except KeyError:
            return False
        if data.shape != shape or data.dtype.newbyteorder("=") != self.dtype:
            raise LocalizationError(
                f"{self.path}: time point {time} is {data.shape} {data.dtype}, the first {shape} {self.dtype}; "
                "export the movie again"
            )
        if data.chunks is None:
            return data.id.get_storage_size() > 0
        n_chunks = int(np.prod([-(-n // c) for n, c in zip(shape, data.chunks, strict=True)]))
        return data.id.get_num_chunks() >= n_chunks

    def block(self, start: int, stop: int, rows: slice, columns: slice) -> NDArray:
        """Read frames start to stop - 1, a part of each."""
        frames = np.empty((stop - start, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for k in range(start, stop):
            time, plane = (self._time, self._frames[k]) if self._along_z else (self._frames[k], 0)
            try:
                frames[k - start] = self._data(time)[plane, rows, columns]
            except Exception as error:  # as above
                raise LocalizationError(
                    f"{self.path}: frame {k} cannot be read ({one_line(error)}); copy it again"
                ) from error
        return frames

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _check_filters(path: Path, data: Any) -> None:
    """Raise where the pixels are packed in a way that h5py cannot unpack, such as the LZ4 of newer Imaris."""
    import h5py

    created = data.id.get_create_plist()
    for k in range(created.get_nfilters()):
        number, _, _, name = created.get_filter(k)
        if not h5py.h5z.filter_avail(number):
            raise LocalizationError(
                f"{path}: packed by the HDF5 filter {number} ({name.decode('latin-1')}), which h5py lacks; save it "
                "with gzip, or export it as TIFF"
            )


def _text(group: Any, name: str) -> str | None:
    """Read an attribute, which Imaris keeps as an array of single letters."""
    value = None if group is None else group.attrs.get(name)
    if value is None:
        return None
    letters = np.asarray(value)
    if letters.dtype.kind == "S":
        return b"".join(letters.ravel().tolist()).decode("latin-1").strip("\0 ")
    return str(value)


def _pixel_um(image: Any, width: int) -> float | None:
    texts = [_text(image, name) for name in ("ExtMin0", "ExtMax0", "Unit")]
    try:
        begin, end = float(texts[0] or "nan"), float(texts[1] or "nan")
    except ValueError:
        return None
    unit = {"um": 1.0, "µm": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}.get(texts[2] or "um", 0.0)
    pixel_um = (end - begin) / width * unit
    return pixel_um if 0 < pixel_um < 1e3 else None


def _interval(about: Any, n_times: int) -> float | None:
    """Find the mean time from one frame to the next by the stamps of the first and the last, to the millisecond."""
    stamps = [_text(about.get("TimeInfo"), f"TimePoint{k}") for k in (1, n_times)]
    try:
        first, last = (datetime.datetime.fromisoformat(stamp or "") for stamp in stamps)
        interval_s = (last - first).total_seconds() / (n_times - 1)
    except (ValueError, ZeroDivisionError, TypeError):
        return None
    return interval_s if 0 < interval_s < 1e6 else None


MOVIE = MovieFormat("ims", lambda path: is_kind(path, ".ims"), ImsMovie)
