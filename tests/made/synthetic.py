"""A results folder with plausible, invented numbers: a report in seconds, without any training."""

import dataclasses
import json
from pathlib import Path

import numpy as np

import localization
from experiments.compare.arms import arm_folder, scores_file
from experiments.compare.config import ExperimentConfig, arm_run, readings
from experiments.compare.scoring import GATES, cells, density_per_um2
from localization import FrameScores, Localizations, make_localizations
from training import to_dict
from training.run_folder import RunFolder

SIDE = 64  # pupil samples


def _pupil():
    x = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    return np.meshgrid(x, x)


def _phase_rad(strength: float, learned: bool) -> np.ndarray:
    x, y = _pupil()
    r2, angle = x**2 + y**2, np.arctan2(y, x)
    if learned:
        return strength * (r2 * np.cos(2 * angle) + 1.5 * r2**1.5 * np.sin(3 * angle) - 3 * r2**2 * np.cos(2 * angle))
    return strength * (4 * r2**2 - 3 * r2) * np.cos(2 * angle) * 2


def _psf(phase_rad: np.ndarray, z_um: np.ndarray, stamp_px: int) -> np.ndarray:
    x, y = _pupil()
    inside = x**2 + y**2 < 1
    padded = 4 * SIDE
    images = []
    for z in z_um - z_um.mean():
        field = inside * np.exp(1j * (phase_rad + 6.0 * z * np.sqrt(np.maximum(1.2 - x**2 - y**2, 0))))
        image = np.abs(np.fft.fftshift(np.fft.fft2(field, (padded, padded)))) ** 2
        low = padded // 2 - stamp_px // 2
        images.append((image / image.sum())[low : low + stamp_px, low : low + stamp_px])
    return np.stack(images)


def _lists(same, rng, scene, n_frames, area, sigma_um, recall, precision) -> tuple[Localizations, Localizations]:
    counts = same.integers(scene.count_min, scene.count_max + 1, n_frames)
    frame = np.repeat(np.arange(n_frames), counts)
    low, high = area
    xyz = np.column_stack(
        [*same.uniform(low, high, (2, frame.size)), same.uniform(scene.z_min_um, scene.z_max_um, frame.size)]
    )
    kept = rng.random(frame.size) < recall
    noise = rng.normal(0, [sigma_um, sigma_um, 2 * sigma_um], xyz.shape)
    n_false = round(kept.sum() * (1 / precision - 1))
    false = np.column_stack(
        [*rng.uniform(low, high, (2, n_false)), rng.uniform(scene.z_min_um, scene.z_max_um, n_false)]
    )
    found_xyz = np.concatenate([(xyz + noise)[kept], false])
    found_frame = np.concatenate([frame[kept], rng.integers(0, n_frames, n_false)])
    return make_localizations(found_frame, *found_xyz.T), make_localizations(frame, *xyz.T)


def _columns(locs: Localizations) -> np.ndarray:
    return np.stack([locs.frame, locs.x_um, locs.y_um, locs.z_um, np.ones_like(locs.x_um)], axis=1)


def _render(psf, z_um, truth: Localizations, size_px, pixel_um, rng) -> np.ndarray:
    frames = np.full((4, size_px, size_px), 60.0)
    half = psf.shape[-1] // 2
    for f, x, y, z in zip(truth.frame, truth.x_um, truth.y_um, truth.z_um, strict=True):
        if f < 4:
            stamp = 40_000 * psf[np.abs(z_um - z).argmin()]
            i, j = int(y / pixel_um), int(x / pixel_um)
            grown = np.pad(frames[f], half)
            grown[i : i + psf.shape[-1], j : j + psf.shape[-1]] += stamp
            frames[f] = grown[half:-half, half:-half]
    return rng.poisson(frames).astype(np.float32)


