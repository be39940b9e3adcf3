"""A run that was killed ends like one that was not."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from made.tiny import LEARN, TINY, tiny_run
from training import CheckpointError, ConfigError, TimeLimit, fit, load_run, to_dict

CHILD = """
import json, sys
from training import RunConfig, fit, from_dict
run = from_dict(RunConfig, json.loads(sys.argv[1]))
fit(run, sys.argv[2], resume=True, report=lambda event: print(event["step"], flush=True))
"""


def child(run, folder, kill_at=None):
    """Train in a process of its own, killed once it has logged step `kill_at`; returns the logged steps."""
    command = [sys.executable, "-c", CHILD, json.dumps(to_dict(run)), str(folder)]
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}
    steps = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            steps.append(int(line))
            if kill_at is not None and steps[-1] >= kill_at:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == (0 if kill_at is None else -signal.SIGKILL)
    return steps


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """SIGKILL at a random step after the first checkpoint; the resumed state equals the uninterrupted one."""
    run = tiny_run(**LEARN, optimiser={**TINY["optimiser"], "steps": 30})
    kill_at = int(np.random.default_rng(time.time_ns()).integers(4, 24))
    child(run, tmp_path / "killed", kill_at)
    steps = child(run, tmp_path / "killed")
    assert steps[0] > 1, f"killed at step {kill_at}, resumed from the start"
    child(run, tmp_path / "whole")
    assert_same(load_run(tmp_path / "killed")[1], load_run(tmp_path / "whole")[1])


@pytest.mark.slow
def test_a_time_limit_leaves_a_run_that_resumes(tmp_path):
    """Past its deadline a run saves, raises TimeLimit, and goes on to the same end."""
    run = tiny_run()
    with pytest.raises(TimeLimit, match="stopped at step 1 of 6"):
        fit(run, tmp_path / "a", deadline_s=0.0)
    resumed = fit(run, tmp_path / "a", resume=True)
    assert_same(resumed, fit(run, tmp_path / "b"))


def test_a_folder_with_another_run_is_refused(tmp_path):
    """Never mix two runs: without --resume, or with other settings, the field is named."""
    fit(tiny_run(optimiser={**TINY["optimiser"], "steps": 2}), tmp_path)
    with pytest.raises(ConfigError, match="--resume"):
        fit(tiny_run(optimiser={**TINY["optimiser"], "steps": 2}), tmp_path)
    with pytest.raises(ConfigError, match=r"optimiser\.steps"):
        fit(tiny_run(optimiser={**TINY["optimiser"], "steps": 4}), tmp_path, resume=True)


def test_missing_and_foreign_checkpoints_are_named(tmp_path):
    """No run, a run without a checkpoint, and a checkpoint that is damaged: one line with folder and remedy."""
    with pytest.raises(ConfigError, match="is not a run"):
        load_run(tmp_path)
    run = tiny_run(optimiser={**TINY["optimiser"], "steps": 2})
    fit(run, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints"
    for file in checkpoint.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="checkpoint 2 is damaged"):
        load_run(tmp_path / "run")
    for folder in checkpoint.iterdir():
        folder.rename(tmp_path / f"gone-{folder.name}")
    with pytest.raises(CheckpointError, match="no checkpoint there"):
        load_run(tmp_path / "run")
