"""Every known kind of movie, in one table.

To add one, write a file in this folder that makes a `MovieFormat`, and name it in `MOVIES`, or in `instruments`, where
a maker's program writes it; a program of your own may also add to `MOVIES` while it runs. The last one is asked first
whether it recognises a path.
"""

from pathlib import Path

from localization.io.movies import folder, ndtiff, npy, raw, tiff_movie, zarr
from localization.io.movies.instruments import INSTRUMENTS
from localization.io.movies.source import MovieFormat

_KINDS = (tiff_movie.MOVIE, raw.MOVIE, npy.MOVIE, *INSTRUMENTS, folder.MOVIE, zarr.MOVIE, ndtiff.MOVIE)
MOVIES: dict[str, MovieFormat] = {movie.name: movie for movie in _KINDS}


def recognise(path: Path) -> MovieFormat | None:
    """Find the kind of movie that a file or folder is; None where it is none.

    >>> kind = recognise(Path("movie.npy"))
    >>> kind and kind.name
    'npy'
    """
    return next((movie for movie in reversed(MOVIES.values()) if movie.recognises(path)), None)
