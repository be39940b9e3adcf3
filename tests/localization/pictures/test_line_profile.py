"""Line profiles against counts by hand, widths against the Gaussians they were drawn from."""

import numpy as np
import pytest

from localization import LocalizationError, line_profile, make_localizations, profile_width

FWHM = 2 * np.sqrt(2 * np.log(2))


def points(xy):
    xy = np.asarray(xy, np.float64)
    return make_localizations(np.zeros(len(xy)), xy[:, 0], xy[:, 1], np.zeros(len(xy)))


def wires(places_um, sigma_um, n, seed, background=0):
    """Rows spread by a Gaussian around lines x = place, 2 um long, on an even background."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(place, sigma_um, n) for place in places_um] + [rng.uniform(0, 0.5, background)])
    return points(np.column_stack([x, rng.uniform(0, 2, x.size)]))


def test_counts_along_a_slanted_line():
    """Position along a 3-4-5 line, rows further aside than half the width or beyond its ends left out."""
    along, aside = np.array([0.6, 0.8]), np.array([-0.8, 0.6])
    locs = points([0.1 * along, 0.26 * along + 0.04 * aside, 0.3 * along - 0.06 * aside, -0.01 * along, 0.5 * along])
    profile = line_profile(locs, (0.0, 0.0), (0.3, 0.4), 0.1, bin_um=0.1)
    assert profile.count.tolist() == [0, 1, 1, 0, 0] or profile.count.tolist() == [1, 0, 1, 0, 0]
    assert profile.n_rows == 2 and profile.position_um == pytest.approx([0.05, 0.15, 0.25, 0.35, 0.45])


@pytest.mark.parametrize("bin_um", [0.004, 0.02])
def test_width_of_one_wire(bin_um):
    """The width is that of the Gaussian also with coarse bins, and its error is that of repeated draws."""
    found = []
    for seed in range(20):
        profile = line_profile(wires([0.2], 0.015, 800, seed, 300), (0, 1), (0.45, 1), 1.0, bin_um=bin_um)
        found.append(profile_width(profile))
    widths = np.array([fit.fwhm_um for fit in found])
    assert widths.mean() == pytest.approx(FWHM * 0.015, rel=0.02)
    assert widths.std() == pytest.approx(np.mean([fit.fwhm_error_um for fit in found]), rel=0.5)
    assert found[0].centre_um == pytest.approx([0.2], abs=5 * found[0].centre_error_um[0])
    assert found[0].background_per_um == pytest.approx(300 / 0.5 / 2, rel=0.3)
    assert np.isnan(found[0].separation_um)
    assert found[0].fitted.sum() == pytest.approx(profile.n_rows, rel=0.1)


def test_separation_of_two_wires():
    """Two wires 60 nm apart, 12 nm wide each: separation and width within four standard errors."""
    profile = line_profile(wires([0.17, 0.23], 0.012, 1500, 3), (0, 1), (0.4, 1), 2.0, bin_um=0.004)
    fit = profile_width(profile, model="double")
    assert fit.separation_um == pytest.approx(0.06, abs=4 * fit.separation_error_um)
    assert fit.fwhm_um == pytest.approx(FWHM * 0.012, abs=4 * fit.fwhm_error_um)
    assert fit.centre_um == pytest.approx([0.17, 0.23], abs=0.003) and fit.separation_error_um < 0.002


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda locs: line_profile(locs, (0, 0), (0, 0), 0.1), "length is 0.0 um"),
        (lambda locs: line_profile(locs, (0, 0), (1, 0), 0.0), "width_um is 0.0"),
        (lambda locs: line_profile(locs, (0, np.nan), (1, 0), 0.1), "give .x, y. in um"),
        (lambda locs: line_profile(locs, (0, 0), (1, 0), 0.1, bin_um=1e-9), "more than 100000 bins"),
        (lambda locs: profile_width(line_profile(locs, (0, 5), (1, 5), 0.1)), "0 rows along the line; need 20"),
        (lambda locs: profile_width(line_profile(locs, (0, 1), (0.5, 1), 2.0, bin_um=0.2)), "3 bins for 4 numbers"),
        (lambda locs: profile_width(line_profile(locs, (0, 1), (0.5, 1), 2.0), model="three"), "unknown model"),
        (lambda locs: profile_width(line_profile(locs, (0.22, 1), (0.4, 1), 2.0)), "no peak with a width"),
    ],
)
def test_lines_without_a_width_are_refused(call, message):
    """One line that names the field, or says what to do."""
    with pytest.raises(LocalizationError, match=message):
        call(wires([0.2], 0.015, 800, 0))
