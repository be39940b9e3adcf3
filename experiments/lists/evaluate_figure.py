"""The figure of `colocus evaluate LOCS --truth TRUTH`."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.lists.evaluate import TableResult
from experiments.report.plot_style import FIXED_COLOURS, MARKERS, STYLE, new_figure

_NM_PER_UM = 1000.0


def draw(result: TableResult) -> Figure:
    """Precision against recall at every gate; at the first, errors over predicted sigma and their reliability."""
    first = result.gates[0].calibration
    known = [name for name in "xyz"[: result.dimensions] if getattr(first, name).n]
    colour = dict(zip("xyz", FIXED_COLOURS, strict=False))
    with matplotlib.rc_context(STYLE):
        figure = new_figure(3.5 * (4 if known else 1), 3.1)
        panels = figure.subplots(1, 4 if known else 1, squeeze=False)[0]
        axes = panels[0]
        for k, gate in enumerate(result.gates):
            style = {"color": FIXED_COLOURS[k % len(FIXED_COLOURS)]}
            if gate.curve.threshold.size < 40:
                style["marker"] = MARKERS[k % len(MARKERS)]
            text = f"{gate.name}: AP {gate.average_precision.estimate:.3f}"
            axes.plot(gate.curve.recall, gate.curve.precision, label=text, **style)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.legend(loc="lower left")
        if known:
            _histogram(panels[1], first, known, colour)
            _reliability(panels[2], first, known, colour)
            _bins(panels[3], first, known, colour)
    return figure


def _histogram(axes, calibration, known, colour) -> None:
    for name in known:
        axis = getattr(calibration, name)
        density = axis.histogram / (axis.n * np.diff(axis.edges))
        axes.stairs(density, axis.edges, color=colour[name], label=f"{name}: {axis.ratio:.2f}", linewidth=1.2)
    x = np.linspace(-6, 6, 241)
    axes.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="0.5", linestyle=":", label="predicted")
    axes.set_xlim(-6, 6)
    axes.set_ylim(0, None)
    axes.set_xlabel("error / predicted sigma")
    axes.set_ylabel("density")
    axes.legend(loc="upper right")


def _reliability(axes, calibration, known, colour) -> None:
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":")
    for name in known:
        axis = getattr(calibration, name)
        axes.plot(axis.probability, axis.fraction, color=colour[name], label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("predicted central interval")
    axes.set_ylabel("share of errors inside")
    axes.legend(loc="upper left")


def _bins(axes, calibration, known, colour) -> None:
    top = 0.0
    for name, marker in zip(known, MARKERS, strict=False):
        axis = getattr(calibration, name)
        sigma_nm, error_nm = _NM_PER_UM * axis.bin_sigma_um, _NM_PER_UM * axis.bin_error_um
        axes.plot(sigma_nm, error_nm, color=colour[name], marker=marker, label=name)
        top = max(top, float(np.max(sigma_nm)), float(np.max(error_nm)))
    axes.plot([0, top], [0, top], color="0.5", linestyle=":")
    axes.set_xlim(0, 1.05 * top)
    axes.set_ylim(0, 1.05 * top)
    axes.set_xlabel("predicted sigma (nm)")
    axes.set_ylabel("spread of errors (nm)")
    axes.legend(loc="upper left")
