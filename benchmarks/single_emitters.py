"""How near the bound does a list decoder come? Single emitters over the whole depth range, astigmatic and Tetrapod.

    colocus train sparse-astigmatic --out runs/sparse-astigmatic
    colocus train sparse-tetrapod --out runs/sparse-tetrapod
    python benchmarks/single_emitters.py [RUN ...] [--frames 6000]

One emitter a frame, anywhere in the frame but its margin and anywhere in depth, at fixed brightness; drawn at the
full sampling of the pupil, read by the trained decoder at probability 0.5. Errors over the bound of each emitter's own
depth, pooled and in ten slabs; predicted sigma against the spread of the errors (`localization.calibrate_uncertainty`);
evenness of the positions within the pixel (Kolmogorov-Smirnov). Three read-outs: the pixel of highest probability
alone ("pixel"), with the share of its neighbours ("mixture", `training.mixture_means`: what `localize` writes), and
a fit of each frame from there ("joint", `localize --method decoder+joint`; records until 2026-11-29 have "polish", a
fit of each row by itself).
"""

import argparse
import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import localization
from experiments.compare.scoring import depth_bounds_um
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.decoder_joint import DecoderJointReader
from experiments.reading.joint import JointReader
from experiments.reading.readers import load_reader, run_folder
from experiments.reading.spots import psf_spots
from measure.record import Rows, write_result
from training import build, emitters_to_localizations, load_config, maps_to_localizations
from training.checkpoint import restore
from training.decode import decode_images
from training.evaluate import scored_frames
from training.step import init_state
from worlds import ROOT

PLACE = 170  # of its rows in benchmarks/README.md

RUNS = ("sparse-astigmatic", "sparse-tetrapod")
TARGET = {"sparse-astigmatic": 1.15, "sparse-tetrapod": 1.35}
LEVELS = {"sparse-astigmatic": ((2000.0, 20.0), (5000.0, 30.0)), "sparse-tetrapod": ((6000.0, 30.0), (20000.0, 30.0))}
SLABS, BATCH = 10, 32


def one_level(parts, state, folder: Path, photons: float, background: float, n: int) -> dict:
    scene = dataclasses.replace(
        parts.run.scene, count_min=1, count_max=1, photons="uniform", photons_min=photons, photons_max=photons,
        background="constant", background_min=background, background_max=background,
    )  # fmt: skip
    frames = scored_frames(parts, state, scene, 2_000_003, n, batch=BATCH)
    truth = emitters_to_localizations(frames.emitters)
    pixel_um = parts.run.microscope.pixel_um
    found: dict[str, list] = {"pixel": [], "mixture": []}
    scene_z = (parts.run.scene.z_min_um, parts.run.scene.z_max_um)
    fits = JointReader(psf_spots(parts.psf, scene_z, 1e-2), parts.camera, ClassicalConfig(), "joint")
    behind = DecoderJointReader(load_reader(folder), fits)
    fitted = [behind.read(np.asarray(frames.images[k : k + BATCH]), k) for k in range(0, n, BATCH)]
    for first in range(0, n, BATCH):
        maps = decode_images(parts.net, state.variables, frames.images[first : first + BATCH])
        for name, table in found.items():
            shared = name == "mixture"
            read = maps_to_localizations(maps, pixel_um, first_frame=first, share_borders=shared, read_out="peaks")
            table.append(read)
    bound = np.asarray(depth_bounds_um(parts.psf, jnp.asarray(truth.z_um), photons, background), dtype=float)
    tables = {name: localization.concatenate(table) for name, table in found.items()}
    tables["joint"] = localization.concatenate(fitted)
    return {"photons": photons, "background": background, "crlb_nm": (1e3 * bound.mean(0)).round(2).tolist()} | {
        name: scores(table, truth, bound, parts.run.scene, pixel_um) for name, table in tables.items()
    }


