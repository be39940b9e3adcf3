"""From a movie on disk to a localization table on disk: a few frames at a time, in chunks that outlive a kill."""

import re
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from experiments.reading.chunks import Parts, Share, spans
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.localize_config import parse_span as parse_span
from experiments.reading.methods import make_reader
from experiments.reading.pieces.movie_job import FramesInMemory, LocalizeResult, MovieJob, ranges, read_chunk
from experiments.reading.planes.opening import open_for
from experiments.reading.readers import Reader, describe
from localization import LocalizationError, Localizations, MovieFacts, concatenate
from optics.progress import Event, Report, silent
from training import ConfigError

if TYPE_CHECKING:
    from distributed import Client


def parse_share(text: str) -> Share:
    """Read a member of a job array as the command line writes it. Raises `ConfigError`.

    >>> parse_share("2/8")
    Share(number=2, of=8)
    """
    parts = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if parts is None:
        raise ConfigError(f"{text!r} is not a share; write i/n, such as 1/4 ... 4/4")
    return Share(int(parts[1]), int(parts[2]))


def localize(
    movie: Path | str,
    model: Path | str,
    out: Path | str,
    config: LocalizeConfig = LocalizeConfig(),
    *,
    share: Share | None = None,
    client: "Client | None" = None,
    report: Report = silent,
) -> LocalizeResult:
    """Localize a movie with a trained model into a table, whose kind the suffix of `out` says.

    `movie` is what `localization.open_movie` reads, `model` a run's folder or a file of DeepSTORM3D weights. Frames
    are read as they are needed, so a movie may be larger than memory. What is done lies in `out`.parts, a file a chunk
    of frames; the table appears under its name when it is whole. After an error, Ctrl-C or a kill the same call goes
    on from there and gives the same bytes; so do the shares of a job array, each with its `share`, then
    `Parts.find(out).merge()`, and any number of devices of one kind. Another `batch`, `tile_px` or kind of processor
    runs other programs, whose sums of single-precision numbers differ in their last bits.

    With a Dask `client` its workers read shares of the frames, each with a reader of its own; the bytes are the same,
    and either way goes on with what the other began (`docs/cluster.md`; `pip install 'colocus[dask]'`).

    `report` receives an `Event` "start" with model, movie, frames and notes, then a "frame" after every batch with
    found and seconds, then an "end" with path, frames, rows and seconds.

    Raises `ConfigError`, `CheckpointError`, `NetsError` or `LocalizationError`, each with one line that says
    what, where and what to do; a movie that the model cannot read is refused before the first frame.

    >>> localize("movie.tif", "no-such-run", "locs.csv")
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-run: no such run or file of weights; check the name
    """
    if client is None:
        return localize_with(make_reader(model, config), movie, out, config, share=share, report=report)
    if share is not None:
        raise ConfigError("share and client: a cluster cuts its shares itself; give one of them")
    from experiments.reading.cluster.engine import localize_on, with_full_names

    describe(Path(model))  # a wrong name is told before a worker is asked
    model, config, needs = with_full_names(model, config)
    return localize_on(client, partial(make_reader, model, config), movie, out, config, needs=needs, report=report)


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
    with open_for(reader, movie, config) as opened:
        work = MovieJob.of(reader, opened, config)
        parts = Parts.begin(out, work.job)
        missing = parts.missing()
        mine = missing if share is None else [k for k in share.pick(len(parts.job.spans)) if k in set(missing)]
        total = sum(stop - first for first, stop in (parts.job.spans[k] for k in mine))
        report(Event("start", numbers={"movie": str(movie), "frames": total, **work.about()}))
        done, found, tally = 0, 0, Counter[str]()

        def told(frames: int, rows: int) -> None:
            nonlocal done, found
            done, found = done + frames, found + rows
            report(Event("frame", done, total, {"found": found, "seconds": time.perf_counter() - started}))

        try:
            for index in mine:
                tally += work.do(parts, index, told)
        except BaseException:
            if share is None:
                parts.abandon()
            raise
    first, stop = work.cut[0]
    path, frames = (out, stop - first) if share is None else (parts.folder, total)
    if share is None:
        found, tally = parts.merge()
    result = LocalizeResult(path, frames, found, time.perf_counter() - started, tally)
    numbers = {"path": str(path), "frames": frames, "rows": found, "seconds": result.seconds}
    report(Event("end", numbers=numbers))
    return result


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
    cut = ranges(reader, counts.shape, config)
    tables, done, total = [], 0, cut[0][1] - cut[0][0]
    for span in spans(*cut[0], config.chunk_frames):
        for n, locs in read_chunk(FramesInMemory(counts), reader, span, cut, Counter()):
            tables.append(locs)
            done += n
            report(Event("frame", done, total, {"found": sum(t.frame.size for t in tables)}))
    facts = MovieFacts(reader.pixel_um, counts.shape[1:], len(counts))
    return replace(concatenate(tables), movie=facts)
