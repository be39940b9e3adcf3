"""A decoder alone tells two colours apart: how often it is right, beside the likelihood ratio on the same images.

    python benchmarks/colour_decoder.py [--frames 500] [--only plate] [--steps 3000]

580 and 670 nm over 2 um. A cell is a plate; its decoder is trained as preset `two-colours` says, in `runs`, and goes on
where it stopped. Read are the images of `colour.py` (same draws, a stamp of 31 px with one emitter), and frames of 40
px with 3 emitters (0.31 per um^2). The decoder may find nothing in a stamp: of all its claims (from a probability of
1 % on) the likeliest counts, and a stamp without one is read wrongly. In frames its own threshold holds, with places to
250 nm across and 500 nm along the axis. "plate, three readers" are frames read by the decoder, by joint fits that begin
at its list, and by joint fits alone. Intervals are Wilson's, of 95 %.
"""

import dataclasses
import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from crowds.record import cell_parser, fill
from experiments.compare.config import Reading, arm_run, load_experiment
from experiments.compare.scoring import joint_readers, make_reading
from localization import Localizations, match, pair_errors_um, score, select
from measure.record import RESULTS, Rows
from measure.shares import wilson
from training import build, emitters_to_localizations, evaluate, fit, load_run
from training.build import Parts
from training.config import SceneConfig
from training.decode import make_decoder, read_output
from training.evaluate import scored_frames
from training.run_folder import logged
from training.state import TrainState
from worlds import ROOT
from worlds.colour_world import BACKGROUND, STAMP_PX, drawn, plate_of, psfs_of, species_of

PLACE = 166  # of its rows in benchmarks/README.md

NAME = "colour_decoder"
PHOTONS = (1000.0, 3500.0, 10000.0)
PUPILS = {"plate": "learned", "tetrapod": "tetrapod"}  # arms of the preset, as `colour.py` calls them
THREE = "plate, three readers"
PAIR = "580-670"
DENSE, DENSE_FRAMES, THREE_FRAMES = 3, 300, 60
READINGS: tuple[Reading, ...] = ("decoder", "decoder+joint", "joint")
TARGET = 90  # % of the likelihood-ratio reader's cell, at 1000 photons behind the plate
_LEAST = 0.01  # probability of a claim that counts as an answer
_BATCH = 50


def trained(arm: str, folder: Path, steps: int) -> tuple[Parts, TrainState, float]:
    """The decoder of an arm of the preset, and the seconds that its steps took."""
    config = load_experiment("two-colours", [f"run.optimiser.steps={steps}"])
    run = arm_run(config, next(one for one in config.arms if one.label == arm), 0)
    started = time.perf_counter()

    def say(event):
        if event.done % 200 == 0:
            print(f"{arm}: step {event.done}, {time.perf_counter() - started:.0f} s, {event.numbers}", flush=True)

    fit(run, folder, resume=(folder / "config.json").exists(), report=say)
    seconds, last = 0.0, 0.0
    for event in logged(folder):
        now = event.get("seconds", 0.0)
        seconds, last = seconds + (last if now < last else 0.0), now
    return build(run), load_run(folder)[1], seconds + last


