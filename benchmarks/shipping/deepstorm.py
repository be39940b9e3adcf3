"""The Deep-STORM networks that come with Colocus, one a level of difficulty, with how each was made.

    python benchmarks/shipping/deepstorm.py [--steps 1400 400] [--minutes N]

Light layout of a quarter of the published width, 8 x, frames drawn as they are needed by `worlds/crowd_scenes.py`:
vectorial images from the sharpest there are to AutoDS's widest (sigma 1.17 +- 0.19 px at 107 nm; npj Imaging 2025,
doi 10.1038/s44303-025-00123-w). A start is learned from nothing on frames of every density and ratio; each level goes
on there on those that its level is chosen for. What is there already under --work is not learned again, what was
stopped goes on; what --minutes stop is not shipped.
"""

import argparse
import json
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
import nets
from localization import Gate
from localization.patches.levels import LEVELS
from measure.record import commit, write_result
from optics.whole_file import whole_file, write_text
from training import MicroscopeConfig, PsfConfig, RunConfig, to_dict
from training.build import build
from training.config import CameraConfig, DecoderConfig, OptimiserConfig, SceneConfig
from training.decode import decode_images
from training.optim import decoder_optimiser
from training.scenes import frame_keys
from training.shipped_decoders import FOLDER, flatten, unflatten
from training.step import frames_loss
from worlds import ROOT
from worlds.crowd_scenes import ANY, crowd_scene, draw_frames, spot_sigmas_px

FRAME_PX = 42  # the network answers for the 24 px inside its halo
SCORED_PX, SCORED_FRAMES = 64, 40
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)  # emitters that a peak must hold
BASE = 0  # what the levels begin at: large steps, which are not made small towards its end
BASE_SCHEDULE = 4000
KEPT = 100  # steps between checkpoints, and losses that are averaged


def run_of(level: int, steps: int) -> RunConfig:
    """Make the configuration of a level."""
    scene = crowd_scene(level, FRAME_PX)
    return RunConfig(
        microscope=MicroscopeConfig(
            na=1.49, n_immersion=1.518, n_sample=1.518, wavelength_um=0.6, pixel_um=0.107, focus_um=0.0
        ),
        psf=PsfConfig(stamp_px=13, blur_um=0.03),
        scene=SceneConfig(
            frame_px=FRAME_PX,
            count_min=0,
            count_max=scene.capacity,
            z_min_um=-scene.reach_um,
            z_max_um=scene.reach_um,
            margin_um=0.0,
        ),
        camera=CameraConfig(offset_adu=50.0, read_noise_e=2.0),
        decoder=DecoderConfig(kind="image", variant="quick", upsampling=8, width=0.25),
        optimiser=OptimiserConfig(steps=steps, batch=8, method="muon", learning_rate=1.5e-3),
        seed=10 + level,
    )


def make_step(run: RunConfig) -> Callable[..., Any]:
    """Compile a step of (params, rest, optimiser's state, scene, key), for all levels."""
    parts = build(run)
    decoder = decoder_optimiser(run.optimiser)

    def step(params, rest, moments, scene, key):
        frames = draw_frames(frame_keys(key, 0, run.optimiser.batch), parts.psf, scene, parts.camera)
        loss = lambda p: frames_loss(parts, {**rest, "params": p}, frames)  # noqa: E731
        (value, (_, fresh)), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = decoder.update(grads, moments, params)
        return optax.apply_updates(params, updates), {**rest, **fresh}, moments, value

    return jax.jit(step, donate_argnums=(0, 1, 2))


def learn(level: int, steps: int, work: Path, compiled: Callable[..., Any], until: float) -> bool:
    """Learn a level and write its variables and how it went under `work`; whether it came to its end."""
    run = run_of(level, steps)
    parts, scene = build(run), crowd_scene(level, FRAME_PX)
    key = jax.random.key(run.seed)
    if level == BASE:
        variables = nets.init(key, parts.net, jnp.zeros((1, FRAME_PX, FRAME_PX, 1)))
    else:
        variables = load(work, BASE)
    params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    state = params, rest, decoder_optimiser(run.optimiser).init(params)
    losses: list[float] = []
    seconds = 0.0
    part = work / f"part-{level}.npz"
    if part.exists():
        with np.load(part) as kept:
            leaves = [jnp.asarray(kept[f"leaf{k}"]) for k in range(len(jax.tree.leaves(state)))]
            losses, seconds = kept["losses"].tolist(), float(kept["seconds"])
        state = jax.tree.unflatten(jax.tree.structure(state), leaves)
    begun = time.process_time() - seconds
    while len(losses) < steps:
        *state, value = compiled(*state, scene, jax.random.fold_in(key, len(losses)))
        losses.append(float(value))
        if len(losses) % KEPT == 0 or len(losses) == steps:
            seconds = time.process_time() - begun
            print(level, len(losses), f"{np.mean(losses[-KEPT:]):.4f}", f"{seconds:.0f} s", flush=True)
            leaves = {f"leaf{k}": np.asarray(leaf) for k, leaf in enumerate(jax.tree.leaves(tuple(state)))}
            with whole_file(part) as file:
                np.savez(file, losses=losses, seconds=seconds, **leaves)  # pyright: ignore[reportArgumentType]
            if time.time() > until and len(losses) < steps:
                return False
    with whole_file(work / f"deepstorm-{level}.npz") as file:
        np.savez(file, **flatten({"params": state[0], **state[1]}))  # pyright: ignore[reportArgumentType]
    record = {
        "steps": steps,
        "frames_drawn": steps * run.optimiser.batch,
        "processor_seconds": round(seconds, 1),
        "last_loss": round(float(np.mean(losses[-KEPT:])), 5),
        "commit": commit(),
    }
    write_text(work / f"deepstorm-{level}.json", json.dumps(record))
    part.unlink(missing_ok=True)
    return True


