"""What goes into a phase retrieval beside the images, and what comes out."""

import dataclasses
from typing import Literal

from numpy.typing import NDArray

from optics.retrieval.noise import NoiseModel
from optics.types import OpticsError, Psf


@dataclasses.dataclass(frozen=True)
class RetrievalSettings:
    """How a pupil is retrieved.

    `phase` "pixel" leaves every cell free, "zernike" then fits `n_zernike` OSA modes alone. `mask_px` cells a
    side (None: 2.2 times what the stamp resolves). `amplitude_modes` Zernike modes of the log amplitude (0:
    even). `roughness_rad` is the typical second difference of the phase between cells that the prior expects.
    `bead_diameter_um` is known, not fitted: its blur looks like the PSF's own. `steps` of the three stages (find,
    refine, likelihood). Raises `OpticsError` naming the field.

    >>> RetrievalSettings(phase="zernike", n_zernike=28).steps
    (150, 120, 60)
    """

    phase: Literal["pixel", "zernike"] = "pixel"
    kind: Literal["vectorial", "scalar"] = "vectorial"
    polarisation: Literal["both", "x", "y"] = "both"
    n_zernike: int = 45
    mask_px: int | None = None
    amplitude_modes: int = 36
    roughness_rad: float = 0.3
    bead_diameter_um: float = 0.04
    blur_um: float = 0.1
    steps: tuple[int, int, int] = (150, 120, 60)
    batch_slices: int = 16
    seed: int = 0

    def __post_init__(self):
        if self.phase not in ("pixel", "zernike"):
            raise OpticsError(f"phase = {self.phase!r} must be 'pixel' or 'zernike'")
        least = {"n_zernike": 6, "batch_slices": 2, "mask_px": 16}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise OpticsError(f"{name} = {value} must be at least {low}")
        if self.amplitude_modes < 0:
            raise OpticsError(f"amplitude_modes = {self.amplitude_modes} must not be negative; 0 is an even pupil")
        if not self.roughness_rad > 0:
            raise OpticsError(f"roughness_rad = {self.roughness_rad:g} must be positive")
        if not 0 <= self.bead_diameter_um < 2:
            raise OpticsError(f"bead_diameter_um = {self.bead_diameter_um:g} must lie between 0 and 2 um")
        if not 0 < self.blur_um < 1:
            raise OpticsError(f"blur_um = {self.blur_um:g} must lie between 0 and 1 um")
        if len(self.steps) != 3 or min(self.steps) < 4:
            raise OpticsError(f"steps = {self.steps} must be three numbers of at least 4, one a stage")


@dataclasses.dataclass(frozen=True, eq=False)
class BeadFit:
    """One bead of a retrieval.

    `xy_um` from the centre of its crop at the middle of the scan, `tilt` its walk in um per um of focus; a stage
    reading r is the focus r (1 + `step_error`) + `focus_offset_um`. Per slice (Z,): `signal_adu` of the whole image
    plane, had the pupil no loss, `background_adu` a pixel, `correlation` of images and model over the crop, its
    `ceiling` by the noise of the corners, and `chi2`, the mean squared residual over the variance.
    `model_adu` (Z, K, K).
    """

    xy_um: NDArray
    tilt: NDArray
    focus_offset_um: float
    signal_adu: NDArray
    background_adu: NDArray
    correlation: NDArray
    ceiling: NDArray
    chi2: NDArray
    model_adu: NDArray
    noise: NoiseModel


@dataclasses.dataclass(frozen=True, eq=False)
class Retrieval:
    """A calibrated `psf` (its `aberration` is the retrieved pupil), and what there is to judge it by.

    `phase_rad` (M, M) wrapped, without what images leave undetermined (`undetermined.py`); `amplitude` (M, M) up to 1.
    `twin_misfit` is the misfit of the same fit with the direction of the stage reversed.
    `zernike_rad` (J,) rms amplitudes and `zernike_rest_rad`, the rms phase that they leave.
    `history` rows (stage, step, seconds, unexplained part). `notes` say what was found, and what beads cannot tell.
    """

    psf: Psf
    phase_rad: NDArray
    amplitude: NDArray
    beads: tuple[BeadFit, ...]
    step_error: float
    misfit: float
    twin_misfit: float
    zernike_rad: NDArray
    zernike_rest_rad: float
    super_critical_share: float
    seconds: float
    history: tuple[tuple[str, int, float, float], ...]
    notes: tuple[str, ...]
