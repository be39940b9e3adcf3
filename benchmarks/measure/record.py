"""One file per claim: the numbers, and what is needed to judge and repeat them."""

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1]
RESULTS = FOLDER / "results"
PACKAGES = ("jax", "jaxlib", "flax", "numpy")
WIDTH = 120  # characters in a line of a record
Rows = Iterator[tuple[str, str, str]]  # claim, target, measured: lines of benchmarks/README.md, written by a script


def write_result(name: str, numbers: dict, *, versions: dict | None = None, folder: Path = RESULTS) -> Path:
    """Write `results/<name>.json`: numbers, command, date, commit, versions, hardware.

    `numbers` is anything that JSON can hold, with units in its keys; `versions` adds a peer's. The file
    appears whole or not at all.
    """
    record = {
        "name": name,
        "numbers": numbers,
        "command": command(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in PACKAGES},
            **(versions or {}),
        },
        "hardware": hardware(),
    }
    from optics.whole_file import write_text  # here, as jax in `hardware`

    path = folder / f"{name}.json"
    write_text(path, written(record) + "\n")
    return path


def written(value: Any, indent: int = 0) -> str:
    """JSON that is read and compared by people: on one line what fits there, else a line for each part."""
    short = json.dumps(value)
    if not isinstance(value, (dict, list, tuple)) or indent + len(short) <= WIDTH:
        return short
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    if isinstance(value, dict):
        parts = [f"{json.dumps({name: 0})[1:-4]}: {written(part, indent + 1)}," for name, part in value.items()]
    elif all(isinstance(part, (int, float)) for part in value):
        parts = [line for line in textwrap.wrap(short[1:-1] + ",", WIDTH - indent, break_on_hyphens=False)]
    else:
        parts = [f"{written(part, indent + 1)}," for part in value]
    margin = "\n" + " " * indent
    return opening + "".join(f"{margin} {part}" for part in parts)[:-1] + margin + closing


def command() -> str:
    """The command that is running, without this machine's paths."""
    script = Path(sys.argv[0]).resolve()
    root = FOLDER.resolve().parent
    shown = script.relative_to(root) if script.is_relative_to(root) else script.name
    arguments = [a if not os.path.isabs(a) else Path(a).name for a in sys.argv[1:]]
    return " ".join(["python", str(shown), *arguments])


def commit() -> str:
    """The commit of the working tree, marked where files differ from it; "none" outside a repository."""
    head = _output("git", "-C", str(FOLDER), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(FOLDER), "status", "--porcelain", "--untracked-files=no")
    return f"{head} (changed)" if head and changed else head or "none"


def hardware() -> dict:
    """Processor, cores, memory and load, and the accelerator that JAX sees if there is one."""
    import jax  # here, so that a script may set JAX's environment after importing this module

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    found = {"cpu": cpu, "cores": os.cpu_count(), "load_average": [round(x, 2) for x in os.getloadavg()]}
    device = jax.devices()[0]
    return found if device.platform == "cpu" else {**found, "device": device.device_kind}


def _output(*arguments: str) -> str:
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else ""
