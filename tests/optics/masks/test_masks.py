"""The mask library and the phasor of a mask at any point, against closed forms and a slow FFT microscope."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from optics import masks
from optics.pytree import replace
from optics.types import OpticsError, make_mask, make_microscope
from optics.zernike import zernike_mode

WAVELENGTH_UM = 0.66
DATA = Path(os.environ.get("COLOCUS_DATA", Path(__file__).parents[4] / "shared/data"))


def scope(na=1.35, n_sample=1.40):
    return make_microscope(na=na, n_immersion=1.518, n_sample=n_sample, wavelength_um=WAVELENGTH_UM, pixel_um=0.1)


def rough(size, wrapped=False, half_width=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return make_mask(
        rng.uniform(-0.2, 0.2, (size, size)),
        transmission=rng.uniform(0.2, 1, (size, size)),
        design_wavelength_um=WAVELENGTH_UM,
        half_width=half_width,
        wrapped=wrapped,
    )


def fft_psf(mask, depth_um, na=1.35, n=1.40, pupil_px=96, pad=480):
    """Scalar image at one depth by a padded FFT, exp(+i k r); and its pixel in um."""
    x, y = masks.mask_grid(pupil_px)
    sine2 = np.asarray(x**2 + y**2) * (na / n) ** 2
    inside = np.asarray(x**2 + y**2) <= 1
    phase = 2 * np.pi * n * depth_um / WAVELENGTH_UM * np.sqrt(np.clip(1 - sine2, 0, 1))
    phasor = np.asarray(masks.sample_mask(mask, x, y, WAVELENGTH_UM))
    field = np.zeros((pad, pad), complex)
    field[:pupil_px, :pupil_px] = inside * phasor * np.exp(1j * phase)
    image = np.abs(np.fft.fftshift(np.fft.ifft2(field))) ** 2
    return image / image.sum(), WAVELENGTH_UM / (na * 2 * pad / pupil_px)


def moments(image):
    """Second moments (xx, yy, xy) of the brightest part of an image, in pixels squared."""
    bright = np.clip(image - 0.3 * image.max(), 0, None)
    y, x = np.indices(image.shape)
    bright /= bright.sum()
    dx, dy = x - (bright * x).sum(), y - (bright * y).sum()
    return (bright * dx * dx).sum(), (bright * dy * dy).sum(), (bright * dx * dy).sum()


def test_a_cell_centre_gives_the_cell():
    """Sampling at cell centres returns transmission x exp(2 pi i opd / wavelength), wrapped or not."""
    for wrapped in (False, True):
        mask = rough(12, wrapped, half_width=1.3)
        x, y = masks.mask_grid(12, mask.half_width)
        want = mask.transmission * np.exp(2j * np.pi * mask.opd_um / WAVELENGTH_UM)
        np.testing.assert_allclose(masks.sample_mask(mask, x, y, WAVELENGTH_UM), want, atol=1e-12)


def test_between_cells_it_is_scipys_bilinear_interpolation():
    """Path and transmission at random points equal scipy's order-1 interpolation (constant at the rim)."""
    mask = rough(16, half_width=1.1)
    x, y = np.random.default_rng(1).uniform(-1.1, 1.1, (2, 400))
    at = [(u / 1.1 + 1) * 8 - 0.5 for u in (y, x)]
    opd, through = (
        map_coordinates(np.asarray(a), at, order=1, mode="nearest") for a in (mask.opd_um, mask.transmission)
    )
    want = through * np.exp(2j * np.pi * opd / 0.5)
    np.testing.assert_allclose(masks.sample_mask(mask, x, y, 0.5), want, atol=1e-12)


def test_outside_the_square_light_passes_unchanged():
    """Beyond half_width the phase is 0 and the transmission 1."""
    got = masks.sample_mask(rough(8, half_width=0.5), jnp.array([0.51, 0.0, -2.0]), jnp.array([0.0, -0.6, 2.0]), 0.6)
    np.testing.assert_array_equal(got, np.ones(3))


def test_a_wrapped_mask_is_interpolated_across_its_jumps():
    """Wrapping a steep tilt changes nothing between the cells beyond the phasor's own curvature."""
    tilt = masks.zernike([(1, 1, 0.8)], size=64, design_wavelength_um=WAVELENGTH_UM)
    turns = tilt.opd_um / WAVELENGTH_UM
    wrapped = replace(tilt, opd_um=WAVELENGTH_UM * (turns - jnp.round(turns)), wrapped=True)
    x, y = np.random.default_rng(2).uniform(-0.6, 0.6, (2, 500))
    got, want = (masks.sample_mask(m, x, y, WAVELENGTH_UM) for m in (wrapped, tilt))
    # phase step a between cells: the direction of a chord of the circle is off by less than a^3 / 32
    step = 2 * np.pi * 0.8 * 2 * (2 / 64) / WAVELENGTH_UM
    np.testing.assert_allclose(got, want, atol=step**3 / 32)
    np.testing.assert_allclose(np.abs(got), 1, atol=1e-12)


