"""Pictures of tables against numpy's histogram and the exact sum of Gaussian integrals."""

import numpy as np
import pytest
from scipy.special import ndtr

from localization import LocalizationError, image_shape, make_localizations, table_region_um, to_image

NONE = make_localizations([], [], [], [])
REGION = ((-0.3, 0.7), (0.2, 0.93))


def cloud(n=200, sigma_um=(0.004, 0.02), seed=0):
    rng = np.random.default_rng(seed)
    x, y, z = rng.uniform(-0.5, 1.0, (3, n))
    sx, sy = rng.uniform(*sigma_um, (2, n))
    return make_localizations(np.zeros(n), x, y, z, sigma_x_um=sx, sigma_y_um=sy)


def exact(locs, pixel_um, region_um, weights=None):
    """Every row's integral over every pixel, as a dense product."""
    height, width = image_shape(pixel_um, region_um)
    weights = np.ones(locs.frame.size) if weights is None else weights
    (x0, _), (y0, _) = region_um
    edges_x, edges_y = x0 + pixel_um * np.arange(width + 1), y0 + pixel_um * np.arange(height + 1)
    along = np.diff(ndtr((edges_x - locs.x_um[:, None]) / locs.sigma_x_um[:, None]), axis=1)
    down = np.diff(ndtr((edges_y - locs.y_um[:, None]) / locs.sigma_y_um[:, None]), axis=1)
    return (down * weights[:, None]).T @ along


def test_histogram_is_numpys():
    """Counts and weighted sums per pixel equal numpy.histogram2d's, rows outside the region left out."""
    locs = cloud(5000)
    height, width = image_shape(0.01, REGION)
    ends = [[REGION[1][0], REGION[1][0] + 0.01 * height], [REGION[0][0], REGION[0][0] + 0.01 * width]]
    for weights in (None, np.random.default_rng(1).random(5000)):
        expected, _, _ = np.histogram2d(locs.y_um, locs.x_um, bins=(height, width), range=ends, weights=weights)
        image = to_image(locs, 0.01, region_um=REGION, weights=weights)
        assert image.dtype == np.float32 and image == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sigma_um", [(0.0004, 0.004), (0.01, 0.039), (0.03, 0.2)])
def test_gaussians_are_the_exact_sum(sigma_um):
    """Narrow, middling and wide Gaussians, also across the border: within 0.1 % of the largest pixel."""
    locs = cloud(60, sigma_um)
    weights = np.random.default_rng(2).random(60)
    expected = exact(locs, 0.01, REGION, weights)
    image = to_image(locs, 0.01, mode="gaussian", region_um=REGION, weights=weights)
    assert np.abs(image - expected).max() < 1e-3 * expected.max()


def test_a_region_is_a_cut_out_of_the_whole_picture():
    """Pixels of a region equal those of the whole picture, up to its border."""
    locs = cloud(300)
    whole = to_image(locs, 0.01, mode="gaussian", region_um=((-0.6, 1.1), (-0.6, 1.1)))
    part = to_image(locs, 0.01, mode="gaussian", region_um=((-0.1, 0.3), (0.2, 0.5)))
    assert part == pytest.approx(whole[80:110, 50:90], abs=1e-4 * float(whole.max()))


def test_a_picture_sums_to_the_number_of_rows():
    """With room around them, every row adds exactly 1, whatever its sigma; the z range leaves rows out."""
    locs = cloud(500, (0.0, 0.03))
    for mode in ("histogram", "gaussian"):
        region = table_region_um(locs, 0.01, margin_um=0.2)
        assert to_image(locs, 0.01, mode=mode, region_um=region).sum() == pytest.approx(500, rel=1e-5)
        part = to_image(locs, 0.01, mode=mode, region_um=region, z_range_um=(0.0, 0.5))
        assert part.sum() == pytest.approx(((locs.z_um >= 0) & (locs.z_um < 0.5)).sum(), rel=1e-5)


def test_one_sigma_for_all_and_a_smallest_one():
    """`sigma_um` replaces the table's, `min_sigma_um` is a floor."""
    bare = make_localizations([0], [0.505], [0.505], [0.0])
    region = ((0.0, 1.0), (0.0, 1.0))
    drawn = to_image(bare, 0.01, mode="gaussian", region_um=region, sigma_um=0.03)
    given = make_localizations([0], [0.505], [0.505], [0.0], sigma_x_um=0.001, sigma_y_um=0.03)
    floored = to_image(given, 0.01, mode="gaussian", region_um=region, min_sigma_um=0.03)
    assert np.array_equal(drawn, floored)
    assert drawn[50, 50] == pytest.approx((2 * ndtr(1 / 6) - 1) ** 2, rel=1e-3)


def test_default_regions_hold_every_row():
    """The bounding box falls on whole pixels from 0 and holds every row, also negative ones and one alone."""
    for locs in (cloud(50), make_localizations([0], [-0.01], [0.02], [0.0])):
        assert to_image(locs, 0.01).sum() == locs.frame.size
    assert to_image(NONE, 0.1).tolist() == [[0.0]]
    assert to_image(NONE, 0.1, mode="gaussian", region_um=REGION).shape == (8, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixel_um": 0.0}, "pixel_um is 0"),
        ({"mode": "blob"}, "unknown mode 'blob'"),
        ({"region_um": ((0.0, 0.0), (0.0, 1.0))}, "spans 0.0 to 0.0 um in x"),
        ({"region_um": ((0.0, 1e4), (0.0, 1e4))}, "1000000 x 1000000 pixels of 10 nm are more than"),
        ({"z_range_um": (1.0, 0.0)}, "z_range_um is 1.0 to 0.0"),
        ({"mode": "gaussian", "sigma_um": -1.0}, "sigma_um is -1"),
        ({"mode": "gaussian", "min_sigma_um": np.nan}, "min_sigma_um is nan"),
        ({"mode": "gaussian"}, "1 of 2 rows have no uncertainty in x and y; give sigma_um"),
        ({"weights": [1.0]}, "weights have shape"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    """One line that names the field, before memory is asked for."""
    locs = make_localizations([0, 0], [0.1, 0.2], [0.1, 0.2], [0.0, 0.1], sigma_x_um=[0.01, np.nan], sigma_y_um=0.01)
    with pytest.raises(LocalizationError, match=message):
        to_image(locs, **{"pixel_um": 0.01} | options)
