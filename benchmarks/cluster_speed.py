"""`localize` by workers of Dask against one process: the same bytes, what the engine costs, what a second worker saves.

    python benchmarks/cluster_speed.py [--frames 20000] [--rounds 2]

One process, one worker and two workers take turns, each with one thread, on a movie of 128 x 128 pixels and a list
decoder of 8 channels. All of them stand already and have compiled; what starting them takes is given beside. Wall time
suffers where others compute on the same cores, processor time does not: both are given, the load in the record.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from experiments.reading.cluster.connect import connected
from experiments.reading.cluster.engine import localize_on
from experiments.reading.localize import LocalizeConfig, localize_with
from measure.record import Rows, write_result
from worlds.cluster_readers import peak_memory_gb, processor_s, small_decoder, spots_movie

PLACE = 191  # of its rows in benchmarks/README.md
SIDE = 128


def rows(numbers: dict) -> Rows:
    took, used = numbers["seconds"], numbers["processor_seconds"]
    yield (
        f"localize of {numbers['frames']} frames of 128 x 128 by two workers of Dask, of one thread each, against one "
        f"process ({took['alone']:.0f} s): the bytes; speed",
        "same; >= 1.6x",
        f"{'same' if numbers['same_bytes'] else 'DIFFERENT'}; {numbers['speed_of_two']:.2f}x",
    )
    yield (
        "the engine with one worker: more time than one process; more processor time",
        "<= 3 %",
        f"{100 * numbers['overhead_of_one']:+.1f} %; {100 * (used['one'] / used['alone'] - 1):+.1f} %",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(write_result("cluster_speed", measure(Path(name), options.frames, options.rounds)))


def measure(folder: Path, frames: int, rounds: int) -> dict[str, Any]:
    """All three ways in turn."""
    movie = folder / "movie.tif"
    spots_movie(movie, frames, SIDE)
    began = time.perf_counter()
    with connected("local:1") as one:
        start_one_s = time.perf_counter() - began
        with connected("local:2") as two:
            ways = {"alone": None, "one": one, "two": two}
            for name, client in ways.items():  # compiled, and every worker at work once
                run(folder, movie, name, client, LocalizeConfig(frames=(0, 400), chunk_frames=200, share_frames=200))
            taken: dict[str, list[float]] = {name: [] for name in ways}
            used: dict[str, list[float]] = {name: [] for name in ways}
            tables = {}
            for _ in range(rounds):
                for name, client in ways.items():
                    seconds, processor, tables[name] = run(folder, movie, name, client, LocalizeConfig())
                    taken[name].append(seconds)
                    used[name].append(processor)
                    print(f"{name}: {seconds:.1f} s, processor {processor:.1f} s", flush=True)
            peaks = [gb for client in (one, two) for gb in client.run(peak_memory_gb).values()]
    median = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "frames": frames,
        "frame_px": SIDE,
        "rounds": rounds,
        "same_bytes": len(set(tables.values())) == 1,
        "list_bytes": len(tables["alone"]),
        "seconds": median,
        "seconds_all": taken,
        "processor_seconds": {name: statistics.median(values) for name, values in used.items()},
        "overhead_of_one": median["one"] / median["alone"] - 1,
        "speed_of_two": median["alone"] / median["two"],
        "start_of_one_worker_s": start_one_s,
        "peak_memory_of_a_worker_gb": max(peaks),
    }


def run(folder: Path, movie: Path, name: str, client: Any, config: LocalizeConfig) -> tuple[float, float, bytes]:
    """One way: seconds, processor seconds of all its processes, and the list."""
    out = folder / f"{name}.csv"

    def used() -> float:
        return processor_s() + (0.0 if client is None else sum(client.run(processor_s).values()))

    before, started = used(), time.perf_counter()
    if client is None:
        localize_with(small_decoder(), movie, out, config)
    else:
        localize_on(client, small_decoder, movie, out, config)
    seconds = time.perf_counter() - started
    return seconds, used() - before, out.read_bytes()


if __name__ == "__main__":
    main()
