"""Progress of an experiment of many arms: the time left for all of them, and a line for each that is done."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.compare.results import WORDS
from experiments.progress import Display
from optics.progress import Event

Key = tuple[str, int]


@dataclass
class Forecast:
    """Time left for a whole experiment, from what its steps and scorings took so far.

    `plan` lists (arm, seed) in order, `steps` per arm. Compilation is counted with the first step of every
    arm; what an arm has not shown yet is taken from the arms before it. `clock` gives seconds.
    """

    plan: Sequence[Key]
    steps: int
    clock: Callable[[], float] = time.monotonic
    _started: dict[Key, tuple[float, int]] = field(default_factory=dict)
    _step_s: dict[Key, float] = field(default_factory=dict)
    _compile_s: list[float] = field(default_factory=list)
    _scoring_s: list[float] = field(default_factory=list)
    _scoring_since: float = 0.0

    def see(self, event: Event) -> None:
        """Take an event in."""
        if "arm" not in event.numbers:
            return
        key, now = _key(event), self.clock()
        if event.stage == "step":
            if key not in self._started:
                self._started[key] = (now, event.done)
                self._compile_s.append(event.numbers["seconds"])
            since, first = self._started[key]
            if event.done > first:
                self._step_s[key] = (now - since) / (event.done - first)
        elif event.stage == "scoring":
            self._scoring_since = now
        elif event.stage == "scored":
            self._scoring_s.append(now - self._scoring_since)

    def left_s(self, event: Event) -> float | None:
        """Estimate the seconds to the end of the last arm; None before the first steps are timed."""
        key = _key(event)
        if event.stage != "step" or key not in self._step_s or key not in self.plan:
            return None
        overhead = _mean(self._compile_s) + _mean(self._scoring_s or self._compile_s)
        later = self.plan[self.plan.index(key) + 1 :]
        known = self._step_s
        per_arm = [self.steps * known.get(k, _like(k, known)) + overhead for k in later]
        scoring = _mean(self._scoring_s or self._compile_s)
        return (event.total - event.done) * known[key] + scoring + sum(per_arm)


def _key(event: Event) -> Key:
    return event.numbers["arm"], event.numbers["seed"]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _like(key: Key, known: dict[Key, float]) -> float:
    """Guess the seconds per step of an arm to come: its own at another seed, else the mean of the others."""
    same = [value for (arm, _), value in known.items() if arm == key[0]]
    return _mean(same or list(known.values()))


class ArmDisplay(Display):
    """A display of the events of all arms: numbered, with the time left for all, and a line of scores for each."""

    def __init__(self, plan: Sequence[Key], steps: int, **options: Any):
        self._forecast = Forecast(plan, steps)
        self._several_seeds = len({seed for _, seed in plan}) > 1
        self._number = {key: number for number, key in enumerate(plan, 1)}
        super().__init__(
            "compiling", every=0.1, prefix=self._name, left_s=self._forecast.left_s, left="left in all", **options
        )

    def __call__(self, event: Event) -> None:
        """Show one event of a training or a scoring."""
        self._forecast.see(event)
        if event.stage == "scored":
            by = event.numbers.get("reading", "decoder")
            self.say(f"{self._name(event)}, {WORDS[by]}: done; {_scores(event.numbers['cells'])}")
        else:
            super().__call__(event)

    def _name(self, event: Event) -> str:
        arm, seed = key = _key(event)
        return f"[{self._number.get(key, 0)}/{len(self._number)}] {arm}{f' seed {seed}' if self._several_seeds else ''}"


def _scores(cells: dict[str, dict[str, float]]) -> str:
    counted = {int(name.removeprefix("count ")): score for name, score in cells.items() if name.startswith("count ")}
    ends = sorted({min(counted), max(counted)}) if counted else []
    words = [f"{counted[n]['jaccard']:.3f} at {n} emitter{'s' if n > 1 else ''} per frame" for n in ends]
    return f"Jaccard {', '.join(words)}" if words else "scored"
