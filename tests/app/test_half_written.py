"""Folders of runs as a kill, a full disk, an editor or another process leaves them: no page no reader falls over."""

import json
import os
import shutil
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from nicegui import Client
from nicegui.page import page as ui_page

from app.pages import beads, boxes, filters, findings, masks, queue, result, run, setting, start
from app.pages.look import fields_of_plan
from app.pages.masks import look_at
from app.pictures.live import Live
from app.pictures.prepared import Lists
from app.pictures.trial import spots, trial_file
from app.retrievals import read_retrieval
from app.routes import Shown
from app.runs import launch
from app.runs.files import ASKED, ENDED, PROCESS, SAID, own
from app.runs.jobs import JOB
from app.runs.process import Process
from app.runs.state import plan_of, read_run
from app.site import Refused, Site
from experiments.reconstruction.questions import QUESTIONS, step_folder
from localization import make_localizations, write

SPOILT = (b"", b"null", b"[]", b"{}", b'"x"', b"\xff\xfe\x00", b'{"a": ')
WRONG = (None, "x", [{}], 1e400)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_run(folder):
    """A reconstruction that is done, by the names of its files alone."""
    folder.mkdir(parents=True)
    (folder / "plan.toml").write_text(
        'movie = "/nowhere/a.tif"\nframes = "0:24"\nsparse = "1:9 1:9"\nleave_out = ["1:9 1:9 x"]\n'
        '[optics]\npixel_um = 0.1\n[filters]\nz_um = [0.0, 1.0]\n[psf]\nbeads = ["/nowhere/b.tif"]\n'
    )  # fmt: skip
    write_json(own(folder, ASKED), {"state": "started", "at": 1.0, "argv": ["reconstruct"]})
    write_json(own(folder, ENDED), {"status": 0})
    write_json(own(folder, PROCESS), {"pid": 1, "started": "x"})
    own(folder, SAID).write_text("colocus: error: none\n")
    log = [{"event": "start", "steps": list(QUESTIONS), "at": 1.0}]
    for name in QUESTIONS:
        log += [{"event": "begun", "step": name, "at": 1.0},
                {"event": "progress", "step": name, "stage": "frame", "done": 1, "total": 3, "at": 2.0},
                {"event": "progress", "step": name, "stage": "frame", "done": 2, "total": 3, "at": 3.0},
                {"event": "done", "step": name, "seconds": 2.0, "at": 3.0}]  # fmt: skip
        write_json(folder / step_folder(name) / "done.json", {"seconds": 1.0})
        (folder / step_folder(name) / "picture.png").write_bytes(b"png")
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, log)))
    found = {
        "look": {"pixel_um": None, "looks_like_beads": True}, "camera": {"sure": "guessed", "gain_adu_per_photon": 2.0},
        "psf": {"source": "assumed", "sigma_um": 0.1, "pixel_um": 0.1}, "test": {"left_over": 3.0, "sigma_xy_um": 0.01},
        "filters": {"after": 9, "seconds": 1.0}, "picture": {"frc_nm": 30.0},
    }  # fmt: skip
    for name, finding in found.items():
        write_json(folder / step_folder(name) / "finding.json", finding)
    write_json(folder / "findings.json", found)
    write(folder / "localizations.csv", make_localizations([0, 1], [1.0, 2.0], [1.0, 2.0], [0.0, 0.1]))
    np.savez(trial_file(folder), frame=np.ones((4, 4)), redrawn=np.ones((4, 4)), left=np.zeros((4, 4)),
             x_px=[1.0], y_px=[1.0], photons=[9.0])  # fmt: skip
    write_json(folder / step_folder("decoder") / "training" / "log.jsonl", {"step": 1, "loss": 0.5})
    write_json(folder / step_folder("decoder") / "training" / "config.json", {"optimiser": {"steps": 9}})
    return folder


def make_codesign(folder):
    write_json(own(folder, JOB), {"kind": "codesign", "argv": ["codesign", "tiny"]})
    write_json(folder / "config.json", {"seeds": [0], "arms": [{"label": "a"}]})
    scored = {"event": "scored", "arm": "a", "seed": 0, "cells": {"count 2": {"jaccard": 0.5}}, "steps": 9, "step": 3}
    (folder / "log.jsonl").write_text(json.dumps(scored) + "\n" + json.dumps(scored | {"event": "training"}))
    write_json(folder / "arms" / "a-seed0" / "log.jsonl", {"step": 1, "loss": 0.5})
    write_json(folder / "arms" / "a-seed0" / "scores.json", {})
    (folder / "arms" / "a-seed0" / "masks").mkdir()
    np.save(folder / "arms" / "a-seed0" / "masks" / "step_000001.npy", np.zeros((8, 8)))
    (folder / "figures").mkdir()
    (folder / "figures" / "masks.png").write_bytes(b"png")
    write_json(folder / "metrics.json", {})
    return folder


