"""Peaks of density images: position, mass and ties, and images that are none."""

import numpy as np
import pytest

from localization import LocalizationError, image_peaks


def blob(shape, x, y, mass, sigma=1.2):
    """A Gaussian of some emitters, sampled at fine pixels; x and y in fine pixels from the outer corner."""
    j, i = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    image = np.exp(-((j[None] - x) ** 2 + (i[:, None] - y) ** 2) / (2 * sigma**2))
    return mass * image / image.sum()


def test_blobs_are_found_where_they_are():
    """Two emitters in one frame, one in the next, at 8 fine pixels of 12.5 nm: to a tenth of a fine pixel."""
    shape = (40, 56)
    images = np.stack(
        [blob(shape, 12.3, 20.7, 1.0) + blob(shape, 44.5, 9.1, 0.8), np.zeros(shape), blob(shape, 30, 30, 1)]
    )
    locs = image_peaks(images, pixel_um=0.1, upsampling=8, first_frame=5, z_um=0.3)
    order = np.lexsort((locs.x_um, locs.frame))
    np.testing.assert_array_equal(locs.frame[order], [5, 5, 7])
    np.testing.assert_allclose(locs.x_um[order] / 0.0125, [12.3, 44.5, 30], atol=0.1)
    np.testing.assert_allclose(locs.y_um[order] / 0.0125, [20.7, 9.1, 30], atol=0.1)
    np.testing.assert_allclose(locs.score[order], [1.0, 0.8, 1.0], rtol=0.03)
    assert (locs.z_um == 0.3).all()


def test_of_equal_fine_pixels_one_is_the_peak():
    """An emitter on the border of two, or the corner of four, comes out once and in between."""
    image = np.zeros((20, 20))
    image[4:6, 4:6] = 0.25
    image[14, 14:16] = 0.5
    locs = image_peaks(image, pixel_um=0.1, upsampling=4)
    np.testing.assert_allclose(np.sort(locs.x_um), [5 * 0.025, 15 * 0.025])
    np.testing.assert_allclose(np.sort(locs.y_um), [5 * 0.025, 14.5 * 0.025])


def test_what_stands_for_less_than_the_threshold_is_left_out():
    """Half an emitter at the border of the image counts with what is inside."""
    image = blob((24, 24), 0.0, 12.0, 0.45)
    assert image_peaks(image, pixel_um=0.1, upsampling=4, threshold=0.5).x_um.size == 0
    assert image_peaks(image, pixel_um=0.1, upsampling=4, threshold=0.3).x_um.size == 1
    assert image_peaks(np.zeros((0, 8, 8)), pixel_um=0.1, upsampling=4).x_um.size == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density": np.zeros(4)}, "shape"),
        ({"density": np.full((4, 4), -1.0)}, "negative"),
        ({"density": np.full((4, 4), np.nan)}, "NaN"),
        ({"pixel_um": 0.0}, "pixel_um is 0"),
        ({"threshold": 0.0}, "threshold is 0"),
        ({"radius": 0}, "radius 0"),
    ],
)
def test_images_and_sizes_that_cannot_be_right_are_refused(change, message):
    """One line that names what is wrong."""
    arguments = {"density": np.zeros((4, 4)), "pixel_um": 0.1, "upsampling": 8} | change
    with pytest.raises(LocalizationError, match=message):
        image_peaks(**arguments)
