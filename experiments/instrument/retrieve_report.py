"""The pictures and the page of a retrieval: pupil, slices measured and modelled, fit through focus, Zernike table."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.report.page import Figures, page, table
from experiments.report.plot_style import FIXED_COLOURS, new_figure, save_png, styled
from optics.masks.sampling import mask_grid
from optics.retrieval.beads import BeadStack
from optics.retrieval.types import BeadFit, Retrieval
from optics.retrieval.undetermined import mode_names
from optics.whole_file import write_text
from training import MicroscopeConfig

SLICES_SHOWN = 7
_MEASURED, _MODEL, _CEILING = FIXED_COLOURS[2], FIXED_COLOURS[0], FIXED_COLOURS[4]


def write_report(
    retrieval: Retrieval,
    names: Sequence[str],
    notes: Sequence[str],
    stacks: Sequence[BeadStack],
    scope: MicroscopeConfig,
    out: Path,
) -> None:
    """Write figures/*.png and report.html of a retrieval into the folder `out`."""
    figures = {"pupil": out / "figures" / "pupil.png"}
    with styled():
        draw_pupil(retrieval, figures["pupil"])
        for name, bead, stack in zip(names, retrieval.beads, stacks, strict=True):
            for kind, draw in (("slices", draw_slices), ("fit", draw_fit)):
                figures[f"{kind}-{name}"] = out / "figures" / f"{kind}-{name}.png"
                draw(bead, stack, figures[f"{kind}-{name}"])
    shown = Figures(figures)
    body = [
        shown.figure(
            "pupil",
            "The pupil",
            "Phase by convention: no mean, no mean ramp, no mean slope along defocus. Circles: the NA, and the "
            "critical angle of the sample where it lies inside. Amplitude relative to its largest.",
        )
    ]
    for name in names:
        body.append(
            shown.figure(
                f"slices-{name}",
                f"{name}: slices",
                "Measured and modelled on one square-root grey scale a slice; residuals in standard deviations of the "
                "noise model, from -5 to 5.",
            )
        )
        body.append(shown.figure(f"fit-{name}", f"{name}: the fit through focus", _FIT_CAPTION))
    body.append(_bead_table(retrieval, names))
    body.append(_zernike_table(retrieval))
    subtitle = (
        f"NA {scope.na:g}, {1e3 * scope.wavelength_um:g} nm light, {1e3 * scope.pixel_um:g} nm pixels, indices "
        f"{scope.n_immersion:g} (immersion) and {scope.n_sample:g} (sample); {len(stacks)} bead(s), "
        f"{sum(len(s.focus_um) for s in stacks)} slices."
    )
    write_text(
        out / "report.html", page("A calibrated PSF", subtitle, _verdict(retrieval, notes), _NOTE, "\n".join(body))
    )


_FIT_CAPTION = (
    "Correlation of measured and modelled slices over the whole crop, against the ceiling that the noise in the "
    "corners sets; chi-square per pixel under the noise model; light and background of each slice."
)
_NOTE = (
    "The ceiling is the correlation of a perfect model with images as noisy as their corners; the light's own noise "
    "lowers it further. A correlation above it means that the corners hold light of the bead."
)


def _verdict(retrieval: Retrieval, notes: Sequence[str]) -> list[str]:
    """The sentences at the head of the page."""
    beads = retrieval.beads
    mean = float(np.mean([bead.correlation.mean() for bead in beads]))
    below = float(np.mean([np.mean(bead.ceiling - bead.correlation) for bead in beads]))
    first = f"Mean correlation of slices and model {mean:.4f}, {below:.4f} below what the noise allows."
    return [first, *notes, *retrieval.notes]


def draw_pupil(retrieval: Retrieval, path: Path) -> None:
    """Draw phase and amplitude inside the NA."""
    from matplotlib.patches import Circle  # not before it is needed

    scope = retrieval.psf.microscope
    x, y = (np.asarray(u) for u in mask_grid(len(retrieval.phase_rad)))
    outside = np.hypot(x, y) > 1
    figure = new_figure(7.2, 3.2)
    axes = figure.subplots(1, 2)
    critical = float(scope.n_sample) / float(scope.na)
    phase = np.where(outside, np.nan, retrieval.phase_rad)
    amplitude = retrieval.amplitude / retrieval.amplitude[~outside].max()
    pictures = (
        (phase, "twilight", (-np.pi, np.pi), "phase (rad)"),
        (np.where(outside, np.nan, amplitude), "viridis", (0, 1), "amplitude"),
    )
    for ax, (picture, colours, (low, high), label) in zip(axes, pictures, strict=True):
        shown = ax.imshow(picture, cmap=colours, vmin=low, vmax=high, extent=(-1, 1, 1, -1), interpolation="nearest")
        for radius in (1.0, critical) if critical < 1 else (1.0,):
            ax.add_artist(Circle((0, 0), radius, fill=False, color="#555555", lw=0.8, ls="--"))
        ax.grid(False)
        ax.set_xlabel("x (pupil radii)")
        ax.set_ylabel("y (pupil radii)")
        bar = figure.colorbar(shown, ax=ax, shrink=0.85, label=label)
        if colours == "twilight":
            bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])
    save_png(figure, path)


def draw_slices(bead: BeadFit, stack: BeadStack, path: Path) -> None:
    """Draw rows: measured, model, residual; columns: slices evenly through the scan."""
    focus = np.asarray(stack.focus_um)
    order = np.argsort(focus)
    chosen = order[np.unique(np.linspace(0, len(focus) - 1, SLICES_SHOWN).round().astype(int))]
    images = np.asarray(stack.images)
    figure = new_figure(1.25 * len(chosen) + 0.5, 3.9)
    axes = figure.subplots(3, len(chosen), squeeze=False)
    variance = bead.noise.variance(bead.model_adu - bead.background_adu[:, None, None])
    for column, z in enumerate(chosen):
        top = max(images[z].max() - bead.background_adu[z], 1e-12)

        def shade(picture: NDArray, z=z, top=top) -> NDArray:
            return np.sqrt(np.clip((picture - bead.background_adu[z]) / top, 0, None))

        residual = (images[z] - bead.model_adu[z]) / np.sqrt(variance[z])
        rows = (
            (shade(images[z]), {"cmap": "gray", "vmin": 0, "vmax": 1}),
            (shade(bead.model_adu[z]), {"cmap": "gray", "vmin": 0, "vmax": 1}),
            (residual, {"cmap": "RdBu_r", "vmin": -5, "vmax": 5}),
        )
        for row, (picture, options) in enumerate(rows):
            ax = axes[row, column]
            ax.imshow(picture, interpolation="nearest", **options)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(False)
        axes[0, column].set_title(f"{focus[z]:+.2f} µm")
        axes[2, column].set_xlabel(f"{bead.correlation[z]:.4f}", fontsize=8)
    for row, name in enumerate(("measured", "model", "residual")):
        axes[row, 0].set_ylabel(name)
    save_png(figure, path)


def draw_fit(bead: BeadFit, stack: BeadStack, path: Path) -> None:
    """Draw correlation, chi-square, signal and background of each slice."""
    focus = np.asarray(stack.focus_um)
    order = np.argsort(focus)
    figure = new_figure(7.2, 2.6)
    axes = figure.subplots(1, 3)
    axes[0].plot(focus[order], bead.correlation[order], "o-", color=_MODEL, ms=3, label="model")
    axes[0].plot(focus[order], bead.ceiling[order], "-", color=_CEILING, label="noise ceiling")
    axes[0].set_ylabel("correlation")
    axes[0].legend()
    axes[1].plot(focus[order], bead.chi2[order], "o-", color=_MODEL, ms=3)
    axes[1].axhline(1, color=_MEASURED, lw=0.8, ls=":")
    axes[1].set_ylabel("chi-square per pixel")
    axes[1].set_ylim(bottom=0)
    axes[2].plot(focus[order], bead.signal_adu[order] / bead.signal_adu.max(), "o-", color=_MODEL, ms=3, label="light")
    level = bead.background_adu[order]
    axes[2].plot(focus[order], level / max(np.abs(level).max(), 1e-12), "-", color=_CEILING, label="background")
    axes[2].set_ylabel("relative to the largest")
    axes[2].legend()
    for ax in axes:
        ax.set_xlabel("focus (µm)")
    save_png(figure, path)


def _bead_table(retrieval: Retrieval, names: Sequence[str]) -> str:
    head = ["bead", "correlation", "worst slice", "ceiling", "chi2", "focus offset, µm", "x, y, nm", "walk, nm/µm"]
    rows = []
    for name, bead in zip(names, retrieval.beads, strict=True):
        rows.append(
            [
                html.escape(name),
                f"{bead.correlation.mean():.4f}",
                f"{bead.correlation.min():.4f}",
                f"{bead.ceiling.mean():.4f}",
                f"{bead.chi2.mean():.2f}",
                f"{bead.focus_offset_um:+.3f}",
                f"{1e3 * bead.xy_um[0]:+.0f}, {1e3 * bead.xy_um[1]:+.0f}",
                f"{1e3 * np.hypot(*bead.tilt):.0f}",
            ]
        )
    caption = "x and y from the centre of the crop, at the middle of the scan."
    return f"<h2>Beads</h2>{table(caption, head, rows)}"


def _zernike_table(retrieval: Retrieval) -> str:
    names = mode_names(len(retrieval.zernike_rad))
    wavelength_nm = 1e3 * float(retrieval.psf.microscope.wavelength_um)
    order = sorted(range(3, len(names)), key=lambda j: -abs(retrieval.zernike_rad[j]))[:15]
    rows = [
        [
            f"({names[j][0]}, {names[j][1]})",
            f"{retrieval.zernike_rad[j]:+.3f}",
            f"{retrieval.zernike_rad[j] * wavelength_nm / (2 * np.pi):+.1f}",
        ]
        for j in order
    ]
    caption = (
        f"The 15 largest of {len(names)} modes, fitted to the wrapped phase steps over the NA; m > 0 cosine, "
        f"m &lt; 0 sine. They leave {retrieval.zernike_rest_rad:.2f} rad rms. All modes are in metrics.json."
    )
    return f"<h2>Zernike modes</h2>{table(caption, ['(n, m)', 'rms, rad', 'rms, nm'], rows)}"
