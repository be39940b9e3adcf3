"""Stamps out of frames: the right pixels, the way back, the frame's edge."""

import numpy as np
import pytest

from optics.fits.stamps import cut_stamps, to_frame_um
from optics.types import OpticsError, make_camera

FRAMES = np.arange(2 * 12 * 15).reshape(2, 12, 15)


def test_stamp_holds_the_pixels_around_its_centre():
    """Odd and even sizes, against slices written by hand."""
    odd = cut_stamps(FRAMES, [1, 0], [5, 6], [7, 8], 5)
    np.testing.assert_array_equal(odd.images[0], FRAMES[1, 3:8, 5:10])
    np.testing.assert_array_equal(odd.images[1], FRAMES[0, 4:9, 6:11])
    even = cut_stamps(FRAMES, [0], [6.1], [7.9], 4)
    np.testing.assert_array_equal(even.images[0], FRAMES[0, 4:8, 6:10])
    assert odd.valid.all() and odd.images.dtype == FRAMES.dtype


def test_positions_go_back_into_the_frame():
    """The centre of pixel (row 5, column 7) is at ((7 + 0.5) p, (5 + 0.5) p); fractions stay within half a pixel."""
    stamps = cut_stamps(FRAMES, [0], [5], [7], 5)
    np.testing.assert_allclose(to_frame_um(stamps, [[0.01, -0.02, 0.3]], 0.1), [[0.76, 0.53, 0.3]])
    row, column = np.random.default_rng(0).uniform(4, 8, (2, 50))
    for side in (5, 6):
        centres = to_frame_um(cut_stamps(FRAMES, np.zeros(50, int), row, column, side), np.zeros((50, 3)), 1.0)
        assert np.abs(centres[:, :2] - np.column_stack([column, row])).max() <= 0.5


def test_edge_is_refused_or_masked():
    """A stamp that sticks out is an error, or a stamp whose outside pixels do not count."""
    with pytest.raises(OpticsError, match="1 stamps of 5 px stick out"):
        cut_stamps(FRAMES, [0, 0], [1, 5], [7, 7], 5)
    stamps = cut_stamps(FRAMES, [0], [1], [14], 5, edge="mask")
    expected = np.zeros((5, 5), bool)
    expected[1:, :3] = True
    np.testing.assert_array_equal(stamps.valid[0], expected)
    np.testing.assert_array_equal(stamps.images[0][1:, :3], FRAMES[0, :4, 12:])
    assert stamps.images[0][~expected].max() == 0


def test_camera_maps_follow_the_stamps():
    """Each stamp has the pixels of the maps that lie under it; numbers stay numbers."""
    offset = np.arange(12 * 15, dtype=float).reshape(12, 15)
    stamps = cut_stamps(FRAMES, [1], [5], [7], 5, camera=make_camera(offset_adu=offset, gain_adu_per_e=2.0))
    np.testing.assert_array_equal(stamps.camera.offset_adu[0], offset[3:8, 5:10])
    assert stamps.camera.gain_adu_per_e.shape == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": [20]}, "outside the frames of 12 x 15"),
        ({"frame": [2]}, "frame must hold whole numbers from 0 to 1"),
        ({"row": [5, 6]}, "one length"),
        ({"row": [np.nan]}, "NaN"),
        ({"edge": "wrap"}, "edge = 'wrap'"),
        ({"frames": FRAMES[0]}, r"frames must be \(F, H, W\)"),
        ({"camera": make_camera(offset_adu=np.zeros((3, 3)))}, "camera.offset_adu has shape"),
    ],
)
def test_bad_input_is_named(change, message):
    """One line that names the argument and the remedy."""
    given = {"frames": FRAMES, "frame": [0], "row": [5], "column": [7], "image_px": 5, **change}
    with pytest.raises(OpticsError, match=message):
        cut_stamps(**given)
