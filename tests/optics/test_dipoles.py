"""Fixed dipoles and polarised detection: a direct sum over rays, orientation averages, halves and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made.rays import direct_sum
from optics.psf import collected_fraction, make_psf, psf_image, pupil_fields, transmitted_fraction
from optics.pytree import replace
from optics.types import OpticsError, make_mask, make_microscope

XYZ_UM = jnp.array([0.04, -0.03, 0.3])
DIPOLE_RAD = jnp.array([1.1, 0.7])
K, FOCUS_UM = 9, 0.2
LAYERS = {"matched": (1.4, 1.4, 1.3), "oil on water": (1.33, 1.518, 1.45)}  # n_sample, n_immersion, NA

# samples that leave 1e-7: the sum over rays has another quadrature
FINE = {"matched": {"pupil_px": 40, "ring_px": 0}, "oil on water": {"pupil_px": 96, "ring_px": 24}}

image_of = jax.jit(lambda psf, xyz_um, dipole_rad: psf_image(psf, xyz_um, dipole_rad=dipole_rad))
free_image_of = jax.jit(psf_image)


def build(name="matched", **options):
    n_sample, n_immersion, na = LAYERS[name]
    scope = make_microscope(
        na=na,
        n_sample=n_sample,
        n_immersion=n_immersion,
        wavelength_um=0.6,
        pixel_um=0.11,
        focus_um=FOCUS_UM,
    )
    settings = {"image_px": K, "pupil_px": 24, "ring_px": 8, "pixel": "centre"} | options
    return make_psf(scope, **settings)


@pytest.mark.parametrize("name", LAYERS)
def test_fixed_dipole_equals_a_direct_sum_over_rays(name):
    """Both polarisations and three tilts, matched and super-critical, to 1e-6 of the peak, up to one common factor."""
    psf = build(name, dipole="fixed", **FINE[name])
    factors = []
    for dipole in ([1.1, 0.7], [0.4, -2.0], [np.pi / 2, 0.3]):
        truth = direct_sum(psf.microscope, K, XYZ_UM, dipole)
        collected = float(collected_fraction(psf, XYZ_UM[2], jnp.array(dipole)))
        for polarisation, expected in zip(("both", "x", "y"), (truth.sum(0), *truth), strict=True):
            ours = collected * np.asarray(image_of(replace(psf, polarisation=polarisation), XYZ_UM, jnp.array(dipole)))
            factors.append(np.vdot(expected, ours) / np.vdot(expected, expected))
            np.testing.assert_allclose(ours / factors[0], expected, atol=1e-6 * expected.max())
    np.testing.assert_allclose(factors, factors[0], rtol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_mean_over_orientations_is_the_free_dipole(name):
    """Weighted by what each orientation sends through the objective; 3 x 5 angles integrate it exactly: 1e-12."""
    psf = build(name, dipole="fixed")
    cosines, weights = np.polynomial.legendre.leggauss(3)
    orientations = [(np.arccos(c), 2 * np.pi * k / 5) for c in cosines for k in range(5)]
    collected = np.array([collected_fraction(psf, XYZ_UM[2], jnp.array(angles)) for angles in orientations])
    images = np.array([image_of(psf, XYZ_UM, jnp.array(angles)) for angles in orientations])
    share = np.repeat(weights, 5) / 10
    np.testing.assert_allclose(share @ collected, collected_fraction(build(name), XYZ_UM[2]), rtol=1e-12)
    mean = np.tensordot(share * collected, images, 1) / (share @ collected)
    np.testing.assert_allclose(mean, free_image_of(build(name), XYZ_UM), atol=1e-14)


@pytest.mark.parametrize("dipole", ["free", "fixed"])
def test_polarised_halves_sum_to_the_whole(dipole):
    """x plus y is both, for images and for what is transmitted anywhere, to 1e-12; turned by 90 degrees they swap."""
    angles = None if dipole == "free" else DIPOLE_RAD
    parts = [build(dipole=dipole, polarisation=p, **FINE["matched"]) for p in ("x", "y", "both")]
    x, y, both = (np.asarray(image_of(psf, XYZ_UM, angles)) for psf in parts)
    np.testing.assert_allclose(x + y, both, atol=1e-13 * both.max())
    assert np.abs(x - y).max() > 0.1 * both.max()
    passed = [float(transmitted_fraction(psf, pupil_fields(psf), XYZ_UM[2], angles)) for psf in parts]
    assert passed[0] + passed[1] == pytest.approx(passed[2], rel=1e-12)
    assert passed[2] == pytest.approx(1, abs=1e-9)
    turned = jnp.array([-XYZ_UM[1], XYZ_UM[0], XYZ_UM[2]])
    angles = None if angles is None else angles + jnp.array([0.0, jnp.pi / 2])
    np.testing.assert_allclose(image_of(parts[1], turned, angles), np.rot90(x, -1), atol=1e-9 * both.max())


def test_gradients_by_angles_position_and_mask():
    """Of an image loss, against central differences: every number that a fixed dipole's image depends on."""
    mask = make_mask(np.random.default_rng(1).normal(0, 0.05, (8, 8)), design_wavelength_um=0.6)
    psf = build(dipole="fixed", polarisation="x", mask=mask, ring_px=0)
    weights = np.random.default_rng(2).uniform(size=(K, K))

    def loss(opd_um, xyz_um, dipole_rad):
        bent = replace(psf, mask=replace(mask, opd_um=opd_um))
        return jnp.sum(weights * psf_image(bent, xyz_um, dipole_rad=dipole_rad))

    at = (mask.opd_um, XYZ_UM, DIPOLE_RAD)
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    slopes = both(*at)[1]
    for argument, index in ((0, (3, 5)), (1, (0,)), (1, (2,)), (2, (0,)), (2, (1,))):

        def moved(step, argument=argument, index=index):
            there = list(at)
            there[argument] = there[argument].at[index].add(step)
            return float(both(*there)[0])

        step = 1e-3
        truth = (8 * (moved(step) - moved(-step)) - moved(2 * step) + moved(-2 * step)) / (12 * step)
        assert float(slopes[argument][index]) == pytest.approx(truth, rel=1e-6)


