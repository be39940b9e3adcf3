"""Simulated 3D, high and low SNR: the joint fit, a list decoder before it, AutoDS3D's and DeepSTORM3D's networks.

    python benchmarks/simulated_3d.py [--frames 1000] [--only 'high/*'] [--figure]

An astigmatic pupil over 1.2 um, frames of 32 x 32 px with 1 to 8 emitters (0.14 to 1.1 per um2), a background of 20 to
28 photons; 3,000 to 6,600 photons an emitter (high SNR) or 600 to 1,320 (low), as AutoDS3D's 0.5 to 1.1 of an estimate.
Light beyond the stamps is even, for all alike. Every network is trained once, on both (600 to 6,600 photons), for as
many steps as take three to five minutes of one core, where the published trainings take an hour of a GPU; frames are
drawn anew in every step. AutoDS3D's: its network (LON), blobs of 0.65 voxel, mean squared error, Adam at 1e-3, 40
planes, no upsampling. DeepSTORM3D's: its network without upsampling and dilation, its KDE and overlap loss, 40 planes.
Each network is read at the threshold of the best Jaccard index on 128 other frames of its training's scenes. All times
are processor seconds of one thread.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

import localization
from crowds.record import cell_parser, fill, rounded
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.methods import make_reader
from localization import Gate, Localizations, bootstrap, score_frames
from measure.record import Rows
from training import RunConfig, build, emitters_to_localizations, fit, from_dict, load_run, make_decoder, read_output
from training.build import Parts
from training.config import SceneConfig
from training.decoders import find_kind
from training.evaluate import read_frames, scored_frames
from training.scenes import frame_keys, simulate
from training.state import TrainState
from worlds import ROOT

PLACE = 127  # of its rows in benchmarks/README.md

WORK = ROOT / "runs" / "simulated_3d"
LIGHT = {"high": (3000.0, 6600.0), "low": (600.0, 1320.0)}
SEED = 44_303
MICROSCOPE = {"na": 1.45, "n_immersion": 1.518, "n_sample": 1.33, "wavelength_um": 0.67, "pixel_um": 0.11,
              "focus_um": 0.6}  # fmt: skip
SCENE = {"frame_px": 32, "count_min": 1, "count_max": 8, "z_min_um": 0.0, "z_max_um": 1.2, "margin_um": 0.4,
         "photons_min": 600.0, "photons_max": 6600.0, "background_min": 20.0, "background_max": 28.0}  # fmt: skip
VOLUME = {"depth_voxels": 40, "scaling": 800.0}
NETWORKS: dict[str, dict[str, Any]] = {  # decoder, method of its optimiser, steps in three to five minutes of one core
    "list": {"decoder": {"kind": "list", "channels": 48, "head_channels": 32, "dilations": [1, 2, 4, 8, 1, 2, 4, 1]},
             "method": "muon", "steps": 3000},
    "autods3d": {"decoder": {"kind": "blobs", **VOLUME, "dilations": [1, 1, 2, 4, 8, 16]},
                 "method": "adam", "steps": 950},
    "deepstorm3d": {"decoder": {"kind": "volume", **VOLUME}, "method": "adam", "steps": 440},
}  # fmt: skip
METHODS = {"joint": "joint fit", "list+joint": "decoder, then joint fit", "list": "list decoder",
           "autods3d": "AutoDS3D's network", "deepstorm3d": "DeepSTORM3D's, no upsampling"}  # fmt: skip
THRESHOLDS = (0.1, 0.2, 0.35, 0.5, 1.0, 2.0)  # over the kind's own
GATES = {"250/500": Gate(), "100 nm ball": Gate(ball_um=0.1)}
SHOWN = ("jaccard", "precision", "recall", "rmse_xy_um", "rmse_z_um")
SPOKES = ("generation_s", "training_s", "inference_s", "post_s", "missed", "lateral_nm", "axial_nm")
BATCH = 16


def run_of(kind: str) -> RunConfig:
    net = NETWORKS[kind]
    optimiser = {"steps": net["steps"], "batch": 8, "method": net["method"], "checkpoint_every": 100, "log_every": 50,
                 "learning_rate": 1e-3 if net["method"] == "adam" else 1.5e-3}  # fmt: skip
    tables = {"microscope": MICROSCOPE, "psf": {"stamp_px": 25}, "mask": {"name": "astigmatism", "rms_um": 0.07},
              "scene": SCENE, "decoder": net["decoder"], "optimiser": optimiser}  # fmt: skip
    return from_dict(RunConfig, tables)


def train(kind: str) -> tuple[Path, float]:
    """Train, or go on; returns the folder and the processor seconds of all steps, those of compiling left out."""
    folder, cost = WORK / kind, WORK / f"{kind}.json"
    if cost.exists():
        return folder, json.loads(cost.read_text())["cpu_s"]
    spent: list[tuple[int, float]] = []
    fit(run_of(kind), folder, resume=folder.exists(), report=lambda e: spent.append((e.done, time.process_time())))
    (_, compiled), (n, last) = spent[0], spent[-1]
    taken = n - spent[0][0]  # less than all where the training was interrupted
    seconds = (last - compiled) / taken * NETWORKS[kind]["steps"]
    cost.write_text(json.dumps({"cpu_s": seconds, "measured_steps": taken}))
    return folder, seconds


def scene_of(snr: str) -> SceneConfig:
    low, high = LIGHT[snr]
    return dataclasses.replace(run_of("list").scene, photons_min=low, photons_max=high)


def test_frames(snr: str, frames: int) -> tuple[NDArray, Localizations]:
    drawn = scored_frames(build(run_of("list")), None, scene_of(snr), SEED, frames)
    return np.asarray(drawn.images), emitters_to_localizations(drawn.emitters)


def generation_s(kind: str) -> float:
    """Processor seconds that a training's frames take to draw."""
    parts, n = build(run_of(kind)), 64
    draw = jax.jit(lambda keys: simulate(keys, parts.psf, parts.scene, parts.background, parts.camera).images)

    def once(first: int) -> float:
        start = time.process_time()
        draw(frame_keys(jax.random.key(1), first, n)).block_until_ready()
        return time.process_time() - start

    once(0)
    seconds = float(np.median([once(n * k) for k in range(1, 8)])) / n
    return seconds * parts.run.optimiser.steps * parts.run.optimiser.batch


