"""The host's side of a descent: step, log, checkpoint, time limit. The one loop of co-design and generator."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from training.checkpoint import Checkpoints
from training.run_folder import RunFolder, TimeLimit

S = TypeVar("S")


@dataclass(frozen=True)
class Schedule:
    """Steps to take in all, and after how many of them to log and to save; `rate` names the setting of their size."""

    steps: int
    log_every: int
    save_every: int
    rate: str


def train(
    step: Callable[[S], tuple[S, Mapping[str, Any]]],
    state: S,
    first: int,
    folder: RunFolder,
    schedule: Schedule,
    log: Callable[[int, dict[str, float]], None],
    *,
    deadline_s: float | None = None,
    saved: Callable[[int, S], None] = lambda number, state: None,
) -> S:
    """Take the steps after `first` and return the last state, which lies in the folder's newest checkpoint.

    `log` receives the number of a step and its metrics, first and last step included; `saved` is called after each
    checkpoint. Past `deadline_s` (of `time.monotonic`) the state is saved and `TimeLimit` raised. Raises
    `FloatingPointError` where the loss is not finite.
    """
    total, pending = schedule.steps, None
    if first >= total:
        return state
    checkpoints = Checkpoints(folder.path)

    def flush(number: int, metrics: Mapping[str, Any]) -> None:
        """Log a step that was dispatched earlier: by now its numbers cost no wait."""
        values = {name: float(value) for name, value in metrics.items()}
        log(number, values)
        if not np.isfinite(values["loss"]):
            raise FloatingPointError(f"the loss is not finite at step {number}; lower {schedule.rate}")

    try:
        for number in range(first + 1, total + 1):
            state, metrics = step(state)
            if pending is not None:
                flush(*pending)
                pending = None
            if number % schedule.log_every == 0 or number in (first + 1, total):
                pending = (number, metrics)
            late = deadline_s is not None and time.monotonic() > deadline_s and number < total
            if number % schedule.save_every == 0 or number == total or late:
                if pending is not None:
                    flush(*pending)
                    pending = None
                checkpoints.save(number, state)
                saved(number, state)
            if late:
                raise TimeLimit(f"stopped at step {number} of {total}; resume {folder.path}")
    finally:
        checkpoints.close()
    return state
