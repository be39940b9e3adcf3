"""The figure of `colocus design`: the mask, its PSF through depth, its bounds beside others, how it was found."""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.compare.curves import two_and_five
from experiments.compare.pictures import hide_axes, scale_bar, show_phase
from experiments.instrument.design import OURS, DesignConfig, DesignResult, ScoredMask
from experiments.report.plot_style import STYLE, arm_styles, new_figure
from optics import psf_image

_SHOWN = 7
_image = jax.jit(psf_image)


def draw(config: DesignConfig, result: DesignResult) -> Figure:
    """Mask and PSF above; below, bounds of x, y, z per depth (log where they differ a lot) and the search."""
    styles = arm_styles([{"label": m.label, "learned": m.label == OURS} for m in result.scored], "tetrapod")
    ours = result.scored[0]
    with matplotlib.rc_context(STYLE):
        figure = new_figure(10.5, 5.0)
        above, below = list(figure.subfigures(2, 1, height_ratios=[1.0, 1.75]))  # pyright: ignore[reportArgumentType]
        draw_psf_row(above.subplots(1, 1 + _SHOWN), ours, config.microscope.pixel_um)
        grid = below.subplots(1, 4)
        draw_bounds(grid[:3], list(result.scored), styles)
        _draw_search(grid[3], result)
        handles, labels = grid[0].get_legend_handles_labels()
        below.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def draw_psf_row(row, mask: ScoredMask, pixel_um: float, depths: np.ndarray | None = None) -> None:
    """The mask's phase in the first axes, then its image at depths spread over the range."""
    phase_mask = mask.psf.mask
    assert phase_mask is not None
    scope = mask.psf.microscope
    phase = 2 * np.pi * np.asarray(phase_mask.opd_um) / float(scope.wavelength_um)
    show_phase(row[0], phase, float(phase_mask.half_width))
    row[0].set_title("mask (−π to π)")
    shown = np.linspace(mask.z_um[0], mask.z_um[-1], len(row) - 1) if depths is None else depths
    for axes, z in zip(row[1:], shown, strict=True):
        image = np.asarray(_image(mask.psf, jnp.zeros(3, scope.na.dtype).at[2].set(z)))
        side = image.shape[-1] * pixel_um
        axes.imshow(np.sqrt(np.maximum(image, 0)), cmap="gray", extent=(0, side, side, 0), vmin=0)
        axes.set_title(f"z = {z:.1f} µm")
        hide_axes(axes)
    scale_bar(row[1], mask.psf.image_px * pixel_um)


def draw_bounds(panels, scored: list[ScoredMask], styles: dict) -> None:
    """Bounds of x, y and z against depth, a panel each."""
    for k, (axes, axis) in enumerate(zip(panels, "xyz", strict=True)):
        for mask in scored:
            style = {**styles[mask.label], "marker": None}
            axes.plot(mask.z_um, mask.bounds_nm[:, k], label=mask.label, **style)
        least = min(np.min(mask.bounds_nm[:, k]) for mask in scored)
        _logarithmic(axes, 0.8 * least, 20 * least)
        axes.set_xlabel("z (µm)")
        axes.set_title(f"bound in {axis} (nm)")


def _draw_search(axes, result: DesignResult) -> None:
    for stage, found in result.stages:
        for start in found.starts:
            best = np.minimum.accumulate(1e3 * np.asarray(start.history_um))
            chosen = start.label == found.best_start
            colour = "#D55E00" if chosen else "0.7"
            if stage != "alone":
                colour = "#CC79A7"
            axes.plot(np.arange(1, best.size + 1), best, color=colour, zorder=2 + chosen)
    least = 1e3 * min(min(start.history_um) for _, found in result.stages for start in found.starts)
    _logarithmic(axes, 0.95 * least, 3 * least)
    axes.set_xlabel("evaluations")
    axes.set_title("objective (nm)" + (", pink: neighbours" if len(result.stages) > 1 else ", every start"))


def _logarithmic(axes, low: float, high: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(two_and_five)
