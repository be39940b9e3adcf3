"""The table type and its functions."""

import dataclasses

import numpy as np
import pytest

from localization import LocalizationError, concatenate, make_localizations, select, to_frame


def table():
    return make_localizations([0, 1, 1], [1.0, 2.0, 3.0], [0.1, 0.2, 0.3], [0.0, 0.5, 1.0], photons=[10, 20, 30])


def test_unknown_columns_are_nan_and_channel_and_score_have_defaults():
    """Columns that nobody gave hold NaN, channel 0, score 1."""
    locs = table()
    assert np.isnan([locs.background, locs.sigma_x_um, locs.sigma_y_um, locs.sigma_z_um]).all()
    assert (locs.channel == 0).all() and (locs.score == 1.0).all()
    assert locs.frame.dtype == np.int64 and locs.channel.dtype == np.int64


def test_table_cannot_be_changed_and_is_a_copy():
    """Neither the fields nor the columns can be written, and the caller's arrays stay the caller's."""
    x_um = np.array([1.0])
    locs = make_localizations([0], x_um, [0.0], [0.0])
    x_um[0] = 7.0
    assert locs.x_um[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        locs.x_um[0] = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        locs.x_um = x_um  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_um": [1.0]}, "x_um has shape"),
        ({"photons": [1.0, 2.0]}, "photons has shape"),
        ({"z_um": [0.0, np.nan, 0.0]}, "z_um of row 1 is nan"),
        ({"y_um": [0.0, 0.0, np.inf]}, "y_um of row 2 is inf"),
        ({"frame": [0, 1.5, 2]}, "frame of row 1 is 1.5"),
        ({"frame": [0, -1, 2]}, "frame of row 1 is -1"),
        ({"channel": [0, 0, -2]}, "channel of row 2 is -2"),
        ({"x_um": ["a", "b", "c"]}, "x_um is not numeric"),
        ({"x_um": 1.0}, "x_um has shape"),
    ],
)
def test_bad_columns_are_named(change, words):
    """A wrong length, a position that is not finite and a frame that is not whole name column and row."""
    good = {"frame": [0, 1, 2], "x_um": [1.0] * 3, "y_um": [1.0] * 3, "z_um": [0.0] * 3}
    with pytest.raises(LocalizationError, match=words) as caught:
        make_localizations(**good | change)
    assert "\n" not in str(caught.value)


def test_select_and_concatenate_are_inverse():
    """Cutting a table by a mask and its complement and stacking the parts gives the sorted table back."""
    locs = table()
    parts = concatenate([select(locs, locs.frame == 0), select(locs, locs.frame != 0)])
    for name, column in to_frame(locs).items():
        np.testing.assert_array_equal(getattr(parts, str(name)), column)
    assert select(locs, [2, 0]).photons.tolist() == [30.0, 10.0]
    assert select(locs, []).frame.size == 0 and concatenate([]).frame.size == 0
    with pytest.raises(LocalizationError, match="mask has shape"):
        select(locs, np.array([True, False]))
