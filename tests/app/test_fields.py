"""Fields of the pages: each has its help, and what they hold becomes a plan that the command reads."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import app
from app.pages import filters, masks, microscope
from app.pages.boxes import FIELD, LEAVE_OUT, SPARSE, Box, Boxes
from app.pages.look import METHODS, fields_of_plan, plan_of_fields
from app.pages.result import histogram_svg
from app.pages.setting import SETTINGS, change_setting, value_of
from app.runs.launch import ask, change_plan, make_run
from app.runs.state import plan_of
from app.site import Refused, Site
from app.words import WORDS
from experiments.reconstruction.methods import AUTO
from experiments.reconstruction.methods import METHODS as ALL
from experiments.reconstruction.plan import Plan, PsfPlan, ReaderPlan, load_plan, plan_toml
from localization import Criteria
from training import from_dict


def test_every_field_has_its_help_and_every_help_its_field():
    """Read from the sources: the names that fields are made with, and those that "?" opens."""
    named = set()
    for path in (Path(app.__file__).parent / "pages").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in ("number", "text", "choice", "question") and isinstance(first, ast.Constant):
                    named.add(first.value)
    drawn_in_loops = {"x0", "y0", "x1", "y1", *microscope.STEPS, *masks.PANEL_FIELDS}
    assert named | drawn_in_loops == set(WORDS)
    assert all(word.text.endswith(".") for word in WORDS.values())


def test_what_the_fields_hold_is_what_the_command_reads(tmp_path):
    (tmp_path / "beads.tif").write_bytes(b"x")
    site, box = Site.make([tmp_path]), Box(100, 80)
    box.set(60.5, 20.2, 10.9, 40)
    values = {
        "pixel": 0.11, "method": "joint", "first": 5, "stop": None, "gain": 2.0, "offset": 100.0, "crop": 41.0,
        "beads": str(tmp_path / "beads.tif"), "focus": "-1:1:21", "na": 1.4, "wavelength": 0.67, "immersion": 1.518,
        "sample": 1.33, "depth": None,
    }  # fmt: skip
    run = make_run(site, tmp_path / "beads.tif", plan_of_fields(site, values, box, 50))
    plan = load_plan(run / "plan.toml")
    assert plan.spans() == {"frames": (5, 50), "rows": (20, 40), "columns": (10, 61)}
    assert (plan.optics.pixel_um, plan.optics.na, plan.optics.focus_um) == (0.11, 1.4, None)
    assert (plan.psf.beads, plan.psf.focus, plan.psf.crop_px) == ((str(tmp_path / "beads.tif"),), "-1:1:21", 41)
    assert (plan.camera.gain_adu_per_photon, plan.reader.method) == (2.0, "joint")
    # the way back, from the file that the run itself writes with all that is usual in it
    (run / "plan.toml").write_text(plan_toml(plan))
    boxes = Boxes(100, 80)
    boxes.take(plan_of(run))
    again = make_run(site, tmp_path / "beads.tif", plan_of_fields(site, fields_of_plan(plan_of(run)), boxes, 50))
    assert load_plan(again / "plan.toml") == plan
    empty = load_plan(
        make_run(site, tmp_path / "beads.tif", plan_of_fields(site, {"method": "auto"}, Box(9, 9), 9)) / "plan.toml"
    )
    assert empty.spans() == {"frames": None, "rows": None, "columns": None}


@pytest.mark.parametrize(
    "values", [{"beads": "/etc/passwd", "focus": "0:1:2"}, {"focus": "0:1:2"}, {"first": 9, "stop": 3}, {"crop": 4.5},
               {"first": 0.5}, {"stop": 99}, {"na": 1.6, "immersion": 1.518}, {"gain": 2.0}, {"offset": 100.0},
               {"pixel": 0.0}, {"gain": -1.0, "offset": 100.0}, {"beads": "HERE/b.tif"},
               {"beads": "HERE/b.tif", "focus": "0:1:2", "na": 1.4}],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_a_run_is_made(tmp_path, values):
    (tmp_path / "b.tif").touch()
    given = {name: str(tmp_path / "b.tif") if value == "HERE/b.tif" else value for name, value in values.items()}
    with pytest.raises(Refused) as refused:
        plan_of_fields(Site.make([tmp_path]), given, Box(9, 9), 20)
    assert "\n" not in str(refused.value)


def test_a_setting_that_is_changed_is_the_plan_s_and_no_other_is(tmp_path):
    """Read by the command's own reader; texts, which may name files, cannot be changed so."""
    run = make_run(Site.make([tmp_path]), tmp_path / "m.tif", {"optics": {"na": 1.4}, "reader": {"method": "joint"}})
    for number, name in enumerate(SETTINGS):
        change_setting(run, name, number + 2.0)
    plan = load_plan(run / "plan.toml")
    for number, name in enumerate(SETTINGS):
        found = plan
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value_of(plan_of(run), name) == number + 2
    assert (plan.reader.method, plan.movie) == ("joint", str(tmp_path / "m.tif"))
    for name in SETTINGS:
        change_setting(run, name, None)
    assert load_plan(run / "plan.toml") == replace(Plan(movie=plan.movie), reader=ReaderPlan(method="joint"))
    for name, value in (("movie", 1.0), ("camera.file", 1.0), ("test_frames", 1.5), ("x", 1.0)):
        with pytest.raises(Refused):
            change_setting(run, name, value)


