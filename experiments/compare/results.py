"""What a comparison left on the disk, read for its report: scores, examples, masks and training logs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.compare.arms import arm_folder
from experiments.compare.config import ArmConfig, ExperimentConfig
from training.run_folder import logged


@dataclass(frozen=True, eq=False)
class ArmResult:
    """One finished arm and seed.

    `examples` holds the arrays of examples.npz, `snapshots` the optical path (um) of a learned mask by step,
    `log` the training's events.
    """

    arm: ArmConfig
    seed: int
    scores: dict[str, Any]
    examples: dict[str, np.ndarray]
    snapshots: dict[int, np.ndarray]
    log: list[dict[str, Any]]

    @property
    def label(self) -> str:
        return self.arm.label


def load_results(config: ExperimentConfig, out: Path) -> tuple[list[ArmResult], list[str]]:
    """Read all finished arms of an experiment, in its order, and the names of those that are not finished."""
    finished, missing = [], []
    for arm in config.arms:
        for seed in config.seeds:
            folder = arm_folder(out, arm, seed)
            if (folder / "scores.json").exists():
                finished.append(_load(folder, arm, seed))
            else:
                missing.append(f"{arm.label} (seed {seed})")
    return finished, missing


def _load(folder: Path, arm: ArmConfig, seed: int) -> ArmResult:
    with np.load(folder / "examples.npz") as file:
        examples = dict(file)
    snapshots = {int(path.stem.split("_")[1]): np.load(path) for path in sorted(folder.glob("masks/step_*.npy"))}
    return ArmResult(
        arm, seed, json.loads((folder / "scores.json").read_text()), examples, snapshots, list(logged(folder))
    )


def first_of_each(results: list[ArmResult]) -> list[ArmResult]:
    """Choose the first finished seed of every arm: the one whose pictures are shown."""
    shown: dict[str, ArmResult] = {}
    for result in results:
        shown.setdefault(result.label, result)
    return list(shown.values())
