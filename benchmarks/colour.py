"""Colour from a grey camera: how often the likelihood-ratio reader is right, and what no reader exceeds.

    python benchmarks/colour.py [--frames 500] [--only 'lines/580-670/*'] [--minutes 12]

NA 1.45 oil on water, 110 nm pixels, stamps of 31 px, 50 background photons a pixel; one emitter a stamp, anywhere in
the middle pixel, at any depth of the range, brightness, background, place and depth unknown to the reader, which fits
both species (`optics.colour.classify`). Cells are LIGHT/PAIR/RANGE/PUPIL: lines, or the bands of organic dyes behind
50 nm of filter; in focus is a depth unknown within 0.3 um. `--frames` emitters of each species a cell (half as many
as stand in a cell). Masks are etched in fused silica for 625 nm; "learned" is the plate that `colour_plates.py` learned
for the pair, "16 levels" and "64 levels" that plate as etched. Intervals are Wilson's, of 95 %.
"""

import jax.numpy as jnp
import numpy as np

from crowds.record import cell_parser, fill
from measure.record import RESULTS, Rows
from measure.shares import wilson
from optics.bounds.fisher import bound_std, information
from optics.colour.bound import species_bounds
from optics.colour.classify import classify_emitters
from optics.masks.dispersion import path_per_height
from optics.masks.fabrication import etch
from optics.psf_table import evaluate
from optics.pytree import replace
from optics.types import PhaseMask
from worlds.colour_world import (
    BACKGROUND,
    FOUR,
    LIBRARY,
    PAIRS,
    RANGES,
    SCOPE,
    drawn,
    plate_of,
    psfs_of,
    species_of,
    tables_of,
)

PLACE = 164  # of its rows in benchmarks/README.md

NAME = "colour"
PHOTONS = (1000.0, 3500.0, 10000.0)
PUPILS = (*LIBRARY, "learned")
MADE = {"16 levels": 16, "64 levels": 64}
DEPTHS = 11
# (pair, brightness): what a learned plate is to reach over 2 um with lines (%)
TARGETS = {("580-670", 0): 90, ("605-640", 1): 96}


def cells() -> list[str]:
    """Names of all cells: lines everywhere, bands over 2 um, the learned plates as they are etched."""

    def over(span: str) -> list[str]:
        return [f"{light}/{pair}/{span}/{pupil}" for light in ("lines", "bands") for pair in PAIRS for pupil in PUPILS]

    made = [f"lines/{pair}/2um/{name}" for pair in PAIRS for name in MADE]
    four = [f"lines/{FOUR}/2um/{pupil}" for pupil in PUPILS]
    return [*over("2um"), *made, *four, *over("focus")]


def etched_in_levels(plate, levels: int):
    """The plate in equal steps from its lowest to its highest cell, its walls a third as wide as they were learned."""
    mask = PhaseMask(
        opd_um=plate.height_um * path_per_height(plate.dispersion, plate.design_wavelength_um),
        transmission=plate.transmission,
        half_width=plate.half_width,
        design_wavelength_um=plate.design_wavelength_um,
    )
    made = etch(mask, plate.dispersion, levels=levels, wrap=False)
    finer = {
        name: jnp.repeat(jnp.repeat(getattr(made, name), 3, 0), 3, 1) for name in ("height_um", "transmission", "level")
    }
    return replace(made, **finer, wrapped=True)


def locates_nm(tables, photons: float) -> float:
    """Geometric mean of the precision bounds of x, y and z over depths and species, nm."""
    stds = []
    for table in tables:
        low, high = np.asarray(table.z_range_um)
        for z in np.linspace(low, high, DEPTHS):
            values = evaluate(table, jnp.array([0.0, 0.0, z]))
            by = jnp.concatenate([photons * values[1:], values[:1], jnp.ones_like(values[:1])])
            stds.append(np.asarray(bound_std(information(by, photons * values[0].clip(0) + BACKGROUND)))[:3])
    return float(1e3 * np.exp(np.log(stds).mean()))


def nearest(values) -> np.ndarray:
    """The least over rivals (S, Z, N) of numbers (S, S, Z, N), the diagonal left out."""
    values = np.array(values, float)
    values[np.arange(len(values)), np.arange(len(values))] = np.inf
    return values.min(axis=1)


