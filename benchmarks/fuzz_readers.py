"""Readers on damaged files of every format and movie kind, real ones among them: no crash, no hang, no stray error.

    python benchmarks/fuzz_readers.py --minutes 10

Files are damaged and read in a process of their own, with limited memory, so that a crash or a hang of a library
is seen and laid at the door of the file that caused it. Real files come from COLOCUS_DATA; without it only those
made here are used.
"""

import argparse
import collections
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from measure.record import Rows, write_result
from worlds import DATA

PLACE = 240  # of its rows in benchmarks/README.md

BATCH, START_S, HANG_S, MEMORY_BYTES = 1000, 120, 20, 6 << 30
REAL = (
    "locan-dstorm/rapidSTORM_from_images.txt", "locan-dstorm/formats/*", "locan-dstorm/images.tif",
    "picasso-sim/testdata_locs.hdf5", "picasso-sim/testdata.yaml", "thunderstorm-tubulins1/*.csv",
    "thunderstorm-tubulins1/*.tif", "storm-analysis-sim/*.tif",
)  # fmt: skip


def work(path: Path, first: int, progress: Path) -> None:
    """Read `BATCH` damaged copies; the seed under work stands in `progress`, with counts so far."""
    from made.mangled import try_one

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")
    counts = collections.Counter()
    for seed in range(first, first + BATCH):
        progress.write_text(f"{seed} {counts['read']} {counts['refused']}")
        counts[try_one(path, seed)] += 1
    progress.write_text(f"{first + BATCH} {counts['read']} {counts['refused']}")


def batch(path: Path, first: int, progress: Path) -> tuple[int, int, str, int]:
    """One process: how many copies were read and refused, what went wrong (or ""), and the seed to go on with."""
    idle = f"{first} 0 0 starting"
    progress.write_text(idle)
    arguments = [sys.executable, __file__, "--work", str(path), str(first), str(progress)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        last, since, wrong = "", time.monotonic(), ""
        while process.poll() is None:
            time.sleep(0.05)
            if (now := progress.read_text()) != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > (START_S if now == idle else HANG_S):
                process.kill()
                wrong = f"no answer in {START_S if now == idle else HANG_S} s"
        said = process.stderr.read() if process.stderr else ""
    words = progress.read_text().split()
    seed, read, refused = (int(word) for word in words[:3]) if len(words) >= 3 else (first, 0, 0)
    if not wrong and process.returncode:
        lines = said.strip().splitlines() or [f"ended with status {process.returncode}"]
        wrong = lines[-1][:300]
    return read, refused, wrong, seed + 1 if wrong else seed


def fuzz(minutes: float) -> dict:
    """Damage and read until the time is over; counts per file, and everything that went wrong."""
    from made.mangled import make_files

    until = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {**make_files(folder)}
        for pattern in REAL:
            files |= {f"{path.parent.name}/{path.name}": path for path in sorted(DATA.glob(pattern))}
        table = {kind: {"read": 0, "refused": 0, "seed": 0} for kind in files}
        failures = []
        while time.monotonic() < until:
            for kind, path in files.items():
                if time.monotonic() > until:
                    break
                row = table[kind]
                read, refused, wrong, row["seed"] = batch(path, row["seed"], folder / "progress")
                row["read"] += read
                row["refused"] += refused
                if wrong:
                    failures.append({"file": kind, "seed": row["seed"] - 1, "error": wrong})
                    print(f"{kind}, seed {row['seed'] - 1}: {wrong}", flush=True)
    counts = {kind: {key: row[key] for key in ("read", "refused")} for kind, row in table.items()}
    total = sum(sum(row.values()) for row in counts.values())
    return {"minutes": minutes, "files": len(files), "damaged_copies": total, "failures": failures, "per_file": counts}


def rows(numbers: dict) -> Rows:
    yield (
        f"readers on damaged files: {numbers['damaged_copies']} copies of {numbers['files']} files "
        f"in {numbers['minutes']:g} minutes",
        "no crash, no hang",
        f"{len(numbers['failures'])} failures",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--work", nargs=3, metavar=("FILE", "SEED", "PROGRESS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(Path(chosen.work[0]), int(chosen.work[1]), Path(chosen.work[2]))
    else:
        numbers = fuzz(chosen.minutes)
        print(f"{numbers['damaged_copies']} damaged copies of {numbers['files']} files")
        print(f"{len(numbers['failures'])} failures")
        print(write_result("fuzz_readers", numbers))


if __name__ == "__main__":
    main()
