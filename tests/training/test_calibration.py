"""`psf.calibration`: a run on an instrument as its beads show it."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made.tiny import LEARN, TINY, tiny_run
from optics import OpticsError, make_mask, make_psf, masks, psf_image
from optics.psf_io import save_psf
from optics.pytree import replace
from training import ConfigError, MicroscopeConfig, build, init_state
from training.checkpoint import Checkpoints
from training.config import MaskConfig, PsfConfig
from training.instrument import build_microscope, build_psf
from training.run_folder import RunFolder

MICROSCOPE = MicroscopeConfig(focus_um=0.5)
SCOPE = build_microscope(MicroscopeConfig(focus_um=1.7))  # the beads' focus is not the experiment's
RNG = np.random.default_rng(0)
PUPIL = make_mask(
    0.05 * RNG.normal(size=(16, 16)),
    transmission=RNG.uniform(0.7, 1, (16, 16)),
    design_wavelength_um=0.58,
    wrapped=True,
)


image = jax.jit(psf_image)


@pytest.fixture(scope="module")
def retrieved(tmp_path_factory):
    """A file as `colocus retrieve` writes it, and the Psf in it."""
    path = tmp_path_factory.mktemp("calibration") / "psf.npz"
    psf = make_psf(SCOPE, aberration=PUPIL, blur_um=0.09, image_px=11, polarisation="x", pupil_px=16, ring_px=5)
    save_psf(path, psf)
    return path, psf


def test_the_calibrated_psf_is_the_retrieved_one(retrieved):
    """Image for image at the experiment's focus: pupil, amplitude, blur and polariser are all taken."""
    path, psf = retrieved
    config = PsfConfig(calibration=str(path), stamp_px=11, pixel="integrated", pupil_px=16, ring_px=5)
    built = build_psf(MICROSCOPE, config, MaskConfig(), (0.0, 1.0))
    refocused = replace(psf, microscope=build_microscope(MICROSCOPE))
    for at in ([0.0, 0.0, 0.3], [0.1, -0.05, 0.8]):
        expected = np.asarray(image(refocused, jnp.array(at)))
        np.testing.assert_allclose(image(built, jnp.array(at)), expected, atol=1e-12 * expected.max())


def test_a_mask_acts_on_top_of_the_calibration(retrieved):
    """The two paths add up: as one aberration of their sum."""
    path, psf = retrieved
    config = PsfConfig(calibration=str(path), stamp_px=11, pixel="integrated", pupil_px=16, ring_px=5)
    astigmatism = masks.astigmatism(0.06, size=16, design_wavelength_um=0.58)
    built = build_psf(MICROSCOPE, config, astigmatism, (0.0, 1.0))
    assert built.mask is astigmatism and built.aberration is not None
    summed = replace(PUPIL, opd_um=PUPIL.opd_um + astigmatism.opd_um)
    one = replace(psf, microscope=build_microscope(MICROSCOPE), aberration=summed)
    at = jnp.array([0.0, 0.0, 0.4])
    expected = np.asarray(image(one, at))
    alone = np.asarray(image(replace(one, aberration=PUPIL), at))
    # phases between cells are interpolated each for itself, or summed
    assert np.abs(np.asarray(image(built, at)) - expected).max() < 0.1 * np.abs(alone - expected).max()


