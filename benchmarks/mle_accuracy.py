"""Do the fits scatter as little as is possible? RMSE over the Cramer-Rao bound, depth by depth, for three PSFs.

    python benchmarks/mle_accuracy.py [--fits 1000] [--depths 20]

For each PSF, brightness and depth: images by the exact optics at random places in the middle pixel, Poisson noise,
fits with the defaults, errors over the bound at the true values. Beside it what tells, without the truth, where the
likelihood is not unimodal: the share of fits whose second-best maximum is less than 3 units of log-likelihood below
the best (`rival_gap`), and of fits that end on a limit. `missed` is the share of fits that a climb from the true
values outdoes: 0 means that the search found the summit, and any excess scatter is that of maximum likelihood.
Offsets inside the pixel are compared with a uniform law.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from measure.record import Rows, write_result
from optics.bounds.fisher import crlb_std
from optics.fits.fit import fit_emitters
from optics.psf_table import tabulate_psf
from worlds.mle_cases import CASES, expected_stamps, random_stamps

PLACE = 130  # of its rows in benchmarks/README.md

LEVELS = {  # photons, background per pixel
    "astigmatism": ((2000.0, 10.0), (10000.0, 20.0)),
    "double_helix": ((3500.0, 20.0), (20000.0, 50.0)),
    "tetrapod": ((3500.0, 50.0), (20000.0, 50.0)),
}
AMBIGUOUS, MISSED, OUTLIER_SIGMA, FEW = 3.0, 0.05, 5.0, 0.01
NOISELESS = 200
POOLED, EACH = (0.98, 1.03), (0.92, 1.10)
AXES = ("x", "y", "z")
SHOWN = ("z_um", "crlb_nm", "rmse_over_crlb", "outliers", "missed", "ambiguous", "at_limit")


@jax.jit
def bounds(psf, xyz_um, photons, background):
    return jax.lax.map(lambda point: crlb_std(psf, point, photons, background), xyz_um, batch_size=8)


def table_bias(psf, table, z_um, photons, background, rng):
    """What the table's error does: rms and largest error over the bound, per axis, of fits to images without noise."""
    images, xyz = expected_stamps(rng, psf, z_um, photons, background)
    fits = fit_emitters(psf, images, table=table, tolerance=1e-3)
    errors = np.abs(np.asarray(fits.xyz_um) - xyz) / np.asarray(fits.crlb_std)[:, :3]
    return {"rms": np.sqrt(np.mean(errors**2, axis=0)).tolist(), "largest": errors.max(axis=0).tolist()}


