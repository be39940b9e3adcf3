"""Does it help to train on generated scenes? Four sources of frames, one decoder each, judged on the experiment.

    python benchmarks/scene_arms.py [--kinds 2d 3d] [--steps 3000] [--seeds 0 1 2] [--only naive generated]
    python benchmarks/scene_arms.py --ablations [--kinds 2d] [--seeds 0]
    python benchmarks/scene_arms.py [--ablations] --gather

Naive simulation, simulation tuned by hand to the movie, scenes of a generator fitted to the movie, and the experiment
itself (`scene_world`): the same decoder, steps and frames a step. Every finished row is a file under runs/scene_arms,
so that an interrupted command goes on where it was; at its end the rows that are there are gathered. The gap that the
generator closes is (c - a) / (d - a) in average precision, means over cells and seeds.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from measure.record import Rows, commit, write_result
from worlds.scene_decoder import judge, make_parts, train
from worlds.scene_gather import gather
from worlds.scene_learned import RUNS, Learning, add_learning, learning_of
from worlds.scene_rows import is_there, prepared, result_folder, write_row
from worlds.scene_sources import ARMS, run_config, source
from worlds.scene_world import CELLS, KINDS

PLACE = 250  # of its rows in benchmarks/README.md
RECORDS = ("scene_arms", "scene_ablations")

ABLATIONS = {
    "no haze": {"haze": False},
    "no background latent": {"background": False},
    "no noise latent": {"noise": False},
    "no jitter": {"places": "near", "jitter_um": 0.0},
    "no second look": {"second_look": False},
    "no law": {"law": False},
    "divergences x 0.1": {"kl": 0.1},
    "divergences x 10": {"kl": 10.0},
}


def rows(numbers: dict) -> Rows:
    for kind, own in numbers["kinds"].items():
        hard = {arm: row["average_precision"]["hard"] for arm, row in own["arms"].items()}
        if set(hard) <= {"generated", *ABLATIONS}:
            whole = hard.pop("generated")
            yield (
                f"decoder on generated scenes, {kind.upper()}, hard cells: average precision; with a part left out",
                "reported",
                f"{whole:.3f}; " + ", ".join(f"{label} {value:.3f}" for label, value in hard.items()),
            )
        if not own["gap"] or not own["gap"]["hard"].get("seeds"):
            continue
        hard, easy = own["gap"]["hard"], own["gap"]["easy"]
        seeds = f"{len(hard['seeds'])} seed{'s' if len(hard['seeds']) > 1 else ''}"
        if hard["closed"] is not None:
            low, high = hard["closed_interval"] or (float("nan"), float("nan"))
            yield (
                f"decoder on generated scenes, {kind.upper()}, hard cells: share of the gap in average precision from "
                f"naive simulation to the experiment itself ({hard['oracle_less_naive'][0]:.3f}), {seeds}",
                ">= 60 %",
                f"{100 * hard['closed']:.0f} % ({100 * low:.0f} to {100 * high:.0f})",
            )
        gain = easy["generated_less_naive"]
        yield (
            f"the same less naive simulation, {kind.upper()}, easy cells",
            ">= -0.01",
            f"{gain[0]:+.3f} ({gain[1]:+.3f} to {gain[2]:+.3f})",
        )


def main() -> None:
    arguments = parse()
    if not arguments.gather:
        for name in arguments.kinds:
            for label, arm, learning, seed in wanted(arguments):
                one_row(arguments, name, label, arm, learning, seed)
    name, labels = ("scene_ablations", ("generated", *ABLATIONS)) if arguments.ablations else ("scene_arms", ARMS)
    print(write_result(name, gather(arguments.out, labels), folder=result_folder(arguments.out)))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--only", nargs="+", help="arms, or with --ablations what is left out")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--steps", type=int, default=3000, help="of each decoder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=200, help="test frames of each cell")
    add_learning(parser)
    parser.add_argument("--gather", action="store_true", help="only gather the rows that are there")
    parser.add_argument("--out", type=Path, default=RUNS / "scene_arms")
    arguments = parser.parse_args()
    known = list(ABLATIONS if arguments.ablations else ARMS)
    arguments.only = known if arguments.only is None else arguments.only
    if unknown := sorted(set(arguments.only) - set(known)):
        parser.error(f"--only {unknown[0]!r} is none of {', '.join(known)}")
    return arguments


def wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Learning, int]]:
    """Label, source, learning and seed of every row that is asked for."""
    plain = learning_of(arguments)
    if arguments.ablations:
        for label in arguments.only:
            for seed in arguments.seeds[:1]:
                yield label, "generated", dataclasses.replace(plain, **ABLATIONS[label]), seed
        return
    for seed in arguments.seeds:
        for arm in (arm for arm in ARMS if arm in arguments.only):
            yield arm, arm, plain, seed


def row_path(out: Path, name: str, label: str, seed: int) -> Path:
    return out / f"{name}-{label.replace(' ', '_')}-seed{seed}.json"


def one_row(arguments: argparse.Namespace, name: str, label: str, arm: str, learning: Learning, seed: int) -> None:
    """Train and judge one decoder, unless its row is there."""
    path = row_path(arguments.out, name, label, seed)
    asked = {
        "steps": arguments.steps,
        "test_frames": arguments.frames,
        "learning": dataclasses.asdict(learning) if arm == "generated" else None,
    }
    if is_there(path, asked):
        return
    started = time.perf_counter()
    world, key, tuning = prepared(name, arguments.movie)
    run = run_config(world, tuning, steps=arguments.steps, seed=seed)
    draw, told = source(arm, name, world, run, tuning, learning, arguments.generators)
    parts = make_parts(world, run)
    state, trained = train(parts, draw)
    cells = [judge(parts, state.variables, key, cell, arguments.frames) for cell in CELLS]
    row = {
        "kind": name,
        "label": label,
        "arm": arm,
        "seed": seed,
        **asked,
        **told,
        "training": trained,
        "cells": cells,
        "commit": commit(),
        "seconds": time.perf_counter() - started,
    }
    write_row(path, row)
    hard = np.mean([c["average_precision"][0] for c in cells if c["hard"]])
    easy = np.mean([c["average_precision"][0] for c in cells if not c["hard"]])
    print(f"{path.name}: average precision {hard:.3f} hard, {easy:.3f} easy, {row['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
