"""Where the reference PSFs lie, and the tests' reader of them: one reader for tests and benchmarks."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("COLOCUS_DATA", ROOT.parent / "shared" / "data"))
sys.path.append(str(ROOT / "tests"))

from made.witness import FILES, Witness, image_in_window, read_witness, relative_l2  # noqa: E402

__all__ = [
    "DATA",
    "FILES",
    "Witness",
    "image_in_window",
    "read_witness",
    "reference_folder",
    "relative_l2",
]


def reference_folder() -> Path:
    """The folder of reference PSFs beside the shared data, or an exit that says where it was looked for."""
    folder = DATA.parent / "reference"
    if not folder.is_dir():
        raise SystemExit(f"no reference PSFs at {folder}; set COLOCUS_DATA to the data folder beside them")
    return folder
