#!/usr/bin/env bash
# Shows: a table that Picasso exports for ThunderSTORM and imports again is another one. The export counts frames from
#        0 and writes no quotes (ThunderSTORM: from 1, quoted), and keeps Picasso's origin, the centre of the first
#        pixel (ThunderSTORM: its outer corner). The import takes the first row's frame for frame 0, whatever it was.
# With: picassosr 0.11.3 (1.0.0a1 does the same).
# Matters: two channels of one movie, imported so, are shifted in time by as much as their first molecules are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
# --no-deps: the whole of Picasso's windows is not needed to read a table
install() { env/bin/pip install -q --disable-pip-version-check "$@" 2>pip.txt || { cat pip.txt; exit 1; }; }
install h5py numba pandas matplotlib PyYAML scipy tqdm nd2 tifffile numexpr playsound3 pyarrow cloudpickle
install --no-deps picassosr==0.11.3
env/bin/python - >all.txt 2>/dev/null <<'P'
from pathlib import Path
import numpy as np
import pandas as pd
from picasso import io

one = np.ones(3, np.float32)
rows = {"x": one * [0, 5, 9], "y": 3 * one, "sx": one, "sy": one, "lpx": one / 8, "lpy": one / 8, "photons": 500 * one}
rows = {key: column.astype(np.float32) for key, column in rows.items()}
table = pd.DataFrame({"frame": np.array([7, 8, 11], np.uint32), **rows, "bg": one})
io.export_thunderstorm("table.csv", table, [{"Width": 16, "Height": 16, "Frames": 20, "Pixelsize": 100}])
print(*Path("table.csv").read_text().splitlines()[:2], sep="\n")
found, _ = io.import_ts("table.csv", 100)
print("imported: frames", found["frame"].tolist(), "x in pixels", found["x"].tolist())
P
tail -3 all.txt >seen.txt
diff - seen.txt <<'T'
id,frame,x [nm],y [nm],sigma [nm],intensity [photon],offset [photon],bkgstd [photon],uncertainty_xy [nm]
0,7,0.0,300.0,100.0,500,1,0,12.5
imported: frames [0, 1, 4] x in pixels [0.0, 5.0, 9.0]
T
cat seen.txt
