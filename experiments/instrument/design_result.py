"""What a design came to: in words, as numbers, drawn, and in files."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.instrument.design_config import DesignConfig
from experiments.report.numbers import csv_text, fixed, plain
from experiments.report.plot_style import (
    Figure,
    arm_styles,
    logarithmic,
    new_figure,
    save_png,
    scale_bar,
    show_phase,
    show_psf,
    styled,
)
from optics import Design, Psf, psf_image
from optics.masks import files as mask_io
from optics.masks.limits import largest_step_um, path_range_um, roughness
from optics.whole_file import write_text
from training import to_dict

OURS = "designed"
_AXES = ("x", "y", "z")
_SHOWN = 7
_image = jax.jit(psf_image)


@dataclasses.dataclass(frozen=True)
class ScoredMask:
    """A mask at its best focus: bounds (Z, 3) in nm at depths `z_um`, and among neighbours (or None); crosstalk."""

    label: str
    psf: Psf
    objective_nm: float
    z_um: np.ndarray
    bounds_nm: np.ndarray
    among_z_um: np.ndarray | None
    among_nm: np.ndarray | None
    crosstalk_um2: float


@dataclasses.dataclass(frozen=True)
class DesignResult:
    """What a design came to. `scored` begins with our mask, and is empty after an interruption."""

    config: DesignConfig
    design: Design
    stages: tuple[tuple[str, Design], ...]
    scored: tuple[ScoredMask, ...]
    seconds: float

    def lines(self) -> list[str]:
        """Say the masks with their mean and worst bounds; where a search was interrupted, nothing."""
        if not self.scored:
            return []
        focus = "each mask at its best focus" if self.config.free_focus else "all masks at one focus"
        lines = [f"Smallest standard deviations (nm), mean over the depths; {focus}.", ""]
        width = max(len(mask.label) for mask in self.scored) + 2
        lines.append(
            f"{'mask':<{width}}{'x':>9}{'y':>9}{'z':>9}{'all':>9}{'worst':>9}{'focus (um)':>12}{'crosstalk (um2)':>17}"
        )
        for mask in self.scored:
            mean = mask.bounds_nm.mean(axis=0)
            cells = [*mean, mean.mean(), mask.bounds_nm.mean(axis=1).max()]
            focus_um = float(mask.psf.microscope.focus_um)
            numbers = "".join(f"{fixed(v, 2):>9}" for v in cells)
            lines.append(f"{mask.label:<{width}}{numbers}{focus_um:>12.2f}{mask.crosstalk_um2:>17.2f}")
        if self.scored[0].among_nm is not None:
            lines += ["", "Among neighbours:", ""]
            for mask in self.scored:
                assert mask.among_nm is not None
                mean = mask.among_nm.mean(axis=0)
                lines.append(f"{mask.label:<{width}}" + "".join(f"{fixed(v, 2):>9}" for v in [*mean, mean.mean()]))
        return lines

    def numbers(self) -> dict[str, Any]:
        """List the search, the mask's shape, and the bounds of every mask in nm."""
        found = self.design
        shape = {} if found.mask.wrapped else {
            "largest_step_um": float(largest_step_um(found.mask)),
            "path_range_um": float(path_range_um(found.mask)),
            "roughness": float(roughness(found.mask)),
        }  # fmt: skip
        return {
            "finished": found.finished,
            "seconds": round(self.seconds, 1),
            "focus_um": float(found.psf.microscope.focus_um),
            "best_start": self.stages[0][1].best_start,
            "mask": shape,
            "searches": [
                {
                    "stage": stage,
                    "start": start.label,
                    "evaluations": len(start.history_um),
                    "least_nm": plain(1e3 * min(start.history_um), 6),
                }
                for stage, each in self.stages
                for start in each.starts
            ],
            "masks": [
                {
                    "label": mask.label,
                    "focus_um": float(mask.psf.microscope.focus_um),
                    "objective_nm": plain(mask.objective_nm, 6),
                    "mean_nm": dict(zip(_AXES, plain(mask.bounds_nm.mean(axis=0), 6), strict=True)),
                    "worst_nm": dict(zip(_AXES, plain(mask.bounds_nm.max(axis=0), 6), strict=True)),
                    "z_um": plain(mask.z_um, 6),
                    "bounds_nm": plain(mask.bounds_nm, 6),
                    "among_z_um": plain(mask.among_z_um, 6),
                    "among_nm": plain(mask.among_nm, 6),
                    "crosstalk_um2": plain(mask.crosstalk_um2, 6),
                }
                for mask in self.scored
            ],
        }

    def figure(self) -> Figure:
        """Draw mask and PSF; below, bounds of x, y, z per depth (log where they differ a lot) and the search."""
        styles = arm_styles([{"label": m.label, "learned": m.label == OURS} for m in self.scored], "tetrapod")
        ours = self.scored[0]
        with styled():
            figure = new_figure(10.5, 5.0)
            above, below = list(figure.subfigures(2, 1, height_ratios=[1.0, 1.75]))  # pyright: ignore[reportArgumentType]
            _draw_psf_row(above.subplots(1, 1 + _SHOWN), ours, self.config.microscope.pixel_um)
            grid = below.subplots(1, 4)
            _draw_bounds(grid[:3], list(self.scored), styles)
            _draw_search(grid[3], self)
            handles, labels = grid[0].get_legend_handles_labels()
            below.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return figure

    def write(self, out: Path) -> list[Path]:
        """Write mask.npz, mask.mat and config.json; after a finished search design.png, bounds.csv and design.json."""
        write_text(out / "config.json", json.dumps(to_dict(self.config), indent=2) + "\n")
        written = [out / "mask.npz", out / "mask.mat"]
        for path in written:
            mask_io.save(path, self.design.mask)
        if not self.design.finished:
            return written
        rows = [
            [mask.label, *plain([z, *bounds], 6)]
            for mask in self.scored
            for z, bounds in zip(mask.z_um, mask.bounds_nm, strict=True)
        ]
        head = ["mask", "z_um", *(f"sigma_{axis}_nm" for axis in _AXES)]
        write_text(out / "bounds.csv", csv_text(head, rows))
        save_png(self.figure(), out / "design.png")
        write_text(out / "design.json", json.dumps(self.numbers(), indent=1) + "\n")
        return [*written, out / "design.png", out / "bounds.csv", out / "design.json"]


