"""The host's side of training: step, log, checkpoint, resume. Thin on purpose."""

import time
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from optics.whole_file import whole_file
from training.build import build
from training.checkpoint import Checkpoints, latest_step, restore
from training.config import RunConfig
from training.run_folder import Report, RunFolder, TimeLimit, load_config, silent
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
    `report` receives one event a logged step: {"event": "step", "step", "steps", "loss", ..., "seconds"}.
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
        claimed.log(event)
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


def _save_mask(folder: Path, step: int, opd_um: np.ndarray) -> None:
    with whole_file(folder / "masks" / f"step_{step:07d}.npy") as part:
        np.save(part, opd_um.astype(np.float32))


def load_run(folder: Path | str) -> tuple[RunConfig, TrainState]:
    """Read a trained run back: its configuration and its newest state, the mask included."""
    folder = Path(folder)
    run = load_config(folder)
    parts = build(run)
    abstract = jax.eval_shape(lambda: init_state(parts))
    return run, restore(folder, abstract)
