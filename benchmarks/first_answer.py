"""How long a first answer takes: from the start of `colocus localize` to the list of one frame, nothing compiled.

    python benchmarks/first_answer.py [--repeats 3]

Each reading is a process of its own, as a user starts it, of one frame of 64 x 64 px with the psf.npz of its optics:
five emitters behind a Tetrapod, fitted jointly; two colours behind the shipped plate, a few emitters apart, and in a
crowd that is fitted jointly. Seconds on the clock and of processor, medians; the number of rows says that the list is
the same whatever was compiled how. A second frame costs what `crowd_speed.py` says.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import tifffile

import localization
import optics
from crowds.scenes import DEPTHS_UM, draw, psf_of
from measure.record import Rows, write_result
from optics.colour.plate import plate_at
from optics.colour.shipped import shipped_plate
from worlds import ROOT

PLACE = 291  # of its rows in benchmarks/README.md

SIDE_PX, LEVEL, NM, TWO_COLOURS_UM = 64, 50.0, (580, 670), (0.0, 2.0)
COUNTS = {"tetrapod": 5, "colours": 4, "colours_crowd": 12}
CLAIMS = {
    "tetrapod": "5 Tetrapod emitters, joint fit",
    "colours": "two colours, 4 emitters apart",
    "colours_crowd": "two colours, 12 emitters, joint fit",
}


def write_tetrapod(folder: Path) -> list[str]:
    """A frame of the optics of preset `quick`; the arguments that read it."""
    optics.save_psf(folder / "psf.npz", psf_of("tetrapod"))
    frame = draw("tetrapod", COUNTS["tetrapod"], 1).images[0]
    tifffile.imwrite(folder / "tetrapod.tif", np.round(frame).astype(np.uint16))
    low, high = DEPTHS_UM
    return ["--model", str(folder / "psf.npz"), "--method", "joint", f"z_min_um={low}", f"z_max_um={high}"]


def write_colours(folder: Path) -> list[str]:
    """A frame of each kind behind the shipped plate; the arguments that read one."""
    plate, psfs = shipped_plate("orange-red-2um"), []
    for nm in NM:
        scope = optics.make_microscope(
            wavelength_um=nm / 1000, na=1.45, n_immersion=1.518, n_sample=1.33, pixel_um=0.11, focus_um=1.35
        )
        psf = optics.make_psf(
            scope, mask=plate_at(plate, nm / 1000), image_px=27, z_range_um=TWO_COLOURS_UM, pupil_px=96
        )
        optics.save_psf(folder / f"{nm}.npz", psf)
        psfs.append(psf)
    rng, size_um = np.random.default_rng(4), SIDE_PX * 0.11
    apart = size_um * np.array([(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)])
    for name in ("colours", "colours_crowd"):
        n = COUNTS[name]
        across = (
            apart + rng.uniform(-0.3, 0.3, (n, 2)) if name == "colours" else rng.uniform(0.9, size_um - 0.9, (n, 2))
        )
        xyz_um, light = np.column_stack([across, rng.uniform(0.2, 1.8, n)]), rng.uniform(1500, 3000, n)
        frame = np.full((SIDE_PX, SIDE_PX), LEVEL)
        for number, psf in enumerate(psfs):
            emitters = optics.make_emitters(xyz_um, light, valid=np.arange(n) % 2 == number)
            frame += np.asarray(jax.jit(optics.render_frame, static_argnums=2)(psf, emitters, (SIDE_PX, SIDE_PX)))
        tifffile.imwrite(folder / f"{name}.tif", rng.poisson(frame).astype(np.uint16))
    low, high = TWO_COLOURS_UM
    return ["--psf", *(str(folder / f"{nm}.npz") for nm in NM), f"z_min_um={low}", f"z_max_um={high}"]


def read_once(movie: Path, arguments: list[str], out: Path) -> dict:
    """Seconds on the clock and of processor of one process, and the rows of its list."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, "-m", "experiments.cli", "localize", str(movie), *arguments, "--out", str(out)]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*command, "--gain", "1", "--offset", "0"], env=environment, check=True, capture_output=True)
    clock, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": clock, "processor_seconds": used, "rows": int(localization.read(out).frame.size)}


def rows(numbers: dict) -> Rows:
    for name, claim in CLAIMS.items():
        found = numbers[name]
        yield (
            f"first answer of `colocus localize`, one 64 x 64 frame, {claim}, nothing compiled: seconds of processor "
            "(on the clock); rows",
            "reported",
            f"{found['processor_seconds']:.0f} ({found['seconds']:.0f}); {found['rows']} of {COUNTS[name]}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="processes of each kind (3)")
    parser.add_argument("--only", choices=CLAIMS, help="one kind, printed and not recorded")
    options = parser.parse_args()
    told = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kinds = {"tetrapod": write_tetrapod, "colours": write_colours, "colours_crowd": write_colours}
        for name in [options.only] if options.only else CLAIMS:
            arguments = kinds[name](folder)
            if name == "colours_crowd":
                arguments += ["--method", "joint"]
            readings = [
                read_once(folder / f"{name}.tif", arguments, folder / f"{name}{k}.csv") for k in range(options.repeats)
            ]
            told[name] = {key: round(float(np.median([one[key] for one in readings])), 1) for key in readings[0]}
            told[name]["rows"] = int(told[name]["rows"])
            told[name]["processes"] = options.repeats
    print(told if options.only else write_result("first_answer", told))


if __name__ == "__main__":
    main()
