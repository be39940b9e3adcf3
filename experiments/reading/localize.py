"""From a movie on disk to a localization table on disk: a few frames at a time, in chunks that outlive a kill."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from experiments.reading.chunks import Job, Parts, Share, spans
from experiments.reading.localize_config import LocalizeConfig, Span
from experiments.reading.localize_config import parse_span as parse_span
from experiments.reading.methods import make_reader
from experiments.reading.readers import Reader
from experiments.reading.remarks import remarks
from localization import LocalizationError, Localizations, Movie, MovieFacts, compare_facts, concatenate, open_movie
from optics.progress import Event, Report, silent
from training import ConfigError

GROUP_PX = 2**25  # pixels of the frames that are read at a time: 128 MB


def parse_share(text: str) -> Share:
    """Read a member of a job array as the command line writes it. Raises `ConfigError`.

    >>> parse_share("2/8")
    Share(number=2, of=8)
    """
    parts = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if parts is None:
        raise ConfigError(f"{text!r} is not a share; write i/n, such as 1/4 ... 4/4")
    return Share(int(parts[1]), int(parts[2]))


@dataclass(frozen=True)
class LocalizeResult:
    """What a finished job wrote: `rows` localizations of `frames` frames at `path`, in `seconds`.

    With a share of the work, `path` is the folder of parts. `tally` is what the reader counted on its way.
    """

    path: Path
    frames: int
    rows: int
    seconds: float
    tally: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Say what the reader counted, and where the list is."""
        return [*remarks(self.tally), str(self.path)]

    def numbers(self) -> dict[str, Any]:
        """List what was done."""
        return {"frames": self.frames, "rows": self.rows, "seconds": self.seconds, "tally": dict(self.tally)}


def localize(
    movie: Path | str,
    model: Path | str,
    out: Path | str,
    config: LocalizeConfig = LocalizeConfig(),
    *,
    share: Share | None = None,
    report: Report = silent,
) -> LocalizeResult:
    """Localize a movie with a trained model into a table, whose kind the suffix of `out` says.

    `movie` is what `localization.open_movie` reads, `model` a run's folder or a file of DeepSTORM3D weights. Frames
    are read as they are needed, so a movie may be larger than memory. What is done lies in `out`.parts, a file a chunk
    of frames; the table appears under its name when it is whole. After an error, Ctrl-C or a kill the same call goes
    on from there and gives the same bytes; so do the shares of a job array, each with its `share`, then
    `Parts.find(out).merge()`, and any number of devices of one kind. Another `batch`, `tile_px` or kind of processor
    runs other programs, whose sums of single-precision numbers differ in their last bits.

    `report` receives an `Event` "start" with model, movie, frames and notes, then a "frame" after every batch with
    found and seconds, then an "end" with path, frames, rows and seconds.

    Raises `ConfigError`, `CheckpointError`, `NetsError` or `LocalizationError`, each with one line that says
    what, where and what to do; a movie that the model cannot read is refused before the first frame.

    >>> localize("movie.tif", "no-such-run", "locs.csv")
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-run: no such run or file of weights; check the name
    """
    return localize_with(make_reader(model, config), movie, out, config, share=share, report=report)


def localize_with(
    reader: Reader,
    movie: Path | str,
    out: Path | str,
    config: LocalizeConfig = LocalizeConfig(),
    *,
    share: Share | None = None,
    report: Report = silent,
) -> LocalizeResult:
    """Localize with a reader that is there already; of `config` count the part, the chunks, the opening."""
    started, out = time.perf_counter(), Path(out)
    with open_movie(movie, **config.opening.given(), min_size_px=reader.min_frame_px) as opened:
        cut = _ranges(reader, opened.shape, config)
        identity = {
            "movie": movie_identity(opened),
            "part": dict(zip(("frames", "rows", "columns"), map(list, cut), strict=True)),
            "model": reader.identity,
            "pixel_um": reader.pixel_um,
            "versions": {name: version(name) for name in ("colocus", "jax", "numpy")} | {"on": jax.default_backend()},
        }
        parts = Parts.begin(out, Job(identity, spans(*cut[0], config.chunk_frames)))
        missing = parts.missing()
        mine = missing if share is None else [k for k in share.pick(len(parts.job.spans)) if k in set(missing)]
        total = sum(stop - first for first, stop in (parts.job.spans[k] for k in mine))
        notes = [*opened.notes, *compare_facts(opened.facts, MovieFacts(reader.pixel_um), of="the PSF")]
        about = {"model": reader.description, "movie": str(movie), "frames": total, "notes": notes}
        report(Event("start", numbers=about))
        facts = replace(opened.facts, pixel_um=reader.pixel_um)  # by which the positions are in um
        done, found, tally = 0, 0, Counter[str]()
        try:
            for index in mine:
                tables, counted = [], Counter[str]()
                for n, locs in _read(opened, reader, parts.job.spans[index], cut, counted):
                    tables.append(locs)
                    done, found = done + n, found + locs.frame.size
                    seconds = time.perf_counter() - started
                    report(Event("frame", done, total, {"found": found, "seconds": seconds}))
                parts.write(index, replace(concatenate(tables), movie=facts), counted)
                tally += counted
        except BaseException:
            if share is None:
                parts.abandon()
            raise
    path, frames = (out, cut[0][1] - cut[0][0]) if share is None else (parts.folder, total)
    if share is None:
        found, tally = parts.merge()
    result = LocalizeResult(path, frames, found, time.perf_counter() - started, tally)
    numbers = {"path": str(path), "frames": frames, "rows": found, "seconds": result.seconds}
    report(Event("end", numbers=numbers))
    return result


