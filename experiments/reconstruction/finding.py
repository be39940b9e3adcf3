"""What a step finds: plain numbers that are kept, sentences, and a picture drawn while its pixels are at hand."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.report.plot_style import Figure, save_png
from optics.whole_file import write_text

FINDING, PICTURE = "finding.json", "picture.png"


@dataclass(frozen=True)
class Finding:
    """The result of a step. Fields are plain numbers; one named `shown`, where there is one, holds pixels to draw."""

    def lines(self) -> list[str]:
        """Say what was found."""
        return []

    def numbers(self) -> dict[str, Any]:
        """List what was found, without pixels."""
        return {
            item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self) if item.name != "shown"
        }

    def figure(self) -> Figure | None:
        """Draw it; None where there is nothing to draw."""
        return None

    def write(self, out: Path) -> list[Path]:
        """Write the picture and, last, the numbers into the folder `out`."""
        figure, written = self.figure(), []
        if figure is not None:
            save_png(figure, out / PICTURE)
            written.append(out / PICTURE)
        write_text(out / FINDING, json.dumps(self.numbers(), indent=1, allow_nan=False) + "\n")
        return [out / FINDING, *written]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
