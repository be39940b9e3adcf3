"""A million localizations: matching, precision-recall, rendering and Fourier ring correlation.

    python benchmarks/million.py [--picasso-python PATH]

Matching: 1 M found against 1 M true emitters in 10,000 frames, sparse (100 in 12 x 12 um, 0.7 per um2) and dense
(100 in 5 x 5 um, 4 per um2). Rendering: 1 M localizations of rings in 64 x 64 um as 6400 x 6400 pixels of 10 nm,
histogram and Gaussians of each row's own uncertainty, and against the exact sum of integrals in one corner. Ring
correlation: the same table at 8 nm, and 1 M localizations in 10 x 10 um, where Picasso's own (an interpreter with
picassosr) can be waited for: its `frc` chooses the pixel from the precision it estimates, ours takes that pixel and
splits by rows as it does. Pictures are compared pixel by pixel. About three minutes, most of them Picasso's.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from localization import (
    Localizations,
    fourier_ring_correlation,
    make_localizations,
    match,
    precision_recall_curve,
    to_image,
)
from measure.peer import Peer, in_turn, stopwatch
from measure.record import Rows, write_result

PLACE = 200  # of its rows in benchmarks/README.md

N, FRAMES = 1_000_000, 10_000
WIDE_UM, CROWDED_UM = 64.0, 10.0
PIXEL_UM, CORNER_UM, CAMERA_UM = 0.01, 5.0, 0.1
# 8,000 pixels a side: near the largest transform that is allowed
WIDE_FRC_PIXEL_UM = 0.008


def pairs(side_um: float, seed: int) -> tuple[Localizations, Localizations]:
    """Found and true emitters, 100 in every frame, 100 nm apart on average in each axis."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(FRAMES), N // FRAMES)
    xyz_um = rng.uniform(0, 1, (N, 3)) * [side_um, side_um, 4.0]
    found = make_localizations(frame, *(xyz_um + rng.normal(0, 0.1, (N, 3))).T, score=rng.random(N))
    return found, make_localizations(frame, *xyz_um.T)


def rings(side_um: float, n_rings: int, seed: int) -> Localizations:
    """Blinking molecules on rings of 0.3 to 2 um: bursts of four frames on average, errors as their sigmas say."""
    rng = np.random.default_rng(seed)
    molecules = N // 3
    length = rng.geometric(0.25, molecules)
    radius = rng.uniform(0.3, 2.0, n_rings)
    centre = rng.uniform(radius + 0.1, side_um - radius - 0.1, (2, n_rings))
    ring, angle = rng.integers(0, n_rings, molecules), rng.uniform(0, 2 * np.pi, molecules)
    x, y = centre[0, ring] + radius[ring] * np.cos(angle), centre[1, ring] + radius[ring] * np.sin(angle)
    of = np.repeat(np.arange(molecules), length)
    within = np.arange(of.size) - np.repeat(np.cumsum(length) - length, length)
    frame = rng.integers(0, FRAMES, molecules)[of] + within
    sigma_um = rng.gamma(16.0, 0.010 / 16.0, of.size)
    error = rng.normal(0, 1, (2, of.size)) * sigma_um
    kept = np.sort(rng.choice(of.size, N, replace=False))
    order = kept[np.argsort(frame[kept], kind="stable")]
    x, y = (np.clip(c[of] + e, 0, side_um * (1 - 1e-6))[order] for c, e in ((x, error[0]), (y, error[1])))
    return make_localizations(frame[order], x, y, 0 * x, sigma_x_um=sigma_um[order], sigma_y_um=sigma_um[order])


def in_float32(locs: Localizations) -> Localizations:
    """Rounded as a table for Picasso is (float32 camera pixels), so that no row changes its pixel on the way."""
    names = ("x_um", "y_um", "sigma_x_um", "sigma_y_um")
    rounded = {name: (getattr(locs, name) / CAMERA_UM).astype(np.float32) * CAMERA_UM for name in names}
    return dataclasses.replace(locs, **{name: column.astype(np.float64) for name, column in rounded.items()})


