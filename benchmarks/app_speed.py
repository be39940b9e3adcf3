"""How quick the page is: its start, its memory, a slider over a movie of 20 GB, a list of ten million rows, a form.

    python benchmarks/app_speed.py [--rows 10000000] [--gb 20]

`colocus app` runs as a process of its own and is asked through HTTP on loopback, as a browser asks. The movie is a
sparse .npy file (its zeros take no place on the disk) with frames of 512 x 512; of a file that is all there and not in
memory, the disk's own time comes on top. The list is a CSV of Colocus with uniform positions, made ready to
be shown as the process of a run does at its end. The form is that of the microscope: its numbers are changed at random,
and the kept process that draws is asked as the page asks it.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from measure.record import Rows, write_result
from measure.server import Server

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
    drawn = numbers["form"]
    yield (
        "PSF and precision after a change in the form of the microscope, median and longest of "
        f"{drawn['changes']}, ms (the first, with the optics loaded and compiled: {drawn['first_s']:.0f} s)",
        "< 1000 ms",
        f"{drawn['median_ms']:.0f} and {drawn['longest_ms']:.0f} ms",
    )


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


def form(changes: int = 30) -> dict:
    """Ask the kept process as the page of the microscope does: first, then after each change of a number."""
    from app.drawing.child import Child
    from app.scopes import START, bounds_settings
    from app.site import Site

    async def scene() -> tuple[float, list[float]]:
        child, site, times = Child(), Site.make([ROOT]), []
        rng = random.Random(6)
        for number in range(changes + 1):
            values = dict(START)
            if number:
                values |= {"na": rng.uniform(1.2, 1.49), "wavelength": rng.uniform(0.55, 0.7),
                           "depth": rng.uniform(0, 2), "mask": rng.choice(["flat", "astigmatism", "tetrapod"]),
                           "light": rng.uniform(1000, 9000)}  # fmt: skip
            began = time.perf_counter()
            answer = await child.ask({"kind": "bounds", "settings": bounds_settings(site, values)}, "form")
            assert answer is not None and len(answer["z_nm"]) == 13
            times.append(time.perf_counter() - began)
        await child.close()
        return times[0], times[1:]

    first_s, rest = asyncio.run(scene())
    return {"changes": len(rest), "first_s": first_s, "median_ms": 1e3 * statistics.median(rest),
            "longest_ms": 1e3 * max(rest)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--gb", type=float, default=20.0)
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
                "form": form(),
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
