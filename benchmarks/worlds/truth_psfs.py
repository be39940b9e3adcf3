"""PSFs for the fits on sets that come without one: retrieved from a calibration bead, or from a stated pupil."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tifffile
from numpy.typing import NDArray

from localization import Localizations
from optics import PhaseMask, Psf, make_microscope, make_psf
from optics.psf_io import read_psf, save_psf
from optics.pytree import replace
from optics.retrieval.beads import crop_bead, make_bead_stack
from optics.retrieval.retrieve import retrieve_psf
from optics.retrieval.types import RetrievalSettings
from worlds import DATA
from worlds.truth_data import TruthSet, epfl_calibration

# One index everywhere: then an emitter's depth and a movement of the focus are the same thing, as in these sets.
OIL: dict[str, Any] = {"n_immersion": 1.518, "n_sample": 1.518, "n_coverslip": 1.518}

FAZEL_FOCI_UM = (0.0, -0.4)  # of its two planes, in our direction of z


def _retrieved(path: Path, crops: NDArray, z_um: NDArray, optics: dict[str, Any], **settings: Any) -> tuple[Psf, dict]:
    """The PSF of a bead at known z, with z measured as the set measures it, and where its origin lies in the crop."""
    if path.exists():
        return read_psf(path)
    stack = make_bead_stack(crops, -z_um, make_microscope(**optics))
    found = retrieve_psf(stack, RetrievalSettings(kind="scalar", bead_diameter_um=0.0, **settings))
    bead = found.beads[0]
    scope = replace(found.psf.microscope, focus_um=0 * found.psf.microscope.focus_um + bead.focus_offset_um)
    notes = {
        "x_um": float(bead.xy_um[0]),
        "y_um": float(bead.xy_um[1]),
        "step_error": float(found.step_error),
        "misfit": float(found.misfit),
        "twin_misfit": float(found.twin_misfit),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_psf(path, replace(found.psf, microscope=scope), notes)
    return read_psf(path)


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A retrieved PSF, and what takes its positions to the set's: shift (um) in x, y and the scale of z."""

    psf: Psf
    shift_um: tuple[float, float]
    z_scale: float
    misfit: float

    def in_set(self, found: Localizations) -> Localizations:
        """Positions by the set's own definition of an emitter's place, as its calibration bead has it."""
        x, y = (getattr(found, name) + by for name, by in zip(("x_um", "y_um"), self.shift_um, strict=True))
        return dataclasses.replace(found, x_um=x, y_um=y, z_um=found.z_um / self.z_scale)


def _calibrated(psf: Psf, notes: dict, true_um: tuple[float, float], centre_um: tuple[float, float]) -> Calibrated:
    """`true_um` of the calibration bead and the centre of its crop, both in the frame."""
    shift = (true_um[0] - centre_um[0] - notes["x_um"], true_um[1] - centre_um[1] - notes["y_um"])
    return Calibrated(psf, shift, 1 + notes["step_error"], notes["misfit"])


def epfl_psf(work: Path) -> Calibrated:
    """From one of the rendered beads, every sixth frame; optics as VIPR assumes, but one index."""
    crop_px, every = 35, 6
    movie = np.asarray(tifffile.imread(DATA / "vipr-epfl-dh-beads" / "rows_000-090.tif"), float)
    (x_um, y_um), z_um = epfl_calibration()
    row, column = (round(at / 0.1 - 0.5) for at in (y_um, x_um))
    crops = crop_bead(movie, (row, column), crop_px)[::every]
    optics = {**OIL, "na": 1.49, "wavelength_um": 0.67, "pixel_um": 0.1}
    psf, notes = _retrieved(work / "epfl_psf.npz", crops, z_um[::every], optics)
    return _calibrated(psf, notes, (x_um, y_um), ((column + 0.5) * 0.1, (row + 0.5) * 0.1))


def storm_dh_psf(one: TruthSet, work: Path) -> Calibrated:
    """From the 24 emitters of frame 0, one a depth, each in the middle of a pixel."""
    assert one.training is not None
    truth, frame = one.training.truth, np.asarray(one.training.frames[:1], float)
    places = [(round(y / 0.16 - 0.5), round(x / 0.16 - 0.5)) for x, y in zip(truth.x_um, truth.y_um, strict=True)]
    crops = np.concatenate([crop_bead(frame, place, 25) for place in places])
    optics = {**OIL, "na": 1.4, "wavelength_um": 0.6, "pixel_um": 0.16}
    psf, notes = _retrieved(work / "storm_dh_psf.npz", crops, truth.z_um, optics)
    return _calibrated(psf, notes, (0.0, 0.0), (0.0, 0.0))  # in the middle of their crops


def fazel_psf(focus_um: float) -> Psf:
    """The set's own pupil (phase on the frequency grid of a 32 px image of 100 nm) as a mask; n = 1.4 throughout.

    Turned by 180 degrees, as all pupils of programs that transform with exp(-i k.r) (docs/conventions.md).
    """
    file = np.load(DATA / "fazel-biplane" / "Data_Simulated.npz")
    optics = {"na": 1.3, "wavelength_um": 0.69, "pixel_um": 0.1, "focus_um": focus_um}
    scope = make_microscope(n_immersion=1.4, n_sample=1.4, n_coverslip=1.4, **optics)
    middle = slice(16 - 7, 16 + 8)
    phase = np.asarray(file["TruePhase"], float)[middle, middle][::-1, ::-1]
    cells = 1 / (32 * 0.1) / (1.3 / 0.69)  # a cell's side in radii of the pupil
    mask = PhaseMask(
        opd_um=jnp.asarray(phase * 0.69 / (2 * np.pi), dtype=float),
        transmission=jnp.ones(phase.shape, dtype=float),  # its magnitude is even, but for the cells that the rim cuts
        half_width=jnp.asarray(7.5 * cells, dtype=float),
        design_wavelength_um=jnp.asarray(0.69, dtype=float),
    )
    return make_psf(scope, mask=mask, image_px=17, kind="scalar", pupil_px=48)
