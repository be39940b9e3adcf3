"""Configuration of a generator's fit: frozen dataclasses of plain numbers, checked before any long work."""

import dataclasses
import math
from typing import Literal

from localization import MovieOptions
from nets.dlp import DlpConfig, parity_config
from nets.errors import NetsError
from training.config import CameraConfig, MaskConfig, MicroscopeConfig, PsfConfig
from training.generator.fit import FitSettings
from training.generator.model import Branches
from training.settings import ConfigError, check, check_range

Photometry = Literal["auto", "camera", "movie", "frames"]


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Configuration of a generator: its microscope, camera and PSF, the crops of a movie that it learns from, its fit.

    `psf_file` is a whole PSF (psf.npz) in place of `psf` and `mask`; its microscope must be the configured one. Depths
    go from `z_min_um` to `z_max_um`; where they are equal, all emitters lie in that plane.

    `photometry` says how counts become photons: "camera" by the configured camera; "movie" by gain and offset from the
    noise between successive frames; "frames" by those from the noise within frames, for frames that were stretched to
    a range or do not follow each other; "auto" by the camera where one is configured, else as the movie allows.

    `crops` squares of `crop_px` pixels are cut; the share `held_out` of them comes from frames of their own. A crop
    has at most `slots` emitters. Proposals closer than `radius_px` are one (0: from the PSF's size); templates ignore
    light that is smoother than `smooth_px`; haze and background are not sharper than `haze_px` and `cell_px`.
    `learn_psf` fits small aberrations and blur to the brightest emitters: for movies with many that stand alone on an
    even background, because structure under them is taken for aberrations. `parity` uses the published networks.
    `opening` says how the movie is opened.
    """

    title: str = ""
    microscope: MicroscopeConfig = MicroscopeConfig()
    psf: PsfConfig = PsfConfig()
    mask: MaskConfig = MaskConfig()
    psf_file: str = ""
    camera: CameraConfig = CameraConfig()
    photometry: Photometry = "auto"
    z_min_um: float = 0.0
    z_max_um: float = 2.0
    crop_px: int = 129
    crops: int = 250
    held_out: float = 0.1
    slots: int = 25
    radius_px: int = 0
    smooth_px: float = 3.0
    haze_px: float = 2.5
    cell_px: int = 6
    fit: FitSettings = FitSettings()
    branches: Branches = Branches()
    learn_psf: bool = False
    parity: bool = False
    seed: int = 0
    opening: MovieOptions = MovieOptions()

    def __post_init__(self):
        check_range("z_min_um, z_max_um", self.z_min_um, self.z_max_um)
        if max(abs(self.z_min_um), abs(self.z_max_um)) > 100:
            raise ConfigError(f"z_max_um = {self.z_max_um:g} looks like nanometres; give um")
        check(self.crop_px >= 24, "crop_px", self.crop_px, "must be at least 24 pixels")
        check(self.crops >= 4, "crops", self.crops, "must be at least 4")
        check(0 <= self.held_out <= 0.5, "held_out", self.held_out, "must lie in [0, 0.5]")
        check(self.radius_px >= 0, "radius_px", self.radius_px, "must be 0 (from the PSF) or more")
        check(1 <= self.smooth_px < math.inf, "smooth_px", self.smooth_px, "must be at least 1 pixel")
        f = self.fit
        for name in ("steps", "batch", "refine_steps"):
            check(getattr(f, name) >= 1, f"fit.{name}", getattr(f, name), "must be at least 1")
        for name in ("learning_rate", "refine_rate"):
            check(getattr(f, name) > 0, f"fit.{name}", getattr(f, name), "must be positive")
        check(0 <= f.warmup <= 1, "fit.warmup", f.warmup, "must lie in [0, 1]")
        for field in dataclasses.fields(f.kl):
            weight = getattr(f.kl, field.name)
            check(0 <= weight < math.inf, f"fit.kl.{field.name}", weight, "must not be negative")
        try:
            self.networks()
        except NetsError as error:
            raise ConfigError(str(error)) from error

    @property
    def is_3d(self) -> bool:
        """Whether emitters differ in depth."""
        return self.z_max_um > self.z_min_um

    def networks(self) -> DlpConfig:
        """Return the sizes of the networks. Raises `ConfigError` or `NetsError`."""
        if self.parity:
            side = 129 if self.is_3d else 65
            check(self.crop_px == side, "crop_px", self.crop_px, f"must be {side} with parity = true")
            return parity_config(side)
        return DlpConfig(slots=self.slots, haze_px=self.haze_px, cell_px=self.cell_px, frame_px=self.crop_px)


def has_camera(config: GeneratorConfig) -> bool:
    """Test whether a camera was configured: any but the default, which counts photons."""
    return config.camera != CameraConfig()
