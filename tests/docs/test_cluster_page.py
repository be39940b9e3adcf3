"""docs/cluster.md: its scripts run as they stand, with a cluster of this machine in SLURM's place, and agree."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text()
SCRIPTS = {name: body for name, body in re.findall(r"```\w+ (\S+)\n(.*?)```", PAGE, re.DOTALL)}
SPOTS = ["--model", "gaussian", "--gain", "1", "--offset", "0", "gaussian_sigma_um=0.13", "pixel_um=0.1"]
# takes the arguments that the real one does; its workers are processes of this machine
JOBQUEUE = """
from distributed import LocalCluster

class SLURMCluster(LocalCluster):
    def __init__(self, *, cores, processes, memory, walltime, worker_extra_args, job_script_prologue):
        assert worker_extra_args[:2] == ["--nthreads", "1"]
        super().__init__(n_workers=0, threads_per_worker=1, dashboard_address=None)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the scripts, a movie of a few spots, and `colocus` on the path."""
    folder = tmp_path_factory.mktemp("cluster")
    for name, body in SCRIPTS.items():
        (folder / name).write_text(body)
    (folder / "dask_jobqueue.py").write_text(JOBQUEUE)
    (folder / "bin").mkdir()
    (folder / "bin" / "colocus").write_text(f'#!/bin/sh\nexec {sys.executable} -m experiments.cli "$@"\n')
    (folder / "bin" / "colocus").chmod(0o755)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-4:5, -4:5]
    frames = rng.poisson(10, (1600, 24, 24))
    for frame in frames[::40]:
        frame[8:17, 6:15] += rng.poisson(150 * np.exp(-(x**2 + y**2) / 3.4))
    tifffile.imwrite(folder / "movie.tif", frames.astype(np.uint16), photometric="minisblack")
    return folder


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    environment = {
        **os.environ,
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{place}",
        "JAX_NUM_CPU_DEVICES": "1",
    }

    def run(*command, **more):
        done = subprocess.run(
            [*map(str, command)], cwd=place, env={**environment, **more}, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("colocus", "localize", "movie.tif", *SPOTS, "--out", "expected.csv")
    return run


def take(place, name="locs.csv"):
    table = (place / name).read_bytes()
    (place / name).unlink()
    assert not (place / f"{name}.parts").exists() and table.count(b"\n") > 20
    return table


@pytest.mark.slow
def test_a_job_array_and_its_merge(place, run):
    """Three of eight members by the script, as SLURM calls them; the last step names what is missing, then has all."""
    for number in (2, 8, 1):
        run("bash", "array.sh", SLURM_ARRAY_TASK_ID=str(number))
    with pytest.raises(AssertionError, match=r"5 of 8 chunks are missing \(frames 400:600"):
        run("bash", "merge.sh")
    run("colocus", "localize", "movie.tif", *SPOTS, "--out", "rest.csv", "--chunk", "1/1")
    (place / "rest.csv.parts").rename(place / "whole.parts")
    for part in (place / "whole.parts").glob("*.npz"):  # what the other five members would write
        if not (place / "locs.csv.parts" / part.name).exists():
            shutil.move(part, place / "locs.csv.parts")
    run("bash", "merge.sh")
    assert take(place) == (place / "expected.csv").read_bytes()


@pytest.mark.slow
def test_the_script_for_a_queue(place, run):
    """Workers of a local cluster come after the script has begun, as a queue's do."""
    assert "localizations" in run(sys.executable, "slurm.py")
    assert take(place) == (place / "expected.csv").read_bytes()


@pytest.mark.slow
def test_the_rule_for_snakemake(place, run):
    """By Snakemake where it is installed; else what its rule would run."""
    if shutil.which("snakemake"):
        run("snakemake", "--cores", "2")
    else:
        words = re.findall(r'^ +"(.*)"$', SCRIPTS["Snakefile"].partition("shell:")[2], re.MULTILINE)
        run("bash", "-c", "".join(words).format(threads=2, input="movie.tif", output="movie.csv"))
    assert take(place, "movie.csv") == (place / "expected.csv").read_bytes()
