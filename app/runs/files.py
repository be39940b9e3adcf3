"""What the page keeps in a run's folder, in `page/`: what was asked for, which process, how it ended, what it said."""

import json
import math
import os
import secrets
from pathlib import Path
from typing import Any

from experiments.reconstruction.questions import step_folder

FOLDER = "page"
ASKED, PROCESS, ENDED, LOCK, SAID, TURN = "asked.json", "process.json", "ended.json", "lock", "output.txt", "turn-"
PLAN, LOG, LIST = "plan.toml", "log.jsonl", "localizations.csv"
_TAIL = 1 << 16


def own(run: Path, name: str) -> Path:
    """Return the place of one of the page's files of a run."""
    return run / FOLDER / name


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_text(text)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a mapping; empty where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def number(value: object) -> float | None:
    """Take what a file says for a number; None where it is none, or no finite one.

    >>> number(3), number("3"), number(True), number(float("nan"))
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def changed_ns(path: Path) -> int:
    """Return when a file was changed last, in ns; 0 where there is none, also where it has gone this very moment."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def findings_of(run: Path) -> dict[str, dict[str, Any]]:
    """Read what the steps of a run found, by their names."""
    return {step: found for step, found in read_json(run / "findings.json").items() if isinstance(found, dict)}


def tail(path: Path, size: int = _TAIL) -> list[str]:
    """Read the last lines of a file that may be long, without one that was cut."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            first = max(length - size, 0)
            file.seek(first)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return lines[1:] if first else lines


def parts_of(run: Path) -> Path:
    """Name the folder in which a run that reads keeps its chunks."""
    return run / f".{step_folder('frames')}" / f"{LIST}.parts"


def chunks(run: Path) -> list[Path]:
    """List the chunks of frames that are done; none where the run does not read."""
    try:
        return sorted(path for path in parts_of(run).iterdir() if path.suffix == ".npz")
    except OSError:
        return []


def events(run: Path) -> list[dict[str, Any]]:
    """Read the last events of a run's log, without what a kill cut off."""
    found = []
    for line in tail(run / LOG):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found
