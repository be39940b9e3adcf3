"""Progress as a person sees it: a bar with the time left in a terminal, few lines or none elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from optics.progress import Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

# numbers of an event that are shown, in words
_SHOWN: dict[str, Callable[[Any], str]] = {
    "start": str,
    "loss": lambda value: f"loss {value:.3g}",
    "found": lambda value: f"{value} found",
    "least_um": lambda value: f"least {1e3 * value:.2f} nm",
    "misfit": lambda value: f"{100 * value:.2f} % unexplained",
}


def event_of(line: Event | dict[str, Any]) -> Event:
    """Read an event from a line of log.jsonl, or from a library that reports in such mappings."""
    if isinstance(line, Event):
        return line
    names = ("event", "step", "steps", "done", "total", "planned", "stage", "what")
    numbers = {name: value for name, value in line.items() if name not in names}
    done = line.get("step", line.get("done", 0))
    total = line.get("steps", line.get("total", line.get("planned", 0)))
    return Event(line.get("stage", line.get("what", line["event"])), done, total, numbers)


def duration(seconds: float) -> str:
    """Write a length of time in words.

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
    """Show the events of a job on a terminal: a context manager that is called with each `optics.progress.Event`.

    `every` is the share of a stage after which a line is printed where the output is no terminal; None prints none
    there. `prefix` says of an event which part of the work it belongs to, `left_s` how many seconds are left (by
    default until the end of the stage, from its pace so far; None: not known) and `left` what they are left of.

    >>> with Display(every=0.5) as display:
    ...     display(Event("frame", 5, 10, {"found": 12}))
    """

    def __init__(
        self,
        first: str = "loading",
        *,
        every: float | None = None,
        prefix: Callable[[Event], str] = lambda event: "",
        left_s: Callable[[Event], float | None] | None = None,
        left: str = "left",
        console: "Console | None" = None,
    ):
        from rich.console import Console  # not before it is needed: commands read their arguments without it

        self._console = console or Console(file=sys.stderr, highlight=False)
        self._first, self._every, self._prefix, self._left_s, self._left = first, every, prefix, left_s, left
        self._stage: tuple[str, str] | None = None
        self._begun, self._done, self._printed = (0.0, 0), 0, -1.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, expand=True)
            self._bar.start()
            self._task = self._bar.add_task(self._first, total=None, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line of plain text that stays, above the bar where there is one."""
        self._console.print(line, markup=False, soft_wrap=True)

    def __call__(self, event: Event) -> None:
        """Show one event; one with a number "text" is a line that stays."""
        event = event_of(event)
        if "text" in event.numbers:
            return self.say(event.numbers["text"])
        prefix = self._prefix(event)
        if (prefix, event.stage) != self._stage or event.done < self._done:
            self._stage, self._begun, self._printed = (prefix, event.stage), (time.monotonic(), event.done), -1.0
            self._new_task(f"{prefix}: {event.stage}" if prefix else event.stage)
        self._done = event.done
        left = self._pace(event) if self._left_s is None else self._left_s(event)
        facts = [word(event.numbers[name]) for name, word in _SHOWN.items() if name in event.numbers]
        note = ", ".join([*facts, *([] if left is None else [f"about {duration(left)} {self._left}"])])
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=event.done, total=event.total or None, note=note)
        elif self._is_due(event, left):
            count = f"{event.stage} {event.done} of {event.total}" if event.total else f"{event.stage} ..."
            self.say(", ".join(filter(None, [f"{prefix}: {count}" if prefix else count, note])))

    def _new_task(self, description: str) -> None:
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(description, total=None, note="")

    def _pace(self, event: Event) -> float | None:
        """Seconds left of a stage, from its pace since its first event."""
        since, first = self._begun
        if event.done <= first or not event.total:
            return None
        return max(event.total - event.done, 0) * (time.monotonic() - since) / (event.done - first)

    def _is_due(self, event: Event, left: float | None) -> bool:
        if self._every is None:
            return False
        share = min(event.done / event.total, 1.0) if event.total else 1.0
        # the first line of a stage with a time left comes at once, then one every share of the whole
        is_due = (
            self._printed < 0
            or (left is not None and self._printed == 0.0)
            or share >= self._printed + self._every
            or share == 1.0 > self._printed
        )
        if is_due:
            self._printed = 0.0 if left is None and event.total else share
        return is_due
