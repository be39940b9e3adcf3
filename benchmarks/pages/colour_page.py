"""docs/colour.md's table from the numbers of the benchmark, and its two figures: plates with their PSFs, accuracies."""

from typing import Any

import numpy as np

from pages import between, recorded
from worlds import ROOT

PAGE = ROOT / "docs" / "colour.md"
PLATES, ACCURACY = (ROOT / "docs" / "figures" / f"colour_{name}.png" for name in ("plates", "accuracy"))
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
FOUR = "<!-- four: begin -->", "<!-- four: end -->"
DECODER = "<!-- decoder: begin -->", "<!-- decoder: end -->"
_PHOTONS = ("1000", "3500", "10000")
_DEPTHS_UM = (0.1, 0.4, 0.7, 1.0, 1.3, 1.6, 1.9)
_NAMES = {
    "double_helix": "double helix", "2um": "over 2 µm", "focus": "in focus", "learned": "learned plate",
    "plate": "learned plate", "decoder+joint": "decoder + joint fit", "joint": "joint fit alone",
}  # fmt: skip
_COLOURS = {
    "clear": "0.45", "astigmatic": "#E69F00", "tetrapod": "#0072B2", "double_helix": "#009E73", "learned": "#D55E00",
}  # fmt: skip


def text() -> str:
    """Write the page with today's table."""
    numbers = recorded("colour") or {"cells": {}}
    page = between(PAGE.read_text(), BEGIN, END, table(numbers))
    page = between(page, *FOUR, four(numbers))
    return between(page, *DECODER, decoder(recorded("colour_decoder") or {"cells": {}}, numbers))


def table(numbers: dict[str, Any]) -> str:
    """A line a cell: shares read rightly with their interval, what was expected, what no reader exceeds."""
    lines = [
        "| light, species (nm), depths | pupil | "
        + " | ".join(f"{p} photons: right (95 %), Gaussian, limit" for p in _PHOTONS)
        + " | bound at 1000 (nm) |",
        "|---|---|---|---|---|---|",
    ]
    for name, cell in sorted(numbers["cells"].items(), key=_order):
        light, pair, span, pupil = name.split("/")
        if pair.count("-") > 1:
            continue
        cells = [
            f"{one['right']:.1f} ({one['interval'][0]:.1f} to {one['interval'][1]:.1f}), {one['gaussian']:.1f}, "
            f"{one['limit']:.1f}"
            for one in (cell[p] for p in _PHOTONS)
        ]
        where = f"{light}, {pair.replace('-', ' / ')}, {_NAMES[span]}"
        lines.append(f"| {where} | {_NAMES.get(pupil, pupil)} | {' | '.join(cells)} | {cell['1000']['bound_nm']:.0f} |")
    return "\n".join(lines)


def _order(item: tuple[str, dict]) -> tuple:
    """Over 2 um before in focus, lines before bands; pupils as they are drawn, then what is made of the learned one."""
    light, pair, span, pupil = item[0].split("/")
    pupils = list(_COLOURS)
    return span, light == "bands", pair, pupils.index(pupil) if pupil in pupils else len(pupils), pupil


