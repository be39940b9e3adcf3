"""A mask made ready for hardware: an SLM's picture, an etched plate's heights, and what errors of making cost."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.instrument.fabricate_config import EtchConfig, FabricateConfig
from experiments.instrument.fabricate_files import (
    read_correction_rad,
    read_lut_rad,
    read_numbers,
    write_height,
    write_levels,
    write_picture,
)
from experiments.instrument.robustness import RobustnessRow, measure_robustness, robustness_figure, robustness_table
from experiments.report.numbers import csv_text
from experiments.report.plot_style import Figure, save_png
from optics import PhaseMask, masks, replace
from optics.design.robustness import strehl
from optics.masks.dispersion import Dispersion, fused_silica, index_table
from optics.masks.fabrication import EtchedMask, etch, etched_mask, regrid
from optics.masks.files import pupil_diameter_px
from optics.masks.slm import grey_image, make_slm, shown_mask
from optics.progress import Report, silent
from optics.whole_file import write_text
from training import ConfigError, to_dict
from training.instrument import build_mask, build_microscope, build_psf

# settings of a panel under the names of `make_slm`
_OF_PANEL = ("pitch_um", "grey_per_2pi", "grating_px", "quarter_turns", "outside")
# what only the instrument can say: what is taken where nobody does
_ASSUMED = {
    "grey_falls": "the phase rises with the grey",
    "flip_x": "the panel is not mirrored left to right",
    "flip_y": "the panel is not mirrored top to bottom",
}


@dataclass(frozen=True, eq=False)
class Fabricated:
    """What was made: the mask as meant, picture and mask of the panel, plate and mask of the glass, and the rows."""

    config: FabricateConfig
    meant: PhaseMask
    picture: np.ndarray | None
    shown: PhaseMask | None
    plate: EtchedMask | None
    etched: PhaseMask | None
    rows: list[RobustnessRow]
    facts: dict[str, Any]

    def lines(self) -> list[str]:
        """Say what was self."""
        lines = []
        if slm := self.facts.get("slm"):
            lines.append(
                f"SLM:   pupil {slm['pupil_diameter_px']:.1f} px, {slm['greys_used']} greys, "
                f"{100 * slm['strehl']:.2f} % of the light as meant"
            )
            if slm["assumed"]:
                settings = " ".join(f"slm.{name}=false" for name in slm["assumed"])
                taken = ", that ".join(_ASSUMED[name] for name in slm["assumed"])
                lines.append(
                    f"note:  assumed that {taken}. A wrong one shows another mask; phases that fall "
                    "show the conjugate, which turns depth round. Show a defocus, look "
                    f"which way beads go, then say so: {settings}, or true (--for slmsuite knows its greys)"
                )
        if glass := self.facts.get("etch"):
            levels = "any height" if glass["levels"] is None else f"{glass['levels']} levels"
            lines.append(
                f"plate: pupil {glass['pupil_diameter_px']:.1f} cells of {glass['cells']} "
                f"({glass['plate_mm']:.2f} mm), {levels} up to {glass['highest_um']:.3f} um, "
                f"{100 * glass['strehl']:.2f} % of the light as meant"
            )
        if self.rows:
            radius = self.facts["pupil_radius_um"]
            lines += [
                "",
                f"1 % of the pupil's radius is {radius / 100:.1f} um on the mask",
                *robustness_table(self.rows),
            ]
        return lines

    def numbers(self) -> dict[str, Any]:
        """List what was made and, with the robustness, what each error costs."""
        return self.facts | ({"rows": [dataclasses.asdict(row) for row in self.rows]} if self.rows else {})

    def figure(self) -> Figure:
        """Draw what errors of making cost; empty axes without the robustness."""
        return robustness_figure(self.rows)

    def write(self, out: Path) -> list[Path]:
        """Write everything that was made into a folder; returns the files, the chief ones first."""
        write_text(out / "config.json", json.dumps(to_dict(self.config), indent=2) + "\n")
        written = []
        if self.picture is not None and self.shown is not None:
            for name in ("slm.png", "slm.bmp"):
                write_picture(out / name, self.picture)
                written.append(out / name)
            masks.save(out / "slm_mask.npz", self.shown)
            written.append(out / "slm_mask.npz")
        if self.plate is not None and self.etched is not None:
            optics = {
                "na": self.config.microscope.na,
                "magnification": self.config.magnification,
                "focal_length_um": self.config.focal_length_um,
                "wavelength_um": float(self.meant.design_wavelength_um),
            }
            for name in ("height.tif", "height_nm.csv", "height.mat"):
                write_height(out / name, self.plate, optics)
                written.append(out / name)
            if self.facts["etch"]["levels"] is not None:
                write_levels(out / "levels.png", self.plate)
                written.append(out / "levels.png")
            masks.save(out / "etched_mask.npz", self.etched)
            written.append(out / "etched_mask.npz")
        if self.rows:
            rows = self.numbers()["rows"]
            text = csv_text(list(rows[0]), (row.values() for row in rows))
            write_text(out / "robustness.csv", text)
            save_png(self.figure(), out / "robustness.png")
            write_text(out / "robustness.json", json.dumps(self.numbers(), indent=1) + "\n")
            written += [out / f"robustness.{suffix}" for suffix in ("png", "csv", "json")]
        write_text(out / "fabricate.json", json.dumps(self.facts, indent=2) + "\n")
        return written


def build_dispersion(config: EtchConfig) -> Dispersion:
    """Build the glass of a configuration; raises `ConfigError` or `OpticsError` naming what cannot be."""
    if config.material == "fused_silica":
        return fused_silica(config.n_medium)
    numbers = read_numbers(config.material)
    if numbers.shape[1] != 2:
        raise ConfigError(f"etch.material = {config.material!r} must hold wavelength (um) and index in two columns")
    return index_table(numbers[:, 0], numbers[:, 1], n_medium=config.n_medium)


def fabricate(config: FabricateConfig = FabricateConfig(), report: Report = silent) -> Fabricated:
    """Make the mask of a configuration for its devices and score what errors cost.

    Raises `ConfigError` or `OpticsError` before long work.

    >>> made = fabricate(FabricateConfig(make=("etch",)))
    >>> made.facts["etch"]["levels"]
    16
    """
    scope = build_microscope(config.microscope)
    meant, glass = build_mask(config.mask, scope), build_dispersion(config.etch)
    if not meant.wrapped:  # a path is a path at any wavelength; it is made for the one in use
        meant = replace(meant, design_wavelength_um=scope.wavelength_um)
    depths = (config.z_min_um, config.z_max_um)
    psf = build_psf(config.microscope, config.psf, meant, depths)
    picture = shown = plate = etched = None
    facts: dict[str, Any] = {"wavelength_um": config.microscope.wavelength_um}
    if "slm" in config.make:
        picture, shown, facts["slm"] = _show(config, meant)
    if "etch" in config.make:
        plate, etched, facts["etch"] = _etch(config, meant, glass)
    rows: list[RobustnessRow] = []
    if "robustness" in config.make:
        rows = measure_robustness(psf, glass, depths, config.robustness, report)
        facts["pupil_radius_um"] = _diameter_px(config, 1.0) / 2
    return Fabricated(config, meant, picture, shown, plate, etched, rows, facts)


def _diameter_px(config: FabricateConfig, pitch_um: float) -> float:
    return pupil_diameter_px(
        na=config.microscope.na,
        magnification=config.magnification,
        focal_length_um=config.focal_length_um,
        pitch_um=pitch_um,
    )


def _show(config: FabricateConfig, meant: PhaseMask) -> tuple[np.ndarray, PhaseMask, dict[str, Any]]:
    s = config.slm
    alike: dict[str, Any] = {name: getattr(s, name) for name in _OF_PANEL}
    alike |= {name: bool(getattr(s, name)) for name in _ASSUMED}
    grey = s.correction_grey_per_2pi or s.grey_per_2pi
    lut = read_lut_rad(s.lut) if s.lut else None
    falls = bool(s.grey_falls) if lut is None else bool(lut[-1] < lut[0])
    slm = make_slm(
        shape=(s.rows, s.columns),
        lut_rad=lut,
        # a vendor's picture is greys to be added on the panel: where they mean falling phases, its phases fall too
        correction_rad=read_correction_rad(s.correction, -grey if falls else grey) if s.correction else None,
        centre_px=(s.centre_x_px, s.centre_y_px),
        grating_rad=math.radians(s.grating_deg),
        **alike,
    )
    diameter = _diameter_px(config, s.pitch_um)
    picture = grey_image(slm, meant, pupil_diameter_px=diameter)
    shown = shown_mask(slm, picture, pupil_diameter_px=diameter, wavelength_um=float(meant.design_wavelength_um))
    facts = {
        "pupil_diameter_px": diameter,
        "greys_used": int(np.unique(picture).size),
        "strehl": float(strehl(shown, meant)),
        "grey_falls": falls,
        "assumed": [name for name in _ASSUMED if getattr(s, name) is None and not (name == "grey_falls" and s.lut)],
    }
    return picture, shown, facts


def _etch(config: FabricateConfig, meant: PhaseMask, glass: Dispersion) -> tuple[EtchedMask, PhaseMask, dict[str, Any]]:
    e = config.etch
    diameter = _diameter_px(config, e.pitch_um)
    if diameter < 8:
        raise ConfigError(
            f"etch.pitch_um = {e.pitch_um:g} leaves {diameter:.1f} cells across the pupil; use finer ones"
        )
    # a rim of two cells beyond the pupil, for the light that an imperfect alignment sends there
    size = 2 * math.ceil(diameter / 2 + 2)
    plate = etch(
        regrid(meant, size, size / diameter),
        glass,
        levels=e.levels if e.levels and not e.depths_um else None,
        depths_um=np.array(e.depths_um) if e.depths_um else None,
        wrap=e.wrap,
        pitch_um=e.pitch_um,
    )
    etched = etched_mask(plate)
    facts = {
        "pupil_diameter_px": diameter,
        "cells": size,
        "plate_mm": size * e.pitch_um / 1000,
        "highest_um": float(np.max(np.asarray(plate.height_um))),
        "levels": int(np.unique(np.asarray(plate.level)).size) if int(np.min(np.asarray(plate.level))) >= 0 else None,
        "strehl": float(strehl(etched, meant)),
    }
    return plate, etched, facts
