"""The Deep-STORM networks that come with Colocus, one a level of difficulty, with how each was made.

    python benchmarks/shipping/deepstorm.py [--steps 800 220]

Light layout of a quarter of the published width, 8 x, frames drawn as they are needed: in-focus vectorial images of
AutoDS's optics (715 nm, NA 1.49, 107 nm pixels; npj Imaging 2025, doi 10.1038/s44303-025-00123-w), its photons,
densities and read noise, widened so that the levels meet. A start is learned from nothing on level 2's frames; 2 begins
there, 3 where 2 ended, 4 where 3 did, 1 where 2 did. What is there already under --work is not learned again.
"""

import argparse
import dataclasses
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/, where measure and worlds are
import jax
import jax.numpy as jnp
import numpy as np
import optax

import localization
from localization import Gate
from measure.record import write_result
from optics.whole_file import whole_file
from training import MicroscopeConfig, PsfConfig, RunConfig, to_dict
from training.build import build
from training.config import CameraConfig, DecoderConfig, OptimiserConfig, SceneConfig
from training.decode import decode_images
from training.optim import decoder_optimiser
from training.scenes import frame_keys, make_scene, simulate
from training.shipped_decoders import FOLDER, flatten, unflatten
from training.step import frames_loss
from worlds import ROOT

FRAME_PX = 42  # the network answers for the 24 px inside its halo
SCORED_PX, SCORED_FRAMES = 64, 24
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)  # emitters that a peak must hold
CAPACITY = 66  # of all levels: one compiled step
BASE = 0  # what the levels begin at: level 2's frames at large steps, which are not made smaller towards the end
BASE_SCHEDULE = 1500
CHAIN = ((BASE, None), (2, BASE), (3, 2), (4, 3), (1, 2))  # level, and where it begins
RANGES: dict[int, dict[str, float]] = {
    1: {"count_min": 0, "count_max": 16, "photons_min": 900, "photons_max": 2100, "low": 30, "high": 190},
    2: {"count_min": 2, "count_max": 30, "photons_min": 800, "photons_max": 2000, "low": 64, "high": 288},
    3: {"count_min": 6, "count_max": 44, "photons_min": 600, "photons_max": 1800, "low": 160, "high": 450},
    4: {"count_min": 16, "count_max": 66, "photons_min": 400, "photons_max": 1100, "low": 220, "high": 540},
}


def run_of(level: int, steps: int) -> RunConfig:
    """Make the configuration of a level."""
    r = RANGES[level or 2]
    return RunConfig(
        microscope=MicroscopeConfig(
            na=1.49, n_immersion=1.518, n_sample=1.518, wavelength_um=0.715, pixel_um=0.107, focus_um=0.0
        ),
        # in focus within 0.2 um: Gaussians fitted to the images have sigmas of 1.16 to 1.33 px, AutoDS's 1.17 +- 0.19
        psf=PsfConfig(stamp_px=13, blur_um=0.03),
        scene=SceneConfig(
            frame_px=FRAME_PX,
            count_min=int(r["count_min"]),
            count_max=int(r["count_max"]),
            z_min_um=-0.2,
            z_max_um=0.2,
            margin_um=0.0,
            photons_min=r["photons_min"],
            photons_max=r["photons_max"],
            background_min=r["low"],
            background_max=r["high"],
        ),
        camera=CameraConfig(offset_adu=50.0, read_noise_e=6.0),
        decoder=DecoderConfig(kind="image", variant="quick", upsampling=8, width=0.25),
        optimiser=OptimiserConfig(steps=steps, batch=8, method="muon", learning_rate=1.5e-3),
        seed=level or 2,
    )


def make_step(run: RunConfig) -> Callable[..., Any]:
    """Compile a step of (params, rest, optimiser's state, scene, background, key), for all levels."""
    parts = build(run)
    decoder = decoder_optimiser(run.optimiser)

    def step(params, rest, moments, scene, background, key):
        frames = simulate(frame_keys(key, 0, run.optimiser.batch), parts.psf, scene, background, parts.camera)
        loss = lambda p: frames_loss(parts, {**rest, "params": p}, frames)  # noqa: E731
        (value, (_, fresh)), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = decoder.update(grads, moments, params)
        return optax.apply_updates(params, updates), {**rest, **fresh}, moments, value

    return jax.jit(step, donate_argnums=(0, 1, 2))


def learn(level: int, start: int | None, steps: int, work: Path, compiled: Callable[..., Any]) -> None:
    """Learn a level and write its variables under `work`."""
    run = run_of(level, steps)
    parts = build(run)
    scene = make_scene(run.scene, run.microscope.pixel_um, CAPACITY)
    key = jax.random.key(run.seed)
    if start is None:
        import nets

        variables = nets.init(key, parts.net, jnp.zeros((1, FRAME_PX, FRAME_PX, 1)))
    else:
        with np.load(work / f"deepstorm-{start}.npz") as arrays:
            variables = unflatten({name: arrays[name] for name in arrays.files})
    params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    moments = decoder_optimiser(run.optimiser).init(params)
    started, losses = time.process_time(), []
    for number in range(steps):
        params, rest, moments, value = compiled(
            params, rest, moments, scene, parts.background, jax.random.fold_in(key, number)
        )
        losses.append(float(value))
        if number % 50 == 49:
            seconds = time.process_time() - started
            print(level, number + 1, f"{np.mean(losses[-50:]):.4f}", f"{seconds:.0f} s", flush=True)
        if number % 200 == 199 or number == steps - 1:
            name = "deepstorm" if number == steps - 1 else "part"
            with whole_file(work / f"{name}-{level}.npz") as part:
                np.savez(part, **flatten({"params": params, **rest}))  # pyright: ignore[reportArgumentType]
    seconds = time.process_time() - started
    with whole_file(work / f"deepstorm-{level}.txt") as part:
        part.write_text(f"{steps} {seconds:.1f} {np.mean(losses[-100:]):.5f}\n")


