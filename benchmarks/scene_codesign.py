"""Mask and decoder learned together on learned scenes, against the same on plain simulation.

    python benchmarks/scene_codesign.py [--steps 4000] [--seeds 0 1 2] [--only plain tuned learned oracle]

All start from the mask that the movie was recorded with (the Tetrapod of `scene_world`'s "3d") and learn the same
family of masks with the same decoder, steps and rates; only the frames differ: plain simulation, simulation tuned to
the movie by hand, scenes of the generator that was fitted to the movie, and the experiment itself. Each mask is then
put into the experiment, whose aberrations none of them knew, and its decoder reads fresh frames of every cell: the same
emitters, background and place on the camera for all, so that differences are paired, with intervals by resampling
frames. "fixed" is a decoder alone, trained on learned scenes behind the mask as it was.
"""

import argparse
import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from measure.record import Rows, commit, write_result
from optics.masks import params as mask_params
from optics.pytree import replace
from training.config import LearnConfig, RunConfig
from training.instrument import build_family
from worlds.scene_decoder import Key, judge, make_parts, train
from worlds.scene_gather import curves, mean_area
from worlds.scene_learned import RUNS, add_learning, learned_scenes, learning_of
from worlds.scene_rows import is_there, prepared, result_folder, write_row
from worlds.scene_sources import generated, oracle, run_config, simulated
from worlds.scene_world import CELLS, with_mask

PLACE = 300  # of its rows in benchmarks/README.md

ARMS = ("plain", "tuned", "learned", "oracle", "fixed")
KIND, RESAMPLES = "3d", 300


def learning_run(run: RunConfig, rate_rad: float) -> RunConfig:
    """The run with a mask to learn: Zernike modes, slowly."""
    return dataclasses.replace(
        run, learn=LearnConfig(parametrisation="zernike", n_modes=28, learning_rate_rad=rate_rad)
    )


def one_row(arguments: argparse.Namespace, arm: str, seed: int) -> None:
    path = arguments.out / f"{arm}-seed{seed}.json"
    asked = {"steps": arguments.steps, "rate_rad": arguments.rate, "test_frames": arguments.frames}
    if is_there(path, asked):
        return
    world, _, tuning = prepared(KIND, arguments.movie)
    run = run_config(world, tuning, steps=arguments.steps, seed=seed)
    if arm in ("plain", "tuned"):
        draw = simulated(world, run, tuning, tuned=arm == "tuned", differentiable=True)
    elif arm == "oracle":
        draw = oracle(world, differentiable=True)
    else:
        scenes, _ = learned_scenes(KIND, world, learning_of(arguments), arguments.generators)
        draw = generated(scenes, differentiable=arm == "learned")
    start: Any = world.psf_believed.mask
    if arm == "fixed":
        parts, mask = make_parts(world, run), None
        state, trained = train(parts, draw)
    else:
        run = learning_run(run, arguments.rate)
        assert run.learn is not None
        family = build_family(run.learn, run.microscope.wavelength_um)
        params = mask_params.init_params(family, start)
        parts = make_parts(world, run, lambda p: mask_params.to_mask(family, p), params)
        state, trained = train(parts, draw)
        mask = mask_params.to_mask(family, state.mask_params)
    psf = world.psf_believed if mask is None else replace(world.psf_believed, mask=mask)
    key = Key(with_mask(world, psf))
    row = {
        "arm": arm,
        "seed": seed,
        **asked,
        "training": trained,
        "cells": [judge(parts, state.variables, key, cell, arguments.frames) for cell in CELLS],
        "opd_um": None if mask is None else np.round(np.asarray(mask.opd_um)[::4, ::4], 4).tolist(),
        "commit": commit(),
    }
    write_row(path, row)
    print(f"{path.name}: average precision {mean_area(curves([row]), range(len(CELLS)), None):.3f}", flush=True)


def gather(out: Path) -> dict:
    """Average precision of every arm, all cells and the hard ones, and differences of the learned arm to the others."""
    rows = [json.loads(path.read_text()) for path in sorted(out.glob("*-seed*.json"))]
    if not rows:
        raise SystemExit(f"no rows in {out}")
    halves = {"all": range(len(CELLS)), "hard": [k for k, cell in enumerate(CELLS) if cell.hard]}
    arms = {arm: {row["seed"]: row for row in rows if row["arm"] == arm} for arm in {row["arm"] for row in rows}}
    numbers: dict = {"arms": {}, "differences": []}
    for arm, own in sorted(arms.items()):
        numbers["arms"][arm] = {
            "seeds": sorted(own),
            "average_precision": {
                half: round(mean_area(curves(own.values()), cells, None), 4) for half, cells in halves.items()
            },
            "jaccard": [
                round(float(np.mean([r["cells"][k]["jaccard"] for r in own.values()])), 4) for k in halves["all"]
            ],
            "rmse_xy_nm": _means(own, "rmse_xy_nm"),
            "rmse_z_nm": _means(own, "rmse_z_nm"),
            "steps": sorted({row["steps"] for row in own.values()}),
        }
    for (one, other), (half, cells) in itertools.product((("learned", a) for a in sorted(arms)), halves.items()):
        if other == "learned" or "learned" not in arms:
            continue
        seeds = sorted(set(arms[one]) & set(arms[other]))
        if seeds:
            pair = [[arms[name][seed] for seed in seeds] for name in (one, other)]
            numbers["differences"].append(
                {"of": one, "less": other, "half": half, "seeds": seeds, "average_precision": difference(*pair, cells)}
            )
    return numbers


def _means(rows: dict[int, dict], name: str) -> list[float | None]:
    found = []
    for k in range(len(CELLS)):
        values = [row["cells"][k][name] for row in rows.values() if row["cells"][k][name] is not None]
        found.append(round(float(np.mean(values)), 2) if values else None)
    return found


def difference(ones: list[dict], others: list[dict], cells) -> list[float]:
    """Mean difference with its 95 % interval: the same frames drawn for both, and seeds drawn in pairs."""
    rng = np.random.default_rng(0)
    both = [curves(rows) for rows in (ones, others)]
    n = len(ones[0]["cells"][0]["frames"]["truth"])

    def once(seeds, picks) -> float:
        a, b = (mean_area([rows[s] for s in seeds], cells, picks) for rows in both)
        return a - b

    every = range(len(ones))
    draws = [
        once(rng.integers(0, len(ones), len(ones)), [rng.integers(0, n, n) for _ in CELLS]) for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return [round(float(v), 4) for v in (once(every, None), low, high)]


def rows(numbers: dict) -> Rows:
    for d in numbers["differences"]:
        if d["less"] in ("plain", "tuned"):
            low, high = d["average_precision"][1:]
            yield (
                f"mask and decoder learned on learned scenes less {d['less']} ones, {d['half']} cells",
                "> 0",
                f"{d['average_precision'][0]:+.3f} ({low:+.3f} to {high:+.3f})",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=200, help="test frames of each cell")
    parser.add_argument("--rate", type=float, default=5e-3, help="of the mask, rad a step")
    add_learning(parser)
    parser.add_argument("--gather", action="store_true")
    parser.add_argument("--out", type=Path, default=RUNS / "scene_codesign")
    arguments = parser.parse_args()
    if not arguments.gather:
        for seed, arm in itertools.product(arguments.seeds, ARMS):
            if arm in arguments.only:
                one_row(arguments, arm, seed)
    numbers = gather(arguments.out)
    print(json.dumps(numbers["differences"], indent=1))
    print(write_result("scene_codesign", numbers, folder=result_folder(arguments.out)))


if __name__ == "__main__":
    main()
