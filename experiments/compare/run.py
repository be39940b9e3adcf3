"""What the commands do, once their arguments are known: run arms, report, score again."""

import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from experiments.compare.arms import arm_folder, cells, run_experiment, score_arm
from experiments.compare.config import ArmConfig, ExperimentConfig, arm_run, describe_arm
from experiments.compare.folder import claim, load_experiment_folder
from experiments.compare.results import load_results
from experiments.compare.summary import HEADLINE_GATE, density_cells, pair_cells, summarise
from experiments.progress import Display, duration
from experiments.settings import override
from optics.masks import files as mask_io
from optics.whole_file import write_text
from training import ConfigError, TimeLimit, build, from_dict, load_config, load_run, load_trained


def pick_arm(config: ExperimentConfig, *, learn: bool, label: str | None) -> ExperimentConfig:
    """The experiment with one of its arms alone: the first that learns (or does not), or the one named."""
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


def run(
    config: ExperimentConfig,
    out: Path,
    *,
    resume: bool,
    minutes: float | None,
    command: str,
    after: Callable[[ExperimentConfig, Path], None] = lambda config, out: None,
) -> dict[str, Any] | None:
    """Run an experiment in `out` and write its report; None where the time limit came first.

    `after` runs when all arms are finished, before the report.
    """
    deadline_s = None if minutes is None else time.monotonic() + 60 * minutes
    folder = claim(config, out, resume=resume)
    if not _finished(config, out):
        check(config)
    folder.begin()
    plan = [(arm.label, seed) for seed in config.seeds for arm in config.arms]
    started = time.monotonic()

    def show(event):
        folder.log(event)
        display.show(event)

    try:
        with Display(plan, config.run.optimiser.steps) as display:
            for line in _announcement(config, out):
                display.say(line)
            folder.log({"event": "start", "command": command, **surroundings()})
            run_experiment(config, out, resume=resume, report=show, deadline_s=deadline_s)
            after(config, out)
            display.say(f"Trained and scored in {duration(time.monotonic() - started)}; writing the report")
            summary = _report(config, out)
        folder.log({"event": "done"})
        return summary
    except TimeLimit as stop:
        folder.log({"event": "time limit", "reason": str(stop)})
        _report(config, out)
        return None
    except BaseException:
        folder.tidy()
        raise


def _report(config: ExperimentConfig, out: Path) -> dict[str, Any]:
    from experiments.compare.report import write_report  # matplotlib: seconds that a run's start need not wait for

    return write_report(config, out)


def check(config: ExperimentConfig) -> None:
    """Refuse an experiment that some arm of it could not run, before hours go into the others."""
    if not config.arms:
        raise ConfigError('there is no arm; add one to the TOML file: [[arms]] label = "tetrapod"')
    cells(config)
    for arm in config.arms:
        build(arm_run(config, arm, config.seeds[0]))


def surroundings() -> dict[str, Any]:
    """Where a run takes place, for its log and its report."""
    device = jax.devices()[0]
    packages = {name: version(name) for name in ("colocus", "jax", "flax", "optax", "numpy")}
    versions = f"Python {platform.python_version()}, " + ", ".join(f"{k} {v}" for k, v in packages.items())
    return {
        "device": f"{device.device_kind} x {len(jax.devices())}",
        "cores": os.cpu_count(),
        "versions": versions,
    }


def _announcement(config: ExperimentConfig, out: Path) -> list[str]:
    every, scene, score = config.run.optimiser, config.run.scene, config.score
    seeds = "" if len(config.seeds) == 1 else f" x {len(config.seeds)} seeds"
    lines = [
        f"{config.title or 'Colocus'}: {_some(len(config.arms), 'arm')}{seeds} in {out}",
        f"each: {every.steps} steps of {every.batch} frames ({scene.frame_px} x {scene.frame_px} px, "
        f"up to {_some(scene.count_max, 'emitter')}), then scored on {len(cells(config))} x {score.frames}",
    ]
    for arm in config.arms:
        done = sum((arm_folder(out, arm, seed) / "scores.json").exists() for seed in config.seeds)
        finished = "" if not done else "; finished" if done == len(config.seeds) else f"; {done} seeds finished"
        lines.append(f"  {arm.label}: {describe_arm(config, arm)}{finished}")
    if not _finished(config, out):
        lines.append("Compiling; an arm's first step takes a while, the time left is shown after it.")
    return lines