def read_network(kind: str, folder: Path, images: NDArray) -> tuple[Localizations, dict[str, float]]:
    """The list, and the processor seconds of the network and of the read-out, compiling left out."""
    run, state = load_run(folder)
    parts = build(run)
    decode, found, inference, post = make_decoder(parts, state.variables), [], 0.0, 0.0
    threshold = best_threshold(parts, state)
    for first in range(0, len(images), BATCH):
        piece = images[first : first + BATCH]
        n = len(piece)
        full = np.concatenate([piece, np.zeros((BATCH - n, *piece.shape[1:]), piece.dtype)])
        start = time.process_time()
        output = jax.block_until_ready(decode(full))
        between = time.process_time()
        output = jax.tree.map(lambda leaf, n=n: np.asarray(leaf)[:n], output)
        found.append(read_output(parts, output, first_frame=first, threshold=threshold))
        inference, post = inference + between - start, post + time.process_time() - between
    return localization.concatenate(found), {"inference_s": inference, "post_s": post, "threshold": threshold}


def best_threshold(parts: Parts, state: TrainState) -> float:
    """The threshold of the best Jaccard index on frames of the training's scenes that nothing else sees."""
    frames = scored_frames(parts, state, parts.run.scene, SEED + 1, 128)
    truth, own = emitters_to_localizations(frames.emitters), find_kind(parts.run.decoder.kind).threshold(parts.run)
    tried = [own * factor for factor in THRESHOLDS if own * factor < 1]
    lists = [read_frames(parts, state, frames, threshold=threshold) for threshold in tried]
    return max(zip(tried, lists, strict=True), key=lambda pair: localization.score(pair[1], truth).jaccard)[0]


def read_joint(method: str, images: NDArray) -> tuple[Localizations, dict[str, float]]:
    reader = make_reader(WORK / "list", LocalizeConfig(method=method))  # pyright: ignore[reportArgumentType]
    reader.read(images[:BATCH], 0)  # compiles
    found, start = [], time.process_time()
    for first in range(0, len(images), BATCH):
        found.append(reader.read(images[first : first + BATCH], first))
    return localization.concatenate(found), {"inference_s": time.process_time() - start, "post_s": 0.0}


def measure(cell: str, frames: int) -> dict:
    snr, method = cell.split("/")
    images, truth = test_frames(snr, frames)
    trained = {"joint": None, "list+joint": "list"}.get(method, method)
    folder, training = train(trained or "list")
    if method in NETWORKS:
        found, reading = read_network(method, folder, images)
    else:
        found, reading = read_joint("joint" if trained is None else "decoder+joint", images)
    result: dict[str, Any] = {"frames": frames, "emitters": truth.frame.size, "found": found.frame.size}
    for name, gate in GATES.items():
        scored = bootstrap(score_frames(found, truth, **gate, n_frames=frames), rng=0)
        result[name] = {key: rounded([scored[key].estimate, scored[key].low, scored[key].high]) for key in SHOWN}
    result["times"] = rounded(
        {
            "generation_s": 0.0 if trained is None else generation_s(trained),
            "training_s": 0.0 if trained is None else training,
            "steps": 0 if trained is None else NETWORKS[trained]["steps"],
            **reading,
        },
        3,
    )
    return result