@dataclass(frozen=True)
class _Frames:
    """Frames (n, H, W) in memory, read as a movie is."""

    counts: NDArray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.counts.shape

    def read(self, first: int, stop: int, *, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray:
        return self.counts[first:stop, slice(*rows), slice(*columns)]


def read_frames(
    frames: ArrayLike,
    model: Path | str | Reader,
    config: LocalizeConfig = LocalizeConfig(),
    *,
    report: Report = silent,
) -> Localizations:
    """Localize frames that are in memory: camera counts (n, H, W) in, a list out.

    `model` is what `localize` takes, or a reader (`load_reader`) that is to be used again and again. The list is the
    one that `localize` writes of the same frames, before the file rounds it. Raises as `localize` does.

    >>> read_frames(np.zeros((3, 16, 16)), "no-such-run")
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-run: no such run or file of weights; check the name
    """
    reader = make_reader(model, config) if isinstance(model, str | Path) else model
    counts = np.asarray(frames)
    if counts.ndim != 3 or 0 in counts.shape:
        raise LocalizationError(f"frames: shape {counts.shape} is not (n, H, W); pass grey frames, one or more")
    cut = _ranges(reader, counts.shape, config)
    tables, done, total = [], 0, cut[0][1] - cut[0][0]
    for span in spans(*cut[0], config.chunk_frames):
        for n, locs in _read(_Frames(counts), reader, span, cut, Counter()):
            tables.append(locs)
            done += n
            report(Event("frame", done, total, {"found": sum(t.frame.size for t in tables)}))
    facts = MovieFacts(reader.pixel_um, counts.shape[1:], len(counts))
    return replace(concatenate(tables), movie=facts)


def _ranges(reader: Reader, shape: tuple[int, ...], config: LocalizeConfig) -> list[tuple[int, int]]:
    """First and stop of the frames, rows and columns that are to be read. Raises `ConfigError`."""
    return [
        axis_part("frames", config.frames, shape[0], 1),
        axis_part("rows", config.rows, shape[1], reader.min_frame_px),
        axis_part("columns", config.columns, shape[2], reader.min_frame_px),
    ]


def _read(
    movie: Movie | _Frames, reader: Reader, span: tuple[int, int], cut: list[tuple[int, int]], tally: Counter[str]
) -> Iterator[tuple[int, Localizations]]:
    """A chunk, group by group, while the next frames are read from the disk: frames done, and their list."""
    (_, rows, columns), (first, stop) = cut, span

    # of large frames fewer at a time: two groups of them are in memory; in whole batches, so that a frame has the same
    # place in its batch on any number of devices
    group = min(reader.group, max(1, GROUP_PX // ((rows[1] - rows[0]) * (columns[1] - columns[0]))))
    group -= group % reader.batch if group > reader.batch else 0

    def load(begin: int) -> tuple[np.ndarray, int, int]:
        end = min(begin + group, stop)
        # neighbours in time beyond the chunk, and beyond the part that was asked for, are what the movie has there
        low, high = max(begin - reader.context, 0), min(end + reader.context, movie.shape[0])
        return movie.read(low, high, rows=rows, columns=columns), begin - low, high - end

    begins = range(first, stop, group)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(load, first)
        for begin in begins:
            counts, before, after = coming.result()
            if begin != begins[-1]:
                coming = ahead.submit(load, begin + group)
            locs = reader.read(counts, begin, before, after, (columns[0], rows[0]))
            tally += reader.take_tally()
            yield len(counts) - before - after, _shifted(locs, columns[0] * reader.pixel_um, rows[0] * reader.pixel_um)


def movie_identity(movie: Movie) -> dict[str, Any]:
    """Return what tells a movie from another without reading it: name, size and time of its file, shape and type."""
    path = movie.path.resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    newest, size = max(stat.st_mtime_ns for stat in stats), sum(stat.st_size for stat in stats)
    options = {key: value for key, value in movie.options.given().items() if key != "allow_cut"}
    return options | {
        "path": str(path),
        "files": len(files),
        "bytes": size,
        "modified_ns": newest,
        "shape": list(movie.shape),
        "type": str(movie.dtype),
    }


def axis_part(name: str, span: Span | None, size: int, least: int) -> tuple[int, int]:
    """Return first and stop of a part of an axis of `size`, `least` or more of it. Raises `ConfigError`."""
    first, stop = (0, None) if span is None else span
    stop = size if stop is None else stop
    if not 0 <= first < stop <= size:
        raise ConfigError(f"{name} = {first}:{stop} does not lie in the movie, which has {size}; count from 0")
    if stop - first < least:
        raise ConfigError(f"{name} = {first}:{stop} leaves {stop - first} px of the {least} that the model needs")
    return first, stop


def _shifted(locs: Localizations, x_um: float, y_um: float) -> Localizations:
    return replace(locs, x_um=locs.x_um + x_um, y_um=locs.y_um + y_um)
