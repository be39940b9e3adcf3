"""Species in a comparison: the images and bounds of each, and who was taken for whom."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binomtest

from localization import Gate, Localizations, match
from optics import Psf, crlb_std_um
from optics.bounds.fisher import bound_std, information
from optics.colour.species import SpeciesPsf, species_fields, species_image_of
from optics.psf import psf_image, value_and_slopes

Look = Psf | SpeciesPsf


def looks_of(seen: Psf | tuple[SpeciesPsf, ...]) -> tuple[Look, ...]:
    """List the images of a run: of its one PSF, or of every species."""
    return (seen,) if isinstance(seen, Psf) else seen


def pixel_um(look: Look) -> jax.Array:
    """The camera's pixel."""
    if isinstance(look, Psf):
        return look.microscope.pixel_um
    return look.lines.microscope.pixel_um[0] * look.magnification[0]


def image(look: Look, xyz_um: jax.Array) -> jax.Array:
    """Image of one emitter for one photon (K, K)."""
    return psf_image(look, xyz_um) if isinstance(look, Psf) else _species(look, xyz_um)


def _species(look: SpeciesPsf, xyz_um: jax.Array) -> jax.Array:
    return species_image_of(look, species_fields(look), xyz_um)


def std_um(look: Look, xyz_um: jax.Array, photons: float, level: Any) -> jax.Array:
    """Precision bound in x, y and z (3,) of an emitter whose species is known."""
    if isinstance(look, Psf):
        return crlb_std_um(look, xyz_um, photons, level)
    shape, slopes = value_and_slopes(partial(species_image_of, look, species_fields(look)), xyz_um)
    by = jnp.concatenate([photons * slopes, shape[None], jnp.ones_like(shape)[None]])
    return bound_std(information(by, photons * shape + level))[:3]


def confusion(found: Localizations, truth: Localizations, n_species: int, gate: Gate) -> list[list[int]]:
    """Count, of each species (rows), as which its emitters were read (columns), of those found inside the gate."""
    pairs = match(found, truth, **gate)
    counts = np.zeros((n_species, n_species), int)
    np.add.at(counts, (truth.channel[pairs.truth_index], found.channel[pairs.found_index]), 1)
    return counts.tolist()


def told(counts: np.ndarray, level: float = 0.95) -> dict[str, Any]:
    """Estimate the share of pairs whose species is right, with Wilson's interval; None of no pairs.

    >>> told(np.array([[45, 5], [3, 47]]))["estimate"]
    0.92
    """
    pairs, right = int(np.sum(counts)), int(np.trace(counts))
    if not pairs:
        return {"estimate": None, "low": None, "high": None, "pairs": 0}
    low, high = binomtest(right, pairs).proportion_ci(level, method="wilson")
    return {"estimate": right / pairs, "low": low, "high": high, "pairs": pairs}


def summarised(stored: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum one cell's confusion over its seeds; nothing where the run has one colour."""
    if "confusion" not in stored[0]:
        return {}
    counts = np.sum([cell["confusion"] for cell in stored], axis=0)
    return {"confusion": counts.tolist(), "species": told(counts)}
