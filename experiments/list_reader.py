"""A list decoder as a reader: camera counts in, localizations out, in pieces where a frame is large."""

import math
from collections import Counter
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

import nets
from experiments.decoder import Decoder
from experiments.tiles import Tile, window_side
from experiments.tiles import tiles as cut
from localization import Localizations, concatenate
from training import ConfigError, maps_to_localizations

LIST_TILE_PX = 512  # side of a piece: some 130 MB a layer for 8 frames


class ListReader:
    """A list decoder, and the camera that turns counts into the photons it was trained on."""

    context = 0

    def __init__(
        self,
        net: nets.ListNetConfig,
        variables: nets.Variables,
        trained_px: int,
        *,
        threshold: float = 0.5,
        gain_adu_per_photon: float = 1.0,
        offset_adu: float = 0.0,
        batch: int = 8,
        tile_px: int | None = None,
        description: str = "list decoder",
    ) -> None:
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold = {threshold:g} must be a probability above 0, at most 1")
        check_photometry(gain_adu_per_photon, offset_adu)
        self.description = description
        field = nets.receptive_field_px(net)
        # A network trained on frames smaller than its field has learned to do with their size.
        self.min_frame_px = min(field, trained_px)
        self.pixel_um = net.pixel_um
        self._net, self._threshold = net, threshold
        self._decoder = Decoder(net, variables, batch)
        self.group = self._decoder.group
        self._gain, self._offset = gain_adu_per_photon, offset_adu
        self._step = 2 if net.half_resolution else 1
        self._halo = -(-(field // 2) // self._step) * self._step
        self._side = window_side(tile_px or LIST_TILE_PX, self._halo, self._step, asked=tile_px is not None)
        self.identity = {
            "network": self._decoder.fingerprint,
            "threshold": threshold,
            "gain_adu_per_photon": gain_adu_per_photon,
            "offset_adu": offset_adu,
            "batch": batch,
            "tile_px": self._side,
        }

    def take_tally(self) -> Counter[str]:
        """Nothing is counted."""
        return Counter()

    def read(self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0) -> Localizations:
        """Localize counts (n, H, W); frame numbers begin at `first_frame`."""
        counts = counts[before : len(counts) - after]
        groups = range(0, len(counts), self.group)
        return concatenate([self._read_group(counts[k : k + self.group], first_frame + k) for k in groups])

    def _read_group(self, counts: NDArray, first_frame: int) -> Localizations:
        n, height, width = counts.shape
        photons = (counts.astype(np.float32) - self._offset) / self._gain
        # Padding is what the network itself takes for "no frame here": its input's zero.
        whole = [-(-side // self._step) * self._step for side in (height, width)]
        padded = np.full((self.group, *whole), self._net.input_offset, np.float32)
        padded[:n, :height, :width] = photons
        sides = [min(self._side, side) for side in whole]
        maps: Any = None
        for rows in cut(whole[0], sides[0], self._halo):
            for columns in cut(whole[1], sides[1], self._halo):
                piece = self._decoder(padded[:, rows.window, columns.window])
                if maps is None:
                    maps = jax.tree.map(lambda leaf: np.empty((self.group, *whole, *leaf.shape[3:]), leaf.dtype), piece)
                jax.tree.map(partial(_place, rows, columns), maps, piece)
        maps = jax.tree.map(lambda leaf: leaf[:n, :height, :width], maps)
        return maps_to_localizations(maps, self._net.pixel_um, first_frame=first_frame, threshold=self._threshold)


def check_photometry(gain_adu_per_photon: float, offset_adu: float) -> None:
    """Refuse a gain or an offset that no camera has (`ConfigError`)."""
    if not (math.isfinite(gain_adu_per_photon) and gain_adu_per_photon > 0):
        raise ConfigError(f"gain = {gain_adu_per_photon:g} must be positive (counts per photon)")
    if not math.isfinite(offset_adu):
        raise ConfigError(f"offset = {offset_adu:g} must be finite (counts without light)")


def _place(rows: Tile, columns: Tile, whole: NDArray, piece: jax.Array) -> None:
    whole[:, rows.core, columns.core] = np.asarray(piece)[:, rows.core_in_window, columns.core_in_window]
