"""Settings of the classical pipeline: detection and maximum-likelihood fits."""

import dataclasses
import math

from training import ConfigError

_GAUSSIAN_PIXEL_UM = 0.1  # of the model "gaussian", unless given
_LATER = {
    "calibration_part": None,
    "z_scale": 1.0,
    "false_per_um2": 1e-3,
}  # settings that jobs before did not know, and their defaults


@dataclasses.dataclass(frozen=True)
class ClassicalConfig:
    """How emitters are found and which fits are kept.

    The PSF: `z_min_um` to `z_max_um` are the depths that an emitter may have (a trained run knows its own); `focus_um`
    replaces the focus of a calibrated PSF, `stamp_px` its stamp. For the model "gaussian", a spot in focus of unknown
    width near `gaussian_sigma_um` on pixels of `pixel_um` (0.1 unless given) is fitted and z is 0. A calibration of
    SMAP wants `pixel_um`; `calibration_part` counts its channels or places from 0 where a file holds several, and
    `z_scale` multiplies its depths (about 0.8 for oil on water, negative where its stack ran the other way).

    Detection: a spot must stand `threshold_sigma` standard deviations of the camera's noise (`read_noise_e`, where no
    camera file says so) above a background that is even over `background_px` (0: twice the stamp, at least 16). In
    each of up to `rounds` rounds what is fitted is subtracted, the rest searched, and everything refitted `sweeps`
    times with its neighbours taken off. A fitted image is trusted to `model_error` of itself: what it leaves is not
    searched for emitters below that.

    Kept: spots further than `separation_px` (and `separation_z_um`) from a brighter one, chi-square over its
    expectation below `chi2_max` (plus what `model_error` explains), bounds up to `sigma_xy_max_um`,
    `sigma_z_max_um`, and centres at least `edge_px` inside the frame. Pixels at `saturation_adu` are left out.

    The joint fit of crowded frames (method "joint") takes the PSF, the camera and `saturation_adu`, and in place of a
    threshold `false_per_um2`, the false emitters that noise may make in a frame, per um^2.
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
    threshold_sigma: float = 5.0
    background_px: int = 0
    rounds: int = 6
    sweeps: int = 2
    model_error: float = 0.05
    separation_px: float = 1.0
    separation_z_um: float = 0.5
    chi2_max: float = 2.0
    sigma_xy_max_um: float = 0.1
    sigma_z_max_um: float = 0.5
    edge_px: float = 0.0
    saturation_adu: float | None = None
    group: int = 32
    false_per_um2: float = 1e-3

    def __post_init__(self):
        at_least = {"rounds": 1, "sweeps": 0, "group": 1, "background_px": 0, "model_error": 0, "read_noise_e": 0}
        at_least |= {"edge_px": 0, "separation_px": 0, "separation_z_um": 0}
        for name, least in at_least.items():
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least {least}")
        positive = ("threshold_sigma", "chi2_max", "sigma_xy_max_um", "sigma_z_max_um")
        for name in (*positive, "pixel_um", "gaussian_sigma_um", "stamp_px", "saturation_adu", "false_per_um2"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} = {value} must be positive and finite")
        if self.stamp_px is not None and self.stamp_px < 7:
            raise ConfigError(f"stamp_px = {self.stamp_px} must be at least 7 pixels")

    def identity(self) -> str:
        """Return what tells these settings from others, as jobs before wrote it: settings that came later show only
        where they are used, and a pixel that nobody named is the 0.1 um that it was."""
        shown = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        shown["pixel_um"] = shown["pixel_um"] or _GAUSSIAN_PIXEL_UM
        for name, default in _LATER.items():
            if shown[name] == default:
                del shown[name]
        return f"ClassicalConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

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
