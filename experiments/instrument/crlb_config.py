"""The settings of `colocus crlb`."""

import dataclasses
from typing import Literal

from training import CameraConfig, ConfigError, MaskConfig, MicroscopeConfig, PsfConfig
from training.settings import check

_DENSITIES = (0.0, 0.1, 0.3, 1.0, 2.0)


@dataclasses.dataclass(frozen=True)
class CrlbArm:
    """One mask of the comparison; `label` names it in tables and figures.

    `psf_file` names a calibrated PSF (the psf.npz of `colocus retrieve`) instead of a mask: it brings its own
    microscope, focus and stamp.
    """

    label: str = ""
    mask: MaskConfig = MaskConfig()
    psf_file: str = ""

    def __post_init__(self):
        if not self.label:
            raise ConfigError("arms: every mask needs a label, like {label='mine', mask={name='file', path='m.npz'}}")


@dataclasses.dataclass(frozen=True)
class NeighbourConfig:
    """Scenes with neighbours: at each of `densities_per_um2` ([]: leave this part out), at `depths` depths.

    Left open, the densities are 0 to 2 per um**2 where the model knows them (one image of a free dipole).
    `scenes` random ones, whose `count` nearest neighbours are emitters of their own, uniform over the depth range
    and in brightness from `photons_min` to `photons_max` (0: as bright as the emitter); those beyond are background.
    `prior_um` is what is known of each position beforehand. See `optics.density_bounds_um`.
    """

    densities_per_um2: tuple[float, ...] | None = None
    depths: int = 5
    scenes: int = 64
    count: int = 12
    photons_min: float = 0.0
    photons_max: float = 0.0
    prior_um: float = 0.5

    def __post_init__(self):
        for name in ("depths", "scenes", "count"):
            check(getattr(self, name) >= 1, f"neighbours.{name}", getattr(self, name), "must be at least 1")
        good = all(density >= 0 for density in self.densities_per_um2 or ())
        check(good, "neighbours.densities_per_um2", self.densities_per_um2, "must not be negative")
        check(self.prior_um > 0, "neighbours.prior_um", self.prior_um, "must be positive")
        check(
            0 <= self.photons_min <= self.photons_max,
            "neighbours.photons_min",
            self.photons_min,
            "must lie between 0 and neighbours.photons_max",
        )


@dataclasses.dataclass(frozen=True)
class CrlbConfig:
    """What `colocus crlb` computes: bounds of an emitter of `photons` on `background` photons per pixel.

    At `depths` depths from `z_min_um` to `z_max_um`, for every mask of `arms`. `detection` "biplane" has two foci
    `separation_um` apart, "polarised" the images of both polarisations, "x" and "y" one of them. A "fixed" `dipole`
    points along `polar_deg` (from the optical axis) and `azimuth_deg`; `unknown` are parameters to be estimated beside
    position, photons and background: "polar", "azimuth", "wavelength".
    """

    microscope: MicroscopeConfig = MicroscopeConfig()
    psf: PsfConfig = PsfConfig()
    camera: CameraConfig = CameraConfig()
    arms: tuple[CrlbArm, ...] = (
        CrlbArm("clear pupil", MaskConfig("flat")),
        CrlbArm("astigmatism", MaskConfig("astigmatism")),
        CrlbArm("tetrapod", MaskConfig("tetrapod", range_um=3.0)),
    )
    photons: float = 3500.0
    background: float = 50.0
    z_min_um: float = 0.3
    z_max_um: float = 3.3
    depths: int = 13
    detection: Literal["single", "biplane", "polarised", "x", "y"] = "single"
    separation_um: float = 0.8
    dipole: Literal["free", "fixed"] = "free"
    polar_deg: float = 45.0
    azimuth_deg: float = 0.0
    unknown: tuple[Literal["polar", "azimuth", "wavelength"], ...] = ()
    neighbours: NeighbourConfig = NeighbourConfig()
    seed: int = 0

    def __post_init__(self):
        labels = [arm.label for arm in self.arms]
        check(bool(labels) and len(set(labels)) == len(labels), "arms", labels, "must be masks with different labels")
        check(self.photons > 0, "photons", self.photons, "must be positive")
        check(self.background >= 0, "background", self.background, "must not be negative")
        check(self.depths >= 2, "depths", self.depths, "must be at least 2")
        check(self.z_min_um < self.z_max_um, "z_min_um", self.z_min_um, f"must be below z_max_um = {self.z_max_um:g}")
        check(
            max(abs(self.z_min_um), abs(self.z_max_um)) <= 100,
            "z_max_um",
            self.z_max_um,
            "looks like nanometres; give um",
        )
        check(self.separation_um > 0, "separation_um", self.separation_um, "must be positive")
        if self.dipole == "free" and {"polar", "azimuth"} & set(self.unknown):
            raise ConfigError(f"unknown = {self.unknown} holds angles, which only dipole='fixed' has")
        if self.neighbours.densities_per_um2 and not self.knows_neighbours:
            raise ConfigError(
                "neighbours are computed for one image of free dipoles; with dipole='fixed' or two paths set "
                "neighbours.densities_per_um2=[]"
            )

    @property
    def knows_neighbours(self) -> bool:
        """Whether bounds among neighbours are defined: one image of free dipoles."""
        return self.dipole == "free" and self.detection not in ("biplane", "polarised")

    @property
    def densities_per_um2(self) -> tuple[float, ...]:
        """The densities to be computed."""
        given = self.neighbours.densities_per_um2
        return given if given is not None else _DENSITIES if self.knows_neighbours else ()
