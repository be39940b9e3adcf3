"""A movie of 20 GB through `colocus localize`: memory and speed at its start, middle and end, and all of it at once.

    python benchmarks/large_movie.py [--gigabytes 20] [--frames 2000]

The movie is a BigTIFF of 512 x 512 frames with one header, as tifffile and ImageJ write it: most of it is a hole in the
file, which reads as zeros, so that it takes hardly any room on the disk; the frames that a decoder reads hold noise
with spots. Each measurement is a process of its own, whose peak resident memory is read from the operating system.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from measure.record import Rows, write_result

PLACE = 190  # of its rows in benchmarks/README.md

SIDE = 512
BYTES = 2 * SIDE * SIDE


def rows(numbers: dict) -> Rows:
    yield (
        f"movie of {numbers['movie_gb']:.0f} GB: peak memory; slowest of start, middle and end over the fastest, "
        "a decoder; by thirds, no decoder",
        "< 2 GB; flat",
        f"{numbers['peak_memory_gb']:.2f} GB; {numbers['slowest_over_fastest']:.2f}; "
        f"{numbers['null_slowest_over_fastest_third']:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--frames", type=int, default=2000, help="frames for the decoder at each of three places")
    parser.add_argument("--worker", nargs=4, metavar=("MOVIE", "KIND", "FIRST", "STOP"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        movie, kind, first, stop = options.worker
        print(json.dumps(work(Path(movie), kind, int(first), int(stop))))
        return
    n = int(options.gigabytes * 1e9 // BYTES)
    count = min(options.frames, n // 3)
    with tempfile.TemporaryDirectory() as folder:
        movie = Path(folder) / "large.tif"
        starts = {"start": 0, "middle": (n - count) // 2, "end": n - count}
        make_movie(movie, n, [(first, first + count) for first in starts.values()])
        numbers: dict[str, Any] = {
            "movie_gb": movie.stat().st_size / 1e9,
            "on_disk_gb": movie.stat().st_blocks * 512 / 1e9,
            "frames": n,
            "frame_px": SIDE,
            "decoder_frames": count,
        }
        for name, first in starts.items():
            numbers[name] = measure(movie, "decoder", first, first + count)
            print(f"{name}: {numbers[name]}", flush=True)
        numbers["null_decoder_whole_movie"] = measure(movie, "null", 0, n)
        print(f"whole movie, null decoder: {numbers['null_decoder_whole_movie']}", flush=True)
    speeds = [numbers[name]["frames_per_s"] for name in starts]
    numbers["slowest_over_fastest"] = min(speeds) / max(speeds)
    thirds = numbers["null_decoder_whole_movie"]["frames_per_s_by_third"]
    numbers["null_slowest_over_fastest_third"] = min(thirds) / max(thirds)
    numbers["peak_memory_gb"] = max(numbers[k]["peak_memory_gb"] for k in (*starts, "null_decoder_whole_movie"))
    for key in ("slowest_over_fastest", "null_slowest_over_fastest_third", "peak_memory_gb"):
        print(f"{key}: {numbers[key]:.3f}")
    print(write_result("large_movie", numbers))


def make_movie(path: Path, n: int, filled: list[tuple[int, int]]) -> None:
    """A sparse BigTIFF of n frames: noise and spots in the parts that are `filled`, zeros elsewhere."""
    # one frame, then the header is told of all of them: tifffile writes the sizes that it is given without data
    tifffile.imwrite(
        path, shape=(n, SIDE, SIDE), dtype=np.uint16, bigtiff=True, photometric="minisblack", contiguous=True
    )
    with tifffile.TiffFile(path) as tif:
        offset = tif.series[0].dataoffset
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-4:5, -4:5]
    spot = 400 * np.exp(-(x**2 + y**2) / 4)
    block = rng.poisson(60, (50, SIDE, SIDE)).astype(np.uint16)
    for frame in block:
        for row, column in rng.integers(8, SIDE - 8, (150, 2)):
            frame[row - 4 : row + 5, column - 4 : column + 5] += rng.poisson(spot).astype(np.uint16)
    with open(path, "r+b") as file:
        file.truncate(max(path.stat().st_size, offset + n * BYTES))
        for first, stop in filled:
            file.seek(offset + first * BYTES)
            for k in range(first, stop, len(block)):
                file.write(block[: min(len(block), stop - k)].tobytes())


def measure(movie: Path, kind: str, first: int, stop: int) -> dict[str, Any]:
    """One localization in a process of its own."""
    command = [sys.executable, __file__, "--worker", str(movie), kind, str(first), str(stop)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def work(movie: Path, kind: str, first: int, stop: int) -> dict[str, Any]:
    """Localize frames first to stop - 1, and say how fast and with how much memory."""
    from experiments.reading.localize import LocalizeConfig, localize_with

    reader = null_reader() if kind == "null" else list_reader()
    events = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = localize_with(
            reader, movie, Path(folder) / "locs.csv", LocalizeConfig(frames=(first, stop)),
            report=lambda event: events.append((time.perf_counter(), event.done)),
        )  # fmt: skip
    seconds = time.perf_counter() - started
    marks = [time_s for time_s, done in events if done]
    counts = [done for _, done in events if done]
    # without the first group, whose time is compilation
    rate = (counts[-1] - counts[0]) / max(marks[-1] - marks[0], 1e-9)
    thirds = np.interp(np.linspace(counts[0], counts[-1], 4), counts, marks)
    return {
        "frames": result.frames,
        "rows": result.rows,
        "seconds": seconds,
        "frames_per_s": rate,
        "frames_per_s_by_third": [(counts[-1] - counts[0]) / 3 / max(float(s), 1e-9) for s in np.diff(thirds)],
        "peak_memory_gb": peak_memory_gb(),
    }


def peak_memory_gb() -> float:
    """The most memory that this process has held (what `getrusage` says counts its parent's before it began)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def list_reader() -> Any:
    """A list decoder of a small size, untrained but told to find the brightest pixels of its maps."""
    import jax
    import jax.numpy as jnp

    import nets
    from experiments.reading.readers import list_reader as of_net

    net = nets.ListNetConfig(channels=16, head_channels=16, dilations=(1, 1, 2, 2))
    variables = nets.init(jax.random.key(0), net, jnp.zeros((1, 16, 16, 1)))
    out = variables["params"]["out"]
    out["kernel"] = out["kernel"].at[..., 0].multiply(12.0)
    return of_net(net, variables, 64)


def null_reader() -> Any:
    """A reader that finds nothing: what is left is the reading and the book-keeping."""
    from collections import Counter

    from localization import make_localizations

    class Null:
        min_frame_px, description, pixel_um, group, batch, context, identity = 1, "nothing", 0.1, 16, 1, 0, {}

        def take_tally(self) -> Counter[str]:
            return Counter()

        def read(self, counts, first_frame, before=0, after=0, origin_px=(0, 0)):
            counts.max()
            return make_localizations([], [], [], [])

    return Null()


if __name__ == "__main__":
    main()