def four(numbers: dict[str, Any]) -> str:
    """The confusion of four species behind the best pupil at 10,000 photons, and all means."""
    found = {
        name.rpartition("/")[2]: cell["10000"]
        for name, cell in numbers["cells"].items()
        if "confusion" in cell["10000"]
    }
    if not found:
        return "Not measured yet."
    best = max(found, key=lambda pupil: found[pupil]["right"])
    species = next(name.split("/")[1].split("-") for name in numbers["cells"] if name.split("/")[1].count("-") > 1)
    means = "; ".join(f"{_NAMES.get(pupil, pupil)} {cell['right']:.1f} %" for pupil, cell in found.items())
    lines = [f"Read rightly: {means}. {(_NAMES.get(best) or best).capitalize()}:", ""]
    lines += [f"| is (nm), read as | {' | '.join(species)} |", "|---|" + "---|" * len(species)]
    for nm, row in zip(species, found[best]["confusion"], strict=True):
        lines.append(f"| {nm} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def decoder(numbers: dict[str, Any], likely: dict[str, Any]) -> str:
    """A line a plate: what its decoder reads alone, beside the likelihood ratio on the same images; and in crowds."""
    if not numbers["cells"]:
        return "Not measured yet."
    lines = [
        "| plate | photons | one emitter: right (95 %) | likelihood ratio | found near | RMS x, y, z (nm) "
        "| 0.31 per µm²: Jaccard of each species | wrong species (95 %) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    three = numbers["cells"].get("plate, three readers")
    for name, cell in numbers["cells"].items():
        if cell is three:
            continue
        pupil = {"plate": "learned"}.get(name, name)
        for photons in _PHOTONS:
            one, crowd = cell[photons], cell[f"dense {photons}"]
            beside = likely["cells"].get(f"lines/580-670/2um/{pupil}", {})
            best = f"{beside[photons]['right']:.1f}" if photons in beside else "–"
            rms = ", ".join(f"{value:.0f}" for value in one["rms_nm"])
            low, high = crowd["crosstalk_interval"]
            lines.append(
                f"| {_NAMES.get(name, name)} | {photons} | {one['right']:.1f} ({one['interval'][0]:.1f} to "
                f"{one['interval'][1]:.1f}) | {best} | {one['near']:.1f} % | {rms} | "
                f"{', '.join(f'{value:.2f}' for value in crowd['jaccard_by_species'])} | "
                f"{crowd['crosstalk']:.1f} % ({low:.1f} to {high:.1f}) |"
            )
    if three:
        lines += [
            "",
            f"The same {three['frames']} frames behind the plate, three ways:",
            "",
            "| reader | emitters of photons | Jaccard, of each species | wrong species (95 %) | RMS x, y, z (nm) |",
            "|---|---|---|---|---|",
        ]
        for name, one in three.items():
            if not isinstance(one, dict):
                continue
            reader, _, scene = name.partition(", ")
            low, high = one["crosstalk_interval"]
            by_species = ", ".join(f"{value:.2f}" for value in one["jaccard_by_species"])
            rms = ", ".join(f"{value:.0f}" for value in one["rms_nm"])
            lines.append(
                f"| {_NAMES.get(reader, reader)} | {scene} | {one['jaccard']:.2f}, {by_species} | "
                f"{one['crosstalk']:.1f} % ({low:.1f} to {high:.1f}) | {rms} |"
            )
    return "\n".join(lines)


def draw() -> None:
    """Draw both figures."""
    _draw_plates()
    _draw_accuracy(recorded("colour") or {"cells": {}})


def _draw_plates() -> None:
    """Heights of the learned plate and the etched Tetrapod, and the images of both colours through depth."""
    from experiments.report.plot_style import hide_axes, new_figure, outline, save_png, scale_bar, show_psf, styled
    from optics.colour.species import species_images
    from worlds.colour_world import SCOPE, plate_of, psfs_of, species_of

    rows = [("580-670", "tetrapod"), ("580-670", "learned"), ("605-640", "learned")]
    with styled():
        figure = new_figure(10.6, 1.25 * 2 * len(rows) + 0.3)
        grid = figure.add_gridspec(2 * len(rows), len(_DEPTHS_UM) + 2)
        for r, (pair, pupil) in enumerate(rows):
            plate = plate_of(pupil, pair)
            axes = figure.add_subplot(grid[2 * r : 2 * r + 2, :2])
            size = plate.height_um.shape[0]
            x = (np.arange(size) + 0.5) / size * 2 - 1
            inside = np.hypot(*np.meshgrid(x, x)) <= 1
            height = np.where(inside, np.asarray(plate.height_um), np.nan)
            shown = axes.imshow(height - np.nanmin(height), cmap="viridis", extent=(-1, 1, 1, -1))
            hide_axes(axes)
            axes.set_title(f"{_NAMES.get(pupil, pupil)}, {pair.replace('-', ' / ')} nm", fontsize=8)
            figure.colorbar(shown, ax=axes, shrink=0.7, label="height (µm of silica)")
            psfs = psfs_of(plate, species_of(pair, "lines"))
            points = np.column_stack([np.zeros((len(_DEPTHS_UM), 2)), _DEPTHS_UM])
            for k, (psf, nm) in enumerate(zip(psfs, pair.split("-"), strict=True)):
                for c, image in enumerate(species_images(psf, points)):
                    axes = figure.add_subplot(grid[2 * r + k, 2 + c])
                    side = show_psf(axes, image, float(SCOPE.pixel_um))
                    if r == 0 and k == 0:
                        axes.set_title(f"z = {_DEPTHS_UM[c]:g} µm", fontsize=8)
                    if c == 0:
                        scale_bar(axes, side)
                        axes.text(0.05 * side, 0.1 * side, f"{nm} nm", color="white", fontsize=7, va="top", **outline())
        save_png(figure, PLATES)


def _draw_accuracy(numbers: dict[str, Any]) -> None:
    """Shares read rightly against photons, a panel for each pair and light, with intervals; expectations dashed."""
    from experiments.report.plot_style import new_figure, save_png, styled

    panels = [(light, pair) for pair in ("580-670", "605-640") for light in ("lines", "bands")]
    with styled():
        figure = new_figure(11.0, 3.1)
        every = figure.subplots(1, len(panels), sharey=True)
        for axes, (light, pair) in zip(every, panels, strict=True):
            for pupil, colour in _COLOURS.items():
                cell = numbers["cells"].get(f"{light}/{pair}/2um/{pupil}")
                if cell is None:
                    continue
                photons = [float(p) for p in _PHOTONS]
                right = np.array([cell[p]["right"] for p in _PHOTONS])
                low, high = np.array([cell[p]["interval"] for p in _PHOTONS]).T
                spread = np.maximum([right - low, high - right], 0)
                axes.errorbar(photons, right, spread, color=colour, marker="o", label=_NAMES.get(pupil, pupil))
                axes.plot(photons, [cell[p]["gaussian"] for p in _PHOTONS], color=colour, linestyle="--", linewidth=0.9)
                axes.plot(photons, [cell[p]["limit"] for p in _PHOTONS], color=colour, linestyle=":", linewidth=0.9)
            axes.axhline(50, color="0.7", linewidth=0.8)
            axes.set_xscale("log")
            axes.set_xticks([float(p) for p in _PHOTONS], _PHOTONS)
            axes.minorticks_off()
            axes.set_xlabel("photons")
            axes.set_title(f"{pair.replace('-', ' / ')} nm, {light}", fontsize=9)
        every[0].set_ylabel("species read rightly (%)")
        every[0].set_ylim(45, 102)
        handles, labels = every[0].get_legend_handles_labels()
        every[-1].legend(handles, labels, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
        save_png(figure, ACCURACY)
