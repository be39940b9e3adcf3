"""Real recordings: a generator fitted to each, and decoders trained on its scenes and on plain simulation.

    python benchmarks/scene_recordings.py [--only tetrapod lamin telomeres tubulin] [--steps 2000]
    python benchmarks/scene_recordings.py --gather

Both decoders have the same network, steps and frames a step, the same depths, light, density and level of background
(those that the fit found); one is trained on the generator's scenes, one on emitters anywhere over an even background
through the PSF as it was calibrated. Each reads the whole recording. They are compared at equal rates of false
positives, counted where the sample has no emitters (rectangles chosen by looking at mean and maximum of the movie): the
threshold of each is the lowest that keeps to the rate. Then: detections a frame, the Fourier ring correlation of split
halves, and what is left of the frames when the found emitters are taken off, over the noise. `tubulin` is simulated
(Deep-STORM's): there the truth is known and scored. Runs lie under runs/scene_recordings; done parts are not repeated.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

import localization
from experiments.compare.on_scenes import scenes_experiment
from experiments.generator.fit import generate_fit, generator_config
from experiments.progress import Display
from experiments.reading.localize import LocalizeConfig, localize
from localization import LocalizationError, Localizations
from measure.record import Rows, write_result
from optics import Camera, Emitters, Psf, adu_to_photons, make_camera, render_scenes
from training.codesign import fit as train
from training.config import RunConfig
from training.generator.files import load_facts, load_parts
from training.generator.model import photon_variance
from training.generator.surroundings import smooth
from training.instrument import run_psf
from worlds import DATA, ROOT
from worlds.recordings import RECORDINGS, RUNS, Recording, Rectangle
from worlds.scene_rows import write_row

PLACE = 310  # of its rows in benchmarks/README.md

RATES, TARGET, LEAST_SCORE, LEVEL_PX, RESAMPLES = (0.001, 0.003, 0.01, 0.03), 0.01, 0.05, 6.0, 1000
DEFAULT_SCORE, NEAR_UM = 0.5, 0.15  # a list decoder's threshold where none is asked for
ARMS = ("naive", "generated")


def run_of(scenes: Path, arm: str, psf: str, steps: int) -> RunConfig:
    """The run that belongs to a generator, or the same on plain simulation through the PSF as it was given."""
    run = scenes_experiment(str(scenes)).run
    run = dataclasses.replace(
        run, optimiser=dataclasses.replace(run.optimiser, steps=steps, batch=4, checkpoint_every=500, log_every=100)
    )
    if arm == "generated":
        return run
    given = generator_config(psf, None)
    own = {"psf": given.psf, "mask": given.mask} if not given.psf_file else {}
    return dataclasses.replace(run, scene=dataclasses.replace(run.scene, generator=""), **own)


def prepare(name: str, steps: int) -> None:
    """Fit, train and read: whatever of it is not there yet."""
    what, folder = RECORDINGS[name], RUNS / name
    for file in (what.psf, what.camera):
        if file is not None and "/" in file and not (ROOT / file).exists():
            raise SystemExit(f"{file} is missing; make it first: benchmarks/gallery.py {what.movie.split('/')[0]}")
    movie, scenes = DATA / what.movie, folder / "generator"
    camera = None if what.camera is None else str(ROOT / what.camera)
    psf = str(ROOT / what.psf) if what.psf.endswith(".npz") else what.psf
    config = generator_config(psf, what.preset, what.settings, camera)
    if not (scenes / "run.toml").exists():
        with Display(every=0.1, prefix=lambda event: name) as display:
            generate_fit(movie, scenes, config, display, resume=True)
    for arm in ARMS:
        run = run_of(scenes, arm, psf, steps)
        place = folder / arm
        if not (place / "done").exists():
            with Display(every=0.1, prefix=lambda event, arm=arm: f"{name} {arm}") as display:
                train(run, place, resume=True, report=display)
            (place / "done").touch()
        table = folder / f"{arm}.csv"
        if not table.exists():
            localize(movie, place, table, LocalizeConfig(threshold=LEAST_SCORE))


def photons_of(name: str) -> tuple[NDArray, Camera]:
    """The recording in photons (N, H, W) as the fit converted it, and its camera."""
    facts = load_facts(RUNS / name / "generator")
    with localization.open_movie(DATA / RECORDINGS[name].movie) as movie:
        frames = np.asarray(movie.read(0, movie.shape[0]), np.float64)
    camera = make_camera(**dataclasses.asdict(facts.camera))
    return np.asarray(adu_to_photons(camera, frames)), camera


def in_empty(locs: Localizations, rectangles: tuple[Rectangle, ...], pixel_um: float) -> NDArray:
    row, column = locs.y_um / pixel_um, locs.x_um / pixel_um
    inside = np.zeros(locs.frame.size, bool)
    for rows, columns in rectangles:
        inside |= (row >= rows.start) & (row < rows.stop) & (column >= columns.start) & (column < columns.stop)
    return inside


def threshold_at(scores: NDArray, allowed: float) -> float:
    """The lowest threshold, from `LEAST_SCORE` on, that at most `allowed` of these scores pass."""
    ordered = np.sort(scores)[::-1]
    most = int(np.floor(allowed))
    return LEAST_SCORE if len(ordered) <= most else float(np.nextafter(ordered[most], np.inf))


def left_over(locs: Localizations, frames: NDArray, psf: Psf, camera: Camera, pixel_um: float) -> float:
    """Mean square of what is left of the frames without the found emitters and a smooth level, over the noise."""
    most = max(1, int(np.bincount(locs.frame, minlength=len(frames)).max()))

    @jax.jit
    def one(frame, xyz, light, valid):
        drawn, _ = render_scenes(psf, Emitters(xyz[None], light[None], valid[None]), frame.shape, chunk=16)
        level = smooth(frame - drawn[0], LEVEL_PX)
        variance = photon_variance(camera, jnp.maximum(level + drawn[0], 0.0))
        return jnp.mean((frame - drawn[0] - level) ** 2 / jnp.maximum(variance, 0.25))

    values = []
    for k in np.unique(np.linspace(0, len(frames) - 1, 20).astype(int)):
        own = np.flatnonzero(locs.frame == k)
        xyz, light = np.zeros((most, 3)), np.zeros(most)
        xyz[:, 2] = np.median(locs.z_um) if locs.frame.size else 0.0
        xyz[: len(own)] = np.stack([locs.x_um[own], locs.y_um[own], locs.z_um[own]], axis=1)
        light[: len(own)] = locs.photons[own]
        values.append(
            float(one(*(jnp.asarray(a, dtype=float) for a in (frames[k], xyz, light)), np.arange(most) < len(own)))
        )
    return float(np.mean(values))


def told_of(kept: Localizations, what: Recording, frames: NDArray, psf: Psf, camera: Camera, pixel_um: float) -> dict:
    """What is told of a list: how many there are, the share with a neighbour within `NEAR_UM` (split emitters, more
    often than not), the resolution of its halves, and what it leaves of the frames."""
    near = []
    for k in np.unique(kept.frame):
        xy = np.stack([kept.x_um, kept.y_um], axis=1)[kept.frame == k]
        near.append(cKDTree(xy).query(xy, k=2)[0][:, 1] < NEAR_UM)
    return {
        "detections_per_frame": round(kept.frame.size / len(frames), 2),
        "share_within_150_nm": round(float(np.mean(np.concatenate(near))), 3) if near else None,
        "frc": ring_correlation(kept, what.frc_pixel_um),
        "chi2_left": round(left_over(kept, frames, psf, camera, pixel_um), 4),
    }


def measured(name: str) -> dict:
    """Everything that is told of one recording."""
    what, folder = RECORDINGS[name], RUNS / name
    saved = load_parts(folder / "generator")
    pixel_um = saved.facts.config.microscope.pixel_um
    frames, camera = photons_of(name)
    area = sum((r.stop - r.start) * (c.stop - c.start) for r, c in what.empty) * pixel_um**2 * len(frames)
    row: dict = {
        "frames": len(frames),
        "fit": json.loads((folder / "generator" / "metrics.json").read_text()),
        "empty_um2_times_frames": round(area, 1),
        "arms": {},
    }
    tables = {arm: localization.read(folder / f"{arm}.csv") for arm in ARMS}
    for arm, found in tables.items():
        psf = saved.psf if arm == "generated" else run_psf(run_of(folder / "generator", arm, _psf(what), 1))
        log = [json.loads(line) for line in (folder / arm / "log.jsonl").read_text().splitlines()]
        own: dict = {"training_seconds": round(log[-1]["seconds"], 1), "steps": log[-1]["step"]}
        likely = localization.select(found, found.score >= DEFAULT_SCORE)
        own["at_default"] = {"threshold": DEFAULT_SCORE, **told_of(likely, what, frames, psf, camera, pixel_um)}
        if what.empty:
            empty = in_empty(found, what.empty, pixel_um)
            own["at_rates"] = []
            for rate in RATES:
                cut = threshold_at(found.score[empty], rate * area)
                kept = localization.select(found, (found.score >= cut) & ~empty)
                told = {
                    "false_per_um2": rate,
                    "threshold": round(cut, 4),
                    "false": int((found.score[empty] >= cut).sum()),
                    "detections_per_frame": round(kept.frame.size / len(frames), 2),
                }
                if rate == TARGET:
                    told |= told_of(kept, what, frames, psf, camera, pixel_um)
                    own["per_frame"] = np.bincount(kept.frame, minlength=len(frames)).tolist()
                own["at_rates"].append(told)
        if what.truth is not None:
            own["truth"] = against_truth(found, what, len(frames))
        row["arms"][arm] = own
    if what.empty and len(frames) > 1:
        row["generated_over_naive"] = ratio(*(row["arms"][arm]["per_frame"] for arm in ("generated", "naive")))
    return row


def _psf(what: Recording) -> str:
    return str(ROOT / what.psf) if what.psf.endswith(".npz") else what.psf


def ratio(ones: list[int], others: list[int]) -> list[float]:
    """Detections of one over the other's with its 95 % interval, by resampling frames."""
    a, b = np.array(ones), np.array(others)
    pick = np.random.default_rng(0).integers(0, len(a), (RESAMPLES, len(a)))
    drawn = a[pick].sum(axis=1) / np.maximum(b[pick].sum(axis=1), 1)
    return [round(float(v), 3) for v in (a.sum() / max(b.sum(), 1), *np.quantile(drawn, [0.025, 0.975]))]


