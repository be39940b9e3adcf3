"""One command from raw files to picture and report, on two recordings with bead stacks, without any training.

    python benchmarks/reconstruct_real.py [NAME ...] [--frames N] [--keep FOLDER]

`autods3d-tetrapod` (60 frames of 313 x 333, 56 slices) and `autods3d-laminb1-dh` (63 frames of 169 x 159, 41 slices)
in COLOCUS_DATA; their optics and focus lists are those of the data. What is measured: seconds of every step, of the
clock and of the processors, what the redrawn frames of the final list leave over of all frames, frames a second, and
what 20,000 frames of that kind would take. AutoDS3D states less than two hours for 20,000 frames
on a GPU, training included.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.progress import duration
from experiments.reconstruction.job import reconstruct
from experiments.reconstruction.plan import load_plan
from experiments.reconstruction.step import Bench, known_of
from experiments.reconstruction.steps.trial import redraw_list, spots_known
from experiments.settings import load_camera
from localization import open_movie, read
from measure.record import RESULTS, Rows, write_result
from optics.progress import Event
from worlds import DATA

PLACE = 330  # of its rows in benchmarks/README.md
MANY = 20_000
SETS = {
    "autods3d-tetrapod": ("frames_00000-00032_00050-00076.tif", "bead_zstack.tif", "bead_zstack_nfp_um.csv"),
    "autods3d-laminb1-dh": ("frames_00000-00062.tif", "bead_zscan.tif", "bead_zscan_nfp_um.csv"),
}


def rows(numbers: dict) -> Rows:
    for name, n in numbers["sets"].items():
        yield (
            f"reconstruct {name}, raw files to report, no training: minutes (of processors); load of the machine "
            f"{n['load_average']:.1f} on {n['cores']} cores",
            "<= 10 on two cores",
            f"{n['wall_s'] / 60:.1f} ({n['cpu_s'] / 60:.1f})",
        )
        yield (
            "its frames drawn again from the list, what is left over the noise, all frames",
            "<= 1.15",
            f"{n['left_over']:.2f}",
        )
        yield (
            f"its frames a second; {MANY} frames would take (AutoDS3D: below 2 h with a GPU); ring correlation",
            "reported",
            f"{n['frames_per_s']:.2f}; {duration(n['many_s'])}; "
            + (f"{n['frc_nm']:.0f} nm" if n["frc_nm"] else "not told"),
        )


def plan_of(name: str, frames: int | None) -> tuple[Path, list[str]]:
    """The movie, and the settings that a user would give: optics as the data state them, beads, focus list."""
    folder = DATA / name
    movie, beads, focus = (folder / part for part in SETS[name])
    optics = json.loads((folder / "optics.json").read_text())
    settings = [
        f"optics.na={optics['NA']}",
        f"optics.wavelength_um={optics['wavelength_um']}",
        f"optics.n_immersion={optics['n_immersion']}",
        f"optics.n_sample={optics['n_sample']}",
        f"optics.pixel_um={optics['camera_pixel_um'] / optics['magnification']}",
        f"optics.focus_um={optics['NFP_um']}",
        f'psf.beads=["{beads}"]',
        f"psf.focus={focus}",
    ]
    return movie, settings + ([f"frames=0:{frames}"] if frames else [])


def measure(name: str, out: Path, frames: int | None) -> dict[str, Any]:
    """Run the command's job on raw files into `out` and judge its list by the frames."""
    movie, settings = plan_of(name, frames)
    began, used = time.perf_counter(), _cpu_s()

    def show(event: Event) -> None:
        if "text" in event.numbers:
            print(f"[{time.perf_counter() - began:6.0f} s] {event['text']}", flush=True)

    done = reconstruct(movie, out, load_plan(None, settings), report=show)
    wall, cpu = time.perf_counter() - began, _cpu_s() - used
    found = done.numbers()
    bench = Bench(load_plan(out / "plan.toml"), movie, out, done.found, {n: _folder(out, n) for n in done.found})
    known = known_of(bench)
    first, stop = found["look"]["frames"]
    with open_movie(movie) as opened:
        counts = opened.read(first, stop)
    locs = read(out / "localizations.csv")
    spots, camera = spots_known(known), load_camera(known.camera)
    per_frame = [redraw_list(counts[k : k + 1], locs, first + k, spots, camera).left_over for k in range(len(counts))]
    reading = found["frames"]["seconds"] / (stop - first)
    before = wall - found["frames"]["seconds"]
    return {
        "frames": stop - first,
        "wall_s": wall,
        "cpu_s": cpu,
        "step_s": {step: found[step]["seconds"] for step in found},
        "rows": int(locs.frame.size),
        "left_over": float(np.sqrt(np.mean(np.square(per_frame)))),
        "left_over_worst_frame": float(np.max(per_frame)),
        "left_over_test_frames": found["test"]["left_over"],
        "predicted_s_per_frame": found["test"]["seconds_per_frame"],
        "frames_per_s": 1 / reading,
        "many_s": before + MANY * reading,
        "method": found["reader"]["method"],
        "gain_adu_per_photon": found["camera"]["gain_adu_per_photon"],
        "offset_adu": found["camera"]["offset_adu"],
        "correlation": found["psf"]["correlation"],
        "z_range_um": found["psf"]["z_range_um"],
        "sigma_xy_um": found["test"]["sigma_xy_um"],
        "sigma_z_um": found["test"]["sigma_z_um"],
        "frc_nm": found["picture"]["frc_nm"],
        "load_average": _load(),
        "cores": _cores(),
    }


def _folder(out: Path, step: str) -> Path:
    return next(out.glob(f"[0-9][0-9]-{step}"))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SETS), metavar="NAME", help="which of the sets (both)")
    parser.add_argument("--frames", type=int, help="the first N frames alone; nothing is recorded")
    parser.add_argument("--keep", type=Path, help="where the runs are kept")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        print(f"reconstruct_real: no data at {DATA}; set COLOCUS_DATA. Nothing measured.")
        return 0
    record = RESULTS / "reconstruct_real.json"
    held = json.loads(record.read_text())["numbers"]["sets"] if record.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.names:
            held[name] = measure(name, (arguments.keep or Path(scratch)) / name, arguments.frames)
            print(json.dumps(held[name], indent=1))
            if arguments.frames is None:
                write_result("reconstruct_real", {"sets": {key: held[key] for key in SETS if key in held}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
