"""Gradients of an image loss by every optical number, against central differences in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.psf import make_psf, psf_image
from optics.pytree import replace
from optics.types import make_mask, make_microscope

OPTICS = {  # indices of sample, coverslip, immersion; NA; what the gradients must reach
    "matched": ((1.406, 1.406, 1.406), 1.3, 1e-6),
    "mismatched": ((1.36, 1.51, 1.518), 1.2, 1e-6),
    "supercritical": ((1.33, 1.51, 1.518), 1.45, 1e-4),
}
XYZ_UM = jnp.array([0.031, -0.057, 0.42])
# random weights make the loss sensitive to every pixel: no symmetry hides an error
TARGET = np.random.default_rng(3).uniform(size=(15, 15)) * 0.05
MASK = np.random.default_rng(5).normal(0, 0.05, (24, 24))
THROUGH = np.random.default_rng(6).uniform(0.4, 0.9, (24, 24))


def build(name, **options):
    (n_sample, n_coverslip, n_immersion), na, tolerance = OPTICS[name]
    scope = make_microscope(
        na=na,
        n_sample=n_sample,
        n_coverslip=n_coverslip,
        n_immersion=n_immersion,
        wavelength_um=0.61,
        pixel_um=0.107,
        focus_um=0.33,
    )
    modes = np.zeros(13)
    modes[[5, 7, 12]] = 0.06, 0.04, -0.02  # astigmatism, coma, spherical
    settings = {"zernike_um": modes, "image_px": 15, "pupil_px": 24, "pixel": "centre"} | options
    return make_psf(scope, **settings), tolerance


def _loss(psf, xyz_um):
    return jnp.sum((psf_image(psf, xyz_um) - TARGET) ** 2)


loss = jax.jit(_loss)
# one call gives the derivative by every number of the tree at once
gradient = jax.jit(jax.grad(_loss, argnums=(0, 1)))


def slope(function, step):
    """Central difference of fourth order at 0."""
    near, far = function(step) - function(-step), function(2 * step) - function(-2 * step)
    return float(8 * near - far) / (12 * step)


def check(function, by_autodiff, tolerance, step):
    """The loss is near 0.1: rounding leaves about 1e-12 in a central difference with these steps."""
    assert float(by_autodiff) == pytest.approx(slope(function, step), rel=tolerance, abs=1e-11)


def check_scope(psf, by_scope, names, tolerance):
    for name in names:

        def changed(h, name=name):
            scope = psf.microscope
            return loss(replace(psf, microscope=replace(scope, **{name: getattr(scope, name) + h})), XYZ_UM)

        check(changed, getattr(by_scope, name), tolerance, step=2e-4)

    def opened(h):  # without an iris the stop follows the NA
        scope = psf.microscope
        wider = replace(scope, na=scope.na + h, iris_na=scope.iris_na + h)
        return loss(replace(psf, microscope=wider), XYZ_UM)

    check(opened, by_scope.na + by_scope.iris_na, tolerance, step=2e-4)


def check_mask(psf, by_mask, tolerance, field="opd_um"):
    direction = np.random.default_rng(8).normal(size=MASK.shape)

    def moved(h):
        step = replace(psf.mask, **{field: getattr(psf.mask, field) + h * direction})
        return loss(replace(psf, mask=step), XYZ_UM)

    check(moved, np.sum(getattr(by_mask, field) * direction), tolerance, step=1e-4)


@pytest.mark.parametrize("optics", OPTICS)
def test_gradient_by_every_optical_number(optics):
    """NA, indices, wavelength, pixel, focus, x, y, z, aberrations: 1e-6 where NA < n_sample, else 1e-4."""
    # a clear mask: NA and n_sample move the nodes, and a rough mask has kinks between its cells
    psf, tolerance = build(optics, mask=make_mask(0 * MASK, design_wavelength_um=0.61))
    by_psf, by_xyz = gradient(psf, XYZ_UM)
    names = ("n_sample", "n_coverslip", "n_immersion", "wavelength_um", "pixel_um", "focus_um")
    check_scope(psf, by_psf.microscope, names, tolerance)
    for axis in range(3):
        check(lambda h, axis=axis: loss(psf, XYZ_UM.at[axis].add(h)), by_xyz[axis], tolerance, step=1e-3)
    direction = np.random.default_rng(7).normal(size=13)

    def bent(h):
        return loss(replace(psf, zernike_um=psf.zernike_um + h * direction), XYZ_UM)

    check(bent, np.sum(by_psf.zernike_um * direction), tolerance, step=1e-4)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(by_psf))


@pytest.mark.parametrize("optics", OPTICS)
def test_gradient_by_the_mask(optics):
    """Path and transmission of a rough mask along random directions, to the same tolerances."""
    mask = make_mask(MASK, transmission=THROUGH, design_wavelength_um=0.61)
    psf, tolerance = build(optics, mask=mask)
    by_psf, _ = gradient(psf, XYZ_UM)
    check_mask(psf, by_psf.mask, tolerance)
    check_mask(psf, by_psf.mask, tolerance, "transmission")


@pytest.mark.parametrize("optics", ["matched", "mismatched"])
def test_gradient_through_blur_and_integrated_pixels(optics):
    """The kernel that blurs and integrates depends on blur, pixel, wavelength and NA: all to 1e-6."""
    psf, tolerance = build(optics, blur_um=0.09, pixel="integrated")
    by_psf, _ = gradient(psf, XYZ_UM)
    check(lambda h: loss(replace(psf, blur_um=psf.blur_um + h), XYZ_UM), by_psf.blur_um, tolerance, step=1e-3)
    check_scope(psf, by_psf.microscope, ("wavelength_um", "pixel_um", "focus_um"), tolerance)


def test_gradient_of_the_scalar_model_with_a_wrapped_mask():
    """Scalar mode, and a mask that is interpolated as a phasor: to 1e-6."""
    mask = make_mask(MASK, design_wavelength_um=0.61, wrapped=True)
    psf, tolerance = build("mismatched", mask=mask, kind="scalar")
    by_psf, _ = gradient(psf, XYZ_UM)
    check_mask(psf, by_psf.mask, tolerance)
    check_scope(psf, by_psf.microscope, ("n_sample", "wavelength_um", "focus_um"), tolerance)


def test_forward_mode_equals_reverse_mode():
    """The derivative by position that the Fisher matrix takes forwards equals the backward one."""
    psf, _ = build("supercritical", mask=make_mask(MASK, design_wavelength_um=0.61))
    forward = jax.jit(jax.jacfwd(_loss, argnums=1))(psf, XYZ_UM)
    np.testing.assert_allclose(forward, gradient(psf, XYZ_UM)[1], rtol=1e-9)
