"""Masks and families by name: one entry of a table makes a new one known to configurations, errors and sentences."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.compare.config import ExperimentConfig, describe_arm
from experiments.instrument.design import DesignConfig
from optics import mask_params, masks
from training import ConfigError, LearnConfig, MaskConfig, RunConfig, from_dict
from training.instrument import build_family, build_mask, build_microscope

RUN = RunConfig()
SCOPE = build_microscope(RUN.microscope)


def trefoil(rms_um, *, design_wavelength_um, size=64):
    return masks.zernike([(3, 3, rms_um)], design_wavelength_um=design_wavelength_um, size=size)


def test_a_mask_added_at_run_time_is_as_good_as_one_of_ours(monkeypatch):
    """Unknown before; after one entry configurations build it, errors list it and the first lines describe it."""
    values = {"arms": [{"label": "ours", "mask": {"name": "trefoil", "rms_um": 0.05}}]}
    with pytest.raises(
        ConfigError, match=r"arms\[0\].mask.name = 'trefoil' must be one of 'flat', .*'designed', 'file'"
    ):
        from_dict(ExperimentConfig, values)
    monkeypatch.setitem(masks.LIBRARY, "trefoil", masks.LibraryMask(trefoil, "trefoil of {rms_um:g} um rms", "rms_um"))
    config = from_dict(ExperimentConfig, values)
    built = build_mask(config.arms[0].mask, SCOPE)
    np.testing.assert_array_equal(built.opd_um, trefoil(0.05, design_wavelength_um=0.58).opd_um)
    assert describe_arm(config, config.arms[0]) == "trefoil of 0.05 um rms, kept as it is"
    with pytest.raises(ConfigError, match="mask.name = 'trefoul' .*'trefoil', .*; did you mean 'trefoil'?"):
        from_dict(RunConfig, {"mask": {"name": "trefoul"}})


def test_a_family_added_at_run_time_is_as_good_as_one_of_ours(monkeypatch):
    """Co-designs and designs read the same table."""
    with pytest.raises(ConfigError, match="learn.parametrisation = 'even' must be one of 'zernike', 'pixel', 'smooth'"):
        from_dict(RunConfig, {"learn": {"parametrisation": "even"}})

    def even(n_modes, *, design_wavelength_um):
        return mask_params.ZernikePhase(n_modes, "noll", 32, design_wavelength_um)

    monkeypatch.setitem(masks.FAMILIES, "even", masks.Family(even, "n_modes", "{n_modes} even modes"))
    learn = from_dict(LearnConfig, {"parametrisation": "even", "n_modes": 7})
    assert build_family(learn, 0.58).to_mask(jnp.zeros(7)).opd_um.shape == (32, 32)
    assert from_dict(DesignConfig, {"parametrisation": "even"}).parametrisation == "even"
    values = {"arms": [{"label": "ours", "learn": True}], "learn": {"parametrisation": "even", "n_modes": 7}}
    config = from_dict(ExperimentConfig, values)
    assert describe_arm(config, config.arms[0]) == "learned from flat, 7 even modes"


@pytest.mark.parametrize("name", sorted(masks.LIBRARY))
def test_every_mask_of_the_library_is_built_from_its_name(name):
    """By the table alone, at another size too."""
    assert build_mask(MaskConfig(name), SCOPE).opd_um.shape == (256, 256)
    number = {"range_um": 3.0, "rms_um": 0.05}.get(masks.LIBRARY[name].parameter)
    assert masks.LIBRARY[name].build(SCOPE, number, size=32).opd_um.shape == (32, 32)


def test_a_wrong_name_is_refused_where_a_mask_is_built():
    """A configuration made in Python is not checked until it is used."""
    with pytest.raises(ConfigError, match="mask.name = 'tetrapot' .* did you mean 'tetrapod'?"):
        build_mask(MaskConfig("tetrapot"), SCOPE)


@pytest.mark.parametrize("family", [masks.FAMILIES[name] for name in sorted(masks.FAMILIES)])
def test_every_family_is_linear_in_its_parameters(family):
    """What a design relies on when it shrinks a mask to its limits."""
    made = family.make(12, design_wavelength_um=0.6)
    params = jnp.asarray(np.random.default_rng(0).normal(size=made.params_shape()))
    once, thrice = made.to_mask(params), made.to_mask(3 * params)
    np.testing.assert_allclose(thrice.opd_um, 3 * once.opd_um, rtol=1e-12, atol=1e-12)
    assert made.wrapped is False
