"""A setting of a run's plan changed from the page: those that messages of the steps name, each a number."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nicegui import ui

from app.pages import layout
from app.pages.layout import away, handled, heading
from app.runs.launch import change_plan
from app.runs.state import plan_of, table_of
from app.site import Refused

# numbers alone: a text could name a file outside the folders of the page
SETTINGS = (
    "psf.sigma_um", "reader.threshold", "camera.gain_adu_per_photon", "camera.offset_adu", "camera.read_noise_e",
    "optics.pixel_um", "optics.na", "optics.wavelength_um", "optics.n_immersion", "optics.n_sample", "optics.focus_um",
    "psf.z_min_um", "psf.z_max_um", "reader.fits.background_px", "reader.fits.photons_min", "reader.training_minutes",
    "patch_um", "test_frames", "drift_frames", "picture.pixel_nm",
)  # fmt: skip
_WHOLE = ("reader.fits.background_px", "test_frames", "drift_frames")


def value_of(plan: Mapping[str, Any], name: str) -> float | None:
    """Return what a plan says of a setting; None where the steps find it out, or take what is usual.

    >>> value_of({"reader": {"fits": {"background_px": 5}}}, "reader.fits.background_px")
    5
    """
    found: Any = plan
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def change_setting(folder: Path, name: str, value: float | None) -> None:
    """Write a setting into a run's plan; None leaves it to the steps. Raises `Refused` while the run works."""
    if name not in SETTINGS:
        raise Refused(f"{name!r} is no setting that is changed here; write it into plan.toml", 400)
    if value is not None and name in _WHOLE:
        if value != int(value):
            raise Refused(f"{name}: {value:g} is not whole; give a whole number", 400)
        value = int(value)
    *tables, key = name.split(".")
    if not tables:
        change_plan(folder, "", {key: value})
        return
    values: dict[str, Any] = {key: value}
    if inner := tables[1:]:
        kept = table_of(table_of(plan_of(folder), tables[0]), inner[0])
        values = {inner[0]: {**kept, **values}}
    change_plan(folder, tables[0], values)


def draw(folder: Path) -> None:
    """Draw the card with the choice of a setting, its value, and the button that writes it."""
    with ui.card():
        heading("Change a setting")
        name = layout.choice("setting", list(SETTINGS), SETTINGS[0])
        value = layout.number("setting_value", value_of(plan_of(folder), SETTINGS[0]))

        async def look() -> None:
            value.value = await away(lambda: value_of(plan_of(folder), name.value))

        async def write() -> None:
            given = None if value.value is None else float(value.value)
            if await away(lambda: change_setting(folder, name.value, given) or True):
                ui.notify("written into plan.toml; it holds from the next Resume on", type="positive")

        name.on_value_change(look)
        ui.button("Write it into the plan", icon="edit_note", on_click=handled(write)).props("flat dense no-caps")
