"""A stream of events as a person sees it: a bar with the time left in a terminal, few lines elsewhere."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from experiments.status_line import StatusLine

Event = dict[str, Any]
Key = tuple[str, int]


@dataclass
class Forecast:
    """Time left for a whole experiment, from what its steps and scorings took so far.

    `plan` lists (arm, seed) in order, `steps` per arm. Compilation is counted with the first step of every
    arm; what an arm has not shown yet is taken from the arms before it. `clock` gives seconds.
    """

    plan: list[Key]
    steps: int
    clock: Callable[[], float] = time.monotonic
    _started: dict[Key, tuple[float, int, float]] = field(default_factory=dict)
    _step_s: dict[Key, float] = field(default_factory=dict)
    _compile_s: list[float] = field(default_factory=list)
    _scoring_s: list[float] = field(default_factory=list)
    _scoring_since: float = 0.0

    def see(self, event: Event) -> None:
        """Take an event in."""
        if "arm" not in event:
            return
        key, now = (event["arm"], event["seed"]), self.clock()
        if event["event"] == "step":
            if key not in self._started:
                self._started[key] = (now, event["step"], event["seconds"])
                self._compile_s.append(event["seconds"])
            since, first, _ = self._started[key]
            if event["step"] > first:
                self._step_s[key] = (now - since) / (event["step"] - first)
        elif event["event"] == "scoring":
            self._scoring_since = now
        elif event["event"] == "scored":
            self._scoring_s.append(now - self._scoring_since)

    def left_s(self, event: Event) -> float | None:
        """Seconds from a step event to the end of the last arm, or None before the first steps are timed."""
        key = (event["arm"], event["seed"])
        if key not in self._step_s or key not in self.plan:
            return None
        overhead = _mean(self._compile_s) + _mean(self._scoring_s or self._compile_s)
        later = self.plan[self.plan.index(key) + 1 :]
        known = self._step_s
        per_arm = [self.steps * known.get(k, _like(k, known)) + overhead for k in later]
        scoring = _mean(self._scoring_s or self._compile_s)
        return (event["steps"] - event["step"]) * known[key] + scoring + sum(per_arm)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _like(key: Key, known: dict[Key, float]) -> float:
    """Seconds per step of an arm to come: its own at another seed, else the mean of the others."""
    same = [value for (arm, _), value in known.items() if arm == key[0]]
    return _mean(same or list(known.values()))


def duration(seconds: float) -> str:
    """A length of time in words.

    >>> duration(75), duration(4000)
    ('1 min 15 s', '1 h 7 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Display:
    """Shows events; a context manager. A bar where `console` is a terminal, else a line a tenth of an arm."""

    def __init__(self, plan: list[Key], steps: int, console: Console | None = None):
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._several_seeds = len({seed for _, seed in plan}) > 1
        self._forecast = Forecast(plan, steps)
        self._count, self._steps = len(plan), steps
        self._place = {key: number for number, key in enumerate(plan, 1)}
        self._told = -1.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, expand=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """One line of plain text, above the bar where there is one."""
        self._console.print(line, markup=False, soft_wrap=True)

    def show(self, event: Event) -> None:
        """Take one event of a training or a scoring."""
        self._forecast.see(event)
        kind = event["event"]
        if kind == "step":
            self._show_step(event)
        elif kind == "scoring":
            self._told = -1.0
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, note="scoring ...")
        elif kind == "scored":
            if self._bar is not None and self._task is not None:
                self._bar.remove_task(self._task)
                self._task = None
            self.say(f"{self._name(event)}: done; {_scores(event['cells'])}")

    def _name(self, event: Event) -> str:
        seed = f" seed {event['seed']}" if self._several_seeds else ""
        number = self._place.get((event["arm"], event["seed"]), 0)
        return f"[{number}/{self._count}] {event['arm']}{seed}"

    def _show_step(self, event: Event) -> None:
        left = self._forecast.left_s(event)
        note = f"loss {event['loss']:.3g}"
        if left is not None:
            note += f", about {duration(left)} left in all"
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self._name(event), total=event["steps"], note=note)
            self._bar.update(self._task, completed=event["step"], note=note)
            return
        share = event["step"] / event["steps"]
        # the first line of an arm with a time left comes at once, then one a tenth
        if self._told < 0 or left is not None and self._told == 0.0 or share >= self._told + 0.1 or share == 1.0:
            self._told = 0.0 if left is None else share
            self.say(f"{self._name(event)}: step {event['step']} of {event['steps']}, {note}")


class MovieDisplay(StatusLine):
    """Shows the events of `localize`: the time left in a terminal, a line a tenth elsewhere."""

    def __init__(self, console: Console | None = None):
        super().__init__("loading", console)
        self._told = 0.0

    def show(self, event: Event) -> None:
        """Take one event of a movie being read."""
        kind = event["event"]
        if kind == "start":
            self.say(f"{event['movie']}: {event['frames']} frames, read with {event['model']}")
        elif kind == "end":
            self.say(f"{event['rows']} localizations in {event['frames']} frames, {duration(event['seconds'])}")
        elif kind == "frames":
            share = event["done"] / event["total"]
            left = event["seconds"] * (1 / share - 1)
            tell = share >= self._told + 0.1
            self._told = share if tell else self._told
            line = f"frame {event['done']} of {event['total']}, {event['found']} found, {duration(left)} left"
            self.update(line, tell=tell)


def _scores(cells: dict[str, dict[str, float]]) -> str:
    counted = {int(name.removeprefix("count ")): score for name, score in cells.items() if name.startswith("count ")}
    ends = sorted({min(counted), max(counted)}) if counted else []
    said = [f"{counted[n]['jaccard']:.3f} at {n} emitter{'s' if n > 1 else ''} per frame" for n in ends]
    return f"Jaccard {', '.join(said)}" if said else "scored"
