"""Curves of a comparison: scores against density and light, precision bounds against depth, training."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.compare.results import WORDS, ArmResult
from experiments.compare.scoring import HEADLINE
from experiments.compare.summary import density_cells, of_reading, pair_cells
from experiments.report.metrics import METRICS
from experiments.report.plot_style import logarithmic, new_figure, styled

PANELS = ("jaccard", "recall", "precision", "rmse_xy_um", "rmse_z_um")
Styles = dict[str, dict[str, Any]]


def _drawn(cells: list[dict[str, Any]], gate: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Estimates (n,) and error bars (2, n) in the label's unit; NaN where a value is missing."""
    factor = METRICS[metric].factor
    values = [cell["gates"][gate][metric] for cell in cells]
    table = np.array([[v[key] for key in ("estimate", "low", "high")] for v in values], float) * factor
    estimate, low, high = table.T
    return estimate, np.maximum(np.stack([estimate - low, high - estimate]), 0)


def plot_against_density(axes, summary: dict[str, Any], styles: Styles, metric: str, gate: str = HEADLINE) -> None:
    """Draw one metric of every arm against emitters per um**2, with intervals."""
    arms = summary["arms"]
    widest = max(cell["density_per_um2"] for arm in arms for cell in arm["cells"])
    for number, arm in enumerate(arms):  # slightly side by side, so that no interval hides another
        cells = density_cells(arm)
        density = np.array([cell["density_per_um2"] for cell in cells])
        estimate, bars = _drawn(cells, gate, metric)
        shift = 0.006 * widest * (number - (len(arms) - 1) / 2)
        axes.errorbar(
            density + shift, estimate, bars, capsize=2, elinewidth=1, label=arm["label"], **styles[arm["label"]]
        )
    axes.set_xlabel("emitters per µm²")
    axes.set_xlim(0, 1.05 * widest)
    _limit(axes, metric)


def _limit(axes, metric: str) -> None:
    if not METRICS[metric].unit:
        low = axes.get_ylim()[0]
        axes.set_ylim(max(0.0, min(low, 0.9)), 1.01)
    else:
        axes.set_ylim(0, 1.06 * axes.get_ylim()[1])


def draw_density(summary: dict[str, Any], styles: Styles, gate: str = HEADLINE) -> Figure:
    """Draw every score against density, one panel each."""
    with styled():
        figure = new_figure(9.6, 5.4)
        grid = figure.subplots(2, 3)
        for axes, metric in zip(grid.flat, PANELS, strict=False):
            plot_against_density(axes, summary, styles, metric, gate)
            axes.set_ylabel(METRICS[metric].title)
        _legend(grid.flat[-1], grid.flat[0])
    return figure


def draw_readings(summary: dict[str, Any], styles: Styles, gate: str = HEADLINE) -> Figure:
    """Draw who finds what: a column for each reading, Jaccard and axial errors against density."""
    columns = summary["readings"]
    with styled():
        figure = new_figure(3.2 * len(columns) + 0.4, 5.0)
        grid = figure.subplots(2, len(columns), squeeze=False, sharey="row")
        for column, reading in zip(grid.T, columns, strict=True):
            part = of_reading(summary, reading)
            for axes, metric in zip(column, ("jaccard", "rmse_z_um"), strict=True):
                plot_against_density(axes, part, styles, metric, gate)
            column[0].set_title(f"read by {WORDS[reading]}")
        for row, metric in zip(grid, ("jaccard", "rmse_z_um"), strict=True):
            row[0].set_ylabel(METRICS[metric].title)
            # one scale for all columns, from the lines of all
            ends = [axes.dataLim for axes in row]
            high = max(box.y1 for box in ends)
            row[0].set_ylim(
                *((min(0.9, max(0, min(box.y0 for box in ends) - 0.03)), 1.01) if high <= 1 else (0, 1.06 * high))
            )
        grid[0][0].legend(loc="lower left", fontsize=8)
    return figure


def _legend(empty, source) -> None:
    empty.set_axis_off()
    empty.legend(*source.get_legend_handles_labels(), loc="center", fontsize=10)


def draw_pairs(summary: dict[str, Any], styles: Styles, gate: str = HEADLINE) -> Figure:
    """Draw scores at the pairs of photons and background, dim first."""
    arms = summary["arms"]
    with styled():
        figure = new_figure(9.6, 3.0)
        grid = figure.subplots(1, 4, width_ratios=[1, 1, 1, 0.6])
        for axes, metric in zip(grid, ("jaccard", "rmse_xy_um", "rmse_z_um"), strict=False):
            for number, arm in enumerate(arms):
                cells = pair_cells(arm)
                estimate, bars = _drawn(cells, gate, metric)
                place = np.arange(len(cells)) + 0.6 * (number - (len(arms) - 1) / 2) / max(len(arms), 3)
                axes.errorbar(
                    place, estimate, bars, linestyle="none", capsize=2, label=arm["label"], **styles[arm["label"]]
                )
            cells = pair_cells(arms[0])
            names = [f"{_short(cell['photons'][1])} / {_short(cell['background'][1])}" for cell in cells]
            axes.set_xticks(range(len(cells)), names)
            axes.set_xlim(-0.6, len(cells) - 0.4)
            axes.grid(axis="x", visible=False)
            axes.set_xlabel("photons / background per pixel")
            axes.set_ylabel(METRICS[metric].title)
            _limit(axes, metric)
        _legend(grid[-1], grid[0])
    return figure


def _short(number: float) -> str:
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def draw_bounds(results: list[ArmResult], styles: Styles) -> Figure:
    """Cramér-Rao bounds in x, y and z against depth, as standard deviations."""
    with styled():
        figure = new_figure(9.6, 3.0)
        grid = figure.subplots(1, 4, width_ratios=[1, 1, 1, 0.6])
        for k, axes in enumerate(grid[:3]):
            for result in results:
                bound_nm = 1e3 * result.examples["crlb_um"][:, k]
                axes.plot(result.examples["bound_z_um"], bound_nm, label=result.label, **styles[result.label])
            low, high = axes.get_ylim()
            if high < 10 * low:
                axes.set_ylim(0, high)
            else:
                logarithmic(axes)
            axes.set_xlabel("z (µm)")
            axes.set_ylabel(f"precision bound in {'xyz'[k]} (nm)")
        _legend(grid[-1], grid[0])
    return figure


def draw_training(results: list[ArmResult], styles: Styles) -> Figure:
    """Draw training loss against step, one thin line per arm and seed."""
    with styled():
        figure = new_figure(6.4, 3.0)
        axes = figure.subplots()
        tails = []
        for result in results:
            events = [event for event in result.log if event.get("event") == "step"]
            # a resumed run logs some steps twice; the later entry is of the run that went on
            by_step = {event["step"]: event["loss"] for event in events}
            steps, losses = (np.array(sorted(by_step)), np.array([by_step[step] for step in sorted(by_step)], float))
            first = result.seed == min(r.seed for r in results if r.label == result.label)
            style = styles[result.label]
            axes.plot(steps, losses, color=style["color"], linewidth=1, label=result.label if first else None)
            tails.append(losses[len(losses) // 20 :])
        finite = np.concatenate(tails)[np.isfinite(np.concatenate(tails))] if tails else np.zeros(0)
        if finite.size:
            # the first steps' loss is many times the rest: it would flatten all that follows
            low, high = np.quantile(finite, [0.0, 0.98])
            margin = max(0.08 * (high - low), 1e-3)
            axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.legend()
    return figure
