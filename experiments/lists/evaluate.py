"""`colocus evaluate LOCS --truth TRUTH`: every score of a localization list against the truth, with intervals."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.report.metrics import METRICS, Metric
from experiments.report.numbers import NM_PER_UM, plain
from experiments.report.plot_style import FIXED_COLOURS, MARKERS, Figure, new_figure, save_png, styled
from localization import (
    Crosstalk,
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
    crosstalk,
    precision_recall_curve,
    score_frames,
    subpixel_uniformity,
)
from localization.extent import far_rows
from optics.progress import Event, Report, silent
from optics.whole_file import write_text
from training import ConfigError


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
    """Everything at one gate; `chance` is the score of as many points placed at random.

    `crosstalk` says who is listed as what, where there are several channels.
    """

    name: str
    scores: dict[str, Interval]
    chance: Score
    curve: PrecisionRecall
    average_precision: Interval
    calibration: UncertaintyCalibration
    crosstalk: Crosstalk | None = None


@dataclass(frozen=True, eq=False)
class ListScores:
    """All gates, and what does not depend on one."""

    config: EvaluateConfig
    gates: list[GateResult]
    dimensions: int
    n_found: int
    n_truth: int
    n_frames: int
    uniformity: SubpixelUniformity | None
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say the scores, gate by gate."""
        lines = [
            f"{self.n_found} found, {self.n_truth} true, in {self.n_frames} frames; "
            + ("x and y alone" if self.dimensions == 2 else "x, y and z")
        ]
        if self.n_frames == 1:
            lines.append("One frame: the intervals, drawn over frames, say nothing.")
        lines += [f"note: {note}" for note in self.notes]
        for gate in self.gates:
            lines += ["", f"{f'gate {gate.name}':24}{'':9}{'95 % interval':>20}   at random"]
            for name, metric in METRICS.items():
                if self.dimensions == 3 or not metric.needs_z:
                    chance = metric.text(getattr(gate.chance, name))
                    lines.append(_line(metric, gate.scores[name]) + f"{chance:>12}")
            lines.append(_line(Metric("average precision"), gate.average_precision))
            if gate.curve.threshold.size > 1:
                best = int(np.argmax(gate.curve.jaccard))
                text = f"{gate.curve.jaccard[best]:.3f} at score >= {gate.curve.threshold[best]:.4g}"
                lines.append(f"{'best Jaccard':24}{text}")
            lines += _calibration_lines(gate.calibration, self.dimensions)
            lines += _crosstalk_lines(gate.crosstalk)
        if self.uniformity is not None:
            u = self.uniformity
            text = f"x {u.x:.3f}, y {u.y:.3f} (even positions stay below {u.by_chance:.3f} in 95 % of tables)"
            lines += ["", f"{'sub-pixel KS distance':24}{text}" if u.n else "no positions to test for sub-pixel bias"]
        return lines

    def numbers(self) -> dict[str, Any]:
        """List settings, scores with intervals, curves and calibrations."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("config", "gates", "uniformity")}
        gates = [asdict(gate) for gate in self.gates]
        for gate in gates:
            for name in ("frame_found", "frame_pairs", "frame_truth"):
                del gate["curve"][name]
        numbers["uniformity"] = None if self.uniformity is None else asdict(self.uniformity)
        return plain({"config": asdict(self.config), **numbers, "gates": gates})

    def figure(self) -> Figure:
        """Draw precision against recall at every gate; at the first, errors over predicted sigma, and reliability."""
        first = self.gates[0].calibration
        known = [name for name in "xyz"[: self.dimensions] if getattr(first, name).n]
        colour = dict(zip("xyz", FIXED_COLOURS, strict=False))
        with styled():
            figure = new_figure(3.5 * (4 if known else 1), 3.1)
            panels = figure.subplots(1, 4 if known else 1, squeeze=False)[0]
            _draw_precision(panels[0], self.gates)
            if known:
                _draw_histogram(panels[1], first, known, colour)
                _draw_reliability(panels[2], first, known, colour)
                _draw_bins(panels[3], first, known, colour)
        return figure

    def write(self, out: Path) -> list[Path]:
        """Write the numbers as JSON to `out`, and a figure beside it (.png)."""
        picture = out.with_suffix(".png")
        save_png(self.figure(), picture)
        write_text(out, json.dumps(self.numbers(), indent=1, allow_nan=False) + "\n")
        return [out, picture]


def evaluate(
    found: Localizations, truth: Localizations, config: EvaluateConfig = EvaluateConfig(), report: Report = silent
) -> ListScores:
    """Score a localization list against the truth at every gate of `config`.

    Raises `ConfigError` for a gate that makes no sense.

    >>> from localization import make_localizations
    >>> truth = make_localizations([0, 1], [1.0, 2.0], [1.0, 2.0], [0.5, 0.6])
    >>> evaluate(truth, truth).gates[0].scores["jaccard"].estimate
    1.0
    """
    flat = is_flat(found, truth, config)
    gates = []
    for done, gate_nm in enumerate(config.gates_nm):
        report(Event("scoring, gate", done, len(config.gates_nm)))
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
                crosstalk=crosstalk(found, truth, **gate),
            )
        )
    uniformity = None if config.pixel_nm is None else subpixel_uniformity(found, config.pixel_nm / NM_PER_UM)
    frames = np.union1d(found.frame, truth.frame).size
    far = far_rows(truth, ("x_um", "y_um", "z_um")).note("points at random were not strewn as far")
    notes = tuple(f"of the truth, {note}" for note in far)
    return ListScores(config, gates, 2 if flat else 3, found.frame.size, truth.frame.size, frames, uniformity, notes)


def is_flat(found: Localizations, truth: Localizations, config: EvaluateConfig) -> bool:
    """Tell whether z is left out of the scores."""
    if config.dimensions != "auto":
        return config.dimensions == "2"
    return any(locs.frame.size > 0 and not locs.z_um.any() for locs in (found, truth))


def _gate(gate_nm: tuple[float, ...], flat: bool) -> Gate:
    sizes_um = [size / NM_PER_UM for size in gate_nm]
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


def _line(metric: Metric, value: Interval) -> str:
    estimate, low, high = (metric.text(end) for end in (value.estimate, value.low, value.high))
    between = "-" if "-" in (low, high) else f"{low} to {high}"
    return f"{metric.title:24}{estimate:>9}{between:>20}"


def _calibration_lines(calibration: UncertaintyCalibration, dimensions: int) -> list[str]:
    parts = []
    for name in "xyz"[:dimensions]:
        axis = getattr(calibration, name)
        if axis.n:
            parts.append(f"{name} {axis.ratio:.2f} +- {axis.ratio_error:.2f} (rms {axis.ratio_rms:.2f})")
    return [f"{'error / predicted sigma':24}{', '.join(parts) or 'no sigma in the table'}"]


def _crosstalk_lines(seen: Crosstalk | None) -> list[str]:
    if seen is None:
        return []
    lines = [_line(Metric("crosstalk"), seen.share)]
    for channel, (row, jaccard) in enumerate(zip(seen.counts, seen.jaccard, strict=True)):
        read = ", ".join(f"{count} as {other}" for other, count in enumerate(row))
        lines.append(f"{f'  true channel {channel}':24}{read}; Jaccard by itself {jaccard:.3f}")
    return lines


def _draw_precision(axes, gates: list[GateResult]) -> None:
    for k, gate in enumerate(gates):
        style = {"color": FIXED_COLOURS[k % len(FIXED_COLOURS)]}
        if gate.curve.threshold.size < 40:
            style["marker"] = MARKERS[k % len(MARKERS)]
        text = f"{gate.name}: AP {gate.average_precision.estimate:.3f}"
        axes.plot(gate.curve.recall, gate.curve.precision, label=text, **style)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.legend(loc="lower left")


def _draw_histogram(axes, calibration, known, colour) -> None:
    for name in known:
        axis = getattr(calibration, name)
        density = axis.histogram / (axis.n * np.diff(axis.edges))
        axes.stairs(density, axis.edges, color=colour[name], label=f"{name}: {axis.ratio:.2f}", linewidth=1.2)
    x = np.linspace(-6, 6, 241)
    axes.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="0.5", linestyle=":", label="predicted")
    axes.set_xlim(-6, 6)
    axes.set_ylim(0, None)
    axes.set_xlabel("error / predicted sigma")
    axes.set_ylabel("density")
    axes.legend(loc="upper right")


def _draw_reliability(axes, calibration, known, colour) -> None:
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":")
    for name in known:
        axis = getattr(calibration, name)
        axes.plot(axis.probability, axis.fraction, color=colour[name], label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("predicted central interval")
    axes.set_ylabel("share of errors inside")
    axes.legend(loc="upper left")


def _draw_bins(axes, calibration, known, colour) -> None:
    top = 0.0
    for name, marker in zip(known, MARKERS, strict=False):
        axis = getattr(calibration, name)
        sigma_nm, error_nm = NM_PER_UM * axis.bin_sigma_um, NM_PER_UM * axis.bin_error_um
        axes.plot(sigma_nm, error_nm, color=colour[name], marker=marker, label=name)
        top = max(top, float(np.max(sigma_nm)), float(np.max(error_nm)))
    axes.plot([0, top], [0, top], color="0.5", linestyle=":")
    axes.set_xlim(0, 1.05 * top)
    axes.set_ylim(0, 1.05 * top)
    axes.set_xlabel("predicted sigma (nm)")
    axes.set_ylabel("spread of errors (nm)")
    axes.legend(loc="upper left")
