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


Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignore an event: the default receiver."""
    del event
