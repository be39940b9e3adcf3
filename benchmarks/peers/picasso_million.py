"""Picasso's rendering and Fourier ring correlation, timed on demand: one line of input, one JSON line of seconds out.

Started by `million.py` with an interpreter that has picassosr: `python picasso_million.py FOLDER`. FOLDER holds
`wide.npz` and `crowded.npz`, tables with `frame`, `x_um`, `y_um`, `sigma_um` and their `side_um`, and `pixel_nm.txt`.
"histogram" and "gaussian" draw the wide table and leave the picture as FOLDER/NAME.npy, "frc" runs its `frc` on the
crowded one, its own estimate of the precision and of the pixel included, and leaves FOLDER/frc.json.
"""

import importlib.metadata
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")

from picasso import postprocess, render  # noqa: E402

CAMERA_PIXEL_UM = 0.1


def load(path):
    file = np.load(path)
    table = pd.DataFrame({"frame": file["frame"].astype(np.uint32)})
    for name, column in (("x", "x_um"), ("y", "y_um"), ("lpx", "sigma_um"), ("lpy", "sigma_um")):
        table[name] = (file[column] / CAMERA_PIXEL_UM).astype(np.float32)
    table["photons"] = np.float32(1000.0)
    side = int(round(float(file["side_um"]) / CAMERA_PIXEL_UM))
    return table, side


def info(side, frames):
    return [{"Pixelsize": 1000 * CAMERA_PIXEL_UM, "Width": side, "Height": side, "Frames": frames}]


def draw(table, side, blur, pixel_nm):
    about = info(side, int(table["frame"].max()) + 1)
    view = ((0, 0), (side, side))
    return render.render(table, about, disp_px_size=pixel_nm, viewport=view, blur_method=blur)[1]


def correlate(table, side):
    about = info(side, int(table["frame"].max()) + 1)
    return postprocess.frc(table, about, ((0, 0), (side, side)))


def main():
    folder = Path(sys.argv[1])
    wide, side = load(folder / "wide.npz")
    crowded, crowded_side = load(folder / "crowded.npz")
    pixel_nm = float((folder / "pixel_nm.txt").read_text())
    for blur in (None, "gaussian"):  # its compiler runs here, not under the clock
        draw(wide[:1000], side, blur, pixel_nm)
    postprocess.nena(crowded[crowded["frame"] < 500].copy(), info(crowded_side, 500))
    print(json.dumps({"picassosr": importlib.metadata.version("picassosr")}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        start = time.perf_counter()
        if name == "frc":
            found = correlate(crowded, crowded_side)
        else:
            found = draw(wide, side, None if name == "histogram" else name, pixel_nm)
        seconds = time.perf_counter() - start
        if name == "frc":
            step = float(found["frequencies"][1])
            side_px = int(found["images"][0].shape[0])
            numbers = {"resolution_nm": found["resolution"], "pixel_nm": 1 / (step * side_px), "side_px": side_px}
            (folder / "frc.json").write_text(json.dumps(numbers, default=float))
        else:
            np.save(folder / f"{name}.npy", found)
        print(json.dumps(seconds), flush=True)


main()
