#!/usr/bin/env bash
# Shows: Picasso 1.0 stores every length of a table in nm, Picasso 0.x in camera pixels; only the root attribute
#        `picasso_format` tells them apart. Picasso 1.0 reads both. Picasso 0.11 ignores the attribute, takes nm for pixels
#        and drops, without a word, the rows that then lie off the frame: here all of them.
# With: picassosr 1.0.0a1 and 0.11.3, each writing and reading its own file and the other's (1.0 can read both).
# Matters: the same table, ending in .hdf5, is right or wrong by the factor of the pixel size, depending on who opens it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
# --no-deps: the whole of Picasso's windows is not needed to read a table
install() { env/bin/pip install -q --disable-pip-version-check "$@" 2>pip.txt || { cat pip.txt; exit 1; }; }
install h5py numba pandas matplotlib PyYAML scipy tqdm nd2 tifffile numexpr playsound3 pyarrow hdf5plugin cloudpickle
cat >show.py <<'P'
import sys
import h5py
import numpy as np
import pandas as pd
import picasso
from picasso import io

unit = 100 if picasso.__version__.startswith("1") else 1  # nm, or pixels of 100 nm
name = sys.argv[1]
one = np.ones(3, np.float32)
table = {"x": one * [2, 5, 9], "y": 3 * one, "sx": one, "sy": one, "lpx": one / 8, "lpy": one / 8}
rows = {key: np.asarray(column * unit, np.float32) for key, column in table.items()}
rows |= {"frame": np.arange(3, dtype=np.uint32), "photons": 500 * one, "bg": one}
io.save_locs(name, pd.DataFrame(rows), [{"Width": 16, "Height": 16, "Frames": 3, "Pixelsize": 100}])
with h5py.File(name) as file:
    print(f"{picasso.__version__} wrote {name}: x {file['locs']['x'].tolist()}, attributes {dict(file.attrs)}")
for read in sys.argv[1:]:
    print(f"{picasso.__version__} reads {read}: x {io.load_locs(read)[0]['x'].tolist()}")
P
install --no-deps picassosr==0.11.3
env/bin/python show.py old.hdf5 2>/dev/null | grep reads\\\|wrote >seen.txt
install --no-deps picassosr==1.0.0a1
env/bin/python show.py new.hdf5 old.hdf5 2>/dev/null | grep reads\\\|wrote >>seen.txt
install --no-deps picassosr==0.11.3
env/bin/python show.py old.hdf5 new.hdf5 2>/dev/null | grep "reads new" >>seen.txt
diff - seen.txt <<'T'
0.11.3 wrote old.hdf5: x [2.0, 5.0, 9.0], attributes {}
0.11.3 reads old.hdf5: x [2.0, 5.0, 9.0]
1.0.0a1 wrote new.hdf5: x [200.0, 500.0, 900.0], attributes {'picasso_format': '1.0', 'picasso_version': '1.0.0a1'}
1.0.0a1 reads new.hdf5: x [200.0, 500.0, 900.0]
1.0.0a1 reads old.hdf5: x [200.0, 500.0, 900.0]
0.11.3 reads new.hdf5: x []
T
cat seen.txt
