#!/usr/bin/env bash
# Shows: in a Picasso table z and its precision lpz are both in nm. napari-storm divides z by the pixel size and lpz not,
#        so that a molecule known to 26 nm is drawn 3.4 um long at pixels of 130 nm. A table of Picasso 1.0, where x and
#        y are in nm as well, is drawn larger by the pixel size: its attribute `picasso_format` is not looked at.
# With: napari-storm 3.1.0, without a window.
# Matters: lpz, from a program that knows it, makes napari-storm's picture worse than none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check napari-storm==3.1.0 2>pip.txt || { cat pip.txt; exit 1; }
env/bin/python - >seen.txt <<'P'
import json
import h5py
import numpy as np
from napari_storm.localization_dataset_types import StormDataClass

names = ("x", "y", "z", "photons", "lpx", "lpy", "lpz")
row = (2.0, 3.0, 260.0, 500.0, 0.1, 0.1, 26.0)
for name, unit in (("pixels", 1), ("nm", 130)):
    table = np.zeros(1, [("frame", "u4"), *((column, "f4") for column in names)])
    for column, value in zip(names, row, strict=True):
        table[column] = value * (unit if column in ("x", "y", "lpx", "lpy") else 1)
    with h5py.File(f"{name}.hdf5", "w") as file:
        file["locs"] = table
        file["metadata"] = json.dumps([{"Width": 16, "Height": 16, "Frames": 1, "Pixelsize": 130}])
        if name == "nm":
            file.attrs["picasso_format"], file.attrs["picasso_version"] = "1.0", "1.0.0a1"
    drawn = StormDataClass().load_hdf5(f"{name}.hdf5", name).table
    for axis in ("x", "z"):
        print(f"{name}: {axis} {drawn.coordinate_nm(axis)[0]:.0f} nm, width {drawn.sigma_nm(axis)[0]:.0f} nm")
P
diff - seen.txt <<'T'
pixels: x 260 nm, width 13 nm
pixels: z 260 nm, width 3380 nm
nm: x 33800 nm, width 1690 nm
nm: z 260 nm, width 3380 nm
T
cat seen.txt
