"""Matching against brute force, closed cases, and a million emitters."""

import time

import numpy as np
import pytest

from localization import LocalizationError, concatenate, make_localizations, match, select
from localization.scores import matching


def random_table(rng, n, side_um, depth_um, frames=1):
    xyz = rng.uniform(0, 1, (n, 3)) * [side_um, side_um, depth_um]
    return make_localizations(rng.integers(0, frames, n), *xyz.T)


def brute_force(cost):
    """Best (number of pairs, -sum of costs) of all matchings of a small table; inf is a forbidden pair."""
    if cost.shape[0] == 0:
        return (0, 0.0)
    best = brute_force(cost[1:])
    for j in np.flatnonzero(np.isfinite(cost[0])):
        pairs, negative = brute_force(np.delete(cost[1:], j, axis=1))
        best = max(best, (pairs + 1, negative - cost[0, j]))
    return best


def gate_cost(found, truth, lateral_um, axial_um, ball_um):
    lateral_sq = np.subtract.outer(found.x_um, truth.x_um) ** 2 + np.subtract.outer(found.y_um, truth.y_um) ** 2
    axial_sq = np.subtract.outer(found.z_um, truth.z_um) ** 2
    if ball_um is not None:
        cost = (lateral_sq + axial_sq) / ball_um**2
        return np.where(cost < 1, cost, np.inf)
    inside = (np.sqrt(lateral_sq) < lateral_um) & (np.sqrt(axial_sq) < axial_um)
    return np.where(inside, lateral_sq / lateral_um**2 + axial_sq / axial_um**2, np.inf)


@pytest.mark.parametrize("ball_um", [None, 0.4])
@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_pairs_first_then_distance_as_brute_force_finds(solver, ball_um, monkeypatch):
    """On crowded random sets the number of pairs is the largest possible, their cost the smallest for it."""
    if solver == "sparse":
        monkeypatch.setattr(matching, "_DENSE_CELLS_MAX", 0)
    rng = np.random.default_rng(11)
    several = 0
    for _ in range(150):
        found, truth = (random_table(rng, rng.integers(0, 8), 0.6, 1.0) for _ in range(2))
        cost = gate_cost(found, truth, 0.25, 0.5, ball_um)
        matches = match(found, truth, ball_um=ball_um)
        taken = cost[matches.found_index, matches.truth_index]
        pairs, negative = brute_force(cost)
        assert matches.found_index.size == pairs
        assert taken.sum() == pytest.approx(-negative, rel=1e-12)
        several += pairs > 2
    assert several > 30  # the sets were crowded enough to need the solver


def test_one_more_pair_beats_any_distance():
    """A chain a-B-c-D on a line: the two long pairs are kept, not the one short pair in the middle."""
    found = make_localizations([0, 0], [0.0, 0.22], [0.0, 0.0], [0.0, 0.0])
    truth = make_localizations([0, 0], [0.21, 0.43], [0.0, 0.0], [0.0, 0.0])
    matches = match(found, truth)
    assert matches.found_index.tolist() == [0, 1] and matches.truth_index.tolist() == [0, 1]


def test_frames_do_not_mix_and_are_counted():
    """Emitters at one place in different frames never pair, and every frame has its counts."""
    found = make_localizations([5, 0, 2], [1.0, 1.0, 1.0], [1.0] * 3, [0.0] * 3)
    truth = make_localizations([2, 3, 0, 0], [1.0, 1.0, 1.0, 1.1], [1.0] * 4, [0.0] * 4)
    matches = match(found, truth)
    assert matches.found_index.tolist() == [1, 2] and matches.truth_index.tolist() == [2, 0]
    assert matches.frame.tolist() == [0, 2, 3, 5]
    assert matches.n_found.tolist() == [1, 1, 0, 1]
    assert matches.n_truth.tolist() == [2, 1, 1, 0]
    assert matches.n_pairs.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("offset_um", "gates", "paired"),
    [
        ((0.25, 0.0, 0.0), {}, False),
        ((0.2499999, 0.0, 0.4999999), {}, True),
        ((0.0, 0.0, 0.5), {}, False),
        ((0.0, 0.0, -0.5), {}, False),
        ((0.125, 0.0, 0.0), {"ball_um": 0.125}, False),
        ((0.09, 0.09, 0.0), {"ball_um": 0.1}, False),
        ((0.0, 0.0625, 0.0), {"lateral_um": 0.0625, "axial_um": 0.1}, False),
        ((0.125, 0.0, 0.0), {"mode": "deepstorm3d", "ball_um": 0.125}, False),
        ((0.06, 0.06, 0.0), {"mode": "deepstorm3d"}, True),
        ((0.06, 0.06, 0.06), {"mode": "deepstorm3d"}, False),
    ],
)
def test_gates_are_strict(offset_um, gates, paired):
    """A distance equal to the gate is outside, a hair less is inside, in each of the gates."""
    found = make_localizations([0], *np.array([offset_um]).T)
    truth = make_localizations([0], [0.0], [0.0], [0.0])
    assert match(found, truth, **gates).found_index.size == int(paired)


