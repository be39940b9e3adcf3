"""A whole reconstruction, and what a kill in the middle of it costs: nothing but time."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr

import localization
from experiments.reconstruction.job import LOG
from localization import make_localizations, score

ROOT = Path(__file__).resolve().parents[3]
PIXEL_UM, SIDE, FRAMES, SIGMA_UM = 0.1, 48, 96, 0.13
SETTINGS = [f"optics.pixel_um={PIXEL_UM}", "drift_frames=1000"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Molecules on a ring, three a frame, on a slope of light: counts at gain 2 and offset 100, and the truth."""
    rng = np.random.default_rng(6)
    edges, rows = np.arange(SIDE + 1) * PIXEL_UM, []
    frames = np.zeros((FRAMES, SIDE, SIDE)) + np.linspace(4, 30, SIDE)
    for k in range(FRAMES):
        for _ in range(rng.poisson(3)):
            angle, light = rng.uniform(0, 2 * np.pi), rng.uniform(1000, 3000)
            x, y = 2.4 + 1.5 * np.cos(angle), 2.4 + 1.5 * np.sin(angle)
            across = [np.diff(ndtr((edges - place) / SIGMA_UM)) for place in (y, x)]
            frames[k] += light * np.outer(*across)
            rows.append((k, x, y, 0.0, light))
    frame, x, y, z, photons = np.array(rows).T
    movie = tmp_path_factory.mktemp("movie") / "ring.tif"
    tifffile.imwrite(movie, (100 + 2 * rng.poisson(frames)).astype(np.uint16), photometric="minisblack")
    return movie, make_localizations(frame, x, y, z, photons=photons)


def start(movie, out, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", "reconstruct", str(movie), "--out", str(out), *SETTINGS, *more],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_movie_becomes_a_picture_and_a_killed_run_the_same_bytes(scene, tmp_path):
    """With every choice left to it, the list is that of the molecules that were drawn; killed at random and resumed,
    the run ends with the same bytes."""
    movie, truth = scene
    whole = start(movie, tmp_path / "whole")
    said = whole.communicate(timeout=300)
    assert whole.returncode == 0, said
    for name in ("plan.toml", "report.html", "localizations.csv", "picture.png", "picture.tif", "findings.json"):
        assert (tmp_path / "whole" / name).stat().st_size > 100, name
    found = localization.read(tmp_path / "whole" / "localizations.csv")
    assert score(found, truth).jaccard > 0.85
    picture = tifffile.imread(tmp_path / "whole" / "picture.tif")
    y, x = (np.arange(side) * SIDE * PIXEL_UM / side - 2.4 for side in picture.shape)
    on_ring = np.abs(np.hypot(x, y[:, None]) - 1.5) < 0.1
    assert gaussian_filter(picture, 1)[on_ring].sum() > 0.9 * picture.sum()  # of a ring 1.5 um in radius

    killed, rng = tmp_path / "killed", np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    pauses, resumed = rng.uniform(0, 2.5, 3), []
    for pause in pauses:
        process = start(movie, killed, *resumed)
        log, before = killed / LOG, 0 if not resumed else len((killed / LOG).read_text().splitlines())
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) <= before):
            time.sleep(0.02)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        resumed = ["--resume"]
    last = start(movie, killed, "--resume")
    said = last.communicate(timeout=300)
    assert last.returncode == 0, said
    one, other = ((tmp_path / name / "localizations.csv").read_bytes() for name in ("whole", "killed"))
    assert one == other, f"killed after {pauses}"

    read = next(killed.glob("[0-9][0-9]-frames"))
    alone = (read / "localizations.csv").read_bytes()
    shutil.rmtree(read)
    last = start(movie, killed, "--resume", "--dask", "local:1")
    said = last.communicate(timeout=300)
    assert last.returncode == 0, said
    assert (read / "localizations.csv").read_bytes() == alone, "by a worker of Dask"
