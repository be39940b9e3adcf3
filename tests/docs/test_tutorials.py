"""Every tutorial runs from start to end, in a process of its own: as its reader runs it, in float32."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
# Processor seconds: what a minute on two cores holds.
LIMIT_S = 120


def test_there_is_a_tutorial():
    """An empty list below would pass in silence."""
    assert TUTORIALS


@pytest.mark.slow
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs_in_under_a_minute(path, tmp_path, reader_environment):
    """It ends without an error, in the time it promises, and leaves its figures."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**reader_environment, "MPLBACKEND": "Agg", "JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr[-3000:]
    assert list(tmp_path.glob("*.png"))
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    assert used < LIMIT_S
