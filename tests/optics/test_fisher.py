"""Fisher information: a closed form, brute-force differences, cameras, scaling laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.fisher import bound_std, crlb_std, crlb_std_um, fisher_matrix, information
from optics.psf import make_psf, psf_image
from optics.pytree import replace
from optics.types import make_camera, make_microscope

matrix_of = jax.jit(fisher_matrix)
std_of = jax.jit(crlb_std)
std_um_of = jax.jit(crlb_std_um)
XYZ_UM = jnp.array([0.03, -0.02, 0.25])


@pytest.fixture(scope="module")
def psf():
    scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.11)
    return make_psf(scope, zernike_um=[0, 0, 0, 0, 0, 0.06], image_px=13, pupil_px=24, pixel="centre")


def test_gaussian_spot_closed_form():
    """sigma / sqrt(N) for x and y, sqrt(N) for N: a Gaussian spot, no background, pixels of sigma / 10."""
    sigma_um, photons, pixel_um = 0.13, 2000.0, 0.013
    grid = (jnp.arange(161) - 80) * pixel_um

    def mean(parameters):
        x, y, n = parameters
        spot = jnp.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * sigma_um**2))
        return n * spot * pixel_um**2 / (2 * jnp.pi * sigma_um**2)

    at = jnp.array([0.004, -0.002, photons])
    by_parameter = jnp.moveaxis(jax.jacfwd(mean)(at), -1, 0)
    std = bound_std(information(by_parameter, mean(at)))
    expected = [sigma_um / np.sqrt(photons)] * 2 + [np.sqrt(photons)]
    np.testing.assert_allclose(std, expected, rtol=1e-3)


def test_matrix_equals_brute_force_differences(psf):
    """All 25 entries against central differences of the image and an explicit sum over pixels: 1e-6."""
    image = jax.jit(psf_image)

    def mean(parameters):
        return parameters[3] * np.asarray(image(psf, jnp.asarray(parameters[:3]))) + parameters[4]

    at = np.array([*XYZ_UM, 900.0, 7.0])
    slopes = []
    for j, step in enumerate([1e-3, 1e-3, 1e-3, 1.0, 1.0]):
        d = np.eye(5)[j] * step
        near, far = mean(at + d) - mean(at - d), mean(at + 2 * d) - mean(at - 2 * d)
        slopes.append((8 * near - far) / (12 * step))
    truth = np.array([[np.sum(a * b / mean(at)) for a in slopes] for b in slopes])
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    ours = matrix_of(psf, XYZ_UM, 900.0, 7.0)
    np.testing.assert_allclose(ours / scale, truth / scale, atol=1e-6)


def test_bound_is_the_root_of_the_inverse_diagonal(psf):
    """crlb_std equals sqrt(diag(inv(F))) by numpy, and crlb_std_um its first three."""
    fisher = np.asarray(matrix_of(psf, XYZ_UM, 900.0, 7.0))
    std = std_of(psf, XYZ_UM, 900.0, 7.0)
    np.testing.assert_allclose(std, np.sqrt(np.diag(np.linalg.inv(fisher))), rtol=1e-8)
    np.testing.assert_allclose(std_um_of(psf, XYZ_UM, 900.0, 7.0), std[:3], rtol=1e-12)


def test_more_light_by_k_is_more_precise_by_root_k(psf):
    """Photons and background k-fold: standard deviations of x, y, z fall by sqrt(k) exactly."""
    one, four = std_um_of(psf, XYZ_UM, 500.0, 5.0), std_um_of(psf, XYZ_UM, 2000.0, 20.0)
    np.testing.assert_allclose(one / four, 2.0, rtol=1e-9)


def test_camera_adds_variance_and_takes_light(psf):
    """Read noise adds its square to the variance; quantum efficiency thins the light."""
    noisy = make_camera(read_noise_e=2.0)
    image = np.asarray(jax.jit(psf_image)(psf, XYZ_UM))
    ours = matrix_of(psf, XYZ_UM, 900.0, 7.0, noisy)
    assert float(ours[4, 4]) == pytest.approx(np.sum(1 / (900 * image + 7 + 4.0)), rel=1e-9)
    half = make_camera(quantum_efficiency=0.5)
    np.testing.assert_allclose(
        std_um_of(psf, XYZ_UM, 1000.0, 10.0, half), std_um_of(psf, XYZ_UM, 500.0, 5.0), rtol=1e-9
    )
    maps = make_camera(read_noise_e=np.full((13, 13), 2.0))
    np.testing.assert_allclose(matrix_of(psf, XYZ_UM, 900.0, 7.0, maps), ours, rtol=1e-12)


def test_bound_has_a_gradient(psf):
    """A mask can be designed by it: the gradient by the aberrations agrees with differences to 1e-3."""

    def bound_z(rms_um):
        bent = replace(psf, zernike_um=psf.zernike_um.at[5].set(rms_um))
        return crlb_std_um(bent, XYZ_UM, 1000.0, 10.0)[2]

    fast = jax.jit(bound_z)
    truth = (fast(0.0605) - fast(0.0595)) / 0.001
    assert float(jax.jit(jax.grad(bound_z))(0.06)) == pytest.approx(float(truth), rel=1e-3)
