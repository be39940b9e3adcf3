"""A movie and its reader as work to be done: what decides the list, the chunks, and each of them read and stored."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.reading.chunks import Job, Parts, spans
from experiments.reading.localize_config import LocalizeConfig, Span
from experiments.reading.planes.movie import PlanesMovie
from experiments.reading.readers import Reader
from experiments.reading.remarks import remarks
from localization import Localizations, Movie, MovieFacts, compare_facts, concatenate
from training import ConfigError

GROUP_PX = 2**25  # pixels of the frames that are read at a time: 128 MB
Cut = list[tuple[int, int]]  # first and stop of frames, rows and columns


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


@dataclass(frozen=True)
class FramesInMemory:
    """Frames (n, H, W) in memory, read as a movie is."""

    counts: NDArray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.counts.shape

    def read(self, first: int, stop: int, *, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray:
        return self.counts[first:stop, slice(*rows), slice(*columns)]


@dataclass(frozen=True)
class MovieJob:
    """An open movie with its reader: `job` says what decides the list, and its chunks."""

    reader: Reader
    movie: Movie | PlanesMovie
    cut: Cut
    job: Job

    @classmethod
    def of(cls, reader: Reader, movie: Movie | PlanesMovie, config: LocalizeConfig) -> "MovieJob":
        """Lay out the job. Raises `ConfigError` where a part is asked for that the movie does not have."""
        cut = ranges(reader, movie.shape, config)
        identity = {
            "movie": movie_identity(movie),
            **_planes(movie),
            "part": dict(zip(("frames", "rows", "columns"), map(list, cut), strict=True)),
            "model": reader.identity,
            "pixel_um": reader.pixel_um,
            "versions": {name: version(name) for name in ("colocus", "jax", "numpy")} | {"on": jax.default_backend()},
        }
        return cls(reader, movie, cut, Job(identity, spans(*cut[0], config.chunk_frames)))

    def about(self) -> dict[str, Any]:
        """Say what is read with what, and what is unusual about it."""
        notes = [*self.movie.notes, *compare_facts(self.movie.facts, MovieFacts(self.reader.pixel_um), of="the PSF")]
        return {"model": self.reader.description, "notes": notes}

    def do(self, parts: Parts, index: int, told: Callable[[int, int], None]) -> Counter[str]:
        """Read a chunk and store it; `told` hears of each group how many frames it has, and rows."""
        tables, counted = [], Counter[str]()
        for n, locs in read_chunk(self.movie, self.reader, self.job.spans[index], self.cut, counted):
            tables.append(locs)
            told(n, locs.frame.size)
        facts = replace(self.movie.facts, pixel_um=self.reader.pixel_um)  # by which the positions are in um
        parts.write(index, replace(concatenate(tables), movie=facts), counted)
        return counted


def ranges(reader: Reader, shape: tuple[int, ...], config: LocalizeConfig) -> Cut:
    """Return first and stop of the frames, rows and columns that are to be read. Raises `ConfigError`."""
    return [
        axis_part("frames", config.frames, shape[0], 1),
        axis_part("rows", config.rows, shape[1], reader.min_frame_px),
        axis_part("columns", config.columns, shape[2], reader.min_frame_px),
    ]


def read_chunk(
    movie: Movie | PlanesMovie | FramesInMemory,
    reader: Reader,
    span: tuple[int, int],
    cut: Cut,
    tally: Counter[str],
) -> Iterator[tuple[int, Localizations]]:
    """Read a chunk, group by group, while the next frames come from the disk: frames done, and their list."""
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


def movie_identity(movie: Movie | PlanesMovie) -> dict[str, Any]:
    """Return what tells a movie from another without reading it: name, size and time of its file, shape and type."""
    options = {key: value for key, value in movie.options.given().items() if key != "allow_cut"}
    kind = {"shape": list(movie.shape), "type": str(movie.dtype)}
    if not isinstance(movie.path, Path):  # a store far away: what is in it is not asked again
        return options | {"path": str(movie.path), **kind}
    path = movie.path.resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [file.stat() for file in files]
    newest, size = max(stat.st_mtime_ns for stat in stats), sum(stat.st_size for stat in stats)
    return options | {"path": str(path), "files": len(files), "bytes": size, "modified_ns": newest, **kind}


def _planes(movie: Movie | PlanesMovie) -> dict[str, Any]:
    """Return where a movie's planes lie; nothing of one without."""
    if not isinstance(movie, PlanesMovie):
        return {}
    others = [movie_identity(one) for one in movie.others]
    return {"planes": {"corners_px": movie.corners_px.tolist(), "others": others}}


def axis_part(name: str, span: Span | None, size: int, least: int) -> tuple[int, int]:
    """Return first and stop of a part of an axis of `size`, `least` or more of it. Raises `ConfigError`."""
    first, stop = (0, None) if span is None else span
    stop = size if stop is None else stop
    if not 0 <= first < stop <= size:
        raise ConfigError(f"{name} = {first}:{stop} does not lie in the movie, which has {size}; count from 0")
    if size < least:
        raise ConfigError(
            f"the frames have {size} {name}, fewer than the {least} that the model needs; a movie of whole fields is "
            "read, not molecules that were cut out of one"
        )
    if stop - first < least:
        raise ConfigError(
            f"{name} = {first}:{stop} leaves {stop - first} px of the {least} that the model needs; take more"
        )
    return first, stop


def _shifted(locs: Localizations, x_um: float, y_um: float) -> Localizations:
    return replace(locs, x_um=locs.x_um + x_um, y_um=locs.y_um + y_um)
