"""findings/: every script is in the table and has the form that its page promises. None is run: they install things."""

import os
import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_has_its_form(script):
    """It parses, can be run, says what it shows, with which versions and why, and works in a folder of its own."""
    text = script.read_text()
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# Shows: ")
    for part in ("\n# With: ", "\n# Matters: ", "\nset -euo pipefail\nfolder=$(mktemp -d)\ntrap ", "\ndiff "):
        assert part in text or part == "\ndiff " and "do diff " in text
    assert re.search(r"install .*\w==\d", text) and "colocus" not in text.lower()


def test_the_table_lists_every_finding_once():
    """And nothing that is not there."""
    assert re.findall(r"^\| \[\w+\]\((\w+\.sh)\)", (FOLDER / "README.md").read_text(), re.M) == [
        s.name for s in SCRIPTS
    ]
