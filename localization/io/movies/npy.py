"""A movie in numpy's .npy file: an array (frame, y, x), or (y, x) for a single frame."""

import warnings
from pathlib import Path

import numpy as np

from localization.io.movies.axes import choose
from localization.io.movies.raw import RawMovie
from localization.io.movies.source import MovieFormat, MovieOptions
from localization.types import LocalizationError, one_line


def _open(path: Path, options: MovieOptions) -> RawMovie:
    choose(path, [], options)
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
            shape, fortran, dtype = read_header(file)
            offset = file.tell()
    except Exception as error:  # numpy parses the header as Python, which may fail in any way
        raise LocalizationError(f"{path}: not a .npy array ({one_line(error)}); save it again") from error
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or fortran or dtype.hasobject or min(shape) < 1:
        raise LocalizationError(
            f"{path}: array of shape {shape}{', by columns' if fortran else ''}; save it as (frame, y, x) in C order"
        )
    return RawMovie(path, (int(shape[0]), int(shape[1]), int(shape[2])), dtype, offset, allow_cut=options.allow_cut)


def _is_movie(path: Path) -> bool:
    """Tell by the name; rows of four floats are COMET's table, not an image."""
    if path.suffix.lower() != ".npy":
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # whatever is wrong with it, `_open` says so
        return True
    return not (held.ndim == 2 and held.shape[1] == 4 and held.dtype.kind == "f")


MOVIE = MovieFormat("npy", _is_movie, _open)
