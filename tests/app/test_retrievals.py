"""Beads ticked on a page: what is cut out, what the command is given, and what its results are read as."""

import csv
import json
import shlex

import numpy as np
import pytest
import tifffile

from app.drawing.beads import show_beads
from app.pages import beads
from app.pages.beads import rings
from app.pages.boxes import Box
from app.pages.look import plan_of_fields
from app.retrievals import make_retrieval, read_retrieval, retrieved
from app.routes import Shown
from app.runs.jobs import job_of, page_of
from app.runs.launch import command
from app.scopes import START, save_scope
from app.site import Refused, Site
from experiments.cli import parse
from experiments.instrument.retrieve_config import load_config
from experiments.instrument.retrieve_files import read_focus
from experiments.reconstruction.plan import load_plan
from experiments.reconstruction.questions import step_folder
from optics import OpticsError
from training import ConfigError

PLACES = [(20, 24), (22, 60), (50, 40)]


@pytest.fixture
def site(tmp_path):
    (tmp_path / "open").mkdir()
    return Site.make([tmp_path / "open"])


@pytest.fixture
def stack(site):
    """Three spots of falling brightness in five slices."""
    rng, y, x = np.random.default_rng(2), *np.mgrid[:70, :84]
    light = sum(
        (900 - 200 * k) * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8) for k, (r, c) in enumerate(PLACES)
    ) + np.zeros((5, 1, 1))  # fmt: skip
    path = site.folders[0] / "field.tif"
    tifffile.imwrite(path, rng.poisson(light + 20).astype(np.uint16), photometric="minisblack")
    return path


@pytest.fixture
def opened(site, stack):
    taken = Shown(site).movies.take(stack)
    yield taken
    taken.movie.close()


def test_beads_are_found_where_they_are(stack):
    """Brightest first, at the pixels where the spots were put; a movie or a crop that cannot be is refused."""
    assert show_beads(str(stack), 15)["centres"] == [list(place) for place in PLACES]
    for crop_px in (5, 71):
        with pytest.raises(ConfigError, match="crop"):
            show_beads(str(stack), crop_px)
    with pytest.raises(OpticsError):
        tifffile.imwrite(stack, np.full((5, 40, 40), 7, np.uint16), photometric="minisblack")
        show_beads(str(stack), 15)


def test_ticked_beads_are_what_the_command_is_given(site, stack, opened):
    """Two of three, cut out pixel for pixel; the optics of the saved microscope; the focus of the form."""
    scope = save_scope(site, "beads", START | {"na": 1.4})
    folder = make_retrieval(site, stack, opened, [PLACES[0], PLACES[2]], 15, " -1 : 1 : 5", str(scope))
    words = shlex.split(command(folder))
    parsed = parse(words[1:])
    field = tifffile.imread(stack)
    for name, (row, column) in zip(parsed.beads, (PLACES[0], PLACES[2]), strict=True):
        cut = tifffile.imread(name)
        assert cut.dtype == field.dtype
        assert np.array_equal(cut, field[:, row - 7 : row + 8, column - 7 : column + 8])
    assert read_focus(parsed.focus, 5, "x").tolist() == [-1, -0.5, 0, 0.5, 1]
    config = load_config(parsed.microscope, [])
    assert (config.microscope.na, config.microscope.wavelength_um) == (1.4, START["wavelength"])
    assert parsed.out == folder / "psf" and page_of(folder) == "/beads" and job_of(folder)["movie"] == str(stack)


@pytest.mark.parametrize(
    "changed", [{"centres": []}, {"focus": "-1:1:4"}, {"focus": "none"}, {"focus": None}, {"focus": "/etc/passwd"},
                {"scope": ""}, {"scope": "/etc/passwd"}, {"crop_px": 161}],
)  # fmt: skip
def test_what_cannot_be_retrieved_is_refused_and_leaves_nothing(site, stack, opened, changed):
    scope = str(save_scope(site, "beads", START))
    given = {"centres": PLACES, "crop_px": 15, "focus": "-1:1:5", "scope": scope} | changed
    with pytest.raises(Refused) as refused:
        make_retrieval(site, stack, opened, **given)
    assert "\n" not in str(refused.value) and not list(site.folders[0].glob("runs/*"))


def test_a_retrieval_is_shown_as_its_files_say(site):
    folder = site.folders[0] / "psf"
    (folder / "figures").mkdir(parents=True)
    assert read_retrieval(folder) == {}
    metrics = {"beads": [{"name": "a", "correlation": 0.9}], "notes": ["<b>one</b>"], "zernike": [], "pupil": {}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with (folder / "slices.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerows([["bead", "focus_um", "correlation", "noise_ceiling", "chi2"], ["a", 0, 0.9, 0.99, 1.1],
                        ["a", 1, "nan", 0.98, 1.2]])  # fmt: skip
    for name in ("slices-a", "pupil"):
        (folder / "figures" / f"{name}.png").write_bytes(b"")
    found = read_retrieval(folder)
    assert found["slices"]["a"] == {"focus_um": [0, 1], "correlation": [0.9, None], "noise_ceiling": [0.99, 0.98],
                                    "chi2": [1.1, 1.2]}  # fmt: skip
    assert [name for name, _, _ in found["pictures"]] == ["pupil", "slices-a"] and found["notes"] == ["<b>one</b>"]


def test_rings_lie_around_their_beads_and_show_their_ticks():
    drawn = rings(PLACES, {1}, 15, 84)
    assert drawn.count("stroke-dasharray") == 4 and 'cx="60.5" cy="22.5" r="7.5"' in drawn and ">3<" in drawn


def test_pages_outside_the_folders_are_refused(site, tmp_path):
    for given in (("/etc/passwd", ""), ("", "/etc"), ("", str(site.folders[0])), (str(tmp_path / "none.tif"), "")):
        with pytest.raises(Refused):
            beads.page(Shown(site), *given)


def test_psfs_that_were_retrieved_are_offered(site):
    """Of a retrieval and of a run with beads of its own; not of a retrieval that has not ended."""
    runs = site.folders[0] / "runs"
    for name, inner in (("ended", "psf"), ("not ended", "psf"), ("of a run", f"{step_folder('psf')}/beads")):
        (runs / name / inner).mkdir(parents=True)
        if name != "not ended":
            (runs / name / inner / "psf.npz").write_bytes(b"")
        (runs / name / "plan.toml").write_text("")
    assert set(retrieved(site).items()) == {
        (runs / "ended" / "psf" / "psf.npz", "ended"),
        (runs / "of a run" / step_folder("psf") / "beads" / "psf.npz", "of a run"),
    }


def test_a_psf_from_beads_is_the_plan_s(site):
    (site.folders[0] / "psf.npz").write_bytes(b"")
    path = str(site.folders[0] / "psf.npz")
    plan = plan_of_fields(site, {"psf_file": path, "psf_low": 0.0, "psf_high": 2.0}, Box(9, 9), 9)
    (site.folders[0] / "plan.toml").write_text(
        f'[psf]\nfile = "{plan["psf"]["file"]}"\nz_min_um = {plan["psf"]["z_min_um"]}\nz_max_um = 2.0\n'
    )
    assert load_plan(site.folders[0] / "plan.toml").psf.file == path
    for wrong in ({"psf_file": "/etc/passwd"}, {"psf_file": path, "beads": path, "focus": "0:1:2"}):
        with pytest.raises(Refused):
            plan_of_fields(site, wrong, Box(9, 9), 9)
