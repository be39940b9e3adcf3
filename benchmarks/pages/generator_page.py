"""docs/generator.md's tables and figures from the numbers of the scene benchmarks.

Reads results/scene_*.json; what has not been measured is said to be so. Panels are drawn of the generator that comes
with Colocus and of recordings whose licence allows it.
"""

import matplotlib
import numpy as np

from experiments.generator.report import draw_panels
from experiments.report.plot_style import FIXED_COLOURS, LEARNED_COLOURS, STYLE, new_figure, save_png
from pages import between, recorded
from training.generator.files import generator_folder, load_facts, read_arrays
from worlds import ROOT
from worlds.recordings import RUNS

PAGE, FIGURES = ROOT / "docs" / "generator.md", ROOT / "docs" / "figures"
LICENSED = ("telomeres", "tubulin")  # MIT
ARMS = {"naive": "naive simulation", "tuned": "tuned by hand", "generated": "generated", "oracle": "the experiment"}
COLOURS = {"naive": FIXED_COLOURS[0], "tuned": FIXED_COLOURS[1], "generated": LEARNED_COLOURS[0], "oracle": "#000000"}
NOT_YET = "Not measured yet."


def lines(head: str, rows: list[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *rows])


def span(values: list[float] | None, digits: int = 3) -> str:
    if values is None:
        return "–"
    estimate, low, high = values
    return f"{estimate:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def arms(found: dict) -> str:
    rows = []
    for kind, own in found["kinds"].items():
        for half in ("hard", "easy"):
            means = [own["arms"].get(arm) for arm in ARMS]
            gap = (own["gap"] or {}).get(half) or {}
            closed = gap.get("closed")
            share = "gap below 0.05" if closed is None else f"{100 * closed:.0f} %"
            if gap.get("closed_interval"):
                share += " ({:.0f} to {:.0f})".format(*(100 * v for v in gap["closed_interval"]))
            cells = " | ".join("–" if m is None else f"{m['average_precision'][half]:.3f}" for m in means)
            rows.append(f"| {kind.upper()}, {half} | {cells} | {share} | {len(gap.get('seeds', []))} |")
    return lines("| cells | " + " | ".join(ARMS.values()) + " | share of the gap closed | seeds |", rows)


def ablations(found: dict) -> str:
    rows = [
        f"| {kind.upper()}, {'all of it' if label == 'generated' else label} | "
        f"{row['average_precision']['hard']:.3f} | {row['average_precision']['easy']:.3f} | {len(row['seeds'])} |"
        for kind, own in found["kinds"].items()
        for label, row in sorted(own["arms"].items(), key=lambda item: item[0] != "generated")
    ]
    return lines("| generator | hard cells | easy cells | seeds |", rows)


def realism(found: dict) -> str:
    rows = []
    for row in found["rows"]:
        noise = "–" if row["noise"] is None else f"{100 * row['noise']['worst_deviation']:.1f} %"
        rows.append(
            f"| {row['kind']} | {row['source']} | {span(row['classifier_auc'])} | {row['spectrum']['rms_db']:.2f} | "
            f"{row['histogram']['distance_over_std']:.3f} | {noise} |"
        )
    head = "| frames | source | classifier's AUC | spectrum, rms dB | pixels' distance over std | variance off by |"
    return lines(head, rows)


def labels(found: dict) -> str:
    rows = []
    for row in found["rows"]:
        bias, ghosts = row["bias"], row["ghosts"]
        believed, light = ghosts["templates_of_the_model"], ghosts.get("light_of_true_emitters", {})
        clear = light.get("true_significance_20_to_inf", {})
        rows.append(
            f"| {row['kind'].upper()} | {bias['worst_bias_nm']:.2f} ± {bias['std_of_that_nm']:.2f} | "
            f"{100 * believed['ghost_share']:.2f} % of {believed['emitters']} | "
            f"{100 * ghosts['the_experiment_itself']['ghost_share']:.1f} % | "
            f"{100 * clear.get('ghost_share', float('nan')):.1f} % of {clear.get('emitters', 0)} | "
            f"{100 * light.get('ghost_share', float('nan')):.1f} % of {light.get('emitters', 0)} | "
            f"{row['belief']['believed']}, {row['belief']['pairs']} of the {row['belief']['true']} true |"
        )
    head = (
        "| | worst bias of 16 zones, nm | believed emitters with a ghost as strong | the "
        "experiment's own structure, the same | true ones beyond 20 σ, half of "
        "their light left | all true ones, the same | emitters believed in |"
    )
    return lines(head, rows)


def codesign(found: dict) -> str:
    rows = [
        f"| {arm} | {row['average_precision']['all']:.3f} | {row['average_precision']['hard']:.3f} | "
        f"{len(row['seeds'])} |"
        for arm, row in found["arms"].items()
    ]
    said = [
        f"* learned less {d['less']}, {d['half']} cells: {span(d['average_precision'])}" for d in found["differences"]
    ]
    return lines("| frames it was learned on | all cells | hard cells | seeds |", rows) + "\n\n" + "\n".join(said)