def found_and_true(work: Path) -> dict[tuple[int, int], tuple[localization.Localizations, localization.Localizations]]:
    """Read fresh frames of every level with every network, down to faint peaks: lists by (level, network)."""
    lists = {}
    for level in RANGES:
        run = run_of(level, 1)
        scene = dataclasses.replace(run.scene, frame_px=SCORED_PX, **counts(level))
        parts = build(dataclasses.replace(run, scene=scene))
        keys = frame_keys(jax.random.key(1000 + level), 0, SCORED_FRAMES)
        frames = jax.jit(simulate)(keys, parts.psf, parts.scene, parts.background, parts.camera)
        truth = localization.concatenate(
            [true_list(jax.tree.map(lambda leaf, k=k: leaf[k], frames.emitters), k) for k in range(SCORED_FRAMES)]
        )
        for network in RANGES:
            with np.load(work / f"deepstorm-{network}.npz") as arrays:
                variables = unflatten({name: arrays[name] for name in arrays.files})
            images = (frames.images[k : k + 4] for k in range(0, SCORED_FRAMES, 4))
            density = np.concatenate([np.asarray(decode_images(parts.net, variables, image)) for image in images])
            found = localization.image_peaks(
                density, pixel_um=run.microscope.pixel_um, upsampling=8, threshold=min(THRESHOLDS)
            )
            lists[level, network] = found, truth
    return lists


def score_levels(work: Path) -> tuple[dict[int, float], dict[str, dict[str, dict[str, float]]]]:
    """Choose each network's threshold on half the frames of its own level; score all on the other halves.

    Jaccard and RMSE within 100 nm, by level and network.
    """
    lists = found_and_true(work)

    def scored(level: int, network: int, threshold: float, first: int) -> localization.Score:
        found, truth = lists[level, network]
        mine = (found.frame % 2 == first) & (found.score >= threshold)
        return localization.score(
            localization.select(found, mine), localization.select(truth, truth.frame % 2 == first), **Gate(0.1, None)
        )

    best = {n: max(THRESHOLDS, key=lambda t, n=n: scored(n, n, t, 0).jaccard) for n in RANGES}
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for level in RANGES:
        found = {n: scored(level, n, best[n], 1) for n in RANGES}
        scores[f"level {level}"] = {
            f"deepstorm-{n}": {"jaccard": round(s.jaccard, 4), "rmse_nm": round(1e3 * s.rmse_xy_um, 1)}
            for n, s in found.items()
        }
    return best, scores


def counts(level: int) -> dict[str, int]:
    """Emitters of larger frames of the same density."""
    share = (SCORED_PX / FRAME_PX) ** 2
    return {name: round(RANGES[level][name] * share) for name in ("count_min", "count_max")}


def true_list(emitters: Any, frame: int) -> localization.Localizations:
    """Turn the emitters of one frame into a list."""
    valid = np.asarray(emitters.valid)
    x, y, _ = np.asarray(emitters.xyz_um)[valid].T
    return localization.make_localizations(np.full(len(x), frame), x, y, np.zeros(len(x)))


def ship(work: Path) -> None:
    """Score the networks and copy them, each with its record, to where the package has them."""
    (best, scores), base = score_levels(work), (work / f"deepstorm-{BASE}.txt").read_text().split()
    for level, start in CHAIN[1:]:
        name = f"deepstorm-{level}"
        steps, seconds, loss = (work / f"{name}.txt").read_text().split()
        run = run_of(level, int(steps))
        FOLDER.mkdir(exist_ok=True)
        shutil.copyfile(work / f"{name}.npz", FOLDER / f"{name}.npz")
        numbers = {
            "run": to_dict(run),
            "begins_at": "the start" if start == BASE else f"deepstorm-{start}",
            "frames_drawn": int(steps) * run.optimiser.batch,
            "start": dict(zip(("steps", "processor_seconds", "last_loss"), map(float, base), strict=True)),
            "processor_seconds": float(seconds),
            "last_loss": float(loss),
            "threshold": best[level],
            "scored_frames": SCORED_FRAMES // 2,
            "scores_within_100_nm": {where: row[name] for where, row in scores.items()},
            "bytes": (FOLDER / f"{name}.npz").stat().st_size,
            "licence": "MIT, as Colocus",
        }
        print(write_result(name, numbers, folder=FOLDER), numbers["scores_within_100_nm"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, nargs=2, default=(800, 220), metavar=("FIRST", "LATER"))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "deepstorm")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    compiled: dict[int, Callable[..., Any]] = {}  # a schedule is part of the program, a level is not
    for level, start in CHAIN:
        if (arguments.work / f"deepstorm-{level}.npz").exists():
            continue
        steps = arguments.steps[start is not None]
        schedule = BASE_SCHEDULE if start is None else steps
        if schedule not in compiled:
            compiled[schedule] = make_step(run_of(level, schedule))
        learn(level, start, steps, arguments.work, compiled[schedule])
    ship(arguments.work)


if __name__ == "__main__":
    main()
