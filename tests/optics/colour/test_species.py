"""Species behind one plate: against single wavelengths, Malitson's glass, closed forms and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import make_microscope, make_psf, masks, psf_image, replace
from optics.colour.plate import liquid_crystal, plate_at, voltage_plate
from optics.colour.species import make_species, species_image, species_images, species_psf, species_psfs
from optics.masks.dispersion import fused_silica, path_per_height
from optics.masks.fabrication import etch
from optics.masks.sampling import sample_mask
from optics.types import OpticsError

SCOPE = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
PSF = make_psf(SCOPE, image_px=13, pupil_px=24, kind="scalar", pixel="centre")
PLATE = etch(masks.zernike([(2, 2, 0.08), (3, 1, 0.05)], size=32), fused_silica(), wrap=False)
POINT = jnp.array([0.03, -0.05, 0.2])


def malitson(wavelength_um):
    """Index of fused silica, written out from the paper (doi 10.1364/JOSA.55.001205)."""
    w2 = wavelength_um**2
    terms = [(0.6961663, 0.0684043), (0.4079426, 0.1162414), (0.8974794, 9.896161)]
    return np.sqrt(1 + sum(b * w2 / (w2 - c**2) for b, c in terms))


def mask_at(plate, wavelength_um):
    """What light of a wavelength meets, where there is a plate."""
    mask = plate_at(plate, wavelength_um)
    assert mask is not None
    return mask


def at_wavelength(wavelength_um, focus_um=0.0, pixel_um=0.1):
    """The same microscope for one wavelength, its mask the height times n - 1 of the paper."""
    scope = make_microscope(
        na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=wavelength_um, pixel_um=pixel_um, focus_um=focus_um
    )
    path = np.asarray(PLATE.height_um) * (malitson(wavelength_um) - 1)
    mask = masks.flat(size=32)
    return replace(PSF, microscope=scope, mask=replace(mask, opd_um=jnp.asarray(path)))


def test_a_band_is_the_weighted_mean_of_its_wavelengths():
    """Each wavelength computed by itself, with a mask made from the paper's index; focus and magnification its own."""
    band = make_species("band", [0.56, 0.68], [1, 3], focus_shift_um=[0.1, -0.2], magnification=[1.0, 1.02])
    found = jax.jit(species_image)(species_psf(PSF, band, PLATE), POINT)
    image = jax.jit(psf_image)
    first = image(at_wavelength(0.56, focus_um=0.1), POINT)
    second = image(at_wavelength(0.68, focus_um=-0.2, pixel_um=0.1 / 1.02), POINT / jnp.array([1.02, 1.02, 1]))
    np.testing.assert_allclose(found, 0.25 * first + 0.75 * second, atol=1e-12)
    np.testing.assert_allclose(species_images(species_psf(PSF, band, PLATE), POINT[None])[0], found, atol=1e-12)


def test_a_magnified_emitter_stands_where_the_camera_sees_it():
    """Positions are the camera's: the centre of light lies at x whatever the magnification."""
    wide = replace(PSF, image_px=41, pupil_px=40)
    image = jax.jit(species_image)
    for magnification in (1.0, 1.1):
        one = species_psf(wide, make_species("one", 0.6, magnification=magnification), None)
        light = np.asarray(image(one, jnp.array([0.2, 0.0, 0.0])))
        x_um = (np.arange(41) - 20) * 0.1
        assert light.sum(axis=0) @ x_um / light.sum() == pytest.approx(0.2, abs=5e-3)


def test_the_slope_by_a_height_is_the_difference_quotient():
    """What is optimised is the height, through both colours at once."""
    band = make_species("band", [0.56, 0.68])
    template = jnp.asarray(np.random.default_rng(0).normal(size=(13, 13)))

    @jax.jit
    def value(height):
        return jnp.sum(template * species_image(species_psf(PSF, band, replace(PLATE, height_um=height)), POINT))

    direction = jnp.asarray(np.random.default_rng(1).normal(size=(32, 32)))
    slope = jnp.vdot(jax.jit(jax.grad(value))(PLATE.height_um), direction)
    step = 1e-4
    quotient = (value(PLATE.height_um + step * direction) - value(PLATE.height_um - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, quotient, rtol=1e-5)


def test_a_panel_follows_its_dispersion_and_its_table():
    """Phase at another wavelength: birefringence by Wu's formula over wavelength; a table the same at its knots."""
    mask = masks.astigmatism(0.05, design_wavelength_um=0.58, size=32)
    panel = etch(mask, liquid_crystal(0.25), wrap=True)

    def wu(wavelength):
        return wavelength**2 * 0.25**2 / (wavelength**2 - 0.25**2)

    path = np.mod(np.asarray(mask.opd_um), 0.58)
    np.testing.assert_allclose(mask_at(panel, 0.67).opd_um, path * wu(0.67) / wu(0.58), rtol=1e-5, atol=1e-9)
    level, waves = np.arange(0, 256.0), np.array([0.5, 0.58, 0.67])
    phase = level[:, None] / 255 * 2 * np.pi * 0.58 * wu(waves) / (wu(0.58) * waves)
    drive = 255 * path / 0.58
    shown = voltage_plate(drive, level=level, wavelength_um=waves, phase_rad=phase)
    np.testing.assert_allclose(mask_at(shown, 0.67).opd_um, path * wu(0.67) / wu(0.58), atol=1e-9)
    falling = voltage_plate(255 - drive, level=level, wavelength_um=waves, phase_rad=phase[::-1])
    same = mask_at(falling, 0.67), mask_at(shown, 0.67)
    phasors = [sample_mask(one, jnp.array([0.1, 0.4]), jnp.array([0.2, -0.3]), 0.67) for one in same]
    np.testing.assert_allclose(phasors[0], phasors[1], atol=1e-9)


def test_a_plate_of_etched_glass_bends_red_less():
    """The ratio of paths is that of n - 1, by the paper's formula."""
    ratio = path_per_height(fused_silica(), 0.67) / path_per_height(fused_silica(), 0.58)
    assert float(ratio) == pytest.approx((malitson(0.67) - 1) / (malitson(0.58) - 1), rel=1e-9)


def wrapped():
    return masks.double_helix(2.0, SCOPE, size=32)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: make_species("red", [0.6, 0.6]), "given twice"),
        (lambda: make_species("red", 670), "nanometres"),
        (lambda: make_species("red", [0.6, 0.7], [1, -1]), "negative"),
        (lambda: make_species("red", [0.6, 0.7], [1]), "as many weights"),
        (lambda: make_species("red", 0.6, magnification=100.0), "near 1"),
        (lambda: species_psfs(PSF, [make_species("a", 0.6), make_species("a", 0.7)]), "a name of its own"),
        (lambda: species_psfs(PSF, [make_species("a", 0.7)], wrapped()), "wrapped at 0.6"),
        (lambda: species_psfs(replace(PSF, mask=wrapped()), [make_species("a", 0.7)], PLATE), "one of them"),
        (lambda: voltage_plate(np.zeros((2, 2)), level=[0, 0], wavelength_um=[0.5, 0.6], phase_rad=np.zeros((2, 2))),
         "ascending"),
        (lambda: liquid_crystal(0.5), "below the wavelengths"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(call, says):
    """One line that says what is wrong."""
    with pytest.raises(OpticsError, match=says):
        call()
