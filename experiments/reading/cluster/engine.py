"""The engine: shares of a movie handed out by Dask, watched until all parts are there, and merged.

A share is a task of its own, so that a worker that is lost, restarted or added costs its share alone. Parts are the
same files as without Dask, each there whole or not at all; so either way goes on with what the other began.
"""

import errno
import os
import queue
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import Client, Future, KilledWorker

from experiments.reading.chunks import LOG, Parts
from experiments.reading.cluster.checks import check_folder, check_workers
from experiments.reading.cluster.event_log import EventLog
from experiments.reading.cluster.worker import Laid, Order, Trouble, task
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.pieces.movie_job import LocalizeResult
from experiments.reading.readers import Reader
from localization.io.movies.store import is_url
from optics.progress import Event, Report, silent
from training import ConfigError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
AGAIN = "run the same command again: what is done stays"


def localize_on(
    client: Client,
    make: Callable[[], Reader],
    movie: Path | str,
    out: Path | str,
    config: LocalizeConfig = LocalizeConfig(),
    *,
    needs: Sequence[str] = (),
    report: Report = silent,
) -> LocalizeResult:
    """Localize a movie on the workers of `client`, each with the reader that `make` returns there.

    `needs` are further files that workers must see. The list has the bytes that one process would write. Raises
    `ConfigError` in one line where workers lack Colocus, have another version, or do not see a file, before the first
    share; and as `localize` does, with the worker's name, for what fails there.
    """
    started, movie, out = time.perf_counter(), absolute(movie), Path(absolute(out))
    order = Order(f"colocus-{uuid.uuid4().hex}", make, movie, str(out), config)
    watch = _Watch(client, order)
    try:
        files = [name for name in (movie, str(out.parent), *needs) if not is_url(name)]
        check_workers(client, files, report)
        laid: Laid = watch.first()
        parts = Parts.begin(out, laid.job)
        missing = parts.missing()
        total = sum(stop - first for first, stop in (parts.job.spans[k] for k in missing))
        log = EventLog(parts.folder / LOG, report)
        try:
            log(Event("start", numbers={"movie": movie, "frames": total, **laid.about}))
            check_folder(client, parts)
            watch.read(shares(missing, parts.job.spans, config.share_frames), total, started, log)
        except BaseException:
            parts.abandon()
            raise
    finally:
        watch.close()
    rows, tally = parts.merge()
    spans = parts.job.spans
    result = LocalizeResult(out, spans[-1][1] - spans[0][0], rows, time.perf_counter() - started, tally)
    numbers = {"path": str(out), "frames": result.frames, "rows": rows, "seconds": result.seconds}
    report(Event("end", numbers=numbers))
    return result


def shares(missing: Sequence[int], spans: Sequence[tuple[int, int]], least: int) -> list[tuple[int, ...]]:
    """Bundle chunks, neighbours together, into shares of `least` frames or more; the last takes what is left.

    >>> shares([0, 1, 3, 4, 5], [(k, k + 2) for k in range(0, 12, 2)], 4)
    [(0, 1), (3, 4), (5,)]
    """
    bundles, bundle, frames = [], [], 0
    for index in missing:
        bundle.append(index)
        frames += spans[index][1] - spans[index][0]
        if frames >= least:
            bundles.append(tuple(bundle))
            bundle, frames = [], 0
    return [*bundles, *([tuple(bundle)] if bundle else [])]


