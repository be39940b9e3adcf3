"""Calibration of predicted sigmas against errors of known spread; sub-pixel positions against scipy's test."""

import numpy as np
import pytest
import scipy.stats

from localization import (
    LocalizationError,
    calibrate_uncertainty,
    make_localizations,
    rescale_sigma,
    select,
    subpixel_uniformity,
)

NONE = make_localizations([], [], [], [])


def lists(factors=(1.0, 1.3, 0.8), n=20_000, outliers=0.0, seed=0):
    """One emitter per frame, sigmas of 5 to 30 nm, errors `factors` times as large; a share of them far off."""
    rng = np.random.default_rng(seed)
    sigma_um = rng.uniform(0.005, 0.03, (3, n))
    error_um = rng.normal(0, 1, (3, n)) * sigma_um * np.asarray(factors)[:, None]
    error_um[:, rng.random(n) < outliers] *= 5
    frame, place = np.arange(n), np.full(n, 1.0)
    sx, sy, sz = sigma_um
    found = make_localizations(frame, *(1.0 + error_um), sigma_x_um=sx, sigma_y_um=sy, sigma_z_um=sz)
    return found, make_localizations(frame, place, place, place)


def test_ratios_are_those_that_the_errors_were_drawn_with():
    """Robust and rms ratio per axis within three standard errors, and those are as scattered tables say."""
    calibration = calibrate_uncertainty(*lists())
    for name, factor in zip("xyz", (1.0, 1.3, 0.8), strict=True):
        axis = getattr(calibration, name)
        assert axis.ratio == pytest.approx(factor, abs=3 * axis.ratio_error)
        assert axis.ratio_rms == pytest.approx(factor, abs=3 * factor / np.sqrt(2 * axis.n))
        assert axis.bias_in_sigma == pytest.approx(0, abs=0.03)
        assert axis.bin_error_um / axis.bin_sigma_um == pytest.approx(np.full(8, factor), rel=0.08)
        assert axis.histogram.sum() == axis.n == axis.bin_n.sum() == 20_000
    scattered = [calibrate_uncertainty(*lists(n=400, seed=seed)).x for seed in range(60)]
    spread = np.std([axis.ratio for axis in scattered])
    assert spread == pytest.approx(np.mean([axis.ratio_error for axis in scattered]), rel=0.3)


def test_reliability_is_the_gaussian_share_of_scaled_errors():
    """Errors 1.3 times too large: the share inside the p interval is 2 Phi(q / 1.3) - 1."""
    axis = calibrate_uncertainty(*lists()).y
    reach = scipy.stats.norm.ppf((1 + axis.probability) / 2)
    expected = 2 * scipy.stats.norm.cdf(reach / 1.3) - 1
    assert axis.fraction == pytest.approx(expected, abs=0.015)
    assert axis.reliability_error == pytest.approx(np.max(np.abs(expected - axis.probability)), abs=0.015)


def test_outliers_move_the_rms_and_not_the_robust_ratio():
    """Five percent of errors five times as large double the mean square, and leave the robust ratio within 8 %."""
    axis = calibrate_uncertainty(*lists((1.0, 1.0, 1.0), outliers=0.05)).x
    assert axis.ratio_rms > 1.3 and axis.ratio == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize("by", ["ratio", "ratio_rms"])
def test_a_rescaled_table_is_calibrated(by):
    """After `rescale_sigma` every ratio of that kind is 1."""
    found, truth = lists()
    mended = rescale_sigma(found, calibrate_uncertainty(found, truth), by=by)
    again = calibrate_uncertainty(mended, truth)
    assert [getattr(getattr(again, name), by) for name in "xyz"] == pytest.approx([1.0, 1.0, 1.0])


def test_rows_without_sigma_and_lateral_tables():
    """Rows with no sigma, or 0, are left out; without z its axis is empty, and nothing is made up for it."""
    found, truth = lists(n=100)
    sigma = np.where(np.arange(100) < 60, found.sigma_x_um, np.where(np.arange(100) < 80, np.nan, 0.0))
    partly = make_localizations(found.frame, found.x_um, found.y_um, found.z_um, sigma_x_um=sigma, sigma_y_um=sigma)
    calibration = calibrate_uncertainty(partly, truth, axial_um=None)
    assert (calibration.n_pairs, calibration.x.n, calibration.z.n) == (100, 60, 0)
    assert np.isnan(calibration.z.ratio) and np.isnan(calibration.z.fraction).all()
    assert np.isnan(rescale_sigma(partly, calibration).sigma_z_um).all()
    with pytest.raises(LocalizationError, match="no pair with a sigma in z"):
        rescale_sigma(found, calibration)
    for pair in ((NONE, truth), (found, NONE), (NONE, NONE)):
        assert calibrate_uncertainty(*pair).x.n == 0
    one = calibrate_uncertainty(select(found, [0]), truth)
    assert one.x.n == 1 and one.x.bin_n.tolist() == [1]


def test_subpixel_distance_is_that_of_scipy():
    """The Kolmogorov-Smirnov distance of even and of centred positions, as scipy computes it; even ones pass."""
    rng = np.random.default_rng(0)
    even, drawn_in = rng.uniform(0, 8, 3000), 0.1 * (np.floor(rng.uniform(0, 80, 3000)) + rng.normal(0.5, 0.1, 3000))
    result = subpixel_uniformity(make_localizations(np.zeros(3000), even, drawn_in, even), 0.1)
    for distance, column in ((result.x, even), (result.y, drawn_in)):
        assert distance == pytest.approx(scipy.stats.kstest((column / 0.1) % 1, "uniform").statistic, abs=1e-12)
    assert result.x < result.by_chance < result.y
    critical = scipy.stats.kstwo.ppf(0.95, 3000)
    assert result.by_chance == pytest.approx(critical, rel=0.01)
    assert np.isnan(subpixel_uniformity(NONE, 0.1).x)
    with pytest.raises(LocalizationError, match="pixel_um is 0"):
        subpixel_uniformity(NONE, 0.0)
