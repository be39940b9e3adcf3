"""Jobs beside reconstructions, each in a folder of `runs`: masks learned or compared, a PSF retrieved, an SLM's files.

`page/job.json` of the folder says what kind it is, which arguments `colocus` is started with, and which file there
says that it is done. All else (queue, process, Stop, Resume) is as for a reconstruction.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.runs.files import FOLDER, own, read_json, write_whole
from app.site import RUNS, Refused, Site

JOB = "job.json"
# the page that shows a kind, and the file that is there when it is done
KINDS = {
    "codesign": ("/masks", "metrics.json"), "compare": ("/masks", "metrics.json"),
    "fabricate": ("/masks", "config.json"), "retrieve": ("/beads", "psf/metrics.json"),
}  # fmt: skip


def job_of(folder: Path) -> dict[str, Any]:
    """Read what a job's folder says of it; empty for what is no job."""
    found = read_json(own(folder, JOB))
    kind, argv = found.get("kind"), found.get("argv")
    if not isinstance(kind, str) or kind not in KINDS or not isinstance(argv, list) or argv[:1] != [kind]:
        return {}
    return found if all(isinstance(word, str) for word in argv) else {}


def page_of(folder: Path) -> str:
    """Return the address of the page that shows a run or a job.

    >>> page_of(Path("no-such-folder"))
    '/run'
    """
    return KINDS[job["kind"]][0] if (job := job_of(folder)) else "/run"


def make_job(site: Site, name: str, kind: str, argv: Callable[[Path], Sequence[str | Path]], **about: Any) -> Path:
    """Make the folder of a job in `runs`, with arguments that may name the folder. Raises `Refused` in one line."""
    folder = new_folder(site, re.sub(r"[^\w ()+-]", "_", name).strip(" _")[:80] or kind)
    words = [kind, *map(str, argv(folder))]
    write_whole(own(folder, JOB), json.dumps({"kind": kind, "argv": words, **about}))
    return folder


def new_folder(site: Site, stem: str) -> Path:
    """Make a folder in `runs` for a run or a job, with a number where the name is taken. Raises `Refused`."""
    parent = site.writable(RUNS)
    for number in range(1, 100_000):
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        (folder / FOLDER).mkdir()
        return folder
    raise Refused(f"{parent}: too many runs of this name; remove some", 400)


def arms(folder: Path) -> list[tuple[str, int]]:
    """List the arms and seeds of an experiment, from its config.json; none before it has begun."""
    found = read_json(folder / "config.json")
    try:
        return [(str(arm["label"]), int(seed)) for seed in found["seeds"] for arm in found["arms"]]
    except (KeyError, TypeError, ValueError):
        return []


def arm_log(folder: Path, arm: str, seed: int) -> list[dict[str, Any]]:
    """Read all steps of an arm's training; a line that a kill cut off is left out."""
    return steps_of(folder / "arms" / f"{arm}-seed{seed}" / "log.jsonl")


def steps_of(log: Path) -> list[dict[str, Any]]:
    """Read the steps of a training from its log; none where there is no log."""
    found = []
    try:
        lines = log.read_text().splitlines()
    except (OSError, ValueError):
        return []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            found.append(record)
    return found
