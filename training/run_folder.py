"""A run's folder: who may claim it, its configuration, its log, its time limit."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.config import RunConfig
from training.settings import ConfigError, from_dict, to_dict

Event = dict[str, Any]
Report = Callable[[Event], None]


class TimeLimit(Exception):
    """A run that stopped at its time limit, after a checkpoint; resume it."""


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none: to a temporary name beside it, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_config(folder: Path, run: RunConfig) -> None:
    """Write the resolved configuration of a run to `folder/config.json`."""
    write_text(folder / "config.json", json.dumps(to_dict(run), indent=2) + "\n")


def load_config(folder: Path) -> RunConfig:
    """Read the configuration of the run in `folder`; raises `ConfigError` where there is none."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} is not a run: it has no config.json; name a run's folder") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not JSON ({error}); restore it, or train again") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} does not hold a configuration")
    return from_dict(RunConfig, values)


def silent(event: Event) -> None:
    del event


def prepare_folder(run: RunConfig, folder: Path, *, resume: bool) -> None:
    """Make a run's folder, refusing one that belongs to another run (`ConfigError`)."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; name a folder for the run")
    if (folder / "config.json").exists():
        if not resume:
            raise ConfigError(f"{folder} already holds a run; add --resume to go on with it, or name another folder")
        before = load_config(folder)
        if before != run:
            changed = ", ".join(differences(to_dict(before), to_dict(run)))
            raise ConfigError(f"{folder} holds a run with other settings ({changed}); name another folder")
    folder.mkdir(parents=True, exist_ok=True)


def differences(a: dict[str, Any], b: dict[str, Any], where: str = "") -> Iterator[str]:
    for key in a:
        if isinstance(a[key], dict) and isinstance(b.get(key), dict):
            yield from differences(a[key], b[key], f"{where}{key}.")
        elif a[key] != b.get(key):
            yield f"{where}{key}"


def append_event(folder: Path, event: Event) -> None:
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(event) + "\n")
