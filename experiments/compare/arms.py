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

import localization
from experiments.compare.config import ArmConfig, ExperimentConfig, ScoreConfig, arm_run
from localization import FrameScores, Gate, Localizations
from optics import Psf, crlb_std_um, psf_image
from optics.progress import Event, Report
from optics.whole_file import whole_file, write_text
from training import Parts, build, evaluate, fit
from training.config import SceneConfig
from training.evaluate import scored_frames
from training.run_folder import logged
from training.state import TrainState
from training.trained import learned_psf

GATES = {gate.name: gate for gate in (Gate(), Gate(ball_um=0.1))}
HEADLINE = next(iter(GATES))
RESAMPLES = 1000


def arm_folder(out: Path, arm: ArmConfig, seed: int) -> Path:
    """Name the folder of one arm and seed of an experiment."""
    return out / "arms" / f"{arm.label}-seed{seed}"


def cells(config: ExperimentConfig) -> list[tuple[str, SceneConfig]]:
    """List the scored scenes, each with its name: one per count, one per (photons, background) pair."""
    scene, score = config.run.scene, config.score
    listed = [(f"count {n}", dataclasses.replace(scene, count_min=n, count_max=n)) for n in dict.fromkeys(score.counts)]
    for photons, background in zip(score.pair_photons, score.pair_background, strict=True):
        fixed = _fixed(scene, score.pair_count, photons, background)
        listed.append((f"photons {photons:g} background {background:g}", fixed))
    return listed


def _fixed(scene: SceneConfig, count: int, photons: float, background: float, **more: Any) -> SceneConfig:
    """Fix number and light of a scene's emitters, and its background."""
    kinds = {"photons": "uniform", "background": "uniform"}
    ranges = {"count": count, "photons": photons, "background": background}
    ends = {f"{name}_{end}": value for name, value in ranges.items() for end in ("min", "max")}
    return dataclasses.replace(scene, **kinds, **ends, **more)


def density_per_um2(config: ExperimentConfig, count: int) -> float:
    """Count emitters per um**2 of the area they are drawn in."""
    side = config.run.scene.frame_px * config.run.microscope.pixel_um - 2 * config.run.scene.margin_um
    return count / side**2


def run_arm(
    config: ExperimentConfig,
    arm: ArmConfig,
    seed: int,
    out: Path,
    *,
    resume: bool,
    report: Report,
    deadline_s: float | None = None,
) -> dict[str, Any]:
    """Train and score one arm, or read its scores where it is finished; returns the scores' mapping."""
    folder = arm_folder(out, arm, seed)
    finished = folder / "scores.json"
    run = arm_run(config, arm, seed)
    if resume and finished.exists():
        return json.loads(finished.read_text())

    def labelled(event: Event) -> None:
        numbers = {**event.numbers, "arm": arm.label, "seed": seed}
        report(dataclasses.replace(event, numbers=numbers))

    state = fit(run, folder, resume=resume, report=labelled, deadline_s=deadline_s)
    trained = time.perf_counter()
    labelled(Event("scoring"))
    # scored, and drawn, at the full sampling of the pupil, whatever coarser one the training made do with
    exact = build(dataclasses.replace(run, psf=dataclasses.replace(run.psf, pupil_px=None, ring_px=None)))
    scores = score_arm(exact, state, config)
    scores |= {
        "label": arm.label,
        "seed": seed,
        "learned": arm.learn,
        "steps": run.optimiser.steps,
        "train_seconds": _logged_seconds(folder),
        "score_seconds": time.perf_counter() - trained,
    }
    save_examples(folder, exact, state, config)
    write_text(finished, json.dumps(scores) + "\n")
    labelled(Event("scored", numbers={"cells": {c["name"]: c["gates"][HEADLINE]["score"] for c in scores["cells"]}}))
    return scores


def _logged_seconds(folder: Path) -> float:
    """Add up the training time over all pieces of a run: each piece's clock starts at 0."""
    total, last = 0.0, 0.0
    for event in logged(folder):
        seconds = event.get("seconds", 0.0)
        if seconds < last:
            total += last
        last = seconds
    return total + last


def score_arm(parts: Parts, state: TrainState, config: ExperimentConfig) -> dict[str, Any]:
    """Score a trained run on every cell, at both gates, with bootstrap intervals over frames."""
    scored = []
    for name, scene in cells(config):
        found, truth = _evaluate(parts, state, scene, config.score, config.score.frames)
        gates = {}
        for gate, options in GATES.items():
            per_frame = localization.score_frames(found, truth, n_frames=config.score.frames, **options)
            intervals = localization.bootstrap(per_frame, rng=config.score.seed, n=RESAMPLES)
            gates[gate] = {
                "score": {metric: interval.estimate for metric, interval in intervals.items()},
                "interval": {metric: [interval.low, interval.high] for metric, interval in intervals.items()},
                "frames": {
                    field.name: getattr(per_frame, field.name).tolist() for field in dataclasses.fields(FrameScores)
                },
            }
        scored.append(
            {
                "name": name,
                "count": scene.count_max,
                "density_per_um2": density_per_um2(config, scene.count_max),
                "photons": [scene.photons_min, scene.photons_max],
                "background": [scene.background_min, scene.background_max],
                "gates": gates,
            }
        )
    return {"cells": scored, "single": score_single(parts, state, config)}


