"""What a worker does: open the movie and make the reader once, then read one share after another.

Only names of files come here, and numbers go back: frames are read, and parts written, where the work is done.
"""

import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import get_worker

from experiments.reading.chunks import Job, Parts
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.pieces.movie_job import MovieJob
from experiments.reading.planes.opening import open_for
from experiments.reading.readers import Reader
from localization import LocalizationError
from nets import NetsError
from optics import OpticsError
from training import CheckpointError, ConfigError


@dataclass(frozen=True)
class Order:
    """What a worker must know: the run (`token`), whose reader to make, the movie, the table, the settings.

    `make` is called once in every worker; it and all that it needs must be importable there.
    """

    token: str
    make: Callable[[], Reader]
    movie: str
    out: str
    config: LocalizeConfig


@dataclass(frozen=True)
class Laid:
    """What the first worker says of a job: its parts, who reads it, what is unusual about the movie."""

    job: Job
    about: dict[str, Any]


@dataclass(frozen=True)
class Trouble:
    """What a user can mend, and the worker that it happened to."""

    worker: str
    error: Exception


class Stopped(Exception):
    """Nobody waits for this share any more."""


FAILURES = (CheckpointError, ConfigError, LocalizationError, NetsError, OpticsError, OSError, MemoryError)
_LOCK = threading.Lock()  # a reader is no program for several threads; shares of one worker come one by one
_KEPT: dict[tuple[str, str], MovieJob] = {}  # by worker (several may live in one process) and run
_JOINED: dict[tuple[str, str], Parts] = {}


def lay(sealed: bytes) -> Laid | Trouble:
    """Make the reader, open the movie, and say what the job is; `sealed` is a pickled `Order`."""
    order: Order = pickle.loads(sealed)
    with _LOCK:
        try:
            work = _work(order)
        except FAILURES as error:
            return Trouble(who(), error)
        return Laid(work.job, work.about())


def read_share(sealed: bytes, chunks: Sequence[int]) -> int | Trouble:
    """Read those chunks of which there is no part yet, and store each; returns how many frames were read.

    Of every chunk that is done the scheduler hears the number, frames and rows, under the run's token.
    """
    order: Order = pickle.loads(sealed)
    worker, frames, rows = get_worker(), 0, 0
    # whoever runs this share is told by the scheduler; asked now and then, as a thread cannot be stopped from outside
    key = worker.get_current_task()

    def told(n: int, found: int) -> None:
        nonlocal frames, rows
        frames, rows = frames + n, rows + found
        task = worker.state.tasks.get(key)
        if task is None or task.state not in ("executing", "long-running"):
            raise Stopped(order.out)

    with _LOCK:
        try:
            work = _work(order)
            parts = _parts(order, work)
            for index in chunks:
                if not parts.path(index).exists():
                    before = frames, rows
                    work.do(parts, index, told)
                    done = {"chunk": index, "frames": frames - before[0], "found": rows - before[1]}
                    worker.log_event(order.token, {**done, "worker": who()})
        except FAILURES as error:
            return Trouble(who(), error)
    return frames


def who() -> str:
    """Name this worker, for people."""
    worker = get_worker()
    address = str(worker.address)
    return address if str(worker.name) == address else f"{worker.name} ({address})"


def forget(token: str) -> None:
    """Close the movie and let the reader of a run go; where a share is still being read, the next run makes room."""
    if _LOCK.acquire(blocking=False):
        try:
            for key in [key for key in _KEPT if key[1] == token]:
                _KEPT.pop(key).movie.close()
        finally:
            _LOCK.release()


def _work(order: Order) -> MovieJob:
    """The open movie and its reader, made when a run's first share comes; one of a run before makes room."""
    here = str(get_worker().address)
    if (here, order.token) not in _KEPT:
        for key in [key for key in _KEPT if key[0] == here]:
            _KEPT.pop(key).movie.close()
        reader = order.make()
        opened = open_for(reader, order.movie, order.config)
        try:
            _KEPT[here, order.token] = MovieJob.of(reader, opened, order.config)
        except BaseException:
            opened.close()
            raise
    return _KEPT[here, order.token]


def task(name: str) -> Callable[..., Any]:
    """Return a function of this module as the scheduler can hold it: it unpacks tasks, and needs no Colocus so.

    A function inside a function goes over whole; one of a module goes by its name, and fails where there is none.
    """

    def run(*arguments: Any) -> Any:
        from importlib import import_module

        return getattr(import_module("experiments.reading.cluster.worker"), name)(*arguments)

    return run


def _parts(order: Order, work: MovieJob) -> Parts:
    """The folder of parts, compared with the job once: its description is long where a movie is."""
    key = str(get_worker().address), order.token
    if key not in _JOINED:
        for other in [other for other in _JOINED if other[0] == key[0]]:
            _JOINED.pop(other)
        _JOINED[key] = Parts.join(Path(order.out), work.job)
    return _JOINED[key]


def find_out(needed: Sequence[str]) -> Callable[[], dict[str, Any]]:
    """Make a question to a worker that needs no Colocus there: which versions it has, and which files it misses."""

    def answer() -> dict[str, Any]:
        import importlib.metadata
        import os

        versions: dict[str, str | None] = {}
        for name in ("colocus", "jax", "numpy"):
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = None
        return {"versions": versions, "missing": [path for path in needed if not os.path.exists(path)]}

    return answer
