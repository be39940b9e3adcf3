"""Accuracy against cost: how many pupil samples a PSF needs, and whether the default takes enough.

    python benchmarks/accuracy.py

Part 1: worst relative L2 to `psf_converged` over the images of a reference file and the time of one PSF, for our
quadrature and for the square lattices of peers (hard edge; edge samples weighted by the part of their cell inside
the aperture). Writes docs/figures/accuracy.png. Part 2: the default samples over a sweep of optics, stamps and
depths, against a much finer quadrature. The reference comes from COLOCUS_DATA (default ../shared/data).
"""

import argparse
import itertools
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from measure.record import Rows, write_result
from optics.grids import DiskNodes, mask_centres
from optics.psf import make_psf, psf_image
from optics.types import make_microscope
from worlds import ROOT
from worlds.lattice import lattice_nodes
from worlds.reference_files import image_in_window, read_witness, reference_folder, relative_l2

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PLACE = 10  # of its rows in benchmarks/README.md

SAMPLES = {
    "quadrature": (32, 36, 40, 44, 48, 56, 64),
    "hard edge": (64, 96, 128, 192, 256),
    "area-weighted edge": (64, 96, 128, 192, 256),
}
# Okabe & Ito's colours, told apart by marker as well
STYLE = {"quadrature": ("#0072B2", "o"), "hard edge": ("#D55E00", "s"), "area-weighted edge": ("#009E73", "^")}
FILES = ("tetrapod_6um", "oil_water_coma")
# sample, coverslip = immersion, NA
OPTICS = ((1.33, 1.33, 0.8), (1.33, 1.518, 1.2), (1.40, 1.406, 1.35), (1.33, 1.518, 1.45), (1.40, 1.518, 1.49))
STAMPS_PX = (21, 61, 121)
DEPTHS_UM = ((0.0, 1.0), (0.0, 6.0))  # focused in the middle


def area_weighted_nodes(n_px: int, fine: int = 32) -> DiskNodes:
    """A square lattice, each sample weighted by the part of its cell that lies in the unit disk."""
    u = np.asarray(mask_centres(n_px * fine))
    inside = (u[:, None] ** 2 + u[None, :] ** 2 < 1).reshape(n_px, fine, n_px, fine).mean(axis=(1, 3))
    # at the centre of gravity, along the row, of that part
    part = np.where(u[:, None] ** 2 + u[None, :] ** 2 < 1, u, 0.0).reshape(n_px, fine, n_px, fine)
    lattice = lattice_nodes(n_px, 1.0, 2.0)
    x = np.where(inside > 0, part.mean(axis=(1, 3)) / np.maximum(inside, 1e-9), np.asarray(lattice.x))
    return DiskNodes(
        x=jnp.asarray(x, jnp.float32), y=lattice.y, weight=lattice.weight * jnp.asarray(inside, jnp.float32)
    )


def curve(name: str, rule: str) -> list[dict]:
    """Error and time over the samples of one rule, for one reference file."""
    witness = read_witness(reference_folder(), name)
    points = []
    for samples in SAMPLES[rule]:
        psf = make_psf(
            witness.microscope,
            zernike_um=witness.zernike_um,
            image_px=witness.image_px,
            pixel="centre",
            pupil_px=samples if rule == "quadrature" else 8,
        )
        nodes = None if rule == "quadrature" else lattice_nodes(samples, 1.0, 1.0)
        if rule == "area-weighted edge":
            nodes = area_weighted_nodes(samples)
        # nodes as an argument: baked into the program as constants they would be folded while compiling
        images = jax.jit(jax.vmap(image_in_window, (None, 0, 0, None)))
        arguments = (psf, jnp.asarray(witness.xyz_um), jnp.asarray(witness.focus_um), nodes)
        error = relative_l2(images(*arguments), witness.converged).max()
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            images(*arguments).block_until_ready()
            seconds.append((time.perf_counter() - start) / len(witness.converged))
        side = samples + 2 * psf.ring_px if rule == "quadrature" else samples
        points.append({"samples_a_side": side, "worst_l2": float(error), "ms_per_psf": 1e3 * float(np.median(seconds))})
        print(f"{name}, {rule}: {points[-1]}", flush=True)
    return points


