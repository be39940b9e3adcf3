"""Time one 121 x 121 frame through the published localization network (D = 121), ours and PyTorch's in turn.

    python benchmarks/volumetric_inference.py --torch-python PATH

PATH is an interpreter that has PyTorch; without it only ours is timed. The weights and the frame come from
COLOCUS_DATA (default ../shared/data).
"""

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import nets
from measure.peer import Peer, in_turn, stopwatch
from measure.record import Rows, write_result
from nets.volumetric import LocalizationNet
from worlds import DATA

PLACE = 100  # of its rows in benchmarks/README.md


def rows(numbers: dict) -> Rows:
    if "times_faster_than_torch_nchw" not in numbers:
        yield "volumetric net, published weights, one 121 x 121 frame, against PyTorch", ">= 2x", "no peer"
        return
    yield (
        f"volumetric net, published weights, one 121 x 121 frame ({numbers['times']['ours']['median_s']:.2f} s), "
        "against PyTorch (its default layout; channels last)",
        ">= 2x",
        f"{numbers['times_faster_than_torch_nchw']:.2f}x; {numbers['times_faster_than_torch_channels_last']:.2f}x",
    )
    yield "its output against PyTorch's, of full scale", "<= 1e-3", f"{numbers['largest_difference_of_full_scale']:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="an interpreter that has PyTorch")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    weights = DATA / "ds3d-networks" / "demo2_tetrapod_loss" / "weights.npz"
    frame = np.load(DATA / "ds3d-sim-reference" / "images_demo2.npy")[:1]

    config, variables = nets.load_deepstorm3d(weights)
    x = jnp.asarray(frame[..., None])
    run = jax.jit(lambda v, x: nets.apply(config, v, x, train=False)[0]).lower(variables, x).compile()
    plain = jax.jit(lambda v, x: LocalizationNet(config).apply(v, x, train=False)).lower(variables, x).compile()
    clocks = {
        "ours": stopwatch(lambda: run(variables, x).block_until_ready()),
        "ours_whole_maps": stopwatch(lambda: plain(variables, x).block_until_ready()),
    }
    numbers: dict = {"frame_px": list(frame.shape[1:]), "depth": config.depth, "repeats": options.repeats}
    versions = {}
    if not options.torch_python:
        print("no --torch-python: PyTorch is not timed")
        numbers["times"] = in_turn(clocks, options.repeats)
    else:
        with tempfile.TemporaryDirectory() as folder:
            frames, output = Path(folder) / "frames.npy", Path(folder) / "output.npy"
            np.save(frames, frame)
            torch = Peer(options.torch_python, "volumetric_torch.py", str(weights), str(frames), str(output))
            versions = torch.ready["versions"]
            for name in torch.ready["names"]:
                clocks[f"torch_{name}"] = lambda name=name: torch.seconds(name)
            numbers["times"] = in_turn(clocks, options.repeats)
            torch.close()
            error = np.abs(np.load(output) - np.asarray(run(variables, x))).max()
        numbers["largest_difference_of_full_scale"] = float(error) / config.scaling
        ours = numbers["times"]["ours"]["median_s"]
        for name in torch.ready["names"]:
            numbers[f"times_faster_than_torch_{name}"] = numbers["times"][f"torch_{name}"]["median_s"] / ours
    for key, value in numbers.items():
        print(f"{key}: {value}")
    print(write_result("volumetric_inference", numbers, versions=versions))


if __name__ == "__main__":
    main()
