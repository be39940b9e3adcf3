"""The figure of `colocus resolution`: the ring correlation, and the line profile where there is one."""

import math

import matplotlib
from matplotlib.figure import Figure

from experiments.lists.resolution import Resolution, ResolutionConfig
from experiments.report.plot_style import FIXED_COLOURS, LEARNED_COLOURS, STYLE, new_figure

_NM_PER_UM = 1000.0


def draw(config: ResolutionConfig, result: Resolution) -> Figure:
    """Correlation against frequency with its threshold and crossing; counts along the line with their fit."""
    rings, profile, width = result.rings, result.profile, result.width
    with matplotlib.rc_context(STYLE):
        figure = new_figure(8.4 if profile is not None else 4.4, 3.0)
        panels = figure.subplots(1, 2 if profile is not None else 1, squeeze=False)[0]
        axes = panels[0]
        axes.plot(rings.frequency_per_um, rings.correlation, color="0.75", linewidth=0.8, label="rings")
        axes.plot(rings.frequency_per_um, rings.smoothed, color=FIXED_COLOURS[0], label="smoothed")
        axes.axhline(rings.threshold, color="black", linewidth=0.8, linestyle="--", label=f"{rings.threshold:.3f}")
        if math.isfinite(rings.resolution_um):
            at = 1.0 / rings.resolution_um
            axes.plot([at], [rings.threshold], "o", color=LEARNED_COLOURS[0])
            axes.annotate(
                f"{_NM_PER_UM * rings.resolution_um:.1f} nm",
                (at, rings.threshold),
                textcoords="offset points",
                xytext=(6, 8),
                color=LEARNED_COLOURS[0],
            )
        axes.set_xlim(0, rings.frequency_per_um[-1])
        axes.set_ylim(min(-0.05, float(rings.smoothed.min())), 1.05)
        axes.set_xlabel("spatial frequency (1/µm)")
        axes.set_ylabel("Fourier ring correlation")
        axes.legend(loc="upper right")
        if profile is not None and width is not None:
            axes = panels[1]
            x_nm = _NM_PER_UM * profile.position_um
            axes.bar(x_nm, profile.count, width=_NM_PER_UM * profile.bin_um, color="0.8", label="counted")
            text = f"fit, {_NM_PER_UM * width.fwhm_um:.1f} nm wide"
            axes.plot(x_nm, width.fitted, color=LEARNED_COLOURS[0], label=text)
            axes.set_xlim(0, x_nm[-1] + _NM_PER_UM * profile.bin_um / 2)
            axes.set_ylim(0, 1.25 * max(1, int(profile.count.max())))
            axes.set_xlabel("position along the line (nm)")
            axes.set_ylabel(f"localizations per {_NM_PER_UM * profile.bin_um:.3g} nm")
            axes.legend(loc="upper right")
    return figure
