"""All numbers that the steps of a run found, as one table: the findings.json of its folder."""

from pathlib import Path
from typing import Any

from nicegui import ui

from app.pages.layout import away, heading
from app.runs.files import read_json
from experiments.reconstruction.questions import QUESTIONS

# the end of a name, and how the page writes that unit; the longer before the shorter
_UNITS = {
    "_adu_per_photon": "counts per photon", "_photons": "photons", "_adu": "counts", "_um": "um", "_nm": "nm",
    "_px": "px", "_rad": "rad", "_s": "s", "_e": "electrons",
}  # fmt: skip


def spoken(name: str) -> str:
    """Write the name of a number in words, its unit in brackets.

    >>> spoken("gain_adu_per_photon"), spoken("sigma_xy_um"), spoken("spots")
    ('gain (counts per photon)', 'sigma xy (um)', 'spots')
    """
    for ending, unit in _UNITS.items():
        if name.endswith(ending) and len(name) > len(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return "time (s)" if name == "seconds" else name.replace("_", " ")


def rows(findings: dict[str, Any]) -> list[dict[str, str]]:
    """Return a row for each number, text or span of a run's findings; what is empty or long is left to the report.

    >>> rows({"look": {"frames": [0, 24], "pixel_um": 0.1, "notes": [], "floor_at_zero": False}})[:2]
    [{'step': 'look', 'what': 'frames', 'value': '0 to 24'}, {'step': 'look', 'what': 'pixel (um)', 'value': '0.1'}]
    """
    found = []
    for step in QUESTIONS:
        for name, value in (findings.get(step) or {}).items():
            match value:
                case bool():
                    text = "yes" if value else "no"
                case int() | float():
                    text = f"{value:.5g}" if isinstance(value, float) else str(value)
                case str() if value:
                    text = value
                case [int() | float() as low, int() | float() as high]:
                    text = f"{low:.5g} to {high:.5g}"
                case _:
                    continue
            found.append({"step": step, "what": spoken(name), "value": text})
    return found


def draw(folder: Path) -> None:
    """Draw the card with the table."""
    with ui.card():
        heading("All numbers")
        columns = [{"name": name, "label": label, "field": name, "align": "left"}
                   for name, label in (("step", "step"), ("what", "number"), ("value", "value"))]  # fmt: skip
        table = ui.table(columns=columns, rows=[], pagination=15).props("flat dense wrap-cells").classes("w-full")
        table.props('id="numbers"').add_slot("no-data", "none yet")

    async def fill() -> None:
        found = await away(lambda: rows(read_json(folder / "findings.json")))
        if found is not None:
            table.rows = found

    ui.timer(0.2, fill, once=True)