def spokes(cell: dict) -> dict[str, float]:
    """What the radar shows: less is better on each."""
    scored = cell["250/500"]
    return {
        **{name: cell["times"][name] for name in SPOKES[:4]},
        "missed": 1 - scored["jaccard"][0],
        "lateral_nm": 1e3 * scored["rmse_xy_um"][0],
        "axial_nm": 1e3 * scored["rmse_z_um"][0],
    }


def rows(numbers: dict) -> Rows:
    cells = numbers["cells"]
    for snr in LIGHT:
        mine = {m: spokes(cells[f"{snr}/{m}"]) for m in METHODS if f"{snr}/{m}" in cells}
        if not mine:
            continue
        names = "; ".join(METHODS[m] for m in mine)
        frames = min(cells[f"{snr}/{m}"]["frames"] for m in mine)
        yield (
            f"simulated 3D, {snr} SNR, {frames} frames; {names}: 1 - Jaccard, lateral, axial RMSE (nm)",
            "the first two ahead",
            "; ".join(f"{s['missed']:.3f}, {s['lateral_nm']:.0f}, {s['axial_nm']:.0f}" for s in mine.values()),
        )
        yield (
            "their processor seconds: drawing, training, network or fit, read-out of its output",
            "reported",
            "; ".join(", ".join(f"{s[name]:.3g}" for name in SPOKES[:4]) for s in mine.values()),
        )


def draw(numbers: dict) -> Path:
    """The radar: a panel for each SNR, a polygon for each method, farther out is worse."""
    from experiments.report.plot_style import FIXED_COLOURS, LEARNED_COLOURS, MARKERS, new_figure, save_png, styled

    labels = ("drawing (s)", "training (s)", "reading (s)", "read-out (s)", "1 - Jaccard", "lateral RMSE\n(nm)",
              "axial RMSE\n(nm)")  # fmt: skip
    colours = (LEARNED_COLOURS[0], FIXED_COLOURS[4], FIXED_COLOURS[1], FIXED_COLOURS[0], FIXED_COLOURS[2])
    cells = numbers["cells"]
    turn = np.linspace(0, 2 * np.pi, len(SPOKES), endpoint=False)
    with styled():
        figure = new_figure(9.8, 5.4)
        figure.set_layout_engine("none")
        for k, snr in enumerate(LIGHT):
            axes: Any = figure.add_axes((0.07 + 0.5 * k, 0.17, 0.36, 0.66), projection="polar")
            mine = {m: spokes(cells[f"{snr}/{m}"]) for m in METHODS if f"{snr}/{m}" in cells}
            table = np.array([[s[name] for name in SPOKES] for s in mine.values()], float)
            low = np.where(table > 0, table, np.inf).min(axis=0)
            span = np.log(np.maximum(table.max(axis=0) / low, 1.0001))
            radius = np.where(table > 0, 0.25 + 0.75 * np.log(np.maximum(table, 1e-12) / low) / span, 0.0)
            for row, method in zip(radius, mine, strict=True):
                which, closed = list(METHODS).index(method), np.append(row, row[0])
                style = {"color": colours[which], "marker": MARKERS[which], "lw": 1.6, "ms": 5}
                axes.plot(np.append(turn, 0), closed, label=METHODS[method], **style)
            axes.set_xticks(turn, [f"{a}\n{_range(b)}" for a, b in zip(labels, table.T, strict=True)], fontsize=8)
            axes.set_yticks([0.25, 1.0], ["least", "most"], fontsize=7)
            axes.tick_params(axis="x", pad=14)
            axes.set_ylim(0, 1.08)
            figure.text(0.25 + 0.5 * k, 0.96, f"{snr} SNR: nearer the centre is better", ha="center")
        figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=5, fontsize=8)
    path = ROOT / "docs" / "figures" / "simulated_3d.png"
    save_png(figure, path)
    return path


def _range(values: NDArray) -> str:
    some = values[values > 0]
    return f"{some.min():.3g} - {some.max():.3g}"


def main() -> None:
    parser = cell_parser(__doc__, 1000)
    parser.add_argument("--train", choices=[*NETWORKS], help="train that network only")
    parser.add_argument("--figure", action="store_true", help="draw the radar too")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if options.train:
        print(*train(options.train))
        return
    about = {"emitters_per_frame": [SCENE["count_min"], SCENE["count_max"]], "photons": LIGHT}
    numbers = fill("simulated_3d", [f"{snr}/{m}" for snr in LIGHT for m in METHODS], measure, options, **about)
    if options.figure:
        print(draw(numbers))


if __name__ == "__main__":
    main()
