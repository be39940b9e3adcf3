"""What `colocus design` tells: a table, files, a summary."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.instrument.design import DesignConfig, DesignResult
from optics.masks import files as mask_io
from optics.masks.limits import largest_step_um, path_range_um, roughness
from optics.whole_file import write_text
from training import to_dict

_AXES = ("x", "y", "z")


def table(config: DesignConfig, result: DesignResult) -> list[str]:
    """The masks and their mean and worst bounds, as lines of text."""
    focus = "each mask at its best focus" if config.free_focus else "all masks at one focus"
    lines = [f"Smallest standard deviations (nm), mean over the depths; {focus}.", ""]
    width = max(len(mask.label) for mask in result.scored) + 2
    lines.append(f"{'mask':<{width}}{'x':>9}{'y':>9}{'z':>9}{'all':>9}{'worst':>9}{'focus (um)':>12}")
    for mask in result.scored:
        mean = mask.bounds_nm.mean(axis=0)
        cells = [*mean, mean.mean(), mask.bounds_nm.mean(axis=1).max()]
        focus_um = float(mask.psf.microscope.focus_um)
        lines.append(f"{mask.label:<{width}}" + "".join(f"{_number(v):>9}" for v in cells) + f"{focus_um:>12.2f}")
    if result.scored[0].among_nm is not None:
        lines += ["", "Among neighbours:", ""]
        for mask in result.scored:
            assert mask.among_nm is not None
            mean = mask.among_nm.mean(axis=0)
            lines.append(f"{mask.label:<{width}}" + "".join(f"{_number(v):>9}" for v in [*mean, mean.mean()]))
    return lines


def _number(value: float) -> str:
    return "inf" if not np.isfinite(value) else f"{value:.2f}" if value < 1e4 else f"{value:.1e}"


def write_mask(config: DesignConfig, result: DesignResult, out: Path) -> None:
    """Write config.json, mask.npz and mask.mat."""
    write_text(out / "config.json", json.dumps(to_dict(config), indent=2) + "\n")
    for suffix in ("npz", "mat"):
        mask_io.save(out / f"mask.{suffix}", result.design.mask)


def write(config: DesignConfig, result: DesignResult, out: Path) -> None:
    """Write bounds.csv (a row per mask and depth), design.png and, last, design.json."""
    from experiments.instrument.design_figure import draw
    from experiments.report.plot_style import save_png

    rows = [
        [mask.label, *_plain([z]), *_plain(mask.bounds_nm[i])]
        for mask in result.scored
        for i, z in enumerate(mask.z_um)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["mask", "z_um", *(f"sigma_{axis}_nm" for axis in _AXES)])
    writer.writerows([["inf" if value is None else value for value in row] for row in rows])
    write_text(out / "bounds.csv", text.getvalue())
    save_png(draw(config, result), out / "design.png")
    write_text(out / "design.json", json.dumps(summary(result), indent=1) + "\n")


def summary(result: DesignResult) -> dict[str, Any]:
    """The numbers of a design, ready for JSON."""
    found = result.design
    shape = {} if found.mask.wrapped else {
        "largest_step_um": float(largest_step_um(found.mask)),
        "path_range_um": float(path_range_um(found.mask)),
        "roughness": float(roughness(found.mask)),
    }  # fmt: skip
    return {
        "finished": found.finished,
        "seconds": round(result.seconds, 1),
        "focus_um": float(found.psf.microscope.focus_um),
        "best_start": result.stages[0][1].best_start,
        "mask": shape,
        "searches": [
            {
                "stage": stage,
                "start": start.label,
                "evaluations": len(start.history_um),
                "least_nm": _plain([1e3 * min(start.history_um)])[0],
            }
            for stage, each in result.stages
            for start in each.starts
        ],
        "masks": [
            {
                "label": mask.label,
                "focus_um": float(mask.psf.microscope.focus_um),
                "objective_nm": _plain([mask.objective_nm])[0],
                "mean_nm": dict(zip(_AXES, _plain(mask.bounds_nm.mean(axis=0)), strict=True)),
                "worst_nm": dict(zip(_AXES, _plain(mask.bounds_nm.max(axis=0)), strict=True)),
                "z_um": _plain(mask.z_um),
                "bounds_nm": [_plain(row) for row in mask.bounds_nm],
                "among_z_um": None if mask.among_z_um is None else _plain(mask.among_z_um),
                "among_nm": None if mask.among_nm is None else [_plain(row) for row in mask.among_nm],
            }
            for mask in result.scored
        ],
    }


def _plain(values: Any) -> list[float | None]:
    """Numbers for a file, to six digits; None where a bound is infinite, which JSON has no number for."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
