"""What DeepSTORM3D's grid costs: our scalar PSF on its grid and on the right one, against its stored images.

    python benchmarks/deepstorm3d_grid.py

Its angular coordinate is stretched by N/(N - 1) and its image pixel is wavelength f / (N pitch M) instead of the
camera's. Imitated, both give its images; without them the images differ. The stored images and masks come from
COLOCUS_DATA (default ../shared/data).
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from measure.record import Rows, write_result
from optics import fourier
from optics.grids import pixel_centres_um
from optics.masks.sampling import rotate_180
from optics.psf import make_psf, psf_image
from optics.pupil import make_pupil
from optics.pytree import replace
from optics.types import make_mask, make_microscope
from worlds import DATA
from worlds.lattice import lattice_nodes
from worlds.reference_files import relative_l2

PLACE = 60  # of its rows in benchmarks/README.md

# demo: mask, its pixels and pitch (um), focal length of the 4f relay (um), wavelength and focus (um)
DEMOS = {
    2: ("mask_tetrapod_printed", 203, 30.0, 1.0e5, 0.67, 1.5),
    3: ("mask_tetrapod", 329, 24.0, 1.5e5, 0.58, 4.5),
    5: ("mask_learned", 329, 24.0, 1.5e5, 0.58, 4.5),
}
NA, N_WATER, MAGNIFICATION = 1.45, 1.33, 100


def compare(demo: int) -> dict:
    """Worst and median relative L2 over the stored images of one demo, each image of unit sum."""
    name, n, pitch, focal, wavelength, focus = DEMOS[demo]
    with np.load(DATA / "ds3d-sim-reference" / f"psf_noiseless_demo{demo}.npz") as stored:
        images, xyz_um = stored["psf"].astype(float), jnp.asarray(stored["xyz_um"])
    images = images / images.sum(axis=(1, 2), keepdims=True)
    phase_rad = np.load(DATA / "ds3d-masks" / f"{name}.npy").astype(float)
    half_width = n * pitch / (2 * focal * NA / np.sqrt(MAGNIFICATION**2 - NA**2))
    scope = make_microscope(
        na=NA,
        iris_na=N_WATER,
        n_immersion=1.518,
        n_sample=N_WATER,
        wavelength_um=wavelength,
        pixel_um=0.11,
        focus_um=focus,
    )
    mask = make_mask(
        phase_rad * wavelength / (2 * np.pi),
        design_wavelength_um=wavelength,
        half_width=half_width,
        wrapped=True,
    )
    psf = make_psf(
        scope, mask=rotate_180(mask), kind="scalar", image_px=images.shape[-1], pixel="centre", z_range_um=(0, 5)
    )

    @jax.jit
    def on_lattice(xyz, stretch, pixel_um):
        stretched = replace(psf, mask=replace(psf.mask, half_width=psf.mask.half_width * stretch))
        pupil = make_pupil(stretched, lattice_nodes(n, half_width * stretch, N_WATER / NA))
        kx, ky = pupil.kx_rad_um / stretch, pupil.ky_rad_um / stretch
        phase = pupil.kz_sample_rad_um.real * xyz[2] - kx * xyz[0] - ky * xyz[1]
        x_um = pixel_centres_um(images.shape[-1], pixel_um)
        field = pupil.phasor * (pupil.weight != 0) * jnp.exp(1j * phase)
        return fourier.intensity(field[None], kx, ky[:, 0], x_um, x_um)

    theirs = (n / (n - 1), wavelength * focal / (n * pitch * MAGNIFICATION))
    quadrature = jax.jit(psf_image)
    variants = {
        "their_grid": lambda xyz: on_lattice(xyz, *theirs),
        "their_stretch_alone": lambda xyz: on_lattice(xyz, theirs[0], 0.11),
        "their_pixel_alone": lambda xyz: on_lattice(xyz, 1.0, theirs[1]),
        "right_grid": lambda xyz: on_lattice(xyz, 1.0, 0.11),
        "right_grid_and_our_quadrature": lambda xyz: quadrature(psf, xyz),
    }
    found = {"mask": name, "their_pixel_um": theirs[1], "their_stretch": theirs[0], "images": len(images)}
    for label, image in variants.items():
        ours = np.stack([np.asarray(image(xyz), dtype=float) for xyz in xyz_um])
        error = relative_l2(ours / ours.sum(axis=(1, 2), keepdims=True), images)
        found[label] = {"worst_l2": float(error.max()), "median_l2": float(np.median(error))}
    return found


def rows(numbers: dict) -> Rows:
    yield (
        "scalar parity with DeepSTORM3D, their grid imitated, worst of three files",
        "<= 1e-3",
        f"{max(d['their_grid']['worst_l2'] for d in numbers.values()):.1e}",
    )
    low, high = (f(d["right_grid"]["median_l2"] for d in numbers.values()) for f in (min, max))
    yield "what their grid costs, median L2 per file", "3-8 %", f"{100 * low:.1f}-{100 * high:.1f} %"


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    numbers = {f"demo{demo}": compare(demo) for demo in DEMOS}
    for key, value in numbers.items():
        print(f"{key}: {value}")
    print(write_result("deepstorm3d_grid", numbers))


if __name__ == "__main__":
    main()
