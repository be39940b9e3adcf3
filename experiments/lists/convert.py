"""From one file format to another: localization tables, and movies or parts of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from localization import LocalizationError, Movie, MovieFacts, MovieOptions, open_movie, read_file, write
from localization.io import FORMATS, formats, is_movie
from localization.io.table_format import Origin
from optics.progress import Event, Report, silent
from optics.whole_file import whole_file
from training import ConfigError

_BATCH_PX = 1 << 24
Span = tuple[int, int | None]


@dataclass(frozen=True)
class ConvertConfig:
    """How a file is converted.

    `to` names the format of a table (`localization.io.FORMATS`); None takes it from the name of the output.
    `source` names the format of the input, where its content does not tell. `pixel_um` is the camera pixel in the
    sample, for formats in pixels; it goes before what the input says. `frame_px` (height, width) is written where
    a format has it. `z_zero_um` is the lower end of the depth range of a DeepSTORM3D table; `frames_from` and `origin`
    say how a table of text counts whose program counts otherwise (see `localization.read`). `frames`, `rows` and
    `columns` (first, stop) are the part of a movie; `opening` says how it is opened.
    """

    to: str | None = None
    source: str | None = None
    pixel_um: float | None = None
    frame_px: tuple[int, int] | None = None
    z_zero_um: float = 0.0
    frames_from: int | None = None
    origin: Origin | None = None
    frames: Span | None = None
    rows: Span | None = None
    columns: Span | None = None
    opening: MovieOptions = MovieOptions()

    def __post_init__(self):
        if self.to is not None and self.to not in formats.writable():
            raise ConfigError(f"--to {self.to} {formats.not_one_of(self.to, formats.writable())}")


@dataclass(frozen=True)
class Converted:
    """What was written: `rows` localizations (or frames) at `path`, with notes on what was lost or assumed."""

    path: Path
    what: str
    rows: int
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say what was written, and what was lost."""
        return [f"{self.rows} {self.what} -> {self.path}", *(f"  {note}" for note in self.notes)]

    def numbers(self) -> dict[str, Any]:
        """List what was written."""
        return {"path": str(self.path), self.what: self.rows, "notes": list(self.notes)}


def convert(
    source: Path | str, out: Path | str | None = None, config: ConvertConfig = ConvertConfig(), report: Report = silent
) -> Converted:
    """Write a table in another format, or a movie (or a part of it) as OME-TIFF or zarr.

    Without `out` a table goes beside the input, under the usual ending of its new format. `report` receives
    an event after every batch of a movie's frames. Raises `LocalizationError` and `ConfigError`.

    >>> convert("no-such-table.csv", "locs.hdf5")
    Traceback (most recent call last):
    localization.types.LocalizationError: no-such-table.csv: no such file or folder; check the name
    """
    source = Path(source)
    if not source.exists():
        raise LocalizationError(f"{source}: no such file or folder; check the name")
    if is_movie(source):
        return _convert_movie(source, out, config, report)
    if config.frames or config.rows or config.columns:
        raise ConfigError("--frames, --rows and --columns are parts of a movie; the input is a table")
    return _convert_table(source, out, config)


def _convert_table(source: Path, out: Path | str | None, config: ConvertConfig) -> Converted:
    table = read_file(
        source,
        format=config.source,
        pixel_um=config.pixel_um,
        z_zero_um=config.z_zero_um,
        frames_from=config.frames_from,
        origin=config.origin,
    )
    if out is None:
        if config.to is None:
            raise ConfigError(f"name the file to write (--out), or its format (--to {' | '.join(formats.writable())})")
        out = source.with_name(source.name.split(".")[0] + FORMATS[config.to].suffix)
    out = Path(out)
    if out.exists() and out.samefile(source):
        raise ConfigError(f"{out} is the input itself; name another file with --out")
    notes = write(
        out,
        table.locs,
        format=config.to,
        pixel_um=config.pixel_um if config.pixel_um is not None else table.pixel_um,
        frame_px=config.frame_px or table.frame_px,
        n_frames=table.n_frames,
        z_zero_um=config.z_zero_um,
    )
    further = f", with {', '.join(table.locs.extras)}" if table.locs.extras else ""
    read_as = f"{source.name} read as {table.format}{further}"
    return Converted(out, "localizations", table.locs.frame.size, (read_as, *table.notes, *notes))


