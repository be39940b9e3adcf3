"""The settings of `colocus design`."""

import dataclasses
from typing import Literal

from training import CameraConfig, ConfigError, MaskConfig, MicroscopeConfig, PsfConfig
from training.config import FamilyName
from training.settings import check


@dataclasses.dataclass(frozen=True)
class DesignConfig:
    """What `colocus design` looks for: the least bound of an emitter of `photons` on `background` photons per pixel.

    Over `depths` depths from `z_min_um` to `z_max_um` (None: one in 0.35 um), their mean, rms or worst, x, y and z by
    `axis_weights`; among emitters of `density_per_um2` if that is above 0 (`photons_min` to `photons_max`; 0: as
    bright). The mask is of `n_modes` Zernike modes ("zernike"), of `n_cosines` x `n_cosines` cosines ("smooth") or free
    in `size_px` x `size_px` cells ("pixel"). `starts` random masks and `start_masks` are followed for `screening`
    iterations, the best for `iterations`, then for `dense_iterations` among neighbours (kept if that is better in
    scenes not seen before). `crosstalk_weight` (1/um^2) asks for images that are found among others too
    (`optics.design.crosstalk`). `free_focus` lets the focus move. `smoothness` (None: only as much as free cells need),
    `max_step_um` between cells, `max_range_um` and `level_um` say what can be made. The search takes pixels at their
    centres; scores are made as `psf` says.
    """

    microscope: MicroscopeConfig = MicroscopeConfig()
    psf: PsfConfig = PsfConfig(pixel="integrated")
    camera: CameraConfig = CameraConfig()
    z_min_um: float = 0.0
    z_max_um: float = 4.0
    depths: int | None = None
    photons: float = 3500.0
    background: float = 50.0
    over_depths: Literal["mean", "rms", "worst"] = "mean"
    axis_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    density_per_um2: float = 0.0
    crosstalk_weight: float = 0.0
    photons_min: float = 0.0
    photons_max: float = 0.0
    scenes: int = 16
    neighbours: int = 10
    parametrisation: FamilyName = "zernike"
    n_modes: int = 55
    n_cosines: int = 16
    size_px: int = 64
    starts: int = 4
    start_masks: tuple[MaskConfig, ...] = ()
    screening: int = 30
    iterations: int = 150
    dense_iterations: int = 60
    optimiser: Literal["auto", "lbfgs", "adam"] = "auto"
    learning_rate_rad: float = 0.03
    free_focus: bool = True
    smoothness: float | None = None
    max_step_um: float | None = None
    max_range_um: float | None = None
    level_um: float | None = None
    seed: int = 0

    def __post_init__(self):
        check(self.z_min_um < self.z_max_um, "z_min_um", self.z_min_um, f"must be below z_max_um = {self.z_max_um:g}")
        check(self.density_per_um2 >= 0, "density_per_um2", self.density_per_um2, "must not be negative")
        check(self.crosstalk_weight >= 0, "crosstalk_weight", self.crosstalk_weight, "must not be negative")
        check(self.n_modes >= 4, "n_modes", self.n_modes, "must be at least 4")
        for name in ("n_cosines", "size_px", "scenes", "neighbours", "dense_iterations"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        check(
            0 <= self.photons_min <= self.photons_max,
            "photons_min",
            self.photons_min,
            f"must lie between 0 and photons_max = {self.photons_max:g}",
        )
        if self.psf.pupil_px is not None or self.psf.ring_px is not None:
            raise ConfigError(
                "psf.pupil_px and psf.ring_px are chosen by a design, which would exploit too few; leave out"
            )
        self.microscope.check_depths("z_min_um", self.z_min_um)

    @property
    def z_range_um(self) -> tuple[float, float]:
        return self.z_min_um, self.z_max_um
