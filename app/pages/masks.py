"""Masks: a co-design or a comparison begun, watched as mask, PSF and loss change, and its mask made for an SLM."""

import json
import math
from pathlib import Path
from typing import Any

from nicegui import ui

from app.experiments import JOBS, PANEL, make_experiment, make_slm, presets
from app.pages import layout
from app.pages.curves import curves_svg
from app.pages.job_card import JobCard
from app.pages.layout import BLUE, GREEN, ORANGE, RED, away, framed, heading, link
from app.pages.microscope import spoken
from app.routes import Shown
from app.runs.files import changed_ns, tail
from app.runs.jobs import arm_log, arms, job_of
from app.runs.launch import ask, find_runs
from app.runs.state import Run, read_run
from app.scopes import scopes
from app.site import Refused

_PENS = ((BLUE, ""), (ORANGE, "6 3"), (GREEN, "2 2"), (RED, "8 2 2 2"), ("#CC79A7", "4 4"), ("#56B4E9", "1 3"))
_SHOWN = 6  # snapshots of a mask, beside the first
FIGURES = {"codesign": "The learned masks", "density": "Scores against density", "pairs": "Scores against light",
           "bounds": "Bounds on precision", "psf": "PSFs through depth", "frames": "Frames and lists",
           "slm": "What the panel shows"}  # fmt: skip
_KEEP = ("mask.npz", "mask.mat", "slm.png", "slm.bmp", "metrics.json", "config.json", "report.html")
PANEL_FIELDS = tuple(PANEL)


def page(shown: Shown, path: str = "") -> None:
    """Draw the form and the jobs, or one of them. Raises `Refused` for a folder that holds none."""
    if not path:
        with framed("Masks", here="masks"), ui.element("div").classes("two"):
            with ui.card().style("align-self: start"):
                heading("Co-designs and comparisons")
                _jobs(shown)
            with ui.card().style("align-self: start"):
                heading("Begin one")
                _form(shown)
        return
    folder = shown.site.resolve(path)
    kind = job_of(folder).get("kind")
    if kind not in (*JOBS, "fabricate"):
        raise Refused("no job on masks in this folder")
    with framed(folder.name, here=shown.site.called(folder)), ui.element("div").classes("two"):
        with ui.column().classes("gap-3"):
            view = _Learning(shown, folder, learns=kind != "fabricate")
        with ui.column().classes("gap-3"):
            JobCard(folder, view.refresh)
            with ui.card():
                heading("To keep")
                view.keep = ui.column().classes("gap-1 w-full")
            if kind == "codesign":
                with ui.card():
                    heading("For an SLM")
                    _slm(shown, folder)


def _jobs(shown: Shown) -> None:
    holder = ui.column().classes("w-full gap-1")

    async def refresh() -> None:
        def look() -> list[Run]:
            found = [run for run in find_runs(shown.site) if job_of(run).get("kind") in (*JOBS, "fabricate")]
            return sorted(map(read_run, found), key=lambda run: -run.changed)

        runs = await away(look) or []
        holder.clear()
        with holder:
            for run in runs:
                with ui.row().classes("items-center no-wrap gap-2 w-full"):
                    ui.label(run.state).style(f"color: {layout.COLOURS.get(run.state, 'inherit')}; font-weight: 600")
                    ui.link(run.folder.name, link("/masks", path=run.folder)).style("overflow-wrap: anywhere")
                    ui.label(run.message).classes("soft ellipsis").style("margin-left: auto")
            if not runs:
                ui.label("none yet").classes("soft")

    ui.timer(0.1, refresh, once=True)
    ui.timer(3.0, refresh)


