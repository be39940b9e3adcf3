"""The last test frame of a run, with what was found in it: a slider leaves out what is dimmer, at once."""

from pathlib import Path

import numpy as np
from nicegui import ui

from app.pages import layout
from app.pages.curves import curves_svg
from app.pages.layout import ORANGE, away, heading, link
from app.pages.setting import value_of
from app.pictures.trial import KINDS, Spots, spots, trial_file
from app.runs.files import changed_ns, read_json, size_of
from app.runs.jobs import steps_of
from app.runs.launch import change_plan
from experiments.reconstruction.questions import step_folder

_TITLES = {"frame": "frame", "redrawn": "redrawn from what was found", "left": "what is left (noise is white)"}
_CROSSES = 4000  # at most, the brightest
_POINTS = 300


def crosses(found: Spots, least: float | None) -> str:
    """Draw a cross for each spot of at least `least` photons as SVG, for all with None.

    >>> import numpy as np
    >>> crosses(Spots(9, 9, np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([10.0, 99.0])), 50.0)[:18]
    '<path d="M1.9 4.0h'
    """
    arm = max(found.height, found.width) / 90
    order, kept = (-found.photons).argsort()[:_CROSSES], found.kept(least)
    path = "".join(
        f"M{found.x_px[k] - arm:.1f} {found.y_px[k]:.1f}h{2 * arm:.1f}M{found.x_px[k]:.1f} {found.y_px[k] - arm:.1f}"
        f"v{2 * arm:.1f}"
        for k in order
        if kept[k]
    )
    return f'<path d="{path}" stroke="{ORANGE}" stroke-width="{arm / 3:.2f}" fill="none"/>' if path else ""


class TrialCard:
    """The card of the test frame, drawn when the step is done and again when it was done anew."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.version = folder, 0
        self.loss_key: tuple[int, int] = (0, 0)
        with ui.card() as self.loss_card:
            heading("The decoder as it learns")
            self.loss = ui.html("", sanitize=False).classes("w-full").props('id="loss"')
        with ui.card() as self.card:
            heading("The test frame")
            self.holder = ui.column().classes("w-full gap-2")
        self.loss_card.set_visibility(False)
        self.card.set_visibility(False)

    async def refresh(self) -> None:
        """Draw what is new."""
        await self._training()
        place = trial_file(self.folder)
        version = changed_ns(place)
        if version == self.version:
            return
        self.version = version
        found = await away(spots, self.folder) if version else None
        self.card.set_visibility(found is not None)
        if found is not None:
            self._draw(found)

    def _draw(self, found: Spots) -> None:
        self.holder.clear()
        with self.holder:
            images = []
            with ui.row().classes("w-full no-wrap gap-3"):
                for kind in KINDS:
                    with ui.column().classes("gap-1").style("flex: 1; min-width: 0"):
                        source = link("/trial", path=self.folder, kind=kind, v=self.version)
                        images.append(ui.interactive_image(source, sanitize=False).classes("crisp w-full"))
                        ui.label(_TITLES[kind]).classes("soft")
            known = found.photons[np.isfinite(found.photons)]
            least, most = (float(f(known)) if known.size else 0.0 for f in (min, max))
            unknown = found.photons.size - known.size
            said = ui.label().props('id="found" role="status"')

            def bound(value: float) -> float | None:
                return None if value <= least else value

            def show(value: float) -> None:
                kept = int(found.kept(bound(value)).sum())
                light = f"have {value:.0f} photons or more" if known.size else "are found"
                said.text = f"{kept} of {found.photons.size} molecules {light}" + (
                    f"; of {unknown} a network tells no light, and grey parts are not redrawn" if unknown else ""
                )
                images[0].content = crosses(found, bound(value))

            with ui.row().classes("w-full items-center no-wrap gap-2"):
                ui.label("photons, least").style("white-space: nowrap")
                slider = ui.slider(min=least, max=most, step=max((most - least) / 200, 1e-6), value=least)
                slider.classes("grow").style("margin: 0 12px").props(
                    'aria-label="photons, least" data-field="trial_photons"'
                )
                slider.on("update:model-value", lambda event: show(float(event.args)), throttle=0.05)
                layout.question("trial_photons")

            async def keep() -> None:
                value = bound(float(slider.value or 0.0))
                wanted = None if value is None else round(value, 1)
                if await away(lambda: change_plan(self.folder, "filters", {"photons_min": wanted}) or True):
                    ui.notify("written into plan.toml; it holds from the next Resume on", type="positive")

            ui.button("Leave dimmer ones out of the result", icon="filter_alt", on_click=keep).props(
                "flat dense no-caps"
            )
            show(least)

    async def _training(self) -> None:
        """Draw the loss of a network that is trained for the movie."""
        name = step_folder("decoder")
        places = [self.folder / f".{name}" / "training", self.folder / name / "training"]
        folder = next((place for place in places if (place / "log.jsonl").exists()), None)
        if folder is None:
            return
        key = (size_of(folder / "log.jsonl"), changed_ns(folder / "log.jsonl"))
        if key == self.loss_key:
            return
        self.loss_key = key
        told = await away(steps_of, folder / "log.jsonl")
        steps = {record["step"]: record.get("loss") for record in told or []}
        shown = sorted(steps)[:: max(len(steps) // _POINTS, 1)]
        lines = [("loss", layout.BLUE, "", [steps[step] for step in shown])]
        self.loss.content = curves_svg([float(step) for step in shown], lines, "step", "loss", from_zero=False)
        total = value_of(read_json(folder / "config.json"), "optimiser.steps")
        self.loss_card.set_visibility(bool(self.loss.content))
        self.loss.props(f'title="{shown[-1] if shown else 0} of {total} steps"')
