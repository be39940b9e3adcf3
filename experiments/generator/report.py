"""The panels and the page of a fitted generator."""

import html
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.generator.result import rows
from experiments.report.page import Figures, page, table
from experiments.report.plot_style import FIXED_COLOURS, LEARNED_COLOURS, new_figure, save_png, styled
from optics.whole_file import write_text
from training.generator.bound import KlWeights
from training.generator.config import GeneratorConfig
from training.generator.files import GeneratorFacts, load_facts, read_arrays

_COLUMNS = (
    ("input", "movie"),
    ("reconstruction", "reconstruction"),
    ("emitters", "emitters"),
    ("haze", "structure (haze)"),
    ("background", "background"),
    ("residual", "noise residual"),
)
_SIDE_IN = 1.75


def write_report(config: GeneratorConfig, metrics: dict[str, Any], out: Path) -> None:
    """Write figures/*.png and report.html of a generator into its folder."""
    facts, shown = load_facts(out), read_arrays(out / "examples.npz")
    correction = facts.correction
    figures = {name: out / "figures" / f"{name}.png" for name in ("panels", "laws")}
    with styled():
        draw_panels(shown, config.microscope.pixel_um, figures["panels"])
        draw_laws(read_arrays(out / "bank.npz"), facts, figures["laws"])
    embedded = Figures(figures)
    body = [
        embedded.figure(
            "panels",
            "Crops of the movie, taken apart",
            "Photons per pixel, but for the residual: movie less reconstruction in standard deviations of the noise. "
            "Circles: emitters that the model finds. What is in structure or background must not look like a "
            "PSF, and the residual must not look like anything.",
        ),
        embedded.figure(
            "laws",
            "What the emitters are like",
            "Those that the model finds, over all crops. Scenes draw from these (depth only where it is kept) "
            f"{correction.number:.2f} times as many, {correction.brightness:.2f} times as bright, "
            f"{correction.spread:.2f} times as spread: then the model finds the same in drawn frames as in the movie.",
        ),
        _numbers(metrics),
    ]
    scope = config.microscope
    depth = f"z {config.z_min_um:g} to {config.z_max_um:g} µm" if config.is_3d else "all in one plane"
    subtitle = (
        f"NA {scope.na:g}, {1e3 * scope.wavelength_um:g} nm light, {1e3 * scope.pixel_um:g} nm pixels, {depth}; "
        f"{metrics['crops']} crops of {config.crop_px} × {config.crop_px} px, {config.fit.steps} steps of "
        f"{config.fit.batch}."
    )
    said = [*metrics["warnings"], *metrics["notes"]] or ["Nothing speaks against this fit; look at the panels."]
    write_text(out / "report.html", page(config.title or "A generator", subtitle, said, _note(config), "\n".join(body)))


def draw_panels(shown: dict[str, NDArray], pixel_um: float, path: Path) -> None:
    """Draw crops (rows) taken apart (columns): movie, reconstruction and its parts, residual."""
    count = len(shown["input"])
    figure = new_figure(_SIDE_IN * len(_COLUMNS) + 0.6, (_SIDE_IN + 0.05) * count + 0.3)
    axes = figure.subplots(count, len(_COLUMNS), squeeze=False)
    for row in range(count):
        low, high = np.percentile(shown["input"][row], [1, 99.8])
        here = shown["xy_px"][shown["xy_px"][:, 2] == row]
        for column, (name, title) in enumerate(_COLUMNS):
            ax, picture = axes[row, column], shown[name][row]
            side = picture.shape[0]
            limits: dict[str, Any] = {"cmap": "viridis", "vmin": 0.0, "vmax": max(float(picture.max()), 1e-3)}
            if name in ("input", "reconstruction"):
                limits |= {"vmin": low, "vmax": max(high, low + 1e-3)}
            elif name == "background":
                limits |= {"cmap": "cividis", "vmin": float(picture.min())}
            elif name == "haze":
                limits |= {"cmap": "cividis"}
            elif name == "residual":
                limits = {"cmap": "RdBu_r", "vmin": -5, "vmax": 5}
            drawn = ax.imshow(picture, interpolation="nearest", extent=(0, side, side, 0), **limits)
            if name == "emitters":
                size = max(20.0, 900.0 * (3 / side))
                ax.scatter(here[:, 0], here[:, 1], s=size, facecolors="none", edgecolors="#FFFFFF", linewidths=0.6)
                ax.set_xlim(0, side)
                ax.set_ylim(side, 0)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(False)
            bar = figure.colorbar(drawn, ax=ax, shrink=0.82, pad=0.02)
            bar.ax.tick_params(labelsize=6, length=2)
            if row == 0:
                ax.set_title(f"{title}\n({'σ' if name == 'residual' else 'photons / px'})", fontsize=8)
        axes[row, 0].set_ylabel(f"{shown['input'].shape[1] * pixel_um:.1f} µm", fontsize=7)
    save_png(figure, path)


def draw_laws(bank: dict[str, NDArray], facts: GeneratorFacts, path: Path) -> None:
    """Draw histograms of photons, emitters a crop, and depths."""
    sure = bank["bank/presence"] > 0
    place = bank["bank/place/mean"][sure]
    figure = new_figure(7.2, 2.3)
    axes = figure.subplots(1, 3 if facts.ranges.is_3d else 2)
    light = np.exp(place[:, 3])
    axes[0].hist(light, bins=np.geomspace(light.min() * 0.99, light.max() * 1.01, 30), color=FIXED_COLOURS[0])
    axes[0].axvline(float(np.median(light)), color=LEARNED_COLOURS[0], lw=1)
    axes[0].set_xscale("log")
    ticks = [t * 10.0**k for k in range(8) for t in (1, 2, 5) if light.min() * 0.9 < t * 10.0**k < light.max() * 1.1]
    axes[0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0].minorticks_off()
    axes[0].set_xlabel("photons (line: median)")
    axes[0].set_ylabel("emitters")
    counts = sure.sum(axis=1)
    axes[1].hist(counts, bins=np.arange(counts.max() + 2) - 0.5, color=FIXED_COLOURS[0])
    axes[1].set_xlabel("emitters in a crop")
    axes[1].locator_params(axis="y", integer=True)
    axes[1].set_ylabel("crops")
    if facts.ranges.is_3d:
        depth_um = np.asarray(facts.ranges.depth_um(place[:, 2]))
        axes[2].hist(depth_um, bins=np.linspace(min(facts.z_um), max(facts.z_um), 30), color=FIXED_COLOURS[0])
        axes[2].set_xlabel("z (µm)")
        axes[2].set_ylabel("emitters")
    save_png(figure, path)


def _numbers(metrics: dict[str, Any]) -> str:
    found = [[html.escape(name), html.escape(value).replace("+-", "±")] for name, value in rows(metrics)]
    return f"<h2>Numbers</h2>{table('All of them are in metrics.json.', ['what', 'found'], found)}"


def _note(config: GeneratorConfig) -> str:
    weights = config.fit.kl
    changed = [f"{name} {value:g}" for name, value in vars(weights).items() if value != getattr(KlWeights(), name)]
    kept = "each divergence weighs 1" if not changed else "divergences weigh 1 but for " + ", ".join(changed)
    return f"The networks and each crop's posterior maximise the evidence's lower bound; {kept}."
