"""The gallery page: its commands are real ones, its pictures small, and none is of data that may not be shown."""

import re
import shlex
from pathlib import Path

import pytest

from experiments import cli

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "gallery.md").read_text()
LARGEST_BYTES = 300_000
# data whose licence is missing or does not allow a picture here
NUMBERS_ONLY = ("autods3d", "thunderstorm", "vipr")


def commands() -> list[list[str]]:
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", "")
    return [shlex.split(line)[1:] for line in lines.splitlines() if line.startswith("colocus ")]


@pytest.mark.parametrize("argv", commands(), ids=" ".join)
def test_every_command_is_one_that_exists(argv):
    """Command, options and their kinds are taken by the program's own parser."""
    cli.parse(argv)


def test_pictures_are_there_small_and_allowed():
    """Every picture of the page exists, every picture in the folder is on the page, and none is of a closed set."""
    shown = set(re.findall(r"\(figures/(gallery_[^)]+)\)", PAGE))
    kept = {path.name for path in (DOCS / "figures").glob("gallery_*.png")}
    assert shown == kept and shown
    assert all((DOCS / "figures" / name).stat().st_size < LARGEST_BYTES for name in shown)
    assert not [name for name in shown if any(closed in name for closed in NUMBERS_ONLY)]