def _evaluate(
    parts: Parts, state: TrainState, scene: SceneConfig, score: ScoreConfig, n_frames: int
) -> tuple[Localizations, Localizations]:
    most = max(*score.counts, score.pair_count)  # one capacity, one compiled program
    return evaluate(parts, state, scene, seed=score.seed, n_frames=n_frames, threshold=score.threshold, capacity=most)


def score_single(parts: Parts, state: TrainState, config: ExperimentConfig) -> dict[str, Any]:
    """Compare errors of isolated emitters with their precision bound, in x, y and z, and the share of outliers.

    One emitter a frame at the brightest and the mean background of the training; the bound is that of the
    emitter's own depth. Only emitters found within 250/500 nm count; the share found stands beside.
    """
    scene = config.run.scene
    photons, background = scene.photons_max, 0.5 * (scene.background_min + scene.background_max)
    # on for the whole frame, as the bound takes it
    alone = _fixed(scene, 1, photons, background, lifetime_frames=0.0, truth_photons_min=0.0)
    found, truth = _evaluate(parts, state, alone, config.score, config.score.single_frames)
    matches = localization.match(found, truth)
    errors = localization.pair_errors_um(found, truth, matches)
    psf = learned_psf(parts, state)
    depths = truth.z_um[matches.truth_index]
    # bounds of all emitters, found or not: the number found would compile anew each time
    crlb = np.asarray(depth_bounds_um(psf, jnp.asarray(truth.z_um), photons, background))[matches.truth_index]
    ratio = localization.rmse_over_crlb(errors, crlb)
    return {
        "ratio": ratio.ratio.tolist(),
        "outlier_share": ratio.outlier_share.tolist(),
        "found_share": len(errors) / config.score.single_frames,
        "photons": photons,
        "background": background,
        "z_um": depths.tolist(),
        "error_um": errors.tolist(),
        "crlb_um": crlb.tolist(),
    }


@jax.jit
def depth_bounds_um(psf: Psf, z_um: jax.Array, photons: float, background: float) -> jax.Array:
    def one(z):
        return crlb_std_um(psf, jnp.zeros(3).at[2].set(z), photons, background)

    return jax.lax.map(one, z_um, batch_size=16)


@jax.jit
def _images(psf: Psf, z_um: jax.Array) -> jax.Array:
    return jax.lax.map(lambda z: psf_image(psf, jnp.zeros(3).at[2].set(z)), z_um)


def save_examples(folder: Path, parts: Parts, state: TrainState, config: ExperimentConfig) -> None:
    """Keep what a report draws: the mask, the PSF through z, and crowded frames with their lists."""
    psf = learned_psf(parts, state)
    scene = config.run.scene
    z = jnp.linspace(scene.z_min_um, scene.z_max_um, 7)
    images = _images(psf, z)
    bound_z = jnp.linspace(scene.z_min_um, scene.z_max_um, 25)
    bounds = depth_bounds_um(psf, bound_z, scene.photons_max, 0.5 * (scene.background_min + scene.background_max))
    dense = dataclasses.replace(scene, count_min=max(config.score.counts), count_max=max(config.score.counts))
    n_frames = min(4, config.score.frames)
    frames = scored_frames(
        parts, state, dense, config.score.seed, n_frames, capacity=max(*config.score.counts, config.score.pair_count)
    )
    found, truth = _evaluate(parts, state, dense, config.score, n_frames)
    mask = psf.mask
    assert mask is not None  # `build` always sets one
    phase = 2 * np.pi * np.asarray(mask.opd_um) / config.run.microscope.wavelength_um
    with whole_file(folder / "examples.npz") as part:
        np.savez_compressed(
            part,
            phase_rad=phase.astype(np.float32),
            half_width=np.asarray(mask.half_width),
            z_um=np.asarray(z),
            psf=np.asarray(images, dtype=np.float32),
            bound_z_um=np.asarray(bound_z),
            crlb_um=np.asarray(bounds),
            stamp_fraction=np.asarray(images).sum(axis=(1, 2)),
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
    """Run every arm and seed of an experiment in turn; returns their scores."""
    results = []
    for seed in config.seeds:
        for arm in config.arms:
            results.append(run_arm(config, arm, seed, out, resume=resume, report=report, deadline_s=deadline_s))
            after_arm()
    return results
