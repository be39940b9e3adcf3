"""The tiny experiment from the command line: co-design, then the comparison around it, and scoring again."""

import json
import shutil
import time

import numpy as np
import pytest

from experiments import cli
from optics.masks import files as mask_io
from optics.whole_file import leftovers
from training import load_run

pytestmark = pytest.mark.slow  # whole trainings


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A co-design, to which a comparison then adds the other arm."""
    out = tmp_path_factory.mktemp("tiny") / "run"
    assert cli.main(["codesign", "tiny", "--out", str(out)]) == 0
    assert cli.main(["compare", "tiny", "--out", str(out), "--resume"]) == 0
    return out


def test_a_comparison_writes_its_folder(run):
    assert {p.name for p in (run / "arms").iterdir()} == {"tetrapod-seed0", "learned-seed0"}
    text = (run / "report.html").read_text()
    assert "tetrapod" in text and "Not finished yet" not in text
    metrics = json.loads((run / "metrics.json").read_text())
    assert [arm["label"] for arm in metrics["arms"]] == ["tetrapod", "learned"]
    assert (run / "figures" / "codesign.png").exists()
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] in ("start", "scored", "done")] == [
        "start", "scored", "done", "start", "scored", "done",
    ]  # fmt: skip
    assert not list(leftovers(run))


def test_the_learned_mask_is_written_for_others(run):
    state_mask = np.load(sorted(run.glob("arms/learned-seed0/masks/step_*.npy"))[-1])
    for suffix in ("npz", "mat"):
        # the snapshot is float32
        np.testing.assert_allclose(mask_io.load(run / f"mask.{suffix}").opd_um, state_mask, atol=1e-6)


def test_resuming_a_finished_comparison_trains_nothing(run, capsys):
    before = (run / "arms" / "learned-seed0" / "scores.json").stat().st_mtime_ns
    started = time.perf_counter()
    assert cli.main(["compare", "tiny", "--out", str(run), "--resume"]) == 0
    assert time.perf_counter() - started < 30  # the report alone; a training compiles for longer
    assert (run / "arms" / "learned-seed0" / "scores.json").stat().st_mtime_ns == before
    assert "step" not in "".join(line for line in capsys.readouterr().err.splitlines() if line.startswith("["))


def test_a_foreign_checkpoint_is_one_line(run, tmp_path, capsys):
    arm = tmp_path / "arm"
    shutil.copytree(run / "arms" / "tetrapod-seed0", arm)
    settings = json.loads((arm / "config.json").read_text())
    settings["decoder"]["channels"] = 12
    (arm / "config.json").write_text(json.dumps(settings))
    assert cli.main(["evaluate", str(arm), "score.frames=2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"colocus: error: {arm}: checkpoint 6") and error.count("\n") == 1


def test_an_arm_can_be_scored_again_on_other_scenes(run, tmp_path, capsys):
    arm, out = run / "arms" / "tetrapod-seed0", tmp_path / "again.json"
    arguments = ["score.frames=3", "score.counts=[2]", "score.pair_photons=[]", "score.pair_background=[]"]
    assert cli.main(["evaluate", str(arm), *arguments, "--out", str(out)]) == 0
    (scores,) = json.loads(out.read_text())
    assert [cell["name"] for cell in scores["cells"]] == ["count 2"]
    assert len(scores["cells"][0]["gates"]["250/500 nm"]["frames"]["frame"]) == 3
    assert "gate 250/500 nm" in capsys.readouterr().out
    assert load_run(arm)[1].step == 6


def test_masks_are_compared_without_any_training(tmp_path, capsys):
    """Read by the joint fit alone, an arm that does not learn has no decoder: no step is taken, and it is scored."""
    out = tmp_path / "masks"
    settings = ['score.read=["joint"]', 'run.scene.stray="drawn"', "score.counts=[1]", "score.pair_photons=[]"]
    assert cli.main(["train", "tiny", "--out", str(out), *settings, "score.pair_background=[]"]) == 0
    folder = out / "arms" / "tetrapod-seed0"
    assert {path.name for path in folder.iterdir()} == {"scores-joint.json", "examples.npz"}
    scores = json.loads((folder / "scores-joint.json").read_text())
    assert scores["steps"] == 0 and scores["reading"] == "joint"
    # one bright emitter, exactly known optics: nothing is left to learn
    assert scores["single"]["found_share"] == 1.0
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert "step" not in {event["event"] for event in events}
    assert cli.main(["evaluate", str(out)]) == 0
    assert "tetrapod" in capsys.readouterr().out


def test_a_finished_run_is_read_once_more(run, tmp_path):
    """Readings added to a run with decoders train nothing, keep the decoder's scores and stand beside them."""
    out = tmp_path / "more"
    shutil.copytree(run, out)
    before = (out / "arms" / "learned-seed0" / "scores.json").read_bytes()
    settings = ['score.read=["decoder", "decoder+joint", "joint"]']
    assert cli.main(["compare", "tiny", "--out", str(out), "--resume", *settings]) == 0
    assert (out / "arms" / "learned-seed0" / "scores.json").read_bytes() == before
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["readings"] == ["decoder", "decoder+joint", "joint"] and len(metrics["arms"]) == 6
    assert not metrics["missing"]