def test_a_blur_that_is_set_takes_the_place_of_the_beads(retrieved):
    """`psf.blur_um` wins over the file's."""
    config = PsfConfig(calibration=str(retrieved[0]), stamp_px=11, blur_um=0.2)
    assert float(build_psf(MICROSCOPE, config, MaskConfig(), (0.0, 1.0)).blur_um) == 0.2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"na": 1.4}, "was retrieved with na = 1.45, not microscope.na = 1.4; set it so"),
        ({"n_sample": 1.38}, "was retrieved with n_sample = 1.33, not microscope.n_sample = 1.38"),
        ({"n_coverslip": 1.52}, "was retrieved with n_coverslip = 1.518"),
        ({"iris_na": 1.3}, "was retrieved with iris_na = 1.45"),
        ({"wavelength_um": 0.6}, "was retrieved with wavelength_um = 0.58"),
        ({"pixel_um": 0.1}, "was retrieved with pixel_um = 0.11"),
    ],
)
def test_another_microscope_is_refused(change, message, retrieved):
    """Every number that the pupil hangs on is compared, and named; the focus is free."""
    microscope = MicroscopeConfig(**change)
    with pytest.raises(ConfigError, match=message):
        build_psf(microscope, PsfConfig(calibration=str(retrieved[0])), MaskConfig(), (0.0, 1.0))


def test_another_kind_is_refused(retrieved):
    """A vectorial pupil means nothing to a scalar field."""
    config = PsfConfig(calibration=str(retrieved[0]), kind="scalar")
    with pytest.raises(ConfigError, match="is vectorial; set psf.kind = 'vectorial'"):
        build_psf(MICROSCOPE, config, MaskConfig(), (0.0, 1.0))


@pytest.mark.parametrize(
    "more",
    [{"mask": PUPIL}, {"zernike_um": [0.0, 0.0, 0.0, 0.0, 0.1]}, {"dipole": "fixed"}],
    ids=lambda more: [*more][0],
)
def test_a_psf_that_is_more_than_a_calibration_is_refused(more, tmp_path):
    """What a run would drop in silence: a mask of its own, Zernike modes, a fixed dipole."""
    save_psf(tmp_path / "psf.npz", make_psf(SCOPE, image_px=11, **more))
    with pytest.raises(ConfigError, match="is no calibration: it has a .*; retrieve one with colocus retrieve"):
        build_psf(MICROSCOPE, PsfConfig(calibration=str(tmp_path / "psf.npz")), MaskConfig(), (0.0, 1.0))


def test_a_file_that_is_not_there_is_named(tmp_path):
    """Before any work, also where an environment variable should lead to it."""
    for path, error in ((str(tmp_path / "none.npz"), OpticsError), ("$NOT_SET_ANYWHERE/psf.npz", ConfigError)):
        with pytest.raises(error, match="no such file|NOT_SET_ANYWHERE is not set"):
            build(tiny_run(psf={**TINY["psf"], "calibration": path}))


def test_a_co_design_starts_on_top_of_the_calibration(retrieved):
    """The learned mask is the flat one at first; the calibrated pupil stays where it is."""
    run = tiny_run(mask={"name": "flat"}, psf={**TINY["psf"], "calibration": str(retrieved[0])}, **LEARN)
    parts = build(run)
    assert parts.psf.mask is not None and float(jnp.abs(parts.psf.mask.opd_um).max()) < 1e-6
    np.testing.assert_array_equal(parts.psf.aberration.opd_um, PUPIL.opd_um)


def test_a_trained_run_is_read_without_its_calibration(retrieved, tmp_path):
    """`localize` needs the decoder alone: a run may go where the file is not."""
    from experiments.reading.readers import load_reader

    path = tmp_path / "psf.npz"
    shutil.copy(retrieved[0], path)
    run = tiny_run(psf={**TINY["psf"], "calibration": str(path)})
    RunFolder(tmp_path / "run", run).begin()
    state = init_state(build(run))
    out = state.variables["params"]["out"]  # an eager decoder: untrained, it would find nothing
    out["bias"] = out["bias"].at[0].set(1.0)
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.save(1, state)
    checkpoints.close()
    frames = np.random.default_rng(0).poisson(60.0, (2, 16, 16)).astype(np.uint16)
    before = load_reader(tmp_path / "run", batch=2).read(frames, 0)
    path.unlink()
    after = load_reader(tmp_path / "run", batch=2).read(frames, 0)
    assert before.x_um.size > 0
    np.testing.assert_array_equal(after.x_um, before.x_um)
    np.testing.assert_array_equal(after.photons, before.photons)
