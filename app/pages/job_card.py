"""What the pages of jobs share: state, Stop, Resume, steps with the time left, log, and the line for a terminal."""

from collections.abc import Callable
from pathlib import Path

from nicegui import ui

from app.pages.layout import COLOURS, away, heading, link, tell_me
from app.pages.run import FOREIGN, StepRow, notice
from app.runs.files import SAID, own, tail
from app.runs.launch import ask, command, stop
from app.runs.state import Run, read_run

_EVERY_S, _LINES = 1.0, 60


class JobCard:
    """A job as its folder shows it; `hears` is called with its state whenever that was read."""

    def __init__(self, folder: Path, hears: Callable[[Run], object]) -> None:
        self.folder, self.hears, self.was_active = folder, hears, False
        with ui.card():
            self.state = ui.label().classes("text-lg font-semibold lit").props('id="state" role="status"')
            self.message = ui.label().style("overflow-wrap: anywhere").props('id="message"')
            with ui.row().classes("gap-2 w-full"):
                self.go = ui.button("Resume", icon="play_arrow", on_click=self.resume)
                self.end = ui.button("Stop", icon="stop", on_click=self.halt).props("outline")
            tell_me()
            self.steps = ui.column().classes("w-full gap-1")
            self.rows: dict[str, StepRow] = {}
            self.report = ui.link("report", link("/report", path=folder), new_tab=True)
        with ui.card():
            heading("Log")
            with ui.element("div").classes("w-full newest"):
                self.log = ui.label().classes("mono w-full")
        with ui.card():
            heading("The same in a terminal")
            line = command(folder)
            ui.label(line).classes("mono w-full").props('id="command"')
            ui.button("Copy", icon="content_copy", on_click=lambda: ui.clipboard.write(line)).props(
                "flat dense no-caps"
            )
        self.draw(read_run(folder))
        ui.timer(_EVERY_S, self.refresh)

    async def resume(self) -> None:
        """Put the job into the queue."""
        await away(ask, self.folder)
        await self.refresh()

    async def halt(self) -> None:
        """Stop the job; what is done stays."""
        await away(stop, self.folder)
        await self.refresh()

    async def refresh(self) -> None:
        """Read the folder again."""
        run = await away(read_run, self.folder)
        if run is not None:
            self.draw(run)
            found = self.hears(run)
            if hasattr(found, "__await__"):
                await found  # pyright: ignore[reportGeneralTypeIssues]

    def draw(self, run: Run) -> None:
        """Show a state."""
        self.state.text = run.state
        self.state.style(f"color: {COLOURS.get(run.state, 'inherit')}")
        self.message.text = run.message
        self.go.set_enabled(not run.is_active)
        self.go.text = {"ready": "Begin", "done": "Again"}.get(run.state, "Resume")
        self.end.set_enabled(run.is_active)
        self.end.text = "Stop at once" if run.state == "stopping" else "Stop"
        self.report.set_visibility((run.folder / "report.html").exists())
        for step in run.steps:
            if step.name not in self.rows:
                with self.steps:
                    self.rows[step.name] = StepRow(step.name)
            self.rows[step.name].draw(step)
        for name in set(self.rows) - {step.name for step in run.steps}:
            self.rows.pop(name).row.delete()
        said = [line for line in tail(own(run.folder, SAID)) if line.strip() and not FOREIGN.match(line)][-_LINES:]
        self.log.text = "\n".join(said) or "nothing yet"
        if self.was_active and not run.is_active:
            notice(f"{run.folder.name}: {run.state}")
        self.was_active = run.is_active
