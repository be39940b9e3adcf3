"""Filters of a result: bounds that are written into the run's plan, and the run done again from there."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import ui

from app.pages import layout
from app.pages.layout import away, link
from app.runs.launch import ask, change_plan
from app.runs.state import plan_of, table_of
from app.site import Refused
from app.words import WORDS

# field of the page: key in [filters], which of its two ends, and how many of the field's units its unit is
_PLACES = {
    "photons_min": ("photons_min", None, 1.0), "photons_max": ("photons_max", None, 1.0),
    "sigma_max": ("sigma_x_um_max", None, 1e3), "z_from": ("z_um", 0, 1e3), "z_to": ("z_um", 1, 1e3),
}  # fmt: skip
_SAID = (
    "The picture follows the bounds at once, for looking. Draw again writes list and files by them, and brings back "
    "rows that were left out before; the frames are not read again."
)
_OPEN = (-1e6, 1e6)  # an end that is left empty


def of_plan(plan: dict[str, Any]) -> dict[str, float | None]:
    """Return what the fields show of a plan."""
    given, shown = table_of(plan, "filters"), {}
    for name, (key, end, factor) in _PLACES.items():
        value = given.get(key)
        if isinstance(value, list) and end is not None and len(value) == 2:
            value = None if value[end] == _OPEN[end] else value[end]
        shown[name] = factor * value if isinstance(value, int | float) else None
    return shown


def to_plan(values: dict[str, float | None]) -> dict[str, Any]:
    """Turn the fields into settings of [filters]; None takes one away. Raises `Refused` in one line.

    >>> to_plan({"photons_min": 500, "sigma_max": 20, "z_to": 800})["z_um"]
    [-1000000.0, 0.8]
    """

    def um(name: str) -> float | None:
        value = values.get(name)
        return None if value is None else value / 1e3

    least, most, sigma_um = values.get("photons_min"), values.get("photons_max"), um("sigma_max")
    ends = [end if value is None else value for value, end in zip((um("z_from"), um("z_to")), _OPEN, strict=True)]
    if ends[0] >= ends[1]:
        raise Refused(f"{WORDS['z_from'].label}: is not below the other end; change one of them", 400)
    if sigma_um is not None and sigma_um <= 0:
        raise Refused(f"{WORDS['sigma_max'].label}: must be positive", 400)
    if least is not None and most is not None and least > most:
        raise Refused(f"{WORDS['photons_min'].label}: is above the other end; change one of them", 400)
    return {
        "photons_min": least, "photons_max": most, "sigma_x_um_max": sigma_um, "sigma_y_um_max": sigma_um,
        "z_um": None if ends == list(_OPEN) else ends,
    }  # fmt: skip


def bounds(values: dict[str, float | None]) -> str:
    """Write what the fields hold as the address of a tile has it.

    >>> bounds({"photons_min": 500, "z_to": 400})
    'photons:500:inf,z:-inf:400'
    """
    ends = {"photons": ("photons_min", "photons_max"), "sigma": ("", "sigma_max"), "z": ("z_from", "z_to")}
    written = []
    for name, (low, high) in ends.items():
        least, most = values.get(low), values.get(high)
        if least is not None or most is not None:
            written.append(f"{name}:{-math.inf if least is None else least:g}:{math.inf if most is None else most:g}")
    return ",".join(written)


class Filters:
    """The fields, and who hears of what they hold: `hears` are called with bounds for the address of a tile."""

    def __init__(self) -> None:
        self.fields: dict[str, ui.number] = {}
        self.hears: list[Callable[[str], Any]] = []

    def values(self) -> dict[str, float | None]:
        """Return what the fields hold."""
        return {name: field.value for name, field in self.fields.items()}

    def tell(self) -> None:
        """Let those who hear know the bounds that the fields hold."""
        for hear in self.hears:
            hear(bounds(self.values()))

    def draw(self, folder: Path) -> None:
        """Draw the fields and the button that does the run again from its filters on."""
        shown = of_plan(plan_of(folder))
        self.fields = {
            "photons_min": layout.number("photons_min", shown["photons_min"], on_change=self.tell),
            "photons_max": layout.number("photons_max", shown["photons_max"], on_change=self.tell),
            "sigma_max": layout.number("sigma_max", shown["sigma_max"], on_change=self.tell),
            "z_from": layout.number("z_from", shown["z_from"], on_change=self.tell),
            "z_to": layout.number("z_to", shown["z_to"], on_change=self.tell),
        }

        def work() -> bool:
            change_plan(folder, "filters", to_plan(self.values()))
            ask(folder)
            return True

        async def again() -> None:
            if await away(work):
                ui.navigate.to(link("/run", path=folder))

        ui.button("Draw again", icon="filter_alt", on_click=again).props("outline")
        ui.label(_SAID).classes("soft")
