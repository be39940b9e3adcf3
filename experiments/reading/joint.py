"""Crowded frames explained as a whole: the reader that fits all emitters of a frame together, without training."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from experiments.reading.cameras import camera_part
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.pieces.pixels import countable
from experiments.reading.pieces.seams import core_box, join_windows, near_core
from experiments.reading.pieces.tiles import Tile, tiles
from experiments.reading.program import fingerprint
from experiments.reading.remarks import ends, residual
from experiments.reading.spots import SpotTable
from localization import Localizations, concatenate, make_localizations, select
from optics import Camera, Wings
from optics.camera import adu_to_photons
from optics.fits.crowd import BACKGROUND_PX, CrowdModel, Frame, Path, make_crowd_model, make_frame, species_path
from optics.fits.crowd_search import Bank, make_bank
from optics.fits.explain import Found, search_frames
from optics.fits.shakes import Box
from optics.fits.smooth import surface_at
from optics.fits.wishes import Start
from optics.psf_table import PsfTable
from optics.pytree import replace

_MOST_THREADS = 8
# a fit's time grows with the square of a window's emitters and with its pixels: small windows, but for their halos
_CORE_PX, _LEAST_WINDOW_PX = 32, 64
_BEYOND_PX = 2.0  # how far outside a window a start may stand

TOGETHER = "windows of frames fitted jointly"
SATURATED, NOT_FINITE = "pixels saturated, left out", "pixels without a number, left out"


def search_window(
    model: CrowdModel,
    bank: Bank,
    counts: NDArray,
    known: NDArray,
    start: Start | None = None,
    inner_um: Box | None = None,
) -> Found:
    """Search one frame (H, W) with as many slots as it needs, from nothing or from a list.

    `inner_um` is the box of a window whose emitters are wanted (None: all).
    """
    frames = _frames(model.camera, jnp.asarray(counts, dtype=float), jnp.asarray(known))
    return search_frames(model, bank, frames, [start], inner_um=inner_um)[0]


@jax.jit
def _frames(camera: Camera, counts: jax.Array, known: jax.Array) -> Frame:
    return jax.tree.map(lambda leaf: leaf[None], make_frame(camera, counts, known))


_level = jax.jit(surface_at)


@dataclass(frozen=True, eq=False)
class Movie:
    """Frames that are read together: counts (n, H, W), which of them are valid, the number of the first, the place
    (column, row) of their first pixel in the camera's field. With several planes counts are (n, C, H, W)."""

    counts: NDArray
    valid: NDArray[np.bool_]
    first_frame: int
    origin_px: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a frame (of one plane)."""
        return self.counts.shape[-2], self.counts.shape[-1]


class JointReader:
    """Reads each frame as a sum of emitters and a smooth background, fitted together (`optics.fits.crowd_search`).

    Large frames are read in windows that overlap by most of a stamp's light; their lists are joined by
    `seams.join_windows`. With `rivals`, spots of further species, each emitter is of one of them: the list says which
    by `channel` (0 for `spots`) and `p_channel`, its posterior.
    """

    context = 0

    def __init__(
        self,
        spots: SpotTable,
        camera: Camera,
        config: ClassicalConfig,
        description: str,
        rivals: Sequence[SpotTable] = (),
    ) -> None:
        self.description, self.pixel_um = description, spots.pixel_um
        self.min_frame_px = min(spots.image_px, 16)
        self.group = self.batch = 8
        self._spots, self._camera, self._config, self._rivals = spots, camera, config, tuple(rivals)
        self._tools: dict[tuple[int, ...], tuple[CrowdModel, Bank]] = {}
        self._tally: Counter[str] = Counter()
        # on the device that computes with this process's cores, frames are read side by side
        self.threads = min(_MOST_THREADS, os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
        self.halo = max(one.reach_px() for one in (spots, *rivals)) + 2
        self.identity = {
            "joint": fingerprint(spots.table),
            "camera": fingerprint(camera),
            "reading": config.identity(),
            "window": self.window,
            "wings": spots.psf is not None,
        }
        if rivals:
            self.identity["species"] = [fingerprint(one.table) for one in (spots, *rivals)]

    @property
    def window(self) -> int:
        """Side of the windows that large frames are cut into, in pixels."""
        return max(_LEAST_WINDOW_PX, 2 * self.halo + _CORE_PX)

    def take_tally(self) -> Counter[str]:
        """Return what was counted since the last time."""
        taken, self._tally = self._tally, Counter()
        return taken

    def read(
        self,
        counts: NDArray,
        first_frame: int,
        before: int = 0,
        after: int = 0,
        origin_px: tuple[int, int] = (0, 0),
        start: Localizations | None = None,
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`. The search begins at the list `start`."""
        movie = self.take_in(counts[before : len(counts) - after], first_frame, origin_px)
        windows = self.windows(movie.shape)
        every = np.ones((len(movie.counts), len(windows)), bool)
        return self.finish(join_windows(self.read_windows(movie, every, start), windows, self.pixel_um), movie)

    def take_in(self, counts: NDArray, first_frame: int, origin_px: tuple[int, int]) -> Movie:
        """See which pixels of frames count."""
        pixels = countable(counts, self._config.saturation_adu)
        self._tally += Counter({SATURATED: pixels.saturated, NOT_FINITE: pixels.not_finite})
        return Movie(pixels.counts, pixels.valid, first_frame, origin_px)

    def windows(self, shape: tuple[int, ...]) -> list[tuple[Tile, Tile]]:
        """Cut frames of a shape (H, W) into windows, rows and columns of each."""
        rows, columns = (tiles(n, min(n, self.window), self.halo) for n in shape)
        return [(row, column) for row in rows for column in columns]

    def read_windows(
        self, movie: Movie, wanted: NDArray[np.bool_], start: Localizations | None = None
    ) -> list[Localizations]:
        """Search those windows of frames that are `wanted` (frames, windows); a list for each window."""
        windows = self.windows(movie.shape)
        jobs = [(int(k), int(number)) for k, number in np.argwhere(wanted)]
        for number in np.flatnonzero(wanted.any(axis=0)):
            self.tools(movie, *windows[number])  # made before threads share it
        pool = ThreadPoolExecutor(self.threads)
        try:
            done = list(pool.map(lambda job: self._read_window(movie, job[0], *windows[job[1]], start=start), jobs))
        finally:
            pool.shutdown(cancel_futures=True)
        lists: list[list[Localizations]] = [[] for _ in windows]
        for (_, number), (locs, counted) in zip(jobs, done, strict=True):
            lists[number].append(locs)
            self._tally += counted
        self._tally += Counter({TOGETHER: len(jobs)})
        return [concatenate([make_localizations([], [], [], []), *parts]) for parts in lists]

    def finish(self, locs: Localizations, movie: Movie) -> Localizations:
        """Keep rows as certain, and as far from the frame's rim, as the settings ask for; count the others."""
        config, edge = self._config, self._config.edge_px * self.pixel_um
        height, width = (side * self.pixel_um for side in movie.shape)
        reasons = {
            "rows not kept: centre at the edge of the frame": (locs.x_um < edge) | (locs.x_um > width - edge)
            | (locs.y_um < edge) | (locs.y_um > height - edge),
            "rows not kept: uncertain in x, y": np.maximum(locs.sigma_x_um, locs.sigma_y_um) > config.sigma_xy_max_um,
            "rows not kept: uncertain in z": locs.sigma_z_um > config.sigma_z_max_um,
        }  # fmt: skip
        kept = np.ones(locs.frame.size, bool)
        for reason, applies in reasons.items():
            self._tally += Counter({reason: int((kept & applies).sum())})
            kept &= ~applies
        return select(locs, kept)

    def _read_window(
        self, movie: Movie, k: int, row: Tile, column: Tile, *, start: Localizations | None
    ) -> tuple[Localizations, Counter[str]]:
        counts, known = self.cut(movie, k, row, column)
        model, bank = self.tools(movie, row, column)
        first = None if start is None else self._start_in(start, movie.first_frame + k, row, column)
        if first is not None and not np.all(first[1] > 0):
            light = _shared_light(adu_to_photons(model.camera, counts), known, first[1])
            first = (first[0], light, first[2])
        inner = core_box(row, column, self.pixel_um)
        found = search_window(model, bank, np.where(known, counts, 0), known, first, inner)
        level = _level(model.surface, found.crowd.level)
        own = _emitters(found)
        own = own.take(near_core(own.xyz_um[:, 0], own.xyz_um[:, 1], row, column, self.pixel_um))
        tally = residual(model.camera, counts, known, found.mean, level)
        tally += ends(self._spots.at_end(own.xyz_um[:, 2]), self._spots.deep)
        return self._table(own, np.asarray(level, np.float64), movie.first_frame + k, row, column), tally

    def _start_in(
        self, start: Localizations, frame: int, row: Tile, column: Tile
    ) -> tuple[NDArray, NDArray, NDArray[np.int64]]:
        """Those of a list that lie in a window of a frame, counted from its corner: places, photons, species."""
        x, y = start.x_um / self.pixel_um - column.window.start, start.y_um / self.pixel_um - row.window.start
        here = start.frame == frame
        for at, tile in ((x, column), (y, row)):
            here &= (at > -_BEYOND_PX) & (at < tile.window.stop - tile.window.start + _BEYOND_PX)
        z = start.z_um[here] if self._spots.deep else np.zeros(here.sum())
        z = np.clip(z, *np.asarray(self._spots.table.z_range_um, np.float64))
        places = np.column_stack([x[here] * self.pixel_um, y[here] * self.pixel_um, z])
        return places, start.photons[here], np.clip(start.channel[here], 0, len(self._rivals))

    def cut(self, movie: Movie, k: int, row: Tile, column: Tile) -> tuple[NDArray, NDArray[np.bool_]]:
        """Counts of a window of frame k, and which of them are valid."""
        return movie.counts[k, row.window, column.window], movie.valid[k, row.window, column.window]

    def tools(self, movie: Movie, row: Tile, column: Tile) -> tuple[CrowdModel, Bank]:
        """Model and filters of a window."""
        place = (movie.origin_px[0] + column.window.start, movie.origin_px[1] + row.window.start)
        size = (row.window.stop - row.window.start, column.window.stop - column.window.start)
        if (key := (*place, *size)) not in self._tools:
            camera = camera_part(self._camera, place, size)
            spots, pixel = self.spots_at(place, size), self.pixel_um
            table = spots.table
            images = species_path([one.table for one in (spots, *self._rivals)]) if self._rivals else table
            alike = [one for one in self._tools.values() if one[0].shape == size and one[0].table is table]
            bank, wings = (
                (alike[0][1], alike[0][0].wings) if alike else (self._bank(images, size), self._wings(spots, size))
            )
            self._tools[key] = (
                make_crowd_model(
                    images,
                    camera,
                    pixel,
                    size,
                    background_px=self._config.background_px or None,
                    wings=wings,
                    blur_spread_px2=self._config.blur_spread_px2,
                    model_error=self._config.model_error,
                ),
                bank,
            )
        return self._tools[key]

    def spots_at(self, place: tuple[int, int], size: tuple[int, int]) -> SpotTable:
        """The images of a window whose first pixel is `place` (column, row), of `size` (H, W): here all the same."""
        return self._spots

    def _wings(self, spots: SpotTable, size: tuple[int, int]) -> list[Wings]:
        """The light around the stamps of every species; none where that of one is not known, or needless."""
        every = [one.wings(size) for one in (spots, *self._rivals)]
        known = [wings for wings in every if wings is not None]
        return known if len(known) == len(every) else []

    def _bank(self, table: PsfTable | Sequence[Path], size: tuple[int, int]) -> Bank:
        config = self._config
        length_px = config.background_px or BACKGROUND_PX
        return self.with_levels(make_bank(table, size, config.false_per_um2, correlation_px=length_px))

    def with_levels(self, bank: Bank) -> Bank:
        """Filters with the threshold and the least light that were asked for."""
        config = self._config
        if config.threshold_sigma is not None:
            bank = replace(bank, levels=jnp.full_like(bank.levels, config.threshold_sigma))
        return replace(bank, faintest=jnp.maximum(bank.faintest, config.photons_min))

    def _table(self, own: "_Emitters", level: NDArray, frame: int, row: Tile, column: Tile) -> Localizations:
        pixel, deep = self.pixel_um, self._spots.deep
        place = np.clip(np.floor(own.xyz_um[:, :2] / pixel).astype(int), 0, np.array(level.shape[::-1]) - 1)
        x, y, z = own.xyz_um.T
        return make_localizations(
            np.full(x.size, frame),
            x + column.window.start * pixel,
            y + row.window.start * pixel,
            z if deep else 0 * z,
            photons=own.photons,
            background=level[place[:, 1], place[:, 0]],
            sigma_x_um=own.std[:, 0],
            sigma_y_um=own.std[:, 1],
            sigma_z_um=own.std[:, 2] if deep else np.nan,
            score=own.significance,
            channel=own.channel,
            extras={"p_channel": own.p_channel} if self._rivals else None,
        )


