"""The image of one point: closed forms, limits, invariants, pixels, blur, transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import j1, jn_zeros

from optics.grids import pixel_centres_um
from optics.psf import collected_fraction, intensity_at, make_psf, psf_image, pupil_fields, pupil_samples
from optics.pytree import replace
from optics.types import OpticsError, make_mask, make_microscope

ORIGIN = jnp.zeros(3)
image_of = jax.jit(psf_image)
density = jax.jit(lambda psf, xyz_um, x_um, y_um: intensity_at(psf, pupil_fields(psf), xyz_um, x_um, y_um))


def scope(**changes):
    numbers = {"na": 1.2, "n_immersion": 1.406, "n_sample": 1.406, "wavelength_um": 0.6, "pixel_um": 0.1}
    return make_microscope(**(numbers | changes))


def oil_on_water(**changes):
    return scope(**({"na": 1.45, "n_immersion": 1.518, "n_sample": 1.33, "pixel_um": 0.1} | changes))


@pytest.mark.parametrize("kind", ["scalar", "vectorial"])
def test_low_aperture_gives_the_airy_pattern(kind):
    """At NA 0.05 the profile is (2 J1(v)/v)^2 and its first zero 0.61 wavelength / NA, to 1e-3."""
    na, wavelength = 0.05, 0.6
    psf = make_psf(scope(na=na, n_immersion=1.0, n_sample=1.0), kind=kind, pixel="centre")
    zero = jn_zeros(1, 1)[0] / (2 * np.pi) * wavelength / na  # 0.60983 wavelength / NA
    radius = np.linspace(-1.3, 1.3, 5201) * zero
    profile = np.asarray(density(psf, ORIGIN, jnp.asarray(radius), jnp.zeros(1))[0])
    v = 2 * np.pi * na * radius / wavelength
    airy = np.where(v == 0, 1.0, 2 * j1(v) / np.where(v == 0, 1.0, v)) ** 2
    np.testing.assert_allclose(profile / profile.max(), airy, atol=1e-3)
    outside = np.abs(radius) > 0.5 * zero
    found = abs(radius[outside][np.argmin(profile[outside])])
    assert found == pytest.approx(0.61 * wavelength / na, rel=1e-3)
    # absolute: the peak of a unit-power Airy pattern is pi NA^2 / wavelength^2
    assert profile.max() == pytest.approx(np.pi * na**2 / wavelength**2, rel=1e-3)


def test_vectorial_becomes_scalar_at_low_aperture():
    """The difference of the two models falls with NA^2 and is below 1e-3 at NA 0.05."""

    def difference(na):
        here = scope(na=na, n_immersion=1.33, n_sample=1.33, pixel_um=0.1 / na)
        images = [image_of(make_psf(here, kind=kind, image_px=21), ORIGIN) for kind in ("scalar", "vectorial")]
        return float(jnp.linalg.norm(images[0] - images[1]) / jnp.linalg.norm(images[0]))

    low, high = difference(0.05), difference(0.1)
    assert low < 1e-3
    assert high / low == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("kind", ["scalar", "vectorial"])
@pytest.mark.parametrize("make", [scope, oil_on_water])
def test_a_large_stamp_holds_all_the_light(kind, make):
    """The sum tends to 1; what is missing falls as 1 / side, as behind any sharp rim, and is 2 % at 20 um."""
    missing = []
    for n in (34, 102):
        psf = make_psf(make(pixel_um=0.2), kind=kind, image_px=n)
        missing.append(1 - float(image_of(psf, ORIGIN).sum()))
    assert 0 < missing[1] < 0.02
    assert missing[0] / missing[1] == pytest.approx(3, rel=0.15)


def test_sum_does_not_depend_on_depth_where_light_is_evanescent():
    """Super-critical light decays with depth; the image is per DETECTED photon and still sums to 1."""
    psf = make_psf(oil_on_water(pixel_um=0.2), image_px=102)
    sums = [float(image_of(psf, jnp.array([0.0, 0.0, z])).sum()) for z in (0.0, 0.1, 0.5)]
    np.testing.assert_allclose(sums, 1, atol=0.02)


def test_transmission_and_iris_take_light():
    """A mask of amplitude 0.7 leaves 0.49 exactly; a scalar iris leaves the ratio of the pupil areas."""
    here = scope()
    clear = image_of(make_psf(here, image_px=21), ORIGIN)
    grey = make_mask(np.zeros((8, 8)), transmission=np.full((8, 8), 0.7), design_wavelength_um=0.6)
    np.testing.assert_allclose(image_of(make_psf(here, mask=grey, image_px=21), ORIGIN), 0.49 * clear, rtol=1e-12)

    # apodisation off (scalar, low NA): the share of light is that of the area
    low = scope(na=0.1, n_immersion=1.0, n_sample=1.0, pixel_um=4.0)
    sums = [
        float(image_of(make_psf(replace(low, iris_na=jnp.asarray(iris)), kind="scalar", image_px=41), ORIGIN).sum())
        for iris in (0.1, 0.06)
    ]
    assert sums[1] / sums[0] == pytest.approx(0.36, abs=2e-3)


@pytest.mark.parametrize(("pixel_um", "make"), [(0.16, oil_on_water), (0.16, scope), (0.11, oil_on_water)])
def test_integrated_pixels_equal_an_oversampled_sum(pixel_um, make):
    """Integrated pixels against 16 x 16 midpoints a pixel: 1e-3 in L2 (8 x 8 are themselves off by 1e-3)."""
    n, fine = 21, 16
    psf = make_psf(make(pixel_um=pixel_um), image_px=n)
    xyz = jnp.array([0.03, -0.05, 0.3])
    x = pixel_centres_um(n * fine, pixel_um / fine)
    samples = np.asarray(density(psf, xyz, x, x)) * (pixel_um / fine) ** 2
    truth = samples.reshape(n, fine, n, fine).sum(axis=(1, 3))
    assert np.linalg.norm(image_of(psf, xyz) - truth) < 1e-3 * np.linalg.norm(truth)


@pytest.mark.parametrize(("pixel", "blur_um"), [("integrated", 0.1), ("centre", 0.08), ("integrated", 0.0)])
def test_blur_equals_a_gaussian_filter_of_the_fine_image(pixel, blur_um):
    """Against scipy's filter of an image 16 times finer and 8 pixels wider on each side: 1e-3 in L2."""
    n, fine, margin, pixel_um = 15, 16, 8, 0.12
    if pixel == "centre":
        fine = 15  # odd: pixel centres are samples
    psf = make_psf(scope(pixel_um=pixel_um), image_px=n, pixel=pixel, blur_um=blur_um)
    xyz = jnp.array([0.03, -0.05, 0.3])
    x = pixel_centres_um((n + 2 * margin) * fine, pixel_um / fine)
    wide = gaussian_filter(np.asarray(density(psf, xyz, x, x)), blur_um / (pixel_um / fine), truncate=8)
    crop = wide[margin * fine : -margin * fine, margin * fine : -margin * fine]
    if pixel == "centre":
        truth = crop[fine // 2 :: fine, fine // 2 :: fine] * pixel_um**2
    else:
        truth = crop.reshape(n, fine, n, fine).mean(axis=(1, 3)) * pixel_um**2
    assert np.linalg.norm(image_of(psf, xyz) - truth) < 1e-3 * np.linalg.norm(truth)


@pytest.mark.parametrize("pixel", ["integrated", "centre"])
def test_a_shift_by_one_pixel_moves_the_image_by_one_pixel(pixel):
    """In x along columns, in y along rows, to 1e-4 of the peak (here: to rounding)."""
    psf = make_psf(oil_on_water(focus_um=0.2), image_px=24, pixel=pixel, pupil_px=48)
    start = jnp.array([0.013, -0.037, 0.3])
    image = image_of(psf, start)
    right = image_of(psf, start + jnp.array([0.1, 0.0, 0.0]))
    down = image_of(psf, start + jnp.array([0.0, 0.1, 0.0]))
    peak = float(image.max())
    # integrated pixels see the intensity on a finite fine grid, whose edge leaves 1e-5
    atol = (1e-4 if pixel == "integrated" else 1e-9) * peak
    np.testing.assert_allclose(right[:, 2:-1], image[:, 1:-2], atol=atol)
    np.testing.assert_allclose(down[2:-1], image[1:-2], atol=atol)


def test_the_centroid_follows_the_position_below_a_pixel():
    """Sub-pixel positions are exact: the centre of mass of a symmetric PSF moves by the same amount."""
    psf = make_psf(scope(na=0.9, pixel_um=0.15), image_px=41)
    grid = np.asarray(pixel_centres_um(41, 0.15))
    images = [image_of(psf, jnp.array(xyz)) for xyz in ([0.0, 0, 0], [0.041, -0.027, 0])]
    means = [(np.sum(i * grid) / np.sum(i), np.sum(i * grid[:, None]) / np.sum(i)) for i in np.asarray(images)]
    # the window cuts the tails at slightly other places: a few per cent of the shift
    np.testing.assert_allclose(np.subtract(means[1], means[0]), [0.041, -0.027], rtol=0.05)
    # and exactly: the image at the shifted position is the unshifted density sampled elsewhere
    x = pixel_centres_um(5, 0.082)
    there = density(psf, jnp.array([0.041, 0.0, 0.0]), x, jnp.zeros(1))[0]
    here = density(psf, ORIGIN, x, jnp.zeros(1))[0]
    wide = density(psf, ORIGIN, jnp.asarray([-0.041, 0.041]), jnp.zeros(1))[0]
    assert float(there[2]) == pytest.approx(float(wide[0]), rel=1e-9)
    assert float(here[2]) > float(there[2])


def test_wavelengths_by_vmap_equal_a_loop():
    """A batched microscope (three colours) under vmap gives the images made one by one."""
    waves = jnp.array([0.52, 0.6, 0.68])
    psf = make_psf(oil_on_water(), image_px=15, pupil_px=32)

    def image(wavelength_um):
        return psf_image(replace(psf, microscope=replace(psf.microscope, wavelength_um=wavelength_um)), ORIGIN)

    together = jax.jit(jax.vmap(image))(waves)
    one_by_one = jax.jit(image)
    np.testing.assert_allclose(together, [one_by_one(w) for w in waves], rtol=1e-10, atol=1e-15)


def test_depth_above_the_coverslip():
    """z < 0 is clamped to 0 where the layers differ, and means defocus to the other side where they match."""
    deep = jnp.array([0.0, 0.0, -0.4])
    psf = make_psf(oil_on_water(), image_px=15, pupil_px=32)
    np.testing.assert_array_equal(image_of(psf, deep), image_of(psf, ORIGIN))
    matched = make_psf(scope(), image_px=15, pupil_px=32)
    np.testing.assert_allclose(image_of(matched, deep), image_of(matched, -deep), rtol=1e-9)
    assert float(image_of(matched, deep).max()) < 0.9 * float(image_of(matched, ORIGIN).max())


def test_jit_equals_eager_and_one_trace_serves_every_optical_value():
    """Only sizes and kinds select a program: new NA, indices, mask, focus, positions do not trace again."""
    traces, images = [], []

    @jax.jit
    def image(psf, xyz_um):
        traces.append(None)
        return psf_image(psf, xyz_um)

    mask = make_mask(np.zeros((16, 16)), design_wavelength_um=0.6)
    for na, wavelength, n_sample in ((1.4, 0.6, 1.33), (1.42, 0.52, 1.36), (1.45, 0.7, 1.40)):
        here = oil_on_water(na=na, wavelength_um=wavelength, n_sample=n_sample, focus_um=na - 1)
        # not through make_psf, whose oversampling follows NA and wavelength
        psf = make_psf(here, mask=replace(mask, opd_um=mask.opd_um + 0.1), image_px=15, pupil_px=32, pixel="centre")
        xyz = jnp.array([0.1 * na, 0.0, 0.2])
        images.append(image(psf, xyz))
    assert len(traces) == 1
    np.testing.assert_allclose(images[-1], psf_image(psf, xyz), rtol=1e-9, atol=1e-15)  # eager


@pytest.mark.parametrize("options", [{}, {"pixel": "centre"}, {"kind": "scalar"}, {"blur_um": 0.1}])
def test_float32_in_float32_out(options):
    """No hidden promotion: single-precision numbers give a single-precision image, to 1e-5 the double one."""
    mask = make_mask(np.full((16, 16), 0.05), design_wavelength_um=0.6)
    psf = make_psf(oil_on_water(), mask=mask, zernike_um=[0, 0, 0, 0.05], image_px=15, pupil_px=32, **options)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), psf)
    image = image_of(single, jnp.array([0.01, 0.02, 0.3], jnp.float32))
    assert image.dtype == jnp.float32
    double = image_of(psf, jnp.array([0.01, 0.02, 0.3]))
    np.testing.assert_allclose(image, double, atol=1e-5 * float(double.max()))


