"""What happened in a run, a line of JSON each, beside what the terminal shows."""

import json
import time
from pathlib import Path

from optics.progress import Event, Report


class EventLog:
    """Receive events: pass each on, and write it to a file, of a stage's progress one every `every_s`."""

    def __init__(self, path: Path, report: Report, every_s: float = 1.0) -> None:
        self.path, self.report, self.every_s = path, report, every_s
        self._last_s = float("-inf")

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if not event.total or event.done == event.total or now - self._last_s >= self.every_s:
            self._last_s = now if event.total else self._last_s
            line = json.dumps({**event.record(), "at": round(time.time(), 3)}) + "\n"
            with self.path.open("a") as log:
                log.write(line)
        self.report(event)
