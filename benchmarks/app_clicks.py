"""Two people who click at random on every page of `colocus app` while four jobs work or wait: what breaks.

    python benchmarks/app_clicks.py [--minutes 30] [--chromium FILE] [--dry]

Two Chromiums without a window open pages, follow links, press buttons, move sliders and type numbers, sensible or not.
Two jobs are reconstructions of the small simulated movie, one learns a mask (preset tiny), one has a movie that cannot
be read. Buttons that begin further jobs are left alone, Stop and Resume are not. A fault is an error in a page's
script, a page that answers with an error or shows a traceback, in a job's log too, one that says that it has lost the
server, or an error in the server's own log; a page is frozen where it does not answer for 30 s. In the end every job is
asked for once more: it is lost where it is no longer there or does not come to an end.
"""

import argparse
import collections
import os
import random
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

from measure.record import Rows, write_result
from measure.server import Server

PLACE = 365  # of its rows in benchmarks/README.md
FROZEN_S = 30.0
PAGES = ("/", "/microscope", "/beads", "/masks", "/queue", "/help")
BEGINS = ("ONE CLICK", "Begin", "Retrieve", "Queue them all", "Make slm.png", "Try it on simulated frames")
THINGS = "button:visible, a:visible, .q-toggle:visible, .q-checkbox:visible, .q-slider:visible, .q-select:visible"
# what the browser says of a page that is just being left, which is no fault
UNDER_WAY = ("interrupted by another navigation", "context was destroyed", "ERR_ABORTED", "navigating", "detached",
             "Download is starting", "Failed to fetch")  # fmt: skip
VIEWS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1280, "light"), (900, "dark"))
T = TypeVar("T")
LOST_JS = "() => { const p = document.getElementById('popup'); return !!p && p.ariaHidden === 'false'; }"


def rows(numbers: dict) -> Rows:
    yield (
        f"two people clicking at random in Chromium for {numbers['minutes']:.0f} min, four jobs "
        f"(load of the machine {numbers['load_average']:.0f} on two cores): actions; faults, frozen pages, lost jobs",
        "30 min; 0, 0, 0",
        f"{numbers['actions']}; {numbers['faults']}, {numbers['frozen']}, {numbers['lost']}",
    )
    yield (
        "the server's answer to such a page, median and longest, ms",
        "reported",
        f"{numbers['answer_ms']:.0f} and {numbers['longest_ms']:.0f} ms",
    )


class Visitor(threading.Thread):
    """One person with a browser."""

    def __init__(self, address: str, chromium: str, places: list[str], end: float, seed: int) -> None:
        super().__init__()
        self.address, self.chromium, self.places, self.end = address, chromium, places, end
        self.rng, self.number = random.Random(seed), seed
        self.actions, self.frozen = 0, 0
        self.faults: collections.Counter[str] = collections.Counter()
        self.answers_ms: list[float] = []

    def run(self) -> None:
        """Click until the time is over."""
        from playwright.sync_api import sync_playwright

        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=self.chromium, args=["--no-sandbox"])
            width_px, theme = VIEWS[self.number % len(VIEWS)]
            context = browser.new_context(viewport={"width": width_px, "height": 900}, color_scheme=theme)
            page = context.new_page()
            page.set_default_timeout(1000 * FROZEN_S)
            page.on("pageerror", lambda error: self.faults.update([f"script: {str(error)[:120]}"]))
            page.on("dialog", lambda dialog: dialog.dismiss())
            context.on("page", lambda other: other.close())  # new tabs
            self.visit(page, "/")
            while time.monotonic() < self.end:
                try:
                    patiently(page, lambda: self.act(page))
                    patiently(page, lambda: self.look(page))
                except Exception as error:  # a page that does not answer
                    self.frozen += 1
                    self.faults.update([f"frozen: {str(error).splitlines()[0][:160]}"])
                    self.visit(page, "/")
            browser.close()

    def visit(self, page: Any, place: str) -> None:
        """Open a page."""
        answer = patiently(page, lambda: page.goto(self.address + place))
        if answer is not None and answer.status >= 400 and not place.startswith("/result"):  # before there is one
            self.faults.update([f"{answer.status} {place}: {' '.join(answer.text().split())[:200]}"])

    def act(self, page: Any) -> None:
        """Do one thing at random."""
        self.actions += 1
        kind = self.rng.random()
        if kind < 0.15 or not page.url.startswith(self.address):
            self.visit(page, self.rng.choice(self.places))
        elif kind < 0.35:
            fields = page.locator("input[type=number]:visible")
            if n := fields.count():
                value = self.rng.choice(["", "0", "-1", "1.4", "0.67", "12", "5000", "1e9"])
                fields.nth(self.rng.randrange(n)).fill(value)
        elif kind < 0.42:
            page.keyboard.press(self.rng.choice(["Tab", "Enter", "Escape", "ArrowRight", "ArrowDown"]))
        else:
            things = page.locator(THINGS)
            n = things.count()
            if n:
                click(things.nth(self.rng.randrange(n)))

    def look(self, page: Any) -> None:
        """See whether the page still lives."""
        if not page.url.startswith(self.address):
            self.visit(page, "/")
        began = time.perf_counter()
        status = page.evaluate("() => fetch('/help').then(answer => answer.status)")
        self.answers_ms.append(1e3 * (time.perf_counter() - began))
        if status != 200:
            self.faults.update([f"{status} /help"])
        if page.evaluate(LOST_JS):
            page.wait_for_timeout(5000)
            if page.evaluate(LOST_JS):
                self.faults.update(["lost the server"])
        text = page.evaluate("() => document.body.innerText.slice(0, 4000)")
        if found := re.search(r"Internal Server Error|Traceback", text):
            said = " ".join(text[found.start() :].split())
            self.faults.update([f"error on {page.url[len(self.address) :][:80]}: {said[:60]} ... {said[-200:]}"])