def test_assigning_first_can_lose_a_pair_that_the_gate_keeps():
    """DeepSTORM3D's order: the assignment takes the smallest total distance, the cut then removes pairs."""
    # Distances: aA 0.095, bB 0.131, together 0.226; aB 0.215, bA 0.005, together 0.220, of which aB is cut.
    found = make_localizations([0, 0], [0.0, 0.1], [0.0, 0.0], [0.0, 0.0])
    truth = make_localizations([0, 0], [0.095, 0.195], [0.0, 0.0], [0.0, 0.09])
    kept = match(found, truth, ball_um=0.15).found_index.size
    cut = match(found, truth, ball_um=0.15, mode="deepstorm3d").found_index.size
    assert (kept, cut) == (2, 1)


@pytest.mark.parametrize("mode", ["gated", "deepstorm3d"])
def test_empty_lists_give_no_pairs(mode):
    """Found, truth or both empty: no pairs, no error, frames still counted."""
    one, none = make_localizations([4], [1.0], [1.0], [1.0]), make_localizations([], [], [], [])
    for found, truth, n_frames in ((one, none, 1), (none, one, 1), (none, none, 0)):
        matches = match(found, truth, mode=mode)
        assert matches.found_index.size == matches.truth_index.size == 0
        assert matches.frame.size == n_frames


@pytest.mark.parametrize("gates", [{"lateral_um": 0.0}, {"axial_um": -1.0}, {"ball_um": np.nan}, {"mode": "nearest"}])
def test_bad_gates_are_refused(gates):
    """A gate that is not positive and an unknown mode are errors."""
    one = make_localizations([4], [1.0], [1.0], [1.0])
    with pytest.raises(LocalizationError):
        match(one, one, **gates)


def test_sparse_and_dense_solvers_agree_on_a_crowd(monkeypatch):
    """A frame in which hundreds of emitters hang together gives the same count and cost by both solvers."""
    rng = np.random.default_rng(3)
    found, truth = (random_table(rng, 400, 3.0, 1.0) for _ in range(2))
    cost = gate_cost(found, truth, 0.25, 0.5, None)
    dense = match(found, truth)
    monkeypatch.setattr(matching, "_DENSE_CELLS_MAX", 0)
    sparse = match(found, truth)
    assert dense.found_index.size == sparse.found_index.size
    total = cost[dense.found_index, dense.truth_index].sum()
    assert cost[sparse.found_index, sparse.truth_index].sum() == pytest.approx(total, rel=1e-12)


def test_frames_matched_together_equal_frames_matched_alone():
    """Matching many frames in one call is the same as matching each by itself."""
    rng = np.random.default_rng(5)
    found, truth = (random_table(rng, 600, 2.0, 1.0, frames=20) for _ in range(2))
    together = match(found, truth)
    alone = [match(select(found, found.frame == f), select(truth, truth.frame == f)) for f in range(20)]
    assert together.n_pairs.tolist() == [int(m.n_pairs.sum()) for m in alone]
    shuffled = concatenate([select(found, rng.permutation(600))])
    assert match(shuffled, truth).n_pairs.tolist() == together.n_pairs.tolist()


@pytest.mark.parametrize("options", [{}, {"ball_um": 0.2}, {"mode": "deepstorm3d"}])
def test_without_an_axial_gate_z_is_not_looked_at(options):
    """Tables that do not know z match as the same tables with z = 0 throughout, in every mode."""
    rng = np.random.default_rng(6)
    found, truth = (random_table(rng, 300, 2.0, 30.0, frames=5) for _ in range(2))
    flat = [make_localizations(t.frame, t.x_um, t.y_um, np.zeros(300)) for t in (found, truth)]
    lateral, expected = match(found, truth, axial_um=None, **options), match(*flat, **options)
    assert lateral.found_index.size > 20
    assert lateral.found_index.tolist() == expected.found_index.tolist()
    assert lateral.truth_index.tolist() == expected.truth_index.tolist()


@pytest.mark.slow
def test_a_million_emitters_in_ten_thousand_frames_take_seconds():
    """1M found against 1M true emitters, 100 in each 12 um frame, match in under 30 s."""
    rng = np.random.default_rng(0)
    frame = np.repeat(np.arange(10_000), 100)
    xyz_um = rng.uniform(0, 1, (frame.size, 3)) * [12.0, 12.0, 4.0]
    truth = make_localizations(frame, *xyz_um.T)
    found = make_localizations(frame, *(xyz_um + rng.normal(0, 0.1, xyz_um.shape)).T)
    start = time.perf_counter()
    matches = match(found, truth)
    assert time.perf_counter() - start < 30.0
    assert matches.found_index.size > 0.9 * frame.size
