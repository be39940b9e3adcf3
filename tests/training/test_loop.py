"""The loop around a step: what is logged, saved and refused, with a step that counts."""

import json
import time

import jax.numpy as jnp
import pytest

from made.tiny import tiny_run
from training.checkpoint import latest_step, restore
from training.loop import Schedule, train
from training.run_folder import RunFolder, TimeLimit
from training.settings import to_dict


def counting(diverges_at=None):
    """A step that adds one; its loss is the number that it came to, or no number from some step on."""

    def step(state):
        state = {"value": state["value"] + 1}
        bad = diverges_at is not None and state["value"] >= diverges_at
        return state, {"loss": jnp.where(bad, jnp.nan, state["value"])}

    return step


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder.claim(tmp_path / "run", tiny_run(), resume=False)
    folder.begin()
    return folder


def run(folder, steps=7, first=0, step=None, **options):
    """Train from `first`; the last state and the logged steps with their losses."""
    logged = []
    schedule = Schedule(steps, log_every=3, save_every=4, rate="my.rate")
    start = {"value": jnp.asarray(float(first))}
    state = train(step or counting(), start, first, folder, schedule, lambda *line: logged.append(line), **options)
    return state, logged


def test_first_last_and_every_third_step_are_logged_and_the_last_is_saved(folder):
    saved = []
    state, logged = run(folder, saved=lambda number, state: saved.append((number, float(state["value"]))))
    assert float(state["value"]) == 7.0
    assert logged == [(k, {"loss": float(k)}) for k in (1, 3, 6, 7)]
    assert saved == [(4, 4.0), (7, 7.0)] and latest_step(folder.path) == 7


def test_steps_that_are_done_are_not_taken_again(folder):
    run(folder, steps=4)
    state, logged = run(folder, first=4)
    assert float(state["value"]) == 7.0 and [number for number, _ in logged] == [5, 6, 7]
    again, logged = run(folder, first=7)
    assert float(again["value"]) == 7.0 and logged == []


def test_a_loss_that_is_no_number_names_the_setting(folder):
    """It is logged, and nothing of it is saved."""
    with pytest.raises(FloatingPointError, match="not finite at step 6; lower my.rate"):
        run(folder, step=counting(diverges_at=5))
    assert latest_step(folder.path) == 4


def test_the_time_limit_saves_before_it_stops(folder):
    with pytest.raises(TimeLimit, match=f"stopped at step 1 of 7; resume {folder.path}"):
        run(folder, deadline_s=time.monotonic() - 1)
    assert float(restore(folder.path, {"value": jnp.zeros(())})["value"]) == 1.0


def test_a_run_folder_keeps_its_settings_and_whole_lines(folder):
    """What a kill leaves of a log or a write goes; the rest stays."""
    assert json.loads((folder.path / "config.json").read_text())["seed"] == to_dict(tiny_run())["seed"]
    folder.log({"event": "step", "step": 1})
    with (folder.path / "log.jsonl").open("a") as log:
        log.write('{"event": "st')
    (folder.path / ".0f.part").mkdir()
    (folder.path / ".0f.part" / "scores.json").write_text("{")
    folder.tidy()
    assert (folder.path / "log.jsonl").read_text() == '{"event": "step", "step": 1}\n'
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json", "log.jsonl"]
