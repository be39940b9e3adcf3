"""Interfaces and the pupil: reciprocity, energy, Green's tensor, decay, and no NaN anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics.psf import make_psf
from optics.pupil import Transmission, cosine, make_pupil, transmission
from optics.types import make_microscope
from optics.vectorial import dipole_fields, dipole_power

LAYERS = {  # sample, coverslip, immersion, NA
    "matched": (1.406, 1.406, 1.406, 1.35),
    "oil on water": (1.33, 1.515, 1.518, 1.45),
    "three layers": (1.36, 1.46, 1.518, 1.42),
    "water objective": (1.38, 1.33, 1.33, 1.2),
}


def scope_of(name, **changes):
    n_sample, n_coverslip, n_immersion, na = LAYERS[name]
    return make_microscope(
        **{
            "na": na,
            "n_sample": n_sample,
            "n_coverslip": n_coverslip,
            "n_immersion": n_immersion,
            "wavelength_um": 0.6,
            "pixel_um": 0.1,
        }
        | changes
    )


def cosines(name, sine_squared):
    """cos(theta) in the three layers, in numpy, on the decaying branch."""
    return [np.sqrt(1 - sine_squared / n**2 + 0j) for n in LAYERS[name][:3]]


def fresnel(n_from, n_to, cos_from, cos_to):
    """Amplitude transmitted through one interface, p and s (Born & Wolf 1.5.2)."""
    p = 2 * n_from * cos_from / (n_to * cos_from + n_from * cos_to)
    s = 2 * n_from * cos_from / (n_from * cos_from + n_to * cos_to)
    return p, s


@pytest.fixture(params=LAYERS)
def layers(request):
    """Every angle of the pupil, off the critical one by a little, where numpy's own formulae are 0 / 0."""
    name = request.param
    na = LAYERS[name][3]
    sine_squared = (np.linspace(0.001, 0.9995, 173) * na) ** 2
    return name, sine_squared, transmission(scope_of(name), jnp.asarray(sine_squared))


def test_reciprocity(layers):
    """Light from the pupil reaches the dipole as the dipole's light reaches the pupil, p and s, to 1e-6.

    The field at the dipole for a plane wave that enters from the immersion is Fresnel's chain taken
    backwards; the emission amplitude must be n_sample / (n_immersion sqrt(cos theta_immersion)) times it.
    """
    name, sine_squared, ours = layers
    n_s, n_c, n_i, _ = LAYERS[name]
    cos_s, cos_c, cos_i = cosines(name, sine_squared)
    first, second = fresnel(n_i, n_c, cos_i, cos_c), fresnel(n_c, n_s, cos_c, cos_s)
    for forward, into_glass, into_sample in zip((ours.p, ours.s), first, second, strict=True):
        expected = into_glass * into_sample * n_s / (n_i * np.sqrt(cos_i))
        np.testing.assert_allclose(forward, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["oil on water", "matched"])
def test_energy_is_conserved_at_an_interface(name):
    """Reflected + transmitted flux = 1 for propagating plane waves through one interface, to 1e-12."""
    n_s, _, n_i, na = LAYERS[name]
    scope = scope_of(name, n_coverslip=n_i)
    sine_squared = (np.linspace(0, 0.999, 50) * min(na, n_s)) ** 2
    ours = transmission(scope, jnp.asarray(sine_squared))
    cos_s, cos_i = np.sqrt(1 - sine_squared / n_s**2), np.sqrt(1 - sine_squared / n_i**2)
    reflected_s = (n_s * cos_s - n_i * cos_i) / (n_s * cos_s + n_i * cos_i)
    reflected_p = (n_i * cos_s - n_s * cos_i) / (n_i * cos_s + n_s * cos_i)
    for amplitude, reflected in ((ours.p, reflected_p), (ours.s, reflected_s)):
        fresnel_t = np.asarray(amplitude) * cos_s / np.sqrt(cos_i)  # less the emission's own factors
        flux = n_i * cos_i / (n_s * cos_s) * np.abs(fresnel_t) ** 2
        np.testing.assert_allclose(flux + reflected**2, 1, rtol=1e-12)


