"""Files in and out: movies (`io_movie`) and localization tables (`io_table`)."""

from localization.io.movie import Movie, open_movie
from localization.io.table import READABLE, SUFFIXES, WRITABLE, TableFile, TableWriter, read, read_file, write

__all__ = [
    "READABLE", "SUFFIXES", "WRITABLE", "Movie", "TableFile", "TableWriter", "open_movie", "read", "read_file", "write",
]  # fmt: skip
