"""The rows of the scene benchmarks put together: means over seeds, gaps between arms, intervals."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localization import average_precision
from localization.scores.precision_curve import PrecisionRecall
from worlds.scene_sources import ARMS
from worlds.scene_world import KINDS, STRENGTHS


def gather(out: Path, wanted: Iterable[str]) -> dict:
    """The rows of the labels `wanted`, by kind: means over seeds in each cell, and the share of the gap closed."""
    rows = [json.loads(path.read_text()) for path in sorted(out.glob("*-seed*.json"))]
    rows = [row for row in rows if row["label"] in set(wanted)]
    if not rows:
        raise SystemExit(f"no rows in {out}; run without --gather")
    numbers: dict = {"strengths": STRENGTHS, "photons": {n: k.photons for n, k in KINDS.items()}, "kinds": {}}
    for name in sorted({row["kind"] for row in rows}):
        own = [row for row in rows if row["kind"] == name]
        labels = {label: [row for row in own if row["label"] == label] for label in {row["label"] for row in own}}
        numbers["kinds"][name] = {
            "arms": {label: summary(some) for label, some in sorted(labels.items())},
            "gap": {half: closed(labels, half) for half in ("hard", "easy")} if set(ARMS) <= set(labels) else None,
        }
    return numbers


def summary(rows: list[dict]) -> dict:
    """One arm: over seeds the mean of every number of every cell."""
    cells = []
    for k, first in enumerate(rows[0]["cells"]):
        some = [row["cells"][k] for row in rows]
        numbers = ("jaccard", "jaccard_best", "precision", "recall", "rmse_xy_nm", "rmse_z_nm", "over_bound")
        cells.append(
            {"cell": first["cell"], "hard": first["hard"], "n_truth": first["n_truth"]}
            | {"average_precision": np.round(np.mean([c["average_precision"] for c in some], axis=0), 4).tolist()}
            | {name: _mean([c[name] for c in some]) for name in numbers}
        )
    halves = {
        half: round(float(np.mean([c["average_precision"][0] for c in cells if c["hard"] == (half == "hard")])), 4)
        for half in ("hard", "easy")
    }
    shared = {name: rows[0][name] for name in ("steps", "test_frames", "learning")}
    seconds = [round(row["training"]["seconds"], 1) for row in rows]
    return {"average_precision": halves, "seeds": [r["seed"] for r in rows], **shared, "training_s": seconds} | {
        "cells": cells
    }


def _mean(values: list) -> list | float | None:
    there = [v for v in values if v is not None]
    return np.round(np.mean(there, axis=0), 4).tolist() if there else None


def closed(labels: dict[str, list[dict]], half: str, resamples: int = 300) -> dict:
    """Average precision of (c) less (a) and of (d) less (a), and the ratio of the two, with intervals.

    Means over the half's cells and the seeds that all arms have; the same resampled test frames in all arms, and the
    seeds drawn again with them.
    """
    arms = {arm: {row["seed"]: row for row in labels[arm]} for arm in ("naive", "tuned", "generated", "oracle")}
    seeds = sorted(set.intersection(*(set(rows) for rows in arms.values())))
    if not seeds:
        return {"seeds": []}
    rng = np.random.default_rng(0)
    listed = arms["naive"][seeds[0]]["cells"]
    cells = [k for k, cell in enumerate(listed) if cell["hard"] == (half == "hard")]
    every = {arm: curves(rows[seed] for seed in seeds) for arm, rows in arms.items()}
    n = min(len(c.frame_truth) for rows in every.values() for row in rows for c in row)

    def means(picked: Iterable[int], picks: list[NDArray] | None) -> list[float]:
        picked = list(picked)
        return [mean_area([rows[s] for s in picked], cells, picks) for rows in every.values()]

    a, b, c, d = means(range(len(seeds)), None)
    draws = []
    for _ in range(resamples):
        picks = [rng.integers(0, n, n) for _ in listed]
        draws.append(means(rng.integers(0, len(seeds), len(seeds)), picks))
    drawn = np.array(draws)
    gain, tuned, gap = (drawn[:, k] - drawn[:, 0] for k in (2, 1, 3))
    return {
        "seeds": seeds,
        "generated_less_naive": [round(c - a, 4), *_interval(gain)],
        "generated_less_tuned": [round(c - b, 4), *_interval(gain - tuned)],
        "tuned_less_naive": [round(b - a, 4), *_interval(tuned)],
        "oracle_less_naive": [round(d - a, 4), *_interval(gap)],
        "closed": round((c - a) / (d - a), 3) if d - a >= 0.05 else None,
        "closed_interval": _interval(gain / gap) if (gap > 0.01).all() else None,
    }


def _interval(values: NDArray) -> list[float]:
    return np.round(np.quantile(values, [0.025, 0.975]), 4).tolist()


def curves(rows: Iterable[dict]) -> list[list[PrecisionRecall]]:
    """The curves of every cell of every row, with their counts per frame."""
    return [[_curve(cell["frames"]) for cell in row["cells"]] for row in rows]


def _curve(frames: dict) -> PrecisionRecall:
    found, pairs, truth, threshold = (np.asarray(frames[name]) for name in ("found", "pairs", "truth", "threshold"))
    total_found, total_pairs = found.sum(axis=0), pairs.sum(axis=0)
    return PrecisionRecall(
        threshold=threshold,
        precision=total_pairs / np.maximum(total_found, 1),
        recall=total_pairs / max(truth.sum(), 1),
        jaccard=total_pairs / np.maximum(total_found + truth.sum() - total_pairs, 1),
        n_found=total_found,
        true_positives=total_pairs,
        n_truth=int(truth.sum()),
        frame_found=found,
        frame_pairs=pairs,
        frame_truth=truth,
    )


def mean_area(
    rows: Sequence[Sequence[PrecisionRecall]], cells: Iterable[int], picks: Sequence[NDArray] | None
) -> float:
    """Mean average precision over rows and cells; `picks` says for each cell which frames count, None: all."""
    areas = []
    for k in cells:
        for row in rows:
            curve = row[k]
            if picks is not None:
                at = picks[k]
                curve = dataclasses.replace(
                    curve,
                    frame_found=curve.frame_found[at],
                    frame_pairs=curve.frame_pairs[at],
                    frame_truth=curve.frame_truth[at],
                )
            areas.append(average_precision(curve, rng=0, n=1).estimate)
    return float(np.mean(areas))
