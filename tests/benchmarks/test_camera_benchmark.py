"""One case of the benchmark's claim: gain within 5 % and offset within 2 counts from a movie of blinking emitters."""

from measure.record import FOLDER
from pages.readme_page import load


def test_a_blinking_movie_tells_gain_and_offset():
    """Rendered by the optics, 120 frames of 80 x 80 px: 1.2 counts per electron, offset 100, read noise 1.2 e."""
    camera = load(FOLDER / "camera.py")
    light = camera.blinking_light(0, frames=120, side=80)
    errors = camera.movie_errors(0, light, camera.Truth(1.2, 100.0, 1.2))
    assert abs(errors["gain_error_share"]) < camera.GAIN_SHARE
    assert abs(errors["offset_error_adu_read_noise_known"]) < camera.OFFSET_ADU
    # not told, the offset carries the read noise: gain * read_noise^2
    assert abs(errors["offset_error_adu_movie_alone"] + 1.2 * 1.2**2) < camera.OFFSET_ADU
