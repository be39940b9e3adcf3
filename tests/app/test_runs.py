"""Runs as processes: found again from their folders, stopped, queued, and never mistaken for another process."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from app.pages.findings import read_doubts
from app.pages.queue import Outcome, make_batch
from app.runs import launch, worker
from app.runs.files import ASKED, ENDED, PROCESS, own
from app.runs.process import Process
from app.runs.state import read_run
from app.site import Refused, Site
from experiments.reconstruction.plan import load_plan
from experiments.reconstruction.questions import QUESTIONS, step_folder


@pytest.fixture
def site(tmp_path):
    (tmp_path / "cell <b>1.tif").write_bytes(b"no movie")
    return Site.make([tmp_path])


def new(site):
    return launch.make_run(site, site.folders[0] / "cell <b>1.tif", {"optics": {"pixel_um": 0.1, "na": None}})


def until(run, *states, seconds=60):
    end = time.monotonic() + seconds
    while (state := read_run(run)).state not in states:
        assert time.monotonic() < end, state
        time.sleep(0.05)
    return state


def sleeper():
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_number_that_another_process_has_now_is_not_taken_for_it():
    child = sleeper()
    process = Process.find(child.pid)
    assert process.is_alive() and not Process(child.pid, "another boot 12").is_alive()
    assert not Process(child.pid, "another boot 12").signal(signal.SIGKILL)
    assert process.signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process.is_alive():  # dead already before its parent asks
        assert time.monotonic() < deadline
    child.wait()
    assert Process.find(child.pid) is None and not process.signal(signal.SIGTERM)


@pytest.mark.slow
def test_a_run_that_fails_says_why_in_a_line_and_another_follows(site, monkeypatch):
    """The file is no movie: the command's own line reaches the page, and the queue goes on by itself."""
    first, second = new(site), new(site)
    assert read_run(first).state == "ready"
    launch.ask(first, "look")
    launch.ask(second)
    launch.ask(first)  # a second click changes nothing
    assert launch.queue(launch.find_runs(site)) == [first, second]
    launch.stop(second)
    assert read_run(second).state == "stopped"
    assert launch.advance(site) == first and launch.advance(site) is None
    failed = until(first, "failed")
    assert "cell <b>1.tif" in failed.message and "\n" not in failed.message
    assert launch.command(first).startswith("colocus reconstruct --out ")
    with pytest.raises(Refused):
        launch.ask(second, "look; rm -rf /")


def test_the_folder_alone_tells_the_state(site):
    """What a server that knows nothing reads: working, done in part, killed, stopped, done."""
    run = new(site)
    own(run, ASKED).write_text(json.dumps({"state": "started", "at": 1.0}))
    child = sleeper()
    process = Process.find(child.pid)
    own(run, PROCESS).write_text(json.dumps({"pid": process.pid, "started": process.started}))
    began = time.time() - 40
    log = [
        {"event": "start", "steps": list(QUESTIONS), "at": began},
        {"event": "begun", "step": "look", "at": began},
        {"event": "done", "step": "look", "seconds": 2.0, "at": began + 2},
        {"event": "begun", "step": "frames", "at": began + 2},
        {"event": "progress", "step": "frames", "stage": "frame", "done": 0, "total": 100, "at": began + 20},
        {"event": "progress", "step": "frames", "stage": "frame", "done": 20, "total": 100, "at": began + 40},
    ]
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, log)) + '\n{"event": "prog')  # cut off by a kill
    state = read_run(run)
    assert state.state == "running" and state.steps[0].state == "done" and state.message == "All frames"
    frames = state.steps[list(QUESTIONS).index("frames")]
    assert (frames.state, frames.done, frames.total) == ("running", 20, 100)
    assert abs(frames.left_s - 80) < 3  # 20 frames in 20 s: the 80 others take 80 s
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert read_run(run).state == "broken off"
    own(run, ENDED).write_text(json.dumps({"status": 130}))
    assert read_run(run).state == "stopped"
    for name in QUESTIONS:
        (run / step_folder(name)).mkdir()
        (run / step_folder(name) / "done.json").write_text(json.dumps({"seconds": 1.0}))
    own(run, ENDED).write_text(json.dumps({"status": 0}))
    assert read_run(run).state == "done"
    (run / "plan.toml").write_text("[not toml")
    assert read_run(run).movie == ""


