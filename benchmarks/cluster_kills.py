"""A run on a cluster killed at random moments: a worker, the scheduler, the client, by SIGKILL; then it goes on.

    python benchmarks/cluster_kills.py [--kills 10]

Scheduler, two workers and the client are processes of their own. The reader notes every group of frames that it is
given, a chunk each. After every kill what is missing is started again, and the same call goes on; at the end the bytes
are those of one process, and what was read twice are chunks that were being read when somebody died.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from experiments.reading.chunks import parts_folder
from experiments.reading.cluster.connect import connected
from experiments.reading.cluster.engine import localize_on
from experiments.reading.localize import LocalizeConfig, localize_with
from measure.record import Rows, write_result
from training import ConfigError
from worlds.cluster_processes import Processes, wait_for
from worlds.cluster_readers import NotingReader, empty_movie

PLACE = 192  # of its rows in benchmarks/README.md
FRAMES, CHUNK, SHARE, PAUSE_S = 1200, 20, 100, 1.0
CONFIG = LocalizeConfig(chunk_frames=CHUNK, share_frames=SHARE)


def rows(numbers: dict) -> Rows:
    killed = ", ".join(f"{who} {n}" for who, n in numbers["killed"].items())
    yield (
        f"{numbers['kills']} kills of a run at random moments ({killed}): resumed, the bytes; chunks read twice, and "
        "those of them whose part was there already",
        "all, same; only what was under way, 0",
        f"{numbers['resumed']}, {'same' if numbers['same_bytes'] else 'DIFFERENT'}; {numbers['read_twice']} of "
        f"{numbers['chunks']}, {numbers['read_twice_though_done']}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--client", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        sys.exit(client(options.client))
    with tempfile.TemporaryDirectory() as name:
        print(write_result("cluster_kills", measure(Path(name), options.kills, random.Random(options.seed))))


def client(folder: Path) -> int:
    """The run itself, in a process that may be killed; says in a file that it has ended."""
    reader = partial(NotingReader, str(folder / "read.txt"), CHUNK, PAUSE_S)
    try:
        with connected(str(folder / "scheduler.json")) as workers:
            localize_on(workers, reader, folder / "movie.npy", folder / "locs.csv", CONFIG)
    except ConfigError as error:
        print(error, flush=True)
        return 2
    return 0


def measure(folder: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill and go on, until it is done."""
    empty_movie(folder / "movie.npy", FRAMES, 8)
    localize_with(NotingReader(str(folder / "alone.txt"), CHUNK), folder / "movie.npy", folder / "alone.csv", CONFIG)
    out, notes = folder / "locs.csv", folder / "read.txt"
    kinds = [("worker", "scheduler", "client")[k % 3] for k in range(kills)]
    rng.shuffle(kinds)
    resumed, twice_though_done = 0, 0
    with Processes(folder) as processes:
        scheduler = processes.scheduler()
        workers = {name: processes.worker(name) for name in ("a", "b")}
        run = processes.start(__file__, "--client", str(folder))
        for number, kind in enumerate(kinds):
            # the first part of it at least, of what is left the more the more kills are to come
            target = (number + rng.uniform(0.3, 1.0)) * 0.8 * FRAMES / CHUNK / kills
            wait_for(partial(reached, out, target, run))
            time.sleep(rng.uniform(0, PAUSE_S))
            there = set(part_frames(out))
            seen = len(lines(notes))
            print(f"kill {number + 1}: {kind}, {len(there)} of {FRAMES // CHUNK} parts there", flush=True)
            if kind == "worker":
                name = rng.choice(sorted(workers))
                workers[name].kill()
                workers[name].wait()
                workers[name] = processes.worker(name)
            elif kind == "client":
                run.kill()
                run.wait()
                run = processes.start(__file__, "--client", str(folder))
            else:
                scheduler.kill()
                run.wait()
                for worker in workers.values():
                    worker.kill()
                    worker.wait()
                scheduler = processes.scheduler()
                workers = {name: processes.worker(name) for name in ("a", "b")}
                run = processes.start(__file__, "--client", str(folder))
            wait_for(lambda seen=seen: len(lines(notes)) > seen + 2)  # it goes on
            resumed += 1
            twice_though_done += len(there & set(lines(notes)[seen:]))
        status = run.wait()
    counts = Counter(lines(notes))
    return {
        "kills": kills,
        "killed": dict(Counter(kinds)),
        "frames": FRAMES,
        "chunks": FRAMES // CHUNK,
        "chunks_in_a_share": SHARE // CHUNK,
        "resumed": resumed,
        "ended_well": status == 0,
        "same_bytes": out.read_bytes() == (folder / "alone.csv").read_bytes(),
        "read_twice": sum(n - 1 for n in counts.values()),
        "read_twice_though_done": twice_though_done,
    }


def reached(out: Path, target: float, run: Any) -> bool:
    """Whether so many parts are there; nobody but us may have ended the run."""
    if run.poll() is not None:
        raise SystemExit(f"the run ended with {run.poll()} without being killed")
    return len(part_frames(out)) >= target


def lines(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def part_frames(out: Path) -> list[int]:
    return [int(part.name[7:15]) for part in parts_folder(out).glob("frames_*.npz")]


if __name__ == "__main__":
    main()
