"""The figure of `colocus crlb`: bounds through depth, and against the density of neighbours."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.compare.curves import two_and_five
from experiments.instrument.crlb import AXES, ArmBounds
from experiments.report.plot_style import STYLE, arm_styles, new_figure


def draw(results: list[ArmBounds]) -> Figure:
    """Marginal (lines) and conditional (dashes) bounds of x, y, z through depth; below, among neighbours."""
    arms = [{"label": result.label, "learned": False} for result in results]
    styles = arm_styles(arms, results[0].label)
    crowded = bool(results[0].densities_per_um2)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(9.6, 5.4 if crowded else 3.0)
        grid = figure.subplots(1 + crowded, 4, squeeze=False, width_ratios=[1, 1, 1, 0.55])
        for k, axis in enumerate(AXES):
            through, among = grid[0, k], grid[-1, k]
            for result in results:
                style = styles[result.label]
                through.plot(result.z_um, result.marginal[:, k], label=result.label, **style)
                through.plot(result.z_um, result.conditional[:, k], color=style["color"], linestyle=":", linewidth=1)
                if crowded:
                    among.plot(result.densities_per_um2, result.effective_nm[:, k], **style)
            through.set_xlabel("z (µm)")
            through.set_ylabel(f"precision bound in {axis} (nm)")
            _scale(through)
            if crowded:
                among.set_xlabel("emitters per µm²")
                among.set_ylabel(f"bound in {axis} among neighbours (nm)")
                _scale(among)
        for axes in grid[:, 3]:
            axes.set_axis_off()
        handles, labels = grid[0, 0].get_legend_handles_labels()
        handles.append(Line2D([], [], color="0.4", linestyle=":", linewidth=1))
        grid[0, 3].legend(handles, [*labels, "all else known"], loc="center", fontsize=9)
    return figure


def _scale(axes) -> None:
    """From 0 where the curves are of one order, else logarithmic."""
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    if values.size == 0 or values.max() < 10 * values.min():
        axes.set_ylim(0, None)
        return
    axes.set_yscale("log")
    axes.set_ylim(values.min() / 1.3, min(values.max(), 1e3 * values.min()) * 1.3)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(two_and_five)