def test_a_run_is_stopped_as_by_ctrl_c(site):
    run = new(site)
    own(run, ASKED).write_text(json.dumps({"state": "started", "at": 1.0}))
    # as the worker does: where the tests run in the background of a script, the signal would be ignored
    heard = (
        "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(130)); print('ready', flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", heard], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        process = Process.find(child.pid)
        own(run, PROCESS).write_text(json.dumps({"pid": process.pid, "started": process.started}))
        launch.stop(run)
        assert child.wait(10) == 130
    assert read_run(run).state == "stopped"


@pytest.mark.parametrize("stopped", [True, False])
def test_who_is_stopped_while_libraries_load_is_stopped_and_not_failed(site, monkeypatch, stopped):
    """Ctrl-C within numpy's own loading becomes a RecursionError; without Stop an error stays one."""
    run = new(site)
    own(run, ASKED).write_text(json.dumps({"state": "started", "at": 1.0, "stop": stopped}))

    def broken(argv):
        raise RecursionError

    monkeypatch.setattr("experiments.cli.main", broken)
    if stopped:
        assert worker.main(run, []) == 130
    else:
        pytest.raises(RecursionError, worker.main, run, [])
    own(run, PROCESS).unlink()
    assert read_run(run).state == ("stopped" if stopped else "failed")


INTERRUPTED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(100): pass
except BaseException:
    pass  # as NumPy does while it loads
"""
STOPPED = """
import os, signal, sys
from pathlib import Path
import experiments.cli
from app.runs import worker

def command(argv):
    if argv == ["loads"]:
        import interrupted
    print("went on", file=sys.stderr)
    return 0

experiments.cli.main = command
if sys.argv[2] == "begins":
    os.kill(os.getpid(), signal.SIGINT)
sys.exit(worker.main(Path(sys.argv[1]), sys.argv[2:]))
"""


@pytest.mark.parametrize("when", ["begins", "loads"])
def test_no_stop_is_lost_from_the_first_moment_on(site, tmp_path, when):
    """Before Python is ready, or while a library loads that drops errors: stopped, with no traceback in the log."""
    run = new(site)
    own(run, ASKED).write_text(json.dumps({"state": "started", "at": 1.0, "stop": True}))
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    with launch.held():
        said = subprocess.run(
            [sys.executable, "-c", STOPPED, str(run), when],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            capture_output=True, text=True,
        )  # fmt: skip
    assert said.returncode == 130 and "Traceback" not in said.stderr and "went on" not in said.stderr, said.stderr
    assert read_run(run).state == "stopped"


def test_who_does_not_stop_is_stopped_at_once_when_asked_again(site):
    """A process that is deaf to Ctrl-C, as a long compilation is."""
    run = new(site)
    own(run, ASKED).write_text(json.dumps({"state": "started", "at": 1.0}))
    deaf = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    process = Process.find(child.pid)
    own(run, PROCESS).write_text(json.dumps({"pid": process.pid, "started": process.started}))
    launch.stop(run)
    assert read_run(run).state == "stopping" and process.is_alive()
    launch.stop(run)
    assert child.wait(10) == -signal.SIGTERM
    child.stdout.close()
    assert read_run(run).state == "stopped"


def test_of_two_servers_over_one_folder_one_starts_a_run(site, monkeypatch):
    """The turn is taken by a file that only one of them can make; the other leaves the run alone."""
    run, begun = new(site), []
    launch.ask(run)
    asked = own(run, ASKED).read_text()
    monkeypatch.setattr(launch.subprocess, "Popen", lambda command, **_: begun.append(command) or sleeper_like())
    assert launch.advance(site) == run
    own(run, PROCESS).unlink(missing_ok=True)  # as the other server saw the folder a moment before
    own(run, ASKED).write_text(asked)
    assert launch.advance(site) is None and len(begun) == 1
    assert begun[0][1] == "-P"  # a module beside the movie is not taken for one of Python's


def sleeper_like():
    class Ended:
        pid = -1

        def poll(self):
            return 0

    return Ended()


def test_a_run_that_is_asked_for_while_its_process_ends_waits(site):
    """Resume pressed at once after Stop: the process of before is not taken for the new one, nor stopped once more."""
    run, child = new(site), sleeper()
    process = Process.find(child.pid)
    own(run, PROCESS).write_text(json.dumps({"pid": process.pid, "started": process.started}))
    own(run, ASKED).write_text(json.dumps({"state": "started", "at": 1.0, "stop": True}))
    own(run, ENDED).write_text(json.dumps({"status": 130}))
    launch.ask(run)
    assert read_run(run).state == "queued" and launch.advance(site) is None
    launch.stop(run)
    assert read_run(run).state == "stopped" and process.is_alive()
    child.kill()
    child.wait()


def test_steps_are_those_of_the_job():
    """The names without the work are the names of the work: read from the source, which would load JAX."""
    import ast
    from pathlib import Path

    source = Path(launch.__file__).parents[2] / "experiments" / "reconstruction" / "table.py"
    calls = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    steps = [call.args[0].value for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Step"]
    assert steps == list(QUESTIONS)
    assert os.path.basename(step_folder("picture")) == "12-picture"


def test_the_queue_changes_places_and_a_batch_takes_one_plan(site):
    """Each movie of a folder gets a run with the first one's settings, and the later of two goes before the other."""
    first = launch.make_run(site, site.folders[0] / "cell <b>1.tif", {"rows": "3:9", "optics": {"pixel_um": 0.2}})
    (site.folders[0] / "more").mkdir()
    for name in ("b.tif", "a.tif", "notes.txt"):
        (site.folders[0] / "more" / name).write_bytes(b"x")
    made = make_batch(site, str(site.folders[0] / "more"), str(first))
    assert [run.name for run in made] == ["a", "b"] == [run.name for run in launch.queue(launch.find_runs(site))]
    assert [load_plan(run / "plan.toml").rows for run in made] == ["3:9", "3:9"]
    assert load_plan(made[1] / "plan.toml").movie == str(site.folders[0] / "more" / "b.tif")
    launch.move_up(site, made[1])
    launch.move_up(site, made[1])  # the first stays the first
    assert launch.queue(launch.find_runs(site)) == made[::-1]
    for folder, plan in (
        ("/etc", str(first)),
        (str(site.folders[0] / "runs"), str(first)),
        (str(site.folders[0]), None),
    ):
        with pytest.raises(Refused):
            make_batch(site, folder, plan)


