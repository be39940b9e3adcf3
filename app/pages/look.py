"""Look: any frame of a movie, its contrast and pixel values, rectangles on it, and ONE CLICK."""

import math
from pathlib import Path
from typing import Any

from nicegui import run as threads
from nicegui import ui

from app.pages import layout
from app.pages.boxes import Box, Boxes, BoxesCard, svg_text
from app.pages.layout import away, framed, handled, heading, link
from app.pages.picker import pick_file, pick_listed
from app.retrievals import retrieved
from app.routes import Shown
from app.runs.files import changed_ns
from app.runs.launch import ask, make_run
from app.runs.state import plan_of
from app.scopes import read_scope, scopes
from app.site import Refused, Site
from app.words import WORDS

# what `experiments.reconstruction.methods` offers without a trained network; its module would load JAX
METHODS = ("auto", "joint", "classical", "autods3d")
# the fields that stand for a setting of a plan's table
_PLANNED = ("pixel", "method", "gain", "offset", "na", "wavelength", "immersion", "sample", "depth", "beads", "focus",
            "crop", "psf_file", "psf_low", "psf_high")  # fmt: skip
_NO_PSF = "none was retrieved yet: open a stack of beads on the page Beads"
_POINT = "point at a pixel"


def scale_bar_um(width_um: float) -> float:
    """Return a round length of about a fifth of a picture.

    >>> scale_bar_um(6.4), scale_bar_um(200.0)
    (1.0, 20.0)
    """
    wanted = width_um / 5
    power = 10 ** math.floor(math.log10(wanted))
    return max(float(step * power) for step in (1, 2, 5) if step * power <= wanted * 1.0001)


def overlay(boxes: Boxes, pixel_um: float | None) -> str:
    """Write the drawing over a frame as SVG: the rectangles, and the scale bar where the pixel is known."""
    if not pixel_um:
        return boxes.svg()
    line = max(boxes.width, boxes.height) / 400
    length_um = scale_bar_um(boxes.width * pixel_um)
    length, x, y = length_um / pixel_um, 0.03 * boxes.width, 0.95 * boxes.height
    bar = (
        f'<rect x="{x}" y="{y}" width="{length}" height="{3 * line}" fill="white" stroke="black" '
        f'stroke-width="{0.4 * line}"/>'
    )
    return boxes.svg() + bar + svg_text(f"{length_um:g} um", x, y - 2 * line, line)


def spoken_size(shape: tuple[int, int, int]) -> str:
    """Write the shape (frames, rows, columns) of a movie in words.

    >>> spoken_size((1, 64, 32))
    '1 frame of 64 rows and 32 columns'
    """
    n, height, width = shape
    return f"{n} frame{'s' if n > 1 else ''} of {height} rows and {width} columns"


def page(shown: Shown, path: str, scope: str = "", run: str = "") -> None:
    """Draw the page of a movie, its optics from a file `scope`, or all as a run has it. Raises `Refused`."""
    place = shown.site.resolve(path)
    given: dict[str, Any] = read_scope(shown.site.resolve(scope)) if scope else {}
    plan = plan_of(shown.site.resolve(run)) if run else {}
    given = fields_of_plan(plan) | given
    movie = shown.movies.take(place).movie
    n_frames, height, width = movie.shape
    with framed(place.name, here=shown.site.called(place)):
        ui.label(spoken_size(movie.shape)).classes("soft")
        for note in movie.notes:
            ui.label(note).classes("soft")
        with ui.element("div").classes("two"):
            boxes = Boxes(height, width)
            boxes.take(plan)
            view = _View(shown, place, boxes, movie.facts.pixel_um)
            with ui.column().classes("gap-3"):
                with ui.card():
                    heading("Rectangles")
                    card = BoxesCard(view.boxes, view.draw)
                    card.heard()
                    view.changed.append(card.heard)
                with ui.card():
                    heading("What is known")
                    fields = _fields(view, n_frames, movie.facts.pixel_um)
                    for name, value in given.items():
                        fields[name].value = value
                    button = ui.button("ONE CLICK", icon="play_arrow").classes("w-full").props("size=lg")
                    button.on_click(handled(lambda: _begin(shown.site, place, view, fields, button)))
                    ui.label("Finds out the rest by itself, reads all frames and draws the picture.").classes("soft")


