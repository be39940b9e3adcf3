"""Start: the allowed folders, a place to drop a movie, and the runs that are there."""

import time
from pathlib import Path

from nicegui import ui

from app.folders import kind, listing, numbered
from app.pages.layout import COLOURS, away, framed, heading, link, size
from app.routes import Shown
from app.runs.files import changed_ns, size_of
from app.runs.jobs import page_of
from app.runs.launch import find_runs
from app.runs.state import Run, read_run
from app.site import Refused, Site

_MOST = 500  # movies of a folder that are shown
_RUNS = 24
# heard by the document, which is there before the fields are: a quick hand loses nothing
_UPLOAD_JS = """<script>
(() => {
  const send = file => {
    const state = document.getElementById('dropstate');
    if (!file) return;
    const request = new XMLHttpRequest();
    request.open('PUT', '/upload?name=' + encodeURIComponent(file.name));
    request.upload.onprogress = e => {
      state.textContent = (100 * e.loaded / Math.max(e.total, 1)).toFixed(0) + ' % sent';
    };
    request.onerror = () => { state.textContent = 'the upload was refused or broke off'; };
    request.onload = () => {
      if (request.status === 200)
        location.href = '/look?path=' + encodeURIComponent(JSON.parse(request.responseText).path);
      else state.textContent = request.responseText;
    };
    request.send(file);
  };
  const over = e => e.target.closest && e.target.closest('#drop');
  document.addEventListener('change', e => { if (e.target.id === 'pick') send(e.target.files[0]); });
  document.addEventListener('dragover', e => { if (over(e)) e.preventDefault(); });
  document.addEventListener('drop', e => { if (over(e)) { e.preventDefault(); send(e.dataTransfer.files[0]); } });
})()
</script>"""
_UPLOAD_HTML = """
<div id="drop" style="border: 2px dashed rgba(128,128,128,.6); border-radius: 8px; padding: 14px">
<label for="pick">Drop a movie here, or choose one: </label><input id="pick" type="file" aria-label="movie to upload">
<div id="dropstate" role="status" style="min-height: 1.4em"></div></div>
"""


def page(shown: Shown, folder: str = "") -> None:
    """Draw the first page, its browser at an allowed folder. Raises `Refused` for another one."""
    site = shown.site
    place = site.resolve(folder) if folder else site.folders[0]
    if not place.is_dir():
        raise Refused("no folder of this page")
    with framed("Movies and runs", here=site.called(place)), ui.element("div").classes("two"):
        with ui.column().classes("gap-3"):
            with ui.card():
                _browser(site, place)
        with ui.column().classes("gap-3"):
            with ui.card():
                ui.html(_UPLOAD_HTML, sanitize=False).classes("w-full")
                ui.add_body_html(_UPLOAD_JS)
                ui.button("Try it on simulated frames", icon="science", on_click=lambda: _demo(site)).props("outline")
            with ui.card():
                heading("Runs")
                _runs(site)


async def _demo(site: Site) -> None:
    from app.demo import write_demo

    path = await away(write_demo, site)
    if path is not None:
        ui.navigate.to(link("/look", path=path))


def _browser(site: Site, place: Path) -> None:
    with ui.row().classes("gap-3"):
        for folder in site.folders:
            ui.link(folder.name or str(folder), link("/", folder=folder)).tooltip(str(folder))
    if place not in site.folders:
        ui.link("one folder up", link("/", folder=place.parent))
    folders, files = listing(site, place)
    with ui.column().classes("gap-1 w-full"):
        if count := numbered(files):
            _entry("movie", "all files of this folder as one movie", link("/look", path=place), f"{count} files")
        for found in folders:
            what = kind(found)
            target = {"run": link(page_of(found), path=found), "movie": link("/look", path=found)}.get(what)
            icon = {"run": "auto_graph", "movie": "movie"}.get(what, "folder")
            _entry(icon, found.name, target or link("/", folder=found), what)
        for found in files[:_MOST]:
            _entry("movie", found.name, link("/look", path=found), size(size_of(found)))
        if len(files) > _MOST:
            ui.label(f"and {len(files) - _MOST} more that are not shown").classes("soft")
        if not folders and not files:
            ui.label("no movie here: go to another folder, drop one beside this, or try simulated frames").classes(
                "soft"
            )


def _entry(icon: str, name: str, target: str, note: str) -> None:
    with ui.row().classes("items-center no-wrap gap-2 w-full"):
        ui.icon(icon, size="20px")
        ui.link(name, target).style("overflow-wrap: anywhere")
        ui.label(note).classes("soft").style("margin-left: auto; white-space: nowrap")


def _runs(site: Site) -> None:
    """Draw the latest runs, and again whenever one has changed."""

    def found() -> list[Run]:
        return sorted((read_run(folder) for folder in find_runs(site)), key=lambda run: -run.changed)[:_RUNS]

    holder = ui.column().classes("gap-2 w-full")
    drawn: list[tuple] = []

    async def refresh() -> None:
        runs = await away(found)
        key = [(run.folder, run.state, run.message, run.thumbnail) for run in runs or []]
        if runs is None or (drawn and drawn[0] == tuple(key)):
            return
        drawn[:] = [tuple(key)]
        holder.clear()
        with holder:
            for run in runs:
                _card(run)
            if not runs:
                ui.label("none yet: open a movie, and press ONE CLICK there").classes("soft")

    ui.timer(0.1, refresh, once=True)
    ui.timer(2.0, refresh)


def _card(run: Run) -> None:
    with ui.row().classes("items-center no-wrap gap-3 w-full"):
        picture = run.thumbnail
        with ui.element("div").style("width: 64px; height: 48px; flex: none; background: rgba(128,128,128,.2)"):
            if picture is not None:
                version = changed_ns(picture)
                ui.image(link("/picture", path=picture, v=version)).classes("w-full h-full").props('fit=cover alt=""')
        with ui.column().classes("gap-0").style("min-width: 0"):
            ui.link(run.folder.name, link(page_of(run.folder), path=run.folder)).style("overflow-wrap: anywhere")
            when = time.strftime("%d %b %H:%M", time.localtime(run.changed))
            with ui.row().classes("gap-2 items-center"):
                ui.label(run.state).style(f"color: {COLOURS.get(run.state, 'inherit')}; font-weight: 600").classes(
                    "lit"
                )
                ui.label(when).classes("soft")
            ui.label(run.message).classes("soft").style("overflow-wrap: anywhere; font-size: 12px")