def answers(parts: Parts, state: TrainState, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each stamp (N, K, K) the species (-1: no answer), its probability, and x, y, z from the centre (um)."""
    decode = make_decoder(parts, state.variables)
    channel, sure, place = np.full(len(images), -1), np.full(len(images), np.nan), np.full((len(images), 3), np.nan)
    centre = STAMP_PX * float(parts.psf.microscope.pixel_um) / 2
    for first in range(0, len(images), _BATCH):
        found = read_output(parts, decode(jnp.asarray(images[first : first + _BATCH], jnp.float32)), threshold=_LEAST)
        found = select(found, np.argsort(found.score))  # the likeliest claim of a stamp is laid down last
        at = first + found.frame
        channel[at], sure[at] = found.channel, found.extras["p_channel"]
        place[at] = np.column_stack([found.x_um - centre, found.y_um - centre, found.z_um])
    return channel, sure, place


def measure(cell: str, n: int, folder: Path, steps: int) -> dict:
    """One plate: its decoder, trained and read."""
    if cell == THREE:
        return three(folder, steps)
    parts, state, seconds = trained(cell, folder / cell, steps)
    psfs = psfs_of(plate_of(PUPILS[cell], PAIR), species_of(PAIR, "lines"))
    rng = np.random.default_rng(7)  # the draws of `colour.py`, in its order
    pictures = [drawn(rng, psf, "2um", n) for psf in psfs]
    found: dict = {"frames": n, "steps": steps, "train_s": round(seconds)}
    for photons in PHOTONS:
        confused, sure, errors = np.zeros((2, 3), int), [], []
        for channel, (picture, xyz) in enumerate(pictures):
            told, p, place = answers(parts, state, rng.poisson(photons * picture + BACKGROUND))
            confused[channel] = np.bincount(np.where(told < 0, 2, told), minlength=3)
            sure.append(p)
            errors.append(place - xyz)
        right = int(confused[0, 0] + confused[1, 1])
        error = np.abs(np.concatenate(errors))
        near = (np.hypot(error[:, 0], error[:, 1]) <= 0.25) & (error[:, 2] <= 0.5)
        found[f"{photons:g}"] = {
            "right": round(100 * right / (2 * n), 1),
            "interval": wilson(right, 2 * n),
            "no_answer": round(100 * int(confused[:, 2].sum()) / (2 * n), 1),
            "says_of_itself": round(100 * float(np.nanmean(np.concatenate(sure))), 1),
            "near": round(100 * float(near.mean()), 1),
            "rms_nm": [round(1e3 * float(np.sqrt(np.mean(error[near, k] ** 2))), 1) for k in range(3)],
            "confusion": confused.tolist(),
        }
        found[f"dense {photons:g}"] = crowd(parts, state, photons)
    return found


def fixed(parts: Parts, count: int, photons: float) -> SceneConfig:
    """Scenes of so many emitters of so much light."""
    ends = {"count_min": count, "count_max": count, "photons_min": photons, "photons_max": photons}
    return dataclasses.replace(parts.run.scene, photons="uniform", **ends)


def crowd(parts: Parts, state: TrainState, photons: float) -> dict:
    """Frames of `DENSE` emitters: Jaccard index of each species by itself, and pairs whose species is wrong."""
    return scored(*evaluate(parts, state, fixed(parts, DENSE, photons), n_frames=DENSE_FRAMES))


def scored(found: Localizations, truth: Localizations) -> dict:
    """Jaccard index, of all and of each species by itself, pairs whose species is wrong, errors."""
    pairs = match(found, truth)
    wrong = found.channel[pairs.found_index] != truth.channel[pairs.truth_index]
    error = pair_errors_um(found, truth, pairs)

    def of(locs: Localizations, channel: int) -> Localizations:
        return select(locs, locs.channel == channel)

    return {
        "jaccard": round(score(found, truth).jaccard, 3),
        "jaccard_by_species": [round(score(of(found, c), of(truth, c)).jaccard, 3) for c in (0, 1)],
        "crosstalk": round(100 * float(wrong.mean()), 1),
        "crosstalk_interval": wilson(int(wrong.sum()), wrong.size),
        "rms_nm": [round(1e3 * float(np.sqrt(np.mean(error[:, k] ** 2))), 1) for k in range(3)],
    }


def three(folder: Path, steps: int) -> dict:
    """The same frames behind the plate read by its decoder, by joint fits from its list, by joint fits alone."""
    parts, state, _ = trained("plate", folder / "plate", steps)
    config = load_experiment("two-colours")
    joint, found = joint_readers(parts, state, config), {"frames": THREE_FRAMES}
    for count, photons in ((1, 1000.0), (DENSE, 3500.0)):
        frames = scored_frames(parts, state, fixed(parts, count, photons), 1_000_003, THREE_FRAMES)
        truth = emitters_to_localizations(frames.emitters)
        for reading in READINGS:
            read, _ = make_reading(reading, parts, state, None, joint)
            found[f"{reading}, {count} of {photons:g}"] = scored(read(frames), truth)
    return found


def rows(numbers: dict) -> Rows:
    found = numbers["cells"]
    path = RESULTS / "colour.json"
    likely = json.loads(path.read_text())["numbers"]["cells"] if path.exists() else {}
    for arm, one in found.items():
        if arm == THREE:
            for count, photons in ((1, 1000), (DENSE, 3500)):
                three_ways = [one[f"{reading}, {count} of {photons}"] for reading in READINGS]
                yield (
                    f"{count} of {photons} photons in a frame, behind the plate, by {', '.join(READINGS)}: Jaccard "
                    "index of the worse species; pairs of the wrong species (%)",
                    ">= 0.85; <= 5" if count > 1 else "reported",
                    ", ".join(f"{min(d['jaccard_by_species']):.2f}; {d['crosstalk']:.1f}" for d in three_ways),
                )
            continue
        beside = likely.get(f"lines/{PAIR}/2um/{PUPILS[arm]}")
        best = [f" ({beside[f'{p:g}']['right']:.1f})" if beside else "" for p in PHOTONS]
        yield (
            f"decoder alone, species read rightly (%), {PAIR} nm over 2 um, {arm}, at "
            f"{', '.join(f'{p:g}' for p in PHOTONS)} photons on 50; in brackets the likelihood ratio, same images",
            "the likelihood ratio's" if arm == "tetrapod" else f">= {TARGET} at 1000",
            ", ".join(f"{one[f'{p:g}']['right']:.1f}{text}" for p, text in zip(PHOTONS, best, strict=True)),
        )
        dense = [one[f"dense {p:g}"] for p in PHOTONS]
        yield (
            f"decoder alone, {DENSE} emitters in a frame (0.31 per um^2), {arm}: Jaccard index of the worse species; "
            "pairs of the wrong species (%)",
            ">= 0.85; <= 5",
            ", ".join(f"{min(d['jaccard_by_species']):.2f}; {d['crosstalk']:.1f}" for d in dense),
        )


def main() -> None:
    parser = cell_parser(__doc__, 500)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "colour-decoder", help="where decoders are kept")
    parser.add_argument("--steps", type=int, default=3000, help="of a training (3000)")
    options = parser.parse_args()
    about = {"background": BACKGROUND, "photons": PHOTONS, "preset": "two-colours"}
    cells = [*PUPILS, THREE]
    fill(NAME, cells, lambda cell, n: measure(cell, n, options.runs, options.steps), options, **about)
    print(RESULTS / f"{NAME}.json")


if __name__ == "__main__":
    main()
