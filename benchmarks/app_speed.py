"""How quick the page is: its start, its memory, a slider over a movie of 20 GB, a list of ten million rows, a crowd.

    python benchmarks/app_speed.py [--rows 10000000] [--gb 20] [--minutes 2]

`colocus app` runs as a process of its own and is asked through HTTP on loopback, as a browser asks. The movie is a
sparse .npy file (its zeros take no place on the disk) with frames of 512 x 512; of a file that is all there and not in
memory, the disk's own time comes on top. The list is a CSV of Colocus with uniform positions, made ready to
be shown as the process of a run does at its end. The crowd is two visitors
that ask for random pages, frames, tiles and states while four runs wait or work; the runs' movies cannot be read, so
that the page is measured and not the reconstruction.
"""

import argparse
import http.client
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from measure.record import Rows, write_result

PLACE = 360  # of its rows in benchmarks/README.md
ROOT = Path(__file__).resolve().parents[1]
SIDE_PX = 512
_PREPARE = "import sys, pathlib, app.pictures.prepared as p; p.prepare(pathlib.Path(sys.argv[1]))"


def rows(numbers: dict) -> Rows:
    yield (
        f"first page after `colocus app`, seconds (load of the machine {numbers['load_average']:.0f} on two cores); "
        "memory of the server then, MB, without files that are mapped",
        "< 3 s; < 250 MB",
        f"{numbers['first_page_s']:.1f} s; {numbers['idle_mb']:.0f} MB",
    )
    slider = numbers["slider"]
    yield (
        f"a frame of a movie of {slider['gb']:.0f} GB, median and longest, ms; memory it added over "
        f"{slider['frames']} frames, MB",
        "< 200 ms, flat",
        f"{slider['median_ms']:.0f} and {slider['longest_ms']:.0f} ms; {slider['added_mb']:.0f} MB",
    )
    listed = numbers["list"]
    yield (
        f"first picture of a list of {listed['rows'] / 1e6:g} million rows, s; then a tile, median and longest, ms "
        f"(the run made it ready in {listed['preparing_s']:.0f} s)",
        "< 5 s; < 300 ms",
        f"{listed['first_s']:.1f} s; {listed['median_ms']:.0f} and {listed['longest_ms']:.0f} ms",
    )
    crowd = numbers["crowd"]
    yield (
        f"two visitors, four runs, {crowd['minutes']:g} min of random clicks: answers, faults, lost runs",
        "no fault, none lost",
        f"{crowd['answers']}, {crowd['faults']}, {crowd['lost']}",
    )


class Server:
    """`colocus app` over some folders, and what it takes."""

    def __init__(self, *folders: Path) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", "app", "--folder", *map(str, folders), "--port", "0"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        said = [self.process.stderr.readline() for _ in range(2)]
        found = re.search(r":(\d+)/", said[1])
        assert found is not None, said
        self.port = int(found[1])
        assert self.get("/")[0] == 200
        self.first_page_s = time.perf_counter() - began

    def get(self, place: str, **query) -> tuple[int, bytes, float]:
        """Ask for a page; returns its status, its content and the milliseconds."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("GET", place + (f"?{urlencode(query)}" if query else ""))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, 1e3 * (time.perf_counter() - began)

    def memory_mb(self) -> float:
        """Resident memory without pages of files, which the system takes back when it wants."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024  # pyright: ignore[reportOptionalSubscript]

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def slide(server: Server, folder: Path, gb: float) -> dict:
    """Ask for frames all over a sparse movie."""
    n = int(gb * 1e9 / (2 * SIDE_PX**2))
    movie = folder / "large.npy"
    np.lib.format.open_memmap(movie, "w+", np.uint16, (n, SIDE_PX, SIDE_PX)).flush()
    server.get("/frame", path=movie, k=0)
    before, times, rng = server.memory_mb(), [], random.Random(1)
    for _ in range(200):
        status, _, ms = server.get("/frame", path=movie, k=rng.randrange(n))
        assert status == 200
        times.append(ms)
    return {"gb": gb, "frames": len(times), "median_ms": statistics.median(times), "longest_ms": max(times),
            "added_mb": server.memory_mb() - before}  # fmt: skip


