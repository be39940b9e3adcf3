"""What is asked of workers before the first share: the same versions everywhere, and every file in sight."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Client

from experiments.reading.chunks import JOB, Parts
from experiments.reading.cluster.worker import find_out
from optics.progress import Event, Report
from training import ConfigError

_SEEN_WITHIN_S = 10.0  # a folder made on one node of a network file system shows on the others after a while


def check_workers(client: Client, needed: Sequence[str], report: Report) -> None:
    """Wait for a worker, then ask all of them. Raises `ConfigError` naming what is wrong, and where."""
    if not _names(client):
        report(Event("worker", numbers={"text": "no worker yet: waiting for the first"}))
        client.wait_for_workers(1)
    threads = {name: said.get("nthreads", 1) for name, said in _names(client).values()}
    many = sorted(name for name, n in threads.items() if n > 1)
    if many:
        text = f"worker {many[0]} has {threads[many[0]]} threads, of which one reads: start more workers of one thread"
        report(Event("worker", numbers={"text": text}))
    answers = _ask(client, needed)
    refuse(answers, find_out([])()["versions"])


def check_folder(client: Client, parts: Parts) -> None:
    """Ask all workers whether they see the folder of parts, which this process has made. Raises `ConfigError`."""
    path, until = str(parts.folder / JOB), time.monotonic() + _SEEN_WITHIN_S
    while True:
        blind = sorted(name for name, said in _ask(client, [path]).items() if said["missing"])
        if not blind:
            return
        if time.monotonic() > until:
            raise ConfigError(
                f"worker {blind[0]}{_more(blind)} does not see {parts.folder}, which was just made: the output must "
                "lie on a file system that all workers share"
            )
        time.sleep(0.5)


def refuse(answers: Mapping[str, Mapping[str, Any] | Exception], ours: Mapping[str, str | None]) -> None:
    """Raise `ConfigError` for the first thing that workers lack or have in another version; both are named.

    >>> here = {"colocus": "0.2", "jax": "0.10.1"}
    >>> refuse({"node7": {"versions": {"colocus": "0.1", "jax": "0.10.1"}, "missing": []}}, here)
    Traceback (most recent call last):
    training.settings.ConfigError: worker node7 has colocus 0.1, here is 0.2; install the same version there
    """
    failed = {name: said for name, said in answers.items() if isinstance(said, Exception)}
    if failed:
        name = min(failed)
        raise ConfigError(f"worker {name}{_more(failed)} cannot be asked ({failed[name]}); is its Python another one?")
    told = {name: said for name, said in answers.items() if not isinstance(said, Exception)}
    for package, version in ours.items():
        other = {name: found for name, said in told.items() if (found := said["versions"].get(package)) != version}
        if other:
            name = min(other)
            has = f"has no {package}" if other[name] is None else f"has {package} {other[name]}"
            raise ConfigError(f"worker {name}{_more(other)} {has}, here is {version}; install the same version there")
    blind = {name: said["missing"] for name, said in told.items() if said["missing"]}
    if blind:
        name = min(blind)
        raise ConfigError(
            f"worker {name}{_more(blind)} does not see {blind[name][0]}; give a path on a file system that all "
            "workers share"
        )


def _ask(client: Client, needed: Sequence[str]) -> dict[str, Any]:
    """Every worker's answer, by its name."""
    names = _names(client)
    answers: Any = client.run(find_out(list(needed)), on_error="return")
    return {names.get(address, (address, {}))[0]: answer for address, answer in answers.items()}


def _names(client: Client) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Name of every worker, and what the scheduler says of it, by address."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {
        address: (address if str(said["name"]) == address else f"{said['name']} ({address})", said)
        for address, said in workers.items()
    }


def _more(names: Mapping[str, Any] | Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
