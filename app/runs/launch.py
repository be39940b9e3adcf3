"""Runs made, started, stopped and put into a queue; every step of it is a file in the run's folder."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from app.runs.files import ASKED, ENDED, FOLDER, PLAN, PROCESS, SAID, TURN, own, read_json, write_whole
from app.runs.jobs import job_of, new_folder
from app.runs.process import Process
from app.runs.state import is_run, plan_of, process_of, read_run, table_of
from app.site import RUNS, Refused, Site
from experiments.reconstruction.questions import QUESTIONS

_ROOT = str(Path(__file__).resolve().parents[2])
_STARTING = threading.Lock()
_CHILDREN: dict[Path, subprocess.Popen] = {}  # of this server, so that they are reaped


def make_run(site: Site, movie: Path, settings: Mapping[str, Any]) -> Path:
    """Make a folder in `runs` with the plan of a movie; settings are as in plan.toml. Returns the folder."""
    folder = new_folder(site, movie.name.split(".")[0] or "movie")
    write_whole(folder / PLAN, plan_text({"movie": str(movie), **settings}))
    return folder


def plan_text(values: Mapping[str, Any], name: str = "") -> str:
    """Write plain values as TOML, tables after what stands alone; what is None or "" is left out.

    >>> print(plan_text({"movie": "a.tif", "optics": {"na": 1.4, "focus_um": None}}))
    movie = "a.tif"
    [optics]
    na = 1.4
    """
    plain, tables = [], []
    for key, value in values.items():
        if isinstance(value, Mapping):
            whole = f"{name}.{key}" if name else key
            tables += [inner] if (inner := plan_text(value, whole)) else []
        elif value is not None and value != "":
            plain.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join([*([f"[{name}]"] if name and plain else []), *plain, *tables])


def change_plan(folder: Path, table: str, values: Mapping[str, Any]) -> None:
    """Change settings in a table of a run's plan, or outside all with ""; None takes one away.

    Raises `Refused` while the run works.
    """
    with _STARTING:
        if read_run(folder).is_active:
            raise Refused("the run works or waits; stop it first", 409)
        plan = plan_of(folder)
        if not plan:
            raise Refused(f"{folder / PLAN}: cannot be read; write it again", 400)
        changed = {table: {**table_of(plan, table), **values}} if table else values
        write_whole(folder / PLAN, plan_text({**plan, **changed}) + "\n")


def arguments(folder: Path, to: str | None = None) -> list[str]:
    """Return the arguments of `colocus` that work on a run, or on another job."""
    if job := job_of(folder):
        return job["argv"]
    if to is not None and to not in QUESTIONS:
        raise Refused(f"{to!r} is no step; steps: {', '.join(QUESTIONS)}", 400)
    return ["reconstruct", "--out", str(folder), "--resume", *([] if to is None else ["--to", to])]


def command(folder: Path, to: str | None = None) -> str:
    """Write what one types to do the same in a terminal."""
    return shlex.join(["colocus", *arguments(folder, to)])


def ask(folder: Path, to: str | None = None) -> None:
    """Put a run into the queue, to be worked on up to a step; a run that works or waits already is left alone."""
    with _STARTING:
        if read_run(folder).is_active:
            return
        (folder / FOLDER).mkdir(exist_ok=True)
        own(folder, ENDED).unlink(missing_ok=True)
        for turn in (folder / FOLDER).glob(f"{TURN}*"):
            turn.unlink(missing_ok=True)
        write_whole(
            own(folder, ASKED), json.dumps({"state": "queued", "at": time.time(), "argv": arguments(folder, to)})
        )


def stop(folder: Path) -> None:
    """Stop a run as Ctrl-C does, and at once where that was asked before; or take it out of the queue."""
    with _STARTING:
        asked, process = read_json(own(folder, ASKED)), process_of(folder)
        if asked.get("state") == "queued":
            write_whole(own(folder, ASKED), json.dumps({**asked, "state": "withdrawn"}))
            write_whole(own(folder, ENDED), json.dumps({"status": 130}))
        elif process is not None:
            write_whole(own(folder, ASKED), json.dumps({**asked, "stop": True}))
            process.signal(signal.SIGTERM if asked.get("stop") else signal.SIGINT)


def find_runs(site: Site) -> list[Path]:
    """Find runs and jobs in the allowed folders: in each, one folder below, and in `runs` there."""
    found: dict[Path, None] = {}
    for folder in site.folders:
        for places in ([folder], _inside(folder), _inside(folder / RUNS)):
            for place in places:
                with suppress(Refused):
                    found.update({site.resolve(place): None} if is_run(place) or job_of(place) else {})
    return list(found)


def _inside(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:  # which tells folders from files without asking for each
            return [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []


def queue(runs: Iterable[Path]) -> list[Path]:
    """Return the runs that wait, in the order in which they were asked for."""
    waiting = [
        (asked.get("at", 0.0), run) for run in runs if (asked := read_json(own(run, ASKED))).get("state") == "queued"
    ]
    return [run for _, run in sorted(waiting)]


def move_up(site: Site, folder: Path) -> None:
    """Let a run that waits change places with the one before it."""
    with _STARTING:
        waiting = queue(find_runs(site))
        place = waiting.index(folder) if folder in waiting else 0
        if place:
            earlier, later = (own(run, ASKED) for run in waiting[place - 1 : place + 1])
            first, second = read_json(earlier), read_json(later)
            write_whole(earlier, json.dumps({**first, "at": second["at"]}))
            write_whole(later, json.dumps({**second, "at": first["at"]}))


def advance(site: Site) -> Path | None:
    """Start the run whose turn it is, where none works; returns it. The server calls this again and again."""
    with _STARTING:
        for run, child in list(_CHILDREN.items()):
            if child.poll() is not None:
                del _CHILDREN[run]
        runs = [run for run in find_runs(site) if own(run, ASKED).exists()]
        waiting = queue(runs)
        if not waiting or any(process_of(run) for run in runs):
            return None
        return waiting[0] if _start(waiting[0]) else None


@contextmanager
def held() -> Iterator[None]:
    """Begin processes with Ctrl-C's signal held back, which they take when they are ready: none is lost till then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(folder: Path) -> bool:
    """Start a run that waits; False where another server over the same folder was faster."""
    asked = read_json(own(folder, ASKED))
    try:
        own(folder, f"{TURN}{asked.get('at')}").open("x").close()
    except FileExistsError:
        return False
    argv = [str(part) for part in asked.get("argv", arguments(folder))]
    own(folder, ENDED).unlink(missing_ok=True)
    with own(folder, SAID).open("w") as said, held():
        child = subprocess.Popen(
            # -P: a file beside the movie that is named as a module is not taken for it
            [sys.executable, "-P", "-m", "app.runs.worker", str(folder), *argv],
            # what the compiler tells its own makers would push what the run says out of sight
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ,
                 "PYTHONPATH": os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))},
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    _CHILDREN[folder] = child
    process = Process.find(child.pid)
    if process is not None:  # the worker notes the same, some milliseconds later
        write_whole(own(folder, PROCESS), json.dumps({"pid": process.pid, "started": process.started}))
    write_whole(own(folder, ASKED), json.dumps({**asked, "state": "started"}))
    return True
