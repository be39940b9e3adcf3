"""Ten real STORM frames through a Tetrapod, read by the joint fit and drawn again: what each list leaves over.

    python benchmarks/joint_storm.py [--minutes N]

As `real_frames.py` has it for the published network and our decoder: every frame of `ds3d-tetrapod-storm` (MIT, in
COLOCUS_DATA) is explained by the emitters of a list, whose brightness alone is fitted, and a smooth background; the
residual is the root mean square in counts. A list of as many emitters at random places says what more emitters gain.
"""

import argparse
import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from experiments.compare.config import arm_run, load_experiment
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.spots import psf_spots
from localization import Localizations, select
from measure.record import Rows, write_result
from optics import make_camera
from pages.storm_overlay import STAMP_PX, explain
from training.instrument import run_psf
from worlds import DATA, ROOT
from worlds.joint_frames import read_jointly
from worlds.storm_frames import STORM_COLUMNS, STORM_FRAMES, STORM_ROWS, agreement, stored_storm, storm_movie

PLACE = 121  # of its rows in benchmarks/README.md


def rows(numbers: dict) -> Rows:
    rms = numbers["residual_rms_adu"]
    yield (
        "ds3d-tetrapod-storm, ten frames drawn again from the joint fit's list: residual in counts (published "
        f"network's {rms['published']:.2f}, shot and read noise {rms['shot and read noise']:.2f})",
        "<= 11.8",
        f"{rms['joint']:.2f}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=math.inf, help="read no more frames after that")
    parser.add_argument("--background-px", type=int, default=40, help="knots of the background")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "joint_storm", help="where lists are kept")
    arguments = parser.parse_args()
    if not (DATA / "ds3d-tetrapod-storm").is_dir():
        print(f"joint_storm: no data at {DATA}; set COLOCUS_DATA. Nothing measured.")
        return 0
    experiment = load_experiment("storm")
    config = arm_run(experiment, experiment.arms[0], 0)
    frames = tifffile.imread(storm_movie(DATA))[:STORM_FRAMES, slice(*STORM_ROWS), slice(*STORM_COLUMNS)].astype(float)
    camera = make_camera(
        gain_adu_per_e=config.camera.gain_adu_per_e,
        offset_adu=config.camera.offset_adu,
        read_noise_e=config.camera.read_noise_e,
    )
    spots = psf_spots(run_psf(config), (config.scene.z_min_um, config.scene.z_max_um), 1e-2)
    settings = ClassicalConfig(background_px=arguments.background_px)
    until = time.time() + 60 * arguments.minutes
    lists = read_jointly(frames, camera, spots, settings, arguments.work, "storm", until=until)
    n = len(lists.cpu_s)
    stored = stored_storm(DATA)
    pixel = config.microscope.pixel_um
    published = dataclasses.replace(
        stored, x_um=stored.x_um - STORM_COLUMNS[0] * pixel, y_um=stored.y_um - STORM_ROWS[0] * pixel
    )
    published = select(published, published.frame < n)
    psf = run_psf(dataclasses.replace(config, psf=dataclasses.replace(config.psf, stamp_px=STAMP_PX)))
    gain = config.camera.gain_adu_per_e
    noise = [
        np.sqrt((gain * (frame - config.camera.offset_adu) + (gain * config.camera.read_noise_e) ** 2).mean())
        for frame in frames[:n]
    ]
    rms: dict[str, list[float]] = {"shot and read noise": [float(value) for value in noise]}
    candidates = {
        "joint": lists.found,
        "joint, brighter than a fifth of the median": select(
            lists.found, lists.found.photons > 0.2 * np.median(lists.found.photons)
        ),
        "as many at random": at_random(lists.found, frames.shape[1:], pixel),
        "published": published,
    }
    for number, image in enumerate(frames[:n]):
        for name, found in candidates.items():
            fit = explain(image, select(found, found.frame == number), psf)
            rms.setdefault(name, []).append(fit.residual_rms(image))
        print(f"  frame {number + 1} of {n}:", {k: round(v[-1], 2) for k, v in rms.items()}, flush=True)
    numbers: dict[str, Any] = {
        "frames": n,
        "residual_rms_adu": {name: float(np.sqrt(np.mean(np.square(v)))) for name, v in rms.items()},
        "emitters_a_frame": {name: found.frame.size / n for name, found in candidates.items()},
        "median_photons": float(np.median(lists.found.photons)),
        "cpu_s_per_frame": lists.cpu_s_per_frame,
        "remarks": dict(lists.remarks),
        "agreement with the published list": agreement(lists.found, published),
        "background_px": arguments.background_px,
    }
    print(numbers)
    print(write_result("joint_storm", numbers))
    return 0


def at_random(found: Localizations, shape: tuple[int, ...], pixel_um: float) -> Localizations:
    """As many emitters in each frame at random places, at depths of the list."""
    rng = np.random.default_rng(0)
    n = found.frame.size
    x_um, y_um = (rng.uniform(0, side * pixel_um, n) for side in shape[::-1])
    return dataclasses.replace(found, x_um=x_um, y_um=y_um, z_um=rng.permutation(found.z_um))


if __name__ == "__main__":
    sys.exit(main())
