"""Which program a calibration is of, found in its content."""

import os
from pathlib import Path

import h5py
import scipy.io

from optics.calibrations.images import CalibratedImages
from optics.calibrations.smap import read_smap
from optics.calibrations.uipsf import read_uipsf
from optics.types import OpticsError

_SUFFIXES = (".mat", ".h5", ".hdf5")


def is_calibration(path: str | os.PathLike) -> bool:
    """Say whether a file is a calibration that `read_calibration` reads; damaged ones are none.

    >>> is_calibration("no-such_3dcal.mat")
    False
    """
    return _program(Path(path)) is not None


def read_calibration(
    path: str | os.PathLike,
    *,
    pixel_um: float | None = None,
    part: int | None = None,
    z_scale: float = 1.0,
    image_px: int | None = None,
) -> CalibratedImages:
    """Read the PSF in a calibration of SMAP (`_3dcal.mat`) or of uiPSF (.h5), each as its own program means it.

    `pixel_um` is the camera's pixel in the sample, which a file of SMAP does not hold and one of uiPSF does. `part`
    counts the channels or places of the field from 0 where a file holds several. Depths are the stage's, z = 0 where
    the program has it, and `z_scale` multiplies them: about 0.8 for beads on the glass and a sample in water under
    oil, negative where the stack ran the other way. `image_px` is the side of the stamp, as large as the pictures
    allow unless given. Raises `OpticsError`, naming the file and what is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise OpticsError(f"{path}: no such file; a calibration is a _3dcal.mat of SMAP or an .h5 of uiPSF")
    program = _program(path)
    if program is None:
        raise OpticsError(
            f"{path}: no calibration that Colocus knows: SMAP's .mat holds SXY or cspline, uiPSF's .h5 res and params"
        )
    if pixel_um is not None and not 0 < pixel_um < 20:
        raise OpticsError(f"pixel_um = {pixel_um:g} must be the pixel in the sample in um, such as 0.1")
    if not 0.1 <= abs(z_scale) <= 10:
        raise OpticsError(f"z_scale = {z_scale:g} must lie between 0.1 and 10, or between -10 and -0.1")
    read = read_smap if program == "smap" else read_uipsf
    try:
        return read(path, pixel_um=pixel_um, part=part, z_scale=z_scale, image_px=image_px)
    except OpticsError:
        raise
    except Exception as error:  # whatever a broken or foreign file makes the readers trip over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OpticsError(f"{path}: the calibration cannot be read ({reason})") from error


def _program(path: Path) -> str | None:
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return None
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                if "SXY" in file or "cspline" in file:
                    return "smap"
                return "uipsf" if "res" in file and "params" in file.attrs else None
        if path.suffix.lower() != ".mat":
            return None
        names = {name for name, _, _ in scipy.io.whosmat(str(path))}
        return "smap" if names & {"SXY", "cspline"} else None
    except Exception:  # damaged, or of another kind
        return None
