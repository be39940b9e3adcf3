"""report.html, metrics.json and figures/ of a comparison, finished or not."""

import html
import json
from pathlib import Path
from typing import Any

from experiments.compare.config import ExperimentConfig, is_trained
from experiments.compare.confusions import species_table
from experiments.compare.figures import figure_name, write_figures
from experiments.compare.folder import logged_start
from experiments.compare.results import WORDS, load_results
from experiments.compare.scoring import HEADLINE
from experiments.compare.summary import density_cells, pair_cells, shown_name, sign, summarise
from experiments.compare.toml import to_toml
from experiments.report.metrics import CHIEF, METRICS, Metric
from experiments.report.page import Figures, page, table
from optics.whole_file import write_text

_SCORES = {name: METRICS[name] for name in CHIEF}
_READERS = (
    "The decoder is a network trained for the arm; the joint fit explains each frame by its emitters and a background, "
    "knows the PSF and needs no training. It begins at the decoder's list, or alone from nothing."
)


def write_report(config: ExperimentConfig, out: Path) -> dict[str, Any]:
    """Write metrics.json, figures/ and report.html from what `out` holds; returns the summary.

    Arms that are not finished are named as missing. The page is one file that needs no network.
    """
    results, missing = load_results(config, out)
    summary = summarise(config, results, missing)
    files = write_figures(config, results, summary, out / "figures") if results else {}
    write_text(out / "metrics.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    write_text(out / "report.html", render(config, summary, files, logged_start(out)))
    return summary


def render(config: ExperimentConfig, summary: dict[str, Any], figures: dict[str, Path], start: dict[str, Any]) -> str:
    """Compose the page, its pictures inside."""
    title = config.title or "A comparison of phase masks"
    sentences = list(summary["verdict"])
    if summary["missing"]:
        sentences.append(f"Not finished yet: {', '.join(summary['missing'])}.")
    body = "\n".join(_sections(config, summary, figures, start)) if summary["arms"] else ""
    note = f"How the intervals were made: {summary['intervals']}"
    return page(title, _subtitle(config), sentences, note, body)


def _subtitle(config: ExperimentConfig) -> str:
    scope, scene, every = config.run.microscope, config.run.scene, config.run.optimiser
    seeds = "1 seed" if len(config.seeds) == 1 else f"{len(config.seeds)} seeds"
    trained = [arm for arm in config.arms if is_trained(config, arm)]
    budget = f"the same network, {every.steps} steps of {every.batch} frames, {seeds}"
    who = "Every arm: " if len(trained) == len(config.arms) else "Every arm that is trained: "
    return (
        f"NA {scope.na:g}, {1e3 * scope.wavelength_um:g} nm light, z from {scene.z_min_um:g} to "
        f"{scene.z_max_um:g} µm, {scene.count_min} to {scene.count_max} emitters of {_light(scene)} photons "
        f"in frames of {scene.frame_px} × {scene.frame_px} px of {1e3 * scope.pixel_um:g} nm. "
        + (f"{who}{budget}." if trained else "Nothing is trained: the joint fit knows the PSF.")
    )


def _light(scene) -> str:
    if scene.photons == "gamma":
        return f"{_whole(scene.photons_mean)} (mean)"
    return f"{_whole(scene.photons_min)} to {_whole(scene.photons_max)}"


def _sections(config, summary, figures, start):
    shown = Figures(figures)
    learned = [name for name in figures if name.startswith("evolution-")]
    several = len(config.seeds) > 1
    bars = "the t interval over seeds" if several else "the 95 % bootstrap interval over frames"
    scene = config.run.scene
    first = "; pictures show the first seed" if several else ""
    yield shown.figure(
        "masks",
        "Phase masks",
        f"Phase at {1e3 * config.run.microscope.wavelength_um:g} nm inside the NA, wrapped to ±π; a constant "
        f"phase, which changes no image, is taken away{first}.",
    )
    for name in learned:
        yield shown.figure(
            name, f"How the mask of “{name.removeprefix('evolution-')}” was learned", "Snapshots by training step."
        )
    yield shown.figure(
        "psf",
        "PSF through depth",
        "Each panel on its own square-root grey scale, from zero to its brightest pixel; the number is that "
        "pixel's share of the photons.",
    )
    yield _stamp_table(config, summary)
    several_readings = len(summary["readings"]) > 1
    if several_readings:
        yield shown.figure(
            "readings",
            "Who reads, and what is found",
            f"{_READERS} Gate {HEADLINE} (lateral/axial). Bars are {bars}.",
        )
    for reading in summary["readings"]:
        by = f", read by {WORDS[reading]}" if several_readings else ""
        yield shown.figure(
            figure_name("density", summary, reading),
            f"Scores against density{by}",
            f"Gate {HEADLINE} (lateral/axial). Bars are {bars}.",
        )
        yield shown.figure(
            figure_name("pairs", summary, reading),
            f"Scores at given photons and background{by}",
            f"{config.score.pair_count} emitters per frame, gate {HEADLINE}. Bars are {bars}.",
        )
    yield shown.figure(
        "frames",
        "An example frame",
        "The same scene, at the highest density scored, as each microscope sees it (square-root grey scale)"
        + (f", read by {WORDS[summary['readings'][0]]}." if several_readings else "."),
    )
    yield shown.figure(
        "bounds",
        "Precision bounds",
        "Cramér-Rao bound of an isolated emitter as a standard deviation, "
        f"{_whole(scene.photons_max)} photons, {scene.background_max:g} background photons per pixel, "
        "within one stamp.",
    )
    yield shown.figure(
        "confusion",
        "Who is taken for whom",
        f"Of the emitters of each species (rows) found, the share read as each (columns), in %; gate {HEADLINE}.",
    )
    yield species_table(summary)
    yield _single_table(summary)
    for gate in summary["arms"][0]["cells"][0]["gates"]:
        yield _score_table(summary, gate)
    yield _difference_table(summary)
    yield shown.figure("training", "Training", "Loss of each arm; the first steps may lie above the frame.")
    yield _cost_table(config, summary, start)
    settings = html.escape(to_toml(config))
    yield f"<h2>Configuration</h2><details><summary>every setting</summary><pre>{settings}</pre></details>"


def _with_interval(value: dict[str, Any], metric: Metric, *, signed: bool = False) -> str:
    form = "+" if signed else ""
    if value["estimate"] is None:
        return "–"
    text = metric.text(value["estimate"], form)
    if value["low"] is not None and value["high"] is not None:
        text += f" <small>[{metric.text(value['low'], form)}, {metric.text(value['high'], form)}]</small>"
    return text.replace("-", "−") if signed else text


def _whole(number: float) -> str:
    """Write a count of photons, its thousands set apart by a narrow space."""
    return f"{number:,.10g}".replace(",", "\u202f")


def _scene_cells(cell: dict[str, Any]) -> list[str]:
    kilo, background = (
        f"{low:g}" if low == high else f"{low:g}–{high:g}"
        for low, high in ([number / 1000 for number in cell["photons"]], cell["background"])
    )
    return [str(cell["count"]), f"{cell['density_per_um2']:.2f}", kilo, background]


_SCENE_HEAD = ["emitters", "per µm²", "photons / 1000", "background"]


def _score_table(summary: dict[str, Any], gate: str) -> str:
    head = ["arm", *_SCENE_HEAD, *(f"{m.label}, {m.unit}" if m.unit else m.label for m in _SCORES.values())]
    rows, groups, several = [], set(), len(summary["readings"]) > 1
    for arm in summary["arms"]:
        groups.add(len(rows))
        name = html.escape(shown_name(arm, several))
        for cell in density_cells(arm) + pair_cells(arm):
            values = [_with_interval(cell["gates"][gate][name], metric) for name, metric in _SCORES.items()]
            rows.append([name, *_scene_cells(cell), *values])
    caption = "Estimate [95 % interval]. Errors are of the emitters found inside the gate."
    if summary["border_um"]:
        caption += (
            f" Rows within {1e3 * summary['border_um']:.0f} nm of a frame's border (light from beyond) are left out."
        )
    return f"<h2>Scores, gate {html.escape(gate)}</h2>{table(caption, head, rows, groups)}"


def _difference_table(summary: dict[str, Any]) -> str:
    if not summary["differences"]:
        return ""
    head = ["arm", "gate", *_SCENE_HEAD[:2], *(f"{m.label}, {m.unit}" if m.unit else m.label for m in _SCORES.values())]
    rows, groups, before, several = [], set(), ("", ""), len(summary["readings"]) > 1
    gates = list(summary["arms"][0]["cells"][0]["gates"])
    for row in sorted(summary["differences"], key=lambda row: gates.index(row["gate"])):
        if not row["cell"].startswith("count "):
            continue
        name = shown_name({"label": row["arm"], "reading": row["reading"]}, several)
        if (row["gate"], name) != before:
            groups.add(len(rows))
            before = (row["gate"], name)
        values = []
        for score, metric in _SCORES.items():
            value = row["metrics"][score]
            text = _with_interval(value, metric, signed=True)
            values.append(f'<span class="clear">{text}</span>' if sign(value) else text)
        names = [html.escape(name), html.escape(row["gate"])]
        rows.append([*names, str(row["count"]), f"{row['density_per_um2']:.2f}", *values])
    caption = "Estimate [95 % interval]; bold where it excludes zero. Every interval stands for itself."
    heading = f"Differences from “{html.escape(summary['reference'])}”"
    return f"<h2>{heading}</h2>{table(caption, head, rows, groups)}"


def _single_table(summary: dict[str, Any]) -> str:
    head = ["arm", "seed", "RMSE/CRLB x", "y", "z", "outliers x", "y", "z", "found"]
    rows, several = [], len(summary["readings"]) > 1
    for arm in summary["arms"]:
        name = html.escape(shown_name(arm, several))
        for seed, single in zip(arm["seeds"], arm["single"], strict=True):
            ratios = [_plain(value, "{:.2f}") for value in single["ratio"]]
            outliers = [_plain(value, "{:.1%}") for value in single["outlier_share"]]
            rows.append([name, str(seed), *ratios, *outliers, _plain(single["found_share"], "{:.1%}")])
    single = summary["arms"][0]["single"][0]
    caption = (
        f"One emitter per frame, {_whole(single['photons'])} photons, {single['background']:g} background "
        "photons per pixel: root mean square of error over the bound at the emitter's own depth and place, with the "
        "share of errors beyond 5 bounds and the share of emitters found within 250/500 nm. An efficient, "
        "unbiased reader reaches 1."
    )
    return f"<h2>Isolated emitters against the Cramér-Rao bound</h2>{table(caption, head, rows)}"


def _plain(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _stamp_table(config: ExperimentConfig, summary: dict[str, Any]) -> str:
    depths = summary["arms"][0]["stamp"]["z_um"]
    head = ["light outside the stamp, by z", *(f"{z:.1f} µm" for z in depths)]
    shares = {arm["label"]: arm["stamp"]["fraction"] for arm in summary["arms"]}
    rows = [[html.escape(label), *(f"{max(0.0, 1 - part):.1%}" for part in held)] for label, held in shares.items()]
    caption = "Share of an emitter's photons outside its stamp, which the bound leaves out. In the frames it is " + (
        "an even background."
        if config.run.scene.stray == "even"
        else "drawn where it falls, and so is the light of as many emitters around them."
    )
    return table(caption, head, rows)


def _cost_table(config: ExperimentConfig, summary: dict[str, Any], start: dict[str, Any]) -> str:
    head = ["arm", "seeds", "steps", "frames", "training, s", "reading and scoring, s"]
    rows, several = [], len(summary["readings"]) > 1
    for arm in summary["arms"]:
        frames = arm["steps"] * config.run.optimiser.batch
        rows.append(
            [
                html.escape(shown_name(arm, several)),
                ", ".join(map(str, arm["seeds"])),
                str(arm["steps"]),
                str(frames),
                ", ".join(f"{seconds:.0f}" for seconds in arm["train_seconds"]),
                ", ".join(f"{seconds:.0f}" for seconds in arm["score_seconds"]),
            ]
        )
    where = "; ".join(
        f"{key} {value}" for key, value in start.items() if key in ("device", "cores", "versions", "command")
    )
    caption = "Training, which an arm's readings share, and reading include compilation." + (
        f" Run on: {html.escape(where)}." if where else ""
    )
    return f"<h2>Cost</h2>{table(caption, head, rows)}"
