"""A focus that was told wrong shifts depths as the optics say."""

import pytest
from focus_shift import measure


@pytest.mark.slow
def test_a_wrong_focus_shifts_depths_by_what_the_images_say():
    """Half a micrometre: fits of noisy images, and correlation of clean ones on a grid, agree on shift and range."""
    found = measure("astigmatism", depths=4, fits=12)
    assert found["worst_from_predicted_nm"] < 20
    assert abs(found["range_over_predicted"] - 1) < 0.03
    # the sign, and the size that phases alone give: refraction makes it less than the stage's 0.5 um
    assert -0.5 < found["mean_shift_um"] < 0 and abs(found["mean_shift_um"] - found["on_paper_um"]) < 0.1