def _convert_movie(source: Path, out: Path | str | None, config: ConvertConfig, report: Report) -> Converted:
    if config.to is not None or out is None:
        raise ConfigError(f"{source} is a movie: name the file to write with --out, ending in .ome.tif or .zarr")
    out = Path(out)
    if not out.name.lower().endswith((".ome.tif", ".ome.tiff", ".zarr")):
        raise ConfigError(f"--out {out}: a movie is written as .ome.tif or .zarr")
    if out.exists() and (out.samefile(source) or out.suffix.lower() == ".zarr"):
        raise ConfigError(f"{out} exists; name another file with --out")
    with open_movie(source, **config.opening.given()) as movie:
        spans = [
            _span(name, span, size)
            for name, span, size in zip(
                ("frames", "rows", "columns"), (config.frames, config.rows, config.columns), movie.shape, strict=True
            )
        ]
        shape = tuple(stop - first for first, stop in spans)
        pixel_um = movie.facts.pixel_um if config.pixel_um is None else config.pixel_um
        facts = replace(movie.facts, pixel_um=pixel_um)
        write_frames = _write_zarr if out.suffix.lower() == ".zarr" else _write_ome
        try:
            with whole_file(out) as part:
                write_frames(part, shape, movie.dtype, _batches(movie, spans, report), facts)
        except OSError as error:
            raise LocalizationError(f"{out}: cannot write ({error.strerror}); choose another folder") from error
        return Converted(out, "frames", shape[0], movie.notes)


def _span(name: str, span: Span | None, size: int) -> tuple[int, int]:
    first, stop = span or (0, None)
    stop = size if stop is None else stop
    if not 0 <= first < stop <= size:
        raise ConfigError(f"{name} = {first}:{stop} does not lie in the movie, which has {size}; count from 0")
    return first, stop


def _batches(movie: Movie, spans: list[tuple[int, int]], report: Report) -> Iterator[Any]:
    (first, stop), rows, columns = spans
    step = max(1, _BATCH_PX // ((rows[1] - rows[0]) * (columns[1] - columns[0])))
    for begin in range(first, stop, step):
        end = min(begin + step, stop)
        yield movie.read_stored(begin, end, rows=rows, columns=columns)
        report(Event("frame", end - first, stop - first))


def _write_ome(path: Path, shape: Any, dtype: Any, batches: Iterator[Any], facts: MovieFacts) -> None:
    import tifffile

    metadata: dict[str, Any] = {"axes": "TYX"}
    if facts.pixel_um is not None:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": facts.pixel_um, f"PhysicalSize{axis}Unit": "µm"}
    if facts.interval_s is not None:
        metadata |= {"TimeIncrement": facts.interval_s, "TimeIncrementUnit": "s"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        frames = (frame for batch in batches for frame in batch)
        writer.write(frames, shape=shape, dtype=dtype, photometric="minisblack", metadata=metadata)


def _write_zarr(path: Path, shape: Any, dtype: Any, batches: Iterator[Any], facts: MovieFacts) -> None:
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3)
    whole: Any = {"write_empty_chunks": True}  # a black frame is there, not left out
    array = group.create_array("0", shape=shape, dtype=np.dtype(dtype), chunks=(1, *shape[1:]), config=whole)
    sizes = (("t", "time", "second", facts.interval_s), *((a, "space", "micrometer", facts.pixel_um) for a in "yx"))
    scale = [1.0 if size is None else size for *_, size in sizes]
    # a size that is not known has no unit: 1 without one is no length
    axes = [{"name": name, "type": kind} | ({} if size is None else {"unit": unit}) for name, kind, unit, size in sizes]
    steps = [{"type": "scale", "scale": scale}]
    described = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [described]}
    first = 0
    for batch in batches:
        array[first : first + len(batch)] = batch
        first += len(batch)
