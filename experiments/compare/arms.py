"""One arm of a comparison: train it, score it, keep what a report draws. Each finished arm is a folder."""

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.compare.config import ArmConfig, ExperimentConfig, Reading, arm_run, is_trained, readings
from experiments.compare.scoring import (
    HEADLINE,
    asked_for,
    depth_bounds_um,
    draw,
    joint_readers,
    make_reading,
    score_reading,
)
from experiments.compare.species import Look, image, looks_of
from localization import FrameScores, Localizations
from optics.progress import Event, Report
from optics.whole_file import whole_file, write_text
from training import Parts, RunConfig, TimeLimit, build, fit
from training.evaluate import emitters_to_localizations
from training.run_folder import logged
from training.scenes import Frames
from training.state import TrainState
from training.trained import learned_psf


def arm_folder(out: Path, arm: ArmConfig, seed: int) -> Path:
    """Name the folder of one arm and seed of an experiment."""
    return out / "arms" / f"{arm.label}-seed{seed}"


def scores_file(folder: Path, reading: Reading) -> Path:
    """Name the file of a reading's scores in an arm's folder."""
    return folder / ("scores.json" if reading == "decoder" else f"scores-{reading}.json")


def is_finished(config: ExperimentConfig, arm: ArmConfig, seed: int, out: Path) -> bool:
    """Say whether all readings of an arm and seed are scored."""
    folder = arm_folder(out, arm, seed)
    return all(scores_file(folder, reading).exists() for reading in readings(config, arm))


def run_arm(
    config: ExperimentConfig,
    arm: ArmConfig,
    seed: int,
    out: Path,
    *,
    resume: bool,
    report: Report,
    deadline_s: float | None = None,
) -> dict[Reading, dict[str, Any]]:
    """Train one arm where it has anything to learn, and score its readings, but those that are; returns the scores."""
    folder, wanted = arm_folder(out, arm, seed), readings(config, arm)
    done: dict[Reading, Path] = {reading: scores_file(folder, reading) for reading in wanted}
    if resume and is_finished(config, arm, seed, out):
        return {reading: json.loads(path.read_text()) for reading, path in done.items()}

    def labelled(event: Event) -> None:
        numbers = {**event.numbers, "arm": arm.label, "seed": seed}
        report(dataclasses.replace(event, numbers=numbers))

    run, state = arm_run(config, arm, seed), None
    if is_trained(config, arm):
        state = fit(run, folder, resume=resume, report=labelled, deadline_s=deadline_s)
    folder.mkdir(parents=True, exist_ok=True)
    exact = scored_parts(run)
    joint = joint_readers(exact, state, config) if wanted != ["decoder"] else None
    scores: dict[Reading, dict[str, Any]] = {}
    for reading, path in done.items():
        if resume and path.exists():
            scores[reading] = json.loads(path.read_text())
            continue
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise TimeLimit(f"stopped before the reading by {reading}; resume {out}")
        started = time.perf_counter()
        labelled(Event("scoring", numbers={"reading": reading}))
        read, alone = make_reading(reading, exact, state, config.score.threshold, joint)
        scores[reading] = score_reading(exact, state, config, read, alone) | {
            "label": arm.label,
            "seed": seed,
            "reading": reading,
            "learned": arm.learn,
            "steps": run.optimiser.steps if is_trained(config, arm) else 0,
            "train_seconds": _logged_seconds(folder),
            "score_seconds": time.perf_counter() - started,
        }
        if reading == wanted[0]:
            save_examples(folder, exact, state, config, read)
        write_text(path, json.dumps(scores[reading]) + "\n")
        found = {c["name"]: c["gates"][HEADLINE]["score"] for c in scores[reading]["cells"]}
        labelled(Event("scored", numbers={"cells": found, "reading": reading}))
    return scores


def scored_parts(run: RunConfig) -> Parts:
    """Build a run as it is scored, and drawn: at the full sampling of the pupil, whatever coarser one trained it."""
    return build(dataclasses.replace(run, psf=dataclasses.replace(run.psf, pupil_px=None, ring_px=None)))


def _logged_seconds(folder: Path) -> float:
    """Add up the training time over all pieces of a run: each piece's clock starts at 0."""
    total, last = 0.0, 0.0
    for event in logged(folder):
        seconds = event.get("seconds", 0.0)
        if seconds < last:
            total += last
        last = seconds
    return total + last


@jax.jit
def _images(psf: Look, z_um: jax.Array) -> jax.Array:
    return jax.lax.map(lambda z: image(psf, jnp.zeros(3).at[2].set(z)), z_um)


def save_examples(
    folder: Path,
    parts: Parts,
    state: TrainState | None,
    config: ExperimentConfig,
    read: Callable[[Frames], Localizations],
) -> None:
    """Keep what a report draws: the mask, the PSF through z, and crowded frames with the lists of one reading."""
    psf = learned_psf(parts, state)
    scene = config.run.scene
    z = jnp.linspace(scene.z_min_um, scene.z_max_um, 7)
    looks = looks_of(parts.looks(psf))
    images = np.stack([np.asarray(_images(look, z), np.float32) for look in looks])
    bound_z = jnp.linspace(scene.z_min_um, scene.z_max_um, 25)
    level = 0.5 * (scene.background_min + scene.background_max)
    bounds = np.mean([depth_bounds_um(look, bound_z, scene.photons_max, level) for look in looks], axis=0)
    dense = dataclasses.replace(scene, count_min=max(config.score.counts), count_max=max(config.score.counts))
    n_frames = min(4, config.score.frames)
    frames = draw(parts, state, dense, config, n_frames)
    found, truth = asked_for(read(frames), config), emitters_to_localizations(frames.emitters)
    mask = psf.mask
    assert mask is not None  # `build` always sets one
    phase = 2 * np.pi * np.asarray(mask.opd_um) / config.run.microscope.wavelength_um
    with whole_file(folder / "examples.npz") as part:
        np.savez_compressed(
            part,
            phase_rad=phase.astype(np.float32),
            half_width=np.asarray(mask.half_width),
            z_um=np.asarray(z),
            psf=images[0],
            psf_by_species=images,
            bound_z_um=np.asarray(bound_z),
            crlb_um=np.asarray(bounds),
            stamp_fraction=images.sum(axis=(2, 3)).mean(axis=0),
            frames=np.asarray(frames.middle, dtype=np.float32),
            found=_columns(found),
            truth=_columns(truth),
        )


def _columns(locs: Localizations) -> np.ndarray:
    return np.stack([locs.frame, locs.x_um, locs.y_um, locs.z_um, locs.score], axis=1)


def frame_scores(scores: dict[str, Any], cell: str, gate: str) -> FrameScores:
    """Rebuild the per-frame sums of a scored cell, for paired differences between arms."""
    stored = next(c for c in scores["cells"] if c["name"] == cell)["gates"][gate]["frames"]
    return FrameScores(**{name: np.asarray(values) for name, values in stored.items()})


def run_experiment(
    config: ExperimentConfig,
    out: Path,
    *,
    resume: bool = False,
    report: Report,
    deadline_s: float | None = None,
    after_arm: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Run every arm and seed of an experiment in turn; returns the scores of their readings."""
    results = []
    for seed in config.seeds:
        for arm in config.arms:
            scores = run_arm(config, arm, seed, out, resume=resume, report=report, deadline_s=deadline_s)
            results += scores.values()
            after_arm()
    return results
