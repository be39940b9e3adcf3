"""Filters against plain masks and brute-force neighbour counts."""

from dataclasses import replace

import numpy as np
import pytest

from localization import Criteria, LocalizationError, count_neighbours, filter_localizations, make_localizations


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return make_localizations(
        rng.integers(0, 50, 500),
        *rng.uniform(0, [3, 3, 1], (500, 3)).T,
        photons=rng.exponential(1000, 500),
        sigma_x_um=np.where(np.arange(500) % 10 == 0, np.nan, rng.uniform(0.005, 0.05, 500)),
        score=rng.uniform(0, 1, 500),
    )


def test_each_criterion_is_a_mask_and_the_report_adds_up(table):
    """The kept rows are those of the masks' conjunction, the removed ones add up to the rest."""
    criteria = Criteria(
        sigma_x_um_max=0.03,
        score_min=0.2,
        photons_min=100.0,
        photons_max=3000.0,
        x_um=(0.5, 2.5),
        z_um=(0.1, 0.9),
        frames=(5, 40),
    )
    kept, report = filter_localizations(table, criteria)
    mask = (table.sigma_x_um <= 0.03) & (table.score >= 0.2) & (table.photons >= 100) & (table.photons <= 3000)
    mask &= (table.x_um >= 0.5) & (table.x_um <= 2.5) & (table.z_um >= 0.1) & (table.z_um <= 0.9)
    mask &= (table.frame >= 5) & (table.frame <= 40)
    np.testing.assert_array_equal(kept.x_um, table.x_um[mask])
    assert report.before == 500 and report.after == mask.sum() == 500 - sum(report.removed.values())
    assert report.removed["sigma_x_um_max"] == (~(table.sigma_x_um <= 0.03)).sum()


@pytest.mark.parametrize("z_radius_um", [None, 0.2])
def test_neighbours_are_those_of_brute_force(table, z_radius_um):
    """Counts of other rows within a circle or an ellipsoid, over all frames."""
    squared = np.subtract.outer(table.x_um, table.x_um) ** 2 + np.subtract.outer(table.y_um, table.y_um) ** 2
    squared = squared / 0.3**2
    if z_radius_um is not None:
        squared = squared + np.subtract.outer(table.z_um, table.z_um) ** 2 / z_radius_um**2
    expected = (squared <= 1).sum(axis=1) - 1
    np.testing.assert_array_equal(count_neighbours(table, radius_um=0.3, z_radius_um=z_radius_um), expected)


def test_density_counts_what_the_other_criteria_left(table):
    """Neighbours that the score removed do not count."""
    kept, report = filter_localizations(table, Criteria(score_min=0.5, density_radius_um=0.3, neighbours_min=5))
    left = filter_localizations(table, Criteria(score_min=0.5))[0]
    enough = count_neighbours(left, radius_um=0.3) >= 5
    np.testing.assert_array_equal(kept.x_um, left.x_um[enough])
    assert report.removed["neighbours_min"] == (~enough).sum()


def test_empty_table_and_no_criteria():
    """An empty table stays empty under every criterion; without criteria nothing is removed."""
    empty = make_localizations([], [], [], [])
    everything = Criteria(sigma_x_um_max=1.0, photons_min=1.0, density_radius_um=0.1, neighbours_max=3)
    assert filter_localizations(empty, everything)[1].after == 0
    one = make_localizations([0], [1.0], [1.0], [0.0])
    assert filter_localizations(one, Criteria())[1].removed == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x_um": (2.0, 1.0)}, r"x_um = \[2.0, 1.0\] must be \[from, to\]"),
        ({"frames": (1,)}, "frames"),
        ({"neighbours_min": 3}, "needs density_radius_um"),
        ({"density_radius_um": 0.1}, "needs density_radius_um with"),
        ({"density_radius_um": -0.1, "neighbours_min": 3}, "density_radius_um is -0.1"),
        ({"photons_min": np.nan}, "photons_min is NaN"),
        ({"sigma_x_um_max": -1.0}, "sigma_x_um_max is -1.0; give a positive length"),
    ],
)
def test_wrong_criteria_are_named(values, message):
    """A criterion that makes no sense is refused when it is made."""
    with pytest.raises(LocalizationError, match=message):
        Criteria(**values)


def test_criterion_on_an_absent_column_is_named():
    """Asking for sigmas of a table without any is a mistake, not an empty result."""
    with pytest.raises(LocalizationError, match="no sigma_z_um"):
        filter_localizations(make_localizations([0], [1.0], [1.0], [0.0]), Criteria(sigma_z_um_max=0.1))


def test_how_many_were_merged_and_uncertainties_that_are_none():
    """Bounds on `detections`; a sigma of zero, below zero or infinite passes no bound; without counts, who counts."""
    locs = make_localizations([0, 1, 2, 3], [1] * 4, [1] * 4, [0] * 4, extras={"detections": [1, 3, 9, np.nan]})
    kept, report = filter_localizations(locs, Criteria(detections_min=2, detections_max=5))
    assert kept.extras["detections"].tolist() == [3] and report.removed == {"detections_min": 2, "detections_max": 1}
    false = make_localizations([0, 1, 2, 3], [1] * 4, [1] * 4, [0] * 4, sigma_x_um=[0, -1, np.inf, 0.01])
    assert filter_localizations(false, Criteria(sigma_x_um_max=0.02))[0].frame.tolist() == [3]
    with pytest.raises(LocalizationError, match="no detections; colocus link counts them"):
        filter_localizations(false, Criteria(detections_min=2))


def test_one_species_is_kept_where_it_is_sure():
    """The rows of a channel, and of those the sure ones; a list that does not tell is refused with the remedy."""
    locs = make_localizations([0] * 4, [1.0, 2.0, 3.0, 4.0], [0.0] * 4, [0.0] * 4, channel=[0, 1, 1, 0])
    sure = replace(locs, extras={"p_channel": np.array([0.9, 0.95, 0.6, 0.5])})
    kept, report = filter_localizations(sure, Criteria(channel=1, p_channel_min=0.9))
    assert kept.x_um.tolist() == [2.0] and report.removed == {"channel": 2, "p_channel_min": 1}
    with pytest.raises(LocalizationError, match="no p_channel; colocus localize --psf a.npz b.npz tells it"):
        filter_localizations(locs, Criteria(p_channel_min=0.9))
