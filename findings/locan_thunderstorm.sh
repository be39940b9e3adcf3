#!/usr/bin/env bash
# Shows: what Locan saves for ThunderSTORM keeps Locan's meanings under ThunderSTORM's names: the uncertainty along x is
#        called `uncertainty_xy [nm]`, that along y `uncertainty_y`, without a unit, and frames are what they were, from 0
#        for a list that was made in Python. Read, a true `uncertainty_xy` is taken for that along x.
# With: locan 0.22.0.
# Matters: a reader that knows ThunderSTORM takes the precision along x for both axes, and frame 0 for no frame at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check locan==0.22.0 2>pip.txt || { cat pip.txt; exit 1; }
env/bin/python -W ignore - >seen.txt <<'P'
from pathlib import Path
import locan
import pandas as pd

columns = {"frame": [0], "position_x": [100.0], "position_y": [20.0], "uncertainty_x": [5.0], "uncertainty_y": [7.0]}
locan.save_thunderstorm_csv(locan.LocData.from_dataframe(pd.DataFrame(columns)), "saved.csv")
print(Path("saved.csv").read_text().strip())
Path("theirs.csv").write_text('"id","frame","x [nm]","y [nm]","uncertainty_xy [nm]"\n1,1,100,20,5\n')
print(*locan.load_thunderstorm_file("theirs.csv").data.columns)
P
diff - seen.txt <<'T'
frame,x [nm],y [nm],uncertainty_xy [nm],uncertainty_y
0,100,20,5,7
original_index frame position_x position_y uncertainty_x
T
cat seen.txt
