"""Which network a patch gets: density and signal to noise as measured, against those that frames were drawn with.

    python benchmarks/autods_selection.py [--frames N] [--seeds N]

Movies of `worlds/mixed_field.py` with one density and one ratio each, over a grid of both: clusters and microtubules,
vectorial images in focus, an uneven background; four patches of 9 um each. The published features, counted peaks, are
measured beside ours. A patch's truth is what was drawn in it.
"""

import argparse

import numpy as np

from localization.patches import cut_patches, difficulty_level, patch_features
from measure.record import Rows, write_result
from worlds.mixed_field import MixedConfig, mixed_movie

PLACE = 421  # of its rows in benchmarks/README.md
SIDE_PX = 84
DENSITIES = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
RATIOS = (2.0, 4.0, 6.0, 8.0)


def measure(density: float, snr: float, frames: int, seed: int) -> list[dict[str, float]]:
    """Measure the patches of one movie."""
    config = MixedConfig(
        seed=seed, frames=frames, frame_px=2 * SIDE_PX, density_per_um2=(density, density), snr=(snr, snr)
    )
    movie = mixed_movie(config)
    patches = cut_patches(movie.adu.shape[1:], config.pixel_um, SIDE_PX * config.pixel_um)
    found, true = patch_features(movie.adu, patches, config.pixel_um), movie.patches(SIDE_PX)
    rows = []
    for place in np.ndindex(*patches.shape):
        d, s = float(true["density_per_um2"][place]), float(true["snr"][place])
        rows.append(
            {
                "asked_density": density,
                "asked_snr": snr,
                "true_density": d,
                "true_snr": s,
                "density": float(found.density_per_um2[place]),
                "snr": float(found.snr[place]),
                "counted_density": float(found.counted_per_um2[place]),
                "counted_snr": float(found.counted_snr[place]),
                "level": int(found.level[place]),
                "true_level": int(difficulty_level(d, s)),
                "counted_level": int(difficulty_level(found.counted_per_um2[place], found.counted_snr[place])),
            }
        )
    return rows


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Say how far numbers are off and how often levels are right."""

    def off(name: str, true: str) -> np.ndarray:
        return np.array([abs(row[name] / row[true] - 1) for row in rows])

    def steps(name: str) -> np.ndarray:
        return np.array([abs(row[name] - row["true_level"]) for row in rows])

    density, snr = off("density", "true_density"), off("snr", "true_snr")
    return {
        "patches": len(rows),
        "density_within_20_percent": float((density <= 0.2).mean()),
        "density_median_error": float(np.median(density)),
        "snr_within_15_percent": float((snr <= 0.15).mean()),
        "snr_median_error": float(np.median(snr)),
        "level_right": float((steps("level") == 0).mean()),
        "level_within_one": float((steps("level") <= 1).mean()),
        "counted_density_within_20_percent": float((off("counted_density", "true_density") <= 0.2).mean()),
        "counted_snr_within_15_percent": float((off("counted_snr", "true_snr") <= 0.15).mean()),
        "counted_level_right": float((steps("counted_level") == 0).mean()),
        "counted_level_within_one": float((steps("counted_level") <= 1).mean()),
    }


def by_point(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """Average the patches of each point of the grid: what is measured over what is true."""
    points = []
    for density in DENSITIES:
        for snr in RATIOS:
            mine = [row for row in rows if (row["asked_density"], row["asked_snr"]) == (density, snr)]
            ratios = {
                name: round(float(np.mean([row[name] / row[f"true_{name}"] for row in mine])), 3)
                for name in ("density", "snr")
            }
            points.append({"density_per_um2": density, "asked_snr": snr, **ratios})
    return points


def rows(numbers: dict) -> Rows:
    n = numbers["summary"]
    what = f"patches of 9 um, {numbers['frames']} frames, {len(DENSITIES)} densities x {len(RATIOS)} ratios"
    yield (
        f"AutoDS levels, {what}: right within a step; right (counted peaks)",
        ">= 95 %",
        f"{n['level_within_one']:.1%}; {n['level_right']:.0%} "
        f"({n['counted_level_within_one']:.0%}; {n['counted_level_right']:.0%})",
    )
    yield (
        "their density within 20 %, signal to noise within 15 %: share of patches (counted peaks)",
        "all",
        f"{n['density_within_20_percent']:.0%}, {n['snr_within_15_percent']:.0%} "
        f"({n['counted_density_within_20_percent']:.0%}, {n['counted_snr_within_15_percent']:.0%})",
    )
    worst = {name: max(numbers["points"], key=lambda point: abs(point[name] - 1))[name] for name in ("density", "snr")}
    yield (
        "their mean over patches, of the truth, worst point of the grid",
        "0.8-1.2, 0.85-1.15",
        f"{worst['density']:.2f}, {worst['snr']:.2f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    measured = [
        row
        for seed in range(arguments.seeds)
        for density in DENSITIES
        for snr in RATIOS
        for row in measure(density, snr, arguments.frames, seed)
    ]
    numbers = {
        "frames": arguments.frames,
        "summary": summary(measured),
        "points": by_point(measured),
        "patches": [{name: round(value, 4) for name, value in row.items()} for row in measured],
    }
    print(numbers["summary"])
    for point in numbers["points"]:
        print(point)
    print(write_result("autods_selection", numbers))


if __name__ == "__main__":
    main()
