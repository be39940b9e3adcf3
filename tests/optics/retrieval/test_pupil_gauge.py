"""What beads leave open of a pupil: which part of a phase is a bead's place, checked against images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import make_mask, make_microscope, make_psf
from optics.masks.sampling import mask_grid
from optics.psf import image_of, pupil_fields
from optics.pytree import replace
from optics.retrieval.undetermined import (
    agreement,
    defocus_phase,
    differences,
    mode_names,
    pupil_weight,
    remove_undetermined,
    wrapped,
    zernike_table,
)
from optics.zernike import zernike_mode

CELLS = 64
OPTICS = {"na": 1.4, "n_immersion": 1.515, "wavelength_um": 0.6, "pixel_um": 0.1}
OIL = make_microscope(n_sample=1.33, **OPTICS)
MATCHED = make_microscope(n_sample=1.515, **OPTICS)
X, Y = (np.asarray(u) for u in mask_grid(CELLS))
K_UM = 2 * np.pi * 1.4 / 0.6  # phase at the rim that a shift by 1 um costs
WEIGHT = pupil_weight(np.ones((CELLS, CELLS)))


def modes(*named, at=(X, Y)):
    return sum(amplitude * np.asarray(zernike_mode(n, m, *at)) for n, m, amplitude in named)


# even, and of no mean slope along defocus: the convention leaves it as it is
ASTIGMATISM = modes((2, 2, 0.7), (2, -2, 0.4))
ODD = ((2, 2, 0.7), (3, 1, 0.5), (3, -3, 0.4))
UNEVEN = modes(*ODD)


FINE = 192  # cells of the phases that images are made of: between cells a curved phase is interpolated straight
FLAT = make_mask(np.zeros((FINE, FINE)), design_wavelength_um=0.6, wrapped=True)
# 15 px, and samplings that serve OIL and MATCHED: one program
TEMPLATE = make_psf(OIL, image_px=15, z_range_um=(-0.8, 0.8), aberration=FLAT)


@jax.jit
def image(scope, phase_rad, xyz_um, refocus_um):
    """The image of a bead at `xyz_um` behind a pupil of this phase, at a focus step."""
    plate = replace(FLAT, opd_um=0.6 / (2 * jnp.pi) * phase_rad)
    psf = replace(TEMPLATE, microscope=scope, aberration=plate)
    return image_of(psf, pupil_fields(psf), xyz_um, refocus_um=refocus_um)


def test_a_ramp_is_a_shift_and_a_focus_step_the_bead_s_own():
    """Images before and after the convention are the same, the bead moved by what is handed back."""
    x, y = (np.asarray(u) for u in mask_grid(FINE))
    ramp = K_UM * (0.08 * y - 0.12 * x)
    raw = wrapped(modes(*ODD, at=(x, y)) + ramp + 0.25 * defocus_phase(OIL, FINE) + 1.0)
    rest, shift_um, focus_um = remove_undetermined(raw, pupil_weight(np.ones_like(x)), OIL)
    for at in ([0.0, 0.0, 0.02], [0.05, -0.1, 0.02]):
        for refocus_um in (-0.4, 0.3):
            before = image(OIL, raw, jnp.array(at), refocus_um)
            after = image(OIL, rest, jnp.array(at) + jnp.array([*shift_um, 0.0]), refocus_um + focus_um)
            np.testing.assert_allclose(after, before, atol=2e-4 * before.max())
    wrong = image(OIL, rest, jnp.array([0.0, 0.0, 0.02]) - jnp.array([*shift_um, 0.0]), 0.3 + focus_um)
    assert np.abs(wrong - image(OIL, raw, jnp.array([0.0, 0.0, 0.02]), 0.3)).max() > 0.1 * wrong.max()


@pytest.mark.parametrize("tilt", [(0.3, 0.0), (0.0, -0.2), (-0.6, 0.45)])
@pytest.mark.parametrize("focus", [0.0, 0.6, -0.35])
def test_sizes_and_signs_of_what_is_removed(tilt, focus):
    """An injected ramp (um) and focus step (um) come back to 1e-9, the astigmatism untouched."""
    family = -K_UM * (tilt[0] * X + tilt[1] * Y) + focus * defocus_phase(OIL, CELLS)
    rest, shift_um, focus_um = remove_undetermined(wrapped(ASTIGMATISM + family), WEIGHT, OIL)
    _, own_shift, own_focus = remove_undetermined(ASTIGMATISM, WEIGHT, OIL)
    np.testing.assert_allclose(np.subtract(shift_um, own_shift), tilt, atol=1e-9)
    np.testing.assert_allclose(focus_um - own_focus, focus, atol=1e-9)
    np.testing.assert_allclose([*own_shift, own_focus], 0, atol=1e-3)
    inside = WEIGHT > 0
    np.testing.assert_allclose(wrapped(rest - ASTIGMATISM)[inside], 0, atol=0.02)
    assert abs(np.angle(np.sum(WEIGHT * np.exp(1j * rest)))) < 1e-9


def test_the_convention_is_kept_by_what_it_made():
    """Removing twice is removing once."""
    rest, _, _ = remove_undetermined(UNEVEN, WEIGHT, OIL)
    again, shift_um, focus_um = remove_undetermined(rest, WEIGHT, OIL)
    np.testing.assert_allclose(again, rest, atol=1e-9)
    np.testing.assert_allclose([*shift_um, focus_um], 0, atol=1e-10)


def test_no_mean_ramp_puts_the_centroid_of_the_light_on_the_emitter():
    """For an even pupil of a scalar field: the mean slope of the phase is the centroid, at every focus."""
    rest, _, _ = remove_undetermined(modes((3, 1, 0.3)), WEIGHT, MATCHED)
    plate = make_mask(0.6 / (2 * np.pi) * rest, design_wavelength_um=0.6, wrapped=True)
    psf = make_psf(MATCHED, image_px=61, kind="scalar", aberration=plate, pixel="centre", z_range_um=(-0.3, 0.3))
    at = (np.arange(61) - 30) * 0.1

    @jax.jit
    def picture(refocus_um):
        return image_of(psf, pupil_fields(psf), jnp.zeros(3), refocus_um=refocus_um)

    for refocus_um in (0.0, 0.3):
        light = np.asarray(picture(refocus_um))
        centroid = np.array([np.sum(light * at), np.sum(light * at[:, None])]) / light.sum()
        assert np.hypot(*centroid) < 0.004


def test_the_twin_of_a_matched_medium_makes_the_same_images_and_another_s_does_not():
    """-phase(-k) at the opposite focus: equal to 1e-6 without super-critical light, visibly different with it."""
    phase = modes(*ODD, at=[np.asarray(u) for u in mask_grid(FINE)])
    twin = -phase[::-1, ::-1]
    on_coverslip = jnp.zeros(3)
    for refocus_um in (-0.5, 0.2):
        ours = image(MATCHED, phase, on_coverslip, refocus_um)
        np.testing.assert_allclose(image(MATCHED, twin, on_coverslip, -refocus_um), ours, atol=1e-6 * float(ours.max()))
    ours, theirs = image(OIL, phase, on_coverslip, 0.5), image(OIL, twin, on_coverslip, -0.5)
    assert np.abs(ours - theirs).max() > 0.02 * ours.max()


def test_agreement_ignores_piston_and_tilt_and_sees_the_rest():
    """1 after any ramp; for a difference d of small rms, 1 - rms^2 / 2; nearly 0 for noise."""
    ramped = wrapped(UNEVEN + 7.3 * X - 11.1 * Y + 2.0)
    assert agreement(ramped, UNEVEN, WEIGHT) == pytest.approx(1, abs=1e-6)
    off = UNEVEN + 0.05 * ASTIGMATISM
    rms = 0.05 * np.sqrt(np.sum(WEIGHT * ASTIGMATISM**2))
    assert agreement(off, ramped, WEIGHT) == pytest.approx(1 - rms**2 / 2, abs=2e-5)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, X.shape)
    assert agreement(noise, UNEVEN, WEIGHT) < 0.1
    focused = UNEVEN + 0.2 * defocus_phase(OIL, CELLS)
    assert agreement(focused, UNEVEN, WEIGHT) < 0.95
    assert agreement(focused, UNEVEN, WEIGHT, np.stack([X, Y, defocus_phase(OIL, CELLS)])) == pytest.approx(1, abs=1e-4)


def test_zernike_amplitudes_come_back_from_a_wrapped_phase():
    """Several turns of astigmatism and coma, wrapped: amplitudes to 1e-9, no rest; noise is all rest."""
    named = {5: 3.0, 8: -1.2, 9: 0.5, 12: 0.3}
    names = mode_names(15)
    phase = wrapped(modes(*((*names[j], amplitude) for j, amplitude in named.items())))
    found, rest = zernike_table(phase, WEIGHT, 15)
    expected = np.zeros(15)
    expected[list(named)] = list(named.values())
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert rest < 1e-9 and names[5] == (2, 2) and names[8] == (3, 1)
    ragged, left = zernike_table(phase + np.random.default_rng(1).normal(0, 0.2, X.shape), WEIGHT, 15)
    np.testing.assert_allclose(ragged, expected, atol=0.05)
    assert left == pytest.approx(0.2, rel=0.05)


def test_the_defocus_phase_is_that_of_the_immersion():
    """-k0 n cos(theta): in the middle -2 pi n / wavelength a um, at the rim that times sqrt(1 - (NA / n)^2)."""
    phase = defocus_phase(OIL, 401)
    assert phase[200, 200] == pytest.approx(-2 * np.pi * 1.515 / 0.6, rel=1e-12)
    rim = -2 * np.pi / 0.6 * np.sqrt(1.515**2 - (1.4 * 400 / 401) ** 2)
    assert phase[200, -1] == pytest.approx(rim, rel=1e-9)


def test_weights_are_the_light_inside_the_radius():
    """Unit sum, the square of the transmission, nothing beyond the rim; steps carry the lesser of their cells."""
    transmission = np.where(X > 0, 1.0, 0.5)
    light = pupil_weight(transmission, 0.8)
    assert light.sum() == pytest.approx(1) and (light[np.hypot(X, Y) > 0.8] == 0).all()
    assert light[32, 40] == pytest.approx(4 * light[32, 24])
    steps, share = differences(np.array([[0.0, 6.0], [1.0, 2.0]]), np.array([[1.0, 2.0], [0.0, 3.0]]))
    np.testing.assert_allclose(steps, [6 - 2 * np.pi, -4.0 + 2 * np.pi])
    np.testing.assert_allclose(share, [1.0, 2.0])
