"""Zarr 3 read as `localize` reads it, against zarr alone: from a folder, from memory, from a server of this machine.

    python benchmarks/store_reading.py [--frames 1000] [--side 256]

Zarr alone reads by whole chunks or shards, as is best for it, and does nothing with the frames. Ours is asked for 16
frames at a time and gives float32 counts. Both in turn, medians.
"""

import argparse
import functools
import http.server
import json
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import FsspecStore

from localization import open_movie
from measure.peer import in_turn
from measure.record import Rows, write_result

PLACE = 242  # of its rows in benchmarks/README.md
GROUP, ROUNDS = 16, 5
LAYOUTS: dict[str, dict[str, Any]] = {
    "a frame a chunk": {"chunks": (1, 1)},
    "16 frames a chunk": {"chunks": (16, 1)},
    "100 frames of a quarter a chunk": {"chunks": (100, 2)},
    "4 frames a chunk, 64 a shard": {"chunks": (4, 1), "shards": (64, 1)},
}


def rows(numbers: dict) -> Rows:
    ratios = numbers["ratio"]
    yield (
        f"zarr 3, {numbers['frames']} frames of {numbers['side_px']} px, against zarr alone, slowest of "
        f"{len(LAYOUTS)} layouts: {', '.join(ratios)}; by processor time (with the server's, where there is one)",
        ">= 0.8x",
        ", ".join(f"{min(r.values()):.2f}x" for r in ratios.values())
        + "; "
        + ", ".join(f"{min(r.values()):.2f}x" for r in numbers["processor_ratio"].values()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--side", type=int, default=256)
    options = parser.parse_args()
    frames = np.random.default_rng(0).poisson(100, (options.frames, options.side, options.side)).astype(np.uint16)
    numbers: dict[str, Any] = {"frames": options.frames, "side_px": options.side, "group": GROUP, "ratio": {}}
    numbers |= {"frames_per_s": {}, "processor_ratio": {}}
    with tempfile.TemporaryDirectory() as name:
        server = serve(Path(name))
        for place, write_to, address in (
            ("folder", f"{name}/", f"{name}/"),
            ("memory", "memory://stores/", "memory://stores/"),
            ("http", f"{name}/http-", f"http://127.0.0.1:{server.server_port}/http-"),
        ):
            ratio, speed = numbers["ratio"].setdefault(place, {}), numbers["frames_per_s"].setdefault(place, {})
            for k, (layout, cut) in enumerate(LAYOUTS.items()):
                where = f"{address}{k}.zarr"
                write(f"{write_to}{k}.zarr", frames, cut)
                used: dict[str, list[float]] = {"alone": [], "ours": []}
                seconds = in_turn({"alone": alone(where, used["alone"]), "ours": ours(where, used["ours"])}, ROUNDS)
                speed[layout] = {way: options.frames / seconds[way]["median_s"] for way in seconds}
                ratio[layout] = seconds["alone"]["median_s"] / seconds["ours"]["median_s"]
                spent = numbers["processor_ratio"].setdefault(place, {})
                spent[layout] = statistics.median(used["alone"][1:]) / statistics.median(used["ours"][1:])
                print(place, layout, f"{ratio[layout]:.2f}, processor {spent[layout]:.2f}", flush=True)
        server.shutdown()
    print(json.dumps(numbers["ratio"], indent=1))
    print(write_result("store_reading", numbers, versions={"zarr": zarr.__version__}))


def write(where: str, frames: np.ndarray, cut: dict[str, Any]) -> None:
    """Write the movie in chunks and shards of so many frames, cut into so many parts along each side."""
    sizes = {name: (n, *(side // parts for side in frames.shape[1:])) for name, (n, parts) in cut.items()}
    array = zarr.create_array(store_of(where, False), shape=frames.shape, dtype=frames.dtype, **sizes)
    array[:] = frames


def store_of(where: str, read_only: bool) -> Any:
    return FsspecStore.from_url(where, read_only=read_only) if "://" in where else where


def alone(where: str, used: list[float]) -> Callable[[], float]:
    """Zarr by itself."""

    def clock() -> float:
        started, before = time.perf_counter(), time.process_time()
        array = zarr.open_array(store_of(where, True), mode="r")
        step = max(GROUP, (array.shards or array.chunks)[0])
        for first in range(0, array.shape[0], step):
            array[first : first + step]
        used.append(time.process_time() - before)
        return time.perf_counter() - started

    return clock


def ours(where: str, used: list[float]) -> Callable[[], float]:
    """As `localize` reads."""

    def clock() -> float:
        started, before = time.perf_counter(), time.process_time()
        with open_movie(where) as movie:
            for first in range(0, movie.shape[0], GROUP):
                movie.read(first, min(first + GROUP, movie.shape[0]))
        used.append(time.process_time() - before)
        return time.perf_counter() - started

    return clock


def serve(folder: Path) -> http.server.ThreadingHTTPServer:
    """Hand out the files of a folder."""

    class Ranges(http.server.SimpleHTTPRequestHandler):
        """Parts of files too, as every object store gives them: without, zarr takes a whole shard for its index."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            path = Path(self.translate_path(self.path))
            if asked is None or not path.is_file():
                return super().do_GET()
            size, (first, last) = path.stat().st_size, asked.groups()
            start = int(first) if first else max(size - int(last), 0)
            stop = min(int(last) + 1, size) if first and last else size
            self.send_response(http.HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            with path.open("rb") as file:
                file.seek(start)
                self.wfile.write(file.read(stop - start))

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Ranges, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    main()
