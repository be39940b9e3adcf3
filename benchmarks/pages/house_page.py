"""The import graph of the packages: read from the sources, drawn for CONTRIBUTING.md.

`python benchmarks house --figures` writes the table of rooms and docs/figures/house.png; `tests/test_layers.py` uses
the same graph.
"""

import ast
import textwrap
from pathlib import Path

from pages import between

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
PACKAGES = ("optics", "nets", "training", "localization", "experiments", "app")
START, END = "<!-- rooms: written by `python benchmarks house` -->", "<!-- end of rooms -->"
COLUMNS = (("optics",), ("nets", "training"), ("experiments", "app"), ("localization",))
BETWEEN = (
    ("nets", "optics"),
    ("training", "nets"),
    ("experiments", "training"),
    ("experiments", "localization"),
    ("app", "experiments"),
)
WIDTH_IN, MARGIN_IN, TOP_IN = 14.6, 0.2, 0.35
LINE_IN = 0.118  # a line of text needs so much
COLOURS = dict(zip(PACKAGES, ("#0072B2", "#009E73", "#D55E00", "#7F7F7F", "#CC79A7", "#E69F00"), strict=True))


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the packages, by its dotted name; a folder's `__init__` has the folder's name."""
    files = (path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def import_graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Map each module to the modules of the packages that it imports, inside functions too.

    `from optics.masks import slm` counts as an import of `optics.masks.slm`, `from optics.masks import load`
    (a name of the face) as one of `optics.masks`.

    >>> "optics.pupil" in import_graph()["optics.psf"]
    True
    """
    known = modules(root)
    return {name: _imports(ast.parse(path.read_text()), set(known)) - {name} for name, path in known.items()}


def _imports(tree: ast.Module, known: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & known


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of two or more modules that import one another, directly or through others (Tarjan 1972).

    >>> circles({"a": {"b"}, "b": {"a"}, "c": {"a"}})
    [['a', 'b']]
    """
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {tuple(sorted(other for other in reach[name] if name in reach[other])) for name in graph}
    return sorted(list(group) for group in groups if len(group) > 1)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        for other in graph.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def rooms(root: Path = ROOT) -> dict[str, list[str]]:
    """Map each folder of the packages ("optics/masks") to the names of its files."""
    found: dict[str, list[str]] = {}
    for path in modules(root).values():
        found.setdefault(str(path.parent.relative_to(root)), []).append(path.stem)
    return {room: sorted(name for name in names if name != "__init__") for room, names in found.items()}


def about(room: str, root: Path = ROOT) -> str:
    """The first sentence of a room's docstring."""
    text = ast.get_docstring(ast.parse((root / room / "__init__.py").read_text())) or ""
    return text.split("\n")[0]


def room_arrows(graph: dict[str, set[str]], root: Path = ROOT) -> set[tuple[str, str]]:
    """Pairs (room, room that it imports from) inside one package, without what others of them imply."""
    known = modules(root)
    room = {name: str(path.parent.relative_to(root)) for name, path in known.items()}
    faces = {name for name, path in known.items() if path.name == "__init__.py"}
    pairs = {
        (room[a], room[b])
        for a, others in graph.items()
        for b in others
        if a not in faces and room[a] != room[b] and room[a].split("/")[0] == room[b].split("/")[0]
    }
    pairs = {pair for pair in pairs if pair[::-1] not in pairs}  # a package's own files lie above and below its rooms
    below: dict[str, set[str]] = {}
    for a, b in pairs:
        below.setdefault(a, set()).add(b)
    implied = {(a, c) for a, b in pairs for c in _reachable(below, b)}
    return pairs - implied


def table(root: Path = ROOT) -> list[str]:
    """Lines of the Markdown table of rooms."""
    return ["| room | what it answers |", "|---|---|", *(f"| `{room}` | {about(room, root)} |" for room in rooms(root))]


def text() -> str:
    """CONTRIBUTING.md with today's table of rooms between its two marks."""
    return between(PAGE.read_text(), START, END, "\n".join(table()))


def figure(root: Path = ROOT):
    """A figure: packages as frames, rooms as boxes with their files, arrows to what a room imports from."""
    from experiments.report.plot_style import new_figure

    arrows, frames = room_arrows(import_graph(root), root), {}
    columns = [{package: _texts(package, arrows, root) for package in packages} for packages in COLUMNS]
    lines = [sum(n for rows in texts.values() for *_, n in rows) for texts in columns]
    # as tall as the fullest column wants it
    height = TOP_IN + max(LINE_IN * n + MARGIN_IN * len(texts) for n, texts in zip(lines, columns, strict=True))
    figure = new_figure(WIDTH_IN, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH_IN), ylim=(0, height))
    axes.axis("off")
    wide = (WIDTH_IN - MARGIN_IN) / len(COLUMNS)
    for column, (packages, texts) in enumerate(zip(COLUMNS, columns, strict=True)):
        unit = (height - TOP_IN - MARGIN_IN * len(packages)) / lines[column]
        top = height - TOP_IN
        for package in packages:
            tall = unit * sum(n for *_, n in texts[package])
            frames[package] = (MARGIN_IN + column * wide, top - tall, wide - 2 * MARGIN_IN, tall)
            boxes = _boxes(axes, COLOURS[package], frames[package], texts[package], unit)
            for above, below in sorted(arrows):
                if above in boxes and below in boxes:
                    _arrow(axes, boxes[above], boxes[below], COLOURS[package])
            top -= tall + MARGIN_IN
    for above, below in BETWEEN:
        _between(axes, frames[above], frames[below])
    note = (
        "An arrow points from a room to one that it imports from. "
        "Arrows that follow from others are left out; training uses localization too."
    )
    axes.text(WIDTH_IN / 2, height - 0.2, note, fontsize=7, color="#555555", ha="center")
    return figure


