"""Beads: found, ringed and numbered on their field, ticked in and out; and how well a PSF explains them."""

import math
from pathlib import Path
from typing import Any

from nicegui import ui

from app.pages import layout
from app.pages.curves import curves_svg
from app.pages.job_card import JobCard
from app.pages.layout import BLUE, ORANGE, away, framed, handled, heading, link
from app.pages.picker import pick_file
from app.retrievals import make_retrieval, read_retrieval
from app.routes import Shown
from app.runs.files import changed_ns
from app.runs.jobs import job_of
from app.runs.launch import ask, find_runs
from app.runs.state import Run, is_run, read_run
from app.scopes import scopes
from app.site import Refused
from experiments.reconstruction.questions import step_folder

_KEEP = ("psf.npz", "mask.npz", "mask.mat", "run.toml", "metrics.json", "slices.csv", "report.html")
_MODES = 12


def page(shown: Shown, movie: str = "", path: str = "") -> None:
    """Draw a stack in which to find beads, a retrieval, or the choice of both. Raises `Refused` for what is none."""
    site = shown.site
    if movie:
        place = site.resolve(movie)
        shown.movies.take(place)
        with framed(f"Beads in {place.name}", here=site.called(place)), ui.element("div").classes("two"):
            _Field(shown, place)
    elif path:
        folder = site.resolve(path)
        inner = folder / "psf" if job_of(folder).get("kind") == "retrieve" else retrieved_in(folder)
        if inner is None:
            raise Refused("no retrieval from beads in this folder")
        with framed(folder.name, here=site.called(folder)), ui.element("div").classes("two"):
            with ui.column().classes("gap-3"):
                found = _Found(inner)
            with ui.column().classes("gap-3"):
                if job_of(folder):
                    JobCard(folder, found.refresh)
                else:
                    ui.link("the run", link("/run", path=folder))
                with ui.card():
                    heading("To keep")
                    found.keep = ui.column().classes("gap-1 w-full")
    else:
        with framed("Beads", here="beads"), ui.element("div").classes("two"):
            with ui.card().style("align-self: start"):
                heading("PSFs from beads")
                _retrievals(shown)
            with ui.card().style("align-self: start"):
                heading("Begin with a stack")
                ui.label("Images of one bead, or of a field of beads, at many focus positions.").classes("soft")
                ui.button("Choose the stack", icon="folder_open", on_click=lambda: pick_file(
                    site, site.folders[0], lambda path: ui.navigate.to(link("/beads", movie=path))))  # fmt: skip


def retrieved_in(folder: Path) -> Path | None:
    """Return where a reconstruction keeps its retrieval from beads; None where it has none."""
    inner = folder / step_folder("psf") / "beads"
    return inner if is_run(folder) and inner.is_dir() else None


def _retrievals(shown: Shown) -> None:
    holder = ui.column().classes("w-full gap-1")

    async def refresh() -> None:
        def look() -> list[tuple[Run, bool]]:
            found = find_runs(shown.site)
            jobs = [run for run in found if job_of(run).get("kind") == "retrieve"]
            runs = [run for run in found if retrieved_in(run) is not None]
            return [(read_run(run), run in jobs) for run in [*jobs, *runs]]

        found = await away(look) or []
        holder.clear()
        with holder:
            for run, is_job in sorted(found, key=lambda pair: -pair[0].changed):
                with ui.row().classes("items-center no-wrap gap-2 w-full"):
                    ui.label(run.state).style(f"color: {layout.COLOURS.get(run.state, 'inherit')}; font-weight: 600")
                    ui.link(run.folder.name, link("/beads", path=run.folder)).style("overflow-wrap: anywhere")
                    ui.label("" if is_job else "step psf of a run").classes("soft").style("margin-left: auto")
            if not found:
                ui.label("none yet").classes("soft")

    ui.timer(0.1, refresh, once=True)
    ui.timer(3.0, refresh)


