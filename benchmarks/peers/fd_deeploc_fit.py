"""Fits with FD-DeepLoc's vectorial PSF on the CPU, timed on demand: a line of input, a JSON line of seconds a fit out.

Started by `mle_speed.py` with an interpreter that has PyTorch: `python fd_deeploc_fit.py FOLDER SIDES FITS`, FOLDER a
checkout of github.com/Li-Lab-SUSTech/FD-DeepLoc, SIDES stamp sides such as 21,41. That repository has no fit of single
emitters on the CPU; it has the image of a free dipole with its analytic derivatives, for bounds
(`FreeDipolePSF_torch.cal_crlb`). What is timed: Levenberg-Marquardt steps of ours on these images and derivatives, as
published (single-precision fields; `cuda` replaced by `cpu`; 64 pupil samples), on images that its model made, from
starts 20 nm off in x and y and 80 nm in z: no search for the depth, so a lower limit of what such a fit takes.
The first line of output has the version, the steps taken and the median error in z.
"""

import json
import sys
import time

import numpy as np
import torch
from fd_deeploc_psf import load

PHOTONS, BACKGROUND, PUPIL_PX, TOLERANCE, MOST_STEPS = 3500.0, 50.0, 64, 1e-2, 30
SLACK = 0.01  # in log-likelihood: what the single precision of its fields makes of it
OFF_NM = np.array([20.0, -20.0, 80.0])
# lateral astigmatism of second order makes a Tetrapod (nm)
ZERNIKES = [(2, 2, -60.0), (4, 2, 140.0)]


def settings(side, xyz_nm, photons, background):
    n = len(xyz_nm)
    return {
        "NA": 1.45,
        "refmed": 1.33,
        "refcov": 1.518,
        "refimm": 1.518,
        "lambda": 670.0,
        "objstage0": -1500.0,
        "zemit0": 0.0,
        "pixel_size_xy": [110.0, 110.0],
        "Npupil": PUPIL_PX,
        "zernike_aber": np.array(ZERNIKES),
        "Npixels": side,
        "Nphotons": np.broadcast_to(photons, n).astype(float),
        "bg": np.broadcast_to(background, n).astype(float),
        "xemit": xyz_nm[:, 0],
        "yemit": xyz_nm[:, 1],
        "zemit": xyz_nm[:, 2],
        "objstage": np.zeros(n),
        "otf_rescale": [],
    }


def evaluator(psf_class, side, n):
    """A function of parameters (n, 5), nm: expected images (n, K, K) and derivatives (n, K, K, 5)."""
    start = np.column_stack([np.zeros((n, 2)), np.full(n, 1000.0)])
    model = psf_class(settings(side, start, PHOTONS, BACKGROUND))
    model.cal_crlb()  # prepares what its derivatives need

    def evaluate(theta):
        values = torch.as_tensor(theta)
        model.xemit, model.yemit, model.zemit = values[:, 0], values[:, 1], values[:, 2]
        model.Nphotons, model.bg = values[:, 3, None, None], values[:, 4, None, None]
        slopes, mean = model._cal_dudt(None, None)
        return mean.numpy(), slopes.numpy()

    return evaluate


def likelihood(counts, mean):
    return np.sum(counts * np.log(mean) - mean, axis=(1, 2))


def fit(evaluate, counts, theta):
    """Levenberg-Marquardt with the Fisher matrix, all stamps together until the last has converged."""
    theta, damping = theta.copy(), np.full(len(theta), 0.01)
    mean, slopes = evaluate(theta)
    steps, ended = 0, np.zeros(len(theta), bool)
    while steps < MOST_STEPS and not ended.all():
        steps += 1
        fisher = np.einsum("nyxi,nyxj,nyx->nij", slopes, slopes, 1 / mean, optimize=True)
        score = np.einsum("nyxi,nyx->ni", slopes, counts / mean - 1)
        diagonal = np.einsum("nii->ni", fisher)
        damped = fisher + np.eye(5) * (damping[:, None] * diagonal)[:, :, None]
        step = np.linalg.solve(damped, score[..., None])[..., 0]
        trial = theta + step
        trial[:, 2], trial[:, 3:] = np.clip(trial[:, 2], 1.0, None), np.maximum(trial[:, 3:], 1e-3)
        trial_mean, trial_slopes = evaluate(trial)
        better = likelihood(counts, trial_mean) >= likelihood(counts, mean) - SLACK
        moved = np.max(np.abs(trial - theta) * np.sqrt(diagonal), axis=1)
        theta[better], mean[better], slopes[better] = trial[better], trial_mean[better], trial_slopes[better]
        damping = np.where(better, damping / 10, damping * 10)
        ended |= better & (moved < TOLERANCE)
    return theta, steps


def main():
    folder, sides, n = sys.argv[1], [int(side) for side in sys.argv[2].split(",")], int(sys.argv[3])
    rng = np.random.default_rng(0)
    torch.set_default_dtype(torch.float32)
    psf_class = load(folder, double=False, reciprocal=False)
    work, errors, taken = {}, {}, {}
    with torch.no_grad():
        for side in sides:
            evaluate = evaluator(psf_class, side, n)
            truth = np.column_stack(
                [rng.uniform(-55, 55, (n, 2)), rng.uniform(500, 2500, n), np.full(n, PHOTONS), np.full(n, BACKGROUND)]
            )
            counts = rng.poisson(evaluate(truth)[0]).astype(float)
            start = truth + np.concatenate([OFF_NM, [-500.0, 5.0]])
            found, taken[side] = fit(evaluate, counts, start)
            errors[side] = float(np.median(np.abs(found[:, 2] - truth[:, 2])) / 1e3)
            work[f"fit_{side}"] = (evaluate, counts, start)
        ready = {"versions": {"torch": torch.__version__}, "threads": torch.get_num_threads(), "names": list(work)}
        print(json.dumps({**ready, "median_z_error_um": errors, "steps": taken}), flush=True)
        for line in sys.stdin:
            begin = time.perf_counter()
            fit(*work[line.strip()])
            print(json.dumps((time.perf_counter() - begin) / n), flush=True)


if __name__ == "__main__":
    main()
