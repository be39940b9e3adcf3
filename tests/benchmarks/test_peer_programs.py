"""Stacks and lists of other programs, brought to our frame before they are compared: turned and moved by hand here."""

import json
import sys

import numpy as np
import pytest

from measure import peer
from measure.record import FOLDER
from pages import readme_page
from worlds.peer_programs import Program, aligned, ask_in_turn, errors

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("turned", ["as it is", "z", "transposed", "y x"])
def test_a_turned_stack_is_the_same_stack(turned):
    """A stack in another frame and of other light is off by roundings alone; one with a changed pixel by that pixel."""
    ours = RNG.uniform(1, 2, (3, 5, 5))
    theirs = {
        "as it is": ours, "z": ours[::-1], "transposed": ours.transpose(0, 2, 1), "y x": ours[:, ::-1, ::-1]
    }[turned]  # fmt: skip
    assert aligned(7.0 * theirs, ours)["worst_l2"] < 1e-14
    changed = ours / ours.sum(axis=(1, 2), keepdims=True)
    changed[1, 2, 3] += 1e-3
    changed[1, 0, 0] -= 1e-3  # so that the sum stays
    plane = ours[1] / ours[1].sum()
    found = aligned(changed, ours)
    assert found["worst_l2"] == pytest.approx(1e-3 * np.sqrt(2) / np.linalg.norm(plane), rel=1e-6)
    assert found["worst_of_peak"] == pytest.approx(1e-3 / plane.max(), rel=1e-6)


def test_errors_are_of_a_list_in_our_frame():
    """Axes swapped, one turned, all moved: the scatter drawn is the scatter found, and far ones are counted apart."""
    n, bound = 4000, np.array([0.004, 0.005, 0.012])
    xyz = RNG.uniform(-0.05, 0.05, (n, 3))
    seen = xyz + bound * np.array([1.0, 1.5, 2.0]) * RNG.standard_normal((n, 3))
    seen[:40, 2] += 1.0
    found = errors({"x_um": seen[:, 1] + 0.3, "y_um": 1.0 - seen[:, 0], "z_um": seen[:, 2] + 0.02}, xyz, bound)
    # 5 bounds are 2.5 of the widest scatter: 1.2 % lie beyond, and cut its width from 2 to 1.9
    assert found["outliers"] == pytest.approx(0.01 + 0.0124, abs=0.006)
    assert found["rmse_over_bound"] == pytest.approx([1.0, 1.5, 1.9], rel=0.05)


def test_programs_answer_in_turn_and_say_what_they_held(tmp_path, monkeypatch):
    """A program that takes 30 MB says so, and an other beside it does not; each has the times of its names."""
    (tmp_path / "table").mkdir()
    sys_path = f"import sys\nsys.path.insert(0, {str(FOLDER / 'peers' / 'table')!r})\nimport asked\n"
    (tmp_path / "table" / "one.py").write_text(
        sys_path + "asked.serve({'versions': {}}, {'work': lambda: sum(bytearray(int(sys.argv[1])))})\n"
    )
    monkeypatch.setattr(peer, "PEERS", tmp_path)
    programs = [Program("one", size, sys.executable, "one.py", (size,)) for size in ("1000", "30000000")]
    small, large = (times["work"] for _, _, times in ask_in_turn(programs, 2))
    assert 25 < large["peak_mb"] - small["peak_mb"] < 40
    assert large["cpu_s"] > 50 * small["cpu_s"] and large["min_cpu_s"] <= large["cpu_s"] <= large["max_cpu_s"]


def test_a_program_that_is_not_given_any_more_stands_as_that(tmp_path, monkeypatch):
    """One measured before and not now is kept by its name alone; one never measured is not there."""
    script = readme_page.load(FOLDER / "peers_table.py")
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    now = {"programs": {"ours": {"times": {}}}}
    assert script.with_those_before("peers_fits", now) == now
    (tmp_path / "peers_fits.json").write_text(json.dumps({"numbers": {"programs": {"ours": {}, "theirs": {"a": 1}}}}))
    assert script.with_those_before("peers_fits", now)["programs"]["theirs"] == {"not_given": True}
