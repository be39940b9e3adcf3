"""Who was taken for whom in a comparison of several species: lines, a figure, a table of the report."""

import html
from typing import Any

import numpy as np

from experiments.compare.summary import shown_name
from experiments.report.page import table
from experiments.report.plot_style import Figure, new_figure, styled


def _percent(value: dict[str, Any]) -> str:
    if value["estimate"] is None:
        return "none found"
    low, estimate, high = (f"{100 * value[key]:.1f}" for key in ("low", "estimate", "high"))
    return f"{estimate} % ({low} to {high}) of {value['pairs']}"


def species_lines(summary: dict[str, Any]) -> list[str]:
    """Say of each arm and cell how many of the emitters found are of the species that the list says."""
    arms, several = summary["arms"], len(summary["readings"]) > 1
    if not any("species" in cell for arm in arms for cell in arm["cells"]):
        return []
    width = max(len(shown_name(arm, several)) for arm in arms)
    rows = [
        f"{shown_name(arm, several):{width}}  {cell['name']:33}  {_percent(cell['species'])}"
        for arm in arms
        for cell in arm["cells"]
    ]
    return ["", "species read rightly, of the emitters found (95 % interval)", *rows]


def draw_confusion(summary: dict[str, Any], species: tuple[str, ...]) -> Figure:
    """Draw who was taken for whom: a row of matrices for each arm, one for each scored scene, in % of a species."""
    arms, several = summary["arms"], len(summary["readings"]) > 1
    n, columns = len(species), len(arms[0]["cells"])
    with styled():
        figure = new_figure(max((0.55 * n + 0.75) * columns + 1.2, 4.0), (0.55 * n + 0.75) * len(arms) + 0.5)
        grid = figure.subplots(len(arms), columns, squeeze=False, sharex=True, sharey=True)
        for row, arm in zip(grid, arms, strict=True):
            for axes, cell in zip(row, arm["cells"], strict=True):
                _draw_matrix(axes, np.array(cell["confusion"]), species)
            row[0].set_ylabel(f"{shown_name(arm, several)}\nis (nm)" if _numbers(species) else shown_name(arm, several))
        for axes, cell in zip(grid[0], arms[0]["cells"], strict=True):
            low, high = cell["photons"]
            light = f"{low:g} photons" if low == high else "training's light"
            axes.set_title(f"{cell['count']} in a frame\n{light}", fontsize=8)
        for axes in grid[-1]:
            axes.set_xlabel("read as")
    return figure


def _numbers(species: tuple[str, ...]) -> bool:
    return all(name.replace(".", "", 1).isdigit() for name in species)


def _draw_matrix(axes, counts: np.ndarray, species: tuple[str, ...]) -> None:
    every = counts.sum(axis=1, keepdims=True)
    share = np.where(every > 0, counts / np.maximum(every, 1), 0.0)
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1)  # one hue after another in brightness: read without colours too
    for i, j in np.ndindex(*share.shape):
        text = f"{100 * share[i, j]:.0f}" if every[i] else "–"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if share[i, j] < 0.6 else "black")
    axes.set_xticks(range(len(species)), species, fontsize=7)
    axes.set_yticks(range(len(species)), species, fontsize=7)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def species_table(summary: dict[str, Any]) -> str:
    """Lay out the shares of right species as a table of the report; nothing for runs of one colour."""
    arms, several = summary["arms"], len(summary["readings"]) > 1
    if not arms or "species" not in arms[0]["cells"][0]:
        return ""
    rows = [
        [html.escape(shown_name(arm, several)), html.escape(cell["name"]), _percent(cell["species"])]
        for arm in arms
        for cell in arm["cells"]
    ]
    caption = "Of the emitters found, those whose species the list says rightly (Wilson's interval of 95 %)."
    return f"<h2>Species</h2>{table(caption, ['arm', 'scene', 'right, of so many found'], rows)}"