class _Watch:
    """The tasks of a run, and what the scheduler says of them."""

    def __init__(self, client: Client, order: Order) -> None:
        self.client, self.order, self.sealed = client, order, cloudpickle.dumps(order)
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.waiting: dict[Future, tuple[int, ...]] = {}
        self.heard: list[str] = []

    def first(self) -> Laid:
        """Let one worker say what the job is."""
        future = self.client.submit(task("lay"), self.sealed, pure=False)
        self._wait_for(future, ())
        while self.waiting:
            kind, _, value = self._next()
            if kind == "done":
                return value
            if kind == "killed":
                raise ConfigError(value)
        raise AssertionError("no answer")

    def read(self, bundles: Sequence[tuple[int, ...]], total: int, started: float, report: Report) -> None:
        """Hand out all shares, and return when every one is done."""
        for topic, handler in ((self.order.token, self._told), ("all", self._workers)):
            self.client.subscribe_topic(topic, handler)
            self.heard.append(topic)
        for bundle in bundles:
            self._hand_out(bundle)
        found: set[int] = set()
        done, rows, given_up = 0, 0, ""
        while self.waiting:
            kind, bundle, value = self._next()
            if kind == "chunk":
                if value["chunk"] in found:  # by one that was thought to be lost
                    continue
                found.add(value["chunk"])
                done, rows = done + value["frames"], rows + value["found"]
                report(Event("frame", done, total, {"found": rows, "seconds": time.perf_counter() - started}))
            elif kind == "text":
                report(Event("worker", numbers={"text": value}))
            elif kind == "killed":
                left = tuple(index for index in bundle if index not in found)
                # one that gets on is only unlucky; one whose chunk nobody survives would go round for ever
                if left and len(left) < len(bundle):
                    self._hand_out(left)
                elif left:
                    given_up = value
        if given_up:
            raise ConfigError(given_up)

    def close(self) -> None:
        """Stop what still runs, and let readers and movies go; nobody is waited for."""
        try:
            if self.waiting and self.client.status == "running":
                self.client.cancel(list(self.waiting), asynchronous=False, force=True)
            while self.heard:
                self.client.unsubscribe_topic(self.heard.pop())
            if self.client.status == "running":
                self.client.run(task("forget"), self.order.token, on_error="ignore")
        except (OSError, TimeoutError, ValueError):  # the scheduler has gone: nothing is left to be stopped
            pass
        self.waiting.clear()

    def _hand_out(self, bundle: tuple[int, ...]) -> None:
        key = f"{self.order.token}-{bundle[0]:08d}-{uuid.uuid4().hex[:8]}"
        self._wait_for(self.client.submit(task("read_share"), self.sealed, bundle, key=key, pure=False), bundle)

    def _wait_for(self, future: Future, bundle: tuple[int, ...]) -> None:
        self.waiting[future] = bundle
        future.add_done_callback(lambda done: self.inbox.put(("future", done)))

    def _next(self) -> tuple[str, tuple[int, ...], Any]:
        """The next news: what kind, of which share, and what. Raises where a worker failed, or the scheduler went."""
        while True:
            try:
                kind, value = self.inbox.get(timeout=1.0)
            except queue.Empty:
                if self.client.status not in ("running", "connecting"):
                    raise ConfigError(f"the Dask scheduler has gone; start it again and {AGAIN}") from None
                continue
            if kind != "future":
                return kind, (), value
            bundle = self.waiting.pop(value, None)
            if bundle is None:
                continue
            if value.status == "finished":
                result = value.result()
                if isinstance(result, Trouble):
                    raise _explained(result)
                return "done", bundle, result
            if value.status != "error":
                raise ConfigError(f"the Dask scheduler has gone; start it again and {AGAIN}")
            error = value.exception()
            if isinstance(error, KilledWorker):
                return "killed", bundle, self._killed(error, bundle)
            if isinstance(error, ImportError):
                raise ConfigError(f"a worker that came later lacks something ({error}); install it there") from error
            raise error

    def _killed(self, error: KilledWorker, bundle: tuple[int, ...]) -> str:
        n = error.allowed_failures + 1
        return (
            f"{n} workers died over the same share (its first chunk is number {bundle[0] if bundle else 0}), the last "
            f"was {error.last_worker.address}: out of memory? Give them more, and {AGAIN}"
        )

    def _told(self, event: tuple[float, Any]) -> None:
        if isinstance(event[1], dict) and "chunk" in event[1]:
            self.inbox.put(("chunk", event[1]))

    def _workers(self, event: tuple[float, Any]) -> None:
        said = event[1]
        what = {"add-worker": "has come", "remove-worker": "is lost"}.get(said.get("action", ""))
        if what is not None and (what == "has come" or said.get("processing-tasks") or not said.get("expected", False)):
            self.inbox.put(("text", f"worker {said.get('worker', '')} {what}"))


def absolute(path: Path | str) -> str:
    """Name a file so that it means the same in every process of one file system; an address does so already."""
    return str(path) if is_url(path) else str(Path(path).absolute())


def with_full_names(model: Path | str, config: LocalizeConfig) -> tuple[str, LocalizeConfig, list[str]]:
    """Return a model and its settings with absolute names of files, and those files."""

    def full(name: Path | str) -> str:
        return absolute(name) if str(name) and Path(name).exists() else str(name)

    named = {name: full(getattr(config, name)) for name in ("camera", "psf", "model_config")}
    several = {name: tuple(map(full, getattr(config, name))) for name in ("species", "planes")}
    maps = [full(name.strip()) for name in config.classical.plane_map.split(",")]
    named_all = (full(model), *named.values(), *several["species"], *several["planes"], *maps)
    needs = [name for name in named_all if os.path.isabs(name)]
    fits = replace(config.classical, plane_map=",".join(maps))
    return full(model), replace(config, **named, **several, classical=fits), needs


def _explained(trouble: Trouble) -> Exception:
    """An error of a worker, with its name."""
    error = trouble.error
    if isinstance(error, OSError):
        remedy = f"free some space there and {AGAIN}" if error.errno in _FULL else f"mend that and {AGAIN}"
        where = f"{error.filename}: " if error.filename else ""
        return ConfigError(f"worker {trouble.worker}: {where}{(error.strerror or str(error)).lower()}; {remedy}")
    if isinstance(error, MemoryError):
        return ConfigError(f"worker {trouble.worker}: out of memory; give it more and {AGAIN}")
    return type(error)(f"worker {trouble.worker}: {error}")