def measure(cell: str, n: int) -> dict:
    """One pupil, pair, range and light, at three brightnesses."""
    light, pair, span, pupil = cell.split("/")
    plate = plate_of("learned" if pupil in MADE else pupil, pair)
    plate = etched_in_levels(plate, MADE[pupil]) if pupil in MADE else plate
    psfs = psfs_of(plate, species_of(pair, light))
    tables = tables_of(psfs, span)
    z = np.linspace(*RANGES[span], DEPTHS)
    bounds = species_bounds(tables, z, PHOTONS, BACKGROUND)
    count = len(tables)
    pairs = ~np.eye(count, dtype=bool)
    rng = np.random.default_rng(7)
    pictures = [drawn(rng, psf, span, n)[0] for psf in psfs]
    found: dict = {"frames": n, "table_error": round(max(float(t.error) for t in tables), 5)}
    for k, photons in enumerate(PHOTONS):
        right, errors, confused = [], [], np.zeros((count, count), int)
        for channel, picture in enumerate(pictures):
            read = classify_emitters(tables, rng.poisson(photons * picture + BACKGROUND))
            hit = np.asarray(read.channel) == channel
            right.append(int(hit.sum()))
            confused[channel] = np.bincount(np.asarray(read.channel), minlength=count)
            errors.append(np.column_stack([hit, np.asarray(read.p_channel)]))
        sure = np.concatenate(errors)
        found[f"{photons:g}"] = {
            "right": round(100 * sum(right) / (count * n), 1),
            "interval": wilson(sum(right), count * n),
            "by_species": [round(100 * r / n, 1) for r in right],
            "says_of_itself": round(100 * float(sure[:, 1].mean()), 1),
            # of the nearest rival of all; the limit of a pair holds among more species too
            "gaussian": round(100 * float(nearest(bounds.gaussian)[..., k].mean()), 1),
            "limit": round(100 * float(np.asarray(bounds.limit)[pairs][..., k].mean()), 1),
            "chernoff_floor": round(100 * float(1 - np.exp(-nearest(bounds.chernoff)[..., k]).mean() / 2), 1),
            "bound_nm": round(locates_nm(tables, photons), 2),
        }
        if count > 2:
            found[f"{photons:g}"]["confusion"] = confused.tolist()
    return found


def rows(numbers: dict) -> Rows:
    found = numbers["cells"]
    for (pair, k), target in TARGETS.items():
        names = [f"lines/{pair}/2um/{pupil}" for pupil in (*PUPILS, *MADE)]
        if all(name in found for name in names[: len(PUPILS)]):
            cell = {name.rpartition("/")[2]: found[name][f"{PHOTONS[k]:g}"] for name in names if name in found}
            parts = "; ".join(f"{name} {one['right']:.1f}" for name, one in cell.items())
            low, high = cell["learned"]["interval"]
            yield (
                f"species read rightly (%), {pair} nm over 2 um, {PHOTONS[k]:g} photons on 50, place, depth and light "
                f"unknown (learned: 95 % within {low:.1f} to {high:.1f})",
                f"learned >= {target}",
                parts,
            )
    four = {pupil: found[name]["10000"]["right"] for pupil in PUPILS if (name := f"lines/{FOUR}/2um/{pupil}") in found}
    if four:
        yield (
            "four species (530, 580, 670, 750 nm) over 2 um, 10000 photons, read rightly (%); the learned plate is "
            "that for 580 and 670 nm",
            ">= 95",
            "; ".join(f"{pupil} {value:.1f}" for pupil, value in four.items()),
        )
    worst = [
        (one[f"{photons:g}"]["interval"][0] - one[f"{photons:g}"]["limit"], name)
        for name, one in found.items()
        for photons in PHOTONS
    ]
    if worst:
        yield (
            f"the reader's share above the bound's limit, the most of {len(worst)} cells (lower end of its interval)",
            "<= 0 points",
            f"{max(worst)[0]:.1f} points",
        )


def main() -> None:
    options = cell_parser(__doc__, 500).parse_args()
    about = {
        "microscope": {name: float(getattr(SCOPE, name)) for name in ("na", "n_immersion", "n_sample", "focus_um")},
        "background": BACKGROUND,
        "photons": PHOTONS,
    }
    fill(NAME, cells(), measure, options, **about)
    print(RESULTS / f"{NAME}.json")


if __name__ == "__main__":
    main()
