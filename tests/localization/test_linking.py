"""Linking of blinks against a slow, obvious greedy linker and closed forms."""

import numpy as np
import pytest

from localization import LocalizationError, MovieFacts, link_blinks, make_localizations, select


def greedy(locs, radius, z_radius, gap):
    """Chains by the rule of the docstring, pair by pair."""
    scaled = np.stack([locs.x_um / radius, locs.y_um / radius, locs.z_um / z_radius], axis=1)
    follower, leader = {}, {}
    for step in range(1, gap + 2):
        pairs = [
            (np.linalg.norm(scaled[i] - scaled[j]), i, j)
            for i in range(locs.frame.size)
            for j in range(locs.frame.size)
            if locs.frame[j] - locs.frame[i] == step and locs.channel[i] == locs.channel[j]
        ]
        for distance, i, j in sorted(pairs):
            if distance < 1 and i not in follower and j not in leader:
                follower[i], leader[j] = j, i
    chains = []
    for i in range(locs.frame.size):
        if i not in leader:
            chain = [i]
            while chain[-1] in follower:
                chain.append(follower[chain[-1]])
            chains.append(tuple(chain))
    return set(chains)


@pytest.mark.parametrize("gap", [0, 2])
def test_links_are_those_of_the_greedy_rule(gap):
    """On crowded random tables the molecules are the chains of a pair-by-pair greedy linker."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        locs = make_localizations(
            rng.integers(0, 8, 60), *rng.uniform(0, [1.5, 1.5, 0.6], (60, 3)).T, channel=rng.integers(0, 2, 60)
        )
        linked = link_blinks(locs, radius_um=0.3, z_radius_um=0.5, gap_frames=gap)
        found = {
            tuple(sorted(np.flatnonzero(linked.molecule == m), key=lambda i: locs.frame[i]))
            for m in range(linked.count.size)
        }
        assert found == greedy(locs, 0.3, 0.5, gap)


def test_merged_row_is_the_weighted_mean():
    """Position and sigma of a molecule are the weighted mean and its error, photons their sum."""
    locs = make_localizations(
        [5, 6, 8],
        [1.00, 1.02, 1.01],
        [2.0, 2.0, 2.0],
        [0.1, 0.1, 0.4],
        photons=[100.0, 300.0, 50.0],
        background=[10.0, 20.0, 30.0],
        sigma_x_um=[0.01, 0.02, 0.01],
        score=[0.5, 0.7, 0.9],
    )
    linked = link_blinks(locs, radius_um=0.1, z_radius_um=1.0, gap_frames=1)
    one = linked.locs
    weights = 1 / np.array([0.01, 0.02, 0.01]) ** 2
    assert one.x_um[0] == pytest.approx(np.average([1.0, 1.02, 1.01], weights=weights), rel=1e-12)
    assert one.sigma_x_um[0] == pytest.approx(weights.sum() ** -0.5, rel=1e-12)
    assert one.z_um[0] == pytest.approx(0.2) and np.isnan(one.sigma_z_um[0])
    assert (one.frame[0], linked.last_frame[0], linked.count[0]) == (5, 8, 3)
    assert (one.photons[0], one.background[0], one.score[0]) == pytest.approx((450.0, 20.0, 0.7))


def test_merged_spread_follows_the_square_root():
    """4000 molecules of four localizations each: the merged scatter is half the single one."""
    rng = np.random.default_rng(0)
    place = np.stack([np.arange(4000) % 80, np.arange(4000) // 80, np.zeros(4000)], axis=1) * 1.0
    seen = np.repeat(place, 4, axis=0) + rng.normal(0, 0.01, (16_000, 3))
    locs = make_localizations(np.tile([0, 1, 2, 3], 4000), *seen.T, sigma_x_um=0.01)
    linked = link_blinks(locs, radius_um=0.2)
    assert (linked.count == 4).all() and linked.count.size == 4000
    assert (linked.locs.x_um - np.round(linked.locs.x_um)).std() == pytest.approx(0.005, rel=0.05)
    np.testing.assert_allclose(linked.locs.sigma_x_um, 0.005)


def test_row_order_does_not_change_the_molecules():
    """A shuffled table gives the same merged positions."""
    rng = np.random.default_rng(4)
    locs = make_localizations(rng.integers(0, 30, 400), *rng.uniform(0, [2, 2, 0.3], (400, 3)).T)
    one = link_blinks(locs, radius_um=0.15, gap_frames=1).locs
    other = link_blinks(select(locs, rng.permutation(400)), radius_um=0.15, gap_frames=1).locs
    np.testing.assert_allclose(np.sort(one.x_um), np.sort(other.x_um), atol=1e-12)


def test_empty_table_links_to_an_empty_one():
    """No rows in, no molecules out."""
    linked = link_blinks(make_localizations([], [], [], []), radius_um=0.1)
    assert linked.locs.frame.size == linked.molecule.size == linked.count.size == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius_um": 0.0}, "radius_um is 0.0"),
        ({"radius_um": np.nan}, "radius_um is nan"),
        ({"radius_um": 50.0}, "if that is nm, divide by 1000"),
        ({"radius_um": 0.1, "z_radius_um": -1.0}, "z_radius_um is -1.0"),
        ({"radius_um": 0.1, "gap_frames": -1}, "gap_frames is -1"),
        ({"radius_um": 0.1, "gap_frames": 1.5}, "gap_frames is 1.5"),
    ],
)
def test_wrong_options_are_named(options, message):
    """A radius or gap that makes no sense is refused by name."""
    with pytest.raises(LocalizationError, match=message):
        link_blinks(make_localizations([0], [0.0], [0.0], [0.0]), **options)


@pytest.mark.parametrize("false", [np.inf, 0.0, -0.01, np.nan])
def test_an_uncertainty_that_is_none_counts_as_unknown(false):
    """Where one of a molecule's sigmas is infinite, zero or negative: the plain mean, its sigma unknown."""
    locs = make_localizations([0, 1, 0, 1], [1.0, 1.02, 4.0, 4.02], [2, 2, 2, 2], [0, 0, 0, 0],
                              sigma_x_um=[false, 0.01, 0.01, 0.01], sigma_y_um=false)  # fmt: skip
    linked = link_blinks(locs, radius_um=0.1).locs
    np.testing.assert_allclose(linked.x_um, [1.01, 4.01])
    np.testing.assert_allclose(linked.sigma_x_um, [np.nan, 0.01 / np.sqrt(2)])
    np.testing.assert_array_equal(linked.y_um, [2, 2])
    assert np.isnan(linked.sigma_y_um).all()