def rings(centres: list[tuple[int, int]], ticked: set[int], crop_px: int, side_px: int) -> str:
    """Draw rings with numbers around beads as SVG: whole where they are ticked, dashed where they are not.

    >>> rings([(10, 20)], {0}, 8, 64).count("<circle")
    2
    """
    line, parts = side_px / 350, []
    for number, (row, column) in enumerate(centres):
        inside = number in ticked
        dash = "" if inside else f'stroke-dasharray="{4 * line} {3 * line}"'
        x, y, radius = column + 0.5, row + 0.5, crop_px / 2
        colour = ORANGE if inside else "#bbbbbb"
        for stroke, width in (("black", 3.0), (colour, 1.6)):
            parts.append(f'<circle cx="{x}" cy="{y}" r="{radius}" fill="none" stroke="{stroke}" '
                         f'stroke-width="{width * line}" {dash}/>')  # fmt: skip
        parts.append(f'<text x="{x}" y="{y - radius + 14 * line}" text-anchor="middle" font-size="{13 * line}" '
                     f'fill="{colour}" stroke="black" stroke-width="{2.5 * line}" paint-order="stroke" '
                     f'font-family="sans-serif">{number + 1}</text>')  # fmt: skip
    return "".join(parts)


class _Field:
    """A stack with its beads."""

    def __init__(self, shown: Shown, path: Path) -> None:
        self.shown, self.path = shown, path
        self.slices, self.height, self.width = shown.movies.take(path).movie.shape
        self.centres: list[tuple[int, int]] = []
        self.ticked: set[int] = set()
        self.crop: int | None = None
        version = changed_ns(path)
        with ui.column().classes("gap-3"), ui.card():
            heading("All slices, the brightest of each pixel")
            source = link("/frame", path=path, kind="maximum", low=1, high=99.9, v=version)
            self.image = ui.interactive_image(source, events=["mousedown"], sanitize=False, on_mouse=self.clicked)
            self.image.classes("crisp self-center").style(
                f"width: min(100%, calc(68vh * {self.width / self.height:.4f})); cursor: pointer"
            )
            ui.label("Click on a ring to leave its bead out, or to take it in.").classes("soft")
            self.notes = ui.column().classes("gap-1 w-full").props('id="notes"')
        with ui.column().classes("gap-3"):
            with ui.card():
                heading(f"{self.slices} slices of {self.height} x {self.width} px")
                self.crop_field = layout.number("crop", 41 if max(self.height, self.width) > 160 else None,
                                                min=9, max=160, step=2, format="%d")  # fmt: skip
                ui.button("Find the beads", icon="search", on_click=handled(self.find)).props("outline")
                self.ticks = ui.column().classes("gap-0 w-full").props('id="ticks"')
            with ui.card():
                heading("Retrieve the PSF")
                self.focus = layout.text("focus", placeholder=f"-1:1:{self.slices}")
                saved = {str(place): place.stem for place in scopes(shown.site)}
                self.scope = layout.choice("bead_scope", {"": "choose one", **saved}, "")
                ui.link("describe a microscope", link("/microscope", movie=path))
                self.go = ui.button("Retrieve", icon="play_arrow", on_click=handled(self.begin)).classes("w-full")

    async def find(self) -> None:
        """Find the beads and ring them."""
        crop = self.crop_field.value
        if not isinstance(crop, int | float) or crop != int(crop):
            raise Refused("crop of a bead: give a whole number of pixels, such as 41, that a bead fits in", 400)
        self.notes.clear()
        request = {"kind": "beads", "path": str(self.path), "crop_px": int(crop)}
        answer = await self.shown.child.ask(request, id(self))
        if answer is None:
            return
        self.crop = int(crop)
        self.centres = [(int(row), int(column)) for row, column in answer["centres"]]
        self.ticked = set(range(min(len(self.centres), 4)))  # as the command takes the four brightest
        with self.notes:
            for note in answer["notes"]:
                ui.label(note).classes("soft")
        self.ticks.clear()
        self.boxes = []
        with self.ticks:
            for number, (row, column) in enumerate(self.centres):
                box = ui.checkbox(f"{number + 1}: row {row}, column {column}", value=number in self.ticked)
                box.props("dense").on_value_change(lambda event, number=number: self.tick(number, bool(event.value)))
                self.boxes.append(box)
        self.draw()

    def tick(self, number: int, inside: bool) -> None:
        """Take a bead in, or leave it out."""
        (self.ticked.add if inside else self.ticked.discard)(number)
        self.draw()

    def clicked(self, event: Any) -> None:
        """Turn the tick of the bead under the pointer."""
        for number, (row, column) in enumerate(self.centres):
            if math.hypot(event.image_x - column - 0.5, event.image_y - row - 0.5) <= (self.crop or 0) / 2:
                self.boxes[number].value = number not in self.ticked
                return

    def draw(self) -> None:
        """Draw the rings anew."""
        self.image.content = rings(self.centres, self.ticked, self.crop or 0, max(self.height, self.width))

    async def begin(self) -> None:
        """Put the retrieval into the queue."""
        self.go.disable()
        centres = [self.centres[number] for number in sorted(self.ticked)]
        crop, focus, scope = self.crop, self.focus.value, self.scope.value

        def work() -> Path:
            opened = self.shown.movies.take(self.path)  # of before, it may have been closed meanwhile
            folder = make_retrieval(self.shown.site, self.path, opened, centres, crop, focus, scope)
            ask(folder)
            return folder

        folder = await away(work)
        if folder is None:
            self.go.enable()
        else:
            ui.navigate.to(link("/beads", path=folder))