def load(work: Path, level: int) -> nets.Variables:
    """Load the variables of a level."""
    with np.load(work / f"deepstorm-{level}.npz") as arrays:
        return unflatten({name: arrays[name] for name in arrays.files})


def found_and_true(work: Path) -> dict[tuple[int, int], tuple[localization.Localizations, localization.Localizations]]:
    """Read fresh frames of every level with every network, down to faint peaks: lists by (level, network)."""
    lists = {}
    drawn = jax.jit(draw_frames)
    for level in LEVELS:
        run = run_of(level, 1)
        parts, scene = build(run), crowd_scene(level, SCORED_PX)
        frames = drawn(frame_keys(jax.random.key(1000 + level), 0, SCORED_FRAMES), parts.psf, scene, parts.camera)
        truth = localization.concatenate(
            [true_list(jax.tree.map(lambda leaf, k=k: leaf[k], frames.emitters), k) for k in range(SCORED_FRAMES)]
        )
        for network in LEVELS:
            variables = load(work, network)
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

    best = {n: max(THRESHOLDS, key=lambda t, n=n: scored(n, n, t, 0).jaccard) for n in LEVELS}
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for level in LEVELS:
        found = {n: scored(level, n, best[n], 1) for n in LEVELS}
        scores[f"level {level}"] = {
            f"deepstorm-{n}": {"jaccard": round(s.jaccard, 4), "rmse_nm": round(1e3 * s.rmse_xy_um, 1)}
            for n, s in found.items()
        }
    return best, scores


def true_list(emitters: Any, frame: int) -> localization.Localizations:
    """Turn the emitters of one frame into a list."""
    valid = np.asarray(emitters.valid)
    x, y, _ = np.asarray(emitters.xyz_um)[valid].T
    return localization.make_localizations(np.full(len(x), frame), x, y, np.zeros(len(x)))


def ship(work: Path) -> None:
    """Score the networks and copy them, each with its record, to where the package has them."""
    made = {level: json.loads((work / f"deepstorm-{level}.json").read_text()) for level in (BASE, *LEVELS)}
    best, scores = score_levels(work)
    FOLDER.mkdir(exist_ok=True)
    for level in LEVELS:
        name, run = f"deepstorm-{level}", run_of(level, made[level]["steps"])
        shutil.copyfile(work / f"{name}.npz", FOLDER / f"{name}.npz")
        numbers = {
            "run": to_dict(run),
            "scenes": crowd_scene(level, FRAME_PX).said(),
            "spot_sigma_px": spot_sigmas_px(build(run).psf, 0.0, run.scene.z_max_um),
            "start": made[BASE],
            **made[level],
            "threshold": best[level],
            "scored_frames": SCORED_FRAMES // 2,
            "scores_within_100_nm": {where: row[name] for where, row in scores.items()},
            "bytes": (FOLDER / f"{name}.npz").stat().st_size,
            "licence": "MIT, as Colocus",
        }
        print(write_result(name, numbers, folder=FOLDER), numbers["threshold"], numbers["scores_within_100_nm"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, nargs=2, default=(1400, 400), metavar=("FIRST", "LATER"))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "deepstorm")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="learn no longer; what is missing, later")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    until = time.time() + 60 * arguments.minutes
    compiled: dict[int, Callable[..., Any]] = {}  # a schedule is part of the program, a level is not
    for level in (BASE, *LEVELS):
        if (arguments.work / f"deepstorm-{level}.json").exists():
            continue
        steps = arguments.steps[level != BASE]
        schedule = BASE_SCHEDULE if level == BASE else steps
        if schedule not in compiled:
            compiled[schedule] = make_step(run_of(ANY, schedule))
        if not learn(level, steps, arguments.work, compiled[schedule], until):
            return
    ship(arguments.work)


if __name__ == "__main__":
    main()
