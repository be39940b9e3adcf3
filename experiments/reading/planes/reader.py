"""Several planes read as one: each emitter has one x, y, z and number of photons, whose images all planes show."""

from collections.abc import Sequence
from dataclasses import replace as change

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.reading.cameras import camera_part
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.joint import JointReader, Movie
from experiments.reading.pieces.tiles import Tile
from experiments.reading.planes.movie import PlanesMovie
from experiments.reading.program import fingerprint
from experiments.reading.spots import SpotTable
from localization import Movie as OpenMovie
from localization import MovieOptions
from optics import Camera, SplitPsf
from optics.fits.crowd import BACKGROUND_PX, CrowdModel, make_crowd_model, make_paths
from optics.fits.crowd_search import Bank, make_bank
from optics.pytree import replace
from training import ConfigError

_SAME_PLACE_PX = 0.1  # filters of windows whose planes are shifted alike to this are the same


class PlanesReader(JointReader):
    """Reads frames of C planes, one below the other (n, C H, W), as one sum of emitters: `JointReader` for planes.

    x, y, z and the frame's size are those of `SplitPsf`'s emitters, of the first plane where its own map moves nothing;
    `photons` are those of all planes together, the background is the first plane's. Where a plane's map shifts by
    whole pixels, its part of a window is cut that much further.
    """

    def __init__(
        self,
        spots: Sequence[SpotTable],
        split: SplitPsf,
        camera: Camera,
        config: ClassicalConfig,
        description: str,
        *,
        of_movie: bool = False,
    ) -> None:
        """`of_movie` says that the registration is one of places in the movie's frames, not in each plane's own."""
        pixels = {one.pixel_um for one in spots}
        if len(pixels) > 1:
            raise ConfigError(f"the planes' PSFs have pixels of {', '.join(f'{p:g}' for p in sorted(pixels))} um")
        # the light around the stamps is that of one plane
        super().__init__(change(spots[0], psf=None), camera, config, description)
        self.halo = max(one.reach_px() for one in spots) + 2
        self.paths = make_paths(split, [one.table for one in spots])
        # the map is in the paths, whatever its file is called
        reading = change(config, plane_map="").identity()
        self.identity |= {"planes": fingerprint(self.paths), "window": self.window, "reading": reading}
        self._of_movie, self._corners_px = of_movie, None
        self._banks: dict[tuple[int, ...], Bank] = {}

    def lay_out(self, movie: OpenMovie, where: Sequence[str], options: MovieOptions) -> PlanesMovie:
        """See where the planes lie in a movie, which is then read as one of planes. Raises `LocalizationError`."""
        planes = PlanesMovie(movie, where, len(self.paths), options, self.min_frame_px)
        self._corners_px = planes.corners_px
        self._tools.clear()
        return planes

    def take_in(self, counts: NDArray, first_frame: int, origin_px: tuple[int, int]) -> Movie:
        """See which pixels count, and cut frames (n, C H, W) into planes (n, C, H, W)."""
        movie, n = super().take_in(counts, first_frame, origin_px), len(self.paths)
        shape = (len(counts), n, counts.shape[1] // n, counts.shape[2])
        return change(movie, counts=movie.counts.reshape(shape), valid=movie.valid.reshape(shape))

    def cut(self, movie: Movie, k: int, row: Tile, column: Tile) -> tuple[NDArray, NDArray[np.bool_]]:
        """Counts of a window on all planes, (C h, w), and which are valid: none where a plane ends."""
        counts, valid = [], []
        for number, (x, y) in enumerate(self._moved_px(movie, row, column).tolist()):
            for taken, part, mode in ((counts, movie.counts, "edge"), (valid, movie.valid, "constant")):
                taken.append(_cut(part[k, number], (row.window.start + y, column.window.start + x), row, column, mode))
        return np.concatenate(counts), np.concatenate(valid)

    def tools(self, movie: Movie, row: Tile, column: Tile) -> tuple[CrowdModel, Bank]:
        """Model and filters of a window on all planes."""
        size = (row.window.stop - row.window.start, column.window.stop - column.window.start)
        place = (movie.origin_px[0] + column.window.start, movie.origin_px[1] + row.window.start)
        if (key := (*place, *size)) not in self._tools:
            paths = []
            moved = self._moved_px(movie, row, column)
            for path, turn, shift in zip(self.paths, *self._maps(), strict=True):
                own = moved[len(paths)] + place
                there = turn @ (np.array(place) * self.pixel_um) + shift - own * self.pixel_um
                affine = jnp.asarray(np.column_stack([turn, there]), dtype=float)
                paths.append(replace(path, registration=affine))
            config = self._config
            model = make_crowd_model(
                paths,
                self._camera_of(movie, row, column),
                self.pixel_um,
                size,
                background_px=config.background_px or None,
                blur_spread_px2=config.blur_spread_px2,
                model_error=config.model_error,
            )
            middle = np.array([size[1], size[0], 0]) * self.pixel_um / 2 + [0, 0, 1]
            seen = np.array([np.asarray(path.registration, np.float64) @ middle - middle[:2] for path in paths])
            alike = (*size, *np.round(seen / self.pixel_um / _SAME_PLACE_PX).astype(int).ravel().tolist())
            if alike not in self._banks:
                bank = make_bank(
                    paths, size, config.false_per_um2, correlation_px=config.background_px or BACKGROUND_PX
                )
                self._banks[alike] = self.with_levels(bank)
            self._tools[key] = model, self._banks[alike]
        return self._tools[key]

    def _maps(self) -> tuple[NDArray, NDArray]:
        """Turns (C, 2, 2) and shifts (C, 2) in um from the emitters' places to each plane's own."""
        maps = np.array([np.asarray(path.registration, np.float64) for path in self.paths])
        shifts = maps[:, :, 2]
        if self._of_movie and self._corners_px is not None:
            shifts = shifts - self._corners_px * self.pixel_um
        return maps[:, :, :2], shifts

    def _moved_px(self, movie: Movie, row: Tile, column: Tile) -> NDArray[np.int64]:
        """How many pixels (C, 2), x and y, each plane shows the middle of a window beside where it is."""
        first = np.array([column.window.start + column.window.stop, row.window.start + row.window.stop]) / 2
        middle = (first + movie.origin_px) * self.pixel_um
        turns, shifts = self._maps()
        return np.round((turns @ middle + shifts - middle) / self.pixel_um).astype(np.int64)

    def _camera_of(self, movie: Movie, row: Tile, column: Tile) -> Camera:
        """The camera under a window on all planes: maps (C h, w) where it has maps."""
        height, width = movie.shape
        corners = self._corners_px
        if corners is None:  # frames in memory, one plane below the other
            corners = np.stack([np.zeros(len(self.paths), int), np.arange(len(self.paths)) * height], axis=1)
        parts = []
        for (x, y), corner in zip(self._moved_px(movie, row, column).tolist(), corners.tolist(), strict=True):
            origin = (movie.origin_px[0] + corner[0], movie.origin_px[1] + corner[1])
            whole = camera_part(self._camera, origin, (height, width))
            start = (row.window.start + y, column.window.start + x)
            parts.append(
                jax.tree.map(
                    lambda leaf, start=start: (
                        _cut(np.asarray(leaf), start, row, column, "edge") if np.ndim(leaf) == 2 else leaf
                    ),
                    whole,
                )
            )
        return jax.tree.map(lambda *leaves: np.concatenate(leaves) if np.ndim(leaves[0]) == 2 else leaves[0], *parts)


def _cut(image: NDArray, start: tuple[int, int], row: Tile, column: Tile, mode: str) -> NDArray:
    """A window of an image (H, W) from `start` (row, column); beyond the image its edge, or nothing."""
    size = (row.window.stop - row.window.start, column.window.stop - column.window.start)
    places = [np.arange(first, first + n) for first, n in zip(start, size, strict=True)]
    inside = [(at >= 0) & (at < n) for at, n in zip(places, image.shape, strict=True)]
    part = image[np.ix_(*(np.clip(at, 0, n - 1) for at, n in zip(places, image.shape, strict=True)))]
    return part if mode == "edge" else part & np.logical_and.outer(*inside)
