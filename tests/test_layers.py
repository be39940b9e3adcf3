"""The house keeps its own rules: directions of import, size and name of files, silence of libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pages import house_page as house

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("optics", "nets", "training", "localization")
FOLDERS = (*LIBRARIES, "experiments", "app", "tests", "benchmarks", "docs")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
LONGEST = 400
MOST_FILES = 20
OURS = (*house.PACKAGES, "made", "worlds", "pages")
# names that say nothing about what is inside
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def test_import_contracts_of_pyproject_hold():
    """Layers, and who may know flax, orbax, mask files and the terminal: [tool.importlinter]."""
    pytest.importorskip("importlinter")
    check = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    result = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_source_file_is_longer_than_400_lines():
    """A longer file is split by topic."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def test_no_room_holds_more_than_20_files():
    """A fuller folder answers more than one question."""
    full = {room: len(files) + 1 for room, files in house.rooms().items() if len(files) + 1 > MOST_FILES}
    assert full == {}


def test_no_two_test_files_have_one_name():
    """Pytest imports them by their name alone: a second one of a name stops the whole suite before it begins."""
    names = [path.name for path in SOURCES if path.is_relative_to(ROOT / "tests") and path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_no_circle_of_imports():
    """No file imports, directly or through others, a file that imports it; imports inside functions count."""
    assert house.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert house.circles(house.import_graph()) == []


def test_no_private_name_crosses_a_file():
    """A name with an underscore belongs to its file: neither imported from it nor reached through the module."""
    crossing, known = [], house.modules()
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        modules = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in house.PACKAGES
            for alias in node.names
            if f"{node.module}.{alias.name}" in known
        }
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                names = [node.attr]
            private = [name for name in names if name.startswith("_") and not name.endswith("__")]
            crossing += [f"{path.relative_to(ROOT)}:{node.lineno} {name}" for name in private]
    assert crossing == []


def test_contributing_shows_todays_rooms():
    """The table of rooms is the docstrings' (`python benchmarks house` writes it)."""
    assert (ROOT / "CONTRIBUTING.md").read_text() == house.text()
    assert all(house.about(room) for room in house.rooms())


def test_no_file_or_folder_has_a_name_that_says_nothing():
    """What would be called utils belongs to a topic, or nowhere."""
    parts = {part for path in SOURCES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert parts & EMPTY_NAMES == set()


def test_libraries_do_not_print():
    """They return values or report events; only the command line talks."""
    talking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in LIBRARIES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert talking == []


def test_lock_names_no_host_and_leaves_out_the_broken_jax():
    """The lock works with any package index, and jax 0.10.2 (tests/test_backend.py) stays out."""
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "\njax==" in lock
    assert "\njax==0.10.2" not in lock