def _texts(package: str, arrows: set[tuple[str, str]], root: Path) -> list[tuple[str, list[str], list[str], float]]:
    """Rooms of a package, the highest floor first: name, what it answers, its files, lines of text in its box."""
    folders = rooms(root)
    inside = sorted((room for room in folders if room.split("/")[0] == package), key=lambda room: _floor(room, arrows))
    texts = []
    for room in reversed(inside):
        words = textwrap.wrap(about(room, root), 50)
        files = textwrap.wrap(", ".join(folders[room]), 60)
        texts.append((room, words, files, len(words) + len(files) + 3.0))
    return texts


def _floor(room: str, arrows: set[tuple[str, str]]) -> tuple[bool, int, str]:
    """Order of a room from below: the package itself first, then by how many rooms lie under it."""
    below = [b for a, b in arrows if a == room]
    return ("/" in room, 1 + max((_floor(b, arrows)[1] for b in below), default=-1), room)


def _boxes(axes, colour: str, frame, texts, unit: float) -> dict[str, tuple[float, float, float, float]]:
    from matplotlib.patches import FancyBboxPatch

    left, bottom, width, height = frame
    style = {"boxstyle": "round,pad=0.02,rounding_size=0.08"}
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, **style, fc="none", ec=colour, lw=1.2))
    boxes, top = {}, bottom + height
    for room, words, files, lines in texts:
        tall = unit * lines
        box = (left + 0.35, top - tall + 0.05, width - 0.42, tall - 0.1)
        axes.add_patch(FancyBboxPatch(box[:2], *box[2:], **style, fc=colour + "14", ec="none"))
        x, y = box[0] + 0.06, top - 0.08
        axes.text(x, y, room, fontsize=8, weight="bold", va="top", color=colour)
        axes.text(x, y - 0.17, "\n".join(words), fontsize=6.6, va="top", linespacing=1.15)
        y -= 0.2 + 0.108 * len(words)
        axes.text(x, y, "\n".join(files), fontsize=6, va="top", color="#555555", linespacing=1.2)
        boxes[room], top = box, top - tall
    return boxes


def _arrow(axes, above, below, colour: str) -> None:
    start, end = (above[0], above[1] + above[3] / 2), (below[0], below[1] + below[3] / 2)
    bend = 0.13 if start[1] > end[1] else -0.13
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 0.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", end, start, arrowprops=arrow | {"connectionstyle": f"arc3,rad={bend}"})


def _between(axes, above, below) -> None:
    """A thick arrow from package to package: sideways between columns, up or down within one."""
    if above[0] != below[0]:
        y = max(above[1], below[1]) + 0.5
        leftward = above[0] > below[0]
        start = (above[0] if leftward else above[0] + above[2], y)
        end = (below[0] + below[2] if leftward else below[0], y)
    else:
        x = above[0] + above[2] / 2
        start, end = (x, above[1] + above[3]), (x, below[1])
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "#222222", "lw": 2.2, "mutation_scale": 14})


def draw() -> None:
    """Write the picture."""
    from experiments.report.plot_style import save_png

    save_png(figure(), ROOT / "docs" / "figures" / "house.png")
