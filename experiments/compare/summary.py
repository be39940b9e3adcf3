"""The numbers of a comparison: scores with intervals, differences from the reference, a verdict in words."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

import localization
from experiments.compare.arms import frame_scores
from experiments.compare.config import ExperimentConfig, Reading
from experiments.compare.results import WORDS, ArmResult
from experiments.compare.scoring import HEADLINE, RESAMPLES
from experiments.compare.species import summarised
from experiments.report.numbers import plain
from localization import FrameScores

METRICS = ("jaccard", "precision", "recall", "rmse_xy_um", "rmse_z_um", "efficiency_lateral", "efficiency_axial")
LEVEL = 0.95
_FAR = 1.5  # times its bound: from there on an error says more about the reader than about the mask
_RATIOS = ("jaccard", "precision", "recall")


def summarise(config: ExperimentConfig, results: list[ArmResult], missing: list[str]) -> dict[str, Any]:
    """Summarise everything that metrics.json holds; without a number a value is None."""
    by_arm: dict[tuple[str, str], list[ArmResult]] = {}
    for result in results:
        by_arm.setdefault((result.label, result.reading), []).append(result)
    reference = reference_label(config)
    differences = [
        row
        for (label, reading), group in by_arm.items()
        if label != reference and (reference, reading) in by_arm
        for row in _differences(config, group, by_arm[reference, reading])
    ]
    summary = {
        "title": config.title,
        "reference": reference,
        "seeds": list(config.seeds),
        "score_frames": config.score.frames,
        "level": LEVEL,
        "border_um": 0.0 if config.run.scene.stray == "even" else 0.5 * config.run.scene.margin_um,
        "intervals": interval_note(config),
        "missing": missing,
        "readings": [reading for reading in WORDS if any(result.reading == reading for result in results)],
        "arms": [_arm(group) for group in by_arm.values()],
        "differences": differences,
    }
    summary["verdict"] = verdict(summary)
    return plain(summary)


def of_reading(summary: dict[str, Any], reading: str) -> dict[str, Any]:
    """Take the part of a summary that one reading is: its arms and differences."""
    parts = {name: [row for row in summary[name] if row["reading"] == reading] for name in ("arms", "differences")}
    return summary | parts


def shown_name(arm: dict[str, Any], several: bool) -> str:
    """Name a row of scores: the arm, and who read it where there are several readings.

    >>> shown_name({"label": "flat", "reading": "joint"}, True)
    'flat, joint fit alone'
    """
    return f"{arm['label']}, {WORDS[arm['reading']]}" if several else arm["label"]


def reference_label(config: ExperimentConfig) -> str:
    """Choose the arm that the others are compared with: the one named, else the first that does not learn."""
    fixed = [arm.label for arm in config.arms if not arm.learn]
    return config.reference or (fixed[0] if fixed else "")


def interval_note(config: ExperimentConfig) -> str:
    """Say how the intervals were made."""
    if len(config.seeds) > 1:
        return (
            f"95 % Student t intervals over the {len(config.seeds)} trainings (seeds) of each arm; "
            "differences are paired by seed. They hold the luck of the training, the test frames being the "
            "same for all. An arm with one seed finished carries a bootstrap interval over its frames."
        )
    return (
        f"95 % percentile intervals of {RESAMPLES} bootstrap draws over the {config.score.frames} test "
        "frames of one training per arm; differences are paired, the same frames being drawn for both. They "
        "hold the luck of the frames, not that of the training: a second seed may differ by more."
    )


def _arm(group: list[ArmResult]) -> dict[str, Any]:
    first = group[0].scores
    cells = []
    for index, cell in enumerate(first["cells"]):
        gates = {}
        for gate in cell["gates"]:
            stored = [result.scores["cells"][index]["gates"][gate] for result in group]
            gates[gate] = {metric: _value(metric, stored) for metric in METRICS}
        kept = {key: cell[key] for key in ("name", "count", "density_per_um2", "photons", "background")}
        more = summarised([result.scores["cells"][index] for result in group])
        cells.append(kept | {"gates": gates} | more)
    return {
        "label": group[0].label,
        "reading": group[0].reading,
        "learned": group[0].arm.learn,
        "seeds": [result.seed for result in group],
        "steps": first["steps"],
        "train_seconds": [result.scores["train_seconds"] for result in group],
        "score_seconds": [result.scores["score_seconds"] for result in group],
        "cells": cells,
        "single": [
            {k: v for k, v in result.scores["single"].items() if k not in ("z_um", "error_um", "crlb_um")}
            for result in group
        ],
        "stamp": {"z_um": group[0].examples["z_um"].tolist(), "fraction": group[0].examples["stamp_fraction"].tolist()},
    }


def _value(metric: str, stored: list[dict[str, Any]]) -> dict[str, Any]:
    """Estimate one metric of one cell: of one seed with its frames' interval, or of several with their t interval."""
    per_seed = [gate["score"][metric] for gate in stored]
    if len(stored) == 1:
        low, high = stored[0]["interval"][metric]
        return {"estimate": per_seed[0], "low": low, "high": high, "per_seed": per_seed}
    mean, low, high = t_interval(per_seed)
    if metric in _RATIOS:
        low, high = max(low, 0.0), min(high, 1.0)
    return {"estimate": mean, "low": low, "high": high, "per_seed": per_seed}


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Compute mean and Student t interval of a few values; NaN where fewer than two are finite.

    >>> [round(x, 2) for x in t_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    finite = np.array([value for value in values if value is not None and math.isfinite(value)])
    if finite.size < 2:
        return float(finite.mean()) if finite.size else math.nan, math.nan, math.nan
    half = stdtrit(finite.size - 1, 0.5 + LEVEL / 2) * finite.std(ddof=1) / math.sqrt(finite.size)
    return float(finite.mean()), float(finite.mean() - half), float(finite.mean() + half)


def _differences(config: ExperimentConfig, arm: list[ArmResult], reference: list[ArmResult]) -> list[dict[str, Any]]:
    """Subtract reference from arm in every cell and gate, over the seeds that both have finished."""
    others = {result.seed: result for result in reference}
    pairs = [(result.scores, others[result.seed].scores) for result in arm if result.seed in others]
    rows = []
    for cell in arm[0].scores["cells"] if pairs else []:
        for gate in cell["gates"]:
            frames = [tuple(frame_scores(side, cell["name"], gate) for side in pair) for pair in pairs]
            pooled = localization.bootstrap_difference(
                _sum([a for a, _ in frames]), _sum([b for _, b in frames]), rng=config.score.seed, n=RESAMPLES
            )
            row = {
                "arm": arm[0].label,
                "reading": arm[0].reading,
                "reference": reference[0].label,
                "cell": cell["name"],
                "count": cell["count"],
                "density_per_um2": cell["density_per_um2"],
                "gate": gate,
                "metrics": {metric: _difference(metric, pooled[metric], frames) for metric in METRICS},
            }
            rows.append(row)
    return rows


def _sum(per_frame: list[FrameScores]) -> FrameScores:
    """Add up the seeds frame by frame: they read the same scenes, so a frame is drawn for all at once."""
    names = [field.name for field in dataclasses.fields(FrameScores)[1:]]
    totals = {name: np.sum([getattr(scores, name) for scores in per_frame], axis=0) for name in names}
    return FrameScores(frame=per_frame[0].frame, **totals)


def _difference(metric: str, pooled: localization.Interval, frames: list[tuple[FrameScores, ...]]) -> dict[str, Any]:
    over_frames = {"estimate": pooled.estimate, "low": pooled.low, "high": pooled.high, "over": "frames"}
    if len(frames) == 1:
        return over_frames
    totals = [[getattr(localization.score_total(side), metric) for side in pair] for pair in frames]
    mean, low, high = t_interval([a - b for a, b in totals])
    return {"estimate": mean, "low": low, "high": high, "over": "seeds", "over_frames": over_frames}


def verdict(summary: dict[str, Any]) -> list[str]:
    """Say what the comparison shows at the headline gate, in sentences that say no more than the intervals."""
    if len(summary["readings"]) < 2:
        return _verdict_at(summary)
    sentences = []
    for reading in summary["readings"]:
        first, *more = _verdict_at(of_reading(summary, reading))
        sentences += [f"Read by {WORDS[reading]}: {first}", *more]
    return sentences + isolated(summary)


def isolated(summary: dict[str, Any]) -> list[str]:
    """Say how near its bound each reading places isolated emitters, and what a decoder far from it means."""
    worst: dict[Reading, list[tuple[str, float]]] = {}
    for reading in summary["readings"]:
        for arm in of_reading(summary, reading)["arms"]:
            ratios = [value for single in arm["single"] for value in single["ratio"] if value is not None]
            if ratios:
                worst.setdefault(reading, []).append((arm["label"], max(ratios)))
    if not worst:
        return []
    told = [
        f"{', '.join(f'{ratio:.2f} (“{label}”)' for label, ratio in arms)} read by {WORDS[reading]}"
        for reading, arms in worst.items()
    ]
    sentences = [f"Isolated emitters, RMS error over the precision bound, the worst of x, y and z: {'; '.join(told)}."]
    if max((ratio for _, ratio in worst.get("decoder", [])), default=0.0) > _FAR:
        sentences.append(
            "A bound is what the mask allows. A decoder that stays far above it has not learned to read the mask yet: "
            "its scores are those of so long a training. What the mask can do is what the joint fit reads, which needs "
            "none."
        )
    return sentences


def _verdict_at(summary: dict[str, Any]) -> list[str]:
    """The verdict of one reading."""
    arms = {arm["label"]: arm for arm in summary["arms"]}
    reference = summary["reference"]
    learned = [label for label, arm in arms.items() if arm["learned"]]
    if not arms:
        return ["No arm is finished yet."]
    if not learned or reference not in arms or not summary["differences"]:
        best = max(arms.values(), key=lambda arm: _order(_densest(arm)["gates"][HEADLINE]["jaccard"]))
        at = _densest(best)
        value = at["gates"][HEADLINE]["jaccard"]
        sentence = f"At {_scene(at)} the arm “{best['label']}” reaches a Jaccard index of {_with_interval(value)}."
        if not learned and not summary["missing"]:
            return [sentence]
        return [sentence, "A learned arm and a reference are not both finished, so nothing is compared."]
    sentences = []
    for label in learned:
        rows = [
            row
            for row in summary["differences"]
            if row["arm"] == label and row["gate"] == HEADLINE and row["cell"].startswith("count ")
        ]
        if rows:
            sentences += _verdict_of(rows, arms[label], arms[reference])
    return sentences


def _verdict_of(rows: list[dict[str, Any]], arm: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    densest = max(rows, key=lambda row: row["count"])
    ours, theirs = (_cell(side, densest["cell"])["gates"][HEADLINE] for side in (arm, reference))
    difference = densest["metrics"]["jaccard"]
    values = f"a Jaccard index of {_number(ours['jaccard'])} against {_number(theirs['jaccard'])}"
    name, other = f"The mask learned in “{arm['label']}”", f"“{reference['label']}”"
    gap = _signed(difference["estimate"], 3)
    interval = f"95 % interval {_signed(difference['low'], 3)} to {_signed(difference['high'], 3)}"
    sentences = {
        1: f"{name} is ahead of {other} at the highest density, {_scene(densest)}: {values}, {gap} ({interval}).",
        -1: f"{name} is behind {other} at the highest density, {_scene(densest)}: {values}, {gap} ({interval}).",
        0: f"{name} and {other} cannot be told apart at the highest density, {_scene(densest)}: {values}, "
        f"{gap}, and the {interval} includes zero.",
    }
    found = [sentences[sign(difference)]]
    if len(rows) > 1:
        found.append(_over_densities(rows))
    errors = []
    for metric, direction in (("rmse_xy_um", "laterally"), ("rmse_z_um", "axially")):
        value = densest["metrics"][metric]
        if _known(ours[metric]) and _known(theirs[metric]) and _known(value):
            word = {1: "worse", -1: "better", 0: "no clear difference"}[sign(value)]
            a, b = (1e3 * side[metric]["estimate"] for side in (ours, theirs))
            low, high = (_signed(1e3 * value[end], 1) for end in ("low", "high"))
            errors.append(f"{a:.1f} nm against {b:.1f} nm {direction} ({word}; difference {low} to {high} nm)")
    if errors:
        found.append(f"RMS errors of the emitters found there are {' and '.join(errors)}.")
    return found


def _over_densities(rows: list[dict[str, Any]]) -> str:
    words = {1: "ahead", -1: "behind", 0: "not distinguishable (interval includes zero)"}
    groups = {k: [row["count"] for row in rows if sign(row["metrics"]["jaccard"]) == k] for k in words}
    present = [k for k in words if groups[k]]
    if len(present) == 1:
        return f"In Jaccard it is {words[present[0]]} at all {len(rows)} densities scored."
    pieces = [f"{words[k]} at {_and(groups[k])}" for k in present]
    return f"In Jaccard, of the {len(rows)} densities scored, it is {'; '.join(pieces)} emitters per frame."


def sign(difference: dict[str, Any]) -> int:
    """1 or -1 where the whole interval lies above or below zero, else 0."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def density_cells(arm: dict[str, Any]) -> list[dict[str, Any]]:
    """List the cells of an arm that differ in density alone, sparse first."""
    return sorted((c for c in arm["cells"] if c["name"].startswith("count ")), key=lambda c: c["count"])


def pair_cells(arm: dict[str, Any]) -> list[dict[str, Any]]:
    """List the cells of an arm at given photons and background."""
    return [cell for cell in arm["cells"] if not cell["name"].startswith("count ")]


def _densest(arm: dict[str, Any]) -> dict[str, Any]:
    return density_cells(arm)[-1]


def _cell(arm: dict[str, Any], name: str) -> dict[str, Any]:
    return next(cell for cell in arm["cells"] if cell["name"] == name)


def _scene(cell: dict[str, Any]) -> str:
    noun = "emitter" if cell["count"] == 1 else "emitters"
    return f"{cell['count']} {noun} per frame ({cell['density_per_um2']:.2f} per µm²)"


def _known(value: dict[str, Any]) -> bool:
    return all(value[key] is not None and math.isfinite(value[key]) for key in ("estimate", "low", "high"))


def _order(value: dict[str, Any]) -> float:
    return value["estimate"] if _known(value) else -1.0


def _number(value: dict[str, Any]) -> str:
    return f"{value['estimate']:.3f}" if value["estimate"] is not None else "–"


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _with_interval(value: dict[str, Any]) -> str:
    return f"{value['estimate']:.3f} (95 % interval {value['low']:.3f} to {value['high']:.3f})"


def _and(numbers: list[int]) -> str:
    texts = [str(number) for number in sorted(numbers)]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