def patiently(page: Any, work: Callable[[], T]) -> T:
    """Do something again where a click before has just led to another page."""
    from playwright.sync_api import Error

    for patience in range(4, -1, -1):
        try:
            return work()
        except Error as error:
            if not patience or not any(words in str(error) for words in UNDER_WAY):
                raise
            page.wait_for_timeout(500)
    raise AssertionError


def click(thing: Any) -> None:
    """Click on what begins no job; what moved away, is covered or disabled meanwhile is no fault."""
    from playwright.sync_api import Error

    try:
        if any(text in (thing.text_content(timeout=2000) or "") for text in BEGINS):
            return
        thing.click(timeout=2000, no_wait_after=True)
    except Error:
        return


def measure(minutes: float, chromium: str) -> dict:
    """Let both click, then see what became of the jobs."""
    from app.demo import write_demo
    from app.experiments import make_experiment
    from app.runs.launch import ask, find_runs, make_run, stop
    from app.runs.state import read_run
    from app.scopes import START, save_scope
    from app.site import Site

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "data"
        folder.mkdir()
        site = Site.make([folder])
        movie = write_demo(site, frames=24)
        (folder / "broken.tif").write_bytes(b"no movie")
        save_scope(site, "mine", START)
        jobs = [
            make_run(site, movie, {}), make_run(site, movie, {"rows": "8:40", "columns": "8:40"}),
            make_experiment(site, {"job": "codesign", "experiment": "tiny"}),
            make_run(site, folder / "broken.tif", {}),
        ]  # fmt: skip
        for job in jobs:
            ask(job)
        places = [*PAGES, f"/look?path={movie}", f"/beads?movie={movie}", f"/microscope?movie={movie}"]
        places += [f"/masks?path={jobs[2]}", *(f"/run?path={job}" for job in (jobs[0], jobs[1], jobs[3]))]
        places += [f"/result?path={jobs[0]}", f"/result?path={jobs[1]}"]
        server = Server(folder)
        try:
            end = time.monotonic() + 60 * minutes
            visitors = [Visitor(f"http://127.0.0.1:{server.port}", chromium, places, end, seed) for seed in (1, 2)]
            began = time.monotonic()
            for visitor in visitors:
                visitor.start()
            for visitor in visitors:
                visitor.join()
            took = (time.monotonic() - began) / 60
            for job in jobs:  # stopped, and asked for once more
                stop(job)
            patience = time.monotonic() + 480
            states = finish(jobs, patience, ask, read_run)
            found = find_runs(site)
            errors = collections.Counter(server.errors())
        finally:
            for job in jobs:
                stop(job)
            server.close()
        lost = [job for job in jobs if job not in found or states[job] not in ("done", "failed")]
        answers = [ms for visitor in visitors for ms in visitor.answers_ms]
        faults = sum((visitor.faults for visitor in visitors), errors)
        return {
            "minutes": took, "actions": sum(visitor.actions for visitor in visitors),
            "frozen": sum(visitor.frozen for visitor in visitors), "faults": sum(faults.values()),
            "what": dict(faults), "lost": len(lost), "states": [states[job] for job in jobs],
            "answer_ms": statistics.median(answers), "longest_ms": max(answers),
            "load_average": os.getloadavg()[0],
        }  # fmt: skip


def finish(jobs: list[Path], patience: float, ask: Any, read_run: Any) -> dict[Path, str]:
    """Ask for every job once more, and wait until all have come to an end; returns their states."""
    while any(read_run(job).is_active for job in jobs) and time.monotonic() < patience:
        time.sleep(0.5)
    for job in jobs:
        if read_run(job).state != "done":
            ask(job)
    while any(read_run(job).is_active for job in jobs) and time.monotonic() < patience:
        time.sleep(0.5)
    return {job: read_run(job).state for job in jobs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--dry", action="store_true", help="print and record nothing")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "")
    arguments = parser.parse_args()
    numbers = measure(arguments.minutes, arguments.chromium)
    for claim, target, measured in rows(numbers):
        print(f"{claim}\n    {target}: {measured}")
    print(*numbers["what"].items(), numbers["states"], sep="\n")
    if not arguments.dry:
        print(write_result("app_clicks", numbers, versions={name: version(name) for name in ("nicegui", "starlette")}))


if __name__ == "__main__":
    main()
