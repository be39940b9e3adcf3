"""Run: the steps with their state and time left, the picture as it grows, the log; Stop, Resume, the command."""

import json
import re
from pathlib import Path

from nicegui import ui

from app.pages import findings, layout, setting
from app.pages.layout import COLOURS, away, framed, heading, link
from app.pages.trial import TrialCard
from app.routes import Shown
from app.runs.files import PLAN, SAID, changed_ns, chunks, own, tail
from app.runs.launch import ask, command, stop
from app.runs.state import Run, StepState, is_run, read_run
from app.site import Refused
from experiments.reconstruction.questions import QUESTIONS

_ICONS = {"done": "check_circle", "running": "play_circle", "waiting": "radio_button_unchecked"}
_EVERY_S, _LINES = 1.0, 200
FOREIGN = re.compile(r"[EWI]\d{4} \d\d:")  # what JAX's compiler says to its own makers
_NOTICE_JS = """
if (document.hidden && window.Notification && Notification.permission === 'granted')
  new Notification('Colocus', {body: %s});
"""


def notice(text: str) -> None:
    """Show a notice on the desktop, where that was allowed and the page is not the one in front."""
    ui.run_javascript(_NOTICE_JS % json.dumps(text))


def duration(seconds: float) -> str:
    """Write a length of time in words.

    >>> duration(75), duration(4000)
    ('1 min 15 s', '1 h 7 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {round(whole % 3600 / 60)} min"


def page(shown: Shown, path: str) -> None:
    """Draw the page of a run. Raises `Refused` for a folder that holds none."""
    folder = shown.site.resolve(path)
    if not is_run(folder):
        raise Refused("no run in this folder")
    with framed(folder.name, here=shown.site.called(folder)), ui.element("div").classes("two"):
        with ui.column().classes("gap-3"):
            with ui.card():
                picture = ui.column().classes("w-full")
            trial = TrialCard(folder)
            with ui.card():
                heading("Log")
                with ui.element("div").classes("w-full newest"):
                    log = ui.label().classes("mono w-full")
        with ui.column().classes("gap-3"):
            _Live(folder, picture, log, trial)
            findings.draw_doubts(folder)
            setting.draw(folder)
            with ui.card():
                heading("The same in a terminal")
                line = command(folder)
                ui.label(line).classes("mono w-full").props('id="command"')
                ui.button("Copy", icon="content_copy", on_click=lambda: ui.clipboard.write(line)).props(
                    "flat dense no-caps"
                )
                ui.link("plan.toml, which decides the run", link("/file", path=folder / PLAN))
                ui.link("its microscope", link("/microscope", run=folder))
                ui.link(
                    "the movie, with what this run was told", link("/look", path=read_run(folder).movie, run=folder)
                )


class _Live:
    """The part of the page that follows the run's folder."""

    def __init__(self, folder: Path, picture: ui.column, log: ui.label, trial: TrialCard) -> None:
        self.folder, self.picture, self.log, self.trial = folder, picture, log, trial
        self.shown_picture: tuple[Path, int] | None = None
        self.was_active: bool | None = None
        self.live: ui.interactive_image | None = None
        with ui.card():
            with ui.row().classes("items-center w-full no-wrap"):
                self.state = ui.label().classes("text-lg font-semibold lit").props('id="state" role="status"')
                ui.element("div").classes("grow")
                self.result = ui.link("Result", link("/result", path=folder)).classes("font-semibold")
            self.message = ui.label().style("overflow-wrap: anywhere").props('id="message"')
            with ui.row().classes("gap-2 w-full"):
                self.go = ui.button("Resume", icon="play_arrow", on_click=self.resume)
                self.end = ui.button("Stop", icon="stop", on_click=self.halt).props("outline")
            layout.tell_me()
            self.upto = layout.choice("upto", {"": "the picture", **{name: name for name in QUESTIONS}}, "")
            self.steps = {name: StepRow(name) for name in QUESTIONS}
        self.draw(read_run(folder))
        ui.timer(0.1, trial.refresh, once=True)
        ui.timer(_EVERY_S, self.refresh)

    async def resume(self) -> None:
        """Put the run into the queue."""
        await away(ask, self.folder, self.upto.value or None)
        await self.refresh()

    async def halt(self) -> None:
        """Stop the run; what is done stays."""
        await away(stop, self.folder)
        await self.refresh()

    async def refresh(self) -> None:
        """Read the folder again."""
        run = await away(read_run, self.folder)
        if run is not None:
            self.draw(run)
        await self.trial.refresh()

    def draw(self, run: Run) -> None:
        """Show a state; NiceGUI sends what has changed and nothing else."""
        self.state.text = run.state
        self.state.style(f"color: {COLOURS.get(run.state, 'inherit')}")
        self.message.text = run.message
        self.go.set_enabled(not run.is_active)
        self.go.text = {"ready": "ONE CLICK", "done": "Again"}.get(run.state, "Resume")
        self.end.set_enabled(run.is_active)
        self.end.text = "Stop at once" if run.state == "stopping" else "Stop"
        self.result.set_visibility((run.folder / "localizations.csv").exists())
        for step in run.steps:
            self.steps[step.name].draw(step)
        said = [line for line in tail(own(run.folder, SAID)) if line.strip() and not FOREIGN.match(line)][-_LINES:]
        self.log.text = "\n".join(said) or "nothing yet"
        self.draw_picture(run)
        if self.was_active and not run.is_active:
            notice(f"{run.folder.name}: {run.state}")
        self.was_active = run.is_active

    def draw_picture(self, run: Run) -> None:
        """Show the picture of the latest step that has one."""
        done = len(chunks(run.folder)) if run.state == "running" else 0
        if done:
            if self.shown_picture != (run.folder, done):
                self.shown_picture = (run.folder, done)
                source = link("/live", path=run.folder, v=f"{run.changed:.0f}-{done}")
                if self.live is None:
                    self.picture.clear()
                    with self.picture:
                        heading("What is read by now")
                        self.live = ui.interactive_image(source).classes("w-full self-center")
                        self.live.style("max-width: 60vh; background: black").props('alt="what is read by now"')
                self.live.set_source(source)
            return
        self.live = None
        place = run.thumbnail
        key = None if place is None else (place, changed_ns(place))
        if self.shown_picture is not None and key == self.shown_picture:
            return
        if place is None and self.shown_picture is None and self.picture.default_slot.children:
            return
        self.shown_picture = key
        self.picture.clear()
        with self.picture:
            if place is None or key is None:
                ui.label("The picture of each step appears here when the step is done.").classes("soft")
                return
            name = place.parent.name.partition("-")[2]
            heading(QUESTIONS.get(name, name))
            ui.image(link("/picture", path=place, v=key[1])).props(f'fit=contain alt="{name}"').style(
                "max-height: 60vh; background: white"
            ).classes("w-full")


