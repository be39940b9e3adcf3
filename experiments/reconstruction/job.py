"""`colocus reconstruct`: the steps of a plan, one after another, each done where what decides it has changed."""

import json
import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.reading.pieces.movie_job import movie_identity
from experiments.reconstruction.finding import FINDING, Finding
from experiments.reconstruction.plan import Plan, load_plan, plan_toml
from experiments.reconstruction.questions import step_folder
from experiments.reconstruction.report import Section, write_report
from experiments.reconstruction.step import Bench, Step, fingerprint
from experiments.reconstruction.steps import after
from experiments.reconstruction.steps.look import check_movie
from experiments.reconstruction.table import NAMES, STEPS
from localization import open_movie
from localization.io.movies.store import is_url
from optics.progress import Event, Report, silent
from optics.whole_file import remove_leftovers, whole_file, write_text
from training import ConfigError, TimeLimit, from_dict
from training.settings import check_name

if TYPE_CHECKING:
    from distributed import Client

PLAN, LOG, DONE, BEGUN = "plan.toml", "log.jsonl", "done.json", "begun.json"
_LOGGED_EVERY_S = 1.0  # of the progress within a step, which a long run would fill its log with
_COPIED = {"filters": after.FILE, **{name.replace("_full", ""): name for name in after.PICTURES}}


