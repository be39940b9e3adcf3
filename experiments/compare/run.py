"""What the commands do, once their arguments are known: run arms, report, score again."""

import dataclasses
import json
import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from experiments.compare.arms import arm_folder, is_finished, run_experiment
from experiments.compare.config import ArmConfig, ExperimentConfig, arm_run, describe_arm, is_trained, readings
from experiments.compare.confusions import species_lines
from experiments.compare.folder import claim, load_experiment_folder
from experiments.compare.results import WORDS, load_results
from experiments.compare.scoring import HEADLINE, cells, check_reading, joint_readers, make_reading, score_reading
from experiments.compare.summary import density_cells, pair_cells, shown_name, summarise
from experiments.progress import duration
from experiments.report.metrics import CHIEF, METRICS
from experiments.report.numbers import plain
from experiments.settings import override
from optics.masks import files as mask_io
from optics.progress import Event, Report, silent
from optics.whole_file import write_text
from training import ConfigError, RunConfig, TimeLimit, build, from_dict, load_config, load_run, load_trained
from training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A finished experiment: what its metrics.json holds."""

    summary: dict[str, Any]

    def lines(self) -> list[str]:
        """Say the scores at the headline gate, and what they show."""
        return [*score_lines(summary_rows(self.summary)), *species_lines(self.summary), "", *self.summary["verdict"]]

    def numbers(self) -> dict[str, Any]:
        """List what metrics.json holds."""
        return self.summary


def compare_masks(
    out: Path | str,
    config: ExperimentConfig,
    report: Report = silent,
    *,
    resume: bool = False,
    deadline_s: float | None = None,
    command: str = "",
    save_mask: bool = False,
) -> Comparison:
    """Train and score every arm and seed of an experiment in the folder `out`, and write its report there.

    With `save_mask` the mask that the first arm learned is written beside the report. With `resume` an experiment goes
    on where it was stopped; past `deadline_s` (of `time.monotonic`) the report of what is done is written, and
    `TimeLimit` raised. Raises `ConfigError` before anything is trained where an arm could not be.

    >>> compare_masks("runs/none", ExperimentConfig())
    Traceback (most recent call last):
    training.settings.ConfigError: there is no arm; ...
    """
    out = Path(out)
    folder = claim(config, out, resume=resume)
    if not _finished(config, out):
        check(config)
    folder.begin()
    started = time.monotonic()

    def show(event: Event) -> None:
        folder.log(event.record())
        report(event)

    try:
        for line in _announcement(config, out):
            report(Event("note", numbers={"text": line}))
        folder.log({"event": "start", "command": command, **surroundings()})
        run_experiment(config, out, resume=resume, report=show, deadline_s=deadline_s)
        if save_mask:
            save_learned_mask(config, out)
        took = duration(time.monotonic() - started)
        report(Event("note", numbers={"text": f"Trained and scored in {took}; writing the report"}))
        summary = _report(config, out)
        folder.log({"event": "done"})
        return Comparison(summary)
    except TimeLimit as stop:
        folder.log({"event": "time limit", "reason": str(stop)})
        _report(config, out)
        raise
    except BaseException:
        folder.tidy()
        raise


def _report(config: ExperimentConfig, out: Path) -> dict[str, Any]:
    from experiments.compare.report import write_report  # not before it is needed

    return write_report(config, out)


def check(config: ExperimentConfig) -> None:
    """Refuse an experiment that some arm of it could not run, before hours go into the others."""
    if not config.arms:
        raise ConfigError('there is no arm; add one to the TOML file: [[arms]] label = "tetrapod"')
    cells(config)
    for arm in config.arms:
        build(arm_run(config, arm, config.seeds[0]))
        for reading in readings(config, arm):
            check_reading(config, reading)


def surroundings() -> dict[str, Any]:
    """Say where a run takes place, for its log and its report."""
    device = jax.devices()[0]
    packages = {name: version(name) for name in ("colocus", "jax", "flax", "optax", "numpy")}
    versions = f"Python {platform.python_version()}, " + ", ".join(f"{k} {v}" for k, v in packages.items())
    return {"device": f"{device.device_kind} x {len(jax.devices())}", "cores": os.cpu_count(), "versions": versions}


def _announcement(config: ExperimentConfig, out: Path) -> list[str]:
    every, scene, score = config.run.optimiser, config.run.scene, config.score
    seeds = "" if len(config.seeds) == 1 else f" x {len(config.seeds)} seeds"
    size = f"{scene.frame_px} x {scene.frame_px} px, up to {_counted(scene.count_max, 'emitter')}"
    trained = any(is_trained(config, arm) for arm in config.arms)
    budget = (
        f"{every.steps} steps of {every.batch} frames ({size}), then scored on" if trained else f"{size}, scored on"
    )
    lines = [
        f"{config.title or 'Colocus'}: {_counted(len(config.arms), 'arm')}{seeds} in {out}",
        f"each: {budget} {len(cells(config))} x {score.frames}",
    ]
    for arm in config.arms:
        done = sum(is_finished(config, arm, seed, out) for seed in config.seeds)
        finished = "" if not done else "; finished" if done == len(config.seeds) else f"; {done} seeds finished"
        wanted = readings(config, arm)
        readers = "" if wanted == ["decoder"] else f"; read by {', '.join(WORDS[reading] for reading in wanted)}"
        lines.append(f"  {arm.label}: {describe_arm(config, arm)}{readers}{finished}")
    if trained and not _finished(config, out):
        lines.append("Compiling; an arm's first step takes a while, the time left is shown after it.")
    return lines


def _finished(config: ExperimentConfig, out: Path) -> bool:
    return bool(config.arms) and all(
        is_finished(config, arm, seed, out) for arm in config.arms for seed in config.seeds
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def save_learned_mask(config: ExperimentConfig, out: Path) -> None:
    """Write the learned mask of the first seed as mask.npz and mask.mat, for others to load."""
    mask = load_trained(arm_folder(out, config.arms[0], config.seeds[0])).psf.mask
    assert mask is not None, "every PSF of a run has a mask"
    for suffix in ("npz", "mat"):
        mask_io.save(out / f"mask.{suffix}", mask)


@dataclasses.dataclass(frozen=True)
class RunScores:
    """Scores of a run: `rows` of arm, cell and values at the headline gate; `arms` in full where scored again."""

    rows: list[tuple[str, dict[str, Any], dict[str, Any]]]
    verdict: tuple[str, ...] = ()
    arms: tuple[dict[str, Any], ...] = ()

    def lines(self) -> list[str]:
        """Say the scores, and what they show."""
        return [*score_lines(self.rows), *self.verdict]

    def numbers(self) -> dict[str, Any]:
        """List the scores at the headline gate and, of arms scored again, all."""
        rows = [{"arm": label, "cell": cell["name"], **values} for label, cell, values in self.rows]
        return {"scores": plain(rows), "arms": list(self.arms)}

    def write(self, out: Path) -> list[Path]:
        """Write the arms that were scored again as JSON."""
        write_text(out, json.dumps(list(self.arms)) + "\n")
        return [out]


def evaluate_run(path: Path, assignments: Sequence[str] = (), *, again: bool = False) -> RunScores:
    """Read the scores of an experiment or of one arm's folder.

    Without `assignments` those of its training; with some (score.frames=500), or with `again`, the arms are scored on
    the scenes that they describe. Changes no file of the run.
    """
    config, root = _locate(path)
    if not assignments and (root / "config.json").exists() and not again:
        results, _ = load_results(config, root)
        if results:
            whole = root == path
            summary = _report(config, root) if whole else summarise(config, results, [])
            return RunScores(summary_rows(summary), tuple(summary["verdict"]))
    altered = from_dict(ExperimentConfig, override({}, assignments), base=config)
    if (altered.run, altered.arms) != (config.run, config.arms):
        allowed = "score.frames, score.counts, score.threshold, ..."
        raise ConfigError(f"evaluate changes how a run is scored ({allowed}), not the run itself")
    scored = []
    for arm in config.arms:
        for seed in config.seeds:
            folder_ = path if root != path else arm_folder(root, arm, seed)
            if (folder_ / "config.json").exists():
                scored += _score_again(*load_run(folder_), altered, arm, seed)
            elif not is_trained(config, arm):
                scored += _score_again(arm_run(config, arm, seed), None, altered, arm, seed)
    if not scored:
        raise ConfigError(f"{path} holds no trained arm; train one first with colocus train, codesign or compare")
    several = len({s["reading"] for s in scored}) > 1
    rows = [(shown_name(s, several), c, c["gates"][HEADLINE]["score"]) for s in scored for c in s["cells"]]
    return RunScores(rows, arms=tuple(scored))


def _score_again(
    run: RunConfig, state: TrainState | None, config: ExperimentConfig, arm: ArmConfig, seed: int
) -> list[dict[str, Any]]:
    """Score an arm's readings as `config` says; a list of scores."""
    parts, wanted = build(run), readings(config, arm)
    joint = joint_readers(parts, state, config) if wanted != ["decoder"] else None
    scored = []
    for reading in wanted:
        check_reading(config, reading)
        read, alone = make_reading(reading, parts, state, config.score.threshold, joint)
        named = {"label": arm.label, "seed": seed, "reading": reading}
        scored.append(named | score_reading(parts, state, config, read, alone))
    return scored


