"""A run's folder: who may claim it, its configuration, its log, its time limit."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from optics.whole_file import remove_leftovers, write_text
from training.config import RunConfig
from training.settings import ConfigError, differences, from_dict, to_dict

T = TypeVar("T")
CONFIG, LOG = "config.json", "log.jsonl"


class TimeLimit(Exception):
    """A run that stopped at its time limit, after a checkpoint; resume it."""


def check_folder(path: Path, *, unused: bool = False) -> None:
    """Refuse a file in place of a folder and, if it must be `unused`, one that holds a run (`ConfigError`)."""
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file; name a folder")
    if unused and (path / CONFIG).exists():
        raise ConfigError(f"{path} already holds a run ({CONFIG}); name another folder")


def read_config(folder: Path, cls: type[T], what: str = "a run") -> T:
    """Read the settings of class `cls` from the config.json of `folder`; raises `ConfigError` where there are none."""
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} is not {what}: it has no {CONFIG}; name a run's folder") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not JSON ({error}); restore it, or name another folder") from error
    if not isinstance(values, dict) or not values.keys() & {field.name for field in fields(cls)}:  # pyright: ignore[reportArgumentType]
        raise ConfigError(f"{path} is not the configuration of {what}; name another folder")
    return from_dict(cls, values, saved=True)


def load_config(folder: Path) -> RunConfig:
    """Read the configuration of the run in `folder`; raises `ConfigError` where there is none."""
    return read_config(folder, RunConfig)


def changed_settings(before: Any, after: Any) -> Iterator[str]:
    """Name the settings in which two configurations of one class differ."""
    return (name for name, _, _ in differences(to_dict(before), to_dict(after)))


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run that can stop and go on: `config`, a dataclass, says whose it is, log.jsonl what happened."""

    path: Path
    config: Any

    @classmethod
    def claim(
        cls,
        path: Path | str,
        config: Any,
        *,
        resume: bool,
        changes: Callable[[Any, Any], Iterable[str]] = changed_settings,
        what: str = "a run",
    ) -> "RunFolder":
        """Make sure that a folder may be used for a run; write nothing yet.

        `changes` names the settings in which an earlier run's configuration and `config` differ. Raises `ConfigError`
        for a file, something else than `what`, other settings, or the same run without `resume`.
        """
        path = Path(path)
        check_folder(path)
        if (path / CONFIG).exists():
            try:
                changed = ", ".join(changes(read_config(path, type(config), what), config))
            except ConfigError as error:
                raise ConfigError(f"{path} already holds a run: {error}") from error
            if changed:
                raise ConfigError(f"{path} holds {what} with other settings ({changed}); name another folder")
            if not resume:
                raise ConfigError(
                    f"{path} already holds this run; add --resume to go on with it, or name another folder"
                )
        return cls(path, config)

    def begin(self) -> None:
        """Make the folder and write its config.json."""
        write_text(self.path / CONFIG, json.dumps(to_dict(self.config), indent=2) + "\n")

    def log(self, event: Mapping[str, Any]) -> None:
        """Add a line to log.jsonl, such as the `record` of an `Event`."""
        with (self.path / LOG).open("a") as log:
            log.write(json.dumps(event) + "\n")

    def tidy(self) -> None:
        """Remove what a failed write left: temporary files, half checkpoints, a log's half last line.

        For a folder that nobody else writes to.
        """
        remove_leftovers(self.path)
        for half in self.path.rglob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(half, ignore_errors=True)
        for log in self.path.rglob(LOG):
            whole = log.read_bytes().rfind(b"\n") + 1
            if whole != log.stat().st_size:
                os.truncate(log, whole)


def logged(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the events of a folder's log.jsonl, without a last line that a kill cut off."""
    path = folder / LOG
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.endswith("}"):
            yield json.loads(line)
