"""Crowded frames of two colours, one grey camera: how many emitters are found as what they are, mask by mask?

    python benchmarks/colour_crowds.py [--frames 32] [--only '580-670/*'] [--minutes 12]

Optics and plates of `colour.py` (NA 1.45 oil on water, 110 nm pixels, 50 background photons a pixel, lines, depths over
2 um). Frames of 64 x 64 px hold 10 emitters, 0.3 per um^2 of the part in which they may be, each of either colour with
as many photons as the cell says, a third more or less. Light beyond stamps of 31 px is neither drawn nor expected.
Read by `JointReader` with the PSFs of both colours, which knows photons to be above half of the least.
Cells are PAIR/PHOTONS/PUPIL. Jaccard at 250/500 nm within a colour, intervals of 95 % by drawing frames anew; crosstalk
is the share of pairs, matched whatever their colour, that are listed as the other (Wilson's interval). CPU seconds a
frame: the median, one frame after the other.
"""

import numpy as np

from crowds.reading import read
from crowds.record import cell_parser, fill, rounded
from localization import Localizations, bootstrap, match, score_frames, select
from measure.record import Rows
from measure.shares import wilson
from worlds.colour_scenes import COUNT, drawn, made_reader
from worlds.colour_world import BACKGROUND, PAIRS, STAMP_PX, plate_of, psfs_of, species_of

PLACE = 167  # of its rows in benchmarks/README.md

NAME = "colour_crowds"
PUPILS = ("learned", "tetrapod", "double_helix", "clear")
PHOTONS = (10000, 3500)
JACCARD, CROSSTALK = 0.85, 5.0  # what is to be reached
SHOWN = ("jaccard", "recall", "precision", "rmse_xy_um", "rmse_z_um")


def cells() -> list[str]:
    return [f"{pair}/{photons}/{pupil}" for pair in PAIRS for photons in PHOTONS for pupil in PUPILS]


def scored(found: Localizations, truth: Localizations, frames: int) -> dict:
    """Metrics of each colour, and who was listed as what."""
    count = int(truth.channel.max()) + 1
    result: dict = {}
    for number in range(count):
        of = [select(table, table.channel == number) for table in (found, truth)]
        metrics = bootstrap(score_frames(*of, n_frames=frames), rng=0)
        result[f"channel {number}"] = {
            name: rounded([metrics[name].estimate, metrics[name].low, metrics[name].high]) for name in SHOWN
        }
    pairs = match(found, truth)
    confused = np.zeros((count, count), int)
    np.add.at(confused, (truth.channel[pairs.truth_index], found.channel[pairs.found_index]), 1)
    wrong, total = int(confused.sum() - np.trace(confused)), int(confused.sum())
    sure = found.extras["p_channel"][pairs.found_index]
    return result | {
        "found": int(found.frame.size),
        "emitters": int(truth.frame.size),
        "jaccard_of_either": rounded(total / (found.frame.size + truth.frame.size - total)),
        "confusion": confused.tolist(),
        "crosstalk": rounded(100 * wrong / max(total, 1), 3),
        "crosstalk_interval": wilson(wrong, max(total, 1)),
        "says_of_itself": rounded(100 * float(1 - sure.mean()), 3),
    }


def measure(cell: str, frames: int) -> dict:
    pair, photons, pupil = cell.split("/")
    psfs = psfs_of(plate_of(pupil, pair), species_of(pair, "lines"))
    scenes = drawn(psfs, float(photons), frames)
    reading = read(made_reader(psfs, float(photons)), scenes.images)
    return {
        "frames": frames,
        **scored(reading.found, scenes.truth, frames),
        "cpu_s_per_frame": rounded(reading.cpu_s_per_frame, 3),
    }


def jaccards(cell: dict) -> list[float]:
    return [cell[name]["jaccard"][0] for name in sorted(cell) if name.startswith("channel ")]


def rows(numbers: dict) -> Rows:
    found = numbers["cells"]
    for pair in PAIRS:
        for photons in PHOTONS:
            have = {p: found[name] for p in PUPILS if (name := f"{pair}/{photons}/{p}") in found}
            if not have:
                continue
            scene = f"two colours, {pair.replace('-', ' and ')} nm, {photons} photons, 0.3 per um2 over 2 um, joint fit"
            parts = "; ".join(f"{p} {' / '.join(f'{j:.3f}' for j in jaccards(one))}" for p, one in have.items())
            yield f"{scene}: Jaccard of each colour at 250/500 nm", f">= {JACCARD}", parts
            parts = "; ".join(
                f"{p} {one['crosstalk']:.1f} ({one['crosstalk_interval'][0]:.1f} to {one['crosstalk_interval'][1]:.1f})"
                for p, one in have.items()
            )
            yield "its crosstalk (%, 95 %)", f"<= {CROSSTALK:g}", parts
            parts = "; ".join(f"{p} {one['cpu_s_per_frame']:.2f}" for p, one in have.items())
            yield "its CPU seconds a frame", "reported", parts


def main() -> None:
    options = cell_parser(__doc__, 32).parse_args()
    fill(NAME, cells(), measure, options, emitters_per_frame=COUNT, background=BACKGROUND, stamp_px=STAMP_PX)


if __name__ == "__main__":
    main()
