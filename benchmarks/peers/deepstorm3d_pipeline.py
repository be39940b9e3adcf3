"""DeepSTORM3D's own analysis of a folder of frames, timed on demand: one line of input, one JSON line out.

Its network, its post-processing and its loop over `<number>.tif` (Testing_Localization_Model.py, without the figures
that it draws): read, normalise, infer, extract, append to the results, write the CSV. Started by `end_to_end.py`
and `joint_peer.py` with an interpreter that has PyTorch:
`python deepstorm3d_pipeline.py REPOSITORY WEIGHTS.npz PACKAGES FOLDER...`, PACKAGES a folder where tifffile is.
"""

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

repository, weights_path, packages, *folders = sys.argv[1:]
sys.path.insert(0, repository)
sys.path += [packages, str(Path(__file__).parent / "table")]

import tifffile  # noqa: E402
from asked import memory_mb  # noqa: E402
from DeepSTORM3D.cnn_utils import LocalizationCNN  # noqa: E402
from DeepSTORM3D.postprocess_utils import Postprocess  # noqa: E402

SETUP = {
    "D": 121,
    "dilation_flag": True,
    "scaling_factor": 800.0,
    "device": "cpu",
    "pixel_size_rec": 0.0275,
    "pixel_size_axial": 4.0 / 121,
    "zmin": 0.0,
}


def analyse(cnn, extract, folder):
    """Seconds and rows of one pass over a folder, to the table on the disk."""
    started, cpu = time.perf_counter(), time.process_time()
    results = np.array(["frame", "x [nm]", "y [nm]", "z [nm]", "intensity [au]"])
    with torch.set_grad_enabled(False):
        for number, path in enumerate(sorted(Path(folder).glob("*.tif"), key=lambda path: int(path.stem))):
            frame = tifffile.imread(path).astype(np.float32) / 250.0
            found, confidence = extract(cnn(torch.from_numpy(frame)[None, None]))
            if found is None:
                continue
            # its nm conversion: from the frame's centre to its corner
            nm = found.reshape(-1, 3) * 1000 + np.array([frame.shape[1], frame.shape[0], 0]) * 55.0
            column = np.full(len(nm), number + 1)
            results = np.vstack((results, np.column_stack((column, nm, np.asarray(confidence).ravel()))))
    with open(Path(folder) / "localizations.csv", "w", newline="") as file:
        csv.writer(file).writerows(results.tolist())
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": memory_mb("VmHWM"),
        "rows": len(results) - 1 if results.ndim == 2 else 0,
    }


def main():
    with np.load(weights_path) as archive:
        state = {name: torch.from_numpy(np.array(archive[name])) for name in archive.files}
    cnn = LocalizationCNN(SETUP)
    cnn.load_state_dict(state)
    cnn.eval()
    extract = Postprocess(SETUP, 40, 4, False)
    print(json.dumps({"versions": {"torch": torch.__version__}, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(analyse(cnn, extract, line.strip())), flush=True)


if __name__ == "__main__":
    main()