def test_green_tensor_in_the_back_focal_plane():
    """The six components of Novotny & Hecht (10.32 ff.), with c1, c2, c3 of a single interface, to 1e-12."""
    scope = scope_of("oil on water", n_coverslip=1.518)
    n_m, n_g = 1.33, 1.518
    pupil = make_pupil(make_psf(scope, image_px=11, pupil_px=12, ring_px=4))
    fields = np.asarray(dipole_fields(scope, pupil))
    kx, ky = np.asarray(pupil.kx_rad_um), np.asarray(pupil.ky_rad_um)
    k0 = 2 * np.pi / 0.6
    sine_g = np.hypot(kx, ky) / (k0 * n_g)
    cos_phi, sin_phi = kx / np.hypot(kx, ky), ky / np.hypot(kx, ky)
    cos_g, cos_m = np.sqrt(1 - sine_g**2), np.sqrt(1 - (n_g / n_m * sine_g) ** 2 + 0j)
    t_p, t_s = fresnel(n_m, n_g, cos_m, cos_g)
    c1, c2, c3 = (n_g / n_m) ** 2 * cos_g / cos_m * t_p, n_g / n_m * t_p, n_g / n_m * cos_g / cos_m * t_s
    green = [
        c3 * sin_phi**2 + c2 * cos_phi**2 * cos_g,
        np.sqrt(2) * -sin_phi * cos_phi * (c3 - c2 * cos_g),
        c3 * cos_phi**2 + c2 * sin_phi**2 * cos_g,
        -c1 * cos_phi * sine_g,
        -c1 * sin_phi * sine_g,
    ]
    # the aplanatic factor, and the constant n_g / n_m that normalisation removes
    expected = np.stack(green) / np.sqrt(cos_g) * n_m / n_g
    np.testing.assert_allclose(fields, expected, rtol=1e-9, atol=1e-12)


def test_light_decays_beyond_the_critical_angle():
    """kz_sample is +i k0 sqrt(NA^2 r^2 - n^2) there, real below; deep emitters keep only that light."""
    scope = scope_of("oil on water")
    pupil = make_pupil(make_psf(scope, image_px=11, pupil_px=12, ring_px=4))
    kr = np.hypot(pupil.kx_rad_um, pupil.ky_rad_um)
    k_sample = 2 * np.pi / 0.6 * 1.33
    beyond = kr > k_sample
    assert beyond.any() and not beyond.all()
    expected = np.sqrt(np.abs(k_sample**2 - kr**2)) * np.where(beyond, 1j, 1)
    np.testing.assert_allclose(pupil.kz_sample_rad_um, expected, rtol=1e-9, atol=1e-9)
    power = [float(dipole_power(scope, z)) for z in (0.0, 0.1, 1.0, 50.0, 100.0)]
    assert power == sorted(power, reverse=True)
    assert power[3] == pytest.approx(power[4], rel=1e-4) and power[0] > 1.3 * power[3]


@pytest.mark.parametrize("name", LAYERS)
def test_no_nan_at_the_axis_the_critical_angle_and_the_rim(name):
    """Amplitudes, and their derivatives by every index and by the angle, are finite at each awkward place."""
    n_sample, _, _, na = LAYERS[name]
    scope = scope_of(name)
    places = jnp.array([0.0, 1e-300, 1e-12, na**2, *([n_sample**2] if n_sample <= na else [])])

    def real_parts(scope, sine_squared):
        t = transmission(scope, sine_squared)
        return jnp.stack([t.p.real, t.p.imag, t.s.real, t.s.imag, t.cos_sample.real, t.cos_sample.imag, t.sin_sample])

    assert bool(jnp.isfinite(real_parts(scope, places)).all())
    for mode in (jax.jacrev, jax.jacfwd):
        slopes = jax.jit(jax.vmap(mode(real_parts, argnums=(0, 1)), (None, 0)))(scope, places)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("name", LAYERS)
def test_fields_are_finite_where_a_sample_lies_on_the_axis(name):
    """An odd number of samples puts one at r = 0, which has no azimuth: values and gradients finite."""
    psf = make_psf(scope_of(name), image_px=11, pupil_px=9, ring_px=3)
    assert float(jnp.abs(make_pupil(psf).kx_rad_um).min()) == 0

    def total(psf):
        return jnp.sum(jnp.abs(dipole_fields(psf.microscope, make_pupil(psf))) ** 2)

    value, gradient = jax.jit(jax.value_and_grad(total))(psf)
    assert bool(jnp.isfinite(value))
    assert all(bool(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_samples_beyond_the_glass_carry_no_light():
    """Corners of a peer's square lattice, past n_immersion: zero, not NaN."""
    t = transmission(scope_of("oil on water"), jnp.array([2.4, 4.0]))
    assert isinstance(t, Transmission)
    np.testing.assert_array_equal(jnp.abs(t.p) + jnp.abs(t.s), 0)


def test_cosine_is_on_the_decaying_branch():
    """Real and positive below the critical angle, positive imaginary beyond it."""
    np.testing.assert_allclose(cosine(jnp.array([0.0, 0.75, 1.0, 2.0])), [1, 0.5, 0, 1j], atol=1e-15)
