#!/usr/bin/env bash
# Shows: an ND2 file that announces more frames than it stores, because some were lost or the acquisition was stopped,
#        reads as if it were whole: what is not there is a frame of zeros, with no error and no warning.
# With: nd2 0.12.0; the file is made here, by the layout that the package documents: chunks and a map of them.
# Matters: the map has to be compared with what is announced before a movie is taken for whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check nd2==0.12.0 2>pip.txt || { cat pip.txt; exit 1; }
env/bin/python -W error - >seen.txt <<'P'
import struct
from pathlib import Path
import nd2
import numpy as np

KINDS = {bool: (1, "<B"), int: (3, "<I"), float: (6, "<d")}


def named(name, value):
    """A value, or a level of values, as ND2 keeps it."""
    kind = 11 if isinstance(value, dict) else KINDS[type(value)][0]
    head = bytes([kind, len(name) + 1]) + (name + "\0").encode("utf-16-le")
    if kind != 11:
        return head + struct.pack(KINDS[type(value)][1], value)
    inside = b"".join(named(*item) for item in value.items())
    size = struct.pack("<IQ", len(value), len(head) + 12 + len(inside))
    return head + size + inside + bytes(8 * len(value))


def write(path, stored, counted, announced, shape=(4, 6)):
    file, places = bytearray(), b""

    def chunk(name, data, room):
        nonlocal places
        if not name.startswith(b"ND2"):
            places += name + struct.pack("<QQ", len(file), len(data))
        file.extend(struct.pack("<IIQ", 0x0ABECEDA, room, len(data)) + name.ljust(room, b"\0") + data)
        file.extend(bytes(-len(file) % 4096))

    chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    for k in stored:
        pixels = np.full(shape, 100 + k, np.uint16)
        chunk(b"ImageDataSeq|%d!" % k, struct.pack("<d", 10.0 * k) + pixels.tobytes(), 4072)
    sizes = {"uiWidth": shape[1], "uiWidthBytes": 2 * shape[1], "uiHeight": shape[0], "uiComp": 1}
    sizes |= {"uiBpcInMemory": 16, "uiBpcSignificant": 16, "uiSequenceCount": counted, "eCompression": 2}
    chunk(b"ImageAttributesLV!", named("SLxImageAttributes", sizes), 4080)
    picture = {"bCalibrated": True, "dCalibration": 0.1, "sPicturePlanes": {"uiCount": 1}}
    chunk(b"ImageMetadataSeqLV|0!", named("SLxPictureMetadata", picture), 4080)
    loop = {"eType": 1, "uLoopPars": {"uiCount": announced, "dStart": 0.0, "dPeriod": 0.0, "dDuration": 0.0}}
    chunk(b"ImageMetadataLV!", named("SLxExperiment", loop), 4080)
    begins = len(file)
    chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", places + b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", begins), 32)
    end = begins + 16 + 32 + len(places) + 40
    path.write_bytes(file[:end])


for stored, counted, announced in (((0, 1, 2, 3), 4, 4), ((0, 1, 3), 4, 4), ((0, 1, 3, 4), 5, 6)):
    write(Path("movie.nd2"), stored, counted, announced)
    movie = nd2.imread("movie.nd2")
    print(f"stored {stored}, announced {announced}: read {movie.reshape(-1, 4, 6)[:, 0, 0].tolist()}")
P
diff - seen.txt <<'T'
stored (0, 1, 2, 3), announced 4: read [100, 101, 102, 103]
stored (0, 1, 3), announced 4: read [100, 101, 0, 103]
stored (0, 1, 3, 4), announced 6: read [100, 101, 0, 103, 104, 0]
T
cat seen.txt
