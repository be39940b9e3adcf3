"""What does the way in which stray light is drawn do to a comparison of masks? Each mask read by the joint fit alone.

    python benchmarks/stray_light.py [--frames 16] [--out runs/stray_light]

Preset `masks` (64 x 64 px, 1 to 18 emitters over 4 um, no training) and the mask that `make demo` had learned, scored
twice on the same emitters: with light beyond the stamps of 57 px as an even background, and drawn where it falls, with
emitters beyond the frame. Two comparisons that go on where they were stopped; ten minutes on two cores.
"""

import argparse
import dataclasses
import time
from pathlib import Path

from crowds.record import rounded
from crowds.scenes import psf_of
from experiments.compare.arms import run_arm
from experiments.compare.config import ArmConfig, ExperimentConfig, load_experiment
from experiments.compare.scoring import HEADLINE
from measure.record import Rows, write_result
from optics import mask_io
from optics.progress import silent
from training import MaskConfig

PLACE = 158  # of its rows in benchmarks/README.md

STRAY = ("even", "drawn")
ARMS = ("learned", "tetrapod", "double_helix", "density-aware", "astigmatism")
SHOWN = ("jaccard", "precision", "recall", "rmse_xy_um", "rmse_z_um")


def experiment(stray: str, frames: int, folder: Path) -> ExperimentConfig:
    """Preset `masks` with one mask more, its stray light drawn so."""
    config = load_experiment(
        "masks", [f'run.scene.stray="{stray}"', f"score.frames={frames}", "score.single_frames=20"]
    )
    learned = ArmConfig("learned", MaskConfig("file", path=str(folder / "learned.npz")))
    return dataclasses.replace(config, arms=(learned, *config.arms))


def measure(frames: int, folder: Path, minutes: float) -> dict:
    """Score all arms both ways, as far as the time goes: numbers by arm, way and emitters a frame."""
    folder.mkdir(parents=True, exist_ok=True)
    mask = psf_of("learned").mask
    assert mask is not None, "every PSF of `crowds.scenes` has a mask"
    mask_io.save(folder / "learned.npz", mask)
    configs = {stray: experiment(stray, frames, folder) for stray in STRAY}
    found: dict = {}
    begun = time.monotonic()
    for label in ARMS:
        both = {}
        for stray, config in configs.items():
            if time.monotonic() - begun > 60 * minutes:
                return found
            arm = next(arm for arm in config.arms if arm.label == label)
            both[stray] = numbers_of(run_arm(config, arm, 0, folder / stray, resume=True, report=silent)["joint"])
            jaccard = {n: cell["jaccard"][0] for n, cell in both[stray]["counts"].items()}
            print(label, stray, jaccard, both[stray]["single"], f"{both[stray]['seconds']} s", flush=True)
        found[label] = both
        write_result("stray_light", {"frames": frames, "arms": found})
    return found


def numbers_of(scores: dict) -> dict:
    """What the record keeps of an arm's scores."""
    cells = {}
    for cell in scores["cells"]:
        gate = cell["gates"][HEADLINE]
        cells[str(cell["count"])] = {name: rounded([gate["score"][name], *gate["interval"][name]], 3) for name in SHOWN}
    single = {name: rounded(scores["single"][name], 3) for name in ("ratio", "found_share")}
    return {"counts": cells, "single": single, "seconds": rounded(scores["score_seconds"], 3)}


def rows(numbers: dict) -> Rows:
    for label, by_stray in numbers["arms"].items():
        parts = {stray: by_stray[stray]["counts"] for stray in STRAY}
        counts = list(parts["even"])
        shown = [" / ".join(f"{parts[stray][n]['jaccard'][0]:.3f}" for n in counts) for stray in STRAY]
        yield (
            f"joint fit alone, {label}, {' / '.join(counts)} emitters a frame: Jaccard with an even stray background; "
            "with all light drawn where it falls, and emitters beyond the frame",
            "reported",
            "; ".join(shown),
        )
        ratio = ", ".join(f"{value:.2f}" for value in by_stray["drawn"]["single"]["ratio"])
        yield f"{label}, isolated emitters read so: error over the bound in x, y, z", "<= 1.2", ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--frames", type=int, default=16, help="frames for each number of emitters (16); of isolated ones 20"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/stray_light"), help="folder of the scores")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no arm after so many")
    options = parser.parse_args()
    print(f"{len(measure(options.frames, options.out, options.minutes))} of {len(ARMS)} masks are in the record")


if __name__ == "__main__":
    main()
