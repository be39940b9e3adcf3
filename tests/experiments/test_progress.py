"""What a person is told while an experiment runs."""

import io

import pytest
from rich.console import Console

from experiments.progress import Display, Forecast

PLAN = [("a", 0), ("b", 0)]


def step(arm, number, seconds, steps=100):
    return {
        "event": "step",
        "arm": arm,
        "seed": 0,
        "step": number,
        "steps": steps,
        "loss": 2.0,
        "seconds": seconds,
    }


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
    forecast.see({"event": "scoring", "arm": "a", "seed": 0})
    now[0] = 130.0
    forecast.see({"event": "scored", "arm": "a", "seed": 0, "cells": {}})
    now[0] = 145.0
    forecast.see(step("b", 1, 15.0))
    now[0] = 147.0
    second = step("b", 2, 17.0)
    forecast.see(second)
    assert forecast.left_s(second) == pytest.approx(98 * 2 + 20)


def test_without_a_terminal_an_arm_takes_about_ten_lines():
    text = io.StringIO()
    with Display(PLAN, 100, Console(file=text, width=40)) as display:
        for arm in "ab":
            for number in range(1, 101):
                display.show(step(arm, number, float(number)))
            display.show({"event": "scoring", "arm": arm, "seed": 0})
            cells = {
                "count 1": {"jaccard": 0.9},
                "count 5": {"jaccard": 0.5},
                "photons 1 background 2": {"jaccard": 0},
            }
            display.show({"event": "scored", "arm": arm, "seed": 0, "cells": cells})
    lines = text.getvalue().splitlines()
    assert 18 <= len(lines) <= 30
    assert lines[0] == "[1/2] a: step 1 of 100, loss 2"
    assert lines[-1] == "[2/2] b: done; Jaccard 0.900 at 1 emitter per frame, 0.500 at 5 emitters per frame"
    assert "left in all" in lines[1]


def test_in_a_terminal_there_is_a_bar():
    text = io.StringIO()
    with Display(PLAN, 100, Console(file=text, force_terminal=True, width=80)) as display:
        display.show(step("a", 1, 1.0))
        display.show(step("a", 40, 2.0))
        assert display._bar is not None
        display._bar.refresh()
    assert "40/100" in text.getvalue() and "[1/2] a" in text.getvalue()
