"""Masks that come with the package: whole, on record, and for the microscope they were designed for alone."""

import numpy as np
import pytest

from optics.bounds.fisher import depth_bounds
from optics.design import at_full_sampling
from optics.masks.shipped import shipped_mask, shipped_masks, shipped_record
from optics.psf import make_psf
from optics.types import OpticsError, make_microscope


@pytest.mark.parametrize("name", shipped_masks())
def test_every_design_is_an_unwrapped_mask_with_its_record(name):
    mask, record = shipped_mask(name), shipped_record(name)
    assert not mask.wrapped and float(mask.half_width) == 1.0
    assert float(mask.design_wavelength_um) == pytest.approx(
        record["numbers"]["settings"]["microscope"]["wavelength_um"]
    )
    assert {"command", "commit", "versions", "date"} <= set(record)
    ours, *others = record["numbers"]["design"]["masks"]
    assert ours["label"] == "designed" and ours["objective_nm"] < min(each["objective_nm"] or np.inf for each in others)


def test_both_kinds_of_design_are_there():
    assert {"fisher-4um", "density-4um"} <= set(shipped_masks())


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_masks())
def test_the_bounds_on_record_are_those_of_the_mask(name):
    """Computed from the file, in float64, over the 41 depths of the record: the mean to 1e-3."""
    settings, design = (shipped_record(name)["numbers"][key] for key in ("settings", "design"))
    wanted = {key: value for key, value in settings["microscope"].items() if value is not None}
    scope = make_microscope(**wanted)
    depths = (settings["z_min_um"], settings["z_max_um"])
    psf = make_psf(scope, mask=shipped_mask(name, scope), image_px=settings["psf"]["stamp_px"], z_range_um=depths)
    z = np.linspace(*depths, 41)
    bounds = depth_bounds(at_full_sampling(psf, depths, room=1.3), z, settings["photons"], settings["background"])
    mean_nm = 1e3 * np.asarray(bounds.marginal[:, :3]).mean(axis=0)
    np.testing.assert_allclose(mean_nm, list(design["masks"][0]["mean_nm"].values()), rtol=1e-3)


def test_a_design_for_another_objective_is_refused():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.58, pixel_um=0.11)
    with pytest.raises(OpticsError, match=r"designed for na = 1.45, not 1.2; design one"):
        shipped_mask("fisher-4um", scope)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(OpticsError, match="no shipped mask 'none'; there are .*fisher-4um"):
        shipped_mask("none")
