"""Result: the picture from the list to zoom into, histograms, the pictures of every step, and what to keep."""

from pathlib import Path
from typing import Any

from nicegui import background_tasks, ui
from nicegui import run as threads

from app.pages import cloud, filters, findings, layout
from app.pages.beads import retrieved_in
from app.pages.layout import BLUE, away, framed, heading, link, size
from app.routes import Shown, bounds_of
from app.runs.files import LIST, PLAN, changed_ns, size_of
from app.runs.state import is_run
from app.site import Refused
from experiments.reconstruction.questions import QUESTIONS, step_folder

_KEEP = (LIST, "picture.png", "picture.tif", "report.html", "findings.json", PLAN)
# of `app.pictures.prepared.COLUMNS`, the fields that its histogram's handles set; "" for an end that has none
_HANDLES = {"photons": ("photons_min", "photons_max"), "predicted precision in x (nm)": ("", "sigma_max"),
            "depth (nm)": ("z_from", "z_to")}  # fmt: skip
_WORLD = 256.0  # width of a map at zoom 0, in pixels


def page(shown: Shown, path: str) -> None:
    """Draw the result of a run. Raises `Refused` where there is none."""
    folder = shown.site.resolve(path)
    if not is_run(folder) or not (folder / LIST).exists():
        raise Refused("no result in this folder yet")
    kept = filters.Filters()
    with framed(folder.name, here=shown.site.called(folder)), ui.element("div").classes("two"):
        with ui.column().classes("gap-3"):
            with ui.card():
                _map(shown, folder, kept)
            with ui.card() as deep:
                cloud.draw(shown, folder, deep)
            for name in reversed(QUESTIONS):
                place = folder / step_folder(name) / "picture.png"
                if place.exists():
                    with ui.card():
                        heading(QUESTIONS[name])
                        source = link("/picture", path=place, v=changed_ns(place))
                        ui.html(
                            f'<img src="{source}" alt="{name}" style="max-width: 100%; background: white">',
                            sanitize=False,
                        )
            findings.draw_numbers(folder)
        with ui.column().classes("gap-3"):
            findings.draw_doubts(folder)
            with ui.card():
                heading("To keep")
                for name in _KEEP:
                    if (folder / name).exists():
                        with ui.row().classes("items-center no-wrap w-full"):
                            ui.link(name, link("/file", path=folder / name)).props(f'download data-keep="{name}"')
                            ui.label(size(size_of(folder / name))).classes("soft").style("margin-left: auto")
                _export(folder)
                ui.link("the report, every step explained", link("/report", path=folder), new_tab=True)
                ui.link("the run: steps, log, and the line for a terminal", link("/run", path=folder))
                if retrieved_in(folder) is not None:
                    ui.link("beads", link("/beads", path=folder))
            with ui.card():
                heading("The list")
                _histograms(shown, folder, kept)
            with ui.card():
                heading("Keep which rows?")
                kept.draw(folder)


