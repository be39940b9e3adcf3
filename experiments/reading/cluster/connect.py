"""What `--dask` names: a cluster of this machine, a scheduler's address, or the file that it wrote."""

import importlib.util
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dask import config as dask_config
from distributed import Client, Nanny, Scheduler, SpecCluster, WorkerPlugin
from distributed.worker import Worker

from training import ConfigError

PATIENCE_S = 10.0
# before Python starts in a worker, in place of Dask's own. Freed memory is kept for the next frames: where it is given
# back at once, as Dask has it, page faults take a network's reader a fifth of its time again. Nor does a worker look
# every few milliseconds what it does
_ENVIRON = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 29),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),  # the largest that glibc takes
    "DASK_LOGGING__DISTRIBUTED": "critical",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
}
_SILENT = {"silence_logs": logging.CRITICAL}
_START = "start one with: dask scheduler --scheduler-file scheduler.json"


@contextmanager
def connected(where: str) -> Iterator[Client]:
    """Connect to the workers that `where` names: "local", "local:N", "tcp://HOST:PORT", "scheduler.json".

    Local workers are processes of their own, one for two cores or one for each device, and end with the block; others
    stay. Raises `ConfigError` where nobody answers.
    """
    local = re.fullmatch(r"local(?::(\d+))?", where.strip())
    if local is None:
        with _client(where.strip()) as client:
            yield client
        return
    environments = worker_environments(None if local[1] is None else int(local[1]))
    with _quiet(), local_cluster(environments) as cluster, Client(cluster) as client:
        client.wait_for_workers(len(environments))
        client.register_plugin(_DeafToCtrlC())
        yield client


def local_cluster(environments: list[dict[str, str]]) -> SpecCluster:
    """Start a scheduler in this process and a worker process of one thread for each environment."""
    with dask_config.set({"distributed.nanny.pre-spawn-environ": _ENVIRON}):
        return _started(environments)


def _started(environments: list[dict[str, str]]) -> SpecCluster:
    workers = {
        f"local-{k}": {"cls": Nanny, "options": {"nthreads": 1, "env": environment, "memory_limit": 0, **_SILENT}}
        for k, environment in enumerate(environments)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"},
    }
    return SpecCluster(scheduler=scheduler, workers=workers, name="colocus")


def worker_environments(n: int | None) -> list[dict[str, str]]:
    """Say what each of `n` workers finds in its environment: its device, or its part of the cores.

    By default one worker for each device, or else one for two cores.
    """
    found = devices()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n = n if n is not None else len(found) or max(1, cores // 2)
    if n < 1:
        raise ConfigError("--dask local:0 has no worker; write local, or local:2")
    base = {"NPROC": str(max(1, cores // n))}  # threads that XLA starts; Dask sets those of numpy to one
    if not found:
        return [dict(base) for _ in range(n)]
    # two on one device share its memory
    share = {} if n <= len(found) else {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return [{**base, **share, "CUDA_VISIBLE_DEVICES": found[k % len(found)]} for k in range(n)]


def devices() -> list[str]:
    """Name the NVIDIA devices that JAX would use, without touching them; none where it runs on the processor."""
    if os.environ.get("JAX_PLATFORMS", "").lower() == "cpu":
        return []
    if not any(importlib.util.find_spec(f"jax_cuda{k}_plugin") for k in (12, 13)):
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    there = Path("/proc/driver/nvidia/gpus")
    return [str(k) for k in range(len(list(there.iterdir())))] if there.is_dir() else []


class _DeafToCtrlC(WorkerPlugin):
    """Ctrl-C in a terminal reaches every process of it; workers are ended by the one that started them."""

    name = "colocus-deaf-to-ctrl-c"

    def setup(self, worker: Worker) -> None:
        """Ignore it from now on."""
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log of Dask off the terminal: what a user needs to know comes as events."""
    loggers = [
        logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith("distributed")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _client(where: str) -> Client:
    if where.endswith(".json"):
        try:
            where = str(json.loads(Path(where).read_text())["address"])
        except OSError as error:
            raise ConfigError(f"{where}: no such file; a scheduler writes it: {_START}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{where}: not the file of a Dask scheduler; {_START}") from error
    elif not re.search(r":\d+$", where):
        raise ConfigError(f"--dask {where!r} is none of local, local:N, tcp://HOST:PORT, scheduler.json")
    try:
        return Client(where, timeout=PATIENCE_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(f"{where}: no Dask scheduler answers; check the address, or {_START}") from error
