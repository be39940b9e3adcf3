"""Planes of a movie: side by side or one above the other in its frames, or each in a movie of its own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from localization import LocalizationError, Movie, MovieFacts, MovieOptions, open_movie
from training import ConfigError

SIDE, ABOVE = "side", "above"
Span = tuple[int, int]


def check_where(where: Sequence[str]) -> None:
    """Refuse words that do not say where planes lie. Raises `ConfigError`."""
    words = {SIDE, ABOVE} & set(where)
    if words and len(where) > 1:
        raise ConfigError(
            f"planes = {' '.join(where)}: write {SIDE}, {ABOVE}, or the movies of the second and further planes"
        )


class PlanesMovie:
    """C planes of H x W pixels as one movie: `shape` is (frames, H, W), of one plane; `read` gives (n, C H, W).

    `rows` and `columns` count in a plane. `corners_px` (C, 2) is where each plane begins in the frames of its file,
    column and row. Closing it closes all movies, as an error does: `LocalizationError` for frames that do not divide
    by C, planes below `min_size_px`, and movies of different frames or lengths.
    """

    def __init__(self, movie: Movie, where: Sequence[str], count: int, options: MovieOptions, min_size_px: int) -> None:
        self.others: list[Movie] = []
        self.path, self.options, self.dtype = movie.path, movie.options, movie.dtype
        self._first = movie
        try:
            layout = where[0] if len(where) == 1 and where[0] in (SIDE, ABOVE) else ("" if where else SIDE)
            self._inside = bool(layout)
            if layout:
                height, width = self._halved(movie, layout, count)
            else:
                self._open_others(where, count, options)
                self.corners_px = np.zeros((count, 2), int)
                _, height, width = movie.shape
            if min(height, width) < min_size_px:
                raise LocalizationError(
                    f"{movie.path}: planes of {height} x {width} px are smaller than the {min_size_px} px that are "
                    "needed; crop the movie less"
                )
        except BaseException:
            self.close()
            raise
        how = {SIDE: "side by side", ABOVE: "one above the other", "": "in movies of their own"}[layout]
        self.shape = (movie.shape[0], height, width)
        self.notes = (*movie.notes, f"{count} planes {how}, {height} x {width} px each")
        self.facts: MovieFacts = replace(movie.facts, frame_px=(height, width))

    def _halved(self, movie: Movie, layout: str, count: int) -> tuple[int, int]:
        """Height and width of a plane, where the planes share the frames."""
        _, height, width = movie.shape
        size, name, how = (width, "columns", "side by side") if layout == SIDE else (height, "rows", "stacked")
        if size % count:
            raise LocalizationError(
                f"{movie.path}: {size} {name} are not {count} planes {how}; "
                "crop the movie, or name a movie for each further plane with --planes"
            )
        self.corners_px = np.zeros((count, 2), int)
        self.corners_px[:, 0 if layout == SIDE else 1] = np.arange(count) * (size // count)
        return (height, width // count) if layout == SIDE else (height // count, width)

    def _open_others(self, where: Sequence[str], count: int, options: MovieOptions) -> None:
        if len(where) != count - 1:
            raise LocalizationError(
                f"{self.path}: {count} planes lie in {len(where) + 1} movies; name one for each further plane"
            )
        for path in where:
            self.others.append(open_movie(Path(path), **options.given()))
            if self.others[-1].shape != self._first.shape:
                sizes = [" x ".join(map(str, one.shape)) for one in (self.others[-1], self._first)]
                raise LocalizationError(
                    f"{path}: {sizes[0]} (frames, rows, columns), the first plane's movie {sizes[1]}; "
                    "planes are recorded together: name the movie that belongs to it"
                )

    def read(self, start: int, stop: int, *, rows: Span, columns: Span) -> NDArray[np.float32]:
        """Read frames start to stop - 1, a part of each plane: the planes one below the other, (n, C h, w)."""
        movies = [self._first] * len(self.corners_px) if self._inside else [self._first, *self.others]
        parts = [
            movie.read(start, stop, rows=(y + rows[0], y + rows[1]), columns=(x + columns[0], x + columns[1]))
            for movie, (x, y) in zip(movies, self.corners_px.tolist(), strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def close(self) -> None:
        """Close the movies."""
        for movie in (self._first, *self.others):
            movie.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
