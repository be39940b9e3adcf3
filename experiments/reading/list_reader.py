"""A list decoder as a reader: camera counts in, localizations out, in pieces where a frame is large."""

import math
from collections import Counter
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

import nets
from experiments.reading.decoder import Decoder
from experiments.reading.tiles import Tile, window_side
from experiments.reading.tiles import tiles as cut
from localization import Localizations, concatenate
from training import ConfigError, maps_to_localizations

LIST_TILE_PX = 512  # side of a piece: some 130 MB a layer for 8 frames


class ListReader:
    """A list decoder, and the camera that turns counts into the photons it was trained on."""

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
        self.pixel_um, self.context = net.pixel_um, net.frames // 2
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

    def read(
        self, counts: NDArray, first_frame: int, before: int = 0, after: int = 0, origin_px: tuple[int, int] = (0, 0)
    ) -> Localizations:
        """Localize counts (before + n + after, H, W), the n in the middle; frame numbers begin at `first_frame`."""
        photons = (counts.astype(np.float32) - self._offset) / self._gain
        missing = (self.context - before, self.context - after)
        if min(missing) < 0:
            photons = photons[max(-missing[0], 0) : len(photons) - max(-missing[1], 0)]
        # beyond the ends of the movie its end frames go on, as in training
        photons = np.pad(photons, (tuple(max(m, 0) for m in missing), (0, 0), (0, 0)), mode="edge")
        n, c = len(photons) - 2 * self.context, self.context
        groups = ((k, min(k + self.group, n)) for k in range(0, n, self.group))
        return concatenate([self._read_group(photons[a : b + 2 * c], first_frame + a, origin_px) for a, b in groups])

    def _read_group(self, photons: NDArray, first_frame: int, origin_px: tuple[int, int]) -> Localizations:
        n, height, width = len(photons) - 2 * self.context, *photons.shape[1:]
        # Padding is what the network itself takes for "no frame here": its input's zero.
        whole = [-(-side // self._step) * self._step for side in (height, width)]
        padded = np.full((self.group + 2 * self.context, *whole), self._net.input_offset, np.float32)
        padded[: len(photons), :height, :width] = photons
        if self.context:
            padded = np.stack([padded[k : self.group + k] for k in range(2 * self.context + 1)], axis=-1)
        sides = [min(self._side, side) for side in whole]
        maps: Any = None
        for rows in cut(whole[0], sides[0], self._halo):
            for columns in cut(whole[1], sides[1], self._halo):
                origin = (origin_px[0] + columns.window.start, origin_px[1] + rows.window.start)
                piece = self._decoder(padded[:, rows.window, columns.window], origin)
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
