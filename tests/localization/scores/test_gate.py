"""The gate as a thing of its own: its name, what it passes on, and what it refuses."""

import pytest

from localization import Gate, LocalizationError, make_localizations, match, precision_recall_curve, score


@pytest.mark.parametrize(
    ("gate", "name", "keywords"),
    [
        (Gate(), "250/500 nm", {}),
        (Gate(axial_um=None), "250 nm", {"axial_um": None}),
        (Gate(0.05, 0.1), "50/100 nm", {"lateral_um": 0.05, "axial_um": 0.1}),
        (Gate(ball_um=0.1), "100 nm ball", {"ball_um": 0.1}),
        (Gate(ball_um=0.1, axial_um=None), "100 nm disc", {"axial_um": None, "ball_um": 0.1}),
        (Gate(mode="deepstorm3d"), "100 nm ball", {"mode": "deepstorm3d"}),
    ],
)
def test_name_and_keywords(gate, name, keywords):
    """The name has the sizes in nm; `**gate` passes on what differs from the default."""
    assert (gate.name, dict(**gate)) == (name, keywords)


def test_a_gate_stands_for_its_keywords():
    """`**gate` gives what the keywords give; the curve, which has no mode, refuses one."""
    found = make_localizations([0, 0], [1.0, 3.0], [1.0, 1.0], [0.0, 0.2], score=[0.9, 0.4])
    truth = make_localizations([0, 0], [1.04, 3.2], [1.0, 1.0], [0.0, 0.0])
    gate = Gate(0.1, 0.3)
    assert score(found, truth, **gate) == score(found, truth, lateral_um=0.1, axial_um=0.3)
    assert match(found, truth, **gate).found_index.tolist() == [0]
    with pytest.raises(TypeError, match="mode"):
        precision_recall_curve(found, truth, **Gate(mode="deepstorm3d"))


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"lateral_um": 0.0}, "lateral_um is 0.0"),
        ({"axial_um": float("nan")}, "axial_um is nan"),
        ({"ball_um": -1.0}, "ball_um is -1.0"),
        ({"mode": "greedy"}, "unknown mode 'greedy'"),
    ],
)
def test_gates_that_are_none(sizes, words):
    """Named when the gate is made, as `match` always did."""
    with pytest.raises(LocalizationError, match=words):
        Gate(**sizes)
