"""Rectangles of a plan: where molecules are measured, and where they are left out."""

import numpy as np
import pytest
import tifffile

from experiments.reconstruction.methods import Known
from experiments.reconstruction.plan import load_plan, plan_toml
from experiments.reconstruction.regions import Region, parse_region
from experiments.reconstruction.steps.after import FILE, keep_rows
from experiments.reconstruction.steps.crowd import measure_crowd
from experiments.reconstruction.steps.look import look
from experiments.reconstruction.steps.psf import find_psf
from localization import LocalizationError, make_localizations, read, write
from optics import make_camera
from training import ConfigError

SIDE, FRAMES, PIXEL_UM = 64, 24, 0.1


@pytest.fixture
def movie(tmp_path):
    """Spots of 1.2 px and 400 counts in the left half, of 2 px and 900 in the right one, somewhere in each frame."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    light = np.full((FRAMES, SIDE, SIDE), 10.0)
    for frame in light:
        for left, sigma, photons in ((6, 1.2, 800.0), (38, 2.0, 2500.0)):
            for top in (10, 42):
                cx, cy = left + rng.uniform(0, 20), top + rng.uniform(0, 12)
                frame += photons / (2 * np.pi * sigma**2) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, rng.poisson(light).astype(np.uint16), photometric="minisblack")
    return path


def test_a_rectangle_is_read_as_it_is_written():
    """Columns first, then rows, then a name of any words; what is none is told with an example."""
    region = parse_region(" 10:41  8:64  the bright corner ")
    assert region == Region((10, 41), (8, 64), "the bright corner") == parse_region(str(region))
    plan = load_plan(None, ["sparse=3:9 4:8", 'leave_out=["10:41 8:64 nucleus", "0:2 0:2"]'])
    assert plan.regions()[0] == Region((3, 9), (4, 8))
    assert [region.name for region in plan.regions()[1]] == ["nucleus", ""]
    for wrong, why in (("10:41", "is no rectangle"), ("41:10 8:64", "holds no pixel"), ("a:b 1:2", "is no rectangle")):
        with pytest.raises(ConfigError, match=f"sparse: '{wrong}' {why}"):
            load_plan(None, [f"sparse={wrong}"])


def test_a_plan_keeps_its_rectangles_and_the_movie_must_hold_them(tmp_path, movie):
    plan = load_plan(None, ["sparse=3:9 4:8 thin", 'leave_out=["10:41 8:64 nucleus"]'])
    (tmp_path / "plan.toml").write_text(plan_toml(plan))
    assert load_plan(tmp_path / "plan.toml") == plan
    look(movie, plan)
    with pytest.raises(ConfigError, match=r"leave_out = '70:80 0:9 nucleus' lies outside the field, columns 0:64"):
        look(movie, load_plan(None, ['leave_out=["70:80 0:9 nucleus"]']))
    with pytest.raises(ConfigError, match=r"sparse = '0:9 0:9' lies outside the field, columns 20:64 and rows 0:64"):
        look(movie, load_plan(None, ["sparse=0:9 0:9", "columns=20:64"]))


@pytest.mark.slow
def test_width_and_light_are_those_of_the_sparse_rectangle(tmp_path, movie):
    """Of two kinds of spots, drawn by numpy, the one that the plan points at, or does not leave out, is measured."""
    camera = make_camera(offset_adu=0.0)
    found = {}
    for settings in ("sparse=32:64 0:64", 'leave_out=["32:64 0:64 wide"]', "sparse=12:32 0:64|columns=12:64"):
        plan = load_plan(None, [f"optics.pixel_um={PIXEL_UM}", *settings.split("|")])
        seen = look(movie, plan)
        psf = find_psf(movie, plan, seen, camera, tmp_path)
        known = Known(PIXEL_UM, "", sigma_um=psf.sigma_um)
        found[settings] = psf.sigma_um / PIXEL_UM, measure_crowd(movie, plan, seen, camera, known)
    (wide, bright), (narrow, dim), (cut, _) = found.values()
    # the pixel adds its own width, 1 / 12 px^2, to none of them: spots were drawn at the middles of pixels
    assert wide == pytest.approx(2.0, rel=0.06)
    assert narrow == pytest.approx(1.2, rel=0.06) and cut == pytest.approx(1.2, rel=0.06)
    assert bright.photons > 2 * dim.photons
    assert dim.candidates < 0.7 * bright.candidates  # nothing is counted where it is left out


def test_rows_in_a_rectangle_are_left_out_and_told(tmp_path):
    """Two of four rows, by the movie's pixels; none left is an error that names the remedy."""
    rows = make_localizations([0, 0, 1, 1], [0.55, 1.55, 2.55, 3.15], [0.55] * 4, [0.0] * 4, photons=100.0)
    write(tmp_path / "all.csv", rows)
    (tmp_path / "out").mkdir()
    plan = load_plan(None, ['leave_out=["10:20 0:9 nucleus", "31:40 0:6"]'])
    kept = keep_rows(tmp_path / "all.csv", plan, PIXEL_UM, tmp_path / "out")
    assert read(tmp_path / "out" / FILE).x_um == pytest.approx([0.55, 2.55])
    assert (kept.before, kept.after) == (4, 2)
    assert kept.said[:2] == ("1 rows left out in nucleus", "1 rows left out in the rectangle 31:40 0:6")
    with pytest.raises(LocalizationError, match="no localization is left.*leave_out"):
        keep_rows(tmp_path / "all.csv", load_plan(None, ['leave_out=["0:64 0:64"]']), PIXEL_UM, tmp_path / "out")
