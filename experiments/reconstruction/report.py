"""The page of a reconstruction: the picture first, then every step: what it found, why, and how to say otherwise."""

import html
import json
from dataclasses import dataclass
from pathlib import Path

from experiments.progress import duration
from experiments.reconstruction.finding import PICTURE, Finding
from experiments.reconstruction.plan import Plan
from experiments.reconstruction.step import Step
from experiments.report.page import Figures, page, table
from optics.whole_file import write_text

_NOTE = (
    "Every choice below was made by the step that names it and can be made otherwise: change plan.toml, or add the "
    "setting that is named to the command, and go on with --resume. Only what that changes is done again."
)


@dataclass(frozen=True)
class Section:
    """A finished step: what it found, its folder, and how long it took."""

    step: Step
    finding: Finding
    folder: Path
    seconds: float


def write_report(out: Path, plan: Plan, sections: list[Section], steps: int) -> None:
    """Write report.html, with its pictures inside, and findings.json with all numbers."""
    figures = Figures({part.step.name: part.folder / PICTURE for part in sections if (part.folder / PICTURE).exists()})
    by_name = {part.step.name: part for part in sections}
    order = [*(["picture"] if "picture" in by_name else []), *(name for name in by_name if name != "picture")]
    body = [_section(by_name[name], figures) for name in order]
    body.append(_times(sections))
    subtitle = f"{Path(plan.movie).name}, {len(sections)} of {steps} steps"
    text = page(f"Reconstruction of {Path(plan.movie).name}", subtitle, _verdict(by_name), _NOTE, "\n".join(body))
    write_text(out / "report.html", text)
    numbers = {part.step.name: {"seconds": part.seconds, **part.finding.numbers()} for part in sections}
    write_text(out / "findings.json", json.dumps(numbers, indent=1, allow_nan=False) + "\n")


def _verdict(found: dict[str, Section]) -> list[str]:
    """The sentences at the head: what came out, then every doubt."""
    sentences = []
    for name in ("frames", "picture", "test"):
        if name in found:
            sentences += found[name].finding.lines()[:1] if name != "picture" else found[name].finding.lines()[-1:]
    doubts = [
        ("camera", "sure", ("doubtful", "guessed")),
        ("look", "looks_like_beads", (True,)),
        ("psf", "source", ("assumed",)),
    ]
    for name, attribute, values in doubts:
        if name in found and getattr(found[name].finding, attribute) in values:
            wanted = "looks like beads" if name == "look" else ""
            sentences += [line for line in found[name].finding.lines() if wanted in line][:1]
    return sentences or ["nothing is read yet"]


def _section(part: Section, figures: Figures) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in part.finding.lines())
    picture = figures.figure(part.step.name, part.step.question, "")
    head = picture or f"<h2>{html.escape(part.step.question)}</h2>"
    return f'{head}\n{lines}\n<p class="soft">Otherwise: {html.escape(part.step.otherwise)}</p>'


def _times(sections: list[Section]) -> str:
    rows = [[html.escape(part.step.name), duration(part.seconds)] for part in sections]
    return table("How long each step took", ["step", "time"], rows)
