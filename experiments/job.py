"""The one shape of a job: data and settings in, progress out on the way, a result that says and draws itself.

A job is a function `job(data, config, report=silent) -> Result`. What it works on (a localization list, files of
beads) comes first, where there is any; `config` is a frozen dataclass of plain numbers; `report` receives an
`optics.progress.Event` now and then. A job prints nothing and writes nothing: its result does, by `write(out)`. Where
the product is a file or a folder that grows as the job runs (a movie converted, frames sampled, a list read from a
movie), `out` comes before `config` and is whole when the job returns. So the terminal, a notebook and a page show the
same.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result(Protocol):
    """What a job gives back."""

    def lines(self) -> list[str]:
        """Say it: lines of text for a terminal."""
        ...

    def numbers(self) -> dict[str, Any]:
        """List its numbers in plain mappings, lists and floats, ready for JSON (None where there is none)."""
        ...


class FileResult(Result, Protocol):
    """A result that its caller writes."""

    def write(self, out: Path) -> list[Path]:
        """Write its files, each whole or not at all, to the folder or file `out`; returns them, the chief one first."""
        ...


class DrawnResult(FileResult, Protocol):
    """A result with a picture."""

    def figure(self) -> "Figure":
        """Draw it."""
        ...