class _View:
    """The frame that is shown, with slider, contrast and drawing."""

    def __init__(self, shown: Shown, path: Path, boxes: Boxes, pixel_um: float | None) -> None:
        self.shown, self.path, self.boxes, self.pixel_um = shown, path, boxes, pixel_um
        self.version = changed_ns(path)
        self.changed: list[Any] = []  # who hears of the rectangles
        n_frames = shown.movies.take(path).movie.shape[0]
        self.state: dict[str, Any] = {"k": 0, "low": 1.0, "high": 99.8, "log": False, "kind": ""}
        with ui.card().style("align-self: start"):
            self.image = ui.interactive_image(
                self.address(), events=["mousedown", "mousemove", "mouseup"], sanitize=False
            )
            share = f"calc(68vh * {boxes.width / boxes.height:.4f})"
            self.image.classes("crisp self-center").style(f"width: min(100%, {share}); cursor: crosshair")
            self.image.on_mouse(self.mouse)
            with ui.row().classes("w-full items-center no-wrap"):
                slider = ui.slider(min=0, max=max(n_frames - 1, 1), value=0).props('label aria-label="frame"')
                slider.classes("grow").set_enabled(n_frames > 1)
                slider.on("update:model-value", lambda event: self.show(k=int(event.args)), throttle=0.05)
                self.frame_label = ui.label().style("white-space: nowrap; min-width: 9em; text-align: right")
            with ui.row().classes("w-full items-center gap-4"):
                kinds = {
                    "": "single frame",
                    "mean": "mean",
                    "maximum": "maximum",
                    "standard deviation": "standard deviation",
                }
                with ui.row().classes("items-center no-wrap gap-1"):
                    ui.toggle(kinds, value="", on_change=lambda event: self.show(kind=event.value)).props(
                        "dense no-caps"
                    )
                    layout.question("projection")
                with ui.row().classes("items-center no-wrap gap-1"):
                    ui.switch("log", on_change=lambda event: self.show(log=bool(event.value)))
                    layout.question("log")
                with ui.row().classes("items-center no-wrap gap-2 grow").style("min-width: 220px"):
                    ui.label("contrast")
                    ends = ui.range(min=0, max=100, step=0.1, value={"min": 1.0, "max": 99.8})
                    ends.classes("grow").props('aria-label="contrast"').style("margin: 0 8px")
                    self.ends_label = ui.label().classes("soft").style("white-space: nowrap")
                    ends.on("update:model-value", self.contrast, throttle=0.1)
                    layout.question("contrast")
            self.value_label = ui.label(_POINT).classes("mono").props('id="value"')
        self.show()
        self.draw()

    def address(self) -> str:
        """The address of the picture that is wanted now."""
        return link("/frame", path=self.path, v=self.version, **{**self.state, "log": int(self.state["log"])})

    def contrast(self, event: Any) -> None:
        """Take new ends of the contrast."""
        self.show(low=float(event.args["min"]), high=float(event.args["max"]))

    def show(self, **changes: Any) -> None:
        """Show a frame, or the same one otherwise."""
        self.state |= changes
        self.image.set_source(self.address())
        self.frame_label.text = self.state["kind"] or f"frame {self.state['k']}"
        self.ends_label.text = f"{self.state['low']:g} to {self.state['high']:g} %"
        self.value_label.text = _POINT  # what it says is of another picture

    def draw(self) -> None:
        """Draw the rectangles and the scale bar anew."""
        self.image.content = overlay(self.boxes, self.pixel_um)

    async def mouse(self, event: Any) -> None:
        """Draw while the button is down; else say what is under the pointer."""
        x, y = event.image_x, event.image_y
        if event.type == "mousedown" and event.button == 0:
            self.boxes.press(x, y)
        elif event.type == "mousemove" and event.buttons & 1 and self.boxes.drag(x, y):
            self.draw()
        elif event.type == "mouseup" and self.boxes.release(x, y):
            self.draw()
            for hear in self.changed:
                hear()
        else:
            self.boxes.let_go()
            await self.say_value(math.floor(x), math.floor(y))

    async def say_value(self, x: int, y: int) -> None:
        """Say how many counts a pixel has."""
        if not (0 <= x < self.boxes.width and 0 <= y < self.boxes.height):
            return
        state = dict(self.state)

        def look() -> float:
            opened = self.shown.movies.take(self.path)
            picture = opened.projection(state["kind"]) if state["kind"] else opened.frame(state["k"])
            return float(picture[y, x])

        try:
            value = await threads.io_bound(look)
        except (Refused, ValueError):
            return
        if value is not None:
            self.value_label.text = f"column {x}  row {y}  {value:g} counts"


