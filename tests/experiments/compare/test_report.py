"""Reports from invented scores: what they say, and that they say it from the numbers."""

import json
import re

import numpy as np
import pytest

from experiments.compare.arms import arm_folder
from experiments.compare.config import ExperimentConfig
from experiments.compare.folder import claim
from experiments.compare.report import write_report
from experiments.compare.scoring import HEADLINE
from experiments.compare.summary import t_interval
from made.synthetic import write_results
from training import ConfigError, from_dict

SMALL = {
    "title": "Learned <mask> & Tetrapod",
    "reference": "tetrapod",
    "run": {"scene": {"count_max": 8, "frame_px": 48}, "psf": {"stamp_px": 31}, "optimiser": {"steps": 80}},
    "arms": [{"label": "tetrapod", "mask": {"name": "tetrapod"}}, {"label": "learned", "learn": True}],
    "score": {"counts": [1, 8], "pair_photons": [2e4], "pair_background": [50.0], "frames": 40},
}


def make(tmp_path, learned, *, skip=(), **changes):
    config = from_dict(ExperimentConfig, SMALL | changes)
    write_results(config, tmp_path, {"tetrapod": 0.8, "learned": learned}, skip=skip)
    return config, write_report(config, tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    config, _ = make(out, 0.95)
    return config, out, (out / "report.html").read_text()


def test_the_page_needs_nothing_but_itself(page):
    _, out, text = page
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", text)
    assert not re.search(r"https?://|url\(|<script|@import", text)
    assert text.count("data:image/png;base64,") == len(list((out / "figures").glob("*.png"))) - 1  # codesign.png
    assert "$" not in re.sub(r"base64,[^\"]*", "", text)
    assert "Learned &lt;mask&gt; &amp; Tetrapod" in text


def test_tables_show_the_stored_scores(page):
    config, out, text = page
    for arm in config.arms:
        scores = json.loads((arm_folder(out, arm, 0) / "scores.json").read_text())
        for cell in scores["cells"]:
            for gate in cell["gates"].values():
                low, high = gate["interval"]["jaccard"]
                assert f"{gate['score']['jaccard']:.3f} <small>[{low:.3f}, {high:.3f}]</small>" in text
                assert f"{1e3 * gate['score']['rmse_z_um']:.1f} <small>" in text


def test_metrics_are_strict_json_and_agree_with_the_scores(page):
    config, out, _ = page

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    metrics = json.loads((out / "metrics.json").read_text(), parse_constant=refuse)
    scores = json.loads((arm_folder(out, config.arms[1], 0) / "scores.json").read_text())
    stored = scores["cells"][1]["gates"][HEADLINE]["score"]["jaccard"]
    assert metrics["arms"][1]["cells"][1]["gates"][HEADLINE]["jaccard"]["estimate"] == stored
    row = next(r for r in metrics["differences"] if r["cell"] == "count 8" and r["gate"] == HEADLINE)
    other = metrics["arms"][0]["cells"][1]["gates"][HEADLINE]["jaccard"]["estimate"]
    assert row["metrics"]["jaccard"]["estimate"] == pytest.approx(stored - other)


@pytest.mark.parametrize(
    "learned, said, unsaid",
    [
        (0.97, "is ahead of “tetrapod” at the highest density", "cannot be told apart"),
        (0.55, "is behind “tetrapod” at the highest density", "is ahead of"),
        (0.80, "cannot be told apart at the highest density", "is ahead of"),
    ],
)
def test_the_verdict_says_no_more_than_the_interval(tmp_path, learned, said, unsaid):
    _, summary = make(tmp_path, learned)
    text = " ".join(summary["verdict"])
    assert said in text and unsaid not in text
    row = next(r for r in summary["differences"] if r["cell"] == "count 8" and r["gate"] == HEADLINE)
    low, high = row["metrics"]["jaccard"]["low"], row["metrics"]["jaccard"]["high"]
    assert (low > 0) == ("is ahead of" in text) and (high < 0) == ("is behind" in text)
    assert f"{row['metrics']['jaccard']['estimate']:+.3f}".replace("-", "−") in text
    assert "bootstrap" in summary["intervals"] and "a second seed may differ" in summary["intervals"]


def test_several_seeds_give_intervals_over_seeds(tmp_path):
    config, summary = make(tmp_path, 0.9, seeds=[0, 1, 2])
    per_seed = [
        json.loads((arm_folder(tmp_path, config.arms[1], seed) / "scores.json").read_text()) for seed in (0, 1, 2)
    ]
    values = [scores["cells"][1]["gates"][HEADLINE]["score"]["jaccard"] for scores in per_seed]
    mean, low, high = t_interval(values)
    shown = summary["arms"][1]["cells"][1]["gates"][HEADLINE]["jaccard"]
    assert (shown["estimate"], shown["low"], shown["high"]) == pytest.approx((mean, low, min(high, 1.0)))
    assert mean == pytest.approx(np.mean(values))
    difference = summary["differences"][0]["metrics"]["jaccard"]
    assert difference["over"] == "seeds" and difference["over_frames"]["over"] == "frames"
    assert "over the 3 trainings" in summary["intervals"]


def test_each_reading_is_named_beside_its_numbers(tmp_path):
    """Three readings of each arm, one of an arm without a decoder: tables, figures and sentences say whose they are."""
    every = ["decoder", "decoder+joint", "joint"]
    arms = [*SMALL["arms"], {"label": "flat", "read": ["joint"]}]
    config = from_dict(ExperimentConfig, SMALL | {"arms": arms, "score": SMALL["score"] | {"read": every}})
    write_results(config, tmp_path, {"tetrapod": 0.8, "learned": 0.95, "flat": 0.6})
    (arm_folder(tmp_path, config.arms[1], 0) / "scores-joint.json").unlink()
    for name, ratio in (("scores", [2.0, 3.0, 9.54]), ("scores-joint", [0.97, 1.06, 1.01])):
        path = arm_folder(tmp_path, config.arms[0], 0) / f"{name}.json"
        scores = json.loads(path.read_text())
        path.write_text(json.dumps(scores | {"single": scores["single"] | {"ratio": ratio}}))
    summary = write_report(config, tmp_path)
    names = [(arm["label"], arm["reading"]) for arm in summary["arms"]]
    assert names == [
        ("tetrapod", "decoder"), ("tetrapod", "decoder+joint"), ("tetrapod", "joint"),
        ("learned", "decoder"), ("learned", "decoder+joint"), ("flat", "joint"),
    ]  # fmt: skip
    assert summary["missing"] == ["learned (seed 0, read by joint fit alone)"]
    # arms are compared within a reading
    assert {(row["arm"], row["reading"]) for row in summary["differences"]} == {
        ("learned", "decoder"), ("learned", "decoder+joint"), ("flat", "joint"),
    }  # fmt: skip
    assert [words.split(":")[0] for words in summary["verdict"] if words.startswith("Read by")] == [
        "Read by decoder", "Read by decoder + joint fit", "Read by joint fit alone",
    ]  # fmt: skip
    near = " ".join(summary["verdict"][-2:])  # the worst axis of isolated emitters, and what a decoder far off means
    assert "9.54 (“tetrapod”)" in near and "1.06 (“tetrapod”)" in near and "has not learned to read" in near
    text = (tmp_path / "report.html").read_text()
    assert "flat, joint fit alone" in text and "Scores against density, read by decoder + joint fit" in text
    figures = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {"readings", "density", "density-decoder-joint", "density-joint", "pairs-joint"} <= figures


def test_readings_may_be_added_to_a_run_and_none_changed(tmp_path):
    """A folder of an older commit, or of one reading, goes on with more; another threshold is another experiment."""
    before = from_dict(ExperimentConfig, SMALL)
    claim(before, tmp_path, resume=False).begin()
    more = from_dict(ExperimentConfig, SMALL | {"score": SMALL["score"] | {"read": ["decoder", "joint"]}})
    claim(more, tmp_path, resume=True)
    other = from_dict(ExperimentConfig, SMALL | {"score": SMALL["score"] | {"threshold": 0.4}})
    with pytest.raises(ConfigError, match="score.threshold"):
        claim(other, tmp_path, resume=True)


def test_a_partly_finished_comparison_names_what_is_missing(tmp_path):
    _, summary = make(tmp_path, 0.9, skip=("learned",))
    text = (tmp_path / "report.html").read_text()
    assert summary["missing"] == ["learned (seed 0)"]
    assert "Not finished yet: learned (seed 0)." in text
    assert "nothing is compared" in text


def test_a_report_of_nothing_says_so(tmp_path):
    config = from_dict(ExperimentConfig, SMALL)
    summary = write_report(config, tmp_path)
    assert summary["verdict"] == ["No arm is finished yet."]
    assert "No arm is finished yet." in (tmp_path / "report.html").read_text()


def test_scores_without_a_single_find_make_a_report(tmp_path):
    config, _ = make(tmp_path, 0.9)
    for arm in config.arms:
        path = arm_folder(tmp_path, arm, 0) / "scores.json"
        scores = json.loads(path.read_text())
        for cell in scores["cells"]:
            for gate in cell["gates"].values():
                for metric in ("rmse_xy_um", "rmse_z_um", "efficiency_lateral", "efficiency_axial"):
                    gate["score"][metric], gate["interval"][metric] = float("nan"), [float("nan")] * 2
        scores["single"]["ratio"] = [float("nan")] * 3
        path.write_text(json.dumps(scores))
    write_report(config, tmp_path)
    assert "NaN" not in (tmp_path / "metrics.json").read_text()
    assert "nan" not in re.sub(r"base64,[^\"]*", "", (tmp_path / "report.html").read_text())