def make_retrieval(folder):
    write_json(own(folder, JOB), {"kind": "retrieve", "argv": ["retrieve"], "movie": "/nowhere/b.tif"})
    write_json(
        folder / "psf" / "metrics.json",
        {"beads": [{"bead": 1, "chi2": 1.0}], "notes": ["n"], "pupil": {}, "zernike": [{"n": 2, "m": 0, "rms_rad": 1}]},
    )
    (folder / "psf" / "slices.csv").write_text("bead,focus_um,correlation,noise_ceiling,chi2\nb,0,1,1,1\n")
    (folder / "psf" / "figures").mkdir()
    (folder / "psf" / "figures" / "pupil.png").write_bytes(b"png")
    return folder


def make_running(folder):
    """A reconstruction that works: its process is this one, and its last word is how far it is."""
    make_run(folder)
    me = Process.find(os.getpid())
    write_json(own(folder, PROCESS), {"pid": me.pid, "started": me.started})
    own(folder, ENDED).unlink()
    lines = (folder / "log.jsonl").read_text().splitlines()
    (folder / "log.jsonl").write_text("\n".join([lines[0], *lines[-4:-1]]))
    return folder


KINDS = {"run": make_run, "running": make_running, "codesign": make_codesign, "retrieve": make_retrieval}
PAGES = {
    "run": (run.page, result.page, start.page, queue.page), "running": (run.page, start.page, queue.page),
    "codesign": (masks.page,), "retrieve": (lambda shown, path: beads.page(shown, "", path), beads.page),
}  # fmt: skip
ONCE = {
    step_folder(name) for name in QUESTIONS if name not in ("look", "camera", "psf", "decoder", "test")
}  # the others are alike


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("half") / "data"
    (place / "runs").mkdir(parents=True)
    return Site.make([place])


def drawn(shown, page, folder):
    with Client(ui_page("/"), request=None):
        page(shown, *([] if page in (start.page, queue.page) else [str(folder)]))


def fall_over(site, kind, folder):
    """Draw the pages that show a folder and call what their timers call; returns what is no answer in words."""
    shown, wrong = Shown(site), []
    readers = (
        *(partial(drawn, shown, page) for page in PAGES[kind]),
        read_run, queue.Outcome.read, findings.read_doubts, look_at, read_retrieval, spots, Live().picture,
        launch.command, lambda place: Lists().take(place / "localizations.csv"),
        lambda place: read_run(place).thumbnail,
        lambda place: findings.rows(findings.findings_of(place)),
        lambda place: read_retrieval(place / "psf"), lambda place: fields_of_plan(plan_of(place)),
        lambda place: filters.of_plan(plan_of(place)), lambda _: launch.queue(launch.find_runs(site)),
        lambda place: setting.value_of(plan_of(place), "optics.pixel_um"),
    )  # fmt: skip
    for reader in readers:
        try:
            reader(folder)
        except Refused:
            pass
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            wrong.append(f"{Path(at.filename).name}:{at.lineno}: {error!r}")
    return wrong


def variants(path):
    """Ways in which a file may be found, each as a function that makes it so."""
    whole = path.read_bytes()
    lines = path.read_text().splitlines() if path.suffix in (".json", ".jsonl") else []
    values = [json.loads(line) for line in lines][-3:]
    yield "missing", path.unlink
    yield "a folder", lambda: (path.unlink(), path.mkdir())
    for content in (*SPOILT, whole[: len(whole) // 2]):
        yield repr(content[:12]), lambda content=content: path.write_bytes(content)
    for number, value in enumerate(values):
        for changed in spoilt(value):
            text = "\n".join(json.dumps(changed if k == number else kept) for k, kept in enumerate(values))
            yield f"{changed!r}"[:150], lambda text=text: path.write_text(text)


def spoilt(value):
    """A value of JSON with one of its parts missing or of another kind."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: kept for key, kept in value.items() if key != name}
            for wrong in (*WRONG, *spoilt(part)):
                yield {**value, name: wrong}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_state_of_a_file_takes_a_page_down(site, kind):
    folder = KINDS[kind](site.folders[0] / "runs" / kind)
    wrong = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name not in ONCE):
        whole = path.read_bytes()
        for name, make in variants(path):
            make()
            for fault in fall_over(site, kind, folder):
                wrong.setdefault(fault, f"{path.relative_to(folder)} {name}")
            if path.is_dir():
                path.rmdir()
            path.write_bytes(whole)
    assert wrong == {}
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_goes_the_moment_after_it_was_seen_takes_no_page_down(site, kind, monkeypatch):
    """A step that is done again takes its folder away, Resume its note of how the run ended."""
    folder = KINDS[kind](site.folders[0] / "runs" / kind)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.name not in ("plan.toml", "job.json"):
            path.unlink()
    monkeypatch.setattr(Path, "exists", lambda self: True)
    assert fall_over(site, kind, folder) == []
    shutil.rmtree(folder)


def test_a_plan_that_was_written_by_hand_takes_no_page_down(site):
    """Values of another kind than the steps write, which they refuse in words when the run begins."""
    folder = make_run(site.folders[0] / "runs" / "by hand")
    plan = plan_of(folder)
    for changed in spoilt(plan):
        if "null" not in (text := json.dumps(changed)) and "[{}]" not in text:
            (folder / "plan.toml").write_text(launch.plan_text(changed))
            assert fall_over(site, "run", folder) == [], changed
            boxes.Boxes(64, 64).take(plan_of(folder))
    shutil.rmtree(folder)
