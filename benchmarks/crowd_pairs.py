"""Does the joint fit scatter as little as the neighbours allow? Errors of matched emitters over their bounds.

    python benchmarks/crowd_pairs.py [--frames 80] [--only 'tetrapod/*'] [--minutes 12]

Frames as in `crowd_frames.py`, drawn with an even stray background, so that what the fit assumes is what is there.
Each matched emitter's bound is that of the true scene: all emitters of the frame and the background unknown
(`crowds/bounds.py`). Matching within 100 nm laterally and 200 nm axially. "clear" are emitters whose bound is below a
fifth of that gate, which then cuts nothing off. Predicted sigma: `localization.calibrate_uncertainty`.
"""

import numpy as np

import localization
from crowds.bounds import bounds_in_scene_um
from crowds.reading import joint_reader, read
from crowds.record import cell_parser, fill, rounded
from crowds.scenes import MASKS, draw
from measure.record import Rows

PLACE = 152  # of its rows in benchmarks/README.md

COUNTS = (18, 5, 10)
GATE = localization.Gate(0.1, 0.2)
CLEAR_UM = np.array([0.02, 0.02, 0.04])
RESAMPLED = 500
FIRST = 1000  # other frames than those of `crowd_frames.py`


def cells() -> list[str]:
    return [f"{mask}/{count}" for count in COUNTS for mask in MASKS]


def measure(cell: str, frames: int) -> dict:
    mask, count = cell.split("/")
    scenes = draw(mask, int(count), frames, first=FIRST)
    truth = scenes.truth
    xyz = np.column_stack([truth.x_um, truth.y_um, truth.z_um])
    bound = np.full(xyz.shape, np.inf)
    for frame in range(frames):
        here = truth.frame == frame
        bound[here] = bounds_in_scene_um(scenes.psf, xyz[here], truth.photons[here], scenes.level[frame])
    reading = read(joint_reader(mask), scenes.images)
    matches = localization.match(reading.found, truth, **GATE)
    error, of = localization.pair_errors_um(reading.found, truth, matches), bound[matches.truth_index]
    told = np.isfinite(of).all(axis=1)
    relative, frame = (error / of)[told], truth.frame[matches.truth_index][told]
    clear = (of[told] < CLEAR_UM).all(axis=1)
    calibration = localization.calibrate_uncertainty(reading.found, truth, **GATE)
    axes = [getattr(calibration, axis) for axis in "xyz"]
    return {
        "frames": frames,
        "emitters": truth.frame.size,
        "pairs": len(error),
        "pairs_without_bound": int((~told).sum()),
        "pairs_clear": int(clear.sum()),
        "median_bound_nm": rounded(1e3 * np.median(bound, axis=0)),
        "rmse_over_bound": rounded(_rms(relative)),
        "rmse_over_bound_interval": rounded(_interval(relative, frame)),
        "rmse_over_bound_clear": rounded(_rms(relative[clear])),
        "rmse_over_bound_clear_interval": rounded(_interval(relative[clear], frame[clear])),
        "spread_over_bound": rounded(np.diff(np.quantile(relative, [0.15866, 0.84134], axis=0), axis=0)[0] / 2),
        "bias_over_bound": rounded(relative.mean(axis=0)),
        "beyond_5": rounded((np.abs(relative) > 5).mean(axis=0)),
        "error_over_sigma": rounded([axis.ratio for axis in axes]),
        "error_over_sigma_std": rounded([axis.ratio_error for axis in axes]),
        "error_over_sigma_rms": rounded([axis.ratio_rms for axis in axes]),
    }


def _rms(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values**2, axis=0))


def _interval(values: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """95 % of the rms (2, 3) by drawing frames anew."""
    _, at = np.unique(frame, return_inverse=True)
    n = at.max() + 1
    squares = np.stack([np.bincount(at, values[:, axis] ** 2, n) for axis in range(3)], axis=1)
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLED)
    ratio = np.sqrt((drawn @ squares) / (drawn @ np.bincount(at, minlength=n))[:, None])
    return np.quantile(ratio, [0.025, 0.975], axis=0)


def rows(numbers: dict) -> Rows:
    for cell, found in numbers["cells"].items():
        mask, count = cell.split("/")
        yield (
            f"joint fit, {mask}, {count} emitters a frame: RMSE of matched emitters over the bound among their "
            "neighbours, x / y / z; those with a bound well inside the gate",
            "<= 1.15",
            f"{_three(found['rmse_over_bound'])}; {_three(found['rmse_over_bound_clear'])}",
        )
        yield "its errors over predicted sigma x / y / z", "0.9-1.1", _three(found["error_over_sigma"])


def _three(values: list[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def main() -> None:
    fill("crowd_pairs", cells(), measure, cell_parser(__doc__, 80).parse_args(), gate_um=[0.1, 0.2])


if __name__ == "__main__":
    main()
