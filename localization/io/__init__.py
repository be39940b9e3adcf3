"""Files in and out: localization tables (`table`, `formats`) and movies (`movie`, `movies`)."""

from typing import Any

from localization.io.formats import FORMATS as FORMATS
from localization.io.formats import writable
from localization.io.movie import Movie as Movie
from localization.io.movie import is_movie as is_movie
from localization.io.movie import open_movie as open_movie
from localization.io.movies import MOVIES as MOVIES
from localization.io.movies.source import MovieFormat as MovieFormat
from localization.io.movies.source import MovieOptions as MovieOptions
from localization.io.table import TableFile as TableFile
from localization.io.table import TableWriter as TableWriter
from localization.io.table import read as read
from localization.io.table import read_file as read_file
from localization.io.table import write as write
from localization.io.table_format import Format as Format


def __getattr__(name: str) -> Any:
    """`WRITABLE`, `READABLE` and `SUFFIXES`: names and endings of the formats that are in `FORMATS` by now."""
    if name == "WRITABLE":
        return writable()
    if name == "READABLE":
        return tuple(FORMATS)
    if name == "SUFFIXES":
        return {name: FORMATS[name].suffix for name in writable()}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
