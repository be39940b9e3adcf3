"""Which reader is best at each density and signal to noise: the map that `--method auto` chooses by.

    python benchmarks/autods_map.py [--only classical joint ...] [--side PX]

Movies of `worlds/mixed_field.py` with one density and one ratio each, read by fits of single molecules (jointly where
they touch), by joint fits, and by each Deep-STORM network alone. Fits know the width of the spots, as the step before
the reader measures it. Scored within 100 nm by lateral efficiency, which weighs missed and false molecules against
accuracy (100 less the root of (100 (1 - Jaccard))^2 + RMSE^2 in nm; Sage et al. 2019, doi 10.1038/s41592-019-0364-4).
The map goes where the package looks for it; with --only, the other readers keep their last numbers.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import localization
from experiments.reading.autods.choosing import FITS, MAP_FILE, NETWORKS, best_reader, load_map
from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.autods.reader import AutoDsReader
from experiments.reading.spots import gaussian_spots
from experiments.reconstruction.steps.choice import COLOURS, draw_map
from experiments.report.plot_style import new_figure, save_png, styled
from localization import Gate
from measure.record import RESULTS, Rows, write_result
from worlds import ROOT
from worlds.autods_readers import fits_reader
from worlds.crowd_scenes import spot_sigmas_px
from worlds.mixed_field import DEPTH_UM, MixedConfig, mixed_movie, mixed_psf

PLACE = 424  # of its rows in benchmarks/README.md
DENSITIES = (0.02, 0.1, 0.5, 1.0, 2.0, 4.0)
RATIOS = (2.0, 4.0, 8.0)
READERS = (*FITS, *NETWORKS)
AGAIN_S = 3.0  # what takes less is read again, for a time without compilation
MOLECULES, FEWEST, MOST = 120, 1, 24  # in the frames of a cell; frames


def make_reader(name: str, config: MixedConfig) -> Any:
    """Make the reader of a name for the movies of a config."""
    if name in NETWORKS:
        return AutoDsReader(AutoDsConfig(pixel_um=config.pixel_um, level=NETWORKS.index(name) + 1))
    sigma_um = spot_sigmas_px(mixed_psf(config), DEPTH_UM, DEPTH_UM)["mean"] * config.pixel_um
    return fits_reader(name, gaussian_spots(sigma_um, config.pixel_um), config.camera())


def measure(read: Callable[..., localization.Localizations], density: float, snr: float, side: int) -> dict[str, float]:
    """Read one cell's movie and score it."""
    frames = math.ceil(MOLECULES / (density * (side * 0.107) ** 2))
    config = MixedConfig(
        seed=1, frames=min(max(frames, FEWEST), MOST), frame_px=side, density_per_um2=(density, density), snr=(snr, snr)
    )
    movie = mixed_movie(config)
    taken: list[float] = []
    found = None
    while len(taken) < 2 and sum(taken) < AGAIN_S:
        began = time.process_time()
        found = read(movie.adu, 0)
        taken.append(time.process_time() - began)
    assert found is not None, "read at least once"
    score = localization.score(found, movie.truth, **Gate(0.1, None))
    return {
        "efficiency": round(score.efficiency_lateral, 2),
        "jaccard": round(score.jaccard, 4),
        "rmse_nm": round(1e3 * score.rmse_xy_um, 2),
        "cpu_s_per_frame": round(min(taken) / config.frames, 4),
    }


def draw(path: Path) -> None:
    """Draw the map, and the efficiency of each reader over density at each ratio."""
    readers = load_map()
    with styled():
        drawn = new_figure(9.6, 2.8)
        axes = drawn.subplots(1, 3)
        draw_map(axes[0], readers)
        axes[0].set_title("best reader")
        for place, ratio in zip(axes[1:], (0, len(readers.snr) - 1), strict=True):
            for name in READERS:
                place.plot(
                    readers.density_per_um2, readers.efficiency[name][:, ratio], color=COLOURS[name], marker="o", ms=3
                )
            place.set_xscale("log")
            place.set_xlabel("molecules per µm² and frame")
            place.set_ylabel("efficiency")
            place.set_title(f"signal over noise {readers.snr[ratio]:g}")
    save_png(drawn, path)
    print(path)


def rows(numbers: dict) -> Rows:
    cells = numbers["cells"]
    best = [best_reader(cell["readers"])[0] for cell in cells]
    counts = ", ".join(f"{name} {best.count(name)}" for name in READERS if name in best)
    yield f"readers of patches: which is best, of {len(cells)} pairs of density and ratio", "reported", counts
    for name in READERS:
        efficiency = [cell["readers"][name]["efficiency"] for cell in cells]
        lack = max(
            max(r["efficiency"] for r in cell["readers"].values()) - e
            for cell, e in zip(cells, efficiency, strict=True)
        )
        yield (
            f"efficiency of {name} over those pairs, least, mean, most; most that it lacks of the best",
            "reported",
            f"{min(efficiency):.0f}, {np.mean(efficiency):.0f}, {max(efficiency):.0f}; {lack:.0f}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--side", type=int, default=84)
    arguments = parser.parse_args()
    cells = {(d, s): {} for d in DENSITIES for s in RATIOS}
    kept = RESULTS / "autods_map.json"
    if kept.exists():
        for cell in json.loads(kept.read_text())["numbers"]["cells"]:
            cells.get((cell["density_per_um2"], cell["snr"]), {}).update(cell["readers"])
    ordered: list[dict[str, Any]] = []
    for name in arguments.only:
        read = make_reader(name, MixedConfig()).read
        measure(read, 1.0, 8.0, arguments.side)  # compiles
        for density, snr in cells:
            cells[density, snr][name] = measure(read, density, snr, arguments.side)
            print(name, density, snr, cells[density, snr][name], flush=True)
        ordered = [
            {"density_per_um2": d, "snr": s, "readers": {n: found[n] for n in READERS if n in found}}
            for (d, s), found in cells.items()
        ]
        print(write_result("autods_map", {"side_px": arguments.side, "cells": ordered}))
    if all(name in cell["readers"] for cell in ordered for name in READERS):
        print(write_result(MAP_FILE.stem, {"cells": ordered}, folder=MAP_FILE.parent))
        draw(ROOT / "docs" / "figures" / "reader_map.png")
        for density in DENSITIES:
            print(density, [load_map().choose(density, snr) for snr in RATIOS])


if __name__ == "__main__":
    main()