def _form(shown: Shown) -> None:
    fields: dict[str, Any] = {}
    fields["job"] = layout.choice("job", list(JOBS), JOBS[0])
    fields["experiment"] = layout.choice("experiment", presets(), next(iter(presets())))
    saved = {str(path): path.stem for path in scopes(shown.site)}
    fields["job_scope"] = layout.choice("job_scope", {"": "the experiment's", **saved}, "")
    fields["train_steps"] = layout.number("train_steps", step=50, format="%d")
    fields["scene_low"] = layout.number("scene_low", step=0.5)
    fields["scene_high"] = layout.number("scene_high", step=0.5)

    def work() -> Path:
        folder = make_experiment(shown.site, {name: field.value for name, field in fields.items()})
        ask(folder)
        return folder

    async def begin() -> None:
        button.disable()
        folder = await away(work)
        if folder is None:
            button.enable()
        else:
            ui.navigate.to(link("/masks", path=folder))

    button = ui.button("Begin", icon="play_arrow", on_click=begin).classes("w-full")
    ui.label("It waits for its turn in the queue.").classes("soft")


def _slm(shown: Shown, folder: Path) -> None:
    fields = {name: layout.number(name, value) for name, value in PANEL.items()}

    def work() -> Path:
        made = make_slm(shown.site, folder, {name: field.value for name, field in fields.items()})
        ask(made)
        return made

    async def begin() -> None:
        made = await away(work)
        if made is not None:
            ui.navigate.to(link("/masks", path=made))

    ui.button("Make slm.png", icon="grid_on", on_click=begin).props("outline")
    ui.label("When the mask is learned. Flips, look-up tables and gratings: colocus fabricate.").classes("soft")


class _Learning:
    """The pictures of a job, drawn again when a file of theirs is new."""

    def __init__(self, shown: Shown, folder: Path, *, learns: bool) -> None:
        self.shown, self.folder, self.keep = shown, folder, ui.column()
        self.drawn: dict[str, Any] = {}
        with ui.card() as mask_card:
            heading("The mask as it is learned")
            self.masks = ui.column().classes("w-full gap-2")
            with self.masks:
                ui.label("The first mask is drawn when the training begins.").classes("soft")
            self.psf = ui.html("", sanitize=False).classes("w-full")
            self.said = ui.label().classes("soft").props('id="bounds"')
        with ui.card() as loss_card:
            heading("Training")
            self.loss = ui.html("", sanitize=False).classes("w-full").props('id="loss"')
        with ui.card() as self.score_card:
            heading("Scores")
            self.scores = ui.html("", sanitize=False).classes("w-full")
        for card in (mask_card, loss_card):
            card.set_visibility(learns)
        self.figures = ui.column().classes("w-full gap-3")
        ui.timer(0.1, lambda: self.refresh(read_run(folder)), once=True)

    def is_new(self, name: str, key: Any) -> bool:
        """Say whether a part has changed since it was drawn."""
        before, self.drawn[name] = self.drawn.get(name), key
        return before != key

    async def refresh(self, run: Run) -> None:
        """Draw what is new."""
        found = await away(look_at, self.folder)
        if found is None:
            return
        if found["snapshots"] and self.is_new("masks", found["snapshots"]):
            self._masks(found["snapshots"])
            await self._psf(found["snapshots"])
        if self.is_new("loss", found["losses"]):
            lines = [(name, *_PENS[k % len(_PENS)], values) for k, (name, values) in enumerate(found["losses"].items())]
            steps = found["steps"]
            self.loss.content = curves_svg(steps, lines, "step", "loss", from_zero=False) or "nothing yet"
        if self.is_new("scores", found["scores"]):
            lines = [(name, *_PENS[k % len(_PENS)], values) for k, (name, values) in enumerate(found["scores"].items())]
            self.scores.content = curves_svg(found["counts"], lines, "molecules in a frame", "Jaccard index")
        self.score_card.set_visibility(bool(found["scores"]))
        if self.is_new("figures", found["figures"]):
            self.figures.clear()
            with self.figures:
                for name, version in found["figures"]:
                    with ui.card():
                        heading(FIGURES.get(Path(name).stem, Path(name).stem))
                        source = link("/picture", path=self.folder / name, v=version)
                        ui.html(f'<img src="{source}" alt="{Path(name).stem}" style="max-width: 100%; '
                                'background: white">', sanitize=False)  # fmt: skip
        if self.is_new("keep", found["keep"]):
            self.keep.clear()
            with self.keep:
                for name in found["keep"]:
                    ui.link(name, link("/file", path=self.folder / name)).props(f'download data-keep="{name}"')
                if not found["keep"]:
                    ui.label("nothing yet").classes("soft")

    def _masks(self, snapshots: dict[str, list[str]]) -> None:
        self.masks.clear()
        with self.masks:
            for arm, names in snapshots.items():
                ui.label(arm).classes("soft")
                with ui.row().classes("gap-3 w-full"):
                    for name in names:
                        step = int(Path(name).stem.partition("_")[2])
                        with ui.column().classes("items-center gap-0"):
                            ui.html(f'<img src="{link("/mask", path=name)}" width="96" height="96" '
                                    f'alt="mask at step {step}">', sanitize=False)  # fmt: skip
                            ui.label(f"step {step}" if step else "start").classes("soft")

    async def _psf(self, snapshots: dict[str, list[str]]) -> None:
        """Draw the PSF of the newest mask."""
        newest = max((name for names in snapshots.values() for name in names), key=lambda name: changed_ns(Path(name)))
        request = {"kind": "learned", "arm": str(Path(newest).parents[1]), "snapshot": newest}
        try:
            answer = await self.shown.child.ask(request, id(self))
        except Refused as error:
            self.said.text = f"the PSF is not drawn: {error}"
            return
        if answer is None:
            return
        source = f"data:image/png;base64,{answer['picture']}"
        self.psf.content = f'<img src="{source}" alt="PSF of the newest mask" class="crisp" style="width: 100%">'
        low, high = answer["shown_um"][0], answer["shown_um"][-1]
        self.said.text = f"Its PSF from {low:g} to {high:g} um. {spoken(answer)}"


