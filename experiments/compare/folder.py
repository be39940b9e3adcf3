"""An experiment's folder: whose it is, and what its log says of the start."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.compare.config import ExperimentConfig
from training import to_dict
from training.run_folder import RunFolder, logged, read_config
from training.settings import differences

_WHAT = "an experiment"


def load_experiment_folder(out: Path) -> ExperimentConfig:
    """Read the settings of the experiment in `out`; raises `ConfigError` where there is none."""
    return read_config(out, ExperimentConfig, _WHAT)


def claim(config: ExperimentConfig, out: Path, *, resume: bool) -> RunFolder:
    """Make sure that `out` may be used for this experiment (`ConfigError`).

    An experiment goes on in its own folder alone, with `resume`, and with the settings that it began with;
    arms, seeds and readings may be added.
    """
    return RunFolder.claim(out, config, resume=resume, changes=_changes, what=_WHAT)


def _changes(before: ExperimentConfig, after: ExperimentConfig) -> Iterator[str]:
    for name in ("run", "learn", "score"):
        for key, _, _ in differences(to_dict(getattr(before, name)), to_dict(getattr(after, name)), f"{name}."):
            if key != "score.read":  # each reading has scores of its own
                yield key
    arms = {arm.label: arm for arm in after.arms}
    for arm in before.arms:
        if arm.label not in arms:
            yield f"it has the arm {arm.label!r} too"
        elif dataclasses.replace(arms[arm.label], read=arm.read) != arm:
            yield f"arm {arm.label!r}"
    lost = [seed for seed in before.seeds if seed not in after.seeds]
    if lost:
        yield f"it has the seeds {lost} too"


def logged_start(out: Path) -> dict[str, Any]:
    """Read the first `start` event of an experiment's log (command, versions, device), or nothing."""
    return next((event for event in logged(out) if event.get("event") == "start"), {})
