"""Progress of long work: one type of event for steps, frames, chunks and fits, and who receives it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One report of a long computation.

    `stage` names what is counted ("step", "frames", "fit", ...), `done` of `total` are finished (`total` 0: not
    known beforehand), `numbers` holds what else is known by now: loss, seconds, rows found.

    >>> Event("step", 10, 100, {"loss": 0.5}).numbers["loss"]
    0.5
    """

    stage: str
    done: int = 0
    total: int = 0
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Lay out the event as one flat mapping, a line of a log.

        >>> Event("step", 10, 100, {"loss": 0.5}).record()
        {'event': 'step', 'step': 10, 'steps': 100, 'loss': 0.5}
        """
        counts = {self.stage: self.done, f"{self.stage}s": self.total} if self.total else {}
        return {"event": self.stage, **counts, **self.numbers}

    def __getitem__(self, name: str) -> Any:
        """One value by its name in the record: `event["loss"]`."""
        return {"done": self.done, "total": self.total, **self.record()}[name]


Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignore an event: the default receiver."""
    del event
