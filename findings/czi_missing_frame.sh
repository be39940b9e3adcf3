#!/usr/bin/env bash
# Shows: a CZI that lacks a time point reads as one that has it, all black: no error, no warning, and the bounding box
#        counts it. That a time outside the box is refused makes the silence inside it look like a promise.
# With: pylibCZIrw 6.1.0 (Zeiss's own library), written and read by it.
# Matters: frames announced and frames stored have to be counted apart before a CZI is taken for a whole movie.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check pylibCZIrw==6.1.0 2>pip.txt || { cat pip.txt; exit 1; }
env/bin/python - >seen.txt <<'P'
import numpy as np
from pylibCZIrw import czi

with czi.create_czi("movie.czi") as file:
    for time in (0, 1, 3):
        file.write(np.full((8, 10, 1), 100 + time, np.uint16), plane={"T": time, "C": 0, "Z": 0})
with czi.open_czi("movie.czi") as file:
    print("times", file.total_bounding_box["T"])
    print("largest pixel", [int(file.read(plane={"T": time, "C": 0, "Z": 0}).max()) for time in range(4)])
    try:
        file.read(plane={"T": 4, "C": 0, "Z": 0})
    except RuntimeError as error:
        print("time 4:", error)
P
diff - seen.txt <<'T'
times (0, 4)
largest pixel [100, 101, 0, 103]
time 4: Coordinate for dimension 'T' is out-of-range.
T
cat seen.txt