def test_half_way_across_a_jump_of_pi_value_and_gradient_are_finite():
    """The undefined phase between 0 and pi gives modulus 1 and no NaN, forward and in the gradient."""
    mask = make_mask(np.array([[0, 0.5], [0, 0.5]]) * WAVELENGTH_UM, design_wavelength_um=WAVELENGTH_UM, wrapped=True)

    def real_part(opd_um, x):
        return masks.sample_mask(replace(mask, opd_um=opd_um), x, jnp.array(0.0), WAVELENGTH_UM).real

    x = jnp.array(0.0)
    assert abs(abs(float(real_part(mask.opd_um, x))) - 1) < 1e-12
    for gradient in jax.grad(real_part, (0, 1))(mask.opd_um, x):
        assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("wrapped", [False, True])
def test_gradients_equal_central_differences(wrapped):
    """By path, transmission, x, y and wavelength, against differences in float64 (relative 1e-6)."""
    mask = rough(6, wrapped)
    x, y = np.random.default_rng(3).uniform(-0.8, 0.8, (2, 9))
    weight = jnp.asarray(np.random.default_rng(4).normal(size=9) + 1j * np.random.default_rng(5).normal(size=9))

    def loss(opd_um, transmission, x, y, wavelength_um):
        changed = replace(mask, opd_um=opd_um, transmission=transmission)
        return jnp.abs((weight * masks.sample_mask(changed, x, y, wavelength_um)).sum()) ** 2

    at = (mask.opd_um, mask.transmission, jnp.asarray(x), jnp.asarray(y), jnp.asarray(WAVELENGTH_UM))
    for i, gradient in enumerate(jax.grad(loss, range(5))(*at)):
        way = jnp.asarray(np.random.default_rng(6 + i).normal(size=at[i].shape))
        moved = [loss(*at[:i], at[i] + s * 1e-6 * way, *at[i + 1 :]) for s in (1, -1)]
        np.testing.assert_allclose((gradient * way).sum(), (moved[0] - moved[1]) / 2e-6, rtol=1e-6, atol=1e-6)


def test_another_wavelength_is_refused_for_a_wrapped_mask_alone():
    """check_wavelength names both wavelengths for a wrapped mask and lets an unwrapped one pass."""
    masks.check_wavelength(rough(4), 0.5)
    masks.check_wavelength(None, 0.5)
    masks.check_wavelength(rough(4, wrapped=True), jnp.float32(WAVELENGTH_UM))
    with pytest.raises(OpticsError, match=r"0\.66 um .* 0\.5"):
        masks.check_wavelength(rough(4, wrapped=True), 0.5)


def test_turning_a_mask_turns_its_image():
    """rotate_180 is sampling at (-x, -y), and the FFT image turns about its centre with it."""
    mask = rough(16)
    x, y = np.random.default_rng(7).uniform(-0.9, 0.9, (2, 50))
    turned = masks.rotate_180(mask)
    np.testing.assert_allclose(masks.sample_mask(turned, x, y, 0.6), masks.sample_mask(mask, -x, -y, 0.6), atol=1e-12)
    coma = masks.zernike([(3, 1, 0.05), (2, -2, 0.04)], size=96)
    image, _ = fft_psf(coma, 0.0)
    flipped, _ = fft_psf(masks.rotate_180(coma), 0.0)
    np.testing.assert_allclose(flipped[1:, 1:], image[1:, 1:][::-1, ::-1], atol=1e-6 * image.max())


def test_zernike_masks_are_zernike_modes_inside_the_pupil():
    """Library surfaces equal the modes they name up to the rim, and stay bounded in the corners."""
    x, y = masks.mask_grid(64)
    inside = np.hypot(x, y) <= 1
    np.testing.assert_allclose(
        np.asarray(masks.astigmatism(0.07, size=64).opd_um)[inside],
        0.07 * np.sqrt(6) * np.asarray(x**2 - y**2)[inside],
        atol=1e-12,
    )
    mask = masks.zernike([(6, 2, 0.1)], size=64)
    assert np.abs(mask.opd_um).max() < 3 * np.abs(np.asarray(mask.opd_um)[inside]).max()
    assert float(jnp.abs(masks.flat(size=64).opd_um).max()) == 0


def test_astigmatism_has_its_line_foci_where_the_closed_form_says():
    """At NA 0.3 the image is thinnest in x and y at depths 4 sqrt(6) n rms / NA^2 apart (within 15 %)."""
    rms_um, na, n = 0.25, 0.3, 1.0
    mask = masks.astigmatism(rms_um, size=96)
    depths = np.linspace(-25, 25, 41)
    wide = np.array([moments(fft_psf(mask, z, na, n)[0])[:2] for z in depths])
    gap = depths[wide[:, 1].argmin()] - depths[wide[:, 0].argmin()]
    assert abs(abs(gap) / (4 * np.sqrt(6) * n * rms_um / na**2) - 1) < 0.15


