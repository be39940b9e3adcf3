"""One row of a failed fit in a good list of a million: what it costs every command that works on lists.

    python benchmarks/stray_row.py [--rows N] [--only COMMAND ...]

The list: threads in 25 x 25 um and 1 um of depth over 10,000 frames, drifting by 300 nm, as in benchmarks/drift.py. The
row is added 5 mm aside in x and 3 mm in y, 1 cm deep, or in frame 10^9. Each command is a process of its own, as a user
runs it, on .colocus.h5 files, whose reading takes least beside the work; for `evaluate` the list is its own truth too.
Times are processor time, which other work on the machine hardly changes, memory the largest resident set. About five
minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from localization import Localizations, concatenate, make_localizations, write
from measure.record import Rows, write_result
from worlds.threads import simulate

PLACE = 215  # of its rows in benchmarks/README.md

ROWS, FRAMES, LIMIT_S = 1_000_000, 10_000, 170
STRAY = {"x, y": (5000, 5000.0, -3000.0, 0.5), "z": (5000, 12.0, 12.0, 1e4), "frame": (10**9, 12.0, 12.0, 0.5)}
# LIST is the list, OUT a name without an ending
COMMANDS = {
    "drift aim": "drift LIST --out OUT.colocus.h5",
    "drift rcc": "drift LIST --out OUT.colocus.h5 --method rcc",
    "render": "render LIST --out OUT.tif",
    "render gaussian": "render LIST --out OUT.tif --mode gaussian --sigma 12",
    "resolution": "resolution LIST --out OUT --repeats 1",
    "link": "link LIST --out OUT.colocus.h5 --radius 0.03 --gap 1",
    "track": "track LIST --out OUT.csv --max-step 0.02",
    "filter density": "filter LIST --out OUT.colocus.h5 density_radius_um=0.05 neighbours_min=3",
    "evaluate": "evaluate LIST --truth LIST --gate 50,100",
    "convert": "convert LIST --out OUT.hdf5 --pixel 100",
}


def make(folder: Path, rows: int) -> None:
    """Write the good list, and one with each stray row."""
    good, _ = simulate(rows, FRAMES, 25.0, 60, 0.1, 0.3, seed=0)
    tables: dict[str, Localizations] = {"good": good}
    for name, values in STRAY.items():
        tables[name] = concatenate([good, make_localizations(*([value] for value in values))])
    for name, table in tables.items():
        write(path_of(folder, name), table)


def path_of(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(', ', '')}.colocus.h5"


def run(command: str, path: Path, out: Path) -> dict:
    """Run a command of `colocus`: processor and wall seconds, largest resident set, and whether it names the row."""
    words = [word.replace("LIST", str(path)).replace("OUT", str(out)) for word in command.split()]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", *words], stdout=said, stderr=subprocess.STDOUT
        )
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.perf_counter() - started > LIMIT_S:
                process.kill()
            time.sleep(0.02)
        said.seek(0)
        text = said.read().decode()
    usage = ended[2]
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_s": round(time.perf_counter() - started, 2),
        "peak_gb": round(usage.ru_maxrss / 1e6, 3),  # ru_maxrss counts kilobytes
        "status": os.waitstatus_to_exitcode(ended[1]),
        "row_named": "far from all others" in text,
        "last_line": text.strip().splitlines()[-1].replace(str(path.parent), ".") if text.strip() else "",
    }


def compare(numbers: dict, key: str) -> tuple[float, str]:
    """Find the largest ratio of a stray row's cost to the good list's, and where it is."""
    return max(
        (case[where][key] / case["good"][key], f"{command}, {where}")
        for command, case in numbers["commands"].items()
        for where in STRAY
        if where in case and case[where]["status"] == 0
    )


def rows(numbers: dict) -> Rows:
    parts = [f"{ratio:.2f} ({where})" for ratio, where in (compare(numbers, key) for key in ("cpu_s", "peak_gb"))]
    cases = [case[where] for case in numbers["commands"].values() for where in STRAY if where in case]
    refused = [case["wall_s"] for case in cases if case["status"] != 0]
    yield (
        f"one stray row in a list of {numbers['rows']:,}, {len(numbers['commands'])} commands: worst time and memory "
        "over those of the good list; refused",
        "< 2; or within 2 s",
        f"{', '.join(parts)}; " + (f"{len(refused)} within {max(refused):.1f} s" if refused else "none"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of the list ({ROWS})")
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), help="of the commands (all)")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make(options.make, options.rows)
        return
    numbers: dict = {"rows": options.rows, "frames": FRAMES, "limit_s": LIMIT_S, "commands": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in a process of its own: Linux counts to a process the memory of the one that started it
        subprocess.run([sys.executable, __file__, "--make", name, "--rows", str(options.rows)], check=True)
        paths = {where: path_of(folder, where) for where in ("good", *STRAY)}
        for command in options.only or COMMANDS:
            case = {where: run(COMMANDS[command], path, folder / "out") for where, path in paths.items()}
            numbers["commands"][command] = case
            print(command, {where: (c["cpu_s"], c["peak_gb"], c["status"]) for where, c in case.items()}, flush=True)
    numbers["worst_time_ratio"], numbers["worst_memory_ratio"] = (
        round(compare(numbers, key)[0], 3) for key in ("cpu_s", "peak_gb")
    )
    if not options.only:
        print(write_result("stray_row", numbers))


if __name__ == "__main__":
    main()
