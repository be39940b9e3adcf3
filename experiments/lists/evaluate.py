"""`colocus evaluate LOCS --truth TRUTH`: every score of a localization list against the truth, with intervals."""

import dataclasses
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from localization import (
    Gate,
    Interval,
    Localizations,
    PrecisionRecall,
    Score,
    SubpixelUniformity,
    UncertaintyCalibration,
    average_precision,
    bootstrap,
    calibrate_uncertainty,
    chance_score,
    precision_recall_curve,
    score_frames,
    subpixel_uniformity,
)
from optics.whole_file import write_text
from training import ConfigError

_NM_PER_UM = 1000.0
# metric of Score, its name in the table, factor to the table's unit, decimals
_SHOWN = (
    ("jaccard", "Jaccard", 1.0, 3),
    ("precision", "precision", 1.0, 3),
    ("recall", "recall", 1.0, 3),
    ("rmse_xy_um", "RMSE lateral (nm)", _NM_PER_UM, 1),
    ("rmse_z_um", "RMSE axial (nm)", _NM_PER_UM, 1),
    ("rmse_3d_um", "RMSE 3D (nm)", _NM_PER_UM, 1),
    ("bias_x_um", "bias x (nm)", _NM_PER_UM, 1),
    ("bias_y_um", "bias y (nm)", _NM_PER_UM, 1),
    ("bias_z_um", "bias z (nm)", _NM_PER_UM, 1),
    ("efficiency_lateral", "efficiency lateral (%)", 1.0, 1),
    ("efficiency_axial", "efficiency axial (%)", 1.0, 1),
    ("efficiency_3d", "efficiency 3D (%)", 1.0, 1),
)
_NEEDS_Z = ("rmse_z_um", "rmse_3d_um", "bias_z_um", "efficiency_axial", "efficiency_3d")


@dataclass(frozen=True)
class EvaluateConfig:
    """How a table is scored.

    A gate is (lateral, axial) in nm, or (radius,) for a ball (a disc in 2D). `dimensions` "auto" is 2 where found
    or truth has z = 0 throughout, which is how a table without z is read. `pixel_nm`, the camera's pixel, asks
    for the sub-pixel uniformity too. `resamples` draws of frames make the intervals.
    """

    gates_nm: tuple[tuple[float, ...], ...] = ((250.0, 500.0),)
    dimensions: Literal["auto", "2", "3"] = "auto"
    pixel_nm: float | None = None
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class GateResult:
    """Everything at one gate; `chance` is the score of as many points placed at random."""

    name: str
    scores: dict[str, Interval]
    chance: Score
    curve: PrecisionRecall
    average_precision: Interval
    calibration: UncertaintyCalibration


@dataclass(frozen=True, eq=False)
class TableResult:
    """All gates, and what does not depend on one."""

    gates: list[GateResult]
    dimensions: int
    n_found: int
    n_truth: int
    n_frames: int
    uniformity: SubpixelUniformity | None


def evaluate_table(found: Localizations, truth: Localizations, config: EvaluateConfig) -> TableResult:
    """Score a table at every gate of `config`. Raises ConfigError for a gate that makes no sense."""
    flat = is_flat(found, truth, config)
    gates = []
    for gate_nm in config.gates_nm:
        gate = _gate(gate_nm, flat)
        per_frame = score_frames(found, truth, **gate)
        curve = precision_recall_curve(found, truth, **gate)
        gates.append(
            GateResult(
                name=gate.name,
                scores=_intervals(per_frame, config),
                chance=chance_score(found, truth, rng=config.seed, **gate),
                curve=curve,
                average_precision=average_precision(curve, rng=config.seed, n=config.resamples),
                calibration=calibrate_uncertainty(found, truth, **gate),
            )
        )
    uniformity = None if config.pixel_nm is None else subpixel_uniformity(found, config.pixel_nm / _NM_PER_UM)
    frames = np.union1d(found.frame, truth.frame).size
    return TableResult(gates, 2 if flat else 3, found.frame.size, truth.frame.size, frames, uniformity)


def is_flat(found: Localizations, truth: Localizations, config: EvaluateConfig) -> bool:
    """Whether z is left out of the scores."""
    if config.dimensions != "auto":
        return config.dimensions == "2"
    return any(locs.frame.size > 0 and not locs.z_um.any() for locs in (found, truth))


