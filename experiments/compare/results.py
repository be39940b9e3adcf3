"""What a comparison left on the disk, read for its report: scores, examples, masks and training logs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.compare.arms import arm_folder, scores_file
from experiments.compare.config import ArmConfig, ExperimentConfig, Reading, readings
from training.run_folder import logged

# what a reading is called in tables, curves and sentences
WORDS: dict[Reading, str] = {"decoder": "decoder", "decoder+joint": "decoder + joint fit", "joint": "joint fit alone"}


@dataclass(frozen=True, eq=False)
class ArmResult:
    """One reading of a finished arm and seed.

    `examples` holds the arrays of examples.npz, whose lists are of the arm's first reading; `snapshots` the optical
    path (um) of a learned mask by step, `log` the training's events.
    """

    arm: ArmConfig
    seed: int
    scores: dict[str, Any]
    examples: dict[str, np.ndarray]
    snapshots: dict[int, np.ndarray]
    log: list[dict[str, Any]]
    reading: Reading = "decoder"

    @property
    def label(self) -> str:
        return self.arm.label


def load_results(config: ExperimentConfig, out: Path) -> tuple[list[ArmResult], list[str]]:
    """Read all finished readings of an experiment's arms, in its order, and the names of those that are missing."""
    finished, missing = [], []
    for arm in config.arms:
        for seed in config.seeds:
            folder, wanted = arm_folder(out, arm, seed), readings(config, arm)
            done: list[Reading] = [reading for reading in wanted if scores_file(folder, reading).exists()]
            finished += _load(folder, arm, seed, done) if done else []
            lacking = [WORDS[reading] for reading in wanted if reading not in done]
            if lacking:
                readers = f", read by {' and '.join(lacking)}" if len(wanted) > 1 and done else ""
                missing.append(f"{arm.label} (seed {seed}{readers})")
    return finished, missing


def _load(folder: Path, arm: ArmConfig, seed: int, done: list[Reading]) -> list[ArmResult]:
    with np.load(folder / "examples.npz") as file:
        examples = dict(file)
    snapshots = {int(path.stem.split("_")[1]): np.load(path) for path in sorted(folder.glob("masks/step_*.npy"))}
    log = list(logged(folder))
    scores = {reading: json.loads(scores_file(folder, reading).read_text()) for reading in done}
    return [ArmResult(arm, seed, scores[reading], examples, snapshots, log, reading) for reading in done]


def first_of_each(results: list[ArmResult]) -> list[ArmResult]:
    """Choose the first finished seed of every arm: the one whose pictures are shown."""
    shown: dict[str, ArmResult] = {}
    for result in results:
        shown.setdefault(result.label, result)
    return list(shown.values())
