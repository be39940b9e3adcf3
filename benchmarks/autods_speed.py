"""AutoDS from counts to a list, frames of 484 x 540 at 8 x, against the published notebook's loop on this processor.

    python benchmarks/autods_speed.py --torch-python PYTHON [--frames N]

Frames of `worlds/mixed_field.py`, density 0.1 to 2 per um2 and signal over noise 2 to 8 across the field. Ours is the
reader of `colocus localize --method autods` with all that it does: features, choice, networks, peaks. The peer is
`peers/autods_notebook.py` in PyTorch, with networks of the published width and of ours.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from experiments.reading.autods.config import AutoDsConfig
from experiments.reading.autods.reader import AutoDsReader
from measure.peer import Peer, in_turn, stopwatch
from measure.record import Rows, write_result
from worlds.mixed_field import MixedConfig, mixed_movie

PLACE = 423  # of its rows in benchmarks/README.md
SHAPE = (484, 540)
PEER_FRAMES, PEER_TILES = 1, 16


def rows(numbers: dict) -> Rows:
    n = numbers
    ratios = f"{n['speed_up_full']:.0f}x; {n['speed_up_quarter']:.1f}x" if "speed_up_full" in n else "peer not timed"
    yield (
        "AutoDS, 484 x 540 at 8 x, against the notebook's loop in PyTorch here: published width; our quarter width",
        ">= 5x",
        ratios,
    )
    yield "its frames a second on two cores (published, on a GPU: 0.94)", ">= 1", f"{n['frames_per_s']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    config = MixedConfig(frames=arguments.frames, frame_px=max(SHAPE))
    counts = mixed_movie(config).adu[:, : SHAPE[0], : SHAPE[1]]
    reader = AutoDsReader(AutoDsConfig(pixel_um=config.pixel_um))
    clocks = {"ours": stopwatch(lambda: reader.read(counts, 0))}
    numbers: dict = {"frames": arguments.frames, "networks": "shipped, a quarter of the published width"}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.torch_python:
            path = Path(folder) / "frames.npy"
            np.save(path, counts[:PEER_FRAMES])
            peer = Peer(arguments.torch_python, "autods_notebook.py", str(path), str(PEER_TILES))
            numbers["peer"] = peer.ready | {"frames": PEER_FRAMES, "tiles_of_64": PEER_TILES}
            clocks |= {name: (lambda name=name: peer.seconds(name)) for name in ("quarter", "full")}
        taken = in_turn(clocks, arguments.repeats)
    seconds = {name: t["median_s"] / (arguments.frames if name == "ours" else PEER_FRAMES) for name, t in taken.items()}
    numbers |= {"seconds_a_frame": seconds, "frames_per_s": 1 / seconds["ours"], "timed": taken}
    numbers["patches"] = dict(reader.take_tally())
    for name in ("full", "quarter"):
        if name in seconds:
            numbers[f"speed_up_{name}"] = seconds[name] / seconds["ours"]
    print(numbers)
    print(write_result("autods_speed", numbers))


if __name__ == "__main__":
    main()