def _draw_psf_row(row, mask: ScoredMask, pixel_um: float) -> None:
    """The mask's phase in the first axes, then its image at depths spread over the range."""
    phase_mask = mask.psf.mask
    assert phase_mask is not None
    scope = mask.psf.microscope
    phase = 2 * np.pi * np.asarray(phase_mask.opd_um) / float(scope.wavelength_um)
    show_phase(row[0], phase, float(phase_mask.half_width))
    row[0].set_title("mask (−π to π)")
    shown = np.linspace(mask.z_um[0], mask.z_um[-1], len(row) - 1)
    for axes, z in zip(row[1:], shown, strict=True):
        image = np.asarray(_image(mask.psf, jnp.zeros(3, scope.na.dtype).at[2].set(z)))
        show_psf(axes, image, pixel_um)
        axes.set_title(f"z = {z:.1f} µm")
    scale_bar(row[1], mask.psf.image_px * pixel_um)


def _draw_bounds(panels, scored: list[ScoredMask], styles: dict) -> None:
    """Bounds of x, y and z against depth, a panel each."""
    for k, (axes, axis) in enumerate(zip(panels, "xyz", strict=True)):
        for mask in scored:
            style = {**styles[mask.label], "marker": None}
            axes.plot(mask.z_um, mask.bounds_nm[:, k], label=mask.label, **style)
        least = min(np.min(mask.bounds_nm[:, k]) for mask in scored)
        logarithmic(axes, 0.8 * least, 20 * least)
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
    logarithmic(axes, 0.95 * least, 3 * least)
    axes.set_xlabel("evaluations")
    axes.set_title("objective (nm)" + (", pink: neighbours" if len(result.stages) > 1 else ", every start"))
