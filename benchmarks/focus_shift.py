"""A focus that was told half a micrometre wrong: by how much are depths wrong, and is their range kept?

    python benchmarks/focus_shift.py [--fits 60] [--depths 10]

AutoDS3D states that the nominal focal plane (NFP) shifts z and leaves its range (its Fig. S10). Molecules are drawn
by the exact vectorial optics with the objective focused 0.5 um deeper than the PSF says that reads them: 20,000 photons
on 50, fitted one by one. Two predictions that know nothing of the fits: the depth at which the PSF's own image
correlates best with the drawn one, on a grid; and, on paper, the shift of z by which the phase of a depth,
k_s cos(theta_s) z, comes nearest to that of the focus, k_i cos(theta_i) 0.5 um, over the sub-critical pupil.
"""

import argparse
import dataclasses

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from measure.record import Rows, write_result
from optics.fits.fit import fit_emitters
from optics.psf_table import tabulate_psf
from optics.types import Psf
from worlds.mle_cases import CASES, exact_images, random_stamps

PLACE = 132  # of its rows in benchmarks/README.md

CHANGE_UM = 0.5
PHOTONS, BACKGROUND = 20_000.0, 50.0
DEPTHS_UM = {"astigmatism": (0.7, 1.4), "double_helix": (0.7, 2.2), "tetrapod": (0.8, 4.0)}
GRID_UM = 0.04


def deeper(psf: Psf) -> Psf:
    """The PSF of an objective that is focused deeper by the change."""
    scope = dataclasses.replace(psf.microscope, focus_um=psf.microscope.focus_um + CHANGE_UM)
    return dataclasses.replace(psf, microscope=scope)


def best_depths(psf: Psf, images: NDArray, z_range_um: tuple[float, float]) -> NDArray:
    """The depths (N,) at which images of the PSF correlate best with those (N, K, K), between grid points too."""
    grid = np.arange(z_range_um[0], z_range_um[1] + GRID_UM / 2, GRID_UM)
    ours = np.asarray(exact_images(psf, jnp.asarray(np.column_stack([np.zeros((grid.size, 2)), grid]))))

    def standard(stack: NDArray) -> NDArray:
        flat = stack.reshape(len(stack), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    alike = standard(images) @ standard(ours).T
    top = np.clip(alike.argmax(axis=1), 1, grid.size - 2)
    before, at, after = (alike[np.arange(len(top)), top + k] for k in (-1, 0, 1))
    return grid[top] + GRID_UM * 0.5 * (before - after) / (before - 2 * at + after)


def shift_on_paper_um(psf: Psf) -> float:
    """The change of z that imitates the change of focus, least squares of phases over the pupil, piston left free."""
    m = psf.microscope
    na, n_i, n_s = (float(v) for v in (m.na, m.n_immersion, m.n_sample))
    sine = np.sqrt((np.arange(4000) + 0.5) / 4000) * min(na, 0.999 * n_s)  # even over the pupil's area
    depth, focus = np.sqrt(n_s**2 - sine**2), np.sqrt(n_i**2 - sine**2)
    depth, focus = depth - depth.mean(), focus - focus.mean()
    return float(-CHANGE_UM * (depth @ focus) / (depth @ depth))


def measure(name: str, depths: int, fits: int, seed: int = 0) -> dict:
    """Shift and range of one PSF: of fits, and as predicted."""
    case = CASES[name]
    psf, z_um = case.psf(), np.linspace(*DEPTHS_UM[name], depths)
    other = deeper(psf)
    table = tabulate_psf(psf, case.fit_range_um)
    images, _ = random_stamps(np.random.default_rng(seed), other, np.repeat(z_um, fits), PHOTONS, BACKGROUND)
    found = fit_emitters(psf, images, table=table)
    read = np.median(np.asarray(found.xyz_um)[:, 2].reshape(depths, fits), axis=1)
    plain = np.asarray(exact_images(other, jnp.asarray(np.column_stack([np.zeros((depths, 2)), z_um]))))
    predicted = best_depths(psf, plain, case.fit_range_um)
    shift, expected = read - z_um, predicted - z_um
    return {
        "z_um": z_um.round(4).tolist(),
        "shift_um": shift.round(4).tolist(),
        "predicted_um": expected.round(4).tolist(),
        "mean_shift_um": round(float(shift.mean()), 4),
        "mean_predicted_um": round(float(expected.mean()), 4),
        "worst_from_predicted_nm": round(1e3 * float(np.abs(shift - expected).max()), 2),
        "mean_from_predicted_nm": round(1e3 * float((shift - expected).mean()), 2),
        "on_paper_um": round(shift_on_paper_um(psf), 4),
        "range_over_true": round(float(np.polyfit(z_um, read, 1)[0]), 4),
        "range_over_predicted": round(float(np.polyfit(z_um, read, 1)[0] / np.polyfit(z_um, predicted, 1)[0]), 4),
        "chi2_ratio": round(float(np.median(np.asarray(found.chi2_ratio))), 3),
    }


def rows(numbers: dict) -> Rows:
    for name in CASES:
        one = numbers[name]
        yield (
            f"{name}, focus told {CHANGE_UM} um wrong: shift of z (um), and its distance from the prediction by images "
            f"(mean; worst depth, nm; on paper {one['on_paper_um']:.3f} um)",
            "within 20 nm",
            f"{one['mean_shift_um']:.3f}; {one['mean_from_predicted_nm']:.1f}; {one['worst_from_predicted_nm']:.1f}",
        )
        yield (
            "its range of z over that of the prediction; over the true one",
            "0.97-1.03; 0.97-1.03",
            f"{one['range_over_predicted']:.3f}; {one['range_over_true']:.3f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fits", type=int, default=60, help="fits at each depth")
    parser.add_argument("--depths", type=int, default=10)
    options = parser.parse_args()
    numbers: dict = {}
    for name in CASES:
        numbers[name] = measure(name, options.depths, options.fits)
        print(name, numbers[name], flush=True)
    print(write_result("focus_shift", numbers))


if __name__ == "__main__":
    main()
