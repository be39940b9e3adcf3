"""Figures of what was measured on crowded frames: how much is found at which density, and whether its promises hold."""

from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter

from experiments.report.plot_style import FIXED_COLOURS, LEARNED_COLOURS, MARKERS, new_figure, styled

COLOURS = {
    "tetrapod": FIXED_COLOURS[0],
    "double_helix": FIXED_COLOURS[1],
    "learned": LEARNED_COLOURS[0],
    "designed": LEARNED_COLOURS[1],
    "astigmatism": FIXED_COLOURS[4],
}
WORDS = {
    "tetrapod": "Tetrapod",
    "double_helix": "double helix",
    "learned": "learned (make demo)",
    "designed": "designed (density-4um)",
    "astigmatism": "astigmatism",
}
TITLES = {"even": "stray light as an even background", "whole": "drawn whole: wings, emitters beyond the frame"}
NM = 1e3


def style(mask: str) -> dict[str, Any]:
    """Colour and marker of a mask, the same in every figure."""
    return {"color": COLOURS[mask], "marker": MARKERS[list(COLOURS).index(mask)]}


def density_figure(numbers: dict):
    """Jaccard, errors and time against density (columns: ways to draw scenes), a line for each mask."""
    found, density = numbers["cells"], numbers["emitters_per_um2"]
    kinds = [kind for kind in TITLES if any(cell.startswith(f"{kind}/") for cell in found)]
    rows = (
        ("jaccard", 1.0, "Jaccard, 250/500 nm", (0.0, 1.03)),
        ("rmse_xy_um", NM, "lateral RMSE (nm)", (2.0, 200.0)),
        ("rmse_z_um", NM, "axial RMSE (nm)", (2.0, 300.0)),
        (None, 1.0, "CPU time (s a frame)", (0.05, 20.0)),
    )
    with styled():
        figure = new_figure(3.4 * len(kinds) + 0.4, 8.2)
        grid = figure.subplots(len(rows), len(kinds), sharex=True, sharey="row", squeeze=False)
        for column, kind in enumerate(kinds):
            for (name, unit, label, limits), axes in zip(rows, grid[:, column], strict=True):
                for mask in COLOURS:
                    counts = [count for count in density if f"{kind}/{mask}/{count}" in found]
                    if not counts:
                        continue
                    cells = [found[f"{kind}/{mask}/{count}"] for count in counts]
                    x = [density[count] for count in counts]
                    values = [
                        [cell["cpu_s_per_frame"]] * 3 if name is None else cell["250/500"][name] for cell in cells
                    ]
                    middle, low, high = unit * np.array(values, float).T
                    axes.plot(x, middle, label=WORDS[mask], **style(mask))
                    if name is not None:
                        axes.fill_between(x, low, high, color=COLOURS[mask], alpha=0.15, linewidth=0)
                axes.set_xscale("log")
                if name != "jaccard":
                    axes.set_yscale("log")
                    axes.yaxis.set_major_formatter("{x:g}")
                    axes.yaxis.set_minor_formatter(NullFormatter())
                axes.set_ylim(*limits)
                axes.set_xlim(0.024, 2.8)
                if column == 0:
                    axes.set_ylabel(label)
            grid[0, column].set_title(TITLES[kind])
            last = grid[-1, column]
            last.set_xticks(list(density.values()), [f"{value:.2g}\n({count})" for count, value in density.items()])
            last.xaxis.set_minor_formatter(NullFormatter())
            last.set_xlabel("emitters per µm² (in 64 × 64 px)")
        grid[0, 0].legend(loc="lower left", fontsize=7.5)
    return figure


def promises_figure(pairs: dict | None, false: dict | None, growth: dict | None):
    """Errors over bounds and predicted sigma, false emitters over the rate asked, CPU time by size: what there is."""
    panels = [(_pairs, pairs, 1.1), (_false, false, 1.2), (_growth, growth, 1.0)]
    panels = [(panel, numbers["cells"], width) for panel, numbers, width in panels if numbers is not None]
    with styled():
        figure = new_figure(3.6 * len(panels), 3.6)
        widths = [width for *_, width in panels]
        grid = figure.subplots(1, len(panels), width_ratios=widths, squeeze=False)[0]
        for axes, (panel, cells, _) in zip(grid, panels, strict=True):
            panel(axes, cells)
    return figure


