"""Pictures of a comparison: masks and how they were learned, PSFs through depth, frames with their lists."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import localization
from experiments.compare.results import ArmResult
from experiments.compare.scoring import GATES
from experiments.report.plot_style import hide_axes, new_figure, outline, scale_bar, show_phase, show_psf, styled
from localization import make_localizations


def _phase_bar(figure: Figure, image, axes) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[-np.pi, 0, np.pi])
    bar.ax.set_yticklabels(["−π", "0", "π"])
    bar.set_label("phase (rad)")


def draw_masks(results: list[ArmResult]) -> Figure:
    """Draw the mask of every arm, one picture each."""
    columns = min(len(results), 4)
    rows = -(-len(results) // columns)
    with styled():
        figure = new_figure(max(2.0 * columns + 0.8, 3.4), 2.15 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(results) :]:
            axes.set_visible(False)
        image = None
        for axes, result in zip(grid.flat, results, strict=False):
            image = show_phase(axes, result.examples["phase_rad"], float(result.examples["half_width"]))
            learned = result.arm.learn and "learn" not in result.label
            axes.set_title(f"{result.label}{' (learned)' if learned else ''}")
        _phase_bar(figure, image, grid)
    return figure


def draw_evolution(result: ArmResult, wavelength_um: float, columns: int = 7) -> Figure:
    """Draw how a learned mask came about: a few of its snapshots, evenly spaced among those kept."""
    steps = sorted(result.snapshots)
    picked = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, columns).round().astype(int))]
    with styled():
        figure = new_figure(max(1.45 * len(picked) + 0.9, 3.4), 1.9)
        grid = figure.subplots(1, len(picked), squeeze=False)
        image = None
        for axes, step in zip(grid.flat, picked, strict=True):
            phase = 2 * np.pi * result.snapshots[step] / wavelength_um
            image = show_phase(axes, phase, float(result.examples["half_width"]))
            axes.set_title("start" if step == 0 else f"step {step}")
        _phase_bar(figure, image, grid)
    return figure


def draw_psfs(results: list[ArmResult], pixel_um: float, species: tuple[str, ...] = ()) -> Figure:
    """Draw PSFs through depth, a row per arm and species; each panel on its own square-root scale.

    The number is the share of the photons in the brightest pixel.
    """
    z_um = results[0].examples["z_um"]
    if species:
        shown = [
            (f"{result.label}\n{name}", images)
            for result in results
            for name, images in zip(species, result.examples["psf_by_species"], strict=True)
        ]
    else:
        shown = [(result.label, result.examples["psf"]) for result in results]
    with styled():
        figure = new_figure(1.25 * len(z_um) + 0.5, 1.3 * len(shown) + 0.3)
        grid = figure.subplots(len(shown), len(z_um), squeeze=False)
        for row, (label, images) in zip(grid, shown, strict=True):
            row[0].set_ylabel(label)
            for axes, image in zip(row, images, strict=True):
                side = show_psf(axes, image, pixel_um)
                place = {"transform": axes.transAxes, "color": "white", "fontsize": 6.5, **outline()}
                axes.text(0.97, 0.04, f"max {100 * image.max():.2g} %", ha="right", **place)
                if axes is row[0]:
                    scale_bar(axes, side)
        for axes, z in zip(grid[0], z_um, strict=True):
            axes.set_title(f"z = {z:.1f} µm")
    return figure


def _list_of(columns: np.ndarray, frame: int) -> localization.Localizations:
    rows = columns[columns[:, 0] == frame]
    return make_localizations(np.zeros(len(rows), int), rows[:, 1], rows[:, 2], rows[:, 3])


def _draw_frame(axes, result: ArmResult, frame: int, pixel_um: float) -> str:
    """Draw one frame with its true and found positions; returns the counts in words."""
    image = result.examples["frames"][frame]
    found, truth = (_list_of(result.examples[name], frame) for name in ("found", "truth"))
    matches = localization.match(found, truth, **next(iter(GATES.values())))
    is_hit = np.isin(np.arange(truth.x_um.size), matches.truth_index)
    is_true = np.isin(np.arange(found.x_um.size), matches.found_index)
    side = image.shape[-1] * pixel_um
    low, high = np.quantile(image, [0.01, 0.999])
    scaled = np.sqrt(np.clip((image - low) / max(high - low, 1e-9), 0, 1))  # 1e-9 guards a frame of one value
    axes.imshow(scaled, cmap="gray", extent=(0, side, side, 0), vmin=0, vmax=1)
    for x, y, style in (
        (truth.x_um[is_hit], truth.y_um[is_hit], HIT),
        (truth.x_um[~is_hit], truth.y_um[~is_hit], MISSED),
        (found.x_um[is_true], found.y_um[is_true], FOUND),
        (found.x_um[~is_true], found.y_um[~is_true], FALSE),
    ):
        axes.plot(x, y, linestyle="none", **style)
    axes.set_xlim(0, side)
    axes.set_ylim(side, 0)
    hide_axes(axes)
    return f"{is_hit.sum()} of {truth.x_um.size} found, {(~is_true).sum()} false"


_RING = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.4}
_CROSS = {"marker": "x", "markersize": 4.5, "markeredgewidth": 1.3, **outline()}
HIT = {**_RING, "color": "#56B4E9"}
MISSED = {**_RING, "color": "#E69F00"}
FOUND = {**_CROSS, "color": "#FFFFFF"}
FALSE = {**_CROSS, "color": "#F0E442", "marker": "+", "markersize": 6.5}


def draw_frames(results: list[ArmResult], pixel_um: float) -> Figure:
    """Draw the same dense scene as every arm's microscope sees it; rings are true, crosses found positions."""
    columns = min(len(results), 3)
    rows = -(-len(results) // columns)
    with styled():
        figure = new_figure(max(3.0 * columns, 4.4), 3.2 * rows + 0.4)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(results) :]:
            axes.set_visible(False)
        for axes, result in zip(grid.flat, results, strict=False):
            counts = _draw_frame(axes, result, 0, pixel_um)
            axes.set_title(f"{result.label}: {counts}")
        side = results[0].examples["frames"].shape[-1] * pixel_um
        scale_bar(grid.flat[0], side)
        marks = ((HIT, "true, found"), (MISSED, "true, missed"), (FOUND, "found, true"), (FALSE, "found, false"))
        handles = [Line2D([], [], linestyle="none", label=label, **style) for style, label in marks]
        figure.legend(handles=handles, loc="outside lower center", ncols=4 if columns > 1 else 2)
    return figure