def _map(shown: Shown, folder: Path, kept: filters.Filters) -> None:
    """Draw the picture as a map, whose world is the list's square."""
    holder = ui.column().classes("w-full gap-2")
    with holder:
        ui.spinner(size="lg")

    async def draw() -> None:
        found = await away(lambda: shown.lists.take(folder / LIST))
        if found is None:
            return
        drawn = found.drawn
        version = changed_ns(folder / LIST)
        holder.clear()
        with holder:
            options = {"attributionControl": False, "minZoom": 0, "maxZoom": drawn.deepest}
            view = ui.leaflet(center=(0.0, 0.0), zoom=1, options=options).classes("w-full")
            view.style("height: 62vh; background: black; border-radius: 4px").props('aria-label="picture of the list"')

            now = {"mode": "light", "within": ""}

            def show(**changes: str) -> None:
                now.update(changes)
                view.clear_layers()
                address = "/tile/{z}/{x}/{y}.png?" + link("", path=folder / LIST, v=version, **now)[1:]
                view.tile_layer(url_template=address, options={"noWrap": True, "maxZoom": drawn.deepest,
                                "bounds": [[-85.06, -180], [85.06, 180]], "keepBuffer": 1})  # fmt: skip

            async def narrow(within: str) -> None:
                def look() -> int:
                    return len(shown.lists.part(folder / LIST, bounds_of(within)).x)

                # not by `away`: this task belongs to no part of the page, in which a line could be shown
                try:
                    count.text = f"{await threads.io_bound(look)} rows within the bounds"
                    show(within=within)
                except Refused as error:
                    count.text = f"{error}; the picture is of those before"
                count.set_visibility(True)

            def hear(within: str) -> None:
                if within != now["within"]:
                    background_tasks.create(narrow(within))

            show()
            kept.hears.append(hear)
            with ui.row().classes("items-center w-full gap-4"):
                modes = {"light": "Gaussian", "histogram": "histogram", "depth": "depth"}
                if drawn.z_um is None:
                    del modes["depth"]
                with ui.row().classes("items-center no-wrap gap-1"):
                    toggle = ui.toggle(modes, value="light", on_change=lambda e: show(mode=e.value))
                    toggle.props("dense no-caps")
                    layout.question("mode")
                if drawn.z_um is not None:
                    low, high = (1e3 * value for value in drawn.z_um)
                    ui.label(f"depth {low:.0f} (violet) to {high:.0f} nm (yellow)").classes("soft")
                count = ui.label().classes("mono").props('id="within" role="status"')
                count.set_visibility(False)
                scale = ui.label().classes("mono").props('id="scale"')
                ui.label("wheel, + and - zoom; drag or arrows move").classes("soft")

            def say() -> None:
                um = drawn.side_um / (_WORLD * 2**view.zoom)
                scale.text = f"one pixel of the screen is {1e3 * um:.3g} nm; 100 pixels are {100 * um:.3g} um"

            view.on("map-zoomend", say)
            say()

    ui.timer(0.05, draw, once=True)


def _export(folder: Path) -> None:
    def formats() -> list[str]:
        from localization.io.formats import writable

        return list(writable())

    names = formats()
    chosen = layout.choice("export", names, names[0])
    ui.button("Download the list", icon="download", on_click=lambda: ui.navigate.to(
        link("/list", path=folder, format=chosen.value))).props("flat dense no-caps")  # fmt: skip


def _histograms(shown: Shown, folder: Path, kept: filters.Filters) -> None:
    """Draw how the list's columns are distributed, with the handles of their filters, and how many rows there are."""
    holder = ui.column().classes("w-full gap-2")

    async def draw() -> None:
        found = await away(lambda: shown.lists.take(folder / LIST))
        if found is None:
            return
        summary = found.summary
        with holder:
            ui.label(f"{summary['rows']} localizations in {summary['frames']} frames").props('id="rows"')
            for drawn in summary["histograms"]:
                ui.label(f"{drawn['label']}: median {drawn['median']:.4g}").classes("soft")
                svg = histogram_svg(drawn["counts"], drawn["first"], drawn["last"])
                ui.html(svg, sanitize=False).classes("w-full")
                if drawn["label"] in _HANDLES:
                    _handles(kept, _HANDLES[drawn["label"]], drawn["first"], drawn["last"])

    ui.timer(0.1, draw, once=True)


def _handles(kept: filters.Filters, fields: tuple[str, str], first: float, last: float) -> None:
    """Draw a bar with two handles that set the fields of a filter; at its ends they are empty."""
    step = (last - first) / 200

    def moved(event: Any) -> None:
        for name, end, outer in zip(fields, ("min", "max"), (first, last), strict=True):
            value = float(event.args[end])
            if name:
                kept.fields[name].value = None if abs(value - outer) < step / 2 else float(f"{value:.4g}")

    bar = ui.range(min=first, max=last, step=step, value={"min": first, "max": last}).props('aria-label="bounds"')
    bar.on("update:model-value", moved, throttle=0.3, leading_events=False)


def histogram_svg(counts: list[int], first: float, last: float) -> str:
    """Draw a histogram as SVG, its ends written below."""
    top, width = max(*counts, 1), 100 / len(counts)
    bars = "".join(
        f'<rect x="{k * width:.2f}" y="{40 * (1 - n / top):.2f}" width="{width:.2f}" height="{40 * n / top:.2f}"/>'
        for k, n in enumerate(counts)
    )
    ends = "".join(
        f'<text x="{x}" y="47" font-size="4" text-anchor="{anchor}" fill="currentColor">{end:.4g}</text>'
        for x, anchor, end in ((0, "start", first), (100, "end", last))
    )
    head = '<svg viewBox="0 0 100 49" width="100%" role="img" aria-label="histogram">'
    return f'{head}<g fill="{BLUE}">{bars}</g>{ends}</svg>'
