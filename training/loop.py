"""The host's side of training: step, log, checkpoint, resume. Thin on purpose."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from training.build import build
from training.checkpoint import Checkpoints, latest_step, restore
from training.config import ConfigError, RunConfig, from_dict, to_dict
from training.state import TrainState
from training.step import init_state, make_train_step

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


def _silent(event: Event) -> None:
    del event


def fit(
    run: RunConfig,
    folder: Path | str,
    *,
    resume: bool = False,
    report: Report = _silent,
    mesh: Mesh | None = None,
    deadline_s: float | None = None,
) -> TrainState:
    """Train the run's decoder, and its mask where `run.learn` says so; return the last state.

    Writes config.json, log.jsonl, masks/ (snapshots of a learned mask) and checkpoints/ in `folder`.
    `report` receives one event a logged step: {"event": "step", "step", "steps", "loss", ..., "seconds"}.
    With `resume`, goes on from the newest checkpoint: step k draws the same scenes whether or not the run
    was interrupted, so the result is the same. Past `deadline_s` (of `time.monotonic`) it saves a
    checkpoint and raises `TimeLimit`. Raises `ConfigError` for a folder that holds another run,
    or any run without `resume`.
    """
    folder = Path(folder)
    prepare_folder(run, folder, resume=resume)
    parts = build(run)
    state = init_state(parts)
    done = latest_step(folder) if resume else None
    if done is not None:
        state = restore(folder, state, done)
    save_config(folder, run)
    if run.learn is not None and done is None:
        _save_mask(folder, 0, np.asarray(parts.psf.mask.opd_um))  # pyright: ignore[reportOptionalMemberAccess]
    step = make_train_step(parts, mesh)
    checkpoints = Checkpoints(folder)
    every, total = run.optimiser, run.optimiser.steps
    started, pending = time.perf_counter(), None
    first = int(state.step)

    def flush(pending):
        """Log a step that was dispatched earlier: by now its numbers cost no wait."""
        number, metrics = pending
        values = {name: float(value) for name, value in metrics.items()}
        event = {"event": "step", "step": number, "steps": total, **values}
        event["seconds"] = time.perf_counter() - started
        _log(folder, event)
        report(event)
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(f"the loss is not finite at step {number}; lower optimiser.learning_rate")

    try:
        for number in range(first + 1, total + 1):
            state, metrics = step(state)
            if pending is not None:
                flush(pending)
                pending = None
            if number % every.log_every == 0 or number in (first + 1, total):
                pending = (number, metrics)
            late = deadline_s is not None and time.monotonic() > deadline_s and number < total
            if number % every.checkpoint_every == 0 or number == total or late:
                if pending is not None:
                    flush(pending)
                    pending = None
                checkpoints.save(number, state)
                if run.learn is not None:
                    _save_mask(folder, number, np.asarray(parts.to_mask(state.mask_params).opd_um))
            if late:
                raise TimeLimit(f"stopped at step {number} of {total}; resume {folder}")
    finally:
        checkpoints.close()
    return state


def prepare_folder(run: RunConfig, folder: Path, *, resume: bool) -> None:
    """Make a run's folder, refusing one that belongs to another run (`ConfigError`)."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; name a folder for the run")
    if (folder / "config.json").exists():
        if not resume:
            raise ConfigError(f"{folder} already holds a run; add --resume to go on with it, or name another folder")
        before = load_config(folder)
        if before != run:
            changed = ", ".join(_differences(to_dict(before), to_dict(run)))
            raise ConfigError(f"{folder} holds a run with other settings ({changed}); name another folder")
    folder.mkdir(parents=True, exist_ok=True)


def _differences(a: dict[str, Any], b: dict[str, Any], where: str = "") -> Iterator[str]:
    for key in a:
        if isinstance(a[key], dict) and isinstance(b.get(key), dict):
            yield from _differences(a[key], b[key], f"{where}{key}.")
        elif a[key] != b.get(key):
            yield f"{where}{key}"


def _log(folder: Path, event: Event) -> None:
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps(event) + "\n")


def _save_mask(folder: Path, step: int, opd_um: np.ndarray) -> None:
    target = folder / "masks" / f"step_{step:07d}.npy"
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, opd_um.astype(np.float32))
    os.replace(temporary, target)


def load_run(folder: Path | str) -> tuple[RunConfig, TrainState]:
    """Read a trained run back: its configuration and its newest state, the mask included."""
    folder = Path(folder)
    run = load_config(folder)
    parts = build(run)
    abstract = jax.eval_shape(lambda: init_state(parts))
    return run, restore(folder, abstract)