def test_a_tiny_uncertainty_keeps_its_position():
    """A sigma whose square is no number any more still weighs: the row with it decides."""
    locs = make_localizations([0, 1], [1.0, 1.02], [2, 2], [0, 0], sigma_x_um=[1e-200, 0.01])
    linked = link_blinks(locs, radius_um=0.1).locs
    assert (linked.x_um[0], linked.sigma_x_um[0]) == pytest.approx((1.0, 1e-200))


def test_merged_rows_are_counted_and_counts_add_up():
    """`detections` counts rows, and sums over rows that count already: linked twice or at once is the same."""
    locs = make_localizations([0, 1, 4, 5, 9], [1.0, 1.01, 1.0, 1.01, 3.0], [1] * 5, [0] * 5)
    once = link_blinks(locs, radius_um=0.05)
    assert once.locs.extras["detections"].tolist() == [2, 2, 1]
    twice = link_blinks(once.locs, radius_um=0.05, gap_frames=3)
    assert twice.locs.extras["detections"].tolist() == [4, 1]
    partly = make_localizations([0, 1], [1, 1], [1, 1], [0, 0], extras={"detections": [np.nan, 5]})
    assert link_blinks(partly, radius_um=0.05).locs.extras["detections"].tolist() == [6]


def test_extra_columns_of_merged_rows():
    """Widths are means, likelihoods sums, a group stays where all agree; what has no meaning is named."""
    extras = {"width_x_um": [0.1, 0.2, 0.3], "log_likelihood": [-5, -6, -7], "group": [4, 4, 9], "p_value": [1, 2, 3]}
    locs = make_localizations([0, 1, 2], [1, 1, 1], [1, 1, 1], [0, 0, 0], extras=extras, movie=MovieFacts(0.1))
    linked = link_blinks(locs, radius_um=0.05)
    assert linked.left_out == ("p_value",) and linked.locs.movie.pixel_um == 0.1
    merged = {name: float(column[0]) for name, column in linked.locs.extras.items()}
    assert merged == pytest.approx(dict(detections=3, width_x_um=0.2, log_likelihood=-18, group=np.nan), nan_ok=True)
    same = link_blinks(select(locs, [0, 1]), radius_um=0.05).locs.extras["group"]
    assert same.tolist() == [4]
