"""Experiments as files: TOML over typed defaults, with overrides from the command line."""

import dataclasses
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from training import ConfigError, LearnConfig, MaskConfig, RunConfig, from_dict

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ArmConfig:
    """One mask of a comparison. With `learn` the mask is only the start of a co-design.

    `label` names the arm in folders, tables and figures.
    """

    label: str = ""
    mask: MaskConfig = MaskConfig()
    learn: bool = False

    def __post_init__(self):
        if not self.label or any(c in self.label for c in "/\\."):
            raise ConfigError(f"arm.label = {self.label!r} must be a name without slashes or dots")


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """What a trained arm is scored on.

    Frames with `counts` emitters each at the training's photons and background, and frames with
    `pair_count` emitters at each (`pair_photons`, `pair_background`), the lists taken in step; `frames` of
    each kind, `single_frames` with one emitter for the comparison with the precision bound.
    """

    counts: tuple[int, ...] = (1, 2, 5, 10, 18)
    pair_photons: tuple[float, ...] = (10_000.0, 20_000.0, 60_000.0)
    pair_background: tuple[float, ...] = (100.0, 60.0, 25.0)
    pair_count: int = 5
    frames: int = 60
    single_frames: int = 200
    threshold: float = 0.5
    seed: int = 1_000_003

    def __post_init__(self):
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


def presets() -> list[str]:
    """Names of the configurations that come with Colocus."""
    folder = resources.files("experiments") / "configs"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def read_toml(name_or_path: str) -> dict[str, Any]:
    """The mapping in a TOML file, or in the preset of that name; raises `ConfigError`."""
    path = Path(name_or_path)
    if name_or_path in presets():
        text = (resources.files("experiments") / "configs" / f"{name_or_path}.toml").read_text()
    elif path.is_file():
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read as text: {error}") from error
    else:
        raise ConfigError(f"{name_or_path!r} is neither a file nor a preset ({', '.join(presets())})")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name_or_path} is not valid TOML: {error}") from error


def override(values: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Lay KEY=VALUE assignments (dotted keys, TOML values) over a mapping; returns a new one."""
    result = _copy(values)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{assignment!r} is not KEY=VALUE, like run.optimiser.steps=500")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()  # a bare word is a string
        *parents, leaf = key.strip().split(".")
        table = result
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{assignment!r}: {parent!r} is not a table of settings")
        table[leaf] = value
    return result


def _copy(values: Any) -> Any:
    return {key: _copy(value) for key, value in values.items()} if isinstance(values, dict) else values


def load_experiment(name_or_path: str, assignments: Sequence[str] = ()) -> ExperimentConfig:
    """Read a preset or a TOML file with overrides. Raises `ConfigError`.

    >>> load_experiment("tiny", ["run.optimiser.steps=3"]).run.optimiser.steps
    3
    """
    return from_dict(ExperimentConfig, override(read_toml(name_or_path), assignments))


def load_settings(cls: type[T], path: str | None, assignments: Sequence[str] = ()) -> T:
    """The settings of a command: those in a TOML file (None: the defaults) with overrides. Raises `ConfigError`.

    >>> from training import MicroscopeConfig
    >>> load_settings(MicroscopeConfig, None, ["na=1.3"]).na
    1.3
    """
    values = {} if path is None else read_toml(path)
    try:
        return from_dict(cls, override(values, assignments))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if path and not assignments else str(error)) from error


def arm_run(config: ExperimentConfig, arm: ArmConfig, seed: int) -> RunConfig:
    """The training run of one arm and seed."""
    learn = config.learn if arm.learn else None
    return dataclasses.replace(config.run, mask=arm.mask, learn=learn, seed=seed)
