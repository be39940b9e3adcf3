"""The settings of `colocus crlb --species`."""

import dataclasses
from typing import Literal

from experiments.instrument.crlb_config import CrlbArm
from training import CameraConfig, ConfigError, MaskConfig, MicroscopeConfig, PsfConfig
from training.settings import check

Material = Literal["silica", "slm", "mirror"]


@dataclasses.dataclass(frozen=True)
class SpeciesConfig:
    """What `colocus crlb --species` computes: how well images tell `species` apart, behind every mask of `arms`.

    A species is nanometres ("580"), a band ("green", "orange", "red", "far_red") or files of spectra
    ("dye.csv*filter.csv"), of `lines` wavelengths each. Emitters of `photons` on `background` photons per pixel, at
    `depths` depths from `z_min_um` to `z_max_um`, of which nothing else is known. `material` is what the masks are made
    of: "silica" is etched, "slm" a liquid crystal (modulo 2 pi), "mirror" the same path at every wavelength.
    """

    species: tuple[str, ...] = ("580", "670")
    microscope: MicroscopeConfig = MicroscopeConfig(focus_um=1.35)
    psf: PsfConfig = PsfConfig(stamp_px=31)
    camera: CameraConfig = CameraConfig()
    arms: tuple[CrlbArm, ...] = (
        CrlbArm("clear pupil", MaskConfig("flat")),
        CrlbArm("tetrapod", MaskConfig("tetrapod", range_um=2.0)),
        CrlbArm("double helix", MaskConfig("double_helix", range_um=2.0)),
    )
    material: Material = "silica"
    lines: int = 3
    photons: tuple[float, ...] = (1000.0, 3500.0, 10000.0)
    background: float = 50.0
    z_min_um: float = 0.0
    z_max_um: float = 2.0
    depths: int = 9

    def __post_init__(self):
        labels = [arm.label for arm in self.arms]
        check(bool(labels) and len(set(labels)) == len(labels), "arms", labels, "must be masks with different labels")
        if len(self.species) < 2:
            raise ConfigError(f"species = {','.join(self.species)}: give at least two, such as 580,670")
        twice = sorted({name for name in self.species if self.species.count(name) > 1})
        if twice:
            raise ConfigError(f"species = {','.join(self.species)}: {twice[0]} is given twice")
        if any(arm.psf_file for arm in self.arms):
            raise ConfigError("a calibrated PSF knows one wavelength: give masks behind --mask, no --psf")
        check(bool(self.photons) and min(self.photons) > 0, "photons", self.photons, "must be positive numbers")
        check(self.background >= 0, "background", self.background, "must not be negative")
        check(self.depths >= 2, "depths", self.depths, "must be at least 2")
        check(self.lines >= 1, "lines", self.lines, "must be at least 1")
        check(self.z_min_um < self.z_max_um, "z_min_um", self.z_min_um, f"must be below z_max_um = {self.z_max_um:g}")
        check(self.psf.pupil_px is None, "psf.pupil_px", self.psf.pupil_px, "is chosen for the species; leave it out")
        self.microscope.check_depths("z_min_um", self.z_min_um)