def _fields(view: _View, n_frames: int, pixel_um: float | None) -> dict[str, Any]:
    """Draw what a user may know of the instrument; what is empty is found out."""

    def pixel(event: Any) -> None:
        view.pixel_um = event.value if event.value and event.value > 0 else None
        view.draw()

    fields: dict[str, Any] = {}
    fields["pixel"] = layout.number("pixel", pixel_um, step=0.001, on_change=pixel)
    if pixel_um is None:
        ui.label("the movie does not say it; 0.1 is taken where nothing is given").classes("soft")
    fields["method"] = layout.choice("method", list(METHODS), "auto")
    with ui.expansion("Frames and camera").classes("w-full").props("dense"), ui.column().classes("gap-2 w-full"):
        fields["first"] = layout.number("first", min=0, max=n_frames - 1, step=1, format="%d")
        fields["stop"] = layout.number("stop", min=1, max=n_frames, step=1, format="%d")
        fields["gain"] = layout.number("gain")
        fields["offset"] = layout.number("offset")
    with ui.expansion("Depth, from beads").classes("w-full").props("dense"), ui.column().classes("gap-2 w-full"):
        beads = fields["beads"] = layout.text("beads")
        choose = ui.button("Choose the stack", icon="folder_open").props("outline dense no-caps")
        choose.on_click(lambda: pick_file(view.shown.site, view.path.parent, lambda path: beads.set_value(str(path))))
        fields["focus"] = layout.text("focus", placeholder="-3.5:2:56")
        fields["crop"] = layout.number("crop", step=1, format="%d")
        ui.link("find beads in this movie", link("/beads", movie=view.path))
        psf = fields["psf_file"] = layout.text("psf_file")

        async def choose_psf() -> None:
            found = await away(retrieved, view.shown.site)
            if found is not None:
                pick_listed(found, _NO_PSF, lambda path: psf.set_value(str(path)))

        ui.button("Choose the PSF", icon="blur_on", on_click=choose_psf).props("outline dense no-caps")
        fields["psf_low"] = layout.number("psf_low", step=0.1)
        fields["psf_high"] = layout.number("psf_high", step=0.1)
        _scopes(view, fields)
        fields["na"] = layout.number("na", step=0.01)
        fields["wavelength"] = layout.number("wavelength", step=0.01)
        fields["immersion"] = layout.number("immersion", 1.518, step=0.001)
        fields["sample"] = layout.number("sample", 1.33, step=0.001)
        fields["depth"] = layout.number("depth", step=0.1)
    return fields


def _scopes(view: _View, fields: dict[str, Any]) -> None:
    """Draw the choice of a microscope that was saved, which fills in the optics, and the way to its page."""

    async def fill() -> None:
        found = await away(lambda: read_scope(view.shown.site.resolve(saved.value))) if saved.value else None
        for name, value in (found or {}).items():
            fields[name].value = value

    saved = layout.choice("scope", {"": "choose one", **{str(path): path.stem for path in scopes(view.shown.site)}}, "")
    saved.on_value_change(fill)
    ui.link("see what these optics give", link("/microscope", movie=view.path))


