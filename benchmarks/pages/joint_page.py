"""docs/joint_reading.md's tables and figures: one frame step by step, and what was measured on simulated crowds."""

from crowds.figures import WORDS, density_figure, promises_figure
from crowds.steps import steps_figure
from experiments.report.plot_style import save_png
from pages import between, recorded
from worlds import ROOT

PAGE, FIGURES = ROOT / "docs" / "joint_reading.md", ROOT / "docs" / "figures"
NOT_YET = "Not measured yet."
DRAWN = {"even": "stray light as an even background", "whole": "drawn whole"}


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def density(numbers: dict) -> str:
    """Jaccard with its interval, and lateral and axial RMSE, of each mask and number of emitters."""
    found, rows = numbers["cells"], []
    counts = [count for count in numbers["emitters_per_um2"] if any(cell.endswith(f"/{count}") for cell in found)]
    for drawn, words in DRAWN.items():
        for mask, name in WORDS.items():
            cells = [found.get(f"{drawn}/{mask}/{count}") for count in counts]
            if any(cells):
                rows.append([f"{name}, {words}", *(_cell(cell) for cell in cells)])
    heads = [f"{count} ({numbers['emitters_per_um2'][count]:g})" for count in counts]
    return table(["emitters a frame (per um²)", *heads], rows)


def _cell(cell: dict | None) -> str:
    if cell is None:
        return "–"
    scores = cell["250/500"]
    middle, low, high = scores["jaccard"]
    errors = [scores[name][0] for name in ("rmse_xy_um", "rmse_z_um")]
    shown = ", ".join("–" if value is None else f"{1e3 * value:.0f}" for value in errors)
    return f"{middle:.3f} ({low:.3f}–{high:.3f}); {shown}"


def scatter(numbers: dict) -> str:
    """Errors over bounds and over predicted sigma."""
    rows = []
    for cell, found in numbers["cells"].items():
        mask, count = cell.split("/")
        ratios = (found["rmse_over_bound"], found["rmse_over_bound_clear"], found["error_over_sigma"])
        rows.append([f"{WORDS[mask]}, {count}", str(found["pairs"]), *(_three(ratio) for ratio in ratios)])
    return table(
        ["mask, emitters a frame", "pairs", "RMSE / bound", "the same, clear ones", "error / predicted σ"], rows
    )


def _three(values: list[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def false(numbers: dict) -> str:
    """False emitters over the rate asked for, with the interval of a Poisson count."""
    found = numbers["cells"]
    kinds = list(dict.fromkeys(cell.split("/")[1] for cell in found))
    rows = []
    for mask, rate in dict.fromkeys((cell.split("/")[0], cell.split("/")[2]) for cell in found):
        cells = [found.get(f"{mask}/{kind}/{rate}") for kind in kinds]
        ratios = ["–" if cell is None else "{:.2f} ({:.2f}–{:.2f})".format(*cell["over_asked"]) for cell in cells]
        rows.append([f"{WORDS[mask]}, {rate}", *ratios])
    return table(["mask, rate per um² and frame", *(kind.replace("_", "-") for kind in kinds)], rows)


SECTIONS = {"crowd_frames": density, "crowd_pairs": scatter, "crowd_false": false}


def text() -> str:
    page = PAGE.read_text()
    for name, section in SECTIONS.items():
        numbers = recorded(name)
        inside = NOT_YET if numbers is None else section(numbers)
        page = between(page, f"<!-- {name} -->", f"<!-- end of {name} -->", inside)
    return page


def draw() -> None:
    save_png(steps_figure(), FIGURES / "joint_steps.png")
    if (numbers := recorded("crowd_frames")) is not None:
        save_png(density_figure(numbers), FIGURES / "joint_density.png")
    checks = [recorded(name) for name in ("crowd_pairs", "crowd_false", "crowd_growth")]
    if any(checks):
        save_png(promises_figure(*checks), FIGURES / "joint_promises.png")
