"""What all pages share: the head with its links, colours in light and dark, errors as one line, fields with help."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlencode

from nicegui import run, ui

from app.site import Refused
from app.words import WORDS

T = TypeVar("T")
# safe for colour-blind eyes: Okabe and Ito, jfly.uni-koeln.de/color
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
COLOURS = {
    "done": GREEN, "running": BLUE, "stopping": ORANGE, "queued": ORANGE, "failed": RED, "broken off": RED,
}  # fmt: skip
PAGES = {"Microscope": "/microscope", "Beads": "/beads", "Masks": "/masks", "Queue": "/queue"}
_CSS = """
.body--light { background: #f6f7f8 } .body--dark { background: #15181c }
.page { width: 100%; max-width: 1500px; margin: 0 auto; padding: 12px 16px 40px }
.two { display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr) 380px; width: 100% }
@media (max-width: 1050px) { .two { grid-template-columns: minmax(0, 1fr) 300px } }
@media (max-width: 760px) { .two { grid-template-columns: minmax(0, 1fr) } }
.body--dark .lit { filter: brightness(1.7) } .body--dark { --q-primary: #2b8cd4 !important }
a { color: #0b62c4 } .body--dark a { color: #8ec5ff } .q-header a { color: white !important }
::file-selector-button { border: 1px solid rgba(128,128,128,.6); border-radius: 4px; padding: 2px 10px;
  margin-right: 8px }
.q-select, .q-select .q-field__native > span { min-width: 0; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap }
.q-notification .q-btn { color: white !important; text-decoration: underline }
.newest { max-height: 320px; overflow-y: auto; display: flex; flex-direction: column-reverse }
.hinted { margin-bottom: 6px }
.q-card { box-shadow: none !important; border: 1px solid rgba(128,128,128,.3); width: 100% }
.crisp img, img.crisp { image-rendering: pixelated }
.soft { opacity: .75 } .mono { font-family: ui-monospace, monospace; font-size: 12px; white-space: pre-wrap;
  overflow-wrap: anywhere } h1 { font-size: 1.35rem; font-weight: 600; line-height: 1.3; margin: 0 }
h2 { font-size: 1.05rem; font-weight: 600; line-height: 1.3; margin: 0 }
a:focus-visible, button:focus-visible, .leaflet-container:focus-visible {
  outline: 3px solid #E69F00; outline-offset: 2px }
"""


def link(place: str, **query: Any) -> str:
    """Write an address of the page.

    >>> link("/look", path="/a b.tif")
    '/look?path=%2Fa+b.tif'
    """
    return f"{place}?{urlencode(query)}" if query else place


def size(n_bytes: int) -> str:
    """Write how large a file is.

    >>> size(812), size(12_573), size(5_087_189), size(20_000_000_000)
    ('1 kB', '13 kB', '5.1 MB', '20.0 GB')
    """
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{max(n_bytes / 1e3, 1):.0f} kB"


@contextmanager
def framed(title: str, *, here: str = "") -> Iterator[None]:
    """Draw the head of a page and hold its body."""
    ui.add_css(_CSS)
    ui.colors(primary=BLUE, secondary="#56B4E9", accent=ORANGE, positive=GREEN, negative=RED, warning=ORANGE)
    dark = ui.dark_mode(None)
    with ui.header(elevated=False).classes("items-center py-2 px-4 gap-4").style(f"background: {BLUE}"):
        ui.link("Colocus", "/").classes("text-white no-underline text-lg font-semibold")
        ui.label(here).classes("text-white grow ellipsis").style("min-width: 0")
        for label, target in PAGES.items():
            ui.link(label, target).classes("text-white")
        ui.link("Help", "/help", new_tab=True).classes("text-white")
        button = ui.button(
            icon="contrast", on_click=lambda: dark.set_value({None: True, True: False, False: True}[dark.value])
        )
        button.props('flat round dense color=white aria-label="light or dark"').tooltip("light or dark")
    with ui.element("main").classes("page column gap-3"):
        ui.html(f"<h1>{escaped(title)}</h1>", sanitize=False)
        yield


def heading(text: str) -> None:
    """Draw a heading within a page."""
    ui.html(f"<h2>{escaped(text)}</h2>", sanitize=False)


def escaped(text: str) -> str:
    """Write text so that no part of it is read as HTML."""
    import html

    return html.escape(text)


def question(name: str) -> None:
    """Draw the "?" of a field, which opens its paragraph of the help."""
    with ui.link(target=f"/help#{name}", new_tab=True).classes("no-underline"):
        ui.icon("help_outline", size="18px").tooltip(WORDS[name].text)


def number(name: str, value: float | None = None, **options: Any) -> ui.number:
    """Draw a field for a number, with its name, unit and help from `WORDS`."""
    with ui.row().classes("items-center no-wrap gap-1 w-full"):
        field = ui.number(label=WORDS[name].label, value=value, **options).classes("grow").props("dense outlined")
        field.props(f'data-field="{name}"')
        question(name)
    return field


def text(name: str, value: str = "", **options: Any) -> ui.input:
    """Draw a field for text, with its name and help."""
    with ui.row().classes("items-center no-wrap gap-1 w-full"):
        field = ui.input(label=WORDS[name].label, value=value, **options).classes("grow").props("dense outlined")
        field.props(f'data-field="{name}"')
        question(name)
    return field


def choice(name: str, options: Any, value: Any) -> ui.select:
    """Draw a field that offers several things, with its name and help."""
    with ui.row().classes("items-center no-wrap gap-1 w-full"):
        field = ui.select(options, label=WORDS[name].label, value=value).classes("grow").props("dense outlined")
        field.props(f'data-field="{name}"')
        question(name)
    return field


_TELL_JS = """event => {
  const say = text => { event.target.closest('button').querySelector('.block').innerText = text; };
  if (!window.isSecureContext || !window.Notification) say('This needs https, or a browser on the machine itself');
  else Notification.requestPermission().then(answer =>
    say(answer === 'granted' ? 'You are told when it ends' : 'The browser does not allow it'));
}"""


def tell_me() -> None:
    """Draw the button that lets the browser show a notice when a job ends; it asks only where one has clicked."""
    button = ui.button("Tell me when it ends", icon="notifications").props("flat dense no-caps")
    button.on("click", js_handler=_TELL_JS)


def say(error: Exception) -> None:
    """Show what is refused as a line that stays until it is closed."""
    ui.notify(str(error), type="negative", timeout=0, close_button="OK", multi_line=True)


async def away(work: Callable[..., T], *arguments: Any) -> T | None:
    """Do what takes time in a thread, so that the page goes on; None and a line for what is refused."""
    try:
        return await run.io_bound(work, *arguments)
    except Refused as error:
        say(error)
        return None


def handled(work: Callable[[], Awaitable[Any] | Any]) -> Callable[[], Awaitable[None]]:
    """Turn a handler's `Refused` into a line on the page."""

    async def handler() -> None:
        try:
            found = work()
            if isinstance(found, Awaitable):
                await found
        except Refused as error:
            say(error)

    return handler
