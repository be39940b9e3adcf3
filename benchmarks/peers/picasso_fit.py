"""Picasso's fits on the CPU, timed on demand: one line of input, one JSON line of seconds a fit out.

Started by `mle_speed.py` with an interpreter that has picassosr: `python picasso_fit.py STAMPS.npz THREADS FITS`.
STAMPS.npz holds, for each name, `NAME/images` (N, K, K), `NAME/z_um` (N,), and where a spline is to be fitted
`NAME/stack` (Z, K, K), the PSF for one photon at depths `NAME/stack_z_um`. Timed are `gaussmle` (Newton, integrated
Gaussian of two widths, no z), `gaussfit` (its successor, Levenberg-Marquardt) and `spline` (its cubic-spline fitter,
from the depths that its program starts from, on FITS stamps). All get THREADS threads; left alone they take three
quarters of the cores. The first line of output has the versions and, for the splines, the median error in z.
"""

import importlib.metadata
import json
import sys
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")

from picasso import gaussmle, lib, spline  # noqa: E402
from picasso.fitting import gaussfit, seeds, splinefit  # noqa: E402

# of its program: one start for 20 planes, between 5 and 15
PLANES_A_START, FEWEST_STARTS, MOST_STARTS = 20, 5, 15
EPS, MOST_STEPS = 1e-3, 100  # its program's defaults for the Gaussian


def wait(fit):
    for future in fit.futures:
        future.result()
    return fit.results()


def run_gaussmle(images, threads):
    current, *results = gaussmle._gaussmle_async(images, EPS, MOST_STEPS, "sigmaxy")
    # it claims a stamp before it fits it, so the last widths tell when it has ended
    while current[0] < len(images) or not np.all(results[3] > 0):
        time.sleep(1e-3)
    return results[0]


def run_gaussfit(images, threads):
    start = seeds.initial_parameters_gauss(images, images.shape[1])
    return wait(gaussfit.fit_spots_async(gaussfit.ELLIPTIC, images, start, mle=True, n_threads=threads))[0]


def spline_runner(stack):
    planes, side, _ = stack.shape
    # x first, then y, then z, as its coefficients want it
    buffer = spline.spline_coefficients(np.transpose(stack, (2, 1, 0)))
    table = np.ascontiguousarray(buffer, dtype=np.float64).reshape(1, planes - 1, side - 1, side - 1, 4, 4, 4)
    depths = np.linspace(-(planes - 1), 0.0, int(np.clip(planes // PLANES_A_START, FEWEST_STARTS, MOST_STARTS)))

    def run(images, threads):
        n = len(images)
        start = np.zeros((n, 5))
        lowest = images.min(axis=(1, 2))
        start[:, 0], start[:, 4] = images.sum(axis=(1, 2)) - lowest * side**2, lowest
        start[:, 3] = -(planes - 1) / 2
        identity = np.tile([1.0, 0.0, 0.0, 1.0], (n, 1, 1))
        no_shift = np.zeros((n, 1, 2))
        fit = splinefit.fit_spots_async(
            splinefit.KIND_3D,
            images[:, None],
            table,
            identity,
            no_shift,
            start,
            depths,
            True,
            mle=True,
            n_threads=threads,
        )
        return wait(fit)[0]

    return run


def main():
    path, threads, fits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    lib.n_workers = lambda *_: threads
    stored = np.load(path)
    names = sorted({key.split("/")[0] for key in stored.files})
    work, errors = {}, {}
    for name in names:
        images = np.ascontiguousarray(stored[f"{name}/images"], dtype=np.float32)
        if f"{name}/stack" not in stored.files:
            work[f"gaussmle_{name}"] = (run_gaussmle, images)
            work[f"gaussfit_{name}"] = (run_gaussfit, images)
            continue
        run = spline_runner(stored[f"{name}/stack"])
        work[f"spline_{name}"] = (run, images[:fits])
        found = run(images[:fits], threads)
        z = np.interp(-found[:, 3], np.arange(len(stored[f"{name}/stack"])), stored[f"{name}/stack_z_um"])
        errors[name] = float(np.median(np.abs(z - stored[f"{name}/z_um"][:fits])))
    versions = {"picassosr": importlib.metadata.version("picassosr"), "numba": importlib.metadata.version("numba")}
    ready = {"versions": versions, "threads": threads, "names": list(work), "median_z_error_um": errors}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        run, images = work[line.strip()]
        start = time.perf_counter()
        run(images, threads)
        print(json.dumps((time.perf_counter() - start) / len(images)), flush=True)


if __name__ == "__main__":
    main()