def scores(found, truth, bound, scene, pixel_um: float) -> dict:
    matches = localization.match(found, truth)
    errors, at = localization.pair_errors_um(found, truth, matches), matches.truth_index
    ratio = localization.rmse_over_crlb(errors, bound[at])
    inner = (errors / bound[at])[np.all(np.abs(errors) < 5 * bound[at], axis=1)]
    edges = np.linspace(scene.z_min_um, scene.z_max_um, SLABS + 1)
    slab = np.clip(np.digitize(truth.z_um[at], edges) - 1, 0, SLABS - 1)
    calibration = localization.calibrate_uncertainty(found, truth)
    even = localization.subpixel_uniformity(found, pixel_um)
    true = localization.subpixel_uniformity(truth, pixel_um)
    return {
        "jaccard": localization.score(found, truth).jaccard,
        "rmse_over_crlb": ratio.ratio.tolist(),
        "outlier_share": ratio.outlier_share.tolist(),
        "rmse_over_crlb_without_outliers": np.sqrt(np.mean(inner**2, axis=0)).tolist(),
        "mean_over_crlb": (errors / bound[at]).mean(0).tolist(),
        "by_depth": [
            {
                "z_um": round(float(edges[k] + edges[k + 1]) / 2, 4),
                "n": int((slab == k).sum()),
                "rmse_over_crlb": localization.rmse_over_crlb(errors[slab == k], bound[at][slab == k]).ratio.tolist(),
            }
            for k in range(SLABS)
        ],
        "empirical_over_predicted_sigma": [getattr(calibration, a).ratio for a in "xyz"],
        "empirical_over_predicted_sigma_rms": [getattr(calibration, a).ratio_rms for a in "xyz"],
        "ks_distance": [even.x, even.y],
        "ks_distance_of_the_truth": [true.x, true.y],
        "ks_by_chance": even.by_chance,
    }


def rows(numbers: dict) -> Rows:
    for name, run in numbers.items():
        if not isinstance(run, dict):
            continue
        for level in run["levels"]:
            found = level["mixture"]
            x, y, z = found["rmse_over_crlb"]
            yield (
                f"{name}, list decoder, {run['steps']} steps on two cores: RMSE over the bound x / y / z at "
                f"{level['photons']:g} photons on {level['background']:g}",
                f"<= {run['target']}",
                f"{x:.2f} / {y:.2f} / {z:.2f}",
            )
            fitted = level.get("joint") or level["polish"]
            ratios = " / ".join(f"{v:.2f}" for v in fitted["rmse_over_crlb"])
            yield "the same after fits that begin at its list", "reported", ratios
            sigma = " / ".join(f"{v:.2f}" for v in found["empirical_over_predicted_sigma"])
            yield "its errors over predicted sigma x / y / z", "0.85-1.15", sigma
            yield (
                f"its evenness within the pixel, Kolmogorov-Smirnov ({found['ks_by_chance']:.3f} by chance)",
                "<= 0.03",
                f"{max(found['ks_distance']):.3f}",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", default=[ROOT / "runs" / name for name in RUNS])
    parser.add_argument("--frames", type=int, default=6000)
    arguments = parser.parse_args()
    numbers = {}
    for folder in arguments.runs:
        if not folder.exists():
            print(f"{folder} is missing: colocus train {folder.name} --out {folder}")
            continue
        run_dir = run_folder(folder)
        run = load_config(run_dir)
        exact = build(dataclasses.replace(run, psf=dataclasses.replace(run.psf, pupil_px=None, ring_px=None)))
        state = restore(run_dir, jax.eval_shape(lambda parts=exact: init_state(parts)))
        kind = RUNS[0] if run.mask.name == "astigmatism" else RUNS[1]
        levels = [one_level(exact, state, run_dir, *level, arguments.frames) for level in LEVELS[kind]]
        steps = run.optimiser.steps
        numbers[kind] = {"target": TARGET[kind], "steps": steps, "batch": run.optimiser.batch, "levels": levels}
        numbers[kind]["training_seconds"] = trained_seconds(folder)
        for level in levels:
            print(kind, json.dumps({k: v for k, v in level.items() if k != "by_depth"}))
    if numbers:
        print(write_result("single_emitters", {"frames": arguments.frames, **numbers}))


def trained_seconds(folder: Path) -> float | None:
    """As the run's own scores say."""
    files = sorted(folder.rglob("scores.json"))
    return json.loads(files[0].read_text())["train_seconds"] if files else None


if __name__ == "__main__":
    main()
