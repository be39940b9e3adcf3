"""Movies in which molecules are rare or cut out one by one, and lists in which some rows are of no known precision."""

import numpy as np
import pytest
import tifffile

from experiments.reconstruction.methods import Known
from experiments.reconstruction.plan import load_plan
from experiments.reconstruction.steps.after import draw_picture
from experiments.reconstruction.steps.crowd import measure_crowd
from experiments.reconstruction.steps.look import look
from experiments.reconstruction.steps.psf import find_psf
from localization import make_localizations, write
from optics import make_camera
from training import ConfigError

PIXEL_UM, SIDE, FRAMES = 0.1, 48, 64


@pytest.fixture
def movie(tmp_path):
    """Four molecules in each of frames 1 to 5, drawn by numpy, and none in the 59 others."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = np.full((FRAMES, SIDE, SIDE), 20.0)
    for k in range(1, 6):
        for column, row in rng.uniform(6, SIDE - 6, (4, 2)):
            frames[k] += 400 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 1.3**2))
    tifffile.imwrite(tmp_path / "movie.tif", rng.poisson(frames).astype(np.uint16), photometric="minisblack")
    return tmp_path / "movie.tif"


def test_molecules_that_blink_seldom_are_found_in_more_frames(movie):
    """Eight frames of these 64 hold next to none, 24 too few for a width; all hold the twenty that were drawn."""
    plan = load_plan(None, [f"optics.pixel_um={PIXEL_UM}"])
    seen, camera = look(movie, plan), make_camera(offset_adu=0.0)
    psf = find_psf(movie, plan, seen, camera, movie.parent)
    assert psf.source != "assumed" and psf.sigma_um == pytest.approx(1.3 * PIXEL_UM, rel=0.05)
    found = measure_crowd(movie, plan, seen, camera, Known(PIXEL_UM, "", sigma_um=psf.sigma_um))
    assert found.frames == FRAMES and abs(found.candidates - 20) <= 2


def test_rows_without_a_precision_are_drawn_as_wide_as_the_others(movie):
    """As those of a network among rows of fits: each is in the picture with all of its weight, and a line says it."""
    plan = load_plan(None, [f"optics.pixel_um={PIXEL_UM}"])
    sigma = np.array([0.02, 0.02, 0.02, np.nan])
    locs = make_localizations([0, 1, 2, 3], [1.0, 3.0, 1.0, 3.0], [1.0, 1.0, 3.0, 3.0], np.zeros(4), photons=500.0,
                              sigma_x_um=sigma, sigma_y_um=sigma)  # fmt: skip
    write(movie.parent / "list.csv", locs)
    found = draw_picture(movie.parent / "list.csv", plan, look(movie, plan), PIXEL_UM, False, movie.parent)
    assert any("1 rows of a network" in line for line in found.lines())
    picture = tifffile.imread(movie.parent / "picture_full.tif")
    middle_px = round(2.0 / (found.pixel_nm / 1000))
    parts = [part.sum() for half in np.split(picture, [middle_px]) for part in np.split(half, [middle_px], axis=1)]
    np.testing.assert_allclose(parts, 1.0, atol=1e-3)


def test_frames_that_are_smaller_than_a_field_are_refused_for_what_they_are(tmp_path):
    """Nothing that a user could take more of: the whole frame has 15 px."""
    tifffile.imwrite(tmp_path / "cut.tif", np.zeros((9, 15, 40), np.uint16), photometric="minisblack")
    with pytest.raises(ConfigError, match="the frames have 15 rows, fewer than the 16.*not molecules that were cut"):
        look(tmp_path / "cut.tif", load_plan(None, []))