def exact_corner(locs: Localizations) -> np.ndarray:
    """The Gaussians' integrals over the first CORNER_UM of both axes, summed as a dense product."""
    near = (locs.x_um < CORNER_UM + 0.3) & (locs.y_um < CORNER_UM + 0.3)
    edges = PIXEL_UM * np.arange(round(CORNER_UM / PIXEL_UM) + 1)

    def integrals(place: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        return np.diff(ndtr((edges - place[near, None]) / sigma[near, None]), axis=1)

    return integrals(locs.y_um, locs.sigma_y_um).T @ integrals(locs.x_um, locs.sigma_x_um)


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Ratio of the totals, correlation of the pixels, root-mean-square difference over the root mean square.

    Picasso takes a Gaussian's value at the centre of a pixel and cuts it at three sigma, ours is the integral over the
    pixel, cut at four: summed over 4 x 4 pixels the difference is a third.
    """
    a, b = (image.astype(np.float64).reshape(-1) for image in (ours, theirs))
    blocks = [image.reshape(len(image) // 4, 4, -1, 4).sum(axis=(1, 3), dtype=np.float64) for image in (ours, theirs)]
    return {
        "relative_difference_4x4": float(np.linalg.norm(blocks[0] - blocks[1]) / np.linalg.norm(blocks[1])),
        "total_ratio": float(a.sum() / b.sum()),
        "correlation": float(np.corrcoef(a, b)[0, 1]),
        "relative_difference": float(np.linalg.norm(a - b) / np.linalg.norm(b)),
        "largest_pixel_ratio": float(a.max() / b.max()),
    }


def save(path: Path, locs: Localizations, side_um: float) -> None:
    columns = {name: getattr(locs, name) for name in ("frame", "x_um", "y_um")}
    np.savez(path, **columns, sigma_um=locs.sigma_x_um, side_um=side_um)


def rows(numbers: dict) -> Rows:
    seconds, peer = numbers["seconds"], numbers.get("picasso", {})
    for key, claim in {
        "match_sparse": "matching 1 M x 1 M localizations in 10,000 frames, sparse",
        "match_dense": "the same, dense",
    }.items():
        yield claim, "< 30 s", f"{seconds[key]['median_s']:.1f} s"
    for key, claim in {
        "render_histogram": "histogram of 1 M localizations",
        "render_gaussian": "Gaussian picture of 1 M localizations",
        "frc_wide_five_splits": "Fourier ring correlation of 1 M localizations, 8000 px, five splits",
    }.items():
        theirs = seconds.get(key.replace("render", "picasso"))
        beside = f" (Picasso {theirs['median_s']:.1f} s)" if theirs and key != "frc_wide_five_splits" else ""
        yield claim + beside, "< 20 s", f"{seconds[key]['median_s']:.1f} s"
    if "frc" in peer:
        frc = peer["frc"]
        yield (
            f"ring resolution against Picasso's ({frc['picasso_resolution_nm']:.2f} nm)",
            "within 2 %",
            f"{100 * (frc['ratio'] - 1):+.2f} %",
        )
        for kind in ("histogram", "gaussian"):
            yield (
                f"{kind} picture against Picasso's: sum; correlation of pixels; brightest pixel",
                "within 2 %",
                f"{100 * (peer[kind]['total_ratio'] - 1):+.2f} %; {peer[kind]['correlation']:.4f}; "
                f"{100 * (peer[kind]['largest_pixel_ratio'] - 1):+.1f} %",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picasso-python", help="an interpreter that has picassosr")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    numbers: dict = {"localizations": N, "frames": FRAMES}
    clocks = {}
    for name, side_um in (("sparse", 12.0), ("dense", 5.0)):
        found, truth = pairs(side_um, seed=0)
        numbers[f"match_{name}_pairs"] = int(match(found, truth).found_index.size)
        clocks[f"match_{name}"] = stopwatch(lambda f=found, t=truth: match(f, t))
        if name == "sparse":
            start = time.perf_counter()
            precision_recall_curve(found, truth)
            numbers["precision_recall_curve_s"] = time.perf_counter() - start
    wide, crowded = in_float32(rings(WIDE_UM, 600, 1)), in_float32(rings(CROWDED_UM, 40, 2))
    region = ((0.0, WIDE_UM), (0.0, WIDE_UM))
    for mode in ("histogram", "gaussian"):
        clocks[f"render_{mode}"] = stopwatch(lambda m=mode: to_image(wide, PIXEL_UM, mode=m, region_um=region))

    def correlate_wide() -> None:
        fourier_ring_correlation(wide, WIDE_FRC_PIXEL_UM, rng=0, region_um=region)

    clocks["frc_wide_five_splits"] = stopwatch(correlate_wide)
    corner = exact_corner(wide)
    ours = to_image(wide, PIXEL_UM, mode="gaussian", region_um=((0.0, CORNER_UM), (0.0, CORNER_UM)))
    numbers["gaussian_against_exact_sum_of_peak"] = float(np.abs(ours - corner).max() / corner.max())
    versions = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = None
        if options.picasso_python:
            save(folder / "wide.npz", wide, WIDE_UM)
            save(folder / "crowded.npz", crowded, CROWDED_UM)
            (folder / "pixel_nm.txt").write_text(str(1e3 * PIXEL_UM))
            peer = Peer(options.picasso_python, "picasso_million.py", name)
            versions = peer.ready
            for mode in ("histogram", "gaussian"):
                clocks[f"picasso_{mode}"] = lambda p=peer, m=mode: p.seconds(m)
        else:
            print("no --picasso-python: Picasso is not run")
        numbers["seconds"] = in_turn(clocks, options.repeats)
        if peer is not None:
            numbers["picasso"] = against_picasso(peer, folder, wide, crowded)
            peer.close()
    print(json.dumps(numbers, indent=1))
    print(write_result("million", numbers, versions=versions))


def against_picasso(peer: Peer, folder: Path, wide: Localizations, crowded: Localizations) -> dict:
    region = ((0.0, WIDE_UM), (0.0, WIDE_UM))
    found: dict = {}
    for mode in ("histogram", "gaussian"):
        ours = to_image(wide, PIXEL_UM, mode=mode, region_um=region)
        found[mode] = compare(ours, np.load(folder / f"{mode}.npy"))
    seconds = peer.seconds("frc")
    theirs = json.loads((folder / "frc.json").read_text())
    start = time.perf_counter()
    side = ((0.0, CROWDED_UM), (0.0, CROWDED_UM))
    rings_ = fourier_ring_correlation(
        crowded, 1e-3 * theirs["pixel_nm"], rng=0, region_um=side, split="random", repeats=5
    )
    found["frc"] = {
        "picasso_s": seconds,
        "ours_five_splits_s": time.perf_counter() - start,
        "picasso_resolution_nm": theirs["resolution_nm"],
        "ours_resolution_nm": 1e3 * rings_.resolution_um,
        "ours_spread_over_splits_nm": 1e3 * rings_.spread_um,
        "ratio": 1e3 * rings_.resolution_um / theirs["resolution_nm"],
        "pixel_nm": theirs["pixel_nm"],
        "side_px": theirs["side_px"],
    }
    return found


if __name__ == "__main__":
    main()
