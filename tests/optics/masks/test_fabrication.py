"""Etched masks: indices from the paper, levels and efficiencies in closed form, and the way back to a mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import make_mask
from optics.masks.dispersion import check_range, fused_silica, index_table, path_per_height, refractive_index, sellmeier
from optics.masks.fabrication import at_wavelength, etch, etched_mask, nearest_step, regrid
from optics.masks.library import astigmatism, zernike
from optics.masks.sampling import check_wavelength, mask_grid, sample_mask
from optics.types import OpticsError

SILICA = fused_silica()


def blaze(waves=8, size=256, wavelength_um=0.6, wrapped=False):
    """A tilt of `waves` across the square: what a blazed grating repeats."""
    x, _ = mask_grid(size)
    path = wavelength_um * waves * (np.asarray(x) + 1) / 2
    return make_mask(
        np.mod(path, wavelength_um) if wrapped else path, design_wavelength_um=wavelength_um, wrapped=wrapped
    )


def efficiency(made, meant):
    """Share of the light in the order that is meant: |mean exp(i (made - meant))|^2, over the whole square."""
    difference = 2 * np.pi * np.asarray(made.opd_um - meant.opd_um) / float(meant.design_wavelength_um)
    return abs(np.exp(1j * difference).mean()) ** 2


@pytest.mark.parametrize(
    ("wavelength_um", "index"), [(0.404656, 1.46961), (0.486133, 1.46313), (0.587561, 1.45846), (1.01398, 1.45024)]
)
def test_fused_silica_is_malitsons(wavelength_um, index):
    """Table II of the paper: five digits."""
    assert float(refractive_index(SILICA, wavelength_um)) == pytest.approx(index, abs=1e-5)


def test_a_table_and_a_sellmeier_of_the_same_glass_agree():
    """Linear between entries 5 nm apart: 1e-6; in water the path is shorter by its index."""
    waves = np.arange(0.4, 0.8, 0.005)
    table = index_table(waves, refractive_index(SILICA, waves), n_medium=1.333)
    np.testing.assert_allclose(refractive_index(table, 0.6123), refractive_index(SILICA, 0.6123), atol=1e-6)
    np.testing.assert_allclose(path_per_height(table, 0.6), refractive_index(SILICA, 0.6) - 1.333, atol=1e-12)


@pytest.mark.parametrize("levels", [2, 4, 8, 16])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_efficiency_of_levels_is_the_textbooks(levels, wrapped):
    """(sin(pi / N) / (pi / N))^2: 40.5, 81, 95 and 98.7 % (Swanson 1989), from a wrapped design or a smooth one."""
    meant = blaze(waves=2, size=1024, wrapped=wrapped)
    plate = etch(meant, SILICA, levels=levels, wrap=True)
    assert efficiency(etched_mask(plate), meant) == pytest.approx(np.sinc(1 / levels) ** 2, abs=2e-5)
    assert np.unique(np.asarray(plate.level)).size == levels


def test_heights_are_path_over_index_and_wrap_at_one_wave():
    """At 0.6 um a wave is 1.311 um of silica in air; not wrapped, the lowest cell of the pupil is 0."""
    meant = blaze(waves=3)
    per_height = 1.4580403 - 1  # Malitson at 0.6 um
    plate = etch(meant, SILICA, wrap=True, pitch_um=20.0)
    assert float(plate.height_um.max()) < 0.6 / per_height and float(plate.height_um.min()) >= 0
    np.testing.assert_allclose(plate.height_um, np.mod(np.asarray(meant.opd_um), 0.6) / per_height, atol=1e-5)
    thick = etch(meant, SILICA)
    assert float(thick.height_um.min()) == 0 and not thick.wrapped
    assert float(thick.height_um.max()) == pytest.approx(1.8 / per_height, rel=0.01)
    assert float(plate.pitch_um) == 20.0


def test_a_plate_goes_back_to_its_mask():
    """Not quantised: the phasor at the design wavelength is the mask's, but for a constant phase."""
    meant = astigmatism(0.15, design_wavelength_um=0.6, size=64)
    x, y = mask_grid(64)
    light = np.asarray(x) ** 2 + np.asarray(y) ** 2 <= 1
    for wrap in (False, True):
        made = etched_mask(etch(meant, SILICA, wrap=wrap))
        ratio = np.asarray(sample_mask(made, x, y, 0.6) / sample_mask(meant, x, y, 0.6))[light]
        np.testing.assert_allclose(ratio, ratio[0], atol=1e-9)


