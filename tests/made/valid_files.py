"""One small valid file, or set of files, of every kind that the readers know."""

import importlib.util
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from localization import make_localizations, write
from localization.io import SUFFIXES, WRITABLE
from made import instrument_files, instrument_tables

_GREY: dict[str, Any] = {"photometric": "minisblack"}


@dataclass(frozen=True)
class Made:
    """Valid files in a folder of their own; `opened` is what a user names: one of them, or "." for the folder."""

    folder: Path
    opened: str
    kind: str  # "table" or "movie"
    counted: bool = True  # whether the file itself says how many rows or frames it has
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """What a user names."""
        return self.folder / self.opened


def make_files(folder: Path) -> dict[str, Made]:
    """Make one of every kind, each in a folder of its own, by name."""
    return {**make_tables(folder), **make_movies(folder), **make_instrument_movies(folder)}


def make_tables(folder: Path) -> dict[str, Made]:
    """Make a table in every format."""
    (folder / "instruments").mkdir()
    rng = np.random.default_rng(0)
    n = 12
    locs = make_localizations(
        np.arange(n), *rng.uniform(0.2, 2, (3, n)), photons=900.0, sigma_x_um=0.01, sigma_y_um=0.01, sigma_z_um=0.02
    )
    made = {}
    for name in WRITABLE:
        made[name] = _place(folder, name, f"locs{SUFFIXES[name]}", "table", SUFFIXES[name].endswith("5"), pixel_um=0.1)
        write(made[name].path, locs, format=name, pixel_um=0.1, frame_px=(24, 32), n_frames=n)
    named = instrument_tables.make_tables(folder / "instruments")
    for name, path in named.items():
        counted = path.suffix not in (".txt", ".csv", ".ascii")
        made[name] = _place(folder, name, path.name, "table", counted, pixel_um=0.1)
        shutil.move(path, made[name].path)
    return made


def make_movies(folder: Path) -> dict[str, Made]:
    """Make a movie of six frames of every kind that can be made without its instrument."""
    frames = np.random.default_rng(0).integers(0, 4000, (6, 9, 11)).astype(np.uint16)
    kinds: dict[str, dict[str, Any]] = {
        "tiff": {"metadata": None, **_GREY},
        "bigtiff": {"bigtiff": True, **_GREY},
        "deflate": {"compression": "zlib", "metadata": None, **_GREY},
        "lzw": {"compression": "lzw", "metadata": None, **_GREY},
        "ome": {"ome": True, "metadata": {"axes": "TYX"}, **_GREY},
        "imagej": {"imagej": True, "metadata": {"axes": "TYX"}},
    }
    made = {}
    for name, options in kinds.items():
        made[name] = _place(folder, name, "movie.ome.tif" if name == "ome" else "movie.tif", "movie")
        tifffile.imwrite(made[name].path, frames, **options)
    made["npy"] = _place(folder, "npy", "movie.npy", "movie")
    np.save(made["npy"].path, frames)
    made["raw"] = _place(folder, "raw", "movie.raw", "movie")
    made["raw"].path.write_bytes(frames.tobytes())
    description = "Byte Order: <\nData Type: uint16\nFrames: 6\nHeight: 9\nWidth: 11\n"
    (made["raw"].folder / "movie.yaml").write_text(description)
    made["folder"] = _place(folder, "folder", ".", "movie", False)
    for k, frame in enumerate(frames):
        tifffile.imwrite(made["folder"].folder / f"frame_{k:04d}.tif", frame, metadata=None, **_GREY)
    return made


def make_instrument_movies(folder: Path) -> dict[str, Made]:
    """Make a movie of six frames of every kind of instrument; those whose library is not here are left out."""
    frames = np.random.default_rng(0).integers(0, 4000, (6, 9, 11)).astype(np.uint16)
    writers = {
        "nd2": ("nd2", lambda path: instrument_files.write_nd2(path, frames)),
        "lif": ("liffile", lambda path: instrument_files.write_lif(path, [frames])),
        "czi": ("", lambda path: instrument_files.write_czi(path, frames)),
        "ims": ("", lambda path: instrument_files.write_ims(path, frames[:, None])),
        "dax": ("", lambda path: instrument_files.write_dax(path, frames)),
        "sif": ("", lambda path: instrument_files.write_sif(path, frames)),
        "dcimg": ("", lambda path: instrument_files.write_dcimg(path, frames)),
    }
    made = {}
    for name, (library, write_movie) in writers.items():
        if not library or importlib.util.find_spec(library):
            made[name] = _place(folder, name, f"movie.{name}", "movie")
            write_movie(made[name].path)
    made["ndtiff"] = _place(folder, "ndtiff", ".", "movie", channel=0)
    for file in (Path(__file__).parent / "ndtiff").glob("*[!.md]"):
        shutil.copyfile(file, made["ndtiff"].folder / file.name)
    return made


def real_file(folder: Path, path: Path) -> Made:
    """Put a copy of a recorded file, with the .yaml beside it, into a folder of its own."""
    movie = path.suffix in (".tif", ".raw")
    made = _place(
        folder,
        f"real_{path.name}",
        path.name,
        "movie" if movie else "table",
        movie or path.suffix in (".h5", ".hdf5", ".smlm"),
    )
    if not movie:
        made.options["pixel_um"] = 0.1
    for file in {path, path.with_suffix(".yaml")}:
        if file.exists():
            shutil.copyfile(file, made.folder / file.name)
    return made


def _place(folder: Path, name: str, opened: str, kind: str, counted: bool = True, **options: Any) -> Made:
    (folder / name).mkdir()
    return Made(folder / name, opened, kind, counted, options)
