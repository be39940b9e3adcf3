"""Settings of the method autods."""

import dataclasses
import math
from typing import Literal

from localization.patches.layout import LEAST_UM, MOST_UM
from training import ConfigError


@dataclasses.dataclass(frozen=True)
class AutoDsConfig:
    """How a movie is read by the shipped Deep-STORM networks.

    `pixel_um` is the camera's pixel in the sample and must be given. `wavelength_um` and `na`, where both are, or the
    measured `sigma_um` say how wide spots are for `rescale`: "auto" brings frames to the networks' optics where spots
    are a tenth wider or narrower than theirs, "off" never. Patches are `patch_um` a side and looked at over
    `stretch_frames` frames. `level` 1 to 4 reads everything with one network; None lets each patch choose. `parity`
    chooses by the rule of the published notebook, from its counted peaks.
    """

    pixel_um: float | None = None
    wavelength_um: float | None = None
    na: float | None = None
    sigma_um: float | None = None
    rescale: Literal["auto", "off"] = "auto"
    patch_um: float = 9.0
    stretch_frames: int = 100
    level: int | None = None
    parity: bool = False

    def __post_init__(self):
        for name in ("pixel_um", "wavelength_um", "na", "sigma_um"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} = {value} must be positive and finite")
        if (self.wavelength_um is None) != (self.na is None):
            raise ConfigError("wavelength_um and na go together: give both, or neither to leave frames as they are")
        if not LEAST_UM <= self.patch_um <= MOST_UM:
            raise ConfigError(f"patch_um = {self.patch_um:g} must lie between {LEAST_UM} and {MOST_UM} um")
        if self.stretch_frames < 1:
            raise ConfigError(f"stretch_frames = {self.stretch_frames} must be at least 1")
        if self.level not in (None, 1, 2, 3, 4):
            raise ConfigError(f"level = {self.level} must be 1, 2, 3 or 4, or left out to choose for each patch")