def test_given_depths_take_the_nearest():
    """By brute force over all heights, and over all turns where wrapped; the last step wraps to the first."""
    rng = np.random.default_rng(0)
    values, steps = rng.uniform(-1, 3, 500), np.array([0.1, 0.35, 0.9, 1.1])
    brute = np.abs(values[:, None] - steps).argmin(axis=1)
    np.testing.assert_array_equal(nearest_step(values, steps, None), brute)
    away = (values[:, None] - steps + 0.65) % 1.3 - 0.65
    np.testing.assert_array_equal(nearest_step(values, steps, 1.3), np.abs(away).argmin(axis=1))
    plate = etch(blaze(), SILICA, depths_um=[0.0, 0.3, 0.65, 1.0], wrap=True)
    assert set(np.unique(np.asarray(plate.height_um))) == {0.0, 0.3, 0.65, 1.0}
    np.testing.assert_allclose(np.array([0.0, 0.3, 0.65, 1.0])[np.asarray(plate.level)], plate.height_um)


def test_another_wavelength_keeps_the_heights():
    """Smooth: the ratio of the indices. Wrapped: walls stay walls, by the closed form of a detuned blaze."""
    meant = astigmatism(0.1, design_wavelength_um=0.6, size=32)
    moved = at_wavelength(meant, SILICA, 0.7)
    ratio = float(path_per_height(SILICA, 0.7) / path_per_height(SILICA, 0.6))
    span = np.ptp(np.asarray(meant.opd_um)[8:24, 8:24])
    assert np.ptp(np.asarray(moved.opd_um)[8:24, 8:24]) == pytest.approx(ratio * span, rel=1e-9)
    # a blaze of one wave at 0.6 um sends sinc^2(1 - d) to its first order where it is d waves high
    grating = blaze(wrapped=True)
    with pytest.raises(OpticsError, match="give its material"):
        check_wavelength(grating, 0.7)
    detuned = at_wavelength(grating, SILICA, 0.7)
    check_wavelength(detuned, 0.7)
    waves = ratio * 0.6 / 0.7
    turns = np.asarray(detuned.opd_um) / 0.7 - np.asarray(blaze(wavelength_um=0.6).opd_um) / 0.6
    assert abs(np.exp(2j * np.pi * turns).mean()) ** 2 == pytest.approx(np.sinc(1 - waves) ** 2, abs=2e-3)
    np.testing.assert_allclose(at_wavelength(grating, SILICA, 0.6).opd_um, grating.opd_um, atol=1e-12)


def test_depth_error_and_wavelength_are_differentiable():
    """The path grows with the depth error by itself, and with the wavelength by the slope of the index."""
    plate = etch(astigmatism(0.1, design_wavelength_um=0.6, size=16), SILICA, wrap=True)
    slope = jax.jacfwd(lambda e: etched_mask(plate, 0.6, depth_error=e).opd_um)(0.0)
    np.testing.assert_allclose(slope, etched_mask(plate).opd_um, atol=1e-12)
    by_wave = jax.jacfwd(lambda w: etched_mask(plate, w).opd_um)(0.6)
    finite = (etched_mask(plate, 0.6 + 1e-5).opd_um - etched_mask(plate, 0.6 - 1e-5).opd_um) / 2e-5
    np.testing.assert_allclose(by_wave, finite, rtol=1e-6, atol=1e-9)


def test_regrid_keeps_the_mask():
    """A device's grid, larger than the pupil: the same phase at any point inside the old square."""
    coma = zernike([(3, 1, 0.05), (2, -2, 0.03)], design_wavelength_um=0.6, size=128)
    there = regrid(coma, 200, 1.25)
    x, y = jnp.array([0.3, -0.5]), jnp.array([0.1, 0.4])
    np.testing.assert_allclose(sample_mask(there, x, y, 0.6), sample_mask(coma, x, y, 0.6), atol=2e-4)
    assert float(there.half_width) == 1.25
    with pytest.raises(OpticsError, match="size = 1"):
        regrid(coma, 1, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: etch(blaze(wavelength_um=5.0), SILICA), "outside 0.21 to 3.71"),
        (lambda: at_wavelength(blaze(), SILICA, 590.0), "outside 0.21 to 3.71"),
        (lambda: etch(blaze(wrapped=True), SILICA, wrap=False), "unwrap it first"),
        (lambda: etch(blaze(), SILICA, levels=1), "levels = 1"),
        (lambda: etch(blaze(), SILICA, levels=4, depths_um=[0, 1]), "not both"),
        (lambda: etch(blaze(), SILICA, depths_um=[0.5]), "at least two different"),
        (lambda: etch(blaze(), SILICA, depths_um=[0, 650]), "looks like nanometres"),
        (lambda: index_table([500, 600], [1.46, 1.45]), "looks like nanometres"),
        (lambda: index_table([0.6, 0.5], [1.46, 1.45]), "ascending"),
        (lambda: sellmeier([1.0, 2.0], [0.0], low_um=0.3, high_um=1), "one length"),
        (lambda: fused_silica(n_medium=1.5), "below the index"),
        (lambda: check_range(SILICA, 4.0), "outside"),
    ],
)
def test_what_cannot_be_etched_is_refused(call, message):
    """Each in one line with the field."""
    with pytest.raises(OpticsError, match=message):
        call()