def _gate(gate_nm: tuple[float, ...], flat: bool) -> Gate:
    sizes_um = [size / _NM_PER_UM for size in gate_nm]
    if len(sizes_um) == 1:
        return Gate(ball_um=sizes_um[0], axial_um=None if flat else 0.5)
    if len(sizes_um) != 2:
        raise ConfigError(f"gate {gate_nm}: give lateral,axial or one radius, in nm")
    return Gate(sizes_um[0], None if flat else sizes_um[1])


def _intervals(per_frame, config: EvaluateConfig) -> dict[str, Interval]:
    if per_frame.frame.size:
        return bootstrap(per_frame, rng=config.seed, n=config.resamples)
    from localization import score_total  # both tables are empty: there is nothing to draw

    whole = asdict(score_total(per_frame))
    return {name: Interval(float(value), float(value), float(value), 1.0) for name, value in whole.items()}


def table(result: TableResult) -> list[str]:
    """The results as lines of text."""
    lines = [
        f"{result.n_found} found, {result.n_truth} true, in {result.n_frames} frames; "
        + ("x and y alone" if result.dimensions == 2 else "x, y and z")
    ]
    if result.n_frames == 1:
        lines.append("One frame: the intervals, drawn over frames, say nothing.")
    for gate in result.gates:
        lines += ["", f"{f'gate {gate.name}':24}{'':9}{'95 % interval':>20}   at random"]
        for metric, name, factor, decimals in _SHOWN:
            if result.dimensions == 3 or metric not in _NEEDS_Z:
                random = _number(factor * getattr(gate.chance, metric), decimals)
                lines.append(_line(name, gate.scores[metric], factor, decimals) + f"{random:>12}")
        lines.append(_line("average precision", gate.average_precision, 1.0, 3))
        if gate.curve.threshold.size > 1:
            best = int(np.argmax(gate.curve.jaccard))
            text = f"{gate.curve.jaccard[best]:.3f} at score >= {gate.curve.threshold[best]:.4g}"
            lines.append(f"{'best Jaccard':24}{text}")
        lines += _calibration_lines(gate.calibration, result.dimensions)
    if result.uniformity is not None:
        u = result.uniformity
        text = f"x {u.x:.3f}, y {u.y:.3f} (even positions stay below {u.by_chance:.3f} in 95 % of tables)"
        lines += ["", f"{'sub-pixel KS distance':24}{text}" if u.n else "no positions to test for sub-pixel bias"]
    return lines


def _line(name: str, value: Interval, factor: float, decimals: int) -> str:
    low, high = (_number(factor * end, decimals) for end in (value.low, value.high))
    between = "-" if "-" in (low, high) else f"{low} to {high}"
    return f"{name:24}{_number(factor * value.estimate, decimals):>9}{between:>20}"


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else "-"


def _calibration_lines(calibration: UncertaintyCalibration, dimensions: int) -> list[str]:
    parts = []
    for name in "xyz"[:dimensions]:
        axis = getattr(calibration, name)
        if axis.n:
            parts.append(f"{name} {axis.ratio:.2f} +- {axis.ratio_error:.2f} (rms {axis.ratio_rms:.2f})")
    return [f"{'error / predicted sigma':24}{', '.join(parts) or 'no sigma in the table'}"]


def write(config: EvaluateConfig, result: TableResult, out: Path) -> list[Path]:
    """Write the numbers as JSON to `out`, and a figure beside it (.png)."""
    from experiments.lists.evaluate_figure import draw
    from experiments.report.plot_style import save_png

    gates = []
    for gate in result.gates:
        curve = dataclasses.asdict(gate.curve)
        for name in ("frame_found", "frame_pairs", "frame_truth"):
            del curve[name]
        gates.append({**dataclasses.asdict(gate), "curve": curve})
    numbers = {**{name: value for name, value in vars(result).items() if name != "gates"}, "gates": gates}
    if result.uniformity is not None:
        numbers["uniformity"] = asdict(result.uniformity)
    figure = out.with_suffix(".png")
    save_png(draw(result), figure)
    write_text(out, json.dumps(plain({"config": asdict(config), **numbers}), indent=1, allow_nan=False) + "\n")
    return [out, figure]


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, numbers that are not finite as null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