def draw(curves: dict, defaults: dict) -> None:
    figure, axes = plt.subplots(1, len(FILES), figsize=(9, 3.8), sharey=True, constrained_layout=True)
    for axis, name in zip(axes, FILES, strict=True):
        for rule, points in curves[name].items():
            colour, marker = STYLE[rule]
            times, errors = [p["ms_per_psf"] for p in points], [p["worst_l2"] for p in points]
            axis.loglog(times, errors, color=colour, marker=marker, label=rule)
            for point in (points[0], points[-1]) if rule != "area-weighted edge" else ():
                axis.annotate(
                    f"{point['samples_a_side']}",
                    (point["ms_per_psf"], point["worst_l2"]),
                    textcoords="offset points",
                    xytext=(5, 4),
                    fontsize=8,
                )
        axis.axhline(1e-3, color="0.6", linewidth=0.8, linestyle="--")
        axis.set_title(f"{name} (default: {defaults[name]} samples a side)", fontsize=9)
        axis.set_xlabel("time per PSF (ms)")
    axes[0].set_ylabel("worst relative L2 error")
    axes[0].legend(frameon=False, fontsize=8)
    path = ROOT / "docs" / "figures" / "accuracy.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    print(path)


def sweep() -> list[dict]:
    """The default samples against a much finer quadrature, over optics, stamps and depths."""
    found = []
    for (n_sample, n_glass, na), image_px, depths in itertools.product(OPTICS, STAMPS_PX, DEPTHS_UM):
        scope = make_microscope(
            na=na,
            n_sample=n_sample,
            n_immersion=n_glass,
            wavelength_um=0.6,
            pixel_um=0.11,
            focus_um=sum(depths) / 2,
        )
        # a Tetrapod-like aberration spreads the light over the stamp
        options = {"zernike_um": [0] * 5 + [-0.04] + [0] * 7 + [0] + [0.06], "pixel": "centre"}
        psf = make_psf(scope, image_px=image_px, z_range_um=depths, **options)
        fine = make_psf(
            scope,
            image_px=image_px,
            pupil_px=2 * round(0.65 * psf.pupil_px + 18),
            ring_px=2 * psf.ring_px + 6 if psf.ring_px else 0,
            **options,
        )
        image = jax.jit(psf_image)
        errors = []
        for z in np.linspace(*depths, 3):
            xyz = jnp.array([0.05, -0.05, z], jnp.float32)
            truth = image(fine, xyz)
            errors.append(float(jnp.linalg.norm(image(psf, xyz) - truth) / jnp.linalg.norm(truth)))
        found.append(
            {"na": na, "n_sample": n_sample, "n_immersion": n_glass, "image_px": image_px, "z_um": list(depths)}
            | {"pupil_px": psf.pupil_px, "ring_px": psf.ring_px, "worst_l2": max(errors)}
        )
        print(found[-1], flush=True)
    return found


def rows(numbers: dict) -> Rows:
    finest = [min(c["quadrature"], key=lambda r: r["worst_l2"]) for c in numbers["curves"].values()]
    yield (
        "PSF against the converged witness, worst image, finest quadrature of the curve",
        "<= 1e-3",
        f"{max(r['worst_l2'] for r in finest):.1e}",
    )
    worst = numbers["worst_of_the_default"]["worst_l2"]
    yield "default sampling over a sweep of optics, worst", "<= 3e-3", f"{worst:.1e}"


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    curves = {name: {rule: curve(name, rule) for rule in SAMPLES} for name in FILES}
    defaults = {}
    for name in FILES:
        witness = read_witness(reference_folder(), name)
        z = witness.xyz_um[:, 2]
        psf = make_psf(witness.microscope, image_px=witness.image_px, z_range_um=(z.min(), z.max()))
        defaults[name] = psf.pupil_px + 2 * psf.ring_px
    draw(curves, defaults)
    found = sweep()
    worst = max(found, key=lambda case: case["worst_l2"])
    print(f"worst of the default over the sweep: {worst}")
    numbers = {"curves": curves, "default_samples_a_side": defaults, "sweep": found, "worst_of_the_default": worst}
    print(write_result("accuracy", numbers))


if __name__ == "__main__":
    main()
