"""Microscope: its numbers with their units, and at once what one molecule looks like and how well it is located."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nicegui import ui

from app.pages import layout
from app.pages.curves import curves_svg
from app.pages.layout import BLUE, GREEN, ORANGE, away, framed, handled, heading, link
from app.routes import Shown
from app.runs.launch import change_plan
from app.runs.state import is_run, plan_of
from app.scopes import (
    MASKS,
    OPTICS,
    PRESETS,
    START,
    bounds_settings,
    command,
    key_of,
    read_scope,
    save_scope,
    scopes,
    warnings,
)
from app.site import Refused
from app.words import WORDS

STEPS = {"na": 0.01, "immersion": 0.001, "sample": 0.01, "wavelength": 0.01, "pixel": 0.001, "depth": 0.1,
          "mask_rms": 0.01, "mask_range": 0.5, "light": 500, "ground": 10, "z_low": 0.1, "z_high": 0.1}  # fmt: skip
_AXES = (("x", BLUE, ""), ("y", ORANGE, "6 3"), ("z", GREEN, "2 2"))


def page(shown: Shown, movie: str = "", run: str = "", scope: str = "") -> None:
    """Draw the form, filled from a movie's tags, a run's plan or a file. Raises `Refused` for what is none."""
    site, values, said = shown.site, dict(START), ""
    folder = site.resolve(run) if run else None
    if folder is not None and not is_run(folder):
        raise Refused("no run in this folder")
    if movie:
        pixel_um = shown.movies.take(site.resolve(movie)).movie.facts.pixel_um
        if pixel_um is not None:
            values["pixel"], said = round(pixel_um, 6), f"The pixel of {pixel_um:g} um is from the movie's tags."
        else:
            said = "The movie's tags do not say its pixel."
    if folder is not None:
        optics = plan_of(folder).get("optics", {})
        values |= {name: optics[key_of(name)] for name in OPTICS if isinstance(optics.get(key_of(name)), int | float)}
    if scope:
        values |= read_scope(site.resolve(scope))
    with framed("Microscope", here="microscope"), ui.element("div").classes("two"):
        with ui.column().classes("gap-3"):
            picture = _Picture(shown)
        with ui.column().classes("gap-3"):
            form = _Form(shown, picture, values, said)
            with ui.card():
                _keep(form, movie, folder)


class _Picture:
    """The PSF through depth and the bounds, drawn anew as the form changes; what is asked for last is drawn."""

    def __init__(self, shown: Shown) -> None:
        self.shown, self.busy, self.wanted = shown, False, None
        with ui.card():
            heading("What one molecule looks like, through depth")
            self.image = ui.html("", sanitize=False).classes("w-full")
            self.depths = ui.row().classes("w-full no-wrap justify-between soft").props('id="depths"')
        with ui.card():
            heading("How well it can be located")
            self.curves = ui.html("", sanitize=False).classes("w-full")
            self.state = ui.label("the optics are being loaded").classes("soft").props('id="drawn" role="status"')
        with ui.card():
            heading("The same in a terminal")
            self.line = ui.label().classes("mono w-full")

    async def draw(self, values: dict[str, Any]) -> None:
        """Draw what a form holds, or, while something is drawn, remember it for afterwards."""
        self.wanted = values
        if self.busy:
            return
        self.busy = True
        try:
            while self.wanted is not None:
                now, self.wanted = self.wanted, None
                await self._draw(now)
        finally:
            self.busy = False

    async def _draw(self, values: dict[str, Any]) -> None:
        try:
            settings = bounds_settings(self.shown.site, values)
            answer = await self.shown.child.ask({"kind": "bounds", "settings": settings}, id(self))
        except Refused as error:
            self.state.text = f"not drawn: {error}"
            self.fade(0.25)  # what is there belongs to other numbers
            return
        if answer is None:
            return
        self.fade(1.0)
        source = f"data:image/png;base64,{answer['picture']}"
        self.image.content = f'<img src="{source}" alt="PSF through depth" class="crisp" style="width: 100%">'
        self.depths.clear()
        with self.depths:
            for depth in answer["shown_um"]:
                ui.label(f"{depth:.2g} um")
        lines = [(axis, colour, dash, answer[f"{axis}_nm"]) for axis, colour, dash in _AXES]
        self.curves.content = curves_svg(answer["z_um"], lines, "depth (um)", "bound (nm)")
        self.state.text = spoken(answer)
        self.line.text = command(settings)

    def fade(self, opacity: float) -> None:
        """Show the pictures as they are, or as those of other numbers."""
        for part in (self.image, self.depths, self.curves):
            part.style(f"opacity: {opacity:g}")


def spoken(answer: dict[str, Any]) -> str:
    """Say the mean bounds.

    >>> spoken({"x_nm": [4.0, 6.0], "y_nm": [5.0, 5.0], "z_nm": [None, 9.0]})
    'Least standard deviations, mean over the depths: x 5 nm, y 5 nm, z 9 nm.'
    """

    def mean(values: Sequence[float | None]) -> str:
        known = [value for value in values if value is not None]
        return f"{sum(known) / len(known):.3g}" if known else "unknown"

    words = ", ".join(f"{axis} {mean(answer[f'{axis}_nm'])} nm" for axis in "xyz")
    return f"Least standard deviations, mean over the depths: {words}."


class _Form:
    """The fields, their warnings, and who draws them."""

    def __init__(self, shown: Shown, picture: _Picture, values: dict[str, Any], said: str) -> None:
        self.shown, self.picture, self.fields = shown, picture, {}
        with ui.card():
            heading("Optics")
            ui.label(said).set_visibility(bool(said))
            preset = layout.choice("preset", {"": "choose one", **{name: name for name in PRESETS}}, "")
            preset.on_value_change(lambda event: self.fill(PRESETS.get(event.value, {})))
            self.loaded = layout.choice("scope", {"": "choose one", **{str(p): p.stem for p in scopes(shown.site)}}, "")
            self.loaded.on_value_change(handled(self.load))
            for name in OPTICS:
                self._number(name, values[name])
            self.warned = ui.column().classes("w-full gap-1").props('id="warnings" role="status"')
        with ui.card():
            heading("Mask and light")
            self.fields["mask"] = layout.choice("mask", list(MASKS), values["mask"])
            for name in ("mask_range", "mask_rms"):
                self._number(name, values[name])
            self.fields["mask_file"] = layout.text("mask_file", values["mask_file"])
            for name in ("light", "ground", "z_low", "z_high"):
                self._number(name, values[name])
        for field in (self.fields["mask"], self.fields["mask_file"]):
            field.on_value_change(self.changed)
        ui.timer(0.05, self.changed, once=True)

    def _number(self, name: str, value: float) -> None:
        field = layout.number(name, value, step=STEPS[name], on_change=self.changed)
        field.props(f'hint="{WORDS[name].text.split(". ")[0].rstrip(".")}"').classes("hinted")
        self.fields[name] = field

    def values(self) -> dict[str, Any]:
        """Return what the form holds."""
        return {name: field.value for name, field in self.fields.items()}

    def fill(self, values: dict[str, float]) -> None:
        """Put numbers into the fields."""
        for name, value in values.items():
            self.fields[name].value = value

    async def load(self) -> None:
        """Take the numbers of a microscope that was saved."""
        if self.loaded.value:
            found = await away(lambda: read_scope(self.shown.site.resolve(self.loaded.value)))
            self.fill(found or {})

    async def changed(self) -> None:
        """Warn and draw anew."""
        values = self.values()
        shape = MASKS.get(values["mask"], "")
        for name in ("mask_range", "mask_rms", "mask_file"):
            self.fields[name].parent_slot.parent.set_visibility(name == shape)
        self.warned.clear()
        with self.warned:
            for line in warnings(values):
                with ui.row().classes("items-center no-wrap gap-2"):
                    ui.icon("warning", size="18px").style(f"color: {ORANGE}")
                    ui.label(line)
        await self.picture.draw(values)


def _keep(form: _Form, movie: str, folder: Path | None) -> None:
    """Draw what can be done with the numbers: a file, a run's plan."""
    heading("Keep it")
    name = layout.text("scope_name", "scope")
    place = ui.column().classes("gap-1 w-full")

    async def save() -> None:
        path = await away(save_scope, form.shown.site, name.value or "", form.values())
        if path is None:
            return
        place.clear()
        with place:
            ui.label(str(path)).classes("mono").props('id="saved"')
            ui.link("download", link("/file", path=path))
            if movie:
                ui.link("back to the movie, with these numbers", link("/look", path=movie, scope=path))
        saved = {str(kept): kept.stem for kept in scopes(form.shown.site)}
        form.loaded.set_options({"": "choose one", **saved})

    ui.button("Save as a file", icon="save", on_click=save).props("outline")
    ui.label("The same scope.toml that colocus crlb, retrieve and reconstruct take.").classes("soft")
    if folder is None:
        return

    async def plan() -> None:
        optics = {key_of(key): form.fields[key].value for key in OPTICS}
        if await away(lambda: change_plan(folder, "optics", optics) or True):
            ui.notify("written into plan.toml", type="positive")

    ui.button("Write into the run's plan", icon="edit_note", on_click=plan).props("outline")
    ui.link(f"run {folder.name}", link("/run", path=folder))
