"""Bounds of one or several masks: in words, as numbers, drawn, and in files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.instrument.crlb_config import CrlbConfig
from experiments.report.numbers import csv_text, fixed, plain
from experiments.report.plot_style import Figure, arm_styles, logarithmic, new_figure, save_png, styled
from optics.whole_file import write_text
from training import to_dict

AXES = ("x", "y", "z")
_AVERAGES = ("effective", "median", "mean", "informative")


@dataclass(frozen=True)
class ArmBounds:
    """Bounds of one mask: (Z, J) through depth in the units of `columns`, and among neighbours (D, 3) in nm.

    `effective_nm` is the geometric mean over scenes, `median_nm` and `mean_nm` other averages of the same standard
    deviations and `informative_nm` 1 / sqrt(mean of 1 / variance); each is averaged over the depths.
    """

    label: str
    columns: tuple[str, ...]
    z_um: np.ndarray
    marginal: np.ndarray
    conditional: np.ndarray
    densities_per_um2: tuple[float, ...]
    effective_nm: np.ndarray
    median_nm: np.ndarray
    mean_nm: np.ndarray
    informative_nm: np.ndarray

    def plain(self) -> dict[str, Any]:
        """List the bounds to six digits; None where one is infinite, which JSON has no number for."""
        numbers = {"label": self.label, "columns": list(self.columns)}
        for name in ("z_um", "marginal", "conditional"):
            numbers[name] = plain(getattr(self, name), 6)
        numbers["densities_per_um2"] = list(self.densities_per_um2)
        return numbers | {f"{a}_nm": plain(getattr(self, f"{a}_nm"), 6) for a in _AVERAGES}


@dataclass(frozen=True, eq=False)
class CrlbResult:
    """The bounds of every mask of a configuration."""

    config: CrlbConfig
    arms: list[ArmBounds]

    def lines(self) -> list[str]:
        """Say the bounds: per depth, marginal and conditional; then against density."""
        lines = ["Smallest standard deviation; in brackets with all other parameters known."]
        wanted = [k for k, name in enumerate(self.arms[0].columns) if name not in ("photons", "background")]
        width = max(12, max(len(result.label) for result in self.arms) + 1)
        for result in self.arms:
            head = "".join(f"{_label(result.columns[k]):>18}" for k in wanted)
            lines += ["", f"{result.label:<{width}}{'z (um)':>8}{head}"]
            rows = [(f"{z:.2f}", result.marginal[i], result.conditional[i]) for i, z in enumerate(result.z_um)]
            rows.append(("mean", result.marginal.mean(axis=0), result.conditional.mean(axis=0)))
            for name, marginal, conditional in rows:
                cells = "".join(f"{_bound(marginal[k]):>9}{'(' + _bound(conditional[k]) + ')':>9}" for k in wanted)
                lines.append(f"{'':<{width}}{name:>8}{cells}")
        if self.arms[0].densities_per_um2:
            lines += ["", "Among neighbours, effective x / y / z (nm), mean over a few depths:", ""]
            lines.append(f"{'per um2':<{width}}" + "".join(f"{result.label:>24}" for result in self.arms))
            for i, density in enumerate(self.arms[0].densities_per_um2):
                cells = (" / ".join(_bound(v) for v in result.effective_nm[i]) for result in self.arms)
                lines.append(f"{density:<{width}g}" + "".join(f"{cell:>24}" for cell in cells))
        return lines

    def numbers(self) -> dict[str, Any]:
        """List the bounds of every mask."""
        return {"arms": [arm.plain() for arm in self.arms]}

    def figure(self) -> Figure:
        """Draw marginal (lines) and conditional (dashes) bounds of x, y, z through depth; below, among neighbours."""
        from matplotlib.lines import Line2D  # not before it is needed

        masks = [{"label": result.label, "learned": False} for result in self.arms]
        styles = arm_styles(masks, self.arms[0].label)
        crowded = bool(self.arms[0].densities_per_um2)
        with styled():
            figure = new_figure(9.6, 5.4 if crowded else 3.0)
            grid = figure.subplots(1 + crowded, 4, squeeze=False, width_ratios=[1, 1, 1, 0.55])
            for k, axis in enumerate(AXES):
                through, among = grid[0, k], grid[-1, k]
                for result in self.arms:
                    style = styles[result.label]
                    through.plot(result.z_um, result.marginal[:, k], label=result.label, **style)
                    through.plot(
                        result.z_um, result.conditional[:, k], color=style["color"], linestyle=":", linewidth=1
                    )
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

    def write(self, out: Path) -> list[Path]:
        """Write config.json, crlb.csv (a row per mask and depth), neighbours.csv (per density), crlb.json, crlb.png."""
        written = [out / name for name in ("crlb.png", "crlb.csv", "crlb.json")]
        picture, table, numbers = written
        write_text(out / "config.json", json.dumps(to_dict(self.config), indent=2) + "\n")
        arms = self.numbers()["arms"]
        columns = arms[0]["columns"]
        head = ["mask", "z_um", *(f"sigma_{c}" for c in columns), *(f"conditional_sigma_{c}" for c in columns)]
        rows = [
            [arm["label"], z, *marginal, *conditional]
            for arm in arms
            for z, marginal, conditional in zip(arm["z_um"], arm["marginal"], arm["conditional"], strict=True)
        ]
        write_text(table, csv_text(head, rows))
        if arms[0]["densities_per_um2"]:
            head = [
                "mask",
                "density_per_um2",
                *(f"{average}_sigma_{axis}_nm" for average in _AVERAGES for axis in AXES),
            ]
            rows = [
                [arm["label"], density, *(value for average in _AVERAGES for value in arm[f"{average}_nm"][i])]
                for arm in arms
                for i, density in enumerate(arm["densities_per_um2"])
            ]
            written.append(out / "neighbours.csv")
            write_text(written[-1], csv_text(head, rows))
        write_text(numbers, json.dumps({"arms": arms}, indent=1) + "\n")
        save_png(self.figure(), picture)
        return written


def _label(column: str) -> str:
    name, _, unit = column.rpartition("_")
    return f"{name} ({unit})" if name else column


def _bound(value: float) -> str:
    return fixed(value, 1)


def _scale(axes) -> None:
    """From 0 where the curves are of one order, else logarithmic."""
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    if values.size == 0 or values.max() < 10 * values.min():
        axes.set_ylim(0, None)
        return
    logarithmic(axes, values.min() / 1.3, min(values.max(), 1e3 * values.min()) * 1.3)