def test_collected_fraction_closed_forms():
    """Matched: (1 - cos theta_max)/2 at any depth. Mismatched: falls with depth, to the propagating part."""
    for na in (0.6, 1.2, 1.38):
        expected = (1 - np.sqrt(1 - (na / 1.406) ** 2)) / 2
        for z in (0.0, 2.0):
            assert float(collected_fraction(make_psf(scope(na=na)), z)) == pytest.approx(expected, rel=1e-5)
    psf = make_psf(oil_on_water())
    fractions = [float(collected_fraction(psf, z)) for z in (0.0, 0.05, 0.2, 5.0)]
    assert fractions == sorted(fractions, reverse=True) and fractions[0] > 1.3 * fractions[-1]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"kind": "vector"}, "kind"),
        ({"pixel": "integral"}, "pixel"),
        ({"image_px": 0}, "image_px"),
        ({"image_px": 11.5}, "image_px"),
        ({"blur_um": -0.1}, "blur_um"),
        ({"blur_um": float("nan")}, "blur_um"),
        ({"blur_um": 100.0}, "blur_um"),
        ({"pupil_px": 2}, "pupil_px"),
        ({"ring_px": -1}, "ring_px"),
    ],
)
def test_bad_arguments_are_named(change, name):
    """Each bad argument of make_psf gives an OpticsError that names it."""
    with pytest.raises(OpticsError, match=name):
        make_psf(scope(), **change)


def test_a_wrapped_mask_is_refused_at_another_wavelength():
    """A mask known modulo 0.6 um means nothing at 0.5 um."""
    mask = make_mask(np.zeros((16, 16)), design_wavelength_um=0.6, wrapped=True)
    with pytest.raises(OpticsError, match="wavelength"):
        make_psf(scope(wavelength_um=0.5), mask=mask)


def test_default_sampling_grows_with_stamp_and_depth():
    """More phase across the pupil asks for more samples."""
    small = pupil_samples(scope(), 21, (0.0, 0.5))
    assert small < pupil_samples(scope(), 81, (0.0, 0.5)) and small < pupil_samples(scope(), 21, (0.0, 6.0))
