"""`_3dcal.mat` of SMAP and fit3Dcspline: cubic splines of averaged beads (Li et al. 2018, doi 10.1038/nmeth.4661).

Facts, from jries/fit3Dcspline (`private/getstackcal_g.m`, `simSplinePSF_c.cpp`) and jries/SMAP (`MLE_GPU_Yiming`),
read in November 2026. `SXY(n).cspline` (SMAP) or `cspline` alone (fit3Dcspline) has `coeff`, a cell with an array of
single numbers for each channel (in older files the array itself), `dz` in nm, `z0` and `x0` in slices and pixels from
1. The array is (rows, columns, slices, 64): the FIRST axis is y, the picture's row, for SMAP puts the fit's second
number into x. The 64 are powers of the offsets in a cell, 16 a + 4 b + c for slice**a, column**b, row**c. There is a
cell less than pictures along each axis. A fit's plane k counts from 0, and SMAP's z is -(k - z0) dz, rising against
the order of the slices, times a `refractive_index_mismatch` that is a setting of the fit and not in the file.
Pictures have a sum of 1 over the region in the three slices about z0. The pixel size is not in the file.
`tests/optics/calibrations` writes such files with splines of its own and finds emitters where they were drawn.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from optics.calibrations.images import CalibratedImages, stamp_side
from optics.types import OpticsError


def read_smap(
    path: Path, *, pixel_um: float | None, part: int | None, z_scale: float, image_px: int | None
) -> CalibratedImages:
    """Read a `_3dcal.mat`, of MATLAB 5 to 7.2 or 7.3."""
    if pixel_um is None:
        raise OpticsError(f"{path}: the file does not say how large a pixel is; add pixel_um, such as pixel_um=0.1")
    splines = _splines_73(path) if h5py.is_hdf5(path) else _splines(path)
    found = [(spline, coefficients) for spline in splines for coefficients in _arrays(spline.get("coeff"))]
    if not found:
        raise OpticsError(f"{path}: no spline in it (cspline.coeff); calibrate with the cspline model")
    if part is None and len(found) > 1:
        raise OpticsError(
            f"{path}: holds {len(found)} splines (channels, or places of the field); name one from 0, "
            "such as calibration_part=0"
        )
    if not 0 <= (part or 0) < len(found):
        raise OpticsError(f"{path}: calibration_part = {part} of {len(found)} splines; count from 0")
    spline, coefficients = found[part or 0]
    if coefficients.ndim != 4 or coefficients.shape[3] != 64:
        raise OpticsError(f"{path}: cspline.coeff has shape {coefficients.shape}, not (rows, columns, slices, 64)")
    if not np.isfinite(coefficients).all():
        raise OpticsError(f"{path}: cspline.coeff holds NaN or Inf; calibrate anew with more beads or a smaller ROI")
    dz_nm, z0 = _number(path, spline, "dz"), _number(path, spline, "z0")
    if not 0 < dz_nm < 2000:
        raise OpticsError(f"{path}: dz = {dz_nm:g} is no distance between slices in nm")
    rows, columns, slices = coefficients.shape[:3]
    centre = _number(path, spline, "x0") - 1 if "x0" in spline else None
    powers = coefficients.astype(np.float64).transpose(3, 2, 0, 1).reshape(4, 4, 4, slices, rows, columns)
    step_um = -z_scale * dz_nm / 1000
    return CalibratedImages(
        cells=np.ascontiguousarray(powers.swapaxes(1, 2)).reshape(64, slices, rows, columns),
        # without x0, where the fits of SMAP have it: `rows` is one less than the pictures' pixels
        centre_px=(rows // 2 if centre is None else centre, columns // 2 if centre is None else centre),
        pixel_um=pixel_um,
        z_first_um=-z0 * step_um,
        z_step_um=step_um,
        image_px=stamp_side((rows + 1, columns + 1), image_px, str(path)),
    )


def _number(path: Path, spline: dict[str, Any], name: str) -> float:
    value = np.asarray(spline.get(name, []), dtype=float)
    if value.size != 1 or not np.isfinite(value).all():
        raise OpticsError(f"{path}: cspline.{name} is missing, or not one number")
    return float(value.reshape(-1)[0])


def _arrays(value: Any) -> list[np.ndarray]:
    """The numeric arrays in a cell, a list of cells, or an array by itself."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [value] if value.size else []
    items = value.reshape(-1) if isinstance(value, np.ndarray) else value if isinstance(value, list) else []
    return [array for item in items for array in _arrays(item)]


def _splines(path: Path) -> list[dict[str, Any]]:
    file = scipy.io.loadmat(str(path), simplify_cells=True, variable_names=["SXY", "cspline"])
    places = file["SXY"] if "SXY" in file else {"cspline": file["cspline"]}
    places = [places] if isinstance(places, dict) else [place for place in np.ravel(places) if isinstance(place, dict)]
    return [place["cspline"] for place in places if isinstance(place.get("cspline"), dict)]


def _splines_73(path: Path) -> list[dict[str, Any]]:
    with h5py.File(path, "r") as file:
        holder: Any = file["SXY"] if "SXY" in file else file
        if "cspline" not in holder:
            return []
        value = _value(file, holder["cspline"])
    return [value] if isinstance(value, dict) else [item for item in value if isinstance(item, dict)]


def _value(file: h5py.File, item: Any) -> Any:
    """A MATLAB 7.3 struct as a dict, a cell or struct array as a list, an array with its axes in MATLAB's order."""
    if isinstance(item, h5py.Group):
        return {name: _value(file, item[name]) for name in ("coeff", "dz", "z0", "x0") if name in item}
    values = item[()]
    if values.dtype == object:
        return [_value(file, file[reference]) for reference in values.T.reshape(-1)]
    return values.T
