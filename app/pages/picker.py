"""A file of the allowed folders, chosen by clicking through them or from a list."""

from collections.abc import Callable, Mapping
from pathlib import Path

from nicegui import ui

from app.folders import listing
from app.site import Refused, Site

_MOST = 500  # movies of a folder that are shown


def pick_file(site: Site, folder: Path, chosen: Callable[[Path], object]) -> None:
    """Open a dialog at a folder; `chosen` hears of the movie that is clicked."""
    with ui.dialog(value=True) as dialog, ui.card().style("min-width: 420px; max-height: 80vh; overflow-y: auto"):
        body = ui.column().classes("w-full gap-1")

    def take(path: Path) -> None:
        dialog.close()
        chosen(path)

    def show(place: Path) -> None:
        try:
            folders, files = listing(site, site.resolve(place))
        except Refused:
            return
        body.clear()
        with body:
            with ui.row().classes("gap-1"):
                for top in site.folders:
                    _button(top.name or str(top), "home", lambda top=top: show(top))
            ui.label(str(place)).classes("soft mono")
            if place not in site.folders:
                _button("one folder up", "arrow_upward", lambda: show(place.parent))
            for found in folders:
                _button(found.name, "folder", lambda found=found: show(found))
            for found in files[:_MOST]:
                _button(found.name, "movie", lambda found=found: take(found))

    show(folder if any(folder.is_relative_to(top) for top in site.folders) else site.folders[0])


def pick_listed(found: Mapping[Path, str], none: str, chosen: Callable[[Path], object]) -> None:
    """Open a dialog with files by what they are called, or the words `none`; `chosen` hears of the one clicked."""
    with ui.dialog(value=True) as dialog, ui.card().style("min-width: 420px; max-height: 80vh; overflow-y: auto"):

        def take(path: Path) -> None:
            dialog.close()
            chosen(path)

        for path, name in found.items():
            _button(name, "blur_on", lambda path=path: take(path))
        if not found:
            ui.label(none).classes("soft")


def _button(text: str, icon: str, act: Callable[[], None]) -> None:
    ui.button(text, icon=icon, on_click=act).props("flat dense no-caps align=left").classes("justify-start")
