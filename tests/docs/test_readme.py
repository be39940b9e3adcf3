"""The Python blocks of README.md run, in their order, as one program; its commands are real ones, and some are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import cli

ROOT = Path(__file__).resolve().parents[2]
# a block after `<!-- needs NAME/FILE -->` runs where that file of the shared data is at hand
BLOCK = re.compile(r"(?:<!-- needs (?P<needs>\S+) -->\n+)?```python\n(?P<code>.*?)```", re.DOTALL)

COMMANDS = re.compile(r"(?P<runs><!-- runs after the blocks above -->\n)?```sh\n(?P<lines>.*?)```", re.DOTALL)


def commands(*, that_run: bool) -> list[list[str]]:
    """Arguments of every `colocus` line in the shell blocks, or of those that are to be run."""
    found = [shown for shown in COMMANDS.finditer((ROOT / "README.md").read_text()) if shown["runs"] or not that_run]
    lines = [shlex.split(line, comments=True) for shown in found for line in shown["lines"].splitlines()]
    return [words[1:] for words in lines if words[:1] == ["colocus"]]


def run(code: str, folder: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "0"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]


def blocks() -> list[tuple[str | None, str]]:
    return [(found["needs"], found["code"]) for found in BLOCK.finditer((ROOT / "README.md").read_text())]


@pytest.mark.slow
def test_readme_examples_run(tmp_path):
    """All blocks that need nothing but the package, then the commands that go on with the files they wrote."""
    code = [code for needs, code in blocks() if needs is None]
    assert len(code) >= 4
    argvs = commands(that_run=True)
    assert {argv[0] for argv in argvs} == {"localize", "evaluate", "filter", "link", "render", "convert"}
    then = f"from experiments import cli\nfor argv in {argvs!r}:\n    assert cli.main(argv) == 0, argv\n"
    run("\n".join([*code, then]), tmp_path)
    assert (tmp_path / "picture.png").stat().st_size > 1000
    assert (tmp_path / "molecules.hdf5").exists()


@pytest.mark.parametrize("argv", commands(that_run=False), ids=" ".join)
def test_every_command_in_the_readme_is_one_that_exists(argv):
    """Command, options and their kinds are taken by the program's own parser."""
    assert argv[0] in cli.COMMANDS
    if "--help" not in argv:
        cli.parse(argv)


@pytest.mark.parametrize("needs, code", [block for block in blocks() if block[0]])
def test_readme_examples_with_published_data_run(needs, code, tmp_path, data_folder):
    """A block that reads a published file, after the first block, which builds the microscope."""
    name, file = needs.split("/")
    shutil.copy(data_folder(name) / file, tmp_path)
    run(blocks()[0][1] + "\n" + code, tmp_path)
