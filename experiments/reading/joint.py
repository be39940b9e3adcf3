"""Crowded frames explained as a whole: the reader that fits all emitters of a frame together, without training."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.reading.classical import camera_part
from experiments.reading.classical_config import ClassicalConfig
from experiments.reading.program import fingerprint
from experiments.reading.spots import SpotTable
from experiments.reading.tiles import Tile, tiles
from localization import Localizations, concatenate, make_localizations, select
from optics import Camera
from optics.fits.crowd import CrowdModel, make_crowd_model, make_frame
from optics.fits.crowd_search import Bank, Found, make_bank, search_frames
from optics.fits.smooth import surface_at

_SLOTS = (16, 64, 256)  # places for emitters: a window that needs more is searched again with the next number
_WINDOW_PX = 96  # side of a window of a large frame, where a stamp and its halo fit in
_CHI2 = 1.5  # chi-square of a pixel over its expectation, from which a frame counts as not explained

_UNEXPLAINED = f"windows whose deviance is above {_CHI2:g} a pixel: another PSF, gain or background?"

_search = partial(jax.jit, static_argnames=("capacity",))(search_frames)


def search_window(model: CrowdModel, bank: Bank, counts: NDArray, known: NDArray) -> Found:
    """Search one frame (H, W) with as many slots as it needs; leaves with a leading axis of 1."""
    frame = make_frame(model.camera, jnp.asarray(counts, dtype=float), jnp.asarray(known))
    for slots in _SLOTS:
        found = _search(model, bank, jax.tree.map(lambda leaf: leaf[None], frame), capacity=slots)
        if not int(found.lacking[0]):
            break
    return found


class JointReader:
    """Reads each frame as a sum of emitters and a smooth background, fitted together (`optics.fits.crowd_search`).

    Large frames are read in windows that overlap by a stamp; an emitter is kept by the window whose core it lies in.
    """

    context = 0

    def __init__(self, spots: SpotTable, camera: Camera, config: ClassicalConfig, description: str) -> None:
        self.description, self.pixel_um = description, spots.pixel_um
        self.min_frame_px = min(spots.image_px, 16)
        self.group = self.batch = 8
        self._spots, self._camera, self._config = spots, camera, config
        self._tools: dict[tuple[int, ...], tuple[CrowdModel, Bank]] = {}
        self._tally: Counter[str] = Counter()
        self._halo = spots.image_px // 2 + 2
        self._window = max(_WINDOW_PX, 2 * self._halo + 16)
        self.identity = {
            "joint": fingerprint(spots.table),
            "camera": fingerprint(camera),
            "reading": config.identity(),
            "window": self._window,
        }

    def take_tally(self) -> Counter[str]:
        """Return what was counted since the last time."""
        taken, self._tally = self._tally, Counter()
        return taken

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        counts = counts[before : len(counts) - after]
        height, width = counts.shape[1:]
        rows, columns = (tiles(n, min(n, self._window), self._halo) for n in (height, width))
        found = [
            self._read_window(counts[:, row.window, column.window], first_frame, origin_px, row, column)
            for row in rows
            for column in columns
        ]
        locs = concatenate(found)
        return select(locs, np.lexsort((locs.x_um, locs.y_um, locs.frame)))

    def _read_window(
        self, counts: NDArray, first_frame: int, origin_px: tuple[int, int], row: Tile, column: Tile
    ) -> Localizations:
        place = (origin_px[0] + column.window.start, origin_px[1] + row.window.start)
        model, bank = self._at(place, counts.shape[1:])
        limit = self._config.saturation_adu
        valid = np.isfinite(counts) & (np.ones(counts.shape, bool) if limit is None else counts < limit)
        tables = []
        for k, (frame, known) in enumerate(zip(np.where(valid, counts, 0), valid, strict=True)):
            found = search_window(model, bank, frame, known)
            chi2 = 2 * float(found.crowd.misfit[0]) / max(known.sum(), 1)
            self._tally += Counter({_UNEXPLAINED: int(chi2 > _CHI2)})
            tables.append(self._table(model, jax.tree.map(lambda leaf: leaf[0], found), first_frame + k, row, column))
        return concatenate(tables)

    def _at(self, place: tuple[int, int], shape: tuple[int, ...]) -> tuple[CrowdModel, Bank]:
        key = (*place, *shape)
        if key not in self._tools:
            size = (shape[0], shape[1])
            camera = camera_part(self._camera, place, size)
            table, pixel = self._spots.table, self._spots.pixel_um
            banks = [bank for (_, _, *known), (_, bank) in self._tools.items() if tuple(known) == size]
            bank = banks[0] if banks else make_bank(table, size, self._config.false_per_um2)
            self._tools[key] = make_crowd_model(table, camera, pixel, size), bank
        return self._tools[key]

    def _table(self, model: CrowdModel, found: Found, frame: int, row: Tile, column: Tile) -> Localizations:
        crowd, pixel = found.crowd, self._spots.pixel_um
        xyz = np.asarray(crowd.xyz_um, np.float64)
        place = np.floor(xyz[:, :2] / pixel).astype(int)
        own = np.asarray(crowd.present)
        for axis, core in enumerate((column.core_in_window, row.core_in_window)):
            own = own & (place[:, axis] >= core.start) & (place[:, axis] < core.stop)
        level = np.asarray(surface_at(model.surface, crowd.level), np.float64)
        std = np.asarray(found.std, np.float64)[own]
        x, y, z = xyz[own].T
        return make_localizations(
            np.full(own.sum(), frame),
            x + column.window.start * pixel,
            y + row.window.start * pixel,
            z if self._spots.deep else 0 * z,
            photons=np.asarray(crowd.photons, np.float64)[own],
            background=level[place[own, 1], place[own, 0]],
            sigma_x_um=std[:, 0],
            sigma_y_um=std[:, 1],
            sigma_z_um=std[:, 2] if self._spots.deep else np.nan,
            score=np.asarray(found.significance, np.float64)[own],
        )