def test_an_upright_dipole_is_dark_in_the_middle():
    """In focus the dipole along z has a node where the one in the plane has its peak."""
    psf = replace(build(dipole="fixed"), microscope=build().microscope)
    origin = jnp.array([0.0, 0.0, FOCUS_UM])
    upright, flat = (np.asarray(image_of(psf, origin, jnp.array([polar, 0.3]))) for polar in (0.0, np.pi / 2))
    assert upright[K // 2, K // 2] < 1e-9 and flat[K // 2, K // 2] == flat.max() > 0.05


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dipole": "frozen"}, "dipole = 'frozen' must be one of 'fixed', 'free'"),
        ({"polarisation": "z"}, "polarisation = 'z' must be one of 'both', 'x', 'y'"),
        ({"kind": "scalar", "polarisation": "x"}, "kind = 'scalar' knows no"),
        ({"kind": "scalar", "dipole": "fixed"}, "use kind='vectorial'"),
    ],
)
def test_what_no_dipole_can_be(options, message):
    """Each wrong choice is one line that names the field."""
    with pytest.raises(OpticsError, match=message):
        build(**options)


def test_angles_missing_or_superfluous():
    """A fixed dipole without its orientation, and a free one with one, are refused."""
    with pytest.raises(OpticsError, match="needs dipole_rad"):
        psf_image(build(dipole="fixed"), XYZ_UM)
    with pytest.raises(OpticsError, match="belongs to a fixed dipole"):
        psf_image(build(), XYZ_UM, dipole_rad=DIPOLE_RAD)
