"""How long the smallest fit of a generator takes, and how much of that is compiling.

    python benchmarks/scene_start.py

`colocus generate fit frames.tif --psf tubulin-2d generator-tiny` of 40 simulated frames of 64 x 64 pixels, each time in
a process of its own as a user starts it: first with nothing compiled, then twice with what the first has left in
JAX_COMPILATION_CACHE_DIR. Seconds on the clock and of processor; of the second and third, the median.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from measure.record import Rows, write_result
from worlds import ROOT

PLACE = 290  # of its rows in benchmarks/README.md

FRAMES, SIDE, EMITTERS, PHOTONS, SIGMA_PX, LEVEL = 40, 64, 8, 1500.0, 1.2, 120.0


def write_movie(path: Path) -> None:
    """Gaussian spots on an even level, with the noise of light."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = np.full((FRAMES, SIDE, SIDE), LEVEL)
    for frame in frames:
        for column, row in rng.uniform(2, SIDE - 2, (EMITTERS, 2)):
            bell = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * SIGMA_PX**2))
            frame += PHOTONS / (2 * np.pi * SIGMA_PX**2) * bell
    tifffile.imwrite(path, rng.poisson(frames).astype(np.uint16))


def fit_once(movie: Path, out: Path, compiled: Path) -> tuple[float, float]:
    """Seconds on the clock and of processor of one fit in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "experiments.cli", "generate", "fit", str(movie), "--psf", "tubulin-2d"]
    subprocess.run(
        [*command, "generator-tiny", "--out", str(out)], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rows(numbers: dict) -> Rows:
    first, again = numbers["nothing_compiled"], numbers["compiled_before"]
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


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_movie(folder / "frames.tif")
        runs = [fit_once(folder / "frames.tif", folder / f"run{k}", folder / "compiled") for k in range(3)]
    first, again = np.array(runs[0]), np.median(runs[1:], axis=0)
    told = {
        name: {"seconds": round(float(pair[0]), 1), "processor_seconds": round(float(pair[1]), 1)}
        for name, pair in (("nothing_compiled", first), ("compiled_before", again))
    }
    print(write_result("scene_start", told))


if __name__ == "__main__":
    main()
