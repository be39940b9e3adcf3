"""The command `colocus`: help, wrong input of every kind, and what a failed write leaves."""

import dataclasses
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from experiments import cli
from experiments.compare.config import ArmConfig, load_experiment
from experiments.compare.folder import claim
from experiments.compare.toml import to_toml
from made.synthetic import write_results
from optics.whole_file import leftovers
from training import MaskConfig, TimeLimit

ROOT = Path(__file__).resolve().parents[2]


def colocus(*arguments, cwd=ROOT):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "experiments.cli", *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def refused(capsys, *arguments) -> str:
    """Run a command that must be refused, and return its one line."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.endswith(": loading")]
    assert captured.out == "" and len(lines) == 1, captured
    assert lines[0].startswith("colocus: error: ")
    return lines[0]


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_fits_a_screen(command, capsys):
    if command:
        with pytest.raises(SystemExit, match="0"):
            cli.main([command, "--help"])
    else:
        assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 5 < len(lines) <= 30 and max(map(len, lines)) <= 90


def test_help_and_wrong_arguments_answer_at_once():
    started = time.perf_counter()
    assert colocus("--help").returncode == 0
    wrong = colocus("compare", "tiny")
    # a start of Python each; loading JAX alone takes longer than both
    assert time.perf_counter() - started < 5
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "colocus: error: the following arguments are required: --out; see: colocus compare --help\n"


def test_an_unknown_key_is_one_line_without_a_traceback(tmp_path):
    result = colocus("compare", "tiny", "run.optimizer.steps=5", "--out", tmp_path / "run")
    assert result.returncode == 2
    assert result.stderr.splitlines()[1:] == ["colocus: error: unknown key 'run.optimizer'; did you mean 'optimiser'?"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["codsign", "tiny"], "unknown command 'codsign'; did you mean 'codesign'?"),
        (["compare", "tiny", "--out", "x", "--minute", "3"], "unrecognized arguments: --minute"),
        (["compare", "tiny", "--out", "x", "--minutes", "-3"], "is not a number of minutes above zero"),
        (["compare", "tinny", "--out", "x"], "'tinny' is neither a file nor a preset"),
        (["config", "tiny", "seeds=3"], "seeds = 3 must be a list"),
        (["train", "tiny", "--arm", "learned", "--out", "x"], "use colocus codesign"),
        (["train", "tiny", "--arm", "nobody", "--out", "x"], "no arm 'nobody'; arms: tetrapod, learned"),
        (["evaluate", "no-such-folder"], "no-such-folder is not a folder"),
        (["evaluate", "docs"], "docs is not a run"),
    ],
)
def test_wrong_arguments(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert message in refused(capsys, *arguments)


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("run.scene.frame_px=0", "scene.frame_px = 0 must be at least"),
        ("run.psf.stamp_px=-3", "psf.stamp_px = -3 must be at least"),
        ("run.optimiser.batch=0", "optimiser.batch = 0 must be at least 1"),
        ("run.optimiser.learning_rate=-1.0", "optimiser.learning_rate = -1.0 must be positive"),
        ("score.frames=0", "score.frames"),
        ("score.counts=[0]", "score.counts"),
        ("run.microscope.pixel_um=0.0", "pixel_um"),
        ("run.scene.margin_um=9.0", "leaves no room"),
        ("run.microscope.na=1.6", "na = 1.6"),
        ("run.microscope.wavelength_um=580.0", "wavelength_um = 580"),
        ("run.microscope.pixel_um=110.0", "pixel_um = 110"),
        ("run.scene.z_max_um=2000.0", "looks like nanometres"),
        ("run.decoder.dilations=[1]", "add dilations or make the stamp smaller"),
        ("run.optics.na=1.4", "unknown key 'run.optics'"),
        ("arms=[]", "reference = 'tetrapod' is none of the arms"),
    ],
)
def test_settings_that_cannot_be_run(assignment, message, tmp_path, capsys):
    out = tmp_path / "run"
    assert message in refused(capsys, "compare", "tiny", assignment, "--out", out)
    assert not out.exists()


def mask_file(tmp_path, kind):
    path = tmp_path / "mask.mat"
    good = np.zeros((32, 32))
    content = {
        "unnamed": {"other": good, "another": good},
        "shape": {"mask": np.zeros((32, 31))},
        "nan": {"mask": np.where(np.eye(32, dtype=bool), np.nan, good)},
    }
    if kind == "broken":
        path.write_bytes(b"not a mask")
    elif kind != "missing":
        scipy.io.savemat(path, content[kind])
    return path


@pytest.mark.parametrize(
    "kind, message",
    [
        ("missing", "no such file"),
        ("broken", "not a readable .mat file"),
        ("unnamed", "no variable 'mask'; variables present: another (32, 32), other (32, 32)"),
        ("shape", "mask has shape (32, 31); a mask is one square 2-D array"),
        ("nan", "mask holds 32 NaN or Inf"),
    ],
)
def test_masks_that_cannot_be_used(kind, message, tmp_path, capsys):
    path = mask_file(tmp_path, kind)
    arm = f'[{{label = "file", mask = {{name = "file", path = "{path}", variable = "mask"}}}}]'
    out = tmp_path / "run"
    line = refused(capsys, "compare", "tiny", f"arms={arm}", 'reference="file"', "--out", out)
    assert message in line and str(path) in line
    assert not out.exists()


def finished(tmp_path, name="run"):
    """A folder of finished arms of the tiny preset, and its configuration as a file."""
    config = load_experiment("tiny")
    out = tmp_path / name
    write_results(config, out, {"tetrapod": 0.7, "learned": 0.9})
    file = tmp_path / "tiny.toml"
    file.write_text(to_toml(config))
    return out, file


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path, capsys):
    out, file = finished(tmp_path)
    before = sorted(out.rglob("*"))
    assert "already holds this run; add --resume" in refused(capsys, "compare", file, "--out", out)
    line = refused(capsys, "compare", file, "run.optimiser.steps=7", "--out", out, "--resume")
    assert "other settings (run.optimiser.steps); name another folder" in line
    line = refused(capsys, "codesign", file, "--out", out, "--resume")
    assert "it has the arm 'tetrapod' too" in line
    assert sorted(out.rglob("*")) == before

    (tmp_path / "file").write_text("mine")
    assert "is a file; name a folder" in refused(capsys, "compare", file, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.json").write_text("{}")
    assert "is not the configuration of an experiment" in refused(
        capsys, "compare", file, "--out", tmp_path / "foreign"
    )
    line = refused(capsys, "compare", file, "--out", tmp_path / "file" / "run")
    assert "not a directory" in line


def test_a_finished_comparison_reports_again_without_training(tmp_path, capsys):
    out, file = finished(tmp_path)
    assert cli.main(["compare", str(file), "--out", str(out), "--resume"]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith(f"Open {out / 'report.html'}\n")
    assert "finished" in captured.err and "Compiling" not in captured.err
    assert (out / "report.html").exists()
    events = [json.loads(line)["event"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert events == ["start", "done"]


def test_evaluate_prints_the_stored_scores(tmp_path, capsys):
    out, _ = finished(tmp_path)
    assert cli.main(["evaluate", str(out)]) == 0
    table = capsys.readouterr().out
    assert "ahead of" in table and table.count("learned ") >= 3
    assert cli.main(["evaluate", str(out / "arms" / "learned-seed0")]) == 0
    assert "tetrapod" not in capsys.readouterr().out.splitlines()[2]
    assert "evaluate changes how a run is scored" in refused(capsys, "evaluate", out, "run.optimiser.steps=3")
    assert "no checkpoint there; train first" in refused(capsys, "evaluate", out, "score.frames=2")


def test_adding_an_arm_to_an_experiment_is_allowed(tmp_path):
    config = load_experiment("tiny")
    out = tmp_path / "run"
    claim(config, out, resume=False).begin()
    more = dataclasses.replace(config, arms=(*config.arms, ArmConfig("flat", MaskConfig())), seeds=(0, 1))
    claim(more, out, resume=True)


def test_the_time_limit_and_ctrl_c_say_how_to_go_on(tmp_path, capsys, monkeypatch):
    from experiments.compare import run as jobs

    monkeypatch.setattr(jobs, "check", lambda config: None)
    command = ["compare", "tiny", "seeds=[0, 1]", "--out", str(tmp_path / "my run"), "--minutes", "5"]
    again = f"colocus compare tiny 'seeds=[0, 1]' --out '{tmp_path}/my run' --minutes 5 --resume"

    def stop(*_, **__):
        raise TimeLimit("stopped at step 3 of 6")

    monkeypatch.setattr(jobs, "run_experiment", stop)
    assert cli.main(command) == 3
    assert capsys.readouterr().err.endswith(f"time limit reached; to go on: {again}\n")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "run_experiment", interrupt)
    assert cli.main([*command, "--resume"]) == 130
    assert capsys.readouterr().err.endswith(f"interrupted; to go on: {again}\n")


def test_a_loss_that_is_not_finite_is_one_line(tmp_path, capsys, monkeypatch):
    from experiments.compare import run as jobs

    def diverge(*_, **__):
        raise FloatingPointError("the loss is not finite at step 7; lower optimiser.learning_rate")

    monkeypatch.setattr(jobs, "check", lambda config: None)
    monkeypatch.setattr(jobs, "run_experiment", diverge)
    assert cli.main(["compare", "tiny", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.endswith("error: the loss is not finite at step 7; lower optimiser.learning_rate\n")


def test_a_bug_shows_its_traceback(tmp_path, monkeypatch):
    from experiments.compare import run as jobs

    def bug(*_, **__):
        raise ValueError("shapes (3,) and (4,) do not match")

    monkeypatch.setattr(jobs, "check", bug)
    with pytest.raises(ValueError, match="shapes"):
        cli.main(["compare", "tiny", "--out", str(tmp_path / "run")])


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a file system of some kilobytes, full once that is written."""
    mounted = []

    def mount(kilobytes):
        place = tmp_path / f"disk{kilobytes}"
        place.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"]
        try:
            subprocess.run(["mount", *options, str(place)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("a small tmpfs cannot be mounted here (needs root)")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def whole(out) -> None:
    """Nothing in a run's folder is a temporary or cut off."""
    assert not [*leftovers(out), *out.rglob("*orbax-checkpoint-tmp*")]
    for path in [*out.rglob("*.json"), *out.rglob("*.jsonl")]:
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line)
    for path in out.rglob("*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def test_a_full_disk_before_the_first_file(small_disk, capsys, monkeypatch):
    from experiments.compare import run as jobs

    monkeypatch.setattr(jobs, "check", lambda config: None)
    out = small_disk(4) / "run"
    (out.parent / "filler").write_bytes(bytes(4096))
    line = refused(capsys, "compare", "tiny", "--out", out)
    assert "no space left on device; free some space" in line
    assert not [path for path in out.parent.rglob("*") if path.name != "filler"]


def test_a_full_disk_during_the_report(small_disk, tmp_path, capsys):
    disk = small_disk(400)
    out, file = finished(disk)
    assert cli.main(["compare", str(file), "--out", str(out), "--resume"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"colocus: error: {out}: no space left on device; free some space")
    whole(out)
    assert not (out / "report.html").exists()


@pytest.mark.slow
# Orbax, failing to write, drops coroutines whose clean-up complains; what a user sees is asserted below
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_during_training(small_disk, capsys):
    out = small_disk(100) / "run"
    assert cli.main(["train", "tiny", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith(f"colocus: error: {out}: no space left on device")
    whole(out)
    gc.collect()  # Orbax leaves writers that complain of their closed event loop when they are collected
