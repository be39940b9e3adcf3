"""SMAPpy's cubic-spline fits of single emitters: `python fits_smappy.py GIVEN.npz OUT.npz`, one thread.

Its spline of the wide stack, as its calibrations reach beyond the stamp, and its compiled fitter with the iterations
that its program asks for, started at the depth in the middle of the stack.
"""

import importlib.metadata
import sys
import time

import numpy as np
from asked import memory_mb, serve
from smappy.calibrate.core import spline_coefficients
from smappy.io.calibration import SplineCalibration
from smappy.psf import SplinePSF

STEPS = 50  # its program's default


def main():
    imported = memory_mb("VmRSS")
    given = np.load(sys.argv[1])
    images, z_um = np.ascontiguousarray(given["images"], np.float32), given["stack_z_um"]
    began = time.perf_counter()
    middle = (len(z_um) - 1) / 2
    spline = SplineCalibration(spline_coefficients(given["wide"]), 1e3 * float(z_um[1] - z_um[0]), middle)
    prepared = time.perf_counter() - began
    psf = SplinePSF(spline)
    fit = psf.fit(images, STEPS, 1)
    found = psf.unpack(fit)
    pixel = float(given["pixel_um"])
    z = np.interp(fit.theta[:, 4], np.arange(len(z_um)), z_um)
    np.savez(
        sys.argv[2], x_um=pixel * found["x_roi"], y_um=pixel * found["y_roi"], z_um=z, photons=found["photons"]
    )  # fmt: skip
    versions = {"smappy-smlm": importlib.metadata.version("smappy-smlm"), "python of SMAPpy": sys.version.split()[0]}
    ready = {"versions": versions, "imported_mb": imported, "prepare_s": prepared}
    serve(ready, {"fit": lambda: psf.fit(images, STEPS, 1)})


if __name__ == "__main__":
    main()
