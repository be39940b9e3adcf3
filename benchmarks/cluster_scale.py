"""What the engine itself takes: a million frames in a thousand shares, 50 workers, and the memory of a worker.

    python benchmarks/cluster_scale.py [--shares 1000] [--workers 5 50]

A reader that does nothing reads a movie that is a hole in the disk: 8 x 8 pixels, 1,000 frames a share and a part.
Scheduler and workers are processes of their own, of the memory of the first the largest of many samples is taken. Then
frames of 128 x 128 and of 2048 x 2048 pixels go through a list decoder in one worker.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from distributed import Client, LocalCluster

from experiments.reading.cluster.connect import connected
from experiments.reading.cluster.engine import localize_on
from experiments.reading.localize import LocalizeConfig, localize_with
from measure.record import Rows, write_result
from worlds.cluster_processes import Processes
from worlds.cluster_readers import NullReader, empty_movie, peak_memory_gb, small_decoder, spots_movie

PLACE = 193  # of its rows in benchmarks/README.md
SHARE = 1000
CONFIG = LocalizeConfig(chunk_frames=SHARE, share_frames=SHARE)


def rows(numbers: dict) -> Rows:
    many = numbers["many"]
    yield (
        f"{many['frames']} frames in {many['shares']} shares, a reader that does nothing: memory of the scheduler; "
        f"more time than one process ({many['alone_s']:.0f} s); more processor time",
        "< 500 MB; < 30 s",
        f"{1e3 * many['scheduler_peak_gb']:.0f} MB; {many['overhead_s']:.0f} s; {many['overhead_processor_s']:.0f} s",
    )
    crowd = numbers["crowd"]
    few, most = min(crowd, key=int), max(crowd, key=int)
    yield (
        f"{most} workers against {few}, in one process, a reader that does nothing: time for a share; processor time",
        "within 20 %",
        f"{100 * (crowd[most]['share_ms'] / crowd[few]['share_ms'] - 1):+.0f} %; "
        f"{100 * (crowd[most]['share_processor_ms'] / crowd[few]['share_processor_ms'] - 1):+.0f} % "
        f"({crowd[most]['share_processor_ms']:.0f} ms)",
    )
    peaks = numbers["worker_peak_gb"]
    yield (
        "peak memory of a worker with a list decoder, frames of " + ", ".join(f"{side} px" for side in peaks),
        "< 2 GB",
        ", ".join(f"{gb:.2f} GB" for gb in peaks.values()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shares", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs=2, default=(5, 50))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers: dict[str, Any] = {"cores": os.cpu_count(), "many": many(folder, options.shares)}
        print(numbers["many"], flush=True)
        numbers["crowd"] = {str(n): crowd(folder, n) for n in options.workers}
        numbers["worker_peak_gb"] = {str(side): peak(folder, side, n) for side, n in ((128, 1000), (2048, 32))}
        print(write_result("cluster_scale", numbers))


def many(folder: Path, shares: int) -> dict[str, Any]:
    """As many shares as a long acquisition has, with one worker and with one process."""
    movie = folder / "many.npy"
    empty_movie(movie, SHARE * shares, 8)
    started, before = time.perf_counter(), time.process_time()
    localize_with(NullReader(SHARE), movie, folder / "alone.csv", CONFIG)
    alone_s, alone_processor_s = time.perf_counter() - started, time.process_time() - before
    with Processes(folder) as processes:
        scheduler = processes.scheduler()
        worker = processes.worker("only")
        with connected(str(processes.file)) as client, Watch(scheduler.pid) as watch:
            client.wait_for_workers(1)
            localize_on(client, partial(NullReader, SHARE), movie, folder / "few.csv", LocalizeConfig(frames=(0, 10)))
            of_all = (os.getpid(), scheduler.pid, worker.pid)
            started, before = time.perf_counter(), sum(map(processor_s_of, of_all))
            localize_on(client, partial(NullReader, SHARE), movie, folder / "many.csv", CONFIG)
            seconds, processor_s = time.perf_counter() - started, sum(map(processor_s_of, of_all)) - before
            worker_gb = peak_memory_gb_of(worker.pid)
    same = (folder / "many.csv").read_bytes() == (folder / "alone.csv").read_bytes()
    return {
        "frames": SHARE * shares,
        "shares": shares,
        "same_bytes": same,
        "alone_s": alone_s,
        "seconds": seconds,
        "overhead_s": seconds - alone_s,
        "overhead_processor_s": processor_s - alone_processor_s,
        "scheduler_begin_gb": watch.first_gb,
        "scheduler_peak_gb": watch.peak_gb,
        "worker_peak_gb": worker_gb,
    }


def crowd(folder: Path, n: int) -> dict[str, float]:
    """The same shares for few workers and for many, all in this process: 50 processes would wait for their imports."""
    movie, shares = folder / "crowd.npy", 400
    empty_movie(movie, SHARE * shares, 8)
    took, used = [], []
    options = {"threads_per_worker": 1, "processes": False, "dashboard_address": None, "memory_limit": 0}
    cluster = LocalCluster(n_workers=n, **options)
    with cluster, Client(cluster) as client:
        for _ in range(4):
            started, before = time.perf_counter(), time.process_time()
            localize_on(client, partial(NullReader, SHARE), movie, folder / "crowd.csv", CONFIG)
            took.append(time.perf_counter() - started)
            used.append(time.process_time() - before)
    # the first makes readers and connections
    found = {
        "share_ms": 1e3 * statistics.median(took[1:]) / shares,
        "share_processor_ms": 1e3 * statistics.median(used[1:]) / shares,
    }
    print(n, found, flush=True)
    return found


def peak(folder: Path, side: int, frames: int) -> float:
    """The most memory of one worker that reads such frames with a decoder."""
    movie = folder / f"{side}.tif"
    spots_movie(movie, frames, side)
    with connected("local:1") as client:
        localize_on(client, small_decoder, movie, folder / "peak.csv", LocalizeConfig())
        return max(client.run(peak_memory_gb).values())


def peak_memory_gb_of(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


class Watch:
    """The largest memory of a process while the block runs."""

    def __init__(self, pid: int) -> None:
        self.pid, self.first_gb, self.peak_gb = pid, memory_gb_of(pid), 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            self.peak_gb = max(self.peak_gb, memory_gb_of(self.pid))


def processor_s_of(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_gb_of(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e9


if __name__ == "__main__":
    main()
