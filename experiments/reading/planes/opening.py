"""A movie opened as its reader takes it: whole frames, or planes."""

from pathlib import Path

from experiments.reading.localize_config import LocalizeConfig
from experiments.reading.planes.movie import PlanesMovie
from experiments.reading.planes.reader import PlanesReader
from experiments.reading.readers import Reader
from localization import Movie, open_movie
from training import ConfigError


def open_for(reader: Reader, movie: Path | str, config: LocalizeConfig) -> Movie | PlanesMovie:
    """Open a movie for a reader, its planes apart where that wants them. Raises `LocalizationError`, `ConfigError`."""
    if not isinstance(reader, PlanesReader) and config.planes:
        raise ConfigError(f"planes = {' '.join(config.planes)} is for a PSF of several planes and method joint")
    opened = open_movie(movie, **config.opening.given(), min_size_px=reader.min_frame_px)
    return reader.lay_out(opened, config.planes, config.opening) if isinstance(reader, PlanesReader) else opened
