"""What a comparison is: arms, scores, seeds."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from experiments.settings import override, read_toml
from optics import masks
from training import ConfigError, LearnConfig, MaskConfig, RunConfig, from_dict
from training.decoders import find_kind

# who reads an arm's frames: its decoder; the joint fit of each frame from the decoder's list; the joint fit alone
Reading = Literal["decoder", "decoder+joint", "joint"]


@dataclasses.dataclass(frozen=True)
class ArmConfig:
    """One mask of a comparison. With `learn` the mask is only the start of a co-design.

    `label` names the arm in folders, tables and figures. `read` says who reads its frames, in place of `score.read`:
    an arm that is read by "joint" alone, and does not learn, has no decoder and is not trained.
    """

    label: str = ""
    mask: MaskConfig = MaskConfig()
    learn: bool = False
    read: tuple[Reading, ...] = ()

    def __post_init__(self):
        if not self.label or any(c in self.label for c in "/\\."):
            raise ConfigError(f"arm.label = {self.label!r} must be a name without slashes or dots")


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """What an arm is scored on, and who reads it.

    Frames with `counts` emitters each at the training's photons and background, and frames with
    `pair_count` emitters at each (`pair_photons`, `pair_background`), the lists taken in step; `frames` of
    each kind, `single_frames` with one emitter for the comparison with the precision bound.

    `read` names the readings: by the "decoder", at `threshold` or where its kind is read; by "decoder+joint", the joint
    fit of each frame that begins at the decoder's list; by "joint", the joint fit alone, which knows the PSF and needs
    no training.
    """

    counts: tuple[int, ...] = (1, 2, 5, 10, 18)
    pair_photons: tuple[float, ...] = (10_000.0, 20_000.0, 60_000.0)
    pair_background: tuple[float, ...] = (100.0, 60.0, 25.0)
    pair_count: int = 5
    frames: int = 60
    single_frames: int = 200
    threshold: float | None = None
    seed: int = 1_000_003
    read: tuple[Reading, ...] = ("decoder",)

    def __post_init__(self):
        if not self.read:
            raise ConfigError('score.read is empty; name "decoder", "decoder+joint" or "joint"')
        if len(self.pair_photons) != len(self.pair_background):
            raise ConfigError("score.pair_photons and score.pair_background must be of equal length")
        if not self.counts or min(self.counts) < 1:
            raise ConfigError(f"score.counts = {self.counts} must be whole numbers of at least 1")
        if self.frames < 2 or self.single_frames < 2:
            raise ConfigError("score.frames and score.single_frames must be at least 2")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """A comparison of masks, or, with one arm, a single training or co-design.

    Every arm trains `run` with its own mask once per seed: same network, steps, scenes and photons.
    `learn` is how the arms that learn do it. `reference` is the arm the others are compared with.
    """

    run: RunConfig = RunConfig()
    learn: LearnConfig = LearnConfig()
    arms: tuple[ArmConfig, ...] = ()
    seeds: tuple[int, ...] = (0,)
    score: ScoreConfig = ScoreConfig()
    reference: str = ""
    title: str = ""

    def __post_init__(self):
        labels = [arm.label for arm in self.arms]
        if len(set(labels)) != len(labels):
            raise ConfigError(f"arms must have different labels, not {labels}")
        if self.reference and self.reference not in labels:
            raise ConfigError(f"reference = {self.reference!r} is none of the arms {labels}")
        if not self.seeds:
            raise ConfigError("seeds must name at least one seed")


def load_experiment(name_or_path: str, assignments: Sequence[str] = ()) -> ExperimentConfig:
    """Read a preset or a TOML file with overrides. Raises `ConfigError`.

    >>> load_experiment("tiny", ["run.optimiser.steps=3"]).run.optimiser.steps
    3
    """
    config = from_dict(ExperimentConfig, override(read_toml(name_or_path), assignments))
    find_kind(config.run.decoder.kind)  # a kind that is not there is refused before any folder is begun
    return config


def readings(config: ExperimentConfig, arm: ArmConfig) -> list[Reading]:
    """List who reads an arm, each once.

    >>> readings(ExperimentConfig(), ArmConfig("a", read=("joint", "joint")))
    ['joint']
    """
    chosen: list[Reading] = []
    for reading in arm.read or config.score.read:
        if reading not in chosen:
            chosen.append(reading)
    return chosen


def is_trained(config: ExperimentConfig, arm: ArmConfig) -> bool:
    """Say whether an arm is trained: it learns its mask, or a decoder reads it."""
    return arm.learn or readings(config, arm) != ["joint"]


def arm_run(config: ExperimentConfig, arm: ArmConfig, seed: int) -> RunConfig:
    """Configure the training run of one arm and seed."""
    learn = config.learn if arm.learn else None
    return dataclasses.replace(config.run, mask=arm.mask, learn=learn, seed=seed)


def pick_arm(config: ExperimentConfig, *, learn: bool, label: str | None) -> ExperimentConfig:
    """Keep one arm of an experiment: the first that learns (or does not), or the one named."""
    kind, other = ("learns", "colocus train") if learn else ("does not learn", "colocus codesign")
    arms = [arm for arm in config.arms if arm.learn == learn]
    if label is not None:
        named = [arm for arm in config.arms if arm.label == label]
        if not named:
            raise ConfigError(f"no arm {label!r}; arms: {', '.join(arm.label for arm in config.arms) or 'none'}")
        if named[0].learn != learn:
            raise ConfigError(f"arm {label!r} is not one that {kind}; use {other}")
        arms = named
    if not arms:
        wanted = "learn = true" if learn else 'mask = { name = "tetrapod" }'
        raise ConfigError(f'no arm that {kind}; add to the TOML file: [[arms]] label = "mine", {wanted}')
    return dataclasses.replace(config, arms=(arms[0],), reference="")


def describe_arm(config: ExperimentConfig, arm: ArmConfig) -> str:
    """Say in words which mask an arm has or starts from, and what it learns.

    >>> config = load_experiment("tiny")
    >>> describe_arm(config, ArmConfig("a", MaskConfig("tetrapod", range_um=3.0)))
    'tetrapod for 3 um, kept as it is'
    """
    mask = arm.mask
    if mask.name == "file":
        start = Path(mask.path).name
    elif mask.name == "designed":
        start = f"designed mask {mask.design}"
    else:
        start = masks.LIBRARY[mask.name].words.format_map(vars(mask))
    if not arm.learn:
        return f"{start}, kept as it is"
    family = masks.FAMILIES[config.learn.parametrisation]
    return f"learned from {start}, {family.words.format_map(vars(config.learn))}"
