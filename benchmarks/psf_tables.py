"""Can any ordinary PSF be tabulated for the fits? Size, time and error of its table over masks, apertures and depths.

    python benchmarks/psf_tables.py [--only MASK ...]

Five masks, NA 0.9 to 1.49, ranges of 0.5 to 6 um that begin at the coverslip, focused in the middle; a clear pupil and
astigmatism also focused on the coverslip, where the far end is faint. Each table with the defaults; its error is
measured at 64 places of our own, relative to each image. `--only` renews a part of the record. About 20 minutes.
"""

import argparse
import json
import time

import jax.numpy as jnp
import numpy as np

from measure.record import RESULTS, Rows, write_result
from optics import make_microscope, make_psf, masks, shipped_mask
from optics.psf_table import evaluate, tabulate_psf
from optics.types import OpticsError, Psf
from worlds.mle_cases import exact_images

PLACE = 145  # of its rows in benchmarks/README.md

WAVELENGTH_UM, PIXEL_UM, TOLERANCE, REACH_PX, PLACES = 0.6, 0.1, 1e-3, 1.5, 64
APERTURES = (0.9, 1.2, 1.45, 1.49)
STAMP_PX = {0.5: 21, 2.0: 31, 6.0: 41}
ENGINEERED = {"tetrapod": masks.tetrapod, "double_helix": masks.double_helix}
MASKS = ("clear", "astigmatism", "tetrapod", "double_helix", "learned", "clear_low", "astigmatism_low")


def make_case(name: str, na: float, depth_um: float) -> Psf:
    """The PSF of a mask at an aperture for 0 to `depth_um`; "_low" is focused on the coverslip."""
    kind = name.removesuffix("_low")
    focus = 0.0 if name.endswith("_low") else depth_um / 2
    scope = make_microscope(
        na=na, n_immersion=1.518, n_sample=1.33, wavelength_um=WAVELENGTH_UM, pixel_um=PIXEL_UM, focus_um=focus
    )
    plate = None
    if kind == "astigmatism":
        plate = masks.astigmatism(0.08)
    elif kind == "learned":
        plate = shipped_mask("fisher-4um")
    elif kind in ENGINEERED:
        plate = ENGINEERED[kind](max(depth_um, 2.0), scope)
    return make_psf(scope, mask=plate, image_px=STAMP_PX[depth_um], z_range_um=(0.0, depth_um))


def measure(name: str, na: float, depth_um: float) -> dict:
    psf = make_case(name, na, depth_um)
    case = {"na": na, "depth_um": depth_um, "image_px": psf.image_px}
    start = time.perf_counter()
    try:
        table = tabulate_psf(psf, (0.0, depth_um), tolerance=TOLERANCE)
    except OpticsError as error:
        return case | {"refused": str(error)}
    seconds = time.perf_counter() - start
    half = REACH_PX * PIXEL_UM
    points = jnp.asarray(np.random.default_rng(5).uniform([-half, -half, 0], [half, half, depth_um], (PLACES, 3)))
    exact = np.asarray(exact_images(psf, points)).reshape(PLACES, -1)
    found = np.stack([np.asarray(evaluate(table, point)[0]) for point in points])
    norm = np.linalg.norm(exact, axis=1)
    return case | {
        "seconds": round(seconds, 1),
        "terms_pictures": table.coefficients.shape,
        "brightest_over_faintest": round(float(norm.max() / norm.min()), 1),
        "error": float(f"{np.max(np.linalg.norm(found - exact, axis=1) / norm):.2e}"),
    }


def rows(numbers: dict) -> Rows:
    cases = [case for part in numbers["masks"].values() for case in part]
    errors = [case["error"] for case in cases if "error" in case]
    fade = max(case.get("brightest_over_faintest", 0) for case in cases)
    yield (
        f"PSFs that the fits can tabulate: {len(numbers['masks'])} masks and foci, NA 0.9 to 1.49, 0.5 to 6 um deep "
        f"(images fade up to {fade:.0f}-fold), and the largest error of an image",
        f"{len(cases)}, about {numbers['tolerance']:g}",
        f"{len(errors)}, {max(errors):.1e}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MASKS, default=MASKS, help="renew these in the record")
    options = parser.parse_args()
    record = RESULTS / "psf_tables.json"
    measured = json.loads(record.read_text())["numbers"]["masks"] if record.exists() else {}
    for name in options.only:
        measured[name] = [measure(name, na, depth) for na in APERTURES for depth in STAMP_PX]
        for case in measured[name]:
            print(name, case, flush=True)
        ordered = {key: measured[key] for key in MASKS if key in measured}
        path = write_result("psf_tables", {"tolerance": TOLERANCE, "places": PLACES, "masks": ordered})
    print(path)


if __name__ == "__main__":
    main()
