"""One finished row of a scene benchmark is one file, so that an interrupted command goes on where it was."""

import json
from pathlib import Path

from measure.record import RESULTS
from optics.whole_file import write_text
from worlds.scene_decoder import Key
from worlds.scene_learned import RUNS
from worlds.scene_sources import tune
from worlds.scene_world import make_world

_worlds: dict[str, tuple] = {}


def prepared(name: str, movie_frames: int) -> tuple:
    """The world, its key for caches, and what a simulation of it is tuned to: once in a process."""
    if name not in _worlds:
        world = make_world(name)
        _worlds[name] = (world, Key(world), tune(world, movie_frames))
    return _worlds[name]


def is_there(path: Path, asked: dict) -> bool:
    """Whether a row is finished; refuses one of other settings (`SystemExit`)."""
    if not path.exists():
        return False
    row = json.loads(path.read_text())
    if other := [name for name, value in asked.items() if row[name] != value]:
        raise SystemExit(
            f"{path} was made with {other[0]} = {row[other[0]]}, not {asked[other[0]]}; give another --out"
        )
    print(f"{path.name}: there")
    return True


def result_folder(out: Path) -> Path:
    """The claims' own folder for rows in the usual place, else beside the rows: small runs claim nothing."""
    return RESULTS if out.parent == RUNS else out


def write_row(path: Path, row: dict) -> None:
    """The whole row or none."""
    write_text(path, json.dumps(row) + "\n")
