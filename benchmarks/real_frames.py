"""Real frames: the published DeepSTORM3D networks in our code, and our own decoder beside them.

    python benchmarks/real_frames.py                     published weights: parity, scores, photometry
    python benchmarks/real_frames.py --run runs/storm    and our decoder on the STORM frames, a figure

Needs the data sets ds3d-networks, ds3d-sim-reference, ds3d-tetrapod-storm and ds3d-learned-telomeres (all
MIT; autods3d-tetrapod, where it is there, for the gain of the raw recording) in the folder COLOCUS_DATA.
Lists are kept in --work and reused: the first run takes minutes, most of them for ten frames of 297 x 391 px.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

import localization
from experiments.reading.localize import LocalizeConfig, localize
from experiments.reading.readers import load_reader
from experiments.reading.volume_reader import PUBLISHED
from localization import Localizations, estimate_gain_offset, make_localizations, select
from measure.record import Rows, write_result
from optics import Event
from worlds.storm_frames import (
    PIXEL_UM,
    STORM_COLUMNS,
    STORM_FRAMES,
    STORM_ROWS,
    agreement,
    stored_storm,
    storm_movie,
)

PLACE = 120  # of its rows in benchmarks/README.md

HALF_FRAME_UM = 121 * PIXEL_UM / 2  # the recorded simulations count from the centre of their 121 px frames
BIAS_UM = 0.055  # two fine pixels: what the published read-out adds too much for demo 3 and demo 5
NETWORKS = {2: "demo2_tetrapod_loss", 3: "demo3_tetrapod_loss", 5: "demo5_learned_loss"}


def weights(data: Path, demo: int) -> Path:
    return data / "ds3d-networks" / NETWORKS[demo] / "weights.npz"


def simulated(data: Path, demo: int) -> dict[str, Any]:
    """Scores of one network on the simulated frames with exact truth, ours beside the recorded ones."""
    folder = data / "ds3d-sim-reference"
    images = np.load(folder / f"images_demo{demo}.npy")
    # demo 2's images are counts / 250 already, and the network divides again
    counts = images * (PUBLISHED["demo2"].divide_by_adu if demo == 2 else 1.0)
    found = load_reader(weights(data, demo), model_config=f"demo{demo}").read(counts, 0)
    truth = recorded(folder / f"truth_demo{demo}.csv")
    if demo == 2:  # as published: only emitters above 6000 counts are truth
        bright = pd.read_csv(folder / f"truth_demo{demo}.csv")["counts"] > 6000
        truth = select(truth, bright.to_numpy())
    stored = recorded(folder / f"original_network_localizations_demo{demo}.csv")
    shift = 0.0 if demo == 2 else BIAS_UM
    stored_unbiased = dataclasses.replace(stored, x_um=stored.x_um - shift, y_um=stored.y_um - shift)
    as_published = dataclasses.replace(found, x_um=found.x_um + shift, y_um=found.y_um + shift)

    def scored(locs: Localizations) -> dict[str, float]:
        one = localization.score(locs, truth, mode="deepstorm3d", ball_um=0.1)
        keys = ("n_found", "n_truth", "true_positives", "jaccard", "rmse_xy_um", "rmse_z_um")
        return {key: getattr(one, key) for key in (*keys, "bias_x_um", "bias_y_um", "bias_z_um")}

    return {
        "frames": len(images),
        "ours": scored(found),
        "stored, 55 nm taken off": scored(stored_unbiased),
        "ours, 55 nm put on": scored(as_published),
        "stored": scored(stored),
        "agreement": agreement(as_published, stored),
    }


def recorded(path: Path) -> Localizations:
    table = pd.read_csv(path)
    x_um, y_um = table["x_um"] + HALF_FRAME_UM, table["y_um"] + HALF_FRAME_UM
    return make_localizations(table["image"], x_um, y_um, table["z_um"])


def storm_list(data: Path, work: Path, name: str, model: Path, **options: Any) -> tuple[Localizations, float | None]:
    """The list of the ten STORM frames and the seconds a frame took."""
    path = work / f"storm_{name}.csv"
    config = LocalizeConfig(frames=(0, STORM_FRAMES), rows=STORM_ROWS, columns=STORM_COLUMNS, batch=2, **options)
    return kept_list(storm_movie(data), model, path, config)


def kept_list(movie: Path, model: Path, path: Path, config: LocalizeConfig) -> tuple[Localizations, float | None]:
    """The list at `path`, kept for published weights, localized now for a run; seconds a frame where known."""
    took = path.with_suffix(".seconds")
    if not path.exists() or model.is_dir():  # a run of ours may have been trained anew
        result = localize(movie, model, path, config, report=say)
        took.write_text(f"{result.seconds / result.frames:.3f}")
    return localization.read(path), float(took.read_text()) if took.exists() else None


def say(event: Event) -> None:
    if event.stage == "frame":
        print(f"  {event.done} of {event.total} frames, {event['seconds']:.0f} s", flush=True)


def telomeres(data: Path, work: Path) -> dict[str, Any]:
    folder = data / "ds3d-learned-telomeres"
    config = LocalizeConfig(model_config="demo5")
    found, seconds = kept_list(folder / "telomeres1.tif", weights(data, 5), work / "telomeres.csv", config)
    table = pd.read_csv(folder / "original_network_localizations_telomeres1.csv")
    stored = make_localizations(
        np.zeros(len(table)),
        table["x_nm_unbiased"] / 1e3,
        table["y_nm_unbiased"] / 1e3,
        2.0 + table["z_nm_above_zmin"] / 1e3,
    )
    return agreement(found, stored) | {"seconds_per_frame": seconds}


def photometry(data: Path) -> dict[str, Any]:
    """Gain and offset of the subtracted movie, of its raw twin, and what the subtraction did between them."""
    subtracted = tifffile.imread(storm_movie(data))
    movies = {"subtracted": subtracted}
    twin = data / "autods3d-tetrapod" / "frames_00000-00032_00050-00076.tif"
    if twin.exists():
        raw = tifffile.imread(twin)[:33]
        movies |= {"subtracted, the raw one's part": subtracted[:, 16:329, 123:456], "raw": raw}
    result: dict[str, Any] = {}
    for name, movie in movies.items():
        one = estimate_gain_offset(movie)
        result[name] = {
            "gain_adu_per_photon": one.gain_adu_per_photon,
            "gain_error": one.gain_error,
            "offset_adu": one.offset_adu,
            "offset_error_adu": one.offset_error_adu,
        }
    if twin.exists():
        minimum = raw[0].astype(float) - subtracted[0, 16:329, 123:456]
        result["subtracted map"] = {"mean_adu": minimum.mean(), "least": minimum.min(), "most": minimum.max()}
        result["offset of the subtracted movie, from the raw one"] = result["raw"]["offset_adu"] - minimum.mean()
    return result


def rows(numbers: dict) -> Rows:
    for name in ("demo2", "demo3", "demo5"):
        ours, stored = numbers["simulated"][name]["ours, 55 nm put on"], numbers["simulated"][name]["stored"]
        yield (
            f"published weights on ds3d-sim-reference {name}: Jaccard, ours and stored",
            "equal",
            (f"{ours['jaccard']:.4f}; {stored['jaccard']:.4f}"),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a trained list decoder (preset storm)")
    parser.add_argument("--work", type=Path, default=Path("runs/real_frames"), help="where lists are kept")
    parser.add_argument("--threshold", type=float, default=0.5, help="of our decoder")
    parser.add_argument("--frame", type=int, default=0, help="the frame that is drawn, from 0")
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/storm_overlay.png"))
    arguments = parser.parse_args()
    data = Path(os.environ.get("COLOCUS_DATA", "../shared/data"))
    if not (data / "ds3d-networks").is_dir():
        print(f"real_frames: no data at {data}; set COLOCUS_DATA. Nothing measured.")
        return 0
    arguments.work.mkdir(parents=True, exist_ok=True)

    results: dict[str, Any] = {"photometry": photometry(data)}
    for name, one in results["photometry"].items():
        print("gain and offset,", name, one)
    results["simulated"] = {f"demo{demo}": simulated(data, demo) for demo in NETWORKS}
    for name, one in results["simulated"].items():
        for who in ("ours, 55 nm put on", "stored", "ours", "stored, 55 nm taken off"):
            s = one[who]
            print(
                f"{name} {who:24s} found {s['n_found']} of {s['n_truth']}, Jaccard {s['jaccard']:.4f}, rmse "
                f"{1e3 * s['rmse_xy_um']:.2f} nm lateral, {1e3 * s['rmse_z_um']:.2f} nm axial"
            )
    published, seconds = storm_list(data, arguments.work, "published", weights(data, 2), model_config="demo2")
    results["storm, published weights against stored"] = agreement(published, stored_storm(data)) | {
        "seconds_per_frame": seconds
    }
    results["telomeres, published weights against stored"] = telomeres(data, arguments.work)
    for name in ("storm", "telomeres"):
        print(name, results[f"{name}, published weights against stored"])
    if arguments.run is not None:
        from pages.storm_overlay import compare_and_draw

        ours, seconds = storm_list(
            data,
            arguments.work,
            f"ours_{arguments.threshold:g}",
            arguments.run,
            threshold=arguments.threshold,
        )
        results["storm, our decoder against published"] = (
            agreement(ours, published)
            | {"seconds_per_frame": seconds, "run": arguments.run.name, "threshold": arguments.threshold}
            | compare_and_draw(
                tifffile.imread(storm_movie(data))[:STORM_FRAMES],
                {"published": published, "ours": ours},
                arguments.run,
                frame=arguments.frame,
                rows=STORM_ROWS,
                columns=STORM_COLUMNS,
                figure_path=arguments.figure,
            )
        )
        print("storm, ours", results["storm, our decoder against published"])
    else:
        print("our own decoder: not given (--run); train the preset storm")
    write_result("real_frames", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
