"""Results of uiPSF (.h5): voxels learned from beads or from blinking molecules (doi 10.1038/s41592-024-02282-x).

Facts, from ries-lab/uiPSF (`psflearninglib.py`, `PSFZernikeBased*_file.py`, "Description of output parameters"), read
in November 2026. The attribute `params` is JSON; its `pixel_size` has x, y, z in um. `res/I_model`, or
`res/channelN/I_model`, is (slices, rows, columns) for a point, without the bead's size. Of beads, slice k is the k-th
position of the stage and the one in the middle is z = 0: as in SMAP, an emitter's z rises against the order of the
slices (`I_model_reverse` is the same turned round). In situ, slice k shows an emitter at (zoffset + k) z-pixels above
the coverslip. Pictures have an arbitrary scale: they are divided, as for uiPSF's own fits, by the median over slices of
their sum above the least value. Fitted positions are in pixels from the centre of the first pixel, (z, y, x), and
`zernike_coeff` is in Noll's order; neither is needed here. A 4Pi result (`A_model`) has an interference and is refused.
`tests/optics/calibrations` writes such files from exact optics and finds emitters where they were drawn.
"""

import json
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from optics.calibrations.images import CalibratedImages, spline_cells, stamp_side
from optics.types import OpticsError


def read_uipsf(
    path: Path, *, pixel_um: float | None, part: int | None, z_scale: float, image_px: int | None
) -> CalibratedImages:
    """Read a result of uiPSF."""
    with h5py.File(path, "r") as file:
        settings, results = json.loads(str(file.attrs["params"])), cast(Any, file["res"])
        channels = sorted((n for n in results if n.startswith("channel")), key=lambda n: int(n[7:] or 0))
        if part is None and len(channels) > 1:
            raise OpticsError(f"{path}: holds {len(channels)} channels; name one from 0, such as calibration_part=0")
        if not 0 <= (part or 0) < max(1, len(channels)):
            raise OpticsError(f"{path}: calibration_part = {part} of {max(1, len(channels))} channels; count from 0")
        result: Any = results[channels[part or 0]] if channels else results
        if "A_model" in result:
            raise OpticsError(f"{path}: a 4Pi result, whose images depend on the interference too; not known here")
        if "I_model" not in result:
            raise OpticsError(f"{path}: no learned PSF in it (res/I_model)")
        voxels = np.asarray(result["I_model"][()], np.float64)
        first_slice = float(np.real(np.asarray(result["zoffset"][()])).reshape(-1)[0]) if "zoffset" in result else None
    if voxels.ndim != 3:
        raise OpticsError(f"{path}: I_model has shape {voxels.shape}, not (slices, rows, columns): one PSF is needed")
    if not np.isfinite(voxels).all():
        raise OpticsError(f"{path}: I_model holds NaN or Inf")
    sizes = settings.get("pixel_size", {})
    x_um, y_um, z_um = (float(sizes.get(axis) or 0) for axis in "xyz")
    if not (0 < x_um < 20 and 0 < z_um < 20):
        raise OpticsError(f"{path}: pixel_size in params is missing, or not in um: {sizes}")
    if abs(x_um - y_um) > 1e-3 * x_um:
        raise OpticsError(f"{path}: pixels of {x_um:g} x {y_um:g} um are not square")
    if pixel_um is not None and abs(pixel_um - x_um) > 1e-3 * x_um:
        raise OpticsError(f"{path}: calibrated on pixels of {x_um:g} um, pixel_um = {pixel_um:g}; leave pixel_um out")
    voxels -= voxels.min()
    light = np.median(voxels.sum(axis=(1, 2)))
    if not light > 0:
        raise OpticsError(f"{path}: I_model has no light in it")
    in_situ = first_slice is not None
    step_um = z_um * z_scale if in_situ else -z_um * z_scale
    return CalibratedImages(
        cells=spline_cells(voxels / light),
        centre_px=(float(voxels.shape[1] // 2), float(voxels.shape[2] // 2)),
        pixel_um=x_um,
        z_first_um=(first_slice or 0.0) * step_um if in_situ else -step_um * (len(voxels) - 1) / 2,
        z_step_um=step_um,
        image_px=stamp_side(voxels.shape[1:], image_px, str(path)),
    )
