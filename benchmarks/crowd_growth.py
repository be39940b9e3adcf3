"""Does the cost of the joint fit grow linearly? CPU time and peak memory against emitters, field and frames.

    python benchmarks/crowd_growth.py [--only 'emitters/*'] [--minutes 12]

Tetrapod scenes of `crowd_frames.py` with an even stray background. "emitters": in frames of 128 x 128 px; "field":
frames of 64, 128 and 256 px a side at 9 emitters per 64 x 64 px; "frames": movies of 10, 20 and 40 frames. Each cell
runs in a process of its own, whose peak of resident memory is that of reading, libraries and compiled programs
included; every movie is read twice, and the second reading is timed. `--frames` are those of a movie but for "frames".
"""

import json
import os
import resource
import subprocess
import sys

import numpy as np

from crowds.reading import joint_reader, read
from crowds.record import cell_parser, fill, rounded
from crowds.scenes import draw
from measure.record import Rows

PLACE = 159  # of its rows in benchmarks/README.md

MASK = "tetrapod"
# kind: sizes, and side of the frame (px), emitters a frame, frames (None: as asked) of each
GROWTHS = {
    "emitters": {9: (128, 9, None), 18: (128, 18, None), 36: (128, 36, None)},
    "field": {64: (64, 9, None), 128: (128, 36, None), 256: (256, 144, None)},
    "frames": {10: (64, 9, 10), 20: (64, 9, 20), 40: (64, 9, 40)},
}
GIB = 2.0**30
_ALONE = "COLOCUS_BENCHMARK_CELL"  # set in the process that measures one cell


def cells() -> list[str]:
    return [f"{kind}/{size}" for kind, sizes in GROWTHS.items() for size in sizes]


def measure(cell: str, frames: int) -> dict:
    """In a process of its own."""
    command = [sys.executable, __file__, "--frames", str(frames)]
    run = subprocess.run(command, env={**os.environ, _ALONE: cell}, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"{cell}: {run.stderr.strip().splitlines()[-1]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def measure_here(cell: str, frames: int) -> dict:
    kind, size = cell.split("/")
    side, count, own = GROWTHS[kind][int(size)]
    frames = own or frames
    scenes = draw(MASK, count, frames, side_px=side)
    reader = joint_reader(MASK)
    read(reader, scenes.images)
    reading = read(reader, scenes.images)
    return {
        "frames": frames,
        "side_px": side,
        "emitters": count,
        "found": reading.found.frame.size,
        "truth": scenes.truth.frame.size,
        "cpu_s": rounded(float(reading.cpu_s.sum())),
        "cpu_s_per_frame": rounded(reading.cpu_s_per_frame),
        "peak_gib": rounded(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB, 3),
    }


def exponent(numbers: dict, kind: str) -> float | None:
    """The power of size with which CPU time grows: slope of a line through logarithms; field counts pixels."""
    found = {size: numbers["cells"].get(f"{kind}/{size}") for size in GROWTHS[kind]}
    if None in found.values():
        return None
    size = np.array([float(s) ** (2 if kind == "field" else 1) for s in found])
    seconds = np.array([cell["cpu_s"] / (1 if kind == "frames" else cell["frames"]) for cell in found.values()])
    return float(np.polyfit(np.log(size), np.log(seconds), 1)[0])


def rows(numbers: dict) -> Rows:
    for kind, sizes in GROWTHS.items():
        grown = exponent(numbers, kind)
        if grown is not None:
            found = [numbers["cells"][f"{kind}/{size}"] for size in sizes]
            seconds = [cell["cpu_s"] / (1 if kind == "frames" else cell["frames"]) for cell in found]
            yield (
                f"joint fit, CPU seconds at {kind} of {', '.join(map(str, sizes))}{' px a side' * (kind == 'field')}; "
                "power with which they grow; peak memory (GiB)",
                "linear; bounded",
                f"{', '.join(f'{value:.2f}' for value in seconds)}; {grown:.2f}; "
                + ", ".join(f"{cell['peak_gib']:.2f}" for cell in found),
            )


def main() -> None:
    options = cell_parser(__doc__, 8).parse_args()
    if _ALONE in os.environ:
        print(json.dumps(measure_here(os.environ[_ALONE], options.frames)))
        return
    fill("crowd_growth", cells(), measure, options)


if __name__ == "__main__":
    main()
