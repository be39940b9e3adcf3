"""Rows far from all others: found where they are, never where a list is merely wide, long or in parts."""

from typing import Any

import numpy as np
import pytest

from localization import Criteria, concatenate, filter_localizations, make_localizations
from localization.extent import far_rows, without_far_rows


def cell(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    return make_localizations(rng.integers(0, 5000, n), *rng.uniform(0, [20, 20, 1], (n, 3)).T)


@pytest.mark.parametrize(
    ("column", "value"), [("x_um", 5000.0), ("y_um", -3000.0), ("z_um", 1e4), ("z_um", 20.0), ("frame", 10**9)]
)
def test_one_far_row_is_named_and_its_remedy_drops_it_alone(column, value):
    """The row's number and value are said, and the bounds of the command keep every other row."""
    good = cell()
    row = {"frame": 7, "x_um": 3.0, "y_um": 3.0, "z_um": 0.5} | {column: value}
    locs = concatenate([good, make_localizations(*([v] for v in row.values()))])
    far = far_rows(locs)
    assert far.row.tolist() == [2000] and set(far.within) == {column}
    assert "row 2001 (" in far.named and f"{column.split('_')[0]} = {value:g}" in far.named
    name = "frames" if column == "frame" else column
    bounds: dict[str, Any] = {name: far.within[column]}
    kept, _ = filter_localizations(locs, Criteria(**bounds))
    np.testing.assert_array_equal(kept.x_um, good.x_um)
    assert f"{name}=[" in far.remedy and far.hint() and far.note("so")
    assert without_far_rows(locs)[0].frame.size == 2000


def test_several_far_rows_are_named_in_part():
    """Of ten failed fits three are named and all are counted."""
    lost = make_localizations([1] * 10, np.linspace(1e3, 1e4, 10), [1.0] * 10, [0.0] * 10)
    far = far_rows(concatenate([cell(), lost]))
    assert far.row.tolist() == list(range(2000, 2010)) and far.named.startswith("10 rows, such as row 2001 (")


@pytest.mark.parametrize(
    "locs",
    [
        make_localizations([], [], [], []),
        make_localizations([0, 1], [0.0, 200.0], [0.0, 200.0], [0.0, 0.0]),
        concatenate([cell(), make_localizations(np.arange(100), np.full(100, 900.0), np.zeros(100), np.zeros(100))]),
        make_localizations(np.sort(np.random.default_rng(0).exponential(3000, 5000).astype(int)), *np.zeros((3, 5000))),
        make_localizations(np.zeros(500), *np.random.default_rng(0).normal(0, 5, (3, 500))),
        make_localizations(np.zeros(500), np.zeros(500), np.zeros(500), np.where(np.arange(500) == 9, 0.8, 0.0)),
    ],
    ids=["empty", "two rows", "a second tile", "bleaching", "gaussian", "nearly flat"],
)
def test_what_is_wide_or_in_parts_has_no_far_rows(locs):
    """Sparse, tiled, thinning out or flat lists are taken whole, and the same object comes back."""
    assert far_rows(locs).row.size == 0 and far_rows(locs).hint() == "" and far_rows(locs).note("so") == ()
    assert without_far_rows(locs)[0] is locs
