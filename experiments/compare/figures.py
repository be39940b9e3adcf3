"""All figures of a comparison, and the one that tells it in a single picture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.compare import curves, pictures
from experiments.compare.config import ExperimentConfig
from experiments.compare.confusions import draw_confusion
from experiments.compare.results import WORDS, ArmResult, first_of_each
from experiments.compare.summary import of_reading
from experiments.report.plot_style import arm_styles, new_figure, save_png, scale_bar, show_phase, show_psf, styled


def write_figures(
    config: ExperimentConfig, results: list[ArmResult], summary: dict[str, Any], folder: Path
) -> dict[str, Path]:
    """Draw what the finished arms allow, as PNG files in `folder`; returns the files by name."""
    shown = first_of_each(results)
    styles = arm_styles(_one_each(summary), summary["reference"])
    scope = config.run.microscope
    drawings: dict[str, Callable[[], Figure]] = {
        "codesign": lambda: draw_codesign(shown, summary, config),
        "masks": lambda: pictures.draw_masks(shown),
        "psf": lambda: pictures.draw_psfs(shown, scope.pixel_um, config.run.species),
        "bounds": lambda: curves.draw_bounds(shown, styles),
        "frames": lambda: pictures.draw_frames(shown, scope.pixel_um),
    }
    trained = {(result.label, result.seed): result for result in results if result.scores["steps"]}
    if trained:
        drawings["training"] = lambda: curves.draw_training(list(trained.values()), styles)
    if len(summary["readings"]) > 1:
        drawings["readings"] = lambda: curves.draw_readings(summary, styles)
    for reading in summary["readings"]:
        part = of_reading(summary, reading)
        drawings[figure_name("density", summary, reading)] = lambda p=part: curves.draw_density(p, styles)
        if config.score.pair_photons:
            drawings[figure_name("pairs", summary, reading)] = lambda p=part: curves.draw_pairs(p, styles)
    if config.run.species:
        drawings["confusion"] = lambda: draw_confusion(summary, config.run.species)
    for result in shown:
        if result.snapshots:
            drawings[f"evolution-{result.label}"] = lambda r=result: pictures.draw_evolution(r, scope.wavelength_um)
    files = {}
    for name, draw in drawings.items():
        files[name] = folder / f"{name}.png"
        save_png(draw(), files[name])
    return files


def figure_name(name: str, summary: dict[str, Any], reading: str) -> str:
    """Name the figure of one reading; the first reading's has the plain name."""
    return name if reading == summary["readings"][0] else f"{name}-{reading.replace('+', '-')}"


def _one_each(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The arms of a summary, each once."""
    return list({arm["label"]: arm for arm in summary["arms"]}.values())


def draw_codesign(results: list[ArmResult], summary: dict[str, Any], config: ExperimentConfig) -> Figure:
    """Draw the whole story in one picture: masks, PSFs through depth, Jaccard of the last reading against density."""
    styles = arm_styles(_one_each(summary), summary["reference"])
    reading = summary["readings"][-1]
    shown = [r for r in results if r.arm.learn][:1] + [r for r in results if r.label == summary["reference"]][:1]
    shown = shown or results[:2]
    pixel_um = config.run.microscope.pixel_um
    with styled():
        figure = new_figure(10.5, 1.22 * len(shown) + 0.3)
        left, right = list(figure.subfigures(1, 2, width_ratios=[7.0, 3.2]))  # pyright: ignore[reportArgumentType]
        z_index = [0, 2, 3, 4, 6]
        grid = left.subplots(len(shown), 1 + len(z_index), squeeze=False)
        for row, result in zip(grid, shown, strict=True):
            show_phase(row[0], result.examples["phase_rad"], float(result.examples["half_width"]))
            row[0].set_ylabel(result.label, color=styles[result.label]["color"], fontweight="bold")
            for axes, k in zip(row[1:], z_index, strict=True):
                side = show_psf(axes, result.examples["psf"][k], pixel_um)
                if axes is row[1]:
                    scale_bar(axes, side)
        grid[0][0].set_title("phase mask")
        for axes, k in zip(grid[0][1:], z_index, strict=True):
            axes.set_title(f"z = {results[0].examples['z_um'][k]:.1f} µm")
        axes = right.subplots()
        curves.plot_against_density(axes, of_reading(summary, reading), styles, "jaccard")
        axes.set_ylabel("Jaccard index")
        if len(summary["readings"]) > 1:
            axes.set_title(f"read by {WORDS[reading]}")
        axes.legend(fontsize=8)
    return figure
