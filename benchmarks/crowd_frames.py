"""How many emitters of a crowded frame does the joint fit find, and how well? Frames of 64 x 64 px, mask by mask.

    python benchmarks/crowd_frames.py [--frames 80] [--only 'even/tetrapod/*'] [--minutes 12]

Optics, camera and light of preset `quick`: 1 to 72 emitters a frame over 4 um, read without any training by the PSF
alone (`localize --method joint`). Cells are DRAWN/MASK/EMITTERS; see `crowds/scenes.py` for how scenes are drawn. The
same scenes for every mask; intervals of 95 % by drawing frames anew.
"""

from typing import Any

import numpy as np

from crowds.reading import joint_reader, read
from crowds.record import cell_parser, fill, rounded
from crowds.scenes import DRAWN, MASKS, SCENE, draw, per_um2
from localization import bootstrap, score_frames, select
from measure.record import Rows

PLACE = 151  # of its rows in benchmarks/README.md

COUNTS = (18, 1, 5, 10, 36, 72)
FEWER = {36: 2, 72: 4}  # a cell of so many emitters has so many times fewer frames
MOST_CPU_S = 150.0  # of a cell's frames, after which it is content with fewer
TARGET = {  # Jaccard at 250/500 nm
    ("tetrapod", 1): 0.995, ("tetrapod", 5): 0.95, ("tetrapod", 10): 0.85, ("tetrapod", 18): 0.75,
    ("double_helix", 5): 0.99, ("double_helix", 18): 0.93, ("learned", 18): 0.98,
}  # fmt: skip
TARGET_WHOLE = {("learned", 36): 0.95, ("learned", 72): 0.75}
GATES = {"250/500": {}, "100/200": {"lateral_um": 0.1, "axial_um": 0.2}}
DIMMEST = SCENE.photons_min / 2  # what the reader is told of an emitter's light: a decoder knows it from its training
SHOWN = ("jaccard", "precision", "recall", "rmse_xy_um", "rmse_z_um", "rmse_x_um", "rmse_y_um")


def cells() -> list[str]:
    return [f"{drawn}/{mask}/{count}" for drawn in DRAWN for count in COUNTS for mask in MASKS]


def measure(cell: str, frames: int) -> dict:
    drawn, mask, count = cell.split("/")
    frames = max(1, frames // FEWER.get(int(count), 1))
    scenes = draw(mask, int(count), frames, drawn)
    reading = read(joint_reader(mask, drawn, photons_min=DIMMEST), scenes.images, most_cpu_s=MOST_CPU_S)
    frames = reading.frames
    truth = select(scenes.truth, np.flatnonzero(scenes.truth.frame < frames))
    result: dict[str, Any] = {"frames": frames, "emitters": truth.frame.size, "found": reading.found.frame.size}
    for name, gate in GATES.items():
        scored = bootstrap(score_frames(reading.found, truth, **gate, n_frames=frames), rng=0)
        result[name] = {key: rounded([scored[key].estimate, scored[key].low, scored[key].high]) for key in SHOWN}
    result["cpu_s_per_frame"] = rounded(reading.cpu_s_per_frame, 3)
    result["cpu_s_per_frame_slowest"] = rounded(reading.cpu_s.max(), 3)
    return result


def rows(numbers: dict) -> Rows:
    found = numbers["cells"]
    for drawn in DRAWN:
        for mask in MASKS:
            counts = [count for count in sorted(COUNTS) if f"{drawn}/{mask}/{count}" in found]
            if not counts:
                continue
            of = [found[f"{drawn}/{mask}/{count}"] for count in counts]
            targets = TARGET if drawn == "even" else {**TARGET, **TARGET_WHOLE}
            wanted = [f"{targets[mask, count]:g}" if (mask, count) in targets else "-" for count in counts]
            listed = " / ".join(map(str, counts))
            yield (
                f"joint fit alone, scenes drawn {'with an even stray background' if drawn == 'even' else 'whole'}, "
                f"{mask}, {listed} emitters a frame: Jaccard at 250/500 nm",
                f">= {' / '.join(wanted)}" if set(wanted) != {"-"} else "reported",
                " / ".join(f"{cell['250/500']['jaccard'][0]:.3f}" for cell in of),
            )
            errors = " / ".join(f"{_nm(cell, 'rmse_xy_um')}, {_nm(cell, 'rmse_z_um')}" for cell in of)
            dense = mask == "tetrapod" and "18" in listed
            yield "its lateral, axial RMSE (nm)", "<= 25, 35 at 18" if dense else "reported", errors
            seconds = " / ".join(f"{cell['cpu_s_per_frame']:.2f}" for cell in of)
            yield "its CPU seconds a frame", "reported", seconds


def _nm(cell: dict, name: str) -> str:
    value = cell["250/500"][name][0]
    return "-" if value is None else f"{1e3 * value:.0f}"


def main() -> None:
    options = cell_parser(__doc__, 80).parse_args()
    density = {str(count): rounded(per_um2(count), 3) for count in sorted(COUNTS)}
    fill("crowd_frames", cells(), measure, options, emitters_per_um2=density)


if __name__ == "__main__":
    main()
