"""Configurations: what is wrong is refused with its name, what is right survives a round trip."""

import pytest

from made.tiny import tiny_run
from optics import OpticsError
from training import ConfigError, RunConfig, build, from_dict, to_dict


def test_round_trip():
    """to_dict then from_dict gives the same run, learn table and tuples included."""
    run = tiny_run(learn={"parametrisation": "pixel"})
    assert from_dict(RunConfig, to_dict(run)) == run


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": {}}, "unknown key 'optimizer'; did you mean 'optimiser'"),
        ({"scene": {"count_mx": 3}}, r"unknown key 'scene.count_mx'; did you mean 'count_max'"),
        ({"scene": {"frame_px": -4}}, "scene.frame_px = -4"),
        ({"scene": {"count_max": 0}}, "scene.count_max = 0"),
        ({"scene": {"z_max_um": 4000.0}}, "looks like nanometres"),
        ({"scene": {"photons_min": float("nan")}}, "scene.photons_min = nan must be a finite number"),
        ({"scene": {"frame_px": 3.5}}, "scene.frame_px = 3.5 must be of type int"),
        ({"scene": {"margin_um": 99.0}}, "leaves no room"),
        ({"psf": {"kind": "vector"}}, "psf.kind = 'vector' must be one of 'vectorial', 'scalar'"),
        ({"optimiser": {"steps": 0}}, "optimiser.steps = 0"),
        ({"decoder": {"dilations": 3}}, "decoder.dilations = 3 must be a list"),
        ({"microscope": 3}, "microscope must be a table"),
        ({"mask": {"name": "file"}}, "mask.path"),
        ({"mask": {"name": "designed"}}, "mask.design = '' must name a design"),
    ],
)
def test_mistakes_are_named(values, message):
    """Unknown keys, wrong types, sizes and units: one line that names the field."""
    with pytest.raises(ConfigError, match=message):
        from_dict(RunConfig, values)


@pytest.mark.parametrize(
    ("microscope", "message"),
    [
        ({"na": 1.6}, "na = 1.6 must be below n_immersion"),
        ({"wavelength_um": 580.0}, "looks like nanometres; give 0.58"),
        ({"pixel_um": 0.0}, "pixel_um = 0 must be positive"),
        ({"n_sample": 0.5}, "n_sample = 0.5 is not a refractive index"),
    ],
)
def test_optics_mistakes_are_named_before_any_work(microscope, message):
    """What the configuration cannot know, the optics refuse while building."""
    with pytest.raises(OpticsError, match=message):
        build(tiny_run(microscope=microscope, scene={"frame_px": 4000}))


def test_depths_above_the_coverslip_are_refused():
    """z < 0 has no meaning behind a mismatched interface; with matched indices it has."""
    scene = {"frame_px": 16, "count_max": 2, "z_min_um": -0.5, "z_max_um": 0.5}
    with pytest.raises(ConfigError, match="scene.z_min_um = -0.5 lies above the coverslip"):
        build(tiny_run(scene=scene))
    build(tiny_run(scene=scene, microscope={"na": 1.2, "n_immersion": 1.33, "n_sample": 1.33, "focus_um": 0.0}))


def test_a_blind_decoder_is_refused():
    """A receptive field smaller than the stamp: named, with the remedy."""
    with pytest.raises(ConfigError, match="add dilations"):
        build(tiny_run(psf={"stamp_px": 61, "pupil_px": 16}))
