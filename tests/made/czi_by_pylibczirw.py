"""Write `tests/localization/io/czi_by_pylibczirw.json`: small CZI files as pylibCZIrw 6.1 writes them.

pylibCZIrw is LGPL and installs cmake with it, so it is no part of the environment: run this where it is installed,
`python tests/made/czi_by_pylibczirw.py`. Frames of (time, channel, y, x) = 7 k + 90.
"""

import base64
import json
import tempfile
import zlib
from pathlib import Path

import numpy as np

FRAMES = (7 * np.arange(3 * 2 * 4 * 5) + 90).astype(np.uint16).reshape(3, 2, 4, 5)


def packed(folder: Path, compression: str, channels: int = 1, gap: tuple[int, ...] = ()) -> str:
    """Write one file and return it as text."""
    from pylibCZIrw import czi

    path = folder / "made.czi"
    with czi.create_czi(str(path), compression_options=compression, exist_ok=True) as document:
        for t, c in np.ndindex(len(FRAMES), channels):
            if t not in gap:
                document.write(FRAMES[t, c], plane={"T": t, "C": c, "Z": 0})
        names = {c: f"dye {c}" for c in range(channels)}
        document.write_metadata("made", channel_names=names, scale_x=1.08e-7, scale_y=1.08e-7)
    return base64.b85encode(zlib.compress(path.read_bytes(), 9)).decode()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        files = {
            "plain": packed(there, "uncompressed:"),
            "zstd0": packed(there, "zstd0:ExplicitLevel=3"),
            "zstd1": packed(there, "zstd1:ExplicitLevel=3;PreProcess=HiLoByteUnpack"),
            "two channels": packed(there, "uncompressed:", channels=2),
            "gap": packed(there, "uncompressed:", gap=(1,)),
        }
    target = Path(__file__).parents[1] / "localization/io/czi_by_pylibczirw.json"
    target.write_text(json.dumps(files, indent=1) + "\n")
