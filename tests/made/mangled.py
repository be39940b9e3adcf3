"""Small files of every kind that the readers know, and ways to damage them."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import tifffile

from localization import LocalizationError, make_localizations, open_movie, read_file, write
from localization.io import SUFFIXES, WRITABLE
from made.instrument_tables import make_tables

_GREY = {"photometric": "minisblack"}
_TOKENS = (b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"NaN", b"-1", b"1e999",
           b"\n", b",", b'"', b"[px]", b"\xb5", b"99999999999999999999", b"<", b": ", b"- ")  # fmt: skip


def make_files(folder: Path) -> dict[str, Path]:
    """One small file per table format and movie kind, by name."""
    rng = np.random.default_rng(0)
    n = 12
    locs = make_localizations(
        np.arange(n), *rng.uniform(0.2, 2, (3, n)), photons=900.0, sigma_x_um=0.01, sigma_y_um=0.01, sigma_z_um=0.02
    )
    files = {}
    for name in WRITABLE:
        files[name] = folder / f"{name}{SUFFIXES[name]}"
        write(files[name], locs, format=name, pixel_um=0.1)
    files |= make_tables(folder)
    frames = rng.integers(0, 4000, (6, 9, 11)).astype(np.uint16)
    kinds = {
        "tiff": {"metadata": None, **_GREY},
        "bigtiff": {"bigtiff": True, **_GREY},
        "deflate": {"compression": "zlib", "metadata": None, **_GREY},
        "lzw": {"compression": "lzw", "metadata": None, **_GREY},
        "ome": {"ome": True, "metadata": {"axes": "TYX"}, **_GREY},
        "imagej": {"imagej": True, "metadata": {"axes": "TYX"}},
    }
    for name, options in kinds.items():
        files[name] = folder / (f"{name}.ome.tif" if name == "ome" else f"{name}.tif")
        tifffile.imwrite(files[name], frames, **options)
    files["npy"] = folder / "movie.npy"
    np.save(files["npy"], frames)
    files["raw"] = folder / "movie.yaml"
    files["raw"].write_text("Byte Order: <\nData Type: uint16\nFrames: 6\nHeight: 9\nWidth: 11\n")
    (folder / "movie.raw").write_bytes(frames.tobytes())
    return files


def damage(raw: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with some changed, put in, taken out or doubled; headers more often than the rest."""
    data = bytearray(raw)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        near = min(len(data), 600) if rng.random() < 0.6 else len(data)
        at = int(rng.integers(0, near))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            token = _TOKENS[int(rng.integers(0, len(_TOKENS)))]
            data[at : at + len(token)] = token
        elif kind == 2:
            data[at:at] = _TOKENS[int(rng.integers(0, len(_TOKENS)))]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 4:
            del data[at:]
        else:
            data[at:at] = data[at : at + int(rng.integers(1, 200))]
    return bytes(data)


def read_any(path: Path, kind: str) -> str:
    """Read a file as its kind: "read", or "refused" with a one-line error; anything else comes out as it is."""
    try:
        if kind in ("movie", "raw"):
            with open_movie(path if kind == "movie" else path.with_suffix(".raw"), allow_cut=True) as movie:
                n = movie.shape[0]
                for k in {0, n // 2, n - 1}:
                    movie.read(k, k + 1)
        else:
            read_file(path, pixel_um=0.1)
    except LocalizationError as error:
        if "\n" in str(error):
            raise AssertionError(f"an error of several lines: {error!r}") from error
        return "refused"
    return "read"


def try_one(path: Path, seed: int) -> str:
    """Damage a copy of a file by the seed, and read it."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if path.suffix == ".yaml":
            shutil.copy(path.with_suffix(".raw"), folder)
        target = folder / path.name
        target.write_bytes(damage(path.read_bytes(), rng))
        movie = path.suffix == ".tif" or path.name == "movie.npy"
        return read_any(target, "raw" if path.suffix == ".yaml" else "movie" if movie else "table")
