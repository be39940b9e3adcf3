"""Reading movies of instruments frame by frame: ours against the loop that each format's own library shows.

    python benchmarks/reading_speed.py --frames 2000 --side 512

Movies are written here and read from warm memory, in turn, ours and the library's, frames as stored. CZI needs
pylibCZIrw and NDTiff the package ndtiff in an environment of their own (`--peer-python`); without it they are left out.
"""

import argparse
import gc
import importlib.metadata
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile

import worlds  # noqa: F401  puts tests/made on the path
from localization import open_movie
from measure.record import Rows, write_result

PLACE = 241  # of its rows in benchmarks/README.md
STEP, ROUNDS = 50, 5

NDTIFF_WRITE = """
import sys, numpy as np
from ndtiff import NDTiffDataset
n, side = int(sys.argv[2]), int(sys.argv[3])
frame = np.random.default_rng(0).integers(90, 400, (side, side), dtype=np.uint16)
made = NDTiffDataset(sys.argv[1], name="run", summary_metadata={"PixelType": "GRAY16"}, writable=True)
for t in range(n):
    made.put_image({"time": t}, frame, {})
made.finish(); made.block_until_finished()
"""
PEER = """
import contextlib, io, json, sys, time
path, n, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def loop():
    start, total = time.perf_counter(), 0
    if kind == "czi":
        from pylibCZIrw import czi
        with czi.open_czi(path) as file:
            for t in range(n):
                total += int(file.read(plane={"T": t, "C": 0, "Z": 0})[0, 0, 0])
    else:
        from ndtiff import Dataset
        data = Dataset(path)
        for t in range(n):
            total += int(data.read_image(time=t)[0, 0])
        data.close()
    return time.perf_counter() - start
for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()):
        seconds = loop()
    print(json.dumps(seconds), flush=True)
"""


def frames(n: int, side: int) -> Iterator[np.ndarray]:
    """One camera frame again and again: what is read does not depend on the counts."""
    frame = np.random.default_rng(0).integers(90, 400, (side, side), dtype=np.uint16)
    return (frame for _ in range(n))


def ours(path: Path) -> Callable[[], float]:
    """Read the whole movie as its users do, some frames at a time."""

    def clock() -> float:
        start = time.perf_counter()
        with open_movie(path) as movie:
            for k in range(0, movie.shape[0], STEP):
                movie.read_stored(k, min(k + STEP, movie.shape[0]))
        return time.perf_counter() - start

    return clock


def by_tifffile(path: Path) -> float:
    start = time.perf_counter()
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            page.asarray()
    return time.perf_counter() - start


def by_nd2(path: Path) -> float:
    import nd2

    start = time.perf_counter()
    with nd2.ND2File(path) as file:
        for k in range(file.sizes["T"]):
            np.array(file.read_frame(k))
    return time.perf_counter() - start


def in_turn(one: Callable[[], float], other: Callable[[], float]) -> dict[str, float]:
    """Medians of both, in turn, after one round of warming up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for round_ in range(ROUNDS + 1):
        for clock, seconds in zip((one, other), taken, strict=True):
            gc.collect()
            value = clock()
            if round_:
                seconds.append(value)
    a, b = (statistics.median(seconds) for seconds in taken)
    return {"ours_s": a, "library_s": b, "speed_of_the_library": b / a}


def measure(n: int, side: int, peer_python: str | None) -> dict:
    """Each kind of movie in a folder that is gone before the next."""
    from made import instrument_files

    numbers: dict = {"frames": n, "side_px": side}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "movie.tif"
        tifffile.imwrite(path, frames(n, side), shape=(n, side, side), dtype=np.uint16, photometric="minisblack",
                         metadata=None)  # fmt: skip
        numbers["tiff"] = in_turn(ours(path), lambda: by_tifffile(path))
    with tempfile.TemporaryDirectory() as name:
        nd2 = Path(name) / "movie.nd2"
        instrument_files.write_nd2(nd2, frames(n, side))
        numbers["nd2"] = in_turn(ours(nd2), lambda: by_nd2(nd2))
    for kind in ("czi", "ndtiff") if peer_python else ():
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "movie.czi"
            if kind == "czi":
                instrument_files.write_czi(path, frames(n, side))
            else:
                arguments = [str(peer_python), "-c", NDTIFF_WRITE, name, str(n), str(side)]
                subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
                path = next(Path(name).rglob("NDTiff.index")).parent
            arguments = [str(peer_python), "-c", PEER, str(path), str(n), kind]
            with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:

                def library(peer: subprocess.Popen = peer) -> float:
                    assert peer.stdin is not None and peer.stdout is not None
                    peer.stdin.write("go\n")
                    peer.stdin.flush()
                    return json.loads(peer.stdout.readline())

                numbers[kind] = in_turn(ours(path), library)
                assert peer.stdin is not None
                peer.stdin.close()
    return numbers


def rows(numbers: dict) -> Rows:
    shown = {kind: row["speed_of_the_library"] for kind, row in numbers.items() if isinstance(row, dict)}
    yield (
        f"reading {numbers['frames']} frames of {numbers['side_px']} x {numbers['side_px']}: our speed over that of "
        f"the format's own library, {', '.join(shown)}",
        ">= 0.8",
        ", ".join(f"{speed:.2f}" for speed in shown.values()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--peer-python", help="python of an environment with pylibCZIrw and ndtiff")
    chosen = parser.parse_args()
    numbers = measure(chosen.frames, chosen.side, chosen.peer_python)
    print(json.dumps(numbers, indent=1))
    versions = {name: importlib.metadata.version(name) for name in ("tifffile", "nd2")}
    print(write_result("reading_speed", numbers, versions=versions))


if __name__ == "__main__":
    main()
