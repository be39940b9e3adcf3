"""benchmarks/README.md: what every script says of the numbers that it recorded; no number in it is typed by hand."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

from measure.record import FOLDER

PAGE = FOLDER / "README.md"

HEAD = """# Benchmarks

One script per claim; each writes `results/NAME.json` with its numbers, command, versions and hardware, and this
page is written from those files by `python benchmarks`. Peers run in turn with ours in one run, from a
checkout of theirs outside this repository (`--peer-folder`, `--torch-python`); without one a script measures ours
alone. Times are medians of several runs. A record says how busy the machine was; a ratio from a busy machine is
only as good as that.

| claim | target | measured | script, date |
|---|---|---|---|
"""
FOOT = """
The gates of the optics are tests too: `tests/optics/test_reference.py`, `test_gradients.py`, `test_pupil.py`, \
`test_psf.py`, `test_fisher.py`.
"""


def load(script: Path) -> ModuleType:
    """Import a benchmark without running it; `SystemExit` where it lacks what a benchmark has.

    That is `PLACE` (where its rows stand on the page: lower is higher up), `rows(numbers)` and `main()`, and, where it
    records under other names than its own, `RECORDS`: their names, with * for any.
    """
    spec = importlib.util.spec_from_file_location(f"benchmarks.{script.stem}", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lacking = [name for name in ("PLACE", "rows", "main") if not hasattr(module, name)]
    if lacking:
        raise SystemExit(f"{script} has no {', '.join(lacking)}: what is no benchmark belongs into a folder")
    return module


def benchmarks(folder: Path = FOLDER) -> dict[str, ModuleType]:
    """Import every script that lies directly in the folder: name and module, in their order on the page."""
    scripts = {path.stem: load(path) for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")}
    return dict(sorted(scripts.items(), key=lambda item: item[1].PLACE))


def records(name: str, script: ModuleType, folder: Path = FOLDER) -> dict[str, list[Path]]:
    """Find the files that a script recorded, for each name that it may record under."""
    return {
        record: sorted((folder / "results").glob(f"{record}.json")) for record in getattr(script, "RECORDS", (name,))
    }


def text(folder: Path = FOLDER) -> str:
    """Write out the page: the rows of every script in `folder` for every file that it recorded."""
    lines = []
    for name, script in benchmarks(folder).items():
        for record, files in records(name, script, folder).items():
            if not files:
                lines.append(f"| {record} | | not measured yet | `benchmarks/{name}.py` |")
            for file in files:
                found = json.loads(file.read_text())
                for claim, target, measured in script.rows(found["numbers"]):
                    lines.append(f"| {claim} | {target} | {measured} | `benchmarks/{name}.py`, {found['date']} |")
    return HEAD + "\n".join(lines) + "\n" + FOOT
