"""Train a run in its folder: begin, or go on."""

import time
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from optics.progress import Event, Report, silent
from optics.whole_file import whole_file
from training.build import build
from training.checkpoint import latest_step, restore
from training.config import RunConfig
from training.loop import Schedule, train
from training.run_folder import RunFolder
from training.state import TrainState
from training.step import init_state, make_train_step


def fit(
    run: RunConfig,
    folder: Path | str,
    *,
    resume: bool = False,
    report: Report = silent,
    mesh: Mesh | None = None,
    deadline_s: float | None = None,
) -> TrainState:
    """Train the run's decoder, and its mask where `run.learn` says so; return the last state.

    Writes config.json, log.jsonl, masks/ (snapshots of a learned mask) and checkpoints/ in `folder`.
    `report` receives an event a logged step: `Event("step", step, steps, {"loss": ..., "seconds": ...})`.
    With `resume`, goes on from the newest checkpoint: step k draws the same scenes whether or not the run
    was interrupted, so the result is the same. Past `deadline_s` (of `time.monotonic`) it saves a
    checkpoint and raises `TimeLimit`. Raises `ConfigError` for a folder that holds another run,
    or any run without `resume`.
    """
    claimed = RunFolder.claim(folder, run, resume=resume)
    folder = claimed.path
    parts = build(run)
    state = init_state(parts)
    done = latest_step(folder) if resume else None
    if done is not None:
        state = restore(folder, state, done)
    claimed.begin()
    if run.learn is not None and done is None:
        _save_mask(folder, 0, np.asarray(parts.psf.mask.opd_um))  # pyright: ignore[reportOptionalMemberAccess]
    started = time.perf_counter()

    def log(number: int, values: dict[str, float]) -> None:
        seconds = time.perf_counter() - started
        event = Event("step", number, run.optimiser.steps, {**values, "seconds": seconds})
        claimed.log(event.record())
        report(event)

    def saved(number: int, state: TrainState) -> None:
        if run.learn is not None:
            _save_mask(folder, number, np.asarray(parts.to_mask(state.mask_params).opd_um))

    every = run.optimiser
    schedule = Schedule(every.steps, every.log_every, every.checkpoint_every, "optimiser.learning_rate")
    step = make_train_step(parts, mesh)
    return train(step, state, int(state.step), claimed, schedule, log, deadline_s=deadline_s, saved=saved)


def _save_mask(folder: Path, step: int, opd_um: np.ndarray) -> None:
    with whole_file(folder / "masks" / f"step_{step:07d}.npy") as part:
        np.save(part, opd_um.astype(np.float32))