def zoom(server: Server, folder: Path, n_rows: int) -> dict:
    """Ask for the tiles of a long list, as zooming and shifting do."""
    from localization import make_localizations, write

    rng = np.random.default_rng(2)
    run = folder / "million"
    run.mkdir()
    x, y = rng.uniform(0, 40, (2, n_rows))
    sigma = np.full(n_rows, 0.01)
    locs = make_localizations(np.arange(n_rows) // 200, x, y, np.zeros(n_rows), sigma_x_um=sigma, sigma_y_um=sigma)
    place = run / "localizations.csv"
    write(place, locs)
    del locs
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _PREPARE, str(place)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
    )
    preparing_s = time.perf_counter() - began
    status, _, first_ms = server.get("/tile/0/0/0.png", path=place)
    assert status == 200
    times, pick = [], random.Random(3)
    for _ in range(200):
        level = pick.randrange(10)
        x_tile, y_tile = (pick.randrange(1 << level) for _ in range(2))
        status, _, ms = server.get(f"/tile/{level}/{x_tile}/{y_tile}.png", path=place)
        assert status == 200
        times.append(ms)
    return {"rows": n_rows, "preparing_s": preparing_s, "first_s": first_ms / 1e3,
            "median_ms": statistics.median(times), "longest_ms": max(times),
            "file_mb": place.stat().st_size / 1e6, "memory_mb": server.memory_mb()}  # fmt: skip


def crowd(server: Server, folder: Path, minutes: float) -> dict:
    """Let two visitors click at random while four runs are asked for, stopped and asked for again."""
    from app.demo import write_demo
    from app.runs.launch import ask, find_runs, make_run, stop
    from app.runs.state import read_run
    from app.site import Site

    site = Site.make([folder])
    movie = write_demo(site, frames=30)
    (folder / "broken.tif").write_bytes(b"no movie")
    runs = [make_run(site, folder / "broken.tif", {}) for _ in range(4)]
    for run in runs:
        ask(run)
    end, faults, answers = time.monotonic() + 60 * minutes, [], []

    def visitor(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < end:
            run = rng.choice(runs)
            kind = rng.choice(["start", "queue", "run", "look", "frame", "projection", "help", "stop", "ask"])
            asked: dict[str, tuple[str, dict]] = {
                "start": ("/", {}), "queue": ("/queue", {}), "help": ("/help", {}), "run": ("/run", {"path": run}),
                "look": ("/look", {"path": movie}), "frame": ("/frame", {"path": movie, "k": rng.randrange(30)}),
                "projection": ("/frame", {"path": movie, "kind": "mean"}),
            }  # fmt: skip
            if kind in ("stop", "ask"):
                (stop if kind == "stop" else ask)(run)
                continue
            status, _, ms = server.get(asked[kind][0], **asked[kind][1])
            answers.append(ms)
            if status != 200:
                faults.append((kind, status))

    visitors = [threading.Thread(target=visitor, args=(seed,)) for seed in (4, 5)]
    for one in visitors:
        one.start()
    for one in visitors:
        one.join()
    patience = time.monotonic() + 300
    for again in (False, True):  # what was asked to stop has to have stopped before it can be asked for once more
        for run in runs if again else ():
            ask(run)
        while any(read_run(run).is_active for run in runs) and time.monotonic() < patience:
            time.sleep(0.5)
    lost = [run for run in runs if run not in find_runs(site) or read_run(run).state != "failed"]
    return {"minutes": minutes, "answers": len(answers), "median_ms": statistics.median(answers),
            "longest_ms": max(answers), "faults": len(faults), "lost": len(lost)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--gb", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=2.0)
    arguments = parser.parse_args()
    from importlib.metadata import version

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        starts = []
        for _ in range(3):
            server = Server(folder)
            starts.append((server.first_page_s, server.memory_mb()))
            server.close()
        server = Server(folder)
        try:
            numbers = {
                "first_page_s": statistics.median(first for first, _ in starts),
                "idle_mb": statistics.median(memory for _, memory in starts),
                "slider": slide(server, folder, arguments.gb),
                "crowd": crowd(server, folder, arguments.minutes),
                "list": zoom(server, folder, arguments.rows),
                "load_average": os.getloadavg()[0],
            }
        finally:
            server.close()
    for claim, target, measured in rows(numbers):
        print(f"{claim}\n    {target}: {measured}")
    print(write_result("app_speed", numbers, versions={name: version(name) for name in ("nicegui", "starlette")}))


if __name__ == "__main__":
    main()