def ring_correlation(locs: Localizations, pixel_um: float | None) -> dict | None:
    """Resolution of split halves, random ones of the rows' frames; None where a single frame was recorded."""
    if pixel_um is None:
        return None
    try:
        found = localization.fourier_ring_correlation(locs, pixel_um, rng=0, block_frames=1)
    except LocalizationError as error:
        return {"rows": int(locs.frame.size), "why_not": str(error)}
    resolution = found.resolution_um
    return {
        "rows": int(locs.frame.size),
        "resolution_nm": round(1e3 * resolution, 1) if np.isfinite(resolution) else None,
        "spread_nm": round(1e3 * found.spread_um, 1) if np.isfinite(found.spread_um) else None,
        "reason": found.reason,
    }


def against_truth(found: Localizations, what: Recording, n: int) -> dict:
    """Scores within 100 nm of the published positions."""
    assert what.truth is not None
    listed = pd.read_csv(DATA / what.truth)
    x, y = (listed[c].to_numpy() * 1e-3 for c in listed.columns[1:3])
    truth = localization.make_localizations(listed.iloc[:, 0].to_numpy() - 1, x, y, np.zeros(len(x)))
    curve = localization.precision_recall_curve(found, truth, lateral_um=0.1, axial_um=None, n_thresholds=40)
    area = localization.average_precision(curve, rng=0, n=200)
    best = float(curve.threshold[int(np.argmax(curve.jaccard))])
    score = localization.score(localization.select(found, found.score >= best), truth, lateral_um=0.1, axial_um=None)
    return {
        "average_precision": [round(v, 4) for v in (area.estimate, area.low, area.high)],
        "best_threshold": best,
        "jaccard": round(score.jaccard, 4),
        "recall": round(score.recall, 4),
        "precision": round(score.precision, 4),
        "rmse_xy_nm": round(1e3 * score.rmse_xy_um, 2),
        "frames": n,
    }