def one_level(psf, table, depths, n, photons, background, rng):
    points, squares, offsets = [], [], []
    for depth in depths:
        images, xyz = random_stamps(rng, psf, np.full(n, depth), photons, background)
        # the bound hardly depends on the place within the pixel: the mean of its square over 32 places
        squared = np.asarray(bounds(psf, jnp.asarray(xyz[:32]), photons, background), dtype=float) ** 2
        std = np.sqrt(squared.mean(axis=0))
        fits = fit_emitters(psf, images, table=table)
        truth = np.column_stack([xyz, np.full(n, photons), np.full(n, background)])
        near = fit_emitters(psf, images, table=table, init=truth)
        errors = (np.column_stack([fits.xyz_um, fits.photons, fits.background]) - truth) / std
        ratio = np.sqrt(np.mean(errors**2, axis=0))
        ambiguous = float(np.mean(np.asarray(fits.rival_gap) < AMBIGUOUS))
        at_limit = float(np.mean(np.asarray(fits.at_bound)))
        pixel = float(psf.microscope.pixel_um)
        offsets.append((np.asarray(fits.xyz_um)[:, :2] / pixel + 0.5) % 1.0)
        squares.append(errors[:, :3] ** 2)
        points.append(
            {
                "z_um": round(float(depth), 4),
                "crlb_nm": (1e3 * std[:3]).round(2).tolist(),
                "rmse_over_crlb": ratio.round(4).tolist(),
                "bias_over_crlb": errors.mean(axis=0).round(4).tolist(),
                "outliers": float(np.mean(np.any(np.abs(errors[:, :3]) > OUTLIER_SIGMA, axis=1))),
                "missed": float(np.mean(np.asarray(near.log_likelihood - fits.log_likelihood) > MISSED)),
                "ambiguous": ambiguous,
                "at_limit": at_limit,
                "not_converged": float(np.mean(~np.asarray(fits.converged))),
                "chi2_ratio": float(np.mean(fits.chi2_ratio)),
                "iterations": float(np.mean(fits.iterations)),
                "unimodal": ambiguous < FEW and at_limit < FEW,
            }
        )
    bias = table_bias(psf, table, rng.uniform(depths[0], depths[-1], NOISELESS), photons, background, rng)
    unimodal = [i for i, point in enumerate(points) if point["unimodal"]]
    pooled = np.sqrt(np.mean([squares[i] for i in unimodal], axis=(0, 1))) if unimodal else np.full(3, np.nan)
    each = np.array([points[i]["rmse_over_crlb"][:3] for i in unimodal])
    within = np.concatenate(offsets)
    return {
        "photons": photons,
        "background": background,
        "table_bias_over_crlb": bias,
        "pooled": dict(zip(AXES, pooled.round(4).tolist(), strict=True)),
        "pooled_within": bool(np.all((pooled >= POOLED[0]) & (pooled <= POOLED[1]))),
        "worst_points": [float(each.min()), float(each.max())],
        "each_within": bool(np.all((each >= EACH[0]) & (each <= EACH[1]))),
        "depths_unimodal": len(unimodal),
        "depths": len(points),
        "offset_uniformity_p": [float(stats.kstest(within[:, axis], "uniform").pvalue) for axis in range(2)],
        "points": points,
    }


def rows(numbers: dict) -> Rows:
    low, high = numbers["limits"]["pooled"]
    for name, psf in numbers["psfs"].items():
        for level in psf["levels"]:
            pooled = level["pooled"]
            yield (
                f"fits of single emitters, {name}, {level['photons']:g} photons on {level['background']:g}: RMSE over "
                f"the bound x / y / z, worst point ({level['depths_unimodal']} of {level['depths']} depths unimodal)",
                f"{low}-{high}, each {numbers['limits']['each'][0]}-{numbers['limits']['each'][1]}",
                f"{pooled['x']:.3f} / {pooled['y']:.3f} / {pooled['z']:.3f}, {level['worst_points'][1]:.3f}",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=1000, help="fits a depth")
    parser.add_argument("--depths", type=int, default=20)
    parser.add_argument("--only", choices=sorted(CASES), help="one PSF, nothing is written")
    options = parser.parse_args()
    numbers: dict = {"fits_a_point": options.fits, "limits": {"pooled": POOLED, "each": EACH}, "psfs": {}}
    for name, case in CASES.items():
        if options.only not in (None, name):
            continue
        psf = case.psf()
        table = tabulate_psf(psf, case.fit_range_um)
        depths = np.linspace(*case.depth_um, options.depths)
        result = {"image_px": case.image_px, "depth_um": case.depth_um, "table_error": float(table.error), "levels": []}
        for k, (photons, background) in enumerate(LEVELS[name]):
            start = time.perf_counter()
            rng = np.random.default_rng(100 + k)
            level = one_level(psf, table, depths, options.fits, photons, background, rng)
            result["levels"].append(level)
            print(f"{name} {photons:g}/{background:g}: pooled {level['pooled']}, points {level['worst_points']},")
            print(f"  bias by the table {level['table_bias_over_crlb']}")
            print(f"  unimodal {level['depths_unimodal']} of {level['depths']}, uniform {level['offset_uniformity_p']}")
            for point in level["points"]:
                print("  ", {key: point[key] for key in SHOWN})
            print(f"  {time.perf_counter() - start:.0f} s", flush=True)
        numbers["psfs"][name] = result
    if options.only is None:
        print(write_result("mle_accuracy", numbers))


if __name__ == "__main__":
    main()
