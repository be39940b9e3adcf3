"""The state of a run, from its folder alone: what every page draws, in every tab and after every restart."""

import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.runs.files import ASKED, ENDED, LOG, PLAN, PROCESS, SAID, changed_ns, events, number, own, read_json, tail
from app.runs.jobs import KINDS, arms, job_of
from app.runs.process import Process
from experiments.reconstruction.questions import QUESTIONS, step_folder

State = Literal["ready", "queued", "running", "stopping", "stopped", "failed", "broken off", "done", "partly done"]
_JOB_PICTURES = ("figures/masks.png", "psf/figures/pupil.png", "slm.png")
_SPAN_S = 60.0  # of which the pace is taken


@dataclass(frozen=True)
class StepState:
    """A step of a run: "done", "running", "waiting", and how far: `done` of `total`, with the seconds left if known."""

    name: str
    state: Literal["done", "running", "waiting"]
    seconds: float | None = None
    stage: str = ""
    done: int = 0
    total: int = 0
    left_s: float | None = None

    @property
    def question(self) -> str:
        """What the step finds out."""
        return QUESTIONS.get(self.name, self.stage or self.name)


@dataclass(frozen=True)
class Run:
    """A run as its folder shows it. `message` is one line for a person; `changed` the time of its last change."""

    folder: Path
    state: State
    movie: str
    steps: tuple[StepState, ...]
    message: str
    changed: float

    @property
    def is_active(self) -> bool:
        """Whether it works or waits for its turn."""
        return self.state in ("queued", "running", "stopping")

    @property
    def thumbnail(self) -> Path | None:
        """The picture of the last step that has one."""
        places = [self.folder / name for name in _JOB_PICTURES]
        places += [self.folder / step_folder(step.name) / "picture.png" for step in reversed(self.steps)
                   if step.name in QUESTIONS]  # fmt: skip
        return next((place for place in places if place.exists()), None)


def is_run(folder: Path) -> bool:
    """Ask whether a folder holds a reconstruction."""
    return (folder / PLAN).is_file()


def process_of(folder: Path) -> Process | None:
    """Return the process that works on a run now; None without one."""
    said = read_json(own(folder, PROCESS))
    if not isinstance(said.get("pid"), int):
        return None
    process = Process(said["pid"], str(said.get("started")))
    return process if process.is_alive() else None


def plan_of(folder: Path) -> dict[str, Any]:
    """Read a run's plan as plain values; empty where it cannot be read."""
    try:
        return tomllib.loads((folder / PLAN).read_text())
    except (OSError, ValueError):
        return {}


