"""Masks as made: efficiency of etched levels and of an SLM's greys, and what errors cost the 3 um Tetrapod.

    python benchmarks/fabrication.py

The efficiency of a blazed grating in N levels has the closed form (sin(pi / N) / (pi / N))^2. The robustness is what
`colocus fabricate` computes by default.
"""

import argparse
import dataclasses
import time

import numpy as np

from experiments.instrument.fabricate import fabricate
from experiments.instrument.fabricate_config import FabricateConfig
from measure.record import Rows, write_result
from optics import make_mask
from optics.masks.dispersion import fused_silica
from optics.masks.fabrication import etch, etched_mask
from optics.masks.sampling import mask_grid

PLACE = 160  # of its rows in benchmarks/README.md

WAVELENGTH_UM, WAVES, SIDE = 0.6, 2, 1024


def efficiencies() -> list[dict]:
    """First-order efficiency of an etched blaze over its whole square, beside the closed form."""
    x, _ = mask_grid(SIDE)
    blaze = make_mask(WAVELENGTH_UM * WAVES * (np.asarray(x) + 1) / 2, design_wavelength_um=WAVELENGTH_UM)
    rows = []
    for levels in (2, 4, 8, 16, 256):
        made = etched_mask(etch(blaze, fused_silica(), levels=levels, wrap=True))
        turns = np.asarray(made.opd_um - blaze.opd_um, dtype=float) / WAVELENGTH_UM
        found = float(abs(np.exp(2j * np.pi * turns).mean()) ** 2)
        rows.append({"levels": levels, "efficiency": found, "closed_form": float(np.sinc(1 / levels) ** 2)})
    return rows


def rows(numbers: dict) -> Rows:
    worst = max(abs(row["efficiency"] - row["closed_form"]) for row in numbers["levels"])
    yield (
        "light into the first order of an etched ramp, 2 to 256 levels, from the closed form",
        "reported",
        f"{worst:.0e}",
    )
    yield (
        f"Strehl ratio of a Tetrapod on an 8-bit SLM; etched in {numbers['plate']['levels']} levels",
        "reported",
        f"{numbers['slm']['strehl']:.4f}; {numbers['plate']['strehl']:.3f}",
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    levels = efficiencies()
    for row in levels:
        print(
            f"{row['levels']:4} levels: {100 * row['efficiency']:.2f} %, closed form {100 * row['closed_form']:.2f} %"
        )
    started = time.perf_counter()
    made = fabricate(FabricateConfig())
    seconds = time.perf_counter() - started
    print("\n".join(made.lines()))
    numbers = {
        "levels": levels,
        "slm": made.facts["slm"],
        "plate": made.facts["etch"],
        "robustness_of": "tetrapod, 3 um, NA 1.45 oil on water, 3500 photons, 50 of background per pixel",
        "robustness": [dataclasses.asdict(row) for row in made.rows],
        "seconds_for_all": seconds,
    }
    print(f"{seconds:.1f} s")
    print(write_result("fabrication", numbers))


if __name__ == "__main__":
    main()
