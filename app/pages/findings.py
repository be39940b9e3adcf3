"""What the steps of a run found: what is in doubt with what to do about it, and all numbers in a table."""

from pathlib import Path
from typing import Any

from nicegui import ui

from app.pages.layout import ORANGE, away, heading
from app.pages.setting import value_of
from app.runs.files import findings_of, number, read_json
from app.runs.state import plan_of
from experiments.reconstruction.questions import QUESTIONS, step_folder

# times the noise: where the model is right it is 1, and neighbours that were missed seldom bring it above this
_LEFT_OVER = 1.3
_EVERY_S = 3.0
# the end of a name, and how the page writes that unit; the longer before the shorter
_UNITS = {
    "_adu_per_photon": "counts per photon", "_photons": "photons", "_adu": "counts", "_um": "um", "_nm": "nm",
    "_px": "px", "_rad": "rad", "_s": "s", "_e": "electrons",
}  # fmt: skip


def doubts(found: dict[str, dict[str, Any]], pixel_um: float | None) -> list[str]:
    """Return a line for each doubt about a run, from its steps' findings and the pixel that its plan gives.

    >>> doubts({"look": {"pixel_um": 0.1}, "camera": {"sure": "measured"}, "test": {"left_over": 1.02}}, None)
    []
    """
    look, camera, psf, test = (found.get(step, {}) for step in ("look", "camera", "psf", "test"))
    lines = []
    if look.get("looks_like_beads"):
        lines.append(
            "The frames follow from one another, as those of beads do, and not of molecules that blink. "
            "A stack of beads is opened on the page Beads."
        )
    if look.get("floor_at_zero"):
        lines.append(
            "An offset or a background was taken off these frames: light and precision come out wrong. "
            "Take the raw movie."
        )
    assumed_nm = 1e3 * (number(psf.get("pixel_um")) or 0.1)
    width_nm, gain = 1e3 * (number(psf.get("sigma_um")) or 0.0), number(camera.get("gain_adu_per_photon")) or 1.0
    if psf and pixel_um is None and look.get("pixel_um") is None:
        lines.append(
            f"The pixel in the sample is not known and taken as {assumed_nm:.0f} nm; every length "
            "hangs on it. Change optics.pixel_um."
        )
    if camera.get("sure") in ("doubtful", "guessed"):
        lines.append(
            f"Counts per photon, {gain:.3g}, are {camera['sure']}; light and "
            "precision hang on them. If you know them, change camera.gain_adu_per_photon and camera.offset_adu."
        )
    if psf.get("source") == "assumed":
        lines.append(
            f"The width of a molecule, {width_nm:.0f} nm, is assumed, as few lie apart. Change "
            "psf.sigma_um, or draw a sparse part; molecules in depth need a stack of beads."
        )
    if (left := number(test.get("left_over"))) is not None and left > _LEFT_OVER:
        why = "Molecules in depth, or a shaped PSF, need a stack of beads."
        if psf.get("z_range_um"):
            why = "Beads unlike the sample, depths beyond theirs, or light from beyond the field may do that."
        lines.append(
            f"What is left of the test frames is {left:.2g} times the noise: molecules look otherwise than the model "
            f"says. {why}"
        )
    return lines


def read_doubts(folder: Path) -> list[str]:
    """Read the doubts about a run from its folder, as far as its steps are done."""
    found = {step: read_json(folder / step_folder(step) / "finding.json") for step in ("look", "camera", "psf", "test")}
    return doubts(found, number(value_of(plan_of(folder), "optics.pixel_um")))


def draw_doubts(folder: Path) -> None:
    """Draw the card, seen only where there is a doubt, and again as further steps are done."""
    shown: list[str] = []
    with ui.card().props('id="doubts"') as card:
        heading("What is in doubt")
        holder = ui.column().classes("w-full gap-2")
    card.set_visibility(False)

    async def refresh() -> None:
        lines = await away(read_doubts, folder)
        if lines is None or lines == shown:
            return
        shown[:] = lines
        card.set_visibility(bool(lines))
        holder.clear()
        with holder:
            for line in lines:
                with ui.row().classes("items-start no-wrap gap-2"):
                    ui.icon("warning", size="18px").style(f"color: {ORANGE}")
                    ui.label(line).style("overflow-wrap: anywhere")

    ui.timer(0.1, refresh, once=True)
    ui.timer(_EVERY_S, refresh)


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


def draw_numbers(folder: Path) -> None:
    """Draw the card with the table."""
    with ui.card():
        heading("All numbers")
        columns = [{"name": name, "label": label, "field": name, "align": "left"}
                   for name, label in (("step", "step"), ("what", "number"), ("value", "value"))]  # fmt: skip
        table = ui.table(columns=columns, rows=[], pagination=15).props("flat dense wrap-cells").classes("w-full")
        table.props('id="numbers"').add_slot("no-data", "none yet")

    async def fill() -> None:
        found = await away(lambda: rows(findings_of(folder)))
        if found is not None:
            table.rows = found

    ui.timer(0.2, fill, once=True)
