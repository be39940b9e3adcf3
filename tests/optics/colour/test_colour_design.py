"""A plate learned for colour: distances against the bound's, slopes against differences, two masks in one height."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import make_microscope, make_psf, masks, replace
from optics.colour.bound import species_bounds
from optics.colour.design import (
    colour_loss,
    design_plate,
    etched_plate,
    make_colour_target,
    two_masks,
)
from optics.colour.plate import plate_at
from optics.colour.shipped import plate_record, shipped_plate, shipped_plates
from optics.colour.species import make_species, sampled_for, species_psf, tabulate_species
from optics.masks.dispersion import fused_silica, path_per_height
from optics.masks.params import ZernikePhase
from optics.masks.sampling import mask_grid
from optics.types import OpticsError

SCOPE = make_microscope(na=0.9, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
SPECIES = make_species("orange", 0.58), make_species("red", 0.67)
BASE = sampled_for(make_psf(SCOPE, image_px=11, kind="scalar", pixel="centre"), SPECIES, (-0.4, 0.4))
SILICA = fused_silica()
FAMILY = ZernikePhase(6, size=32, design_wavelength_um=0.6)
TARGET = make_colour_target((-0.4, 0.4), photons=1000, background=10, n_depths=3, bound_um=0.03)


@jax.jit
def loss(params, target):
    plate = etched_plate(FAMILY.to_mask(params), SILICA)
    return colour_loss([species_psf(BASE, one, plate) for one in SPECIES], target)


@pytest.mark.slow
def test_a_design_ends_below_its_start_and_steps_along_the_slope():
    """Central differences along one direction, which a gradient through both terms has to match."""
    x = jnp.asarray([0.0, 0.1, -0.1, 0.3, 0.2, 0.5])
    direction = jnp.asarray([0.0, 0.2, 0.5, -0.3, 0.4, 0.1])
    slope = jnp.vdot(jax.jit(jax.grad(lambda p: loss(p, TARGET)[0]))(x), direction)
    step = 1e-4
    quotient = (loss(x + step * direction, TARGET)[0] - loss(x - step * direction, TARGET)[0]) / (2 * step)
    assert float(slope) == pytest.approx(float(quotient), rel=1e-3)
    found = design_plate(BASE, SPECIES, FAMILY, TARGET, start=x, dispersion=SILICA, iterations=6)
    assert float(found.history.min()) < float(found.history[0])
    assert float(loss(found.params, TARGET)[0]) == pytest.approx(float(found.history.min()), rel=1e-6)
    assert np.ptp(np.asarray(found.plate.height_um)) > 0


@pytest.mark.slow
def test_the_error_of_a_design_is_that_of_the_bound():
    """One damped step from a lattice of depths comes within a tenth of the full search's exp(-D) / 2."""
    plate = etched_plate(FAMILY.to_mask(jnp.asarray([0.0, 0.0, 0.0, 0.0, 0.0, 0.7])), SILICA)
    psfs = [species_psf(BASE, one, plate) for one in SPECIES]
    found = float(colour_loss(psfs, make_colour_target((-0.4, 0.4), photons=3000, background=10, n_depths=7))[1].error)
    tables = [tabulate_species(psf, (-0.4, 0.4)) for psf in psfs]
    bounds = species_bounds(tables, np.linspace(-0.4, 0.4, 7), [3000.0], 10.0)
    distances = np.asarray(bounds.distance)[[0, 1], [1, 0]]
    assert found == pytest.approx(np.mean(np.exp(-distances)) / 2, rel=0.1)


def test_two_masks_share_one_height():
    """Exactly the first at its wavelength; at the second off by half a step of whole waves at most, of which few do."""
    scope = replace(SCOPE, wavelength_um=jnp.asarray(0.6))
    first = replace(masks.tetrapod(2.0, scope, size=64), design_wavelength_um=jnp.asarray(0.58))
    second = masks.astigmatism(0.15, design_wavelength_um=0.67, size=64)
    both = two_masks(first, second, SILICA, waves=7, size=64)
    plate = etched_plate(both, SILICA, walls=True)
    x, y = mask_grid(64)
    inside = np.hypot(x, y) <= 1
    for wavelength, meant, off in ((0.58, first, 1e-9), (0.67, second, 0.075)):
        mask = plate_at(plate, wavelength)
        assert mask is not None and mask.wrapped
        turns = np.asarray(mask.opd_um - meant.opd_um)[inside] / wavelength
        assert np.abs(turns - np.round(turns)).max() <= off
    # one wave at 0.58 um, seen at 0.67 um
    wave = 0.58 / path_per_height(SILICA, 0.58) * path_per_height(SILICA, 0.67) / 0.67
    assert float(abs(wave - 1)) / 2 < 0.075 < float(abs(wave - 1))
    with pytest.raises(OpticsError, match="at least 1"):
        two_masks(first, second, SILICA, waves=0)


@pytest.mark.parametrize("name", shipped_plates())
def test_a_plate_that_comes_along_is_on_record(name):
    """Its start, its wavelengths and its height are those of its record; it beat every other start."""
    plate, numbers = shipped_plate(name), plate_record(name)["numbers"]
    tried = numbers["starts"]
    assert min(tried, key=lambda start: tried[start]["loss"]) == numbers["start"]
    x, y = mask_grid(plate.height_um.shape[0])
    height = np.ptp(np.asarray(plate.height_um)[np.hypot(x, y) <= 1])
    assert height == pytest.approx(tried[numbers["start"]]["height_um"], rel=1e-4)
    assert tried[numbers["start"]]["bound_nm"] <= 1.1 * numbers["tetrapod_bound_nm"]


def test_a_wrong_number_is_named():
    """A range the wrong way round; photons that are none; a plate that is not there; a start of another shape."""
    for call, says in (
        (lambda: make_colour_target((1.0, 0.0), photons=1, background=0), "lowest first"),
        (lambda: make_colour_target((0.0, 1.0), photons=0, background=0), "positive"),
        (lambda: shipped_plate("none"), "there are"),
        (lambda: design_plate(BASE, SPECIES, FAMILY, TARGET, start=[0.0], dispersion=SILICA), "6"),
    ):
        with pytest.raises(OpticsError, match=says):
            call()
