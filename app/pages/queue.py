"""Queue: which run comes when, many movies by one plan, and what came out of all of them."""

from dataclasses import dataclass
from pathlib import Path

from nicegui import ui

from app.folders import listing
from app.pages import layout
from app.pages.layout import COLOURS, away, framed, heading, link
from app.routes import Shown
from app.runs.files import findings_of, number
from app.runs.jobs import page_of
from app.runs.launch import ask, find_runs, make_run, move_up, queue, stop
from app.runs.state import Run, is_run, plan_of, read_run
from app.site import Refused, Site

_EVERY_S = 2.0
_COLUMNS = [
    {"name": name, "label": label, "field": name, "align": align, "sortable": True}
    for name, label, align in (
        ("run", "run", "left"), ("movie", "movie", "left"), ("state", "state", "left"),
        ("rows", "localizations", "right"), ("precision", "precision (nm)", "right"),
        ("frc", "ring correlation (nm)", "right"), ("minutes", "minutes", "right"),
    )
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a run: numbers of its findings, None where a step has not been."""

    run: Run
    rows: int | None
    precision_nm: float | None
    frc_nm: float | None
    minutes: float

    @classmethod
    def read(cls, folder: Path) -> "Outcome":
        """Read a run and its findings."""
        found = findings_of(folder)

        def of(step: str, name: str, factor: float = 1.0) -> float | None:
            value = number(found.get(step, {}).get(name))
            return None if value is None else factor * value

        rows = of("filters", "after")
        seconds = sum(of(step, "seconds") or 0.0 for step in found)
        return cls(
            read_run(folder), None if rows is None else int(rows), of("test", "sigma_xy_um", 1e3),
            of("picture", "frc_nm"), seconds / 60,
        )  # fmt: skip

    def cells(self) -> dict[str, str | int | float | None]:
        """Return what the table shows."""
        return {
            "run": self.run.folder.name, "movie": "/".join(Path(self.run.movie).parts[-2:]),
            "state": self.run.state, "rows": self.rows,
            "precision": None if self.precision_nm is None else round(self.precision_nm, 1),
            "frc": None if self.frc_nm is None else round(self.frc_nm, 1), "minutes": round(self.minutes, 1),
            "path": str(self.run.folder), "page": page_of(self.run.folder),
        }  # fmt: skip


def page(shown: Shown) -> None:
    """Draw the queue, the batch and the table of results."""
    site = shown.site
    with framed("Queue and results", here="queue"):
        with ui.element("div").classes("two"):
            with ui.card():
                heading("Working and waiting")
                _waiting(site)
            with ui.card():
                heading("Many movies, one plan")
                _batch(site)
        with ui.card():
            heading("What came out")
            _results(site)


def _waiting(site: Site) -> None:
    holder = ui.column().classes("w-full gap-1")
    drawn: list[list | None] = [None]

    def look() -> list[Run]:
        runs = find_runs(site)
        waiting = queue(runs)
        active = [run for run in map(read_run, runs) if run.state in ("running", "stopping")]
        return [*active, *map(read_run, waiting)]

    async def refresh() -> None:
        runs = await away(look)
        key = [(run.folder, run.state, run.message) for run in runs or []]
        if runs is None or drawn[0] == key:
            return
        drawn[0] = key
        holder.clear()
        with holder:
            for run in runs:
                row(run)
            if not runs:
                ui.label("nothing works or waits").classes("soft")

    async def act(work, run: Run) -> None:
        await away(work, *((site, run.folder) if work is move_up else (run.folder,)))
        await refresh()

    def row(run: Run) -> None:
        with ui.row().classes("items-center no-wrap gap-2 w-full"):
            ui.label(run.state).style(f"color: {COLOURS.get(run.state, 'inherit')}; font-weight: 600").classes("lit")
            ui.link(run.folder.name, link(page_of(run.folder), path=run.folder)).style("overflow-wrap: anywhere")
            ui.label(run.message).classes("soft ellipsis").style("margin-left: auto")
            if run.state == "queued":
                up = ui.button(icon="arrow_upward", on_click=lambda: act(move_up, run)).props("flat dense round")
                up.props('aria-label="earlier"').tooltip("earlier")
            end = ui.button(icon="stop", on_click=lambda: act(stop, run)).props('flat dense round aria-label="stop"')
            end.tooltip("stop, or take out of the queue")

    ui.timer(0.1, refresh, once=True)
    ui.timer(_EVERY_S, refresh)


def _batch(site: Site) -> None:
    """Draw the form that makes a run of each movie in a folder, with the plan of a run that is there."""
    runs = {str(run): run.name for run in find_runs(site) if is_run(run)}
    plan = layout.choice("plan", runs, next(iter(runs), None))
    folder = layout.text("folder", str(site.folders[0]))

    async def begin() -> None:
        made = await away(make_batch, site, folder.value, plan.value)
        if made is not None:
            ui.notify(f"{len(made)} runs wait", type="positive")

    ui.button("Queue them all", icon="playlist_add", on_click=begin).props("outline")


def make_batch(site: Site, folder: str, plan: str | None) -> list[Path]:
    """Put a run of each movie of a folder into the queue, with the settings of another run's plan. Raises `Refused`."""
    if not plan:
        raise Refused("no plan; begin one run, whose plan the others take", 400)
    settings = {name: value for name, value in plan_of(site.resolve(plan)).items() if name != "movie"}
    place = site.resolve(folder)
    movies = listing(site, place)[1] if place.is_dir() else []
    if not movies:
        raise Refused(f"{folder}: no movie in this folder; name another", 400)
    made = [make_run(site, movie.resolve(), settings) for movie in movies]
    for run in made:
        ask(run)
    return made


def _results(site: Site) -> None:
    table = ui.table(columns=_COLUMNS, rows=[], row_key="path").classes("w-full").props("flat dense")
    table.add_slot("no-data", "no run yet")
    table.on("row-click", lambda event: ui.navigate.to(link(event.args[1]["page"], path=event.args[1]["path"])))

    async def refresh() -> None:
        outcomes = await away(lambda: [Outcome.read(folder) for folder in find_runs(site)])
        cells = [outcome.cells() for outcome in sorted(outcomes or [], key=lambda outcome: -outcome.run.changed)]
        if cells != table.rows:
            table.rows = cells

    ui.timer(0.1, refresh, once=True)
    ui.timer(_EVERY_S * 2, refresh)
