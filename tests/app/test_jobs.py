"""Jobs on masks: what a form begins is what the command reads, and a page shows what the folder holds."""

import io
import json
import os
import shlex

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from app.experiments import PANEL, make_experiment, make_slm, presets
from app.pages import masks
from app.pictures.phase import phase_png
from app.routes import Shown, add_routes
from app.runs.files import ASKED, ENDED, PROCESS, own
from app.runs.jobs import job_of, page_of
from app.runs.launch import advance, ask, command, find_runs, queue
from app.runs.process import Process
from app.runs.state import read_run
from app.scopes import START, save_scope
from app.site import Refused, Site
from experiments.cli import parse
from experiments.commands.compare import experiment_of
from experiments.compare.config import load_experiment
from experiments.instrument.fabricate_config import FabricateConfig
from experiments.settings import load_settings
from made.asgi import ask as get


@pytest.fixture
def site(tmp_path):
    (tmp_path / "open").mkdir()
    return Site.make([tmp_path / "open"])


FORM = {"job": "compare", "experiment": "tiny", "job_scope": "", "train_steps": 9.0, "scene_low": None,
        "scene_high": 1.5}  # fmt: skip


def test_a_form_begins_the_experiment_that_it_describes(site):
    """The command's own parser reads the job's words: preset, optics of a saved microscope, steps and depths."""
    scope = save_scope(site, "mine", START | {"na": 1.4, "wavelength": 0.6})
    folder = make_experiment(site, FORM | {"job_scope": str(scope)})
    words = shlex.split(command(folder))
    assert words[0] == "colocus" and page_of(folder) == "/masks"
    parsed = parse(words[1:])
    assert parsed.out == folder and parsed.resume
    found, plain = experiment_of(parsed), load_experiment("tiny")
    assert (found.run.microscope.na, found.run.microscope.wavelength_um) == (1.4, 0.6)
    assert (found.run.optimiser.steps, found.run.scene.z_max_um) == (9, 1.5)
    assert (found.arms, found.score, found.run.scene.z_min_um) == (plain.arms, plain.score, plain.run.scene.z_min_um)
    assert all(load_experiment(name).arms for name in presets())
    for wrong in ({"experiment": "../x"}, {"job": "rm"}, {"train_steps": 0.5}, {"scene_low": "a"},
                  {"job_scope": "/etc/passwd"}):  # fmt: skip
        with pytest.raises(Refused):
            make_experiment(site, FORM | wrong)


@pytest.mark.parametrize("status, said", [(0, "done"), (130, "stopped"), (1, "failed")])
def test_a_job_has_ended_when_it_says_so_though_its_process_still_lives(site, status, said):
    """The loading of a large library is undone last: for a second the process is there, and works no more."""
    folder = make_experiment(site, FORM | {"job": "codesign"})
    own(folder, ASKED).write_text(json.dumps({"state": "started", "at": 1.0}))
    me = Process.find(os.getpid())
    assert me is not None
    own(folder, PROCESS).write_text(json.dumps({"pid": me.pid, "started": me.started}))
    assert read_run(folder).state == "running"
    if status == 0:
        (folder / "metrics.json").write_text("{}")
    own(folder, ENDED).write_text(json.dumps({"status": status}))
    assert read_run(folder).state == said and not read_run(folder).is_active


def test_a_job_waits_in_the_queue_like_a_run(site):
    folder = make_experiment(site, FORM)
    assert read_run(folder).state == "ready" and find_runs(site) == [folder]
    ask(folder)
    assert read_run(folder).state == "queued" and queue([folder]) == [folder]
    assert json.loads(own(folder, "asked.json").read_text())["argv"] == job_of(folder)["argv"]


@pytest.mark.parametrize("argv", [["rm", "-rf"], "compare", ["compare", 1], ["codesign"]])
def test_a_folder_that_pretends_to_be_a_job_is_none(site, argv):
    """Only the words of its own kind are taken, as a list of text."""
    folder = site.folders[0] / "odd"
    (folder / "page").mkdir(parents=True)
    own(folder, "job.json").write_text(json.dumps({"kind": "compare", "argv": argv}))
    assert job_of(folder) == {} and find_runs(site) == [] and advance(site) is None
    with pytest.raises(Refused):
        masks.page(Shown(site), str(folder))


