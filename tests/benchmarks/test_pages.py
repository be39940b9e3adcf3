"""What is published of the benchmarks: pages that say what was recorded, and scripts that a new one can join."""

import ast
import importlib
import json

import pytest

import pages
from measure.record import FOLDER, RESULTS, written
from pages import readme_page

SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "__main__")
PAGES = sorted(path.stem for path in (FOLDER / "pages").glob("*_page.py"))


@pytest.fixture(scope="module")
def benchmarks():
    """Every benchmark, imported and not run: all have a place, rows and main, or this fails."""
    return readme_page.benchmarks()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_was_recorded(name):
    """Written anew from the results, no page changes: `python benchmarks` was run after the last measurement."""
    page = importlib.import_module(f"pages.{name}")
    assert page.text() == page.PAGE.read_text()


def test_every_record_is_in_the_table_by_the_script_that_makes_it(benchmarks):
    """No result without rows, none claimed by two scripts."""
    by_name = [readme_page.records(name, script).values() for name, script in benchmarks.items()]
    made = [file for files in by_name for some in files for file in some]
    assert sorted(made) == sorted(RESULTS.glob("*.json"))


def test_every_script_that_the_page_names_exists():
    """Among them those that were not measured yet."""
    lines = [line for line in readme_page.text().splitlines() if "| `benchmarks/" in line]
    named = {line.rsplit("| `", 1)[1].split("`")[0] for line in lines}
    assert named == {f"benchmarks/{path.name}" for path in SCRIPTS}


def test_every_benchmark_runs_as_a_script_and_stands_alone(benchmarks):
    """`make bench` runs what says `__main__`; no benchmark imports another, so that each can go as it came."""
    assert set(benchmarks) == {path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text()}
    assert len({script.PLACE for script in benchmarks.values()}) == len(benchmarks)
    for path in SCRIPTS:
        text = path.read_text()
        assert 'if __name__ == "__main__":\n    ' in text and "main()" in text.split("__main__")[1], path.name
        imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
        assert not imported & set(benchmarks), path.name


def test_every_benchmark_says_what_it_measures(benchmarks, monkeypatch, capsys):
    """`--help` ends before anything is measured."""
    for name, script in benchmarks.items():
        monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
        with pytest.raises(SystemExit) as ended:
            script.main()
        assert ended.value.code == 0 and capsys.readouterr().out.startswith(f"usage: {name}.py"), name


def test_a_benchmark_is_one_file(tmp_path):
    """A script put into a folder has its rows on the page: before it was run, and after."""
    (tmp_path / "sum_speed.py").write_text(
        'PLACE = 5\n\n\ndef rows(numbers):\n    yield "sum", "<= 1 s", f"{numbers[\'seconds\']:.1f} s"\n\n\n'
        "def main():\n    raise AssertionError\n"
    )
    assert "| sum_speed | | not measured yet | `benchmarks/sum_speed.py` |" in readme_page.text(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "sum_speed.json").write_text(json.dumps({"numbers": {"seconds": 0.25}, "date": "today"}))
    assert "| sum | <= 1 s | 0.2 s | `benchmarks/sum_speed.py`, today |" in readme_page.text(tmp_path)


def test_what_is_no_benchmark_is_sent_away(tmp_path):
    """A module in the folder of the benchmarks that claims nothing is named, with what it lacks."""
    (tmp_path / "helper.py").write_text("def main():\n    pass\n")
    with pytest.raises(SystemExit, match=r"helper.py has no PLACE, rows: what is no benchmark belongs into a folder"):
        readme_page.text(tmp_path)


def test_a_page_without_its_markers_is_left_alone():
    with pytest.raises(SystemExit, match="the page has no place for a table: it wants <a> ... </a> once"):
        pages.between("<a> twice <a> </a>", "<a>", "</a>", "table")


@pytest.mark.parametrize("room", ["measure", "worlds", "pages", "shipping"])
def test_modules_in_rooms_import_without_being_run(room):
    """The clock and the record, what is measured on, the pages, how shipped data was made."""
    names = [path.stem for path in sorted((FOLDER / room).glob("*.py")) if path.stem != "__init__"]
    assert names
    for name in names:
        importlib.import_module(f"{room}.{name}")


def test_a_record_is_the_same_json_in_fewer_lines():
    """Short parts on one line, long lists of numbers filled, names of any kind as JSON has them."""
    record = {"a": [1.5e-7] * 40, "b": [{"long": "x" * 80, "none": None}, [True, 2]], 3: {}, "c": ["word " * 30, "-"]}
    text = written(record)
    assert json.loads(text) == json.loads(json.dumps(record))
    assert text.count("\n") < 15 and max(map(len, text.splitlines()[:5])) <= 121
