"""The plates that come with Colocus for telling two colours apart, and what else was tried.

    python benchmarks/shipping/colour_plates.py orange-red-2um
    python benchmarks/shipping/colour_plates.py close-2um

Height maps of fused silica that minimise exp(-D) / 2, D the Bhattacharyya distance to the least favourable emitter of
the other species, over 13 depths of 2 um, with the precision bound as a weighted term (`optics.colour.design`). Starts:
flat, astigmatic and Tetrapod in 55 Zernike modes, and 48 x 48 free cells that begin as a Tetrapod at the shorter
wavelength and the same turned by 45 degrees at the longer one (whole waves: `two_masks`). The best is written to
optics/colour/plates with its record: settings, losses of every start, command, versions, hardware.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks/, where measure and worlds are
import jax.numpy as jnp
import numpy as np

from measure.record import write_result
from optics import make_psf, masks, replace
from optics.colour.design import colour_loss, design_plate, etched_plate, make_colour_target, two_masks
from optics.colour.species import sampled_for, species_psfs
from optics.masks import files
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import etch
from optics.masks.params import PixelPhase, ZernikePhase
from optics.masks.sampling import mask_grid, sample_path_um
from optics.types import PhaseMask, make_mask
from worlds import ROOT
from worlds.colour_world import BACKGROUND, DEEP_UM, PAIRS, SCOPE, STAMP_PX, WAVELENGTH_UM, species_of

FOLDER = ROOT / "optics" / "colour" / "plates"
# pair of species, photons, whole waves of the shorter wavelength
PLATES = {"orange-red-2um": ("580-670", 1000.0, 3), "close-2um": ("605-640", 3500.0, 4)}
CELLS, MODES = 48, 55
PUPIL_PX = {"smooth": 56, "cells": 96}  # twice the cells: images to 3e-3
ALLOWED = 1.05  # of the Tetrapod's precision bound


def turned(mask: PhaseMask, angle_rad: float) -> PhaseMask:
    """The mask turned about the axis."""
    x, y = mask_grid(256)
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    path = sample_path_um(mask, cosine * x + sine * y, cosine * y - sine * x)
    return make_mask(path, design_wavelength_um=float(mask.design_wavelength_um))


def starts(pair: str, waves: int) -> dict:
    """Every start: kind of sampling, family, parameters."""
    library = {"design_wavelength_um": WAVELENGTH_UM, "size": 256}
    tetrapod = masks.tetrapod(2.0, SCOPE)
    modes = ZernikePhase(MODES, design_wavelength_um=WAVELENGTH_UM)
    little = np.random.default_rng(1).normal(0, 0.1, MODES) / np.sqrt(1 + np.arange(MODES))
    smooth = {"flat": masks.flat(**library), "astigmatic": masks.astigmatism(0.08, **library), "tetrapod": tetrapod}
    found: dict = {name: ("smooth", modes, np.asarray(modes.project(mask)) + little) for name, mask in smooth.items()}
    short, long = (nm / 1000 for nm in PAIRS[pair])
    first = replace(tetrapod, design_wavelength_um=jnp.asarray(short))
    second = replace(turned(tetrapod, np.pi / 4), design_wavelength_um=jnp.asarray(long))
    cells = PixelPhase(CELLS, False, short)
    both = two_masks(first, second, fused_silica(), waves=waves, size=CELLS)
    return found | {"two masks": ("cells", cells, np.asarray(cells.project(both)))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("plate", choices=sorted(PLATES))
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--only", nargs="*", help="names of starts; nothing is written")
    options = parser.parse_args()
    pair, photons, waves = PLATES[options.plate]
    species = species_of(pair, "lines")
    base = sampled_for(make_psf(SCOPE, image_px=STAMP_PX, pixel="centre", z_range_um=DEEP_UM), species, DEEP_UM)
    free = make_colour_target(DEEP_UM, photons=photons, background=BACKGROUND)
    reference = etch(masks.tetrapod(2.0, SCOPE, size=128), fused_silica())
    _, score = colour_loss(species_psfs(base, species, reference, z_range_um=DEEP_UM), free)
    tetrapod_um = float(score.bound_um)
    print(f"Tetrapod: error {float(score.error):.4f}, bound {1e3 * tetrapod_um:.1f} nm", flush=True)
    target = replace(free, bound_um=jnp.asarray(ALLOWED * tetrapod_um))
    designs, tried = {}, {}
    for name, (kind, family, params) in starts(pair, waves).items():
        if options.only and name not in options.only:
            continue
        began = time.process_time()
        design = design_plate(
            replace(base, pupil_px=PUPIL_PX[kind]), species, family, target,
            start=params, dispersion=fused_silica(), walls=kind == "cells", iterations=options.iterations, label=name,
        )  # fmt: skip
        height = np.asarray(design.plate.height_um)
        inside = np.hypot(*map(np.asarray, mask_grid(height.shape[0]))) <= 1
        designs[name] = (design, family, kind)
        tried[name] = {
            "error": float(design.score.error), "bound_nm": 1e3 * float(design.score.bound_um),
            "loss": float(design.history.min()), "loss_at_start": float(design.history[0]),
            "evaluations": int(design.history.size), "height_um": float(np.ptp(height[inside])),
            "cpu_seconds": time.process_time() - began,
        }  # fmt: skip
        print(name, {key: round(value, 4) for key, value in tried[name].items()}, flush=True)
    if options.only:
        return
    best = min(tried, key=lambda name: tried[name]["loss"])
    design, family, kind = designs[best]
    FOLDER.mkdir(exist_ok=True)
    mask = family.to_mask(design.params)
    again = etched_plate(mask, fused_silica(), kind == "cells")
    assert np.array_equal(np.asarray(again.height_um), np.asarray(design.plate.height_um))
    files.save(FOLDER / f"{options.plate}.npz", mask)
    numbers = {
        "species": list(map(str, PAIRS[pair])), "photons": photons, "background": BACKGROUND, "z_range_um": DEEP_UM,
        "microscope": {name: float(getattr(SCOPE, name)) for name in ("na", "n_immersion", "n_sample", "n_coverslip",
                                                                     "wavelength_um", "pixel_um", "focus_um")},
        "stamp_px": STAMP_PX, "material": "fused silica in air", "walls": kind == "cells", "start": best,
        "waves": waves, "tetrapod_bound_nm": 1e3 * tetrapod_um, "allowed_bound": ALLOWED, "starts": tried,
    }  # fmt: skip
    print(write_result(options.plate, numbers, folder=FOLDER))


if __name__ == "__main__":
    main()