def experiment_folder(site):
    """What a comparison of two arms leaves half-way: the first is scored, the second at step 4 of 10."""
    folder = make_experiment(site, FORM)
    arms = [{"label": "a"}, {"label": "b"}]
    optics = {"na": 1.4, "n_immersion": 1.518, "n_sample": 1.33, "wavelength_um": 0.6}
    (folder / "config.json").write_text(json.dumps({"seeds": [0], "arms": arms, "run": {"microscope": optics}}))
    log = []
    for arm, last in (("a", 10), ("b", 4)):
        place = folder / "arms" / f"{arm}-seed0"
        (place / "masks").mkdir(parents=True)
        (place / "config.json").write_text(json.dumps({"microscope": optics}))
        steps = [{"event": "step", "step": k, "steps": 10, "loss": 5.0 - k / 10, "seconds": 3.0 * k}
                 for k in range(2, last + 1, 2)]  # fmt: skip
        (place / "log.jsonl").write_text("\n".join(map(json.dumps, steps)) + '\n{"event": "st')
        np.save(place / "masks" / "step_0000000.npy", np.zeros((8, 8), np.float32))
        log += [{**step, "arm": arm, "seed": 0} for step in steps]
        if arm == "a":
            (place / "scores.json").write_text("{}")
            cells = {"count 1": {"jaccard": 0.5}, "count 3": {"jaccard": float("nan")}}
            log.append({"event": "scored", "cells": cells, "reading": "decoder", "arm": arm, "seed": 0})
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, log)) + "\n")
    return folder


def test_a_page_shows_what_the_folder_holds(site, monkeypatch):
    """Loss by step, Jaccard by molecules, snapshots; the arm that is trained has the time that its pace leaves it."""
    folder = experiment_folder(site)
    found = masks.look_at(folder)
    assert found["steps"] == [2, 4, 6, 8, 10]
    assert found["losses"] == {"a": [4.8, 4.6, 4.4, 4.2, 4.0], "b": [4.8, 4.6, None, None, None]}
    assert (found["counts"], found["scores"]) == ([1.0], {"a": [0.5]})
    assert [len(kept) for kept in found["snapshots"].values()] == [1, 1]
    assert [step.state for step in read_run(folder).steps] == ["done", "waiting"]
    monkeypatch.setattr("app.runs.state.process_of", lambda folder: object())
    run = read_run(folder)
    assert run.state == "running" and (run.steps[1].done, run.steps[1].total) == (4, 10)
    assert run.steps[1].left_s == pytest.approx(18.0)


def test_a_mask_is_drawn_as_its_phase():
    """A ramp of one wave runs once through the colours; constant phase is one colour, and none is drawn outside."""
    size = 64
    ramp = np.tile(np.arange(size) / size, (size, 1)) * 0.6
    pixels = np.asarray(Image.open(io.BytesIO(phase_png(ramp, 0.6))))
    row = pixels[128, :, :3].astype(int)
    assert len({tuple(colour) for colour in row[6:-6]}) > 50 and pixels[0, 0, 3] == 0 and pixels[128, 128, 3] == 255
    assert np.abs(np.diff(row[6:-6], axis=0)).max() < 40  # no seam where the phase wraps: the colours close in a circle
    flat = np.asarray(Image.open(io.BytesIO(phase_png(ramp * 0 + 7, 0.6))))
    assert len(np.unique(flat[flat[..., 3] > 0], axis=0)) == 1


def test_masks_outside_or_of_another_kind_are_not_drawn(site, tmp_path):
    app, folder = FastAPI(), experiment_folder(site)
    add_routes(app, Shown(site))
    snapshot = folder / "arms" / "a-seed0" / "masks" / "step_0000000.npy"
    assert get(app, f"/mask?path={snapshot}".replace(" ", "%20")).headers["content-type"] == "image/png"
    np.save(tmp_path / "open" / "x.npy", np.zeros((8, 8)))
    np.save(snapshot.with_name("step_1.npy"), np.array([{}], dtype=object))  # would be unpickled
    for path in (tmp_path / "open" / "x.npy", tmp_path / "x.npy", snapshot.with_name("step_1.npy"), "/etc/passwd"):
        assert get(app, f"/mask?path={path}".replace(" ", "%20")).status == 404
    for path in ("/etc", str(tmp_path), str(tmp_path / "open")):
        with pytest.raises(Refused):
            masks.page(Shown(site), path)


def test_the_mask_of_a_co_design_is_made_for_the_panel_that_was_named(site):
    folder = experiment_folder(site)
    with pytest.raises(Refused, match="no learned mask"):
        make_slm(site, folder, PANEL)
    (folder / "mask.npz").write_bytes(b"")
    made = make_slm(site, folder, PANEL | {"focal": 200.0, "slm_pitch": 9.2})
    words = shlex.split(command(made))
    parsed = parse(words[1:])
    assert (parsed.mask, parsed.out) == (folder / "mask.npz", made)
    config = load_settings(FabricateConfig, None, parsed.settings)
    assert (config.focal_length_um, config.slm.pitch_um, config.slm.rows, config.make) == (200_000, 9.2, 1200, ("slm",))
    assert (config.microscope.na, config.microscope.wavelength_um) == (1.4, 0.6)
    for wrong in ({"focal": 0.0}, {"focal": None}, {"slm_rows": 1.5}):
        with pytest.raises(Refused):
            make_slm(site, folder, PANEL | wrong)