def test_what_a_run_is_not_sure_of_is_said_with_a_remedy(site):
    """From the findings that the steps themselves write: a line for each doubt, none where there is none."""
    run = new(site)
    assert read_doubts(run) == []
    sure = {
        "look": {"pixel_um": None, "looks_like_beads": False, "floor_at_zero": False},
        "camera": {"sure": "measured", "gain_adu_per_photon": 2.0}, "psf": {"source": "from 9 isolated spots"},
        "test": {"left_over": 1.1},
    }  # fmt: skip
    doubtful = {
        "look": {"looks_like_beads": True, "floor_at_zero": True}, "camera": {"sure": "guessed"},
        "psf": {"source": "assumed", "sigma_um": 0.143, "pixel_um": 0.1}, "test": {"left_over": 2.34},
    }  # fmt: skip
    for found, plan, lines in ((sure, 0.1, 0), (sure, None, 1), (doubtful, 0.1, 5), (doubtful, None, 6)):
        launch.change_plan(run, "optics", {"pixel_um": plan})
        for step, finding in found.items():
            place = run / step_folder(step)
            place.mkdir(exist_ok=True)
            (place / "finding.json").write_text(json.dumps(finding))
        said = read_doubts(run)
        assert len(said) == lines and all(line.endswith(".") and ". " in line for line in said)
        assert "143 nm" in " ".join(said) or found is sure


def test_what_came_out_is_read_from_the_findings(site):
    run = new(site)
    numbers = {"filters": {"seconds": 60.0, "after": 12}, "picture": {"seconds": 30.0, "frc_nm": None},
               "test": {"seconds": 30.0, "sigma_xy_um": 0.0123}}  # fmt: skip
    (run / "findings.json").write_text(json.dumps(numbers))
    (run / "plan.toml").write_text('movie = "/data/tuesday/cell/beads.tif"')
    cells = Outcome.read(run).cells()
    assert cells["movie"] == "cell/beads.tif"  # many recordings have files of one name
    assert (cells["rows"], cells["precision"], cells["frc"], cells["minutes"]) == (12, 12.3, None, 2.0)
    assert Outcome.read(new(site)).cells()["rows"] is None
