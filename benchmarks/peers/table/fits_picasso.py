"""Picasso's cubic-spline fits of single emitters: `python fits_picasso.py GIVEN.npz OUT.npz`, one thread.

The fitter of `../picasso_fit.py`, with the starts of its program. GIVEN.npz: `images` (N, K, K), `stack` (Z, K, K) and
`stack_z_um`, `pixel_um`.
"""

import importlib.metadata
import sys
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import numpy as np
from asked import memory_mb, serve
from picasso import lib
from picasso_fit import spline_runner


def main():
    imported = memory_mb("VmRSS")
    lib.n_workers = lambda *_: 1
    given = np.load(sys.argv[1])
    images = np.ascontiguousarray(given["images"], np.float32)
    began = time.perf_counter()
    run = spline_runner(given["stack"])
    prepared = time.perf_counter() - began
    found = run(images, 1)
    pixel = float(given["pixel_um"])
    z = np.interp(-found[:, 3], np.arange(len(given["stack_z_um"])), given["stack_z_um"])
    np.savez(sys.argv[2], x_um=pixel * found[:, 1], y_um=pixel * found[:, 2], z_um=z, photons=found[:, 0])
    versions = {name: importlib.metadata.version(name) for name in ("picassosr", "numba")}
    serve({"versions": versions, "imported_mb": imported, "prepare_s": prepared}, {"fit": lambda: run(images, 1)})


if __name__ == "__main__":
    main()
