"""Every recording at hand through `colocus reconstruct` with nothing said but where its file is: what each report says.

    python benchmarks/reconstruct_gallery.py [NAME ...] [--keep FOLDER]

A few frames of each where it is long. Runs are kept in FOLDER, whose reports are there to be looked at. A recording of
beads, of one frame, or through a mask (without its beads) is there to see what the command says of it.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.cli import explain
from experiments.reconstruction.job import reconstruct
from experiments.reconstruction.plan import load_plan
from measure.record import RESULTS, Rows, write_result
from worlds import DATA

PLACE = 331  # of its rows in benchmarks/README.md
MOVIES = {
    "deepstorm-sim-tubulin": ("frames_001-240.tif", ["frames=0:24"]),
    "picasso-sim": ("testdata.raw", []),
    "storm-analysis-sim": ("test_300x200.tif", ["frames=0:4"]),
    "storm-analysis-sim, double helix, no beads": ("test_300x200_dh.tif", ["frames=0:4"]),
    "locan-dstorm": ("images.tif", []),
    "thunderstorm-tubulins1, one frame": ("tubulins1_00020.tif", []),
    "ds3d-tetrapod-storm, no beads": ("frames_01-33.tif", ["frames=0:8", "rows=0:128", "columns=100:228"]),
    "ds3d-learned-telomeres, one frame, no beads": ("telomeres1.tif", []),
    "vipr-tp-beads, a stack of a bead": ("TP_im_80px.tif", []),
    "fov-tp-beads, a stack of a bead": ("center_x477_y573_2um.tif", []),
    "bbl-lens-psf, 8-bit": ("tetrapod_31x1mm.tif", []),
    "autods3d-insitu-astig, 15 px a side": ("single_emitters_00-32.tif", []),
}


def rows(numbers: dict) -> Rows:
    done = [n for n in numbers["movies"].values() if "error" not in n]
    yield (
        f"reconstruct, nothing said but the file: recordings of {len(numbers['movies'])} that end with a picture; the "
        "others with one line that says why",
        "all",
        f"{len(done)}; {len(numbers['movies']) - len(done)}",
    )
    left = sorted(n["left_over"] for n in done)
    if left:
        yield (
            "their test frames redrawn, what is left over the noise: least, median, most",
            "reported",
            f"{left[0]:.2f}, {left[len(left) // 2]:.2f}, {left[-1]:.2f}",
        )


def measure(name: str, out: Path) -> dict[str, Any]:
    """Run one recording into `out`: what its report says, or the one line that it was refused with."""
    file, settings = MOVIES[name]
    began = time.perf_counter()
    try:
        done = reconstruct(DATA / name.split(",")[0] / file, out, load_plan(None, settings))
    except Exception as error:
        line = explain(error, out)
        if line is None:
            raise
        return {"seconds": time.perf_counter() - began, "error": line.replace(str(DATA), "DATA")}
    found = done.numbers()
    return {
        "seconds": time.perf_counter() - began,
        "frames": found["frames"]["frames"],
        "rows": found["frames"]["rows"],
        "camera": found["camera"]["sure"],
        "gain_adu_per_photon": found["camera"]["gain_adu_per_photon"],
        "sigma_um": found["psf"]["sigma_um"],
        "density_per_um2": found["crowd"]["density_per_um2"],
        "method": found["reader"]["method"],
        "left_over": found["test"]["left_over"],
        "frames_per_s": 1 / max(found["test"]["seconds_per_frame"], 1e-9),
        "frc_nm": found["picture"]["frc_nm"],
        "looks_like_beads": found["look"]["looks_like_beads"],
        "said": [line for step in ("look", "psf") for line in done.found[step].lines()[1:]],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="those that begin so (all)")
    parser.add_argument("--keep", type=Path, help="where the runs are kept")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no more recordings after that")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"reconstruct_gallery: no data at {DATA}; set COLOCUS_DATA. Nothing measured.")
        return 0
    record = RESULTS / "reconstruct_gallery.json"
    held = json.loads(record.read_text())["numbers"]["movies"] if record.exists() else {}
    stop = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as scratch:
        for name in MOVIES:
            if time.monotonic() > stop or (arguments.names and not name.startswith(tuple(arguments.names))):
                continue
            out = (arguments.keep or Path(scratch)) / name.replace(", ", "-").replace(" ", "_")
            held[name] = measure(name, out)
            print(name, json.dumps(held[name], indent=1), flush=True)
            write_result("reconstruct_gallery", {"movies": {key: held[key] for key in MOVIES if key in held}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
