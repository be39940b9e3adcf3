"""Fisher information: a closed form, brute-force differences, cameras, scaling laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.bounds.fisher import (
    bound_std,
    crlb_std,
    crlb_std_um,
    depth_bounds,
    fisher_matrix,
    information,
)
from optics.psf import make_psf, psf_image
from optics.pytree import replace
from optics.types import OpticsError, make_camera, make_mask, make_microscope

matrix_of = jax.jit(fisher_matrix)
std_of = jax.jit(crlb_std)
std_um_of = jax.jit(crlb_std_um)
XYZ_UM = jnp.array([0.03, -0.02, 0.25])


def slopes_of(mean, at, steps):
    """Derivatives of a picture by each number of `at`, by central differences of fourth order."""
    slopes = []
    for j, step in enumerate(steps):
        d = np.eye(len(at))[j] * step
        near, far = mean(at + d) - mean(at - d), mean(at + 2 * d) - mean(at - 2 * d)
        slopes.append((8 * near - far) / (12 * step))
    return slopes


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
    slopes = slopes_of(mean, at, [1e-3, 1e-3, 1e-3, 1.0, 1.0])
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


CAMERAS = {
    "scmos": (make_camera(read_noise_e=1.6, quantum_efficiency=0.8), lambda e: e + 1.6**2),
    "emccd": (
        make_camera(kind="emccd", em_gain=200.0, read_noise_e=40.0, quantum_efficiency=0.9, spurious_e=0.02),
        lambda e: 2 * (e + 0.02) + 0.2**2,
    ),
}


@pytest.mark.parametrize("kind", CAMERAS)
def test_all_parameters_of_a_fixed_dipole_behind_a_polariser(kind):
    """x, y, z, photons, background, both angles and the wavelength on both cameras: 64 entries to 1e-6."""
    camera, variance = CAMERAS[kind]
    scope = make_microscope(na=1.3, n_immersion=1.406, n_sample=1.36, wavelength_um=0.6, pixel_um=0.11, focus_um=0.2)
    psf = make_psf(
        scope,
        zernike_um=[0, 0, 0, 0, 0, 0.06],
        dipole="fixed",
        polarisation="x",
        image_px=11,
        pupil_px=20,
        pixel="centre",
    )
    at = np.array([0.03, -0.02, 0.25, 900.0, 7.0, 1.1, 0.6, 0.6])

    @jax.jit
    def image(values):
        coloured = replace(psf, microscope=replace(scope, wavelength_um=values[7]))
        return psf_image(coloured, values[:3], dipole_rad=values[5:7])

    def electrons(values):
        return float(camera.quantum_efficiency) * (values[3] * np.asarray(image(values)) + values[4])

    slopes = slopes_of(electrons, at, [1e-3, 1e-3, 1e-3, 1.0, 1.0, 1e-3, 1e-3, 1e-4])
    truth = np.array([[np.sum(a * b / variance(electrons(at))) for a in slopes] for b in slopes])
    scale = np.sqrt(np.outer(np.diag(truth), np.diag(truth)))

    @jax.jit
    def ours(values):
        further = ("polar", "azimuth", "wavelength")
        return fisher_matrix(psf, values[:3], 900.0, 7.0, camera, dipole_rad=values[5:7], further=further)

    np.testing.assert_allclose(ours(at) / scale, truth / scale, atol=1e-6)


def test_depths_one_by_one(psf):
    """Bounds over depths equal those of each depth; conditional ones are 1 / sqrt(F_ii) and never larger.

    But for rounding, which an inverse of condition number 1e3 lets grow to 1e-12.
    """
    z = jnp.array([-0.3, 0.0, 0.25])
    bounds = jax.jit(lambda psf, z: depth_bounds(psf, z, 900.0, 7.0, xy_um=XYZ_UM[:2], batch=2))(psf, z)
    matrix = matrix_of(psf, XYZ_UM, 900.0, 7.0)
    np.testing.assert_allclose(bounds.marginal[2], bound_std(matrix), rtol=1e-9)
    np.testing.assert_allclose(bounds.conditional[2], 1 / np.sqrt(np.diag(matrix)), rtol=1e-9)
    assert bool((bounds.conditional <= bounds.marginal * (1 + 1e-12)).all())


def test_a_parameter_without_information_is_unbounded():
    """Its bound is infinite, not NaN; the others keep theirs; inseparable parameters are unbounded or huge."""
    matrix = jnp.array([[4.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]])
    expected = np.sqrt(np.diag(np.linalg.inv(np.array([[4.0, 1.0], [1.0, 2.0]]))))
    std = bound_std(matrix)
    assert np.isinf(std[1])
    np.testing.assert_allclose(std[jnp.array([0, 2])], expected, rtol=1e-12)
    assert bool((bound_std(jnp.ones((2, 2))) > 1e6).all())


@pytest.mark.parametrize(
    "further, message",
    [
        (("polar",), "give dipole_rad"),
        (("colour",), "'colour' must be"),
        (("wavelength", "wavelength"), "names a parameter twice"),
    ],
)
def test_parameters_that_the_psf_does_not_have(psf, further, message):
    """Refused in one line before anything is computed."""
    with pytest.raises(OpticsError, match=message):
        fisher_matrix(psf, XYZ_UM, 900.0, 7.0, further=further)
    wrapped = replace(psf, mask=make_mask(np.zeros((8, 8)), design_wavelength_um=0.6, wrapped=True))
    with pytest.raises(OpticsError, match="unwrap it to ask for 'wavelength'"):
        fisher_matrix(wrapped, XYZ_UM, 900.0, 7.0, further=("wavelength",))
