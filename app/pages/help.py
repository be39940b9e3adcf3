"""The help: a paragraph for each field, where its "?" leads."""

from nicegui import ui

from app.pages.layout import framed
from app.routes import Shown
from app.words import WORDS

_HEAD = (
    "A run has one file that decides it, plan.toml in its folder. The names in brackets are those there and on the "
    "command line."
)


def page(shown: Shown) -> None:
    """Draw the help."""
    del shown
    with framed("What the fields mean", here="help"):
        ui.label(_HEAD).classes("soft")
        for name, word in WORDS.items():
            with ui.element("section").props(f'id="{name}"'):
                ui.label(word.label).classes("font-semibold")
                setting = f"  [{word.setting}]" if word.setting else ""
                ui.label(word.text + setting).style("max-width: 46em")
