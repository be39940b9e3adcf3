"""Frames of 121 x 121 px, from the disk to a table: the joint fit, and DeepSTORM3D's own program, in turn.

    python benchmarks/joint_peer.py --torch-python PATH --deepstorm3d REPOSITORY [--one-thread]

The frames are DeepSTORM3D's own simulations of STORM (ds3d-sim-reference, demo 2, in COLOCUS_DATA), which its published
network was trained for. Every pass is read, infer, extract and write; programs are compiled and weights loaded before.
Scores are of the lists that were timed. Processor seconds count every thread; memory is the most that a process held.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from peers.table.asked import memory_mb, reset_peak

import localization
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader
from experiments.reading.localize import LocalizeConfig, localize_with
from localization import Gate, Localizations, make_localizations, select
from measure.peer import Peer, in_turn
from measure.record import Rows, write_result
from optics import make_camera
from worlds import DATA, ROOT, truth_data
from worlds.ds3d_psf import DEMOS, PIXEL_UM, demo_spots
from worlds.peer_programs import take_one_thread

PLACE = 181  # of its rows in benchmarks/README.md


def rows(numbers: dict) -> Rows:
    if "times_faster" in numbers:
        ours, theirs = (numbers["scores"][name]["efficiency_3d"] for name in ("joint", "deepstorm3d"))
        yield (
            f"read, infer, extract, write, {numbers['frames']} frames of 121 px: the joint fit over DeepSTORM3D's own "
            f"program ({numbers['seconds_a_frame']['deepstorm3d']:.1f} s a frame)",
            ">= 20x",
            f"{numbers['times_faster']:.1f}x",
        )
        yield "their efficiencies (3D)", "higher", f"{ours:.1f}; {theirs:.1f}"
        cpu_s, peak_mb = numbers["cpu_s_a_frame"], numbers["peak_mb"]
        yield (
            "their processor seconds a frame; peak memory (MB)",
            "reported",
            f"{cpu_s['joint']:.2f}, {cpu_s['deepstorm3d']:.1f}; {peak_mb['joint']:.0f}, {peak_mb['deepstorm3d']:.0f}",
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--deepstorm3d", help="a copy of the DeepSTORM3D repository")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--frames", type=int, default=6, help="of the six")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "runs" / "truth_sets", help="where tables of images are kept"
    )
    parser.add_argument("--one-thread", action="store_true", help="both on one thread")
    arguments = parser.parse_args()
    if arguments.one_thread:
        take_one_thread()
    if not DATA.is_dir():
        print(f"joint_peer: no data at {DATA}; set COLOCUS_DATA. Nothing measured.")
        return 0
    one = truth_data.ds3d(2)
    spots = demo_spots(DEMOS[2], arguments.work, blur_px=1.0)
    reader = JointReader(spots, make_camera(read_noise_e=9.0), ClassicalConfig(background_px=20), "joint fits")
    counts = np.clip(np.round(one.frames[: arguments.frames]), 0, 65535).astype(np.uint16)
    numbers: dict[str, Any] = {"frames": len(counts), "repeats": arguments.repeats}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "frames").mkdir()
        tifffile.imwrite(folder / "movie.tif", counts, photometric="minisblack")
        for k, frame in enumerate(counts, start=1):
            tifffile.imwrite(folder / "frames" / f"{k}.tif", frame, photometric="minisblack")
        cpu_s: dict[str, list[float]] = {"joint": [], "deepstorm3d": []}
        peak_mb: dict[str, float] = {}

        def joint() -> float:
            reset_peak()
            began, cpu = time.perf_counter(), time.process_time()
            localize_with(reader, folder / "movie.tif", folder / "joint.csv", LocalizeConfig())
            taken = time.perf_counter() - began
            cpu_s["joint"].append(time.process_time() - cpu)
            peak_mb["joint"] = memory_mb("VmHWM")
            return taken

        clocks = {"joint": joint}
        peer = None
        if arguments.torch_python and arguments.deepstorm3d:
            weights = DATA / "ds3d-networks" / "demo2_tetrapod_loss" / "weights.npz"
            packages = str(Path(tifffile.__file__).parents[1])
            peer = Peer(
                arguments.torch_python, "deepstorm3d_pipeline.py", arguments.deepstorm3d, str(weights), packages
            )
            versions = peer.ready["versions"]
            numbers["threads of the peer"] = peer.ready["threads"]

            def deepstorm3d() -> float:
                answer: Any = peer.seconds(str(folder / "frames"))
                cpu_s["deepstorm3d"].append(answer["cpu_s"])
                peak_mb["deepstorm3d"] = answer["peak_mb"]
                return answer["seconds"]

            clocks["deepstorm3d"] = deepstorm3d
        times = in_turn(clocks, arguments.repeats)
        numbers["times"] = times
        numbers["cpu_s_a_frame"] = {k: float(np.median(s[1:])) / len(counts) for k, s in cpu_s.items() if s}
        numbers["peak_mb"] = peak_mb
        numbers["seconds_a_frame"] = {name: part["median_s"] / len(counts) for name, part in times.items()}
        lists = {"joint": localization.read(folder / "joint.csv")}
        if peer is not None:
            peer.close()
            numbers["times_faster"] = times["deepstorm3d"]["median_s"] / times["joint"]["median_s"]
            lists["deepstorm3d"] = their_list(folder / "frames" / "localizations.csv")
    truth = select(one.truth, one.truth.frame < len(counts))
    numbers["scores"] = {
        name: {
            key: float(getattr(localization.score(found, truth, **Gate()), key))
            for key in ("jaccard", "recall", "precision", "rmse_xy_um", "rmse_z_um", "efficiency_3d")
        }
        for name, found in lists.items()
    }
    print(numbers)
    print(write_result("joint_peer", numbers, versions=versions))
    return 0


def their_list(path: Path) -> Localizations:
    """Its table: frames from 1, nanometres from the frame's corner, as its pixels of 110 nm have it."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return make_localizations(table[:, 0].astype(int) - 1, *(table[:, k] / 1e3 for k in (1, 2, 3)))


assert PIXEL_UM == 0.11  # what the peer's conversion to nanometres takes for granted


if __name__ == "__main__":
    sys.exit(main())