def speed(found: dict) -> str:
    fit, draw, start = found["fit"], found["draw"], recorded("scene_start")
    smallest = ""
    if start is not None:
        cold, warm = (start[name]["seconds"] for name in ("nothing_compiled", "compiled_before"))
        smallest = (
            f" The smallest fit, `generator-tiny`, takes {cold:.0f} s, most of them to compile its programs; "
            f"{warm:.0f} s where JAX finds them compiled."
        )
    return (
        f"{fit['crops']} crops of 129 x 129 px, {fit['slots']} slots, {fit['steps']} steps: {fit['minutes']:.1f} "
        f"minutes. {draw['frames_per_minute']['generated']} frames of 129 x 129 px with "
        f"{draw['emitters_per_frame']['generated']:.0f} emitters a minute on {draw['device']}, "
        f"{draw['generated_over_simulated']:.2f} of the rate of plain simulation through the same PSF.{smallest}"
    )


def recordings(found: dict) -> str:
    rows = []
    for name, row in found.items():
        for arm, own in row["arms"].items():
            at = next((r for r in own.get("at_rates", []) if r["false_per_um2"] == 0.01), None)
            truth = own.get("truth")
            scored = "–" if truth is None else f"{truth['average_precision'][0]:.3f}, {truth['jaccard']:.3f}"
            rows.append(f"| {name} | {arm} | {told_of(at)} | {told_of(own['at_default'])} | {scored} |")
    head = "| recording | trained on | at 0.01 false per um² | at the default score | average precision, Jaccard |"
    return lines(head, rows)


def told_of(own: dict | None) -> str:
    """Detections a frame; share of them with a neighbour within 150 nm; FRC, nm; chi-square left."""
    if own is None:
        return "–"
    ring = (own["frc"] or {}).get("resolution_nm")
    near = own["share_within_150_nm"]
    return (
        f"{own['detections_per_frame']:.1f}; {'–' if near is None else f'{100 * near:.0f} %'}; "
        f"{'–' if ring is None else f'{ring:.0f}'}; {own['chi2_left']:.2f}"
    )


def draw_arms() -> None:
    """Average precision of each arm in each cell, light along x, one panel for each strength of the background."""
    found = recorded("scene_arms")
    if found is None:
        return
    kinds = found["kinds"]
    figure = new_figure(7.2, 2.3 * len(kinds))
    axes = figure.subplots(len(kinds), 3, squeeze=False, sharey=True)
    for row, (kind, own) in enumerate(kinds.items()):
        for arm, label in ARMS.items():
            if arm not in own["arms"]:
                continue
            cells = own["arms"][arm]["cells"]
            for strength in range(3):
                some = [c for c in cells if c["cell"][0] == strength]
                area = np.array([c["average_precision"] for c in some])
                ax, light = axes[row, strength], np.array(found["photons"][kind])
                error = np.abs(area[:, 1:] - area[:, :1]).T
                ax.errorbar(light, area[:, 0], error, marker="o", ms=3, lw=1, color=COLOURS[arm], label=label)
        for strength in range(3):
            ax = axes[row, strength]
            ax.set_xscale("log")
            ax.set_xticks(found["photons"][kind], [f"{p:g}" for p in found["photons"][kind]])
            ax.minorticks_off()
            ax.set_ylim(0, 1)
            ax.set_title(f"{kind.upper()}, structure {found['strengths'][strength]:g} × the level", fontsize=8)
        axes[row, 0].set_ylabel("average precision")
    axes[-1, 1].set_xlabel("median photons of an emitter")
    axes[0, 0].legend(fontsize=6, loc="lower right")
    save_png(figure, FIGURES / "generator_arms.png")


def draw_examples() -> None:
    """The panels of the shipped generator and of licensed recordings that were fitted."""
    folders = {"demo": generator_folder("demo")} | {n: RUNS / n / "generator" for n in LICENSED}
    for name, folder in folders.items():
        if (folder / "examples.npz").exists():
            pixel_um = load_facts(folder).config.microscope.pixel_um
            draw_panels(read_arrays(folder / "examples.npz"), pixel_um, FIGURES / f"generator_{name}.png")


TABLES = {
    "scene_arms": arms,
    "scene_ablations": ablations,
    "scene_realism": realism,
    "scene_labels": labels,
    "scene_codesign": codesign,
    "scene_speed": speed,
    "scene_recordings": recordings,
}


def text() -> str:
    """Put every table between its markers."""
    page = PAGE.read_text()
    for result, table in TABLES.items():
        found, name = recorded(result), table.__name__
        page = between(page, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", table(found) if found else NOT_YET)
    return page


def draw() -> None:
    """Draw the figures anew."""
    with matplotlib.rc_context(STYLE):
        draw_arms()
        draw_examples()