def test_methods_are_those_of_the_command():
    assert METHODS[0] == AUTO and set(METHODS[1:]) <= set(ALL)


def test_a_box_stays_in_the_frame_and_a_dot_is_none():
    box = Box(50, 60)
    box.set(-5, 70, 30, 10)
    assert box.corners == (0, 10, 30, 50)
    box.set(3.2, 3.2, 3.9, 9)
    assert box.corners is None and box.settings() == {}


def test_rectangles_are_drawn_moved_and_taken_away():
    """What a pointer does on a frame of 50 x 60, and the plan that comes of it, read by the command."""
    boxes = Boxes(50, 60)

    def way(*places):
        boxes.press(*places[0])
        for place in places[1:]:
            boxes.drag(*place)
        return boxes.release(*places[-1])

    way((10.5, 5.5), (30.2, 20.1))
    boxes.use = SPARSE
    way((40, 40), (59.5, 49.5))
    way((50, 45), (30, 0))  # moved by 20 to the left, and no further up than the frame goes
    boxes.use = LEAVE_OUT
    way((0, 0), (9, 9))
    boxes.left_out[0].name = 'the "bright" corner'
    way((20, 20), (24, 29))
    assert boxes.chosen == 1 and len(boxes.left_out) == 2
    way((1, 1), (3, 4))  # the first one, moved
    assert boxes.chosen == 0
    way((55, 45), (55.2, 45.3))  # a click beside them draws none and takes none away
    assert not boxes.drag(3, 3) and not boxes.release(3, 3)
    plan = from_dict(Plan, boxes.settings())
    assert plan.spans() == {"frames": None, "rows": (5, 21), "columns": (10, 31)}
    sparse, left_out = plan.regions()
    assert (sparse.columns, sparse.rows) == ((20, 40), (0, 10))
    assert [(part.columns, part.rows, part.name) for part in left_out] == [
        ((2, 11), (3, 12), 'the "bright" corner'), ((20, 24), (20, 29), "region 2")
    ]  # fmt: skip
    assert "&quot;bright&quot;" in boxes.svg() and boxes.svg().count("<rect") == 8
    boxes.remove(0)
    boxes.use = FIELD
    way((45, 45), (45, 45))
    boxes.use = SPARSE
    way((25, 5), (25, 5))  # a click on a rectangle changes nothing
    assert boxes.settings() == {"sparse": "20:40 0:10", "leave_out": ["20:24 20:29 region 2"]}


def test_a_histogram_is_as_high_as_its_counts():
    drawn = histogram_svg([1, 4], 0.0, 2.0)
    assert 'y="30.00" width="50.00" height="10.00"' in drawn and 'y="0.00"' in drawn


def test_filters_change_the_plan_and_nothing_else_of_it(tmp_path):
    """What the command wrote, with tables in tables, is the same plan but for the filters; and back again."""
    site = Site.make([tmp_path])
    before = Plan("movie.tif", rows="3:9", reader=ReaderPlan(method="joint"), psf=PsfPlan(sigma_um=0.13))
    run = make_run(site, tmp_path / "movie.tif", {})
    (run / "plan.toml").write_text(plan_toml(before))
    values = {"photons_min": 500.0, "photons_max": None, "sigma_max": 20.0, "z_from": None, "z_to": 800.0}
    change_plan(run, "filters", filters.to_plan(values))
    after = load_plan(run / "plan.toml")
    expected = Criteria(photons_min=500, sigma_x_um_max=0.02, sigma_y_um_max=0.02, z_um=(-1e6, 0.8))
    assert after == replace(before, filters=expected)
    assert filters.of_plan(plan_of(run)) == values
    change_plan(run, "filters", filters.to_plan(dict.fromkeys(values)))
    assert load_plan(run / "plan.toml") == before
    for wrong in ({"z_from": 5.0, "z_to": 1.0}, {"sigma_max": 0.0}, {"photons_min": 9.0, "photons_max": 2.0}):
        with pytest.raises(Refused):
            filters.to_plan(wrong)
    ask(run)
    with pytest.raises(Refused, match="stop it first"):
        change_plan(run, "filters", {})
