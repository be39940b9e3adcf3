"""From frames on the disk to a table on the disk: our volumetric and list pipelines and DeepSTORM3D's own, in turn.

    python benchmarks/end_to_end.py --torch-python PATH --deepstorm3d REPOSITORY [--run RUN]

The frames are DeepSTORM3D's own simulations (COLOCUS_DATA, default ../shared/data), as counts, repeated and laid side
by side up to 512 px. The volumetric pipelines read them with the same published weights; the list pipeline with the run
RUN, or with an untrained decoder of the default size, whose time is the same but for the rows it writes. Every pass is
read, infer, extract and write; programs are compiled and weights loaded before.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tifffile

import nets
from experiments.reading.localize import LocalizeConfig, localize_with
from experiments.reading.readers import Reader, list_reader, load_reader
from measure.peer import Peer, in_turn
from measure.record import Rows, write_result
from training import RunConfig, build
from worlds import DATA

PLACE = 180  # of its rows in benchmarks/README.md


def rows(numbers: dict) -> Rows:
    for key, part in numbers.items():
        if not key.endswith("_px") or "ours_volume_times_faster" not in part:
            continue
        yield (
            f"read, infer, extract, write, {part['frames']} frames of {key[:-3]} px: volumetric net over the original",
            ">= 2x",
            f"{part['ours_volume_times_faster']:.1f}x",
        )
        yield "the same, list pipeline over the original", ">= 10x", f"{part['ours_list_times_faster']:.0f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--deepstorm3d", help="a copy of the DeepSTORM3D repository")
    parser.add_argument("--run", type=Path, help="a trained run for the list pipeline")
    parser.add_argument("--sides", type=int, nargs="+", default=[121, 512])
    parser.add_argument("--frames", type=int, nargs="+", default=[24, 4], help="frames of each side")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    weights = DATA / "ds3d-networks" / "demo2_tetrapod_loss" / "weights.npz"
    numbers: dict[str, Any] = {"repeats": options.repeats, "list_decoder": "run" if options.run else "untrained"}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        movies = {}
        for side, n in zip(options.sides, options.frames, strict=True):
            movies[side] = lay_out(folder / str(side), side, n)
        peer = None
        if options.torch_python and options.deepstorm3d:
            packages = str(Path(tifffile.__file__).parents[1])
            peer = Peer(options.torch_python, "deepstorm3d_pipeline.py", options.deepstorm3d, str(weights), packages)
            versions = peer.ready["versions"]
        else:
            print("no --torch-python and --deepstorm3d: the original is not timed")
        volume = load_reader(weights, model_config="demo2")
        by_list = load_reader(options.run) if options.run else untrained()
        for side, n in zip(options.sides, options.frames, strict=True):
            rows: dict[str, int] = {}
            clocks: dict[str, Callable[[], float]] = {
                "ours_volume": pipeline(volume, movies[side], rows, "ours_volume"),
                "ours_list": pipeline(by_list, movies[side], rows, "ours_list"),
            }
            if peer is not None:
                clocks["deepstorm3d"] = original(peer, movies[side].parent / "frames", rows)
            times = in_turn(clocks, options.repeats)
            part = {"frames": n, "times": times, "rows": rows}
            for ours in ("ours_volume", "ours_list") if peer is not None else ():
                part[f"{ours}_times_faster"] = times["deepstorm3d"]["median_s"] / times[ours]["median_s"]
            numbers[f"{side}_px"] = part
            print(side, part, flush=True)
        if peer is not None:
            peer.close()
    print(write_result("end_to_end", numbers, versions=versions))


def lay_out(folder: Path, side: int, n: int) -> Path:
    """The movie as one stack for ours and as numbered frames for the original; the stack's path."""
    frames = np.load(DATA / "ds3d-sim-reference" / "images_demo2.npy") * 250
    copies = -(-side // frames.shape[1])
    frames = np.tile(frames, (-(-n // len(frames)), copies, copies))[:n, :side, :side]
    counts = np.clip(np.round(frames), 0, 65535).astype(np.uint16)
    (folder / "frames").mkdir(parents=True)
    tifffile.imwrite(folder / "movie.tif", counts, photometric="minisblack")
    for k, frame in enumerate(counts, start=1):
        tifffile.imwrite(folder / "frames" / f"{k}.tif", frame, photometric="minisblack")
    return folder / "movie.tif"


def pipeline(reader: Reader, movie: Path, rows: dict[str, int], name: str) -> Callable[[], float]:
    """Seconds of one pass of ours, to the table on the disk."""

    def measure() -> float:
        started = time.perf_counter()
        rows[name] = localize_with(reader, movie, movie.with_name(f"{name}.csv"), LocalizeConfig()).rows
        return time.perf_counter() - started

    return measure


def original(peer: Peer, folder: Path, rows: dict[str, int]) -> Callable[[], float]:
    """Seconds of one pass of the original."""

    def measure() -> float:
        answer: Any = peer.seconds(str(folder))
        rows["deepstorm3d"] = answer["rows"]
        return answer["seconds"]

    return measure


def untrained() -> Reader:
    """A list decoder of the default size, its weights as they are drawn."""
    net = build(RunConfig()).net
    variables = nets.init(jax.random.key(0), net, jnp.zeros((1, 16, 16, 1)))
    return list_reader(net, variables, 64)


if __name__ == "__main__":
    sys.exit(main())
