#!/usr/bin/env bash
# Shows: a DCIMG file of a whole-chip camera keeps the first four pixels of row 1023 beside the frame. The package dcimg
#        puts them where they belong when it reads a whole frame, but on row 1022 when every second row is asked for or
#        that one pixel, and it stops with an IndexError at rows 0 to 1022. With numpy 2.4 it opens no file at all.
# With: dcimg 0.6.0.post1 with numpy 2.3.5 and 2.4.6; the file is made here, by the layout of version 0x1000000.
# Matters: cropped or thinned frames differ from the whole one by four pixels, silently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check dcimg==0.6.0.post1 numpy==2.3.5 2>pip.txt || { cat pip.txt; exit 1; }
cat >make.py <<'P'
import struct
from pathlib import Path
import numpy as np

HEIGHT, WIDTH, HEAD, DATA = 1030, 8, 232, 1024
row, picture = 2 * WIDTH, 2 * WIDTH * HEIGHT
file = bytearray(HEAD + DATA + picture + 32)
file[:5] = b"DCIMG"
for at, kind, value in (
    (8, "I", 0x1000000), (32, "I", 1), (36, "I", 1), (40, "I", HEAD), (48, "Q", len(file)), (64, "Q", len(file)),
    (HEAD, "Q", len(file) - HEAD), (HEAD + 60, "I", 1), (HEAD + 64, "I", 2), (HEAD + 72, "I", WIDTH),
    (HEAD + 76, "I", HEIGHT), (HEAD + 80, "I", row), (HEAD + 84, "I", picture), (HEAD + 96, "Q", DATA),
    (HEAD + 714, "H", WIDTH), (HEAD + 718, "H", HEIGHT),
):  # fmt: skip
    struct.pack_into("<" + kind, file, at, value)
start = HEAD + DATA
rows = np.repeat(np.arange(HEIGHT, dtype=np.uint16), WIDTH).reshape(HEIGHT, WIDTH)  # a pixel says which row it is in
file[start : start + picture] = rows.tobytes()
file[start + picture + 12 : start + picture + 20] = np.full(4, 9999, np.uint16).tobytes()
Path("movie.dcimg").write_bytes(file)
P
cat >read.py <<'P'
import sys, warnings
import numpy as np

warnings.simplefilter("ignore")
import dcimg

print("numpy", np.__version__)
try:
    movie = dcimg.DCIMGFile("movie.dcimg")
except TypeError as error:
    print("TypeError:", error)
    sys.exit()
print("rows 1021 to 1024 of the frame:", movie[0][1021:1025, 0].tolist())
print("every second row, 1020 to 1024:", movie[:, ::2][0, 510:513, 0].tolist())
print("pixel 0 of row 1022 alone:", int(movie[0, 1022, 0]))
try:
    movie[:, :1023]
except IndexError as error:
    print("rows 0 to 1022: IndexError:", error)
P
env/bin/python make.py
env/bin/python read.py >seen.txt
env/bin/pip install -q --disable-pip-version-check numpy==2.4.6 2>pip.txt || { cat pip.txt; exit 1; }
env/bin/python read.py >>seen.txt
diff - seen.txt <<'T'
numpy 2.3.5
rows 1021 to 1024 of the frame: [1021, 1022, 9999, 1024]
every second row, 1020 to 1024: [1020, 9999, 1024]
pixel 0 of row 1022 alone: 9999
rows 0 to 1022: IndexError: index 1023 is out of bounds for axis 1 with size 1023
numpy 2.4.6
TypeError: only 0-dimensional arrays can be converted to Python scalars
T
cat seen.txt
