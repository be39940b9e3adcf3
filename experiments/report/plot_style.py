"""How the figures look: colours, fonts, and a PNG written whole or not at all."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from optics.whole_file import whole_file

# Okabe and Ito's colours, told apart by colour-blind readers; the learned arms take the first, loud ones
LEARNED_COLOURS = ("#D55E00", "#CC79A7")
FIXED_COLOURS = ("#0072B2", "#009E73", "#000000", "#56B4E9", "#E69F00", "#7F7F7F")
MARKERS = "osD^vPX*"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
}
DPI = 160


def new_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) that needs no display and leaves matplotlib's global state alone."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure to `path`, whole or not at all."""
    with whole_file(path) as part, matplotlib.rc_context(STYLE):
        figure.savefig(part, format="png", dpi=DPI)


def arm_styles(arms: list[dict[str, Any]], reference: str) -> dict[str, dict[str, Any]]:
    """Colour and marker of every arm (mappings with `label` and `learned`): learned loud, reference blue."""
    loud, calm = list(LEARNED_COLOURS), list(FIXED_COLOURS)
    styles = {}
    for arm in sorted(arms, key=lambda arm: arm["label"] != reference):
        colours = loud if arm["learned"] else calm
        colour = colours.pop(0) if colours else "#7F7F7F"
        styles[arm["label"]] = {"color": colour, "marker": MARKERS[len(styles) % len(MARKERS)]}
    return {arm["label"]: styles[arm["label"]] for arm in arms}
