"""What a person is told while a job runs."""

import io

import pytest
from rich.console import Console

from experiments.compare.watch import ArmDisplay, Forecast
from experiments.progress import Display
from optics.progress import Event

PLAN = [("a", 0), ("b", 0)]


def step(arm, number, seconds, steps=100):
    return Event("step", number, steps, {"arm": arm, "seed": 0, "loss": 2.0, "seconds": seconds})


def test_the_forecast_counts_later_arms_their_compilation_and_scoring():
    now = [0.0]
    forecast = Forecast(PLAN, 100, clock=lambda: now[0])
    now[0] = 10.0
    first = step("a", 1, 10.0)
    forecast.see(first)
    assert forecast.left_s(first) is None
    now[0] = 60.0
    middle = step("a", 51, 60.0)
    forecast.see(middle)
    # 49 steps of 1 s and a scoring guessed at 10 s; then 10 s to compile, 100 s of steps, 10 s of scoring
    assert forecast.left_s(middle) == pytest.approx(49 + 10 + 10 + 100 + 10)
    now[0] = 110.0
    forecast.see(Event("scoring", numbers={"arm": "a", "seed": 0}))
    now[0] = 130.0
    forecast.see(Event("scored", numbers={"arm": "a", "seed": 0, "cells": {}}))
    now[0] = 145.0
    forecast.see(step("b", 1, 15.0))
    now[0] = 147.0
    second = step("b", 2, 17.0)
    forecast.see(second)
    assert forecast.left_s(second) == pytest.approx(98 * 2 + 20)


def test_without_a_terminal_an_arm_takes_about_ten_lines():
    text = io.StringIO()
    with ArmDisplay(PLAN, 100, console=Console(file=text, width=40)) as display:
        for arm in "ab":
            for number in range(1, 101):
                display(step(arm, number, float(number)))
            display(Event("scoring", numbers={"arm": arm, "seed": 0}))
            cells = {
                "count 1": {"jaccard": 0.9},
                "count 5": {"jaccard": 0.5},
                "photons 1 background 2": {"jaccard": 0},
            }
            display(Event("scored", numbers={"arm": arm, "seed": 0, "cells": cells}))
    lines = text.getvalue().splitlines()
    assert 18 <= len(lines) <= 30
    assert lines[0] == "[1/2] a: step 1 of 100, loss 2"
    assert lines[-1] == "[2/2] b, decoder: done; Jaccard 0.900 at 1 emitter per frame, 0.500 at 5 emitters per frame"
    assert "left in all" in lines[1]


def test_in_a_terminal_there_is_a_bar():
    text = io.StringIO()
    with ArmDisplay(PLAN, 100, console=Console(file=text, force_terminal=True, width=80)) as display:
        display(step("a", 1, 1.0))
        display(step("a", 40, 2.0))
        assert display._bar is not None
        display._bar.refresh()
    assert "40/100" in text.getvalue() and "[1/2] a" in text.getvalue()


def test_any_job_has_counts_numbers_and_the_time_left_or_is_silent():
    """Outside a terminal a line at every share that is asked for, or none; a text stays anywhere."""
    for every, expected in ((0.5, 5), (None, 1)):
        text = io.StringIO()
        with Display(every=every, console=Console(file=text, width=80)) as display:
            display(Event("note", numbers={"text": "movie.tif: 10 frames"}))
            for done in range(1, 11):
                display(Event("frame", done, 10, {"found": 3 * done}))
        lines = text.getvalue().splitlines()
        assert lines[0] == "movie.tif: 10 frames" and len(lines) == expected
    assert lines == ["movie.tif: 10 frames"]


def test_a_stage_that_counts_anew_is_timed_anew():
    text = io.StringIO()
    with Display(every=0.5, console=Console(file=text, width=80)) as display:
        for _ in range(2):
            display(Event("crop", 1, 4))
            display(Event("crop", 4, 4))
        display(Event("drawing"))
    lines = text.getvalue().splitlines()
    assert lines[0] == lines[2] == "crop 1 of 4" and "left" in lines[1] and lines[-1] == "drawing ..."


def test_an_event_is_a_line_of_the_log_and_read_by_its_names():
    event = Event("step", 10, 100, {"loss": 0.5})
    assert event.record() == {"event": "step", "step": 10, "steps": 100, "loss": 0.5}
    assert Event("scoring", numbers={"arm": "a"}).record() == {"event": "scoring", "arm": "a"}
    named = {"event": "step", "step": 10, "steps": 100, "done": 10, "total": 100, "loss": 0.5}
    assert {name: event[name] for name in named} == named
