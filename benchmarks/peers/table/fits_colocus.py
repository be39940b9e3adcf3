"""Colocus's fits of single emitters, in a process of its own: `python fits_colocus.py GIVEN.npz OUT.npz`."""

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (3, 2)]

import jax  # noqa: E402
import numpy as np  # noqa: E402
from asked import memory_mb, serve  # noqa: E402

from optics.fits.fit import fit_emitters  # noqa: E402
from optics.psf_table import tabulate_psf  # noqa: E402
from worlds.mle_cases import CASES  # noqa: E402


def main():
    path, out = sys.argv[1:3]
    imported = memory_mb("VmRSS")
    images = np.load(path)["images"]
    case = CASES["astigmatism"]
    psf = case.psf(images.shape[1])
    began = time.perf_counter()
    table = tabulate_psf(psf, case.fit_range_um)
    prepared = time.perf_counter() - began
    found = fit_emitters(psf, images, table=table)
    x, y, z = np.asarray(found.xyz_um).T
    np.savez(out, x_um=x, y_um=y, z_um=z, photons=np.asarray(found.photons))
    ready = {"versions": {"jax of Colocus": jax.__version__}, "imported_mb": imported, "prepare_s": prepared}
    serve(ready, {"fit": lambda: fit_emitters(psf, images, table=table)})


if __name__ == "__main__":
    main()