def write_results(
    config: ExperimentConfig, out: Path, quality: dict[str, float], *, skip: tuple[str, ...] = ()
) -> None:
    """Write the folders of all arms but those in `skip`; `quality` per label: 1 is perfect, 0.5 poor."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(to_dict(config)))
    for seed in config.seeds:
        for number, arm in enumerate(config.arms):
            if arm.label not in skip:
                _write_arm(config, out, arm, seed, number, quality[arm.label])


def _write_arm(config, out, arm, seed, number, quality) -> None:
    rng = np.random.default_rng([seed, number])
    folder = arm_folder(out, arm, seed)
    folder.mkdir(parents=True)
    RunFolder(folder, arm_run(config, arm, seed)).begin()
    run = config.run
    side = run.scene.frame_px * run.microscope.pixel_um
    area = (run.scene.margin_um, side - run.scene.margin_um)
    scored, lists = [], None
    for name, scene in cells(config):
        level = np.clip(quality + rng.normal(0, 0.01) - 0.01 * scene.count_max, 0.05, 0.98)
        same = np.random.default_rng(7)  # the same truth for all arms: comparisons are paired
        sigma = 0.012 * (2 - level) * (1 + 0.05 * scene.count_max)
        lists = _lists(same, rng, scene, config.score.frames, area, sigma, level, level**0.5)
        gates = {}
        for gate, options in GATES.items():
            per_frame = localization.score_frames(*lists, n_frames=config.score.frames, **options)
            intervals = localization.bootstrap(per_frame, rng=0, n=200)
            gates[gate] = {
                "score": {metric: interval.estimate for metric, interval in intervals.items()},
                "interval": {metric: [interval.low, interval.high] for metric, interval in intervals.items()},
                "frames": {f.name: getattr(per_frame, f.name).tolist() for f in dataclasses.fields(FrameScores)},
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
        if name == f"count {max(config.score.counts)}":
            dense = lists
    z = np.linspace(run.scene.z_min_um, run.scene.z_max_um, 7)
    phase = _phase_rad(3.0 + number, arm.learn)
    psf = _psf(phase, z, run.psf.stamp_px)
    ratio = [1.1 + 0.1 * number, 1.2, 1.3]
    scores = {
        "cells": scored,
        "single": {
            "ratio": ratio,
            "outlier_share": [0.01, 0.0, 0.02],
            "found_share": 0.99,
            "photons": run.scene.photons_max,
            "background": 62.5,
            "z_um": [],
            "error_um": [],
            "crlb_um": [],
        },
        "label": arm.label,
        "seed": seed,
        "learned": arm.learn,
        "steps": run.optimiser.steps,
        "train_seconds": 123.4,
        "score_seconds": 5.6,
    }
    for reading in readings(config, arm):
        scores_file(folder, reading).write_text(json.dumps(scores | {"reading": reading}))
    found, truth = dense
    np.savez_compressed(
        folder / "examples.npz",
        phase_rad=phase.astype(np.float32),
        half_width=1.0,
        z_um=z,
        psf=psf,
        bound_z_um=np.linspace(0, 4, 7),
        crlb_um=0.004 / quality * (1 + np.outer(np.linspace(-1, 1, 7) ** 2, [0.8, 1.0, 1.5])) * [1, 1, 2],
        stamp_fraction=psf.sum((1, 2)),
        frames=_render(psf, z, truth, run.scene.frame_px, run.microscope.pixel_um, rng),
        found=_columns(localization.select(found, found.frame < 4)),
        truth=_columns(localization.select(truth, truth.frame < 4)),
    )
    steps = np.unique(np.linspace(1, run.optimiser.steps, 60).astype(int))
    losses = 4 + 60 * np.exp(-steps / run.optimiser.steps * 6) / quality + rng.normal(0, 0.5, steps.size)
    (folder / "log.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "event": "step",
                    "step": int(s),
                    "steps": run.optimiser.steps,
                    "loss": float(v),
                    "seconds": float(s),
                }
            )
            + "\n"
            for s, v in zip(steps, losses, strict=True)
        )
    )
    if arm.learn:
        (folder / "masks").mkdir()
        wavelength = run.microscope.wavelength_um
        for k in range(9):
            opd = wavelength / (2 * np.pi) * _phase_rad((3.0 + number) * k / 8, True)
            np.save(folder / "masks" / f"step_{k * run.optimiser.steps // 8:07d}.npy", opd.astype(np.float32))
