"""Is the joint fit better behind a decoder? Tetrapod frames of `quick` read by decoder, decoder and fit, fit alone.

    colocus train quick --arm tetrapod --out runs/quick-tetrapod
    python benchmarks/crowd_decoder.py [--run RUN] [--frames 80] [--only '*/18']

The scenes of `crowd_frames.py`, drawn with an even stray background; each frame is read by all three, and their CPU
seconds are those of the same process.
"""

from pathlib import Path

from crowds.reading import read
from crowds.record import cell_parser, fill, rounded
from crowds.scenes import draw
from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.methods import make_reader
from localization import bootstrap, score_frames
from measure.record import Rows
from worlds import ROOT

PLACE = 156  # of its rows in benchmarks/README.md

METHODS = ("decoder", "decoder+joint", "joint")
COUNTS = (18, 5, 1, 36)
TARGET = 0.80
SHOWN = ("jaccard", "precision", "recall", "rmse_xy_um", "rmse_z_um")


def measure(cell: str, frames: int, run: Path) -> dict:
    mask, count = cell.split("/")
    scenes = draw(mask, int(count), frames)
    result: dict = {"frames": frames, "emitters": scenes.truth.frame.size}
    for method in METHODS:
        reading = read(make_reader(run, LocalizeConfig(method=method)), scenes.images)
        scored = bootstrap(score_frames(reading.found, scenes.truth, n_frames=frames), rng=0)
        result[method] = {key: rounded([scored[key].estimate, scored[key].low, scored[key].high]) for key in SHOWN}
        result[method]["cpu_s_per_frame"] = rounded(reading.cpu_s_per_frame, 3)
    return result


def rows(numbers: dict) -> Rows:
    for cell, found in numbers["cells"].items():
        mask, count = cell.split("/")
        yield (
            f"{mask}, {count} emitters a frame, Jaccard of decoder, decoder + joint fit, joint fit alone",
            f">= {TARGET} with both" if count == "18" else "reported",
            ", ".join(f"{found[method]['jaccard'][0]:.3f}" for method in METHODS),
        )
        yield (
            "their CPU seconds a frame",
            "both no more than alone",
            ", ".join(f"{found[method]['cpu_s_per_frame']:.3f}" for method in METHODS),
        )


def main() -> None:
    parser = cell_parser(__doc__, 80)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "quick-tetrapod", help="a trained run")
    options = parser.parse_args()
    if not options.run.exists():
        print(f"{options.run} is missing: colocus train quick --arm tetrapod --out {options.run.name}")
        return
    cells = [f"tetrapod/{count}" for count in COUNTS]
    fill("crowd_decoder", cells, lambda cell, frames: measure(cell, frames, options.run), options)


if __name__ == "__main__":
    main()
