"""Where the reference PSFs lie, their reader and the slow truths of the tests: one of each for tests and benchmarks."""

from pathlib import Path

from made.rays import direct_sum
from made.witness import image_in_window, read_witness, relative_l2
from worlds import DATA

__all__ = ["direct_sum", "image_in_window", "read_witness", "reference_folder", "relative_l2"]


def reference_folder() -> Path:
    """The folder of reference PSFs beside the shared data, or an exit that says where it was looked for."""
    folder = DATA.parent / "reference"
    if not folder.is_dir():
        raise SystemExit(f"no reference PSFs at {folder}; set COLOCUS_DATA to the data folder beside them")
    return folder
