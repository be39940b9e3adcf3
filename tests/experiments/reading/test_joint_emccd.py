"""The joint reader behind the multiplication of an EMCCD: its weights know the excess noise, by simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.remarks import remarks
from experiments.reading.spots import psf_spots
from localization import make_localizations, match, score
from optics import make_camera, make_emitters, make_microscope, make_psf, masks, render_frame
from optics.camera import sample_camera

pytestmark = pytest.mark.slow  # a hundred frames are searched
PIXEL_UM, SHAPE, BACKGROUND = 0.11, (24, 24), 10.0
CAMERA = make_camera(
    kind="emccd", gain_adu_per_e=0.1, em_gain=100.0, offset_adu=100.0, read_noise_e=30.0, spurious_e=0.002
)


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(
        na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.67, pixel_um=PIXEL_UM, focus_um=0.4
    )
    mask = masks.astigmatism(0.08, design_wavelength_um=0.67)
    return make_psf(scope, mask=mask, image_px=15, z_range_um=(0.0, 0.8), pixel="centre")


@pytest.fixture(scope="module")
def spots(psf):
    return psf_spots(psf, (0.0, 0.8), 1e-2)


@pytest.fixture(scope="module")
def movie(psf):
    """One emitter a frame, 50 frames, drawn by the camera's own law: Poisson, gamma, Gaussian."""
    rng = np.random.default_rng(7)
    n, middle = 50, SHAPE[0] * PIXEL_UM / 2
    xyz = rng.uniform([middle - 0.3, middle - 0.3, 0.15], [middle + 0.3, middle + 0.3, 0.65], (n, 1, 3))
    photons = rng.uniform(2000, 4000, (n, 1))
    draw = jax.jit(lambda emitters: render_frame(psf, emitters, SHAPE))
    light = np.stack([draw(make_emitters(*part)) for part in zip(xyz, photons, strict=True)])
    counts = sample_camera(jax.random.key(3), CAMERA, jnp.asarray(light) + BACKGROUND)
    truth = make_localizations(np.arange(n), *xyz[:, 0].T, photons=photons[:, 0])
    return np.asarray(counts), truth


def test_errors_are_as_large_as_is_said(spots, movie):
    """Over x, y and z of 50 emitters the rms of error / sigma is 1 within 10 %, 1.7 standard errors."""
    counts, truth = movie
    reader = JointReader(spots, CAMERA, ClassicalConfig(), "")
    found = reader.read(counts, 0)
    result = score(found, truth, lateral_um=0.15, axial_um=0.3)
    assert result.recall > 0.98 and result.precision > 0.95
    pairs = match(found, truth, lateral_um=0.15, axial_um=0.3)
    ratios = []
    for axis in "xyz":
        error = getattr(found, f"{axis}_um")[pairs.found_index] - getattr(truth, f"{axis}_um")[pairs.truth_index]
        ratios.append(error / getattr(found, f"sigma_{axis}_um")[pairs.found_index])
    assert abs(np.sqrt(np.mean(np.square(ratios))) - 1) < 0.1
    light = found.photons[pairs.found_index] / truth.photons[pairs.truth_index]
    assert abs(light.mean() - 1) < 0.02
    # the noise is that of this camera: nothing to remark
    assert not any("noise" in line for line in remarks(reader.take_tally()))


def test_a_camera_without_multiplication_is_said_to_be_wrong(spots, movie):
    """Read as if by an sCMOS camera of the same gain: twice the noise, and the remark says twice."""
    plain = make_camera(gain_adu_per_e=10.0, offset_adu=100.0, read_noise_e=0.3)
    reader = JointReader(spots, plain, ClassicalConfig(), "")
    reader.read(movie[0][:20], 0)
    (line,) = [line for line in remarks(reader.take_tally()) if "noise of dark pixels" in line]
    assert 1.8 < float(line.split("is ")[1].split(" times")[0]) < 2.2


def test_false_emitters_are_as_rare_as_was_asked(spots):
    """Over 50 frames of background alone: some, but no more than 1.5 times the rate; 28 are asked for."""
    rate, n = 8e-2, 50
    counts = np.asarray(sample_camera(jax.random.key(4), CAMERA, jnp.full((n, *SHAPE), BACKGROUND)))
    config = ClassicalConfig(false_per_um2=rate, sigma_xy_max_um=10.0, sigma_z_max_um=10.0)
    found = JointReader(spots, CAMERA, config, "").read(counts, 0)
    assert 0 < found.frame.size < 1.5 * rate * n * SHAPE[0] * SHAPE[1] * PIXEL_UM**2
