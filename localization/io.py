"""Files in and out: movies (`io_movie`) and localization tables (`io_table`)."""

from localization.io_movie import Movie, open_movie
from localization.io_table import TableWriter, read, write

__all__ = ["Movie", "TableWriter", "open_movie", "read", "write"]
