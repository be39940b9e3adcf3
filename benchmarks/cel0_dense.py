"""Sparse deconvolution with the CEL0 penalty on crowded microtubules: time a frame and width of a line, beside ours.

    python benchmarks/cel0_dense.py [--frames N] [--side PX]

A crop of `deepstorm-sim-tubulin` (5.5 molecules per um2). The penalty is the one of five with the best Jaccard on
training frames. Readers in turn: `worlds/cel0.py` (our own code from the paper's equations, 8 x), the Deep-STORM
network of level 4. The line crosses the thinnest straight stretch of the truth in the crop.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

import localization
from localization import Gate, Localizations, select
from localization.pictures.line_profile import line_profile, profile_width
from measure.record import Rows, write_result
from worlds.autods_readers import reader
from worlds.cel0 import located, make_spots, solve

PLACE = 425  # of its rows in benchmarks/README.md
UPSAMPLING = 8
LEAST = (100.0, 200.0, 400.0, 600.0, 1000.0)  # photons of a lone molecule that pay its penalty
TRAINING_FRAMES, CORNER_PX = 3, 12
ALONG_UM, ACROSS_UM, CLEAR_UM = 0.5, 0.5, 0.2  # of the line: what is summed, its length, and how far others must lie
CEL0, NETWORK = "CEL0", "level 4"


def photons(counts: NDArray, gain: float, offset: float) -> NDArray[np.float32]:
    """Turn counts into photons above the level of the darkest tenth."""
    light = (np.asarray(counts, np.float64) - offset) / gain
    return np.asarray(light - np.quantile(light, 0.1, axis=(-2, -1), keepdims=True), np.float32)


def cropped(table: Localizations, corner_um: float, side_um: float) -> Localizations:
    """Cut the square out, counted from its corner."""
    x, y = table.x_um - corner_um, table.y_um - corner_um
    inside = (x >= 0) & (x < side_um) & (y >= 0) & (y < side_um)
    moved = localization.make_localizations(table.frame, x, y, 0 * x)
    return select(moved, inside)


def deconvolve(frames: NDArray[np.float32], sigma_px: float, pixel_um: float, least: float) -> Localizations:
    """Read frames in photons with the penalty that `least` photons pay."""
    spots = make_spots(frames.shape[-1], sigma_px, UPSAMPLING)
    penalty = 0.5 * (least * float(spots.norm.max())) ** 2
    fine_um = pixel_um / UPSAMPLING
    return localization.concatenate(
        [located(solve(frame, spots, penalty), k, fine_um, 0.5 * least) for k, frame in enumerate(frames)]
    )


def find_line(truth: Localizations, side_um: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Choose ends (x, y) of the line across the thinnest straight stretch with nothing else beside it."""
    place = np.column_stack([truth.x_um, truth.y_um])
    tree = KDTree(place)
    best, ends = np.inf, None
    for at in place[:: max(1, len(place) // 800)]:
        if not (ACROSS_UM < at.min() and at.max() < side_um - ACROSS_UM):
            continue
        near = place[tree.query_ball_point(at, ALONG_UM / 2)]
        if len(near) < 30:
            continue
        middle = np.median(near, axis=0)
        _, spread, axes = np.linalg.svd(near - middle, full_matrices=False)
        along, across = axes
        beside = place[tree.query_ball_point(middle, ACROSS_UM)] - middle
        here = np.abs(beside @ along) < ALONG_UM / 2
        off = np.abs(beside[here] @ across)
        crowd = float((off > CLEAR_UM / 2).mean())
        thin = spread[1] / np.sqrt(len(near)) * (1 + 20 * crowd)
        if thin < best:
            best, ends = thin, (middle - across * ACROSS_UM / 2, middle + across * ACROSS_UM / 2)
    if ends is None:
        raise SystemExit("no straight stretch in the crop; take a larger --side")
    return (float(ends[0][0]), float(ends[0][1])), (float(ends[1][0]), float(ends[1][1]))


def widths(lists: dict[str, Localizations], truth: Localizations, side_um: float) -> dict[str, dict[str, float]]:
    """Fit the profile of each list across one line."""
    start, stop = find_line(truth, side_um)
    found = {}
    for name, table in {**lists, "truth": truth}.items():
        profile = line_profile(table, start, stop, ALONG_UM, bin_um=0.01)
        try:
            width = profile_width(profile)
            found[name] = {"fwhm_nm": 1e3 * width.fwhm_um, "error_nm": 1e3 * width.fwhm_error_um}
        except localization.LocalizationError as error:
            print(name, error)
            found[name] = {"fwhm_nm": float("nan"), "error_nm": float("nan")}
        found[name] |= {"rows": profile.n_rows}
    return found


def rows(numbers: dict) -> Rows:
    n = numbers["readers"]
    times = "; ".join(f"{name} {n[name]['cpu_s_per_frame']:.3g}" for name in n)
    yield (
        f"CEL0 baseline on {numbers['side_px']} px of deepstorm-sim-tubulin: processor seconds a frame",
        "level 4 10 to 1,000 times quicker",
        f"{times}; level 4 {n[CEL0]['cpu_s_per_frame'] / n[NETWORK]['cpu_s_per_frame']:.0f} times quicker",
    )
    yield (
        "their Jaccard within 100 nm; width of a line (FWHM, nm; truth {:.0f})".format(
            numbers["widths"]["truth"]["fwhm_nm"]
        ),
        "reported",
        "; ".join(
            f"{name} {n[name]['jaccard']:.3f}, {numbers['widths'][name]['fwhm_nm']:.0f} +- "
            f"{numbers['widths'][name]['error_nm']:.0f}"
            for name in n
        ),
    )


def main() -> None:
    from worlds.truth_data import tubulin, tubulin_sigma_um
    from worlds.truth_methods import camera_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--side", type=int, default=40, help="pixels of the crop")
    arguments = parser.parse_args()
    one = tubulin()
    assert one.training is not None
    pixel, sigma_px, side = one.pixel_um, tubulin_sigma_um() / one.pixel_um, arguments.side
    gain, offset = float(one.gain[0]), float(one.offset[0])
    here = slice(CORNER_PX, CORNER_PX + side)

    def cut(data: localization.Localizations, n: int) -> Localizations:
        return cropped(select(data, data.frame < n), CORNER_PX * pixel, side * pixel)

    tried = {}
    training = photons(one.training.frames[:TRAINING_FRAMES, here, here], gain, offset)
    truth = cut(one.training.truth, TRAINING_FRAMES)
    for least in LEAST:
        found = deconvolve(training, sigma_px, pixel, least)
        tried[least] = localization.score(found, truth, **Gate(0.1, None)).jaccard
        print("penalty of", least, "photons: Jaccard", round(tried[least], 3), len(found.frame), flush=True)
    least = max(tried, key=lambda name: tried[name])
    counts = one.frames[: arguments.frames, here, here]
    truth = cut(one.truth, arguments.frames)
    camera = camera_of(one, 0)
    readers: dict[str, Callable[[NDArray], Localizations]] = {
        CEL0: lambda some: deconvolve(photons(some, gain, offset), sigma_px, pixel, least),
        **{name: (lambda some, name=name: made[name].read(some, 0)) for name in (NETWORK,)},
    }
    made = {name: reader(name, pixel, sigma_px, camera) for name in (NETWORK,)}
    lists, numbers = {}, {}
    for name, read in readers.items():
        read(counts) if name != CEL0 else read(counts[:1])  # compiles
        began = time.process_time()
        lists[name] = read(counts)
        seconds = (time.process_time() - began) / len(counts)
        score = localization.score(lists[name], truth, **Gate(0.1, None))
        numbers[name] = {"cpu_s_per_frame": seconds, "jaccard": score.jaccard, "rmse_nm": 1e3 * score.rmse_xy_um}
        print(name, numbers[name], flush=True)
    result = {
        "frames": len(counts),
        "side_px": side,
        "penalty_photons": least,
        "penalties": {str(k): v for k, v in tried.items()},
        "readers": numbers,
        "widths": widths(lists, truth, side * pixel),
    }
    print(result["widths"])
    print(write_result("cel0_dense", result))


if __name__ == "__main__":
    main()