@dataclass(frozen=True, eq=False)
class _Emitters:
    """n emitters of a window, in numpy."""

    xyz_um: NDArray[np.float64]
    photons: NDArray[np.float64]
    std: NDArray[np.float64]
    significance: NDArray[np.float64]
    channel: NDArray[np.int64]
    p_channel: NDArray[np.float64]

    def take(self, rows: NDArray) -> "_Emitters":
        return _Emitters(**{name: value[rows] for name, value in vars(self).items()})


def _emitters(found: Found) -> _Emitters:
    parts = (found.crowd.xyz_um, found.crowd.photons, found.std, found.significance)
    channel = np.asarray(found.crowd.channel, np.int64)
    own = found.posterior[channel, np.arange(channel.size)]
    return _Emitters(*(np.asarray(part, np.float64) for part in parts), channel=channel, p_channel=own)


def _shared_light(photons: ArrayLike, known: NDArray, own: NDArray) -> NDArray:
    """The light (n,) of emitters; those that tell none (0 or NaN) get an even share of what is above the background."""
    seen = np.asarray(photons, np.float64)[known]
    above = np.maximum(seen - np.quantile(seen, 0.25), 0).sum() if seen.size else 0.0
    return np.where(own > 0, own, max(above / max(len(own), 1), 100.0))
