#!/usr/bin/env bash
# Shows: one NDTiff set, three answers. A time point that was never saved closes up in the readers of Micro-Manager's own
#        packages (frame 2 of the array is time 3) and is a black frame in tifffile. Times saved out of order stand in
#        the file in the order of saving. A time saved twice is there twice; the readers know the second one only.
# With: ndtiff 3.1.0, ndstorage 0.1.18, tifffile 2026.3.3; written by ndtiff and by ndstorage alike.
# Matters: a page number of an NDTiff file is no time, and neither is a row of the array that the packages hand out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check ndtiff==3.1.0 ndstorage==0.1.18 tifffile==2026.3.3 dask 2>pip.txt ||
    { cat pip.txt; exit 1; }
cat >show.py <<'P'
import contextlib, io, sys
from pathlib import Path
import importlib
import numpy as np
import tifffile

package = importlib.import_module(sys.argv[1])
for name, times in (("missing", [0, 1, 3]), ("out of order", [2, 0, 3, 1]), ("twice", [0, 1, 2, 1])):
    with contextlib.redirect_stdout(io.StringIO()):
        made = package.NDTiffDataset(name, name="run", summary_metadata={"PixelType": "GRAY16"}, writable=True)
        for k, time in enumerate(times):  # the value says when it was saved, and which time it is
            made.put_image({"time": time}, np.full((4, 6), 10 * k + time, np.uint16), {})
        made.finish()
        made.block_until_finished()
        folder = next(Path(name).rglob("NDTiff.index")).parent
        found = package.Dataset(str(folder)).as_array()
    with tifffile.TiffFile(next(folder.glob("*.tif"))) as file:
        pages = [int(page.asarray()[0, 0]) for page in file.pages]
        series = file.series[0].asarray()[..., 0, 0].tolist()
    print(f"{name}: pages {pages}, array {np.asarray(found)[..., 0, 0].tolist()}, tifffile {series}")
P
for package in ndtiff ndstorage; do env/bin/python show.py $package >$package.txt; done
cat >expected.txt <<'T'
missing: pages [0, 11, 23], array [0, 11, 23], tifffile [0, 11, 0, 23]
out of order: pages [2, 10, 23, 31], array [10, 31, 2, 23], tifffile [10, 31, 2, 23]
twice: pages [0, 11, 22, 31], array [0, 31, 22], tifffile [0, 31, 22]
T
for package in ndtiff ndstorage; do diff expected.txt $package.txt; done
cat expected.txt