def show(name: str, row: dict) -> None:
    for arm, own in row["arms"].items():
        told = {k: v for k, v in own.items() if k != "per_frame"}
        print(name, arm, json.dumps(told), flush=True)
    print(name, "generated over naive", row.get("generated_over_naive"), flush=True)


def rows(numbers: dict) -> Rows:
    for name, row in numbers.items():
        if row.get("generated_over_naive"):
            ratio, low, high = row["generated_over_naive"]
            near = [
                100 * at["share_within_150_nm"]
                for arm in ("generated", "naive")
                for at in row["arms"][arm]["at_rates"]
                if at["false_per_um2"] == 0.01
            ]
            yield (
                f"{name}: detections at 0.01 false ones per um2, decoder on its scenes over one on plain simulation; "
                "share of them within 150 nm of another, both",
                "reported",
                f"{ratio:.2f} ({low:.2f} to {high:.2f}); {near[0]:.0f} %, {near[1]:.0f} %",
            )
        scores = {arm: own["truth"]["average_precision"][0] for arm, own in row["arms"].items() if own.get("truth")}
        if scores:
            told = "; ".join(f"{arm} {value:.3f}" for arm, value in scores.items())
            yield f"{name}: average precision within 100 nm", "reported", told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(RECORDINGS), default=list(RECORDINGS))
    parser.add_argument("--steps", type=int, default=2000, help="of each decoder")
    parser.add_argument("--gather", action="store_true", help="only gather what has been measured")
    arguments = parser.parse_args()
    for name in () if arguments.gather else arguments.only:
        path = RUNS / f"{name}.json"
        if not path.exists():
            prepare(name, arguments.steps)
            write_row(path, measured(name))
        show(name, json.loads(path.read_text()))
    rows = {path.stem: json.loads(path.read_text()) for path in sorted(RUNS.glob("*.json"))}
    print(write_result("scene_recordings", rows))


if __name__ == "__main__":
    main()
