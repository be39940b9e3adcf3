"""CPU time of the joint fit of one crowded frame: 64 x 64 px, 18 Tetrapod emitters, from nothing and from a list.

    python benchmarks/crowd_speed.py [--frames 12] [--repeats 3]

Frames of `crowd_frames.py`, drawn with an even stray background. "alone": the search begins without emitters. "list":
it begins from what a decoder may say, imitated: truth off by 50 nm laterally and 100 nm axially, photons by a fifth, a
tenth missing and a tenth more that are not there. Each frame is read several times; CPU seconds of all threads, the
median over frames of the fastest reading of each, nothing compiled; beside it the scores, so that speed is not bought.
"""

import time

import numpy as np

import localization
from crowds.reading import search_tools
from crowds.record import cell_parser, fill, rounded
from crowds.scenes import DEPTHS_UM, draw
from measure.record import Rows

PLACE = 155  # of its rows in benchmarks/README.md

KINDS = {"alone": 0.5, "list": 0.15}
COUNTS = (18, 5)
LATERAL_UM, AXIAL_UM, SHARE = 0.05, 0.1, 0.1
SKETCH_S = 10.6


def decoder_list(rng: np.random.Generator, truth, frame: int, side_um: float) -> tuple[np.ndarray, np.ndarray]:
    """A list (xyz_um (n, 3), photons (n,)) such as a decoder makes of one frame."""
    here = truth.frame == frame
    xyz = np.column_stack([truth.x_um, truth.y_um, truth.z_um])[here]
    n = len(xyz)
    kept = rng.permutation(n)[: n - round(SHARE * n)]
    near = xyz[kept] + rng.normal(size=(len(kept), 3)) * [LATERAL_UM, LATERAL_UM, AXIAL_UM]
    n_false = round(SHARE * n)
    low, high = DEPTHS_UM
    wrong = rng.uniform([0, 0, low], [side_um, side_um, high], (n_false, 3))
    xyz_um = np.concatenate([near, wrong])
    xyz_um[:, 2] = np.clip(xyz_um[:, 2], low, high)
    photons = truth.photons[here][kept] * np.exp(0.2 * rng.normal(size=len(kept)))
    return xyz_um, np.concatenate([photons, rng.uniform(1e4, 3e4, n_false)])


def measure(cell: str, frames: int, repeats: int) -> dict:
    mask, kind, count = cell.split("/")
    scenes = draw(mask, int(count), frames)
    search = search_tools(mask, scenes.images.shape[1:])
    rng = np.random.default_rng(0)
    side_um = scenes.images.shape[1] * float(scenes.psf.microscope.pixel_um)
    starts = [decoder_list(rng, scenes.truth, k, side_um) if kind == "list" else None for k in range(frames)]
    for image, start in zip(scenes.images, starts, strict=True):
        search(image, 0, start)  # compiles whatever this frame needs
    seconds, found = np.zeros((repeats, frames)), []
    for repeat in range(repeats):
        for k, (image, start) in enumerate(zip(scenes.images, starts, strict=True)):
            begun = time.process_time()
            table = search(image, k, start)
            seconds[repeat, k] = time.process_time() - begun
            found += [table] if repeat == 0 else []
    score = localization.score(localization.concatenate(found), scenes.truth)
    best = seconds.min(axis=0)
    return {
        "frames": frames,
        "repeats": repeats,
        "cpu_s": rounded(np.median(best), 3),
        "cpu_s_quartiles": rounded(np.quantile(best, [0.25, 0.75]), 3),
        "cpu_s_slowest": rounded(best.max(), 3),
        "cpu_s_median_of_all": rounded(np.median(seconds), 3),
        "jaccard": rounded(score.jaccard),
        "rmse_xy_um": rounded(score.rmse_xy_um),
        "rmse_z_um": rounded(score.rmse_z_um),
    }


def rows(numbers: dict) -> Rows:
    for cell, found in numbers["cells"].items():
        mask, kind, count = cell.split("/")
        begun = "from nothing" if kind == "alone" else "from a list as a decoder makes it"
        yield (
            f"joint fit of one 64 x 64 frame, {count} {mask} emitters, {begun}: CPU seconds (slowest frame); Jaccard"
            + (f"; the sketch took {SKETCH_S}" if (kind, count) == ("alone", "18") else ""),
            f"<= {KINDS[kind]}" if count == "18" else "reported",
            f"{found['cpu_s']:.2f} ({found['cpu_s_slowest']:.2f}); {found['jaccard']:.3f}",
        )


def main() -> None:
    parser = cell_parser(__doc__, 12)
    parser.add_argument("--repeats", type=int, default=3, help="readings of each frame (3)")
    options = parser.parse_args()
    cells = [f"tetrapod/{kind}/{count}" for count in COUNTS for kind in KINDS]
    fill("crowd_speed", cells, lambda cell, frames: measure(cell, frames, options.repeats), options)


if __name__ == "__main__":
    main()