class StepRow:
    """A step: its state as a sign and in words, its time, and how far it is."""

    def __init__(self, name: str) -> None:
        self.row = ui.row().classes("items-center no-wrap gap-2 w-full").props(f'data-step="{name}"')
        with self.row:
            self.icon = ui.icon(_ICONS["waiting"], size="20px")
            with ui.column().classes("gap-0 grow").style("min-width: 0"):
                label = ui.label(name).classes("font-medium")
                if name in QUESTIONS:
                    label.tooltip(QUESTIONS[name])
                self.bar = ui.linear_progress(0, show_value=False, size="4px").props(f'aria-label="{name}"')
            self.note = ui.label().classes("soft").style("white-space: nowrap; font-size: 12px")

    def draw(self, step: StepState) -> None:
        """Show a state of the step."""
        self.icon.name = _ICONS[step.state]
        self.icon.style(f"color: {COLOURS.get(step.state, 'inherit')}")
        self.bar.set_visibility(step.state == "running")
        self.bar.value = step.done / step.total if step.total else 0
        words = []
        if step.state == "running" and step.total:
            words.append(f"{step.stage} {step.done} of {step.total}")
        if step.left_s is not None:
            words.append(f"{duration(step.left_s)} left")
        elif step.seconds is not None:
            words.append(duration(step.seconds))
        self.note.text = ", ".join(words)
