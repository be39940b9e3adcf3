"""PSNR, NRMSE and MS-SSIM: closed forms, scikit-image as an independent implementation, and what is refused."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from localization import LocalizationError, compare_pictures
from localization.pictures.likeness import ms_ssim, resampled, scores


def spots(shape=(200, 220), seed=0, share=0.01):
    """Spots at random, and a dark border, so that a shift by Fourier transform has no edge to ring at."""
    points = np.random.default_rng(seed).random(shape) < share
    points[:15] = points[-15:] = points[:, :15] = points[:, -15:] = False
    return ndimage.gaussian_filter(points.astype(float), 2.0)


def test_known_noise_has_the_known_psnr_and_nrmse():
    """White noise of standard deviation s on values between 0 and 1: PSNR -20 log10 s, NRMSE s over the rms of the
    truth, within what 40,000 draws leave (1 / sqrt(2 N), four times)."""
    draw = np.random.default_rng(0)
    truth, sigma = draw.random((200, 200)), 0.05
    found = scores(truth + draw.normal(0, sigma, truth.shape), truth)
    assert found.psnr_db == pytest.approx(-20 * np.log10(sigma), abs=4 * 20 / np.log(10) / np.sqrt(2 * truth.size))
    assert found.nrmse == pytest.approx(sigma / np.sqrt(np.mean(truth**2)), rel=4 / np.sqrt(2 * truth.size))


def test_one_scale_is_scikit_images_structural_similarity():
    """On pictures so small that one scale fits, MS-SSIM is SSIM: scikit-image's, with the same Gaussian window, over
    the windows that lie inside."""
    draw = np.random.default_rng(1)
    a = draw.random((21, 21))
    b = np.clip(a + draw.normal(0, 0.2, a.shape), 0, 1)
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
    assert ms_ssim(a, b) == pytest.approx(structural_similarity(a, b, **options), rel=1e-9)


def test_brightness_alone_counts_at_the_coarsest_scale():
    """Two even pictures of values p and q have no structure: only (2 p q + c) / (p^2 + q^2 + c), to the last weight."""
    p, q, c = 0.2, 0.6, 1e-4
    expected = ((2 * p * q + c) / (p**2 + q**2 + c)) ** 0.1333
    assert ms_ssim(np.full((180, 180), p), np.full((180, 180), q)) == pytest.approx(expected, rel=1e-9)


def test_the_same_picture_is_the_same():
    found, _, _ = compare_pictures(spots(), spots())
    assert (found.psnr_db, found.nrmse, found.ms_ssim) == (np.inf, 0.0, pytest.approx(1.0, abs=1e-12))
    assert found.shift_px == (0.0, 0.0)


def test_brightness_and_place_do_not_count_but_structure_does():
    """Another scale, an offset and a shift by part of a pixel are taken out; another structure is not."""
    image = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(spots(seed=3)), (1.3, -2.6))).real
    same, _, _ = compare_pictures(7 * image + 40, spots(seed=3))
    assert same.shift_px == pytest.approx((2.6, -1.3), abs=0.1)  # steps of 0.05, and borders that differ
    assert same.psnr_db > 35 and same.ms_ssim > 0.99
    other, _, _ = compare_pictures(spots(seed=4), spots(seed=3), register=False)
    assert other.psnr_db < 20 and other.ms_ssim < 0.7


def test_a_picture_with_few_lit_pixels_is_still_compared():
    """Its 99th percentile is 0: what few pixels are lit decide, and it is said."""
    image = np.zeros((200, 200))
    image[::40, ::40] = 5.0
    found, one, _ = compare_pictures(image, image)
    assert found.nrmse == 0 and one.max() > 0 and "few pixels are lit" in found.notes[0]


def test_resampling_keeps_sums_and_places():
    """Areas shared: the sum stays, and so does the centre of mass, in one unit, whatever the pixels."""
    image = np.zeros((40, 60))
    image[10:30, 20:40] = np.random.default_rng(0).random((20, 20))
    for onto, shape in ((2.5, (16, 24)), (0.7, (58, 86)), (1.0, (40, 60))):
        new = resampled(image, 1.0, (0.0, 0.0), shape, onto)
        assert new.sum() == pytest.approx(image.sum())
        for axis in (0, 1):
            middle, was = (
                ((np.arange(p.shape[axis]) + 0.5) * side * p.sum(axis=1 - axis)).sum() / p.sum()
                for p, side in ((new, onto), (image, 1.0))
            )
            assert middle == pytest.approx(was, abs=onto / 10)


@pytest.mark.parametrize(
    "picture, message",
    [
        (np.zeros((200, 220)), "0 throughout"),
        (np.zeros((200, 200)), "the picture has shape (200, 200), the truth (200, 220)"),
        (np.full((200, 220), np.nan), "the picture holds 44000 NaN"),
        (np.roll(spots(), 50, axis=1), "more than a tenth of the field"),
    ],
)
def test_what_is_refused(picture, message):
    with pytest.raises(LocalizationError) as error:
        compare_pictures(picture, spots())
    assert message in str(error.value)