def _pairs(axes, cells: dict) -> None:
    names = sorted(cells, key=lambda cell: (list(COLOURS).index(cell.split("/")[0]), int(cell.split("/")[1])))
    for k, cell in enumerate(names):
        mask = cell.split("/")[0]
        found, place = cells[cell], k + np.array([-0.25, 0.0, 0.25])
        ratio, (low, high) = np.array(found["rmse_over_bound"]), np.array(found["rmse_over_bound_interval"])
        axes.vlines(place, low, high, color=COLOURS[mask], linewidth=1)
        axes.plot(place, ratio, linestyle="none", **style(mask), label="RMSE / bound" if k == 0 else None)
        label = "error / predicted σ" if k == 0 else None
        axes.plot(place, found["error_over_sigma"], "k+", markersize=6, label=label)
    axes.axhline(1, color="0.4", linewidth=0.8)
    axes.axhline(1.15, color="0.4", linewidth=0.8, linestyle="--")
    labels = [f"{WORDS[cell.split('/')[0]].split(' (')[0]}, {cell.split('/')[1]}" for cell in names]
    axes.set_xticks(range(len(names)), labels, rotation=60, ha="right", fontsize=7)
    axes.set_ylabel("ratio; x, y, z from left to right")
    axes.set_ylim(0.8, max(1.4, 1.05 * max(max(cell["rmse_over_bound"]) for cell in cells.values())))
    axes.set_title("matched emitters among neighbours")
    axes.legend(fontsize=7, loc="upper left")


def _false(axes, cells: dict) -> None:
    names = [cell for cell in cells if cells[cell]["expected"] > 0]
    kinds = list(dict.fromkeys(cell.split("/")[1] for cell in names))
    series = list(dict.fromkeys((cell.split("/")[0], cell.split("/")[2]) for cell in names))
    for k, (mask, rate) in enumerate(series):
        there = [kind for kind in kinds if f"{mask}/{kind}/{rate}" in cells]
        ratio, low, high = np.array([cells[f"{mask}/{kind}/{rate}"]["over_asked"] for kind in there]).T
        place = np.array([kinds.index(kind) for kind in there]) + (k - (len(series) - 1) / 2) * 0.12
        mark = {**style(mask), "markerfacecolor": COLOURS[mask] if rate == "1e-2" else "white"}
        label = f"{WORDS[mask]}, {rate.replace('1e-2', '0.01').replace('1e-3', '0.001')} per µm²"
        axes.vlines(place, np.maximum(low, 1e-2), high, color=COLOURS[mask], linewidth=1)
        axes.plot(place, np.maximum(ratio, 1e-2), linestyle="none", label=label, **mark)
    axes.axhspan(1 / 1.5, 1.5, color="0.9", zorder=0)
    axes.axhline(1, color="0.4", linewidth=0.8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(range(len(kinds)), [kind.replace("_", "-") for kind in kinds], rotation=20)
    axes.set_ylabel("false emitters over the rate asked")
    axes.set_title("frames without emitters (band: factor 1.5)")
    axes.legend(fontsize=6.5, loc="best")


def _growth(axes, cells: dict) -> None:
    marks = {"emitters": ("o", 0), "field": ("s", 4), "frames": ("D", 1)}
    words = {"emitters": "emitters in 128 × 128 px", "field": "area of the frame", "frames": "frames"}
    for kind, (marker, colour) in marks.items():
        names = [cell for cell in cells if cell.startswith(f"{kind}/")]
        size = np.array([float(cell.split("/")[1]) for cell in names]) ** (2 if kind == "field" else 1)
        seconds = np.array([cells[c]["cpu_s"] / (1 if kind == "frames" else cells[c]["frames"]) for c in names])
        if len(names) > 1:
            axes.plot(
                size / size[0], seconds / seconds[0], marker=marker, color=FIXED_COLOURS[colour], label=words[kind]
            )
    line = np.array([1.0, 16.0])
    axes.plot(line, line, color="0.4", linewidth=0.8, linestyle="--", label="linear")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("size over the smallest")
    axes.set_ylabel("CPU time over that of the smallest")
    axes.set_title("growth")
    axes.legend(fontsize=7)
