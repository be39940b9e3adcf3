"""The method patchwise as a reader: each patch of a stretch by what the measured map says is best there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.reading.autods.choosing import NETWORKS, load_map
from experiments.reading.autods.reader import AutoDsReader
from experiments.reading.readers import Reader
from localization import Localizations, concatenate, select
from localization.patches import PatchFeatures

HALO_UM = 0.9  # around a patch that fits read: what stands beyond it shines into it
NOTHING = ""  # the choice where nothing is seen


class PatchwiseReader:
    """Fits and networks as what `localize` reads with; `choice` (R, C) names what read the patches last.

    Density and signal to noise of a patch are those of the stretch of frames. Fits read a patch with what surrounds it;
    an emitter is kept by the reader of the patch it lies in.
    """

    context = 0
    batch = 1

    def __init__(self, networks: AutoDsReader, fits: Mapping[str, Reader]) -> None:
        self._networks, self._fits, self._map = networks, dict(fits), load_map()
        networks.choose_levels = self._levels
        self.pixel_um, self.group = networks.pixel_um, networks.group
        self.min_frame_px = max(reader.min_frame_px for reader in (networks, *fits.values()))
        self.description = f"each patch by the best for it: {', '.join(fits)} or {networks.description}"
        self.identity: dict[str, Any] = {
            "patchwise": networks.identity,
            "fits": {name: reader.identity for name, reader in fits.items()},
            "map": self._map.identity(),
        }
        self.choice: NDArray[np.str_] = np.full((0, 0), NOTHING)
        self._tally: Counter[str] = Counter()

    def take_tally(self) -> Counter[str]:
        """Return what was counted since the last time: patches of frames by reader, and what fits remarked."""
        tally, self._tally = self._tally + self._networks.take_tally(), Counter()
        for reader in self._fits.values():
            tally += reader.take_tally()
        return tally

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        parts = [self._networks.read(counts, first_frame)]
        patches = self._networks.features
        assert patches is not None, "reading looks at the patches"
        edges = [
            np.round(np.asarray(e) / self._networks.scaling.rate).astype(int)
            for e in (patches.patches.row_edges, patches.patches.column_edges)
        ]
        edges[0][-1], edges[1][-1] = counts.shape[1:]
        for name, reader in self._fits.items():
            mine = self.choice == name
            self._tally[f"patches read by {name} fits"] += int((mine & patches.seen).sum())
            for row, column in np.argwhere(mine):
                cell = [slice(int(e[k]), int(e[k + 1])) for e, k in zip(edges, (row, column), strict=True)]
                parts.append(self._fitted(reader, counts, first_frame, origin_px, edges, cell))
        found = concatenate(parts)
        return select(found, np.argsort(found.frame, kind="stable"))

    def _levels(self, found: PatchFeatures) -> NDArray[np.int64]:
        """Choose a reader for each patch; the level of those that networks read, 0 of the others."""
        among = (*self._fits, *NETWORKS)
        self.choice = np.full(found.level.shape, NOTHING, dtype="U16")
        for place in np.argwhere(found.level > 0):
            here = tuple(place)
            self.choice[here] = self._map.choose(
                float(found.density_per_um2[here]), float(found.snr[here]), among=among
            )
        number = {name: k + 1 for k, name in enumerate(NETWORKS)}
        return np.array([[number.get(str(name), 0) for name in row] for row in self.choice], np.int64)

    def _fitted(
        self,
        reader: Reader,
        counts: NDArray,
        first_frame: int,
        origin_px: tuple[int, int],
        edges: list[NDArray[np.int64]],
        cell: list[slice],
    ) -> Localizations:
        """What a reader finds in a patch (rows and columns `cell`), of a window that is as large for all patches."""
        halo = round(HALO_UM / self.pixel_um)
        corner, window = [], []
        for part, e, size in zip(cell, edges, counts.shape[1:], strict=True):
            side = min(int(np.diff(e).max()) + 2 * halo, size)
            low = min(max(part.start - halo, 0), size - side)
            corner.append(low)
            window.append(slice(low, low + side))
        there = origin_px[0] + corner[1], origin_px[1] + corner[0]
        found = reader.read(counts[:, window[0], window[1]], first_frame, origin_px=there)
        x_um, y_um = found.x_um + corner[1] * self.pixel_um, found.y_um + corner[0] * self.pixel_um
        moved = replace(found, x_um=x_um, y_um=y_um)
        y, x = (value / self.pixel_um for value in (moved.y_um, moved.x_um))
        inside = np.ones(len(x), bool)
        for at, part, e in zip((y, x), cell, edges, strict=True):
            # the outermost patches also own what is found beyond the frame's rim
            inside &= (at >= part.start) | (part.start == 0)
            inside &= (at < part.stop) | (part.stop == e[-1])
        return select(moved, inside)