@dataclass(frozen=True)
class Reconstruction:
    """A run: its folder, what each step found, the seconds that each took, and those that were skipped."""

    folder: Path
    found: dict[str, Finding]
    seconds: dict[str, float]
    skipped: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say what each step found, the chief line of each."""
        width = max(map(len, self.found), default=0)
        return [f"{name:{width}}  {(finding.lines() or ['done'])[0]}" for name, finding in self.found.items()]

    def numbers(self) -> dict[str, Any]:
        """List what every step found, and its seconds."""
        return {name: {"seconds": self.seconds[name], **finding.numbers()} for name, finding in self.found.items()}

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"


def reconstruct(
    movie: Path | str,
    out: Path | str,
    plan: Plan | None = None,
    *,
    to: str | None = None,
    resume: bool = False,
    deadline_s: float | None = None,
    client: "Client | None" = None,
    report: Report = silent,
) -> Reconstruction:
    """Reconstruct a movie in the folder `out`: find out what it is, read it, draw it, and say why at every step.

    `plan` (default: the run's own plan.toml, else every choice by itself) decides what is not found out. `to` names
    the last step. With `resume` a run goes on: steps whose plan, files and earlier findings are the same are not done
    again, and of all frames those that were read stay. Past `deadline_s` (of `time.monotonic`) what is done is reported
    and `TimeLimit` raised. The workers of a Dask `client` do the longest step, the frames. `report` hears an `Event`
    for every step, and of long ones their progress.

    Raises `ConfigError`, `LocalizationError` or `OpticsError`, one line each.

    >>> reconstruct("no-such-movie.tif", "no-such-run")
    Traceback (most recent call last):
    localization.types.LocalizationError: ...no-such-movie.tif: no such file or folder; check the name
    """
    out = Path(out)
    last = NAMES[-1] if to is None else to
    check_name("step", last, NAMES)
    plan = _planned(movie, out, plan, resume=resume)
    with open_movie(check_movie(plan), **plan.opening.options().given()) as opened:
        identity = movie_identity(opened)
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    write_text(out / PLAN, plan_toml(plan))
    run = _Run(plan, out, identity, deadline_s, report)
    run.bench.client = client
    wanted = STEPS[: NAMES.index(last) + 1]
    run.begin([step.name for step in wanted])
    try:
        for step in wanted:
            run.do(step)
        run.end()
    finally:
        run.write_report()
    return Reconstruction(out, run.bench.found, run.seconds, tuple(run.skipped))


def _planned(movie: Path | str, out: Path, plan: Plan | None, *, resume: bool) -> Plan:
    """The plan of a run, with absolute names; `ConfigError` where the folder holds another or a stranger's."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder")
    there = (out / PLAN).exists()
    if any(out.glob(f"[0-9][0-9]-*/{DONE}")) and not resume:
        raise ConfigError(
            f"{out} already holds a reconstruction; add --resume to go on with it, or name another folder"
        )
    if not there and out.exists() and any(item.name in ("config.json", "log.jsonl") for item in out.iterdir()):
        raise ConfigError(f"{out} holds a run of another kind; name another folder")
    if plan is None:
        plan = load_plan(out / PLAN) if there else Plan()
    named = movie or plan.movie
    return absolute(replace(plan, movie=str(named if is_url(named) else Path(named).absolute()) if named else ""))


def absolute(plan: Plan) -> Plan:
    """Return a plan whose files have absolute names, so that it means the same from everywhere."""

    def full(name: str) -> str:
        return str(Path(name).absolute()) if name and Path(name).exists() else name

    return replace(
        plan,
        camera=replace(plan.camera, file=full(plan.camera.file)),
        psf=replace(
            plan.psf,
            file=full(plan.psf.file),
            species=tuple(map(full, plan.psf.species)),
            beads=tuple(map(full, plan.psf.beads)),
            focus=full(plan.psf.focus) if plan.psf.focus else None,
        ),
        reader=replace(plan.reader, model=full(plan.reader.model)),
    )


class _Run:
    """The steps of one call."""

    def __init__(self, plan: Plan, out: Path, movie: dict[str, Any], deadline_s: float | None, report: Report) -> None:
        self.out, self.movie, self.deadline_s, self.report = out, movie, deadline_s, report
        self.bench = Bench(plan, Path(plan.movie), out)
        self.prints: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.skipped: list[str] = []
        self._step, self._logged_s = "", 0.0

    def begin(self, steps: list[str]) -> None:
        """Note in the log which steps are to be done."""
        self._log({"event": "start", "steps": steps})

    def end(self) -> None:
        """Note in the log that they are done."""
        self._log({"event": "end"})

    def do(self, step: Step) -> None:
        """Do a step, or take what it found before."""
        number = NAMES.index(step.name) + 1
        folder = self.out / step_folder(step.name)
        for name in step.files(self.bench.plan):
            if not Path(name).exists():
                raise ConfigError(f"{name}: no such file; check the name in {self.out / PLAN}")
        mark = fingerprint(step, self.bench.plan, self.movie, self.prints)
        done = _done(folder, mark)
        if done is None:
            self._check_time()
            self._log({"event": "begun", "step": step.name})
            self._step, self._logged_s = step.name, 0.0
            self.report(Event(step.name, numbers={"number": number, "of": len(STEPS)}))
            done = self._work(step, folder, mark)
        else:
            self.skipped.append(step.name)
            self._log({"event": "kept", "step": step.name})
        finding = from_dict(step.kind, json.loads((folder / FINDING).read_text()), saved=True)
        self.bench.found[step.name], self.bench.folders[step.name] = finding, folder
        self.prints[step.name], self.seconds[step.name] = mark, float(done["seconds"])
        for name, source in _COPIED.items():
            if (folder / source).exists() and (name == step.name or step.name == "picture"):
                _link(folder / source, self.out / (source if name == step.name else name))
        again = " (as before)" if step.name in self.skipped else ""
        self._say(f"{step.name}{again}: " + "\n  ".join(finding.lines() or ["done"]))

    def _work(self, step: Step, folder: Path, mark: str) -> dict[str, Any]:
        staged = self.out / f".{folder.name}"
        if not (step.resumable and _begun(staged) == mark):
            shutil.rmtree(staged, ignore_errors=True)
            write_text(staged / BEGUN, json.dumps(mark))
        remove_leftovers(staged)
        self.bench.folder = staged
        self.bench.report = self._watched
        began = time.perf_counter()
        finding = step.work(self.bench)
        finding.write(staged)
        done = {"fingerprint": mark, "seconds": round(time.perf_counter() - began, 3)}
        write_text(staged / DONE, json.dumps(done))
        (staged / BEGUN).unlink()
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(staged, folder)
        self._log({"event": "done", "step": step.name, **done})
        return done

    def _watched(self, event: Event) -> None:
        self.report(event)
        now = time.monotonic()
        if event.total and (now - self._logged_s > _LOGGED_EVERY_S or event.done == event.total):
            self._logged_s = now
            self._log(
                {
                    "event": "progress",
                    "step": self._step,
                    "stage": event.stage,
                    "done": event.done,
                    "total": event.total,
                }
            )
        self._check_time()

    def _check_time(self) -> None:
        if self.deadline_s is not None and time.monotonic() > self.deadline_s:
            self._log({"event": "time limit"})
            raise TimeLimit("time limit reached")

    def _say(self, text: str) -> None:
        self.report(Event("note", numbers={"text": text}))

    def _log(self, record: dict[str, Any]) -> None:
        with (self.out / LOG).open("a") as log:
            log.write(json.dumps({**record, "at": round(time.time(), 3)}) + "\n")

    def write_report(self) -> None:
        """Write the page of what is done."""
        sections = [
            Section(step, self.bench.found[step.name], self.bench.folders[step.name], self.seconds[step.name])
            for step in STEPS
            if step.name in self.bench.found
        ]
        if sections:
            write_report(self.out, self.bench.plan, sections, len(STEPS))


def _done(folder: Path, mark: str) -> dict[str, Any] | None:
    """What is kept of a step that was done with the same plan, files and findings; else None."""
    try:
        done = json.loads((folder / DONE).read_text())
        return done if done["fingerprint"] == mark and (folder / FINDING).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _begun(staged: Path) -> str:
    try:
        return str(json.loads((staged / BEGUN).read_text()))
    except (OSError, ValueError):
        return ""


def _link(source: Path, place: Path) -> None:
    """Show a step's file at the top of the run as well: the same file where links are possible."""
    with whole_file(place) as part:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
