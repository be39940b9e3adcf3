"""Does choosing between single and joint fits lose anything, and what does it win? Sparse to crowded frames.

    python benchmarks/fit_choice.py [--frames 24]

Frames of 128 x 128 pixels, astigmatism (stamp 21 px), 2,000 to 8,000 photons on 15, the exact camera, at four
densities. The same frames are read by `localize --method classical`, which chooses by window, and `--method joint`;
once to compile, then with the clock: Jaccard (250 nm, 500 nm), error over predicted sigma, CPU time a frame.
"""

import argparse
import json
import time

import jax
import numpy as np

import localization
from experiments.reading.classical import ALONE, ClassicalReader
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import TOGETHER, JointReader
from experiments.reading.spots import psf_spots
from localization import make_localizations
from measure.record import Rows, write_result
from optics import make_camera, make_microscope, make_psf, masks, sample_camera
from optics.psf_table import tabulate_psf
from worlds.painted import painter

PLACE = 157  # of its rows in benchmarks/README.md

SIDE, PIXEL_UM, Z_RANGE = 128, 0.11, (0.0, 0.8)
COUNTS = (1, 4, 12, 40)  # emitters a frame, of 198 um^2
BACKGROUND = 15.0
CAMERA = make_camera(gain_adu_per_e=2.0, offset_adu=100.0, read_noise_e=1.5)


def scene(psf, count: int, frames: int):
    """Camera counts (frames, SIDE, SIDE) and the true list."""
    rng = np.random.default_rng(count)
    size = SIDE * PIXEL_UM
    xyz = rng.uniform([0.3, 0.3, 0.05], [size - 0.3, size - 0.3, 0.75], (frames, count, 3))
    photons = rng.uniform(2000, 8000, (frames, count))
    paint = painter(tabulate_psf(psf, Z_RANGE, tolerance=1e-3), PIXEL_UM, (SIDE, SIDE), count)
    keys, sample = jax.random.split(jax.random.key(count), frames), jax.jit(sample_camera)
    drawn = [sample(key, CAMERA, paint(*one) + BACKGROUND) for key, *one in zip(keys, xyz, photons, strict=True)]
    return np.stack(drawn), make_localizations(np.repeat(np.arange(frames), count), *xyz.reshape(-1, 3).T)


def read(reader, counts, truth) -> dict:
    reader.read(counts, 0)
    reader.take_tally()
    start = time.process_time()
    found = reader.read(counts, 0)
    seconds = (time.process_time() - start) / len(counts)
    pairs = localization.match(found, truth)
    ratios = []
    for axis in "xyz":
        error = getattr(found, f"{axis}_um")[pairs.found_index] - getattr(truth, f"{axis}_um")[pairs.truth_index]
        ratios.append(np.sqrt(np.mean((error / getattr(found, f"sigma_{axis}_um")[pairs.found_index]) ** 2)))
    score, tally = localization.score(found, truth), reader.take_tally()
    return {
        "jaccard": score.jaccard,
        "rmse_xy_nm": 1e3 * score.rmse_xy_um,
        "rmse_z_nm": 1e3 * score.rmse_z_um,
        "error_over_sigma": np.round(ratios, 3).tolist(),
        "cpu_s_per_frame": seconds,
        "alone": tally[ALONE],
        "together": tally[TOGETHER],
    }


def rows(numbers: dict) -> Rows:
    for level in numbers["levels"]:
        one, other = level["classical"], level["joint"]
        share = one["alone"] / max(one["alone"] + one["together"], 1)
        yield (
            f"localize chooses fits, {level['per_um2']:.3f} emitters per um^2: Jaccard against joint fits alone, "
            f"windows fitted singly",
            "no loss",
            f"{one['jaccard']:.3f} / {other['jaccard']:.3f}, {100 * share:.0f} %",
        )
        yield (
            "its CPU time a frame of 128 x 128 px against joint fits alone",
            "reported",
            f"{one['cpu_s_per_frame']:.3f} / {other['cpu_s_per_frame']:.3f} s",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--counts", type=int, nargs="*", default=COUNTS)
    arguments = parser.parse_args()
    scope = make_microscope(
        na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.67, pixel_um=PIXEL_UM, focus_um=0.4
    )
    mask = masks.astigmatism(0.08, design_wavelength_um=0.67)
    psf = make_psf(scope, mask=mask, image_px=21, z_range_um=Z_RANGE, pixel="centre")
    spots = psf_spots(psf, Z_RANGE, 1e-2)
    readers = {
        "classical": ClassicalReader(spots, CAMERA, ClassicalConfig(), "chosen"),
        "joint": JointReader(spots, CAMERA, ClassicalConfig(), "joint"),
    }
    levels = []
    for count in arguments.counts:
        counts, truth = scene(psf, count, arguments.frames)
        levels.append({"emitters": count, "per_um2": count / (SIDE * PIXEL_UM) ** 2})
        levels[-1] |= {name: read(reader, counts, truth) for name, reader in readers.items()}
        print(json.dumps(levels[-1]), flush=True)
    print(write_result("fit_choice", {"frames": arguments.frames, "levels": levels}))


if __name__ == "__main__":
    main()
