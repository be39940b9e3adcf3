"""Settings of fits: which PSF, what is enough to be an emitter, how emitters are fitted and which are kept."""

import dataclasses
import math

from training import ConfigError


@dataclasses.dataclass(frozen=True)
class ClassicalConfig:
    """How emitters are found and which fits are kept.

    The PSF: `z_min_um` to `z_max_um` are the depths that an emitter may have (a trained run knows its own); `focus_um`
    replaces the focus of a calibrated PSF, `stamp_px` its stamp. For the model "gaussian", a spot in focus of unknown
    width near `gaussian_sigma_um` on pixels of `pixel_um` (0.1 unless given) is fitted and z is 0. A calibration of
    SMAP wants `pixel_um`; `calibration_part` counts its channels or places from 0 where a file holds several, and
    `z_scale` multiplies its depths (about 0.8 for oil on water, negative where its stack ran the other way).

    What is enough: an emitter must stand `threshold_sigma` standard deviations above the noise; None takes the number
    at which noise alone makes `false_per_um2` emitters per um^2 in a frame. One that is known to be brighter than
    `photons_min` is not looked for below that: an emitter beyond the frame is then not taken for a dim one in it.
    `read_noise_e` is the camera's, where no
    camera file says so. Pixels at `saturation_adu` are left out; None leaves out those at a converter's limit.

    How: method "joint" fits all emitters of a frame and a smooth background together. Each frame tells by how much
    that varies, over `background_px` (0: 10; less where light that is no emitter's changes sooner) and more. Method
    "classical" first fits each emitter by itself, over a background that is even over `background_px` (0: twice the
    stamp, at least 16), and reads jointly where two stamps share pixels, where a fit does not end or has chi-square
    over its expectation above `chi2_max`, and where something is left. `group` frames are looked at together. Either
    way a fitted image is trusted to `model_error` of itself: what it leaves below that is no emitter. With
    `blur_spread_px2` the joint fit gives each emitter a blur of its own (beads of many sizes, say), whose variance in
    px^2 differs by so much (standard deviation) from the PSF's.

    Several planes: `plane_map` is the FILE_register.json of `colocus register`, the second plane's list onto the
    first's (a comma between those of further planes); none leaves the planes unmoved. `plane_shares` are the shares of
    the light, even unless given.

    A PSF that changes over the field: `field` is an .npz of aberrations (`optics.save_field`) that take the place of
    the PSF's own, over `field_px` pixels from the first of the movie's frames on; method "joint" reads each window with
    the PSF of its middle.

    Kept: rows with bounds up to `sigma_xy_max_um`, `sigma_z_max_um`, and centres at least `edge_px` inside the frame.
    """

    z_min_um: float | None = None
    z_max_um: float | None = None
    focus_um: float | None = None
    stamp_px: int | None = None
    gaussian_sigma_um: float | None = None
    pixel_um: float | None = None
    calibration_part: int | None = None
    z_scale: float = 1.0
    read_noise_e: float = 0.0
    threshold_sigma: float | None = None
    background_px: int = 0
    model_error: float = 0.05
    chi2_max: float = 2.0
    sigma_xy_max_um: float = 0.1
    sigma_z_max_um: float = 0.5
    edge_px: float = 0.0
    saturation_adu: float | None = None
    group: int = 32
    false_per_um2: float = 1e-3
    photons_min: float = 0.0
    blur_spread_px2: float | None = None
    plane_map: str = ""
    plane_shares: tuple[float, ...] = ()
    field: str = ""
    field_px: int = 0

    def __post_init__(self):
        at_least = {"group": 1, "background_px": 0, "model_error": 0, "read_noise_e": 0, "edge_px": 0, "photons_min": 0}
        for name, least in at_least.items():
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least {least}")
        positive = ("chi2_max", "sigma_xy_max_um", "sigma_z_max_um", "false_per_um2")
        maybe = ("threshold_sigma", "pixel_um", "gaussian_sigma_um", "stamp_px", "saturation_adu", "blur_spread_px2")
        for name in (*positive, *maybe):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} = {value} must be positive and finite")
        if bool(self.field) != (self.field_px > 0):
            raise ConfigError("field and field_px: give both, the aberrations and the side of their field in pixels")
        if self.stamp_px is not None and self.stamp_px < 7:
            raise ConfigError(f"stamp_px = {self.stamp_px} must be at least 7 pixels")

    def identity(self) -> str:
        """Return what tells these settings from others."""
        return repr(self)

    def z_range_um(self, default: tuple[float, float] | None = None) -> tuple[float, float]:
        """Return the depths to fit, given or the model's own; `ConfigError` where neither says."""
        low, high = default or (None, None)
        low = low if self.z_min_um is None else self.z_min_um
        high = high if self.z_max_um is None else self.z_max_um
        if low is None or high is None:
            raise ConfigError("z_min_um, z_max_um: a PSF does not say how deep emitters lie; add z_min_um=0 z_max_um=1")
        if not low < high:
            raise ConfigError(
                f"z_min_um = {low:g} is not below z_max_um = {high:g}; for spots in focus use --model gaussian"
            )
        return low, high
