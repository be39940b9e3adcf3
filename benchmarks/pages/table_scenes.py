"""Rows of benchmarks/README.md on scenes that are learned from a movie."""

from collections.abc import Iterator

Rows = Iterator[tuple[str, str, str]]


def arms(n) -> Rows:
    for kind, own in n["kinds"].items():
        if not own["gap"] or not own["gap"]["hard"].get("seeds"):
            continue
        hard, easy = own["gap"]["hard"], own["gap"]["easy"]
        seeds = f"{len(hard['seeds'])} seed{'s' if len(hard['seeds']) > 1 else ''}"
        if hard["closed"] is not None:
            low, high = hard["closed_interval"] or (float("nan"), float("nan"))
            yield (
                f"decoder on generated scenes, {kind.upper()}, hard cells: share of the gap in average precision from "
                f"naive simulation to the experiment itself ({hard['oracle_less_naive'][0]:.3f}), {seeds}",
                ">= 60 %",
                f"{100 * hard['closed']:.0f} % ({100 * low:.0f} to {100 * high:.0f})",
            )
        gain = easy["generated_less_naive"]
        yield (
            f"the same less naive simulation, {kind.upper()}, easy cells",
            ">= -0.01",
            f"{gain[0]:+.3f} ({gain[1]:+.3f} to {gain[2]:+.3f})",
        )


def realism(n) -> Rows:
    for row in n["rows"]:
        if row["source"] != "generated":
            continue
        simulated = row["kind"] in ("2d", "3d")
        area, low, high = row["classifier_auc"]
        yield (
            f"generated frames against real ones, {row['kind']}: area under the ROC of a classifier",
            "<= 0.65" if simulated else "reported",
            f"{area:.3f} ({low:.3f} to {high:.3f})",
        )
        yield (
            f"their mean square of frame minus model over the real ones', {row['kind']}, worst of twelve levels",
            "within 10 %",
            f"{100 * row['noise']['worst_deviation']:.1f} %",
        )


def labels(n) -> Rows:
    for row in n["rows"]:
        bias, ghosts = row["bias"], row["ghosts"]["templates_of_the_model"]
        yield (
            f"label bias of generated frames, {row['kind'].upper()}, worst of {bias['zones_filled']} zones",
            "< 2 nm",
            f"{bias['worst_bias_nm']:.2f} +- {bias['std_of_that_nm']:.2f} nm",
        )
        yield (
            f"ghosts in {row['kind'].upper()} frames decoded without emitters, as significant as the emitter there",
            "<= 1 %",
            f"{100 * ghosts['ghost_share']:.2f} % of {ghosts['emitters']} "
            f"(the experiment's own structure: {100 * row['ghosts']['the_experiment_itself']['ghost_share']:.1f} %)",
        )


def speed(n) -> Rows:
    fit, draw = n["fit"], n["draw"]
    yield (f"fit of {fit['crops']} crops of 129 px", "<= 30 min (GPU 3 min)", f"{fit['minutes']:.1f} min")
    rate = draw["frames_per_minute"]
    yield (
        f"frames of 129 px and 25 emitters a minute on {draw['device']} (plain simulation {rate['simulated']})",
        "reported (GPU 10,000)",
        f"{rate['generated']}",
    )


def start(n) -> Rows:
    first, again = n["nothing_compiled"], n["compiled_before"]
    yield (
        f"smallest fit, `generator-tiny`, alone ({first['processor_seconds']:.0f} s of processor), nothing compiled",
        "seconds",
        f"{first['seconds']:.0f} s",
    )
    yield (
        f"the same ({again['processor_seconds']:.0f} s of processor), with the programs that an earlier one compiled",
        "seconds",
        f"{again['seconds']:.0f} s",
    )


def codesign(n) -> Rows:
    for d in n["differences"]:
        if d["less"] in ("plain", "tuned"):
            low, high = d["average_precision"][1:]
            yield (
                f"mask and decoder learned on learned scenes less {d['less']} ones, {d['half']} cells",
                "> 0",
                f"{d['average_precision'][0]:+.3f} ({low:+.3f} to {high:+.3f})",
            )


def recordings(n) -> Rows:
    for name, row in n.items():
        if row.get("generated_over_naive"):
            ratio, low, high = row["generated_over_naive"]
            near = [
                100 * at["share_within_150_nm"]
                for arm in ("generated", "naive")
                for at in row["arms"][arm]["at_rates"]
                if at["false_per_um2"] == 0.01
            ]
            yield (
                f"{name}: detections at 0.01 false ones per um2, decoder on its scenes over one on plain simulation; "
                "share of them within 150 nm of another, both",
                "reported",
                f"{ratio:.2f} ({low:.2f} to {high:.2f}); {near[0]:.0f} %, {near[1]:.0f} %",
            )
        scores = {arm: own["truth"]["average_precision"][0] for arm, own in row["arms"].items() if own.get("truth")}
        if scores:
            told = "; ".join(f"{arm} {value:.3f}" for arm, value in scores.items())
            yield f"{name}: average precision within 100 nm", "reported", told


CLAIMS = {
    "scene_arms": arms,
    "scene_realism": realism,
    "scene_labels": labels,
    "scene_speed": speed,
    "scene_speed_gpu": speed,
    "scene_start": start,
    "scene_codesign": codesign,
    "scene_recordings": recordings,
}
