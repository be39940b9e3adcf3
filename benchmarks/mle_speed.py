"""Time the fits on stamps of 21, 31, 41 and 61 pixels, ours and peers' in turn.

    python benchmarks/mle_speed.py [--picasso-python PATH] [--fd-deeploc FD-DEEPLOC --torch-python PATH]

Ours with its defaults (search over depths, up to three climbs, bound, chi-square), the table made before and its time
stated apart. Picasso, an interpreter with picassosr: its Gaussian maximum-likelihood fits, which find no z, on the
astigmatic images, and its cubic-spline fitter on the same images as ours, from the same noise-free PSF.
FD-DeepLoc, a checkout of github.com/Li-Lab-SUSTech/FD-DeepLoc: fits with its vectorial images and derivatives in
PyTorch, see `peers/fd_deeploc_fit.py`. All on the processor, with as many threads as it has cores. A few minutes.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from measure.peer import Peer, in_turn, stopwatch
from measure.record import Rows, write_result
from optics.fits.fit import fit_emitters
from optics.psf_table import tabulate_psf
from worlds.mle_cases import CASES, Case, exact_images, random_stamps

PLACE = 140  # of its rows in benchmarks/README.md

SIDES = (21, 31, 41, 61)
ENGINEERED = {31: "double_helix", 41: "tetrapod", 61: "tetrapod"}
LEVEL = {"astigmatism": (5000.0, 20.0), "double_helix": (3500.0, 20.0), "tetrapod": (3500.0, 50.0)}
FITS, SPLINE_FITS, VECTOR_FITS = 1000, 60, 4
STACK_STEP_UM = 0.05


def cases() -> dict[str, Case]:
    """Astigmatic images at every size, and at each the PSF that needs it."""
    named = {f"astigmatism_{side}": CASES["astigmatism"] for side in SIDES}
    return named | {f"{mask}_{side}": CASES[mask] for side, mask in ENGINEERED.items()}


def rows(numbers: dict) -> Rows:
    rate = numbers["fits_per_second"]
    for side in (21, 41, 61):
        named = {
            "Picasso spline": f"picasso_spline_astigmatism_{side}",
            "Picasso Gaussian MLE (2D)": f"picasso_gaussmle_plain_{side}",
        }
        peers = ", ".join(f"{label} {rate[key]:.0f}" for label, key in named.items() if key in rate)
        deep = [v for key, v in rate.items() if key.startswith("fd_deeploc") and key.endswith(f"_{side}")]
        peers += f", FD-DeepLoc's images {deep[0]:.1f}" if deep else ""
        yield (
            f"fits per second, astigmatic stamps of {side} px ({peers})",
            "reported",
            f"{rate[f'ours_astigmatism_{side}']:.0f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picasso-python", help="an interpreter that has picassosr")
    parser.add_argument("--fd-deeploc", help="a checkout of FD-DeepLoc")
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    numbers: dict = {"fits": FITS, "spline_fits": SPLINE_FITS, "vector_fits": VECTOR_FITS, "table": {}}
    clocks, stamps = {}, {}
    for name, case in cases().items():
        side = int(name.rsplit("_", 1)[1])
        psf = case.psf(side)
        z = rng.uniform(*case.depth_um, FITS)
        images, _ = random_stamps(rng, psf, z, *LEVEL[case.mask])
        start = time.perf_counter()
        table = tabulate_psf(psf, case.fit_range_um)
        numbers["table"][name] = {
            "seconds": round(time.perf_counter() - start, 2),
            "error": float(table.error),
            "terms_pictures": table.coefficients.shape,
        }
        fits = fit_emitters(psf, images, table=table)
        numbers["table"][name]["median_z_error_um"] = float(np.median(np.abs(fits.xyz_um[:, 2] - z)))
        clocks[f"ours_{name}"] = stopwatch(lambda p=psf, i=images, t=table: fit_emitters(p, i, table=t))
        depths = np.arange(case.fit_range_um[0], case.fit_range_um[1] + STACK_STEP_UM / 2, STACK_STEP_UM)
        stack = exact_images(psf, jnp.asarray(np.column_stack([np.zeros((len(depths), 2)), depths])))
        of_name = {"images": images, "z_um": z, "stack": np.asarray(stack), "stack_z_um": depths}
        stamps |= {f"{name}/{key}": value for key, value in of_name.items()}
        if case.mask == "astigmatism":
            stamps |= {f"plain_{side}/images": images, f"plain_{side}/z_um": z}
        print(name, numbers["table"][name], flush=True)
    peers, versions = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        if options.picasso_python:
            path = str(Path(folder) / "stamps.npz")
            np.savez(path, **stamps)
            threads = str(os.cpu_count())
            peers["picasso"] = Peer(options.picasso_python, "picasso_fit.py", path, threads, str(SPLINE_FITS))
        else:
            print("no --picasso-python: Picasso is not timed")
        if options.fd_deeploc and options.torch_python:
            sides = ",".join(str(side) for side in SIDES)
            arguments = (options.fd_deeploc, sides, str(VECTOR_FITS))
            peers["fd_deeploc"] = Peer(options.torch_python, "fd_deeploc_fit.py", *arguments)
            numbers["fd_deeploc_steps"] = peers["fd_deeploc"].ready["steps"]
        else:
            print("no --fd-deeploc and --torch-python: FD-DeepLoc is not timed")
        for label, peer in peers.items():
            versions |= peer.ready["versions"]
            numbers[f"{label}_median_z_error_um"] = peer.ready["median_z_error_um"]
            for name in peer.ready["names"]:
                # the peer answers per fit, ours per FITS
                clocks[f"{label}_{name}"] = lambda p=peer, n=name: FITS * p.seconds(n)
        times = in_turn(clocks, options.repeats)
        for peer in peers.values():
            peer.close()
    numbers["fits_per_second"] = {name: round(FITS / time["median_s"], 2) for name, time in times.items()}
    numbers["seconds_of_all_fits"] = times
    numbers["fd_deeploc_ms_per_step"] = {
        side: 1e3 * times[f"fd_deeploc_fit_{side}"]["median_s"] / FITS / steps
        for side, steps in numbers.get("fd_deeploc_steps", {}).items()
    }
    for name, speed in numbers["fits_per_second"].items():
        print(f"{name:40s} {speed:10.1f} fits/s")
    print(write_result("mle_speed", numbers, versions=versions))


if __name__ == "__main__":
    main()