def _finished(config: ExperimentConfig, out: Path) -> bool:
    folders = [arm_folder(out, arm, seed) for arm in config.arms for seed in config.seeds]
    return bool(folders) and all((path / "scores.json").exists() for path in folders)


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def save_learned_mask(config: ExperimentConfig, out: Path) -> None:
    """Write the learned mask of the first seed as mask.npz and mask.mat, for others to load."""
    mask = load_trained(arm_folder(out, config.arms[0], config.seeds[0])).psf.mask
    assert mask is not None, "every PSF of a run has a mask"
    for suffix in ("npz", "mat"):
        mask_io.save(out / f"mask.{suffix}", mask)


def evaluate(path: Path, assignments: Sequence[str], out: Path | None) -> list[str]:
    """Lines with the scores of an experiment or of one arm's folder.

    Without `assignments`, those of its training; with some (score.frames=500), the arms are scored again on
    the scenes they describe, which changes no file but `out` (JSON).
    """
    config, root = _locate(path)
    if not assignments and (root / "config.json").exists() and out is None:
        results, _ = load_results(config, root)
        if results:
            whole = root == path
            summary = _report(config, root) if whole else summarise(config, results, [])
            return score_lines(summary_rows(summary)) + summary["verdict"]
    altered = from_dict(ExperimentConfig, override({}, assignments), base=config)
    if (altered.run, altered.arms) != (config.run, config.arms):
        allowed = "score.frames, score.counts, score.threshold, ..."
        raise ConfigError(f"evaluate changes how a run is scored ({allowed}), not the run itself")
    scored = []
    for arm in config.arms:
        for seed in config.seeds:
            folder_ = path if root != path else arm_folder(root, arm, seed)
            if (folder_ / "config.json").exists():
                trained, state = load_run(folder_)
                scores = score_arm(build(trained), state, altered)
                scored.append({"label": arm.label, "seed": seed, **scores})
    if not scored:
        raise ConfigError(f"{path} holds no trained arm; train one first with colocus train, codesign or compare")
    if out is not None:
        write_text(out, json.dumps(scored) + "\n")
    rows = [(s["label"], cell, cell["gates"][HEADLINE_GATE]["score"]) for s in scored for cell in s["cells"]]
    return score_lines(rows)


def _locate(path: Path) -> tuple[ExperimentConfig, Path]:
    """The experiment that `path` is, or is an arm of (then with that arm alone), and its folder."""
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; name the folder of a run")
    if "arms" in _keys(path / "config.json"):
        return load_experiment_folder(path), path
    trained = load_config(path)
    root = path.absolute().parents[1]
    if "arms" in _keys(root / "config.json"):
        config = load_experiment_folder(root)
        for arm in config.arms:
            for seed in config.seeds:
                if arm_folder(root, arm, seed) == path.absolute():
                    return dataclasses.replace(config, arms=(arm,), seeds=(seed,), reference=""), root
    arm = ArmConfig(label=path.absolute().name, mask=trained.mask, learn=trained.learn is not None)
    return ExperimentConfig(run=trained, arms=(arm,), seeds=(trained.seed,)), path.absolute().parent


def _keys(path: Path) -> set[str]:
    try:
        return set(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return set()


def summary_rows(summary: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Arm, cell and estimates at the headline gate, for `score_lines`."""
    rows = []
    for arm in summary["arms"]:
        for cell in density_cells(arm) + pair_cells(arm):
            values = {metric: value["estimate"] for metric, value in cell["gates"][HEADLINE_GATE].items()}
            rows.append((arm["label"], cell, values))
    return rows


def score_lines(rows: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[str]:
    """A plain table of scores at the headline gate."""
    width = max(len(label) for label, _, _ in rows)
    head = f"{'arm':{width}}  emitters  {'photons':13}  Jaccard  precision  recall  xy (nm)  z (nm)"
    lines = [f"gate {HEADLINE_GATE} (lateral/axial)", head]
    for label, cell, values in rows:
        low, high = cell["photons"]
        photons = f"{low:g}" if low == high else f"{low:g}-{high:g}"
        ratios = f"{values['jaccard']:7.3f}  {values['precision']:9.3f}  {values['recall']:6.3f}"
        errors = [_nanometres(values[metric]) for metric in ("rmse_xy_um", "rmse_z_um")]
        lines.append(f"{label:{width}}  {cell['count']:8d}  {photons:13}  {ratios}  {errors[0]:>7}  {errors[1]:>6}")
    return lines


def _nanometres(value_um: float | None) -> str:
    return "-" if value_um is None or math.isnan(value_um) else f"{1e3 * value_um:.1f}"
