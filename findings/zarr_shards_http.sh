#!/usr/bin/env bash
# Shows: a sharded zarr 3 array behind a web server that gives no parts of files (Python's own http.server, many a lab's
#        share) stops with "Stored and computed checksum do not match", as if the file were damaged. It is whole: the
#        server answers with all of a shard, and zarr takes that for the shard's index. An array without shards is read.
# With: zarr 3.1.6, fsspec 2026.9.0, aiohttp 3.14.1.
# Matters: a good recording looks broken, and only where it is sharded. HTTP asks for an answer 200 to be told from 206.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PY:-python3}" -m venv env
env/bin/pip install -q --disable-pip-version-check zarr==3.1.6 fsspec==2026.9.0 aiohttp==3.14.1 2>pip.txt || { cat pip.txt; exit 1; }
cat >read.py <<'P'
import functools
import http.server
import threading

import numpy as np
import zarr
from zarr.storage import FsspecStore

frames = np.arange(64 * 32 * 32, dtype=np.uint16).reshape(64, 32, 32)
layouts = {"plain": {}, "sharded": {"shards": (16, 32, 32)}}
for name, shards in layouts.items():
    array = zarr.create_array(f"{name}.zarr", shape=frames.shape, dtype=frames.dtype, chunks=(4, 32, 32), **shards)
    array[:] = frames
quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory="."))
threading.Thread(target=server.serve_forever, daemon=True).start()
scheme = "http"
for name in layouts:
    address = f"{scheme}://127.0.0.1:{server.server_port}/{name}.zarr"
    here = bool((zarr.open_array(f"{name}.zarr", mode="r")[:4] == frames[:4]).all())
    try:
        there = str(bool((zarr.open_array(FsspecStore.from_url(address, read_only=True), mode="r")[:4] == frames[:4]).all()))
    except ValueError as error:
        there = str(error).partition(".")[0]
    print(name, "| from disk:", here, "| from the server:", there)
P
cat >seen.txt <<'P'
plain | from disk: True | from the server: True
sharded | from disk: True | from the server: Stored and computed checksum do not match
P
env/bin/python read.py >now.txt
diff seen.txt now.txt
cat now.txt