def _locate(path: Path) -> tuple[ExperimentConfig, Path]:
    """Find the experiment that `path` is, or is an arm of (then with that arm alone), and its folder."""
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
    """List arm, cell and estimates at the headline gate, for `score_lines`."""
    rows, several = [], len(summary["readings"]) > 1
    for arm in summary["arms"]:
        for cell in density_cells(arm) + pair_cells(arm):
            values = {metric: value["estimate"] for metric, value in cell["gates"][HEADLINE].items()}
            rows.append((shown_name(arm, several), cell, values))
    return rows


def score_lines(rows: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Lay out a plain table of scores at the headline gate."""
    width = max(len(label) for label, _, _ in rows)
    head = f"{'arm':{width}}  emitters  {'photons':13}  Jaccard  precision  recall  xy (nm)  z (nm)"
    lines = [f"gate {HEADLINE} (lateral/axial)", head]
    widths = dict(zip(CHIEF, (7, 9, 6, 7, 6), strict=True))
    for label, cell, values in rows:
        low, high = cell["photons"]
        photons = f"{low:g}" if low == high else f"{low:g}-{high:g}"
        scores = "  ".join(f"{METRICS[name].text(values[name]):>{wide}}" for name, wide in widths.items())
        lines.append(f"{label:{width}}  {cell['count']:8d}  {photons:13}  {scores}")
    return lines
