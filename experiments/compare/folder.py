"""An experiment's folder: whether it may be used, its log, and what an interrupted write leaves behind."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from experiments.compare.config import ExperimentConfig
from training import ConfigError, from_dict, to_dict
from training.run_folder import write_text


def load_experiment_folder(out: Path) -> ExperimentConfig:
    """The settings of the experiment in `out`; raises `ConfigError` where there is none."""
    path = out / "config.json"
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{out} holds no experiment (no config.json there); name a run's folder") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not JSON ({error}); name another folder") from error
    if not isinstance(values, dict) or "arms" not in values:
        raise ConfigError(f"{path} is not the configuration of an experiment; name another folder")
    return from_dict(ExperimentConfig, values)


def inspect(config: ExperimentConfig, out: Path, *, resume: bool) -> None:
    """Raise `ConfigError` where `out` cannot take this experiment: a file, or a folder in use.

    An experiment goes on in its own folder alone, with `resume`, and with the settings that it began with;
    arms and seeds may be added.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder for the run")
    if (out / "config.json").exists():
        before = load_experiment_folder(out)
        changed = list(_changes(before, config))
        if changed:
            raise ConfigError(f"{out} holds a run with other settings ({', '.join(changed)}); name another folder")
        if not resume:
            raise ConfigError(f"{out} already holds this run; add --resume to go on, or name another folder")


def claim(config: ExperimentConfig, out: Path) -> None:
    """Make `out` the folder of this experiment: write its config.json."""
    is_new = not out.exists()
    try:
        write_text(out / "config.json", json.dumps(to_dict(config), indent=2) + "\n")
    except OSError:
        if is_new and out.is_dir():
            out.rmdir()
        raise


def _changes(before: ExperimentConfig, after: ExperimentConfig):
    for name in ("run", "learn", "score"):
        yield from _differences(to_dict(getattr(before, name)), to_dict(getattr(after, name)), f"{name}.")
    arms = {arm.label: arm for arm in after.arms}
    for arm in before.arms:
        if arm.label not in arms:
            yield f"it has the arm {arm.label!r} too"
        elif arms[arm.label] != arm:
            yield f"arm {arm.label!r}"
    lost = [seed for seed in before.seeds if seed not in after.seeds]
    if lost:
        yield f"it has the seeds {lost} too"


def _differences(a: dict[str, Any], b: dict[str, Any], where: str):
    for key in a:
        if isinstance(a[key], dict) and isinstance(b.get(key), dict):
            yield from _differences(a[key], b[key], f"{where}{key}.")
        elif a[key] != b.get(key):
            yield f"{where}{key}"


def log_event(out: Path, event: dict[str, Any]) -> None:
    """Add one line to the experiment's log.jsonl."""
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps(event) + "\n")


def logged_start(out: Path) -> dict[str, Any]:
    """The first `start` event of an experiment's log (command, versions, device), or nothing."""
    path = out / "log.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        event = json.loads(line) if line.endswith("}") else {}
        if event.get("event") == "start":
            return event
    return {}


def tidy(out: Path) -> None:
    """Remove what a failed write left in `out`: temporary files, half checkpoints, a log's half last line.

    For a folder that `prepare` has claimed, and that nobody else writes to.
    """
    for part in [*out.rglob("*.part"), *out.rglob(".*.part")]:
        part.unlink(missing_ok=True)
    for half in out.rglob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(half, ignore_errors=True)
    for log in out.rglob("log.jsonl"):
        whole = log.read_bytes().rfind(b"\n") + 1
        if whole != log.stat().st_size:
            os.truncate(log, whole)
