"""Pages that are made of results: each module `NAME_page` has `PAGE`, a file, and `text()`, what the file should hold.

`python benchmarks` writes them all. Some pages have pictures too: `draw()`.
"""

import json
from pathlib import Path
from types import ModuleType

from measure.record import FOLDER, RESULTS


def recorded(name: str) -> dict | None:
    """Read the numbers of results/NAME.json; None where nothing was measured yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["numbers"] if path.exists() else None


def between(text: str, begin: str, end: str, inside: str) -> str:
    """Put `inside` between two markers that stand in the text once each; `SystemExit` where they do not."""
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"the page has no place for a table: it wants {begin} ... {end} once")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{inside}\n\n{end}{rest.split(end)[1]}"


def write(page: ModuleType) -> None:
    """Write the file of one page, whole or not at all."""
    from optics.whole_file import write_text  # here, so that a script may set JAX's environment after importing this

    path: Path = page.PAGE
    write_text(path, page.text())
    print(path.relative_to(FOLDER.parent))