class _Found:
    """What a retrieval left, drawn when it is there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.version = folder, 0
        self.keep = ui.column()
        self.holder = ui.column().classes("gap-3 w-full")
        with self.holder:
            ui.label("Slices, residuals and phase appear here when the PSF is retrieved.").classes("soft")
        ui.timer(0.1, self.refresh, once=True)

    async def refresh(self, run: Run | None = None) -> None:
        """Draw what is new."""
        place = self.folder / "metrics.json"
        version = changed_ns(place)
        if not version or version == self.version:
            return
        found = await away(read_retrieval, self.folder)
        if not found:
            return
        self.version = version
        self.holder.clear()
        with self.holder:
            self._draw(found)
        self.keep.clear()
        with self.keep:
            for name in _KEEP:
                if (self.folder / name).exists():
                    ui.link(name, link("/file", path=self.folder / name)).props(f'download data-keep="{name}"')
            ui.link("report", link("/report", path=self.folder), new_tab=True)

    def _draw(self, found: dict[str, Any]) -> None:
        with ui.card():
            heading("What the beads tell, and what they cannot")
            for note in found["notes"] or ["Nothing is said to be in doubt."]:
                ui.label(note).style("overflow-wrap: anywhere")
        names = {"pupil": "The pupil: phase and amplitude"}
        for name, place, version in found["pictures"]:
            kind, _, bead = name.partition("-")
            if kind == "fit":
                continue
            with ui.card():
                heading(names.get(name, f"{bead}: measured, model and residual"))
                source = link("/picture", path=place, v=version)
                ui.html(f'<img src="{source}" alt="{layout.escaped(name)}" style="max-width: 100%; background: white">',
                        sanitize=False)  # fmt: skip
            if kind == "slices" and bead in found["slices"]:
                with ui.card():
                    heading(f"{bead}: slice by slice")
                    _curves(found["slices"][bead])
        with ui.card():
            heading("Zernike modes")
            modes = sorted(found["zernike"], key=lambda mode: -abs(mode.get("rms_rad", 0)))
            rows = [{"mode": f"({m['n']}, {m['m']})", "rms": f"{m['rms_rad']:+.3f}"} for m in modes if m["n"] > 1]
            columns = [{"name": "mode", "label": "(n, m)", "field": "mode", "align": "left"},
                       {"name": "rms", "label": "rms (rad)", "field": "rms", "align": "right"}]  # fmt: skip
            ui.table(columns=columns, rows=rows[:_MODES], row_key="mode").props("flat dense").classes("w-full")


def _curves(slices: dict[str, list[float | None]]) -> None:
    order = sorted(range(len(slices["focus_um"])), key=lambda k: slices["focus_um"][k] or 0.0)
    focus = [float(slices["focus_um"][k] or 0.0) for k in order]
    columns = {name: [values[k] for k in order] for name, values in slices.items()}
    lines = [
        ("correlation", BLUE, "", columns["correlation"]),
        ("noise ceiling", ORANGE, "6 3", columns["noise_ceiling"]),
    ]
    chi2 = [("chi-square per pixel", BLUE, "", columns["chi2"])]
    with ui.row().classes("w-full gap-3"):  # one below the other where the page is narrow
        for svg in (
            curves_svg(focus, lines, "focus (um)", "correlation", from_zero=False),
            curves_svg(focus, chi2, "focus (um)", "chi-square"),
        ):
            ui.html(svg, sanitize=False).style("flex: 1 1 320px; min-width: 0")