def table_of(plan: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table of a plan; empty where there is none, or something else of that name.

    >>> table_of({"optics": {"na": 1.4}, "psf": 3}, "psf")
    {}
    """
    found = plan.get(name)
    return found if isinstance(found, dict) else {}


def read_run(folder: Path) -> Run:
    """Read the state of a run, or of another job, from its folder."""
    asked, ended = read_json(own(folder, ASKED)), read_json(own(folder, ENDED))
    process, log, job = process_of(folder), events(folder), job_of(folder)
    live = (
        process is not None and not ended
    )  # who has noted how it ended works no more, though it lives a moment longer
    steps = _job_steps(folder, job, log, live) if job else _steps(folder, log, live)
    done = sum(step.state == "done" for step in steps)
    status = ended.get("status")
    state, message = "ready", "not begun"
    if asked.get("state") == "queued":  # though the process of before may still be ending
        state, message = "queued", "waits for its turn"
    elif live:
        stopping = bool(asked.get("stop"))
        state = "stopping" if stopping else "running"
        now = next((step for step in steps if step.state == "running"), None)
        message = now.question if now else "loading"
        if stopping:
            message = "stopping; what is done stays"
    elif done == len(steps) and status in (0, None):
        state, message = "done", job["kind"] if job else _last_line(folder)
    elif status == 0:
        state, message = "partly done", f"{done} of {len(steps)} steps are done"
    elif status == 2 or status == 1:
        state, message = "failed", complaint(folder)
    elif status in (130, 3) or asked.get("stop"):
        state, message = "stopped", f"{done} of {len(steps)} steps are done; Resume goes on"
    elif asked.get("state") == "started" or done:
        known = "ended without a word" if asked else "not finished"
        state, message = "broken off", f"{known}; Resume goes on"
    places = (folder / LOG, own(folder, ASKED), own(folder, ENDED), folder / PLAN)
    changed = max(map(changed_ns, places)) / 1e9
    movie = job.get("movie", "") if job else plan_of(folder).get("movie", "")
    return Run(folder, state, str(movie), steps, message, changed)


def complaint(folder: Path) -> str:
    """Return the line in which the command said why it ended."""
    lines = [line for line in tail(own(folder, SAID)) if line.strip()]
    said = [line.partition("error: ")[2] for line in lines if line.startswith("colocus: error: ")]
    return said[-1] if said else (lines[-1] if lines else "ended without a word")


def _last_line(folder: Path) -> str:
    found = read_json(folder / step_folder("filters") / "finding.json")
    rows = found.get("after")
    return f"{rows} localizations" if isinstance(rows, int) else "all steps are done"


def _steps(folder: Path, log: list[dict[str, Any]], live: bool) -> tuple[StepState, ...]:
    begins = [k for k, record in enumerate(log) if record.get("event") == "start"]
    latest = [record for record in log[begins[-1] if begins else 0 :] if isinstance(record.get("step"), str)]
    passed = {record.get("step") for record in latest if record.get("event") in ("done", "kept")}
    begun = [record.get("step") for record in latest if record.get("event") in ("begun", "progress")]
    now = begun[-1] if live and begun and begun[-1] in QUESTIONS and begun[-1] not in passed else None
    names, steps = list(QUESTIONS), []
    for place, name in enumerate(names):
        kept = read_json(folder / step_folder(name) / "done.json")
        is_done = bool(kept)
        if live and begins:  # steps to come may be done again
            is_done = name in passed
        elif live and now is not None:
            is_done = place < names.index(now)
        if name == now:
            steps.append(_running(name, latest))
        elif is_done:
            steps.append(StepState(name, "done", number(kept.get("seconds"))))
        else:
            steps.append(StepState(name, "waiting"))
    return tuple(steps)


def _job_steps(folder: Path, job: dict[str, Any], log: list[dict[str, Any]], live: bool) -> tuple[StepState, ...]:
    """The steps of a job: its arms where it is an experiment, else the one that it is."""
    found = arms(folder) if job["kind"] in ("codesign", "compare") else []
    made = (folder / KINDS[job["kind"]][1]).exists()
    if not found:
        return (StepState(job["kind"], "running" if live else "done" if made else "waiting"),)
    last = next((record for record in reversed(log) if "arm" in record), {}) if live else {}
    steps = []
    for arm, seed in found:
        name = arm if len({number for _, number in found}) == 1 else f"{arm}, seed {seed}"
        if (last.get("arm"), last.get("seed")) == (arm, seed) and last.get("event") != "scored":
            total, at, seconds = (number(last.get(key)) or 0.0 for key in ("steps", "step", "seconds"))
            left = seconds / at * (total - at) if at and seconds else None
            steps.append(StepState(name, "running", None, str(last.get("event")), round(at), round(total), left))
        elif any((folder / "arms" / f"{arm}-seed{seed}").glob("scores*.json")):
            steps.append(StepState(name, "done"))
        else:
            steps.append(StepState(name, "waiting"))
    if not made and not live and all(step.state == "done" for step in steps):
        steps[-1] = StepState(steps[-1].name, "waiting")  # the report is still to be written
    return tuple(steps)


def _running(name: str, latest: list[dict[str, Any]]) -> StepState:
    """How far a step is: its last progress, and the time left at the pace of the last minute."""
    since = max((k for k, record in enumerate(latest) if record.get("event") == "begun"), default=None)
    began = None if since is None else number(latest[since].get("at"))
    seconds = None if began is None else time.time() - began
    told = [record for record in latest[since or 0 :] if record.get("event") == "progress"
            and None not in (number(record.get(key)) for key in ("at", "done", "total"))]  # fmt: skip
    if not told:
        return StepState(name, "running", seconds)
    last = told[-1]
    same = [record for record in told if record.get("stage") == last.get("stage")]
    recent = [record for record in same if record["at"] > last["at"] - _SPAN_S and record["done"] <= last["done"]]
    first, left = recent[0], None
    if last["done"] > first["done"]:
        pace = (last["at"] - first["at"]) / (last["done"] - first["done"])
        left = max(pace * (last["total"] - last["done"]) - (time.time() - last["at"]), 0.0)
    return StepState(name, "running", seconds, str(last.get("stage")), last["done"], last["total"], left)
