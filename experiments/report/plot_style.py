"""How the figures look: colours, fonts, and a PNG written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optics.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure
else:
    Figure = Any  # matplotlib takes long to load: not before something is drawn


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


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the house's style while the block lasts."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure (inches) that needs no display and leaves matplotlib's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure to `path`, whole or not at all."""
    with whole_file(path) as part, styled():
        figure.savefig(part, format="png", dpi=DPI)


def outline() -> dict[str, Any]:
    """Give a mark or a letter a dark rim, so that it shows on bright and on dark."""
    from matplotlib.patheffects import withStroke

    return {"path_effects": [withStroke(linewidth=2.2, foreground="black")]}


def arm_styles(arms: list[dict[str, Any]], reference: str) -> dict[str, dict[str, Any]]:
    """Choose colour and marker of every arm (mappings with `label` and `learned`): learned loud, reference blue."""
    loud, calm = list(LEARNED_COLOURS), list(FIXED_COLOURS)
    styles = {}
    for arm in sorted(arms, key=lambda arm: arm["label"] != reference):
        colours = loud if arm["learned"] else calm
        colour = colours.pop(0) if colours else "#7F7F7F"
        styles[arm["label"]] = {"color": colour, "marker": MARKERS[len(styles) % len(MARKERS)]}
    return {arm["label"]: styles[arm["label"]] for arm in arms}


def hide_axes(axes) -> None:
    """Take ticks, grid and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_phase(axes, phase_rad: np.ndarray, half_width: float):
    """Draw a phase inside the NA, wrapped to +-pi, its piston (which no camera sees) taken away."""
    from matplotlib.patches import Circle

    n = phase_rad.shape[0]
    x = (np.arange(n) + 0.5) / n * 2 - 1
    inside = np.hypot(*np.meshgrid(x, x)) * half_width <= 1
    field = np.exp(1j * phase_rad)
    wrapped = np.angle(field * np.conj(field[inside].mean()))
    extent = (-half_width, half_width, half_width, -half_width)
    shown = np.where(inside, wrapped, np.nan)
    image = axes.imshow(shown, cmap="twilight_shifted", vmin=-np.pi, vmax=np.pi, extent=extent, interpolation="nearest")
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.4", linewidth=0.8))
    axes.set_xlim(-1.03, 1.03)
    axes.set_ylim(1.03, -1.03)
    hide_axes(axes)
    return image


def scale_bar(axes, side_um: float) -> None:
    """Draw a bar of 1 or 0.5 um into a picture `side_um` wide."""
    length = 1.0 if side_um > 3 else 0.5
    axes.plot([0.05 * side_um, 0.05 * side_um + length], [0.94 * side_um] * 2, color="white", linewidth=2)
    label = f"{length:g} µm"
    axes.text(0.05 * side_um, 0.9 * side_um, label, color="white", fontsize=6.5, va="bottom", **outline())


def show_psf(axes, image: np.ndarray, pixel_um: float) -> float:
    """Draw a PSF on a square-root grey scale of its own; returns the side of the picture in um."""
    side = image.shape[-1] * pixel_um
    axes.imshow(np.sqrt(np.maximum(image, 0)), cmap="gray", extent=(0, side, side, 0), vmin=0)
    hide_axes(axes)
    return side


def logarithmic(axes, low: float | None = None, high: float | None = None) -> None:
    """Make the y axis logarithmic from `low` to `high`, with labels at 1, 2 and 5 of each decade."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(_two_and_five)


def _two_and_five(value: float, position: int) -> str:
    del position
    lead = value / 10 ** np.floor(np.log10(value))
    return f"{value:g}" if round(lead, 3) in (2.0, 5.0) else ""