@pytest.mark.parametrize("make, range_um", [(masks.tetrapod, 4.0), (masks.saddle_point, 3.0)])
def test_lobes_part_along_one_axis_above_focus_and_along_the_other_below(make, range_um):
    """The image is long along x for z > 0 and along y for z < 0, its lobes more than two Airy radii apart."""
    mask = make(range_um, scope(), size=128)
    above, below = (fft_psf(mask, z, pupil_px=192, pad=768) for z in (0.4 * range_um, -0.4 * range_um))
    (xx, yy, _), (xx_below, yy_below, _) = moments(above[0]), moments(below[0])
    assert xx > 4 * yy and yy_below > 4 * xx_below
    assert 2 * np.sqrt(xx) * above[1] > 2 * 0.61 * WAVELENGTH_UM / 1.35


def test_tetrapods_scale_with_range_and_with_the_useful_pupil():
    """Twice the range is twice the path; past n_sample the aperture does not widen the shape."""
    half, full = (masks.tetrapod(r, scope(), size=32).opd_um for r in (2.0, 4.0))
    np.testing.assert_allclose(full, 2 * half, atol=1e-12)
    x = jnp.linspace(-0.6, 0.6, 9)
    path = [
        jnp.angle(masks.sample_mask(masks.tetrapod(1.0, scope(na, 1.33), size=256), x / na, 0 * x, 0.66))
        for na in (1.35, 1.45)
    ]
    np.testing.assert_allclose(path[0], path[1], atol=5e-3)


def test_tetrapod_is_the_published_one():
    """For 4 um at NA 1.45 in water it agrees with the published mask: phasor overlap above 0.9.

    Its axis, focus and spherical aberration are free in the comparison: they are no part of the shape.
    """
    path = DATA / "ds3d-masks/mask_tetrapod.npy"
    if not path.exists():
        pytest.skip(f"no published masks at {path.parent} (set COLOCUS_DATA)")
    published = np.load(path).astype(float)
    optics = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=0.11)
    diameter_px = 2 * 1.5e5 * 1.45 / np.sqrt(100**2 - 1.45**2) / 24
    x, y = masks.mask_grid(329, 329 / diameter_px)
    inside = published != 0
    x, y, phasor = np.asarray(x)[inside], np.asarray(y)[inside], np.exp(1j * published[inside])
    mask = masks.tetrapod(4.0, optics)
    radius = 1.33 / 1.45
    defocus, spherical = (np.asarray(zernike_mode(n, 0, x / radius, y / radius)) for n in (2, 4))
    best = 0.0
    for turn in np.deg2rad(np.arange(0, 180, 2.0)):
        u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
        rest = phasor * np.conj(np.asarray(masks.sample_mask(mask, u, v, 0.58)))
        for defocus_um in np.linspace(0.1, 0.2, 11):
            focus = defocus_um * defocus + 0.047 * spherical
            best = max(best, abs(np.mean(rest * np.exp(-2j * np.pi * focus / 0.58))))
    assert best > 0.9


def test_double_helix_shows_two_lobes_that_turn_evenly_with_depth():
    """Over the range the axis of the two lobes turns one way, by the zones' angle (within 15 %)."""
    range_um = 2.0
    mask = masks.double_helix(range_um, scope(), size=256)
    axis = []
    for z in np.linspace(-0.45 * range_um, 0.45 * range_um, 10):
        xx, yy, xy = moments(fft_psf(mask, z, pupil_px=192, pad=768)[0])
        spread = np.hypot(xx - yy, 2 * xy)
        # two lobes: the long axis at least 1.5 times the short one
        assert (xx + yy + spread) / (xx + yy - spread) > 1.5**2
        axis.append(np.arctan2(2 * xy, xx - yy))
    steps = np.diff(np.unwrap(axis)) / 2
    assert (steps > 0).all() or (steps < 0).all()
    zones = np.ceil(1.40 * (1 - np.sqrt(1 - (1.35 / 1.40) ** 2)) * range_um / WAVELENGTH_UM)
    turn = np.pi * 1.40 * (1 - np.sqrt(1 - (1.35 / 1.40) ** 2)) * 0.9 * range_um / WAVELENGTH_UM / zones
    assert abs(abs(steps.sum()) / turn - 1) < 0.15
    masks.check_wavelength(mask, WAVELENGTH_UM)


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: masks.tetrapod(0.0, scope()), "range_um = 0"),
        (lambda: masks.saddle_point(-1.0, scope()), "range_um = -1"),
        (lambda: masks.double_helix(np.nan, scope()), "range_um = nan"),
        (lambda: masks.double_helix(2.0, scope(), zones=1), "zones = 1"),
        (lambda: masks.zernike([(2, 1, 0.1)]), r"\(2, 1\)"),
    ],
)
def test_impossible_masks_are_refused_by_name(call, word):
    """A range, zone count, size or mode that cannot be raises OpticsError that names it."""
    with pytest.raises(OpticsError, match=word):
        call()
