"""Every tutorial runs from start to end, in a process of its own: as its reader runs it, in float32."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
# Processor seconds: what a minute on two cores holds. On a machine that is slower than the one where the minute was
# measured, or busy, the limit grows as a fixed piece of work does.
LIMIT_S, PACE_S = 120, 1.25


def pace() -> float:
    """Processor seconds of a fixed piece of work over those that it took where the limit was set; 1 at least."""
    image = np.random.default_rng(0).normal(size=(512, 512))
    start = time.process_time()
    for _ in range(600):
        image = np.fft.irfft2(np.fft.rfft2(image), image.shape)
    return max(1.0, (time.process_time() - start) / PACE_S)


def test_there_is_a_tutorial():
    """An empty list below would pass in silence."""
    assert TUTORIALS


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs_in_under_a_minute(path, tmp_path):
    """It ends without an error, in the time it promises, and leaves its figures."""
    slower = pace()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "0"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # its reader has none
    result = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr[-3000:]
    assert list(tmp_path.glob("*.png"))
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    assert used < LIMIT_S * slower, f"{used:.0f} s on a machine {slower:.2f} times slower"
