"""Readers on damaged files of every format and movie kind, real ones among them: no crash, no hang, no silent loss.

    python benchmarks/fuzz_readers.py --minutes 10

A copy is cut off, extended, has bytes flipped, put in, taken out or swapped (fields of a line, too), or loses one of
its files. It must be read as it was, or with a note, or refused in one line; what nobody can see, a digit that became
another, is counted (`changed`, `shorter`; tests/made/mangled.py). Copies are read in a process of their own, with
limited memory, so that a crash or a hang of a library is laid at the door of the file that caused it. Real files come
from COLOCUS_DATA; without it only those made here are used.
"""

import argparse
import collections
import contextlib
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from localization import LocalizationError
from measure.record import Rows, write_result
from worlds import DATA

PLACE = 240  # of its rows in benchmarks/README.md

BATCH, BATCH_S, START_S, HANG_S, MEMORY_BYTES = 1000, 5, 120, 20, 6 << 30
REAL = (
    "locan-dstorm/rapidSTORM_from_images.txt", "locan-dstorm/formats/*", "locan-dstorm/images.tif",
    "picasso-sim/testdata_locs.hdf5", "picasso-sim/testdata.raw", "thunderstorm-tubulins1/*.csv",
    "thunderstorm-tubulins1/*.tif", "storm-analysis-sim/*.tif",
)  # fmt: skip


def work(folder: Path, name: str, first: int, progress: Path) -> None:
    """Read `BATCH` damaged copies; the seed under work stands in `progress`, with counts so far."""
    from made.mangled import read_content, try_one

    made = all_files(folder)[name]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")
    counts = collections.Counter()
    valid = read_content(made, made.folder, allow_cut=True)
    until = time.monotonic() + BATCH_S
    for seed in range(first, first + BATCH):
        progress.write_text(json.dumps([seed, counts]))
        counts[try_one(made, valid, seed)] += 1
        if time.monotonic() > until:
            break
    progress.write_text(json.dumps([seed + 1, counts]))


def all_files(folder: Path) -> dict:
    """The valid files, by name: pickled by the first process for those that read."""
    return pickle.loads((folder / "made.pickle").read_bytes())


def batch(folder: Path, name: str, first: int) -> tuple[dict[str, int], str, int]:
    """One process: outcomes of the copies, what went wrong (or ""), and the seed to go on with."""
    progress = folder / "progress"
    idle = json.dumps([first, {}]) + " "
    progress.write_text(idle)
    arguments = [sys.executable, __file__, "--work", str(folder), name, str(first), str(progress)]
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
    try:
        seed, counts = json.loads(progress.read_text())
    except ValueError:  # ended while it wrote
        seed, counts = first, {}
    if not wrong and process.returncode:
        lines = said.strip().splitlines() or [f"ended with status {process.returncode}"]
        wrong = lines[-1][:300]
    return counts, wrong, seed + 1 if wrong else seed


def fuzz(minutes: float) -> dict:
    """Damage and read until the time is over; counts per file, and everything that went wrong."""
    from made.mangled import OUTCOMES, read_content
    from made.valid_files import make_files, real_file

    until = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {**make_files(folder)}
        for pattern in REAL:
            for path in sorted(DATA.glob(pattern)):
                made = real_file(folder, path)
                with contextlib.suppress(LocalizationError):  # a file of words beside the tables
                    read_content(made, made.folder, allow_cut=True)
                    files[f"{path.parent.name}/{path.name}"] = made
        (folder / "made.pickle").write_bytes(pickle.dumps(files))
        table = {kind: collections.Counter() for kind in files}
        seeds = dict.fromkeys(files, 0)
        failures = []
        while time.monotonic() < until:
            for kind in files:
                if time.monotonic() > until:
                    break
                counts, wrong, seeds[kind] = batch(folder, kind, seeds[kind])
                table[kind].update(counts)
                if wrong:
                    failures.append({"file": kind, "seed": seeds[kind] - 1, "error": wrong})
                    print(f"{kind}, seed {seeds[kind] - 1}: {wrong}", flush=True)
    counts = {kind: {outcome: row[outcome] for outcome in OUTCOMES} for kind, row in table.items()}
    total = sum(sum(row.values()) for row in counts.values())
    return {"minutes": minutes, "files": len(files), "damaged_copies": total, "failures": failures, "per_file": counts}


def rows(numbers: dict) -> Rows:
    yield (
        f"readers on damaged files: {numbers['damaged_copies']} copies of {numbers['files']} files "
        f"in {numbers['minutes']:g} minutes",
        "no crash, no hang, no silent loss",
        f"{len(numbers['failures'])} failures",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--work", nargs=4, metavar=("FOLDER", "FILE", "SEED", "PROGRESS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        folder, name, seed, progress = chosen.work
        work(Path(folder), name, int(seed), Path(progress))
    else:
        numbers = fuzz(chosen.minutes)
        print(f"{numbers['damaged_copies']} damaged copies of {numbers['files']} files")
        print(f"{len(numbers['failures'])} failures")
        print(write_result("fuzz_readers", numbers))


if __name__ == "__main__":
    main()