def look_at(folder: Path) -> dict[str, Any]:
    """Read what the pictures of an experiment are made of, from its folder."""
    found = arms(folder)
    names = {pair: pair[0] if len({seed for _, seed in found}) == 1 else f"{pair[0]}, seed {pair[1]}" for pair in found}
    snapshots, losses, steps = {}, {}, []
    for arm, seed in found:
        kept = sorted((folder / "arms" / f"{arm}-seed{seed}" / "masks").glob("step_*.npy"))
        if kept:
            places = sorted({round(k * (len(kept) - 1) / _SHOWN) for k in range(_SHOWN + 1)})
            snapshots[names[arm, seed]] = [str(kept[k]) for k in places]
        told = {record["step"]: record.get("loss") for record in arm_log(folder, arm, seed)}
        if told:
            losses[names[arm, seed]] = told
            steps = sorted({*steps, *told})
    steps = steps[:: max(len(steps) // 400, 1)]
    counts, scores = _scores(folder, names)
    figures = [f"figures/{path.name}" for path in _pictures(folder)] + ["slm.png"]
    return {
        "snapshots": snapshots, "steps": steps, "counts": counts, "scores": scores,
        "losses": {name: [told.get(step) for step in steps] for name, told in losses.items()},
        "figures": [(name, changed_ns(folder / name)) for name in figures if (folder / name).exists()],
        "keep": [name for name in _KEEP if (folder / name).is_file()],
    }  # fmt: skip


def _pictures(folder: Path) -> list[Path]:
    order = list(FIGURES)
    found = [path for path in (folder / "figures").glob("*.png") if path.stem in order]
    return sorted(found, key=lambda path: order.index(path.stem))


def _scores(folder: Path, names: dict[tuple[str, int], str]) -> tuple[list[float], dict[str, list[float | None]]]:
    """The Jaccard index of each arm and reading against the molecules in a frame, as the log has it."""
    by_name: dict[str, dict[int, float]] = {}
    for line in tail(folder / "log.jsonl", 1 << 20):
        try:
            record = json.loads(line)
            if record.get("event") != "scored":
                continue
            name = names[record["arm"], record["seed"]]
            reading = record.get("reading", "decoder")
            cells = {int(cell.removeprefix("count ")): float(values["jaccard"])
                     for cell, values in record["cells"].items()
                     if cell.startswith("count ") and math.isfinite(values["jaccard"])}  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        by_name[name if reading == "decoder" else f"{name}, {reading}"] = cells
    counts = sorted({count for cells in by_name.values() for count in cells})
    return [float(count) for count in counts], {
        name: [cells.get(count) for count in counts] for name, cells in by_name.items()
    }
