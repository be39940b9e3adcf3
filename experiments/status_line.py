"""Where a long work is: one line that changes in a terminal, few lines elsewhere."""

import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console


class StatusLine:
    """A context manager; subclasses turn the events of their work into `update` and `say`."""

    def __init__(self, first: str, console: "Console | None" = None):
        from rich.console import Console  # not before it is needed: commands read their arguments without it

        self._console = console or Console(file=sys.stderr, highlight=False)
        self._status = self._console.status(first) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def update(self, line: str, *, tell: bool) -> None:
        """The line as it is now; where lines cannot change it is printed if it is one to `tell`."""
        if self._status is not None:
            self._status.update(line)
        elif tell:
            self.say(line)

    def say(self, line: str) -> None:
        """One line of plain text that stays."""
        self._console.print(line, markup=False, soft_wrap=True)
