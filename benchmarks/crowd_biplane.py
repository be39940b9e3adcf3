"""Two focal planes fitted as one: the joint fit on the two planes of `fazel-biplane`, beside each plane alone.

    python benchmarks/crowd_biplane.py

One particle in 100 frames of 32 x 32 px, 2,000 photons and a background of 20 in each plane, 400 nm between them, with
the set's own pupil. An emitter has one x, y, z and number of photons on both planes; each plane has its background.
"""

import argparse
import time

import numpy as np

from experiments.reading.joint import search_window
from experiments.reading.spots import psf_spots
from localization import make_localizations, score
from measure.record import Rows, write_result
from optics import make_camera, make_split_psf
from optics.fits.crowd import make_crowd_model, make_paths, one_path
from optics.fits.crowd_search import make_bank
from worlds import truth_data, truth_psfs

PLACE = 154  # of its row in benchmarks/README.md
Z_RANGE_UM, PIXEL_UM = (-0.7, 0.5), 0.1


def measure() -> dict[str, dict[str, float]]:
    """Read the planes together and one by one."""
    psfs = [truth_psfs.fazel_psf(focus) for focus in truth_psfs.FAZEL_FOCI_UM]
    tables = [psf_spots(psf, Z_RANGE_UM).table for psf in psfs]
    planes = truth_data.fazel()
    both = make_paths(make_split_psf(psfs, fraction=np.array([0.5, 0.5])), tables)
    cases = {"both": (both, [0, 1]), "plane 1": (one_path(tables[0]), [0]), "plane 2": (one_path(tables[1]), [1])}
    found = {}
    for name, (paths, which) in cases.items():
        frames = np.concatenate([planes[k].frames for k in which], axis=1)
        shape = planes[0].frames.shape[1:]
        model = make_crowd_model(paths, make_camera(), PIXEL_UM, shape)
        bank, began = make_bank(paths, shape), time.process_time()
        known = np.ones(frames.shape[1:], bool)
        rows = [search_window(model, bank, frame, known).crowd for frame in frames]
        xyz = np.concatenate([row.xyz_um for row in rows])
        number = np.repeat(np.arange(len(rows)), [len(row.photons) for row in rows])
        inside = ((xyz[:, :2] > 0) & (xyz[:, :2] < np.array(shape[::-1]) * PIXEL_UM)).all(axis=1)
        photons = np.concatenate([row.photons for row in rows])[inside]
        scored = score(make_localizations(number[inside], *xyz[inside].T, photons=photons), planes[0].truth)
        found[name] = {
            "jaccard": round(scored.jaccard, 3),
            "precision": round(scored.precision, 3),
            "recall": round(scored.recall, 3),
            "lateral_nm": round(1e3 * scored.rmse_xy_um, 1),
            "axial_nm": round(1e3 * scored.rmse_z_um, 1),
            "median_photons": round(float(np.median(photons)), 0),
            "cpu_s_per_frame": round((time.process_time() - began) / len(frames), 3),
        }
        print(name, found[name], flush=True)
    return found


def rows(numbers: dict) -> Rows:
    def shown(name: str) -> str:
        one = numbers[name]
        return f"{one['jaccard']:.3f} ({one['lateral_nm']:.1f}, {one['axial_nm']:.1f})"

    yield (
        "fazel-biplane, both planes fitted together; plane 1 alone; plane 2 alone: Jaccard (RMSE lateral, axial in nm)",
        "ahead of each alone",
        "; ".join(shown(name) for name in ("both", "plane 1", "plane 2")),
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    print(write_result("crowd_biplane", measure()))


if __name__ == "__main__":
    main()
