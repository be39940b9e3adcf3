"""The Python blocks of README.md run, in their order, as one program."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# a block after `<!-- needs NAME/FILE -->` runs where that file of the shared data is at hand
BLOCK = re.compile(r"(?:<!-- needs (?P<needs>\S+) -->\n+)?```python\n(?P<code>.*?)```", re.DOTALL)


def run(code: str, folder: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "0"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]


def blocks() -> list[tuple[str | None, str]]:
    return [(found["needs"], found["code"]) for found in BLOCK.finditer((ROOT / "README.md").read_text())]


def test_readme_examples_run(tmp_path):
    """All blocks that need nothing but the package."""
    code = [code for needs, code in blocks() if needs is None]
    assert len(code) >= 3
    run("\n".join(code), tmp_path)


@pytest.mark.parametrize("needs, code", [block for block in blocks() if block[0]])
def test_readme_examples_with_published_data_run(needs, code, tmp_path, data_folder):
    """A block that reads a published file, after the first block, which builds the microscope."""
    name, file = needs.split("/")
    shutil.copy(data_folder(name) / file, tmp_path)
    run(blocks()[0][1] + "\n" + code, tmp_path)