def plan_of_fields(site: Site, values: dict[str, Any], boxes: Box | Boxes, n_frames: int) -> dict[str, Any]:
    """Turn what the fields hold into a plan's settings. Raises `Refused` in one line.

    Values are those of `WORDS`; None or "" is left to the steps.
    """

    def whole(name: str, value: Any) -> int:
        if value != int(value):
            raise Refused(f"{WORDS[name].label}: {value} is not whole; give a whole number", 400)
        return int(value)

    plan: dict[str, Any] = boxes.settings()
    first, stop = values.get("first"), values.get("stop")
    if first is not None or stop is not None:
        span = (whole("first", first or 0), whole("stop", n_frames if stop is None else stop))
        if not 0 <= span[0] < span[1] <= n_frames:
            raise Refused(f"frames {span[0]} to {span[1]}: the movie has {n_frames}; give a first and a later one", 400)
        plan["frames"] = f"{span[0]}:{span[1]}"
    tables: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        table, dot, key = WORDS[name].setting.partition(".")
        if not dot or value is None or value == "":
            continue
        if name == "beads":
            value = [str(site.resolve(value))]
        tables.setdefault(table, {})[key] = whole(name, value) if name == "crop" else value
    na, n = values.get("na"), values.get("immersion")
    if na is not None and n is not None and na >= n:
        raise Refused(f"numerical aperture {na:g} is not below the index of the immersion, {n:g}; change one", 400)
    psf = tables.get("psf", {})
    if "beads" in psf:
        needed = ("focus", "na", "wavelength")
        if missing := [WORDS[name].label for name in needed if values.get(name) in (None, "")]:
            raise Refused(
                f"a stack of beads needs more: {', '.join(missing)}; fill them in, or leave the stack out", 400
            )
    if (values.get("gain") is None) != (values.get("offset") is None):
        raise Refused(f"{WORDS['gain'].label} and {WORDS['offset'].label}: give both, or neither", 400)
    for name in ("pixel", "gain", "na", "wavelength", "immersion", "sample"):
        if (given := values.get(name)) is not None and given <= 0:
            raise Refused(f"{WORDS[name].label}: {given:g} is not positive; change it, or leave it empty", 400)
    if "focus" in psf and "beads" not in psf:
        raise Refused("focus of the slices: a stack of beads is missing; name one, or leave the focus empty", 400)
    if "file" in psf:
        if "beads" in psf:
            raise Refused("a stack of beads and a PSF from beads: give one of them", 400)
        psf["file"] = str(site.resolve(psf["file"]))
    if "beads" not in psf and "file" not in psf:
        tables.pop("psf", None)
    elif "/" in str(psf.get("focus", "")):
        psf["focus"] = str(site.resolve(psf["focus"]))
    return plan | tables


def fields_of_plan(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what the fields hold for a plan: the way back of `plan_of_fields`, but for the rectangles.

    >>> fields_of_plan({"frames": "5:50", "optics": {"na": 1.4}, "psf": {"beads": ["/a/b.tif"]}})
    {'first': 5, 'stop': 50, 'na': 1.4, 'beads': '/a/b.tif'}
    """
    ends = str(plan.get("frames") or "").split(":")
    numbers = [int(end) if end.strip().isdigit() else None for end in ends] if len(ends) == 2 else [None, None]
    found: dict[str, Any] = {name: end for name, end in zip(("first", "stop"), numbers, strict=True) if end is not None}
    for name in _PLANNED:
        table, _, key = WORDS[name].setting.partition(".")
        settings = plan.get(table)
        value = settings.get(key) if isinstance(settings, dict) else None
        if name == "beads":
            value = value[0] if isinstance(value, list) and value else None
        if value not in (None, "") and (name != "method" or value in METHODS):
            found[name] = value
    return found


async def _begin(site: Site, path: Path, view: _View, fields: dict[str, Any], button: ui.button) -> None:
    """Make a run of what is on the page and put it into the queue; a second click makes no second one."""
    if not button.enabled:
        return
    values = {name: field.value for name, field in fields.items()}
    n_frames = view.shown.movies.take(path).movie.shape[0]

    def work() -> Path:
        folder = make_run(site, path, plan_of_fields(site, values, view.boxes, n_frames))
        ask(folder)
        return folder

    button.disable()
    folder = await away(work)
    if folder is None:
        button.enable()
    else:
        ui.navigate.to(link("/run", path=folder))
