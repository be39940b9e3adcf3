"""DeepSTORM3D's own physical layer, timed on demand: one line of input, one JSON line of seconds out.

Started by `encode_speed.py` with an interpreter that has PyTorch:
`python deepstorm3d_layer.py FOLDER EMITTERS.npz`, FOLDER a checkout of github.com/EliasNehme/DeepSTORM3D.
The settings are those of its PSF-learning demo (demo 4). "encode" runs one example and answers with the whole
time; "phases", "forward" and "backward" then answer with the parts of that same run.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    folder = Path(sys.argv[1])
    with np.load(sys.argv[2]) as stored:
        xyz_um, photons = stored["xyz_um"][None], stored["photons"][None]
    physics = load(folder / "DeepSTORM3D" / "physics_utils.py")
    setup = load(folder / "Demos" / "parameter_setting_demo4.py").demo4_parameters()
    setup |= {"device": torch.device("cpu"), "batch_size_gen": 1}
    setup = physics.calc_bfp_grids(setup)
    layer = physics.PhysicalLayer(setup)
    mask = torch.zeros((setup["Hmask"], setup["Wmask"]), requires_grad=True)
    counts = torch.from_numpy(photons.astype("float32"))
    seconds = {}

    def encode():
        start = time.perf_counter()
        phases = physics.EmittersToPhases(xyz_um, setup)
        # what its data loader does with them: real and imaginary parts in single precision
        phases = torch.view_as_real(torch.from_numpy(phases).to(torch.complex64))
        ready = time.perf_counter()
        frame = layer(mask, phases, counts)
        seen = time.perf_counter()
        mask.grad = None
        (frame**2).sum().backward()
        end = time.perf_counter()
        seconds.update(encode=end - start, phases=ready - start, forward=seen - ready, backward=end - seen)

    names = ["encode", "phases", "forward", "backward"]
    versions = {"torch": torch.__version__}
    print(json.dumps({"versions": versions, "threads": torch.get_num_threads(), "names": names}), flush=True)
    for line in sys.stdin:
        if line.strip() == "encode":
            encode()
        print(json.dumps(seconds[line.strip()]), flush=True)


if __name__ == "__main__":
    main()
