"""Volumetric networks as readers: DeepSTORM3D's published ones, and those of our own runs."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import nets
from experiments.reading.decoder import Decoder
from experiments.reading.frame_groups import FrameGroups
from experiments.reading.tiles import Tile, window_side
from experiments.reading.tiles import tiles as cut
from localization import Localizations, concatenate, volume_peaks
from nets.weights import COMPACT_PSF, LARGE_PSF
from training import ConfigError, from_dict

VOLUME_BYTES = 1e9  # of one frame's volume on the fine grid; larger frames are read in pieces


@dataclass(frozen=True)
class VolumeConfig:
    """What a file of DeepSTORM3D weights does not say about its network.

    Depths in um, `pixel_um` in the sample. "divide" feeds counts / `divide_by_adu`, "min_max" each frame
    stretched to [0, 1], "photons" (counts - `offset_adu`) / `divide_by_adu`. `threshold` in the network's units (its
    output ends at `scaling`); `radius` and `shift_fine_px` as in `localization.volume_peaks`.
    """

    z_min_um: float
    z_max_um: float
    normalisation: Literal["divide", "min_max", "photons"]
    threshold: float
    divide_by_adu: float = 250.0
    pixel_um: float = 0.11
    dilations: tuple[int, ...] = LARGE_PSF
    scaling: float = 800.0
    radius: int = 4
    shift_fine_px: float = 0.0
    offset_adu: float = 0.0

    def __post_init__(self):
        for name in ("pixel_um", "divide_by_adu", "threshold", "scaling", "radius"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"model config: {name} = {getattr(self, name)} must be positive")
        if not self.z_max_um > self.z_min_um:
            raise ConfigError(f"model config: z_max_um = {self.z_max_um} is not above z_min_um = {self.z_min_um}")


# The published networks (doi 10.1038/s41592-020-0853-5, parameter scripts of its code). Of the three only
# demo 2 wants the shift of two fine pixels that the published read-out adds: see `volume_peaks`.
PUBLISHED: Mapping[str, VolumeConfig] = {
    "demo2": VolumeConfig(0.0, 4.0, "divide", threshold=40.0, shift_fine_px=2.0),
    "demo3": VolumeConfig(2.0, 6.0, "min_max", threshold=80.0),
    "demo5": VolumeConfig(2.0, 6.0, "min_max", threshold=80.0, dilations=COMPACT_PSF),
}


def load_volume_config(name_or_path: str | Path) -> VolumeConfig:
    """Settings of a DeepSTORM3D network: a name in `PUBLISHED` or a TOML file. Raises `ConfigError`.

    >>> load_volume_config("demo2").z_max_um
    4.0
    """
    if str(name_or_path) in PUBLISHED:
        return PUBLISHED[str(name_or_path)]
    path = Path(name_or_path)
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path}: neither a TOML file that can be read nor one of {', '.join(PUBLISHED)} ({error})"
        ) from error
    for field in fields(VolumeConfig):
        if field.default is MISSING and field.name not in values:
            raise ConfigError(f"{path}: no key {field.name!r}; a network's weights do not tell it, so add it")
    try:
        return from_dict(VolumeConfig, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class VolumeReader(FrameGroups):
    """A volumetric network: a frame a device at a time, a large one in overlapping pieces."""

    def __init__(
        self,
        net: nets.LocalizationNetConfig | nets.OpticsDesignNetConfig,
        variables: nets.Variables,
        config: VolumeConfig,
        tile_px: int | None = None,
        description: str = "DeepSTORM3D network",
        min_frame_px: int | None = None,
    ) -> None:
        self.description = description
        field = nets.receptive_field_px(net)
        self.min_frame_px = field if min_frame_px is None else min_frame_px
        self.pixel_um = config.pixel_um
        self._decoder, self._config = Decoder(net, variables, batch=1), config
        self._upsampling = net.upsampling if isinstance(net, nets.LocalizationNetConfig) else 1
        self.group = self._decoder.group
        # peaks look `radius` fine pixels further than the voxel itself
        self._halo = field // 2 + 1 + -(-config.radius // self._upsampling)
        fitting = int(math.sqrt(VOLUME_BYTES / (4 * net.depth * self._upsampling**2)))
        self._side = window_side(tile_px or fitting, self._halo, 1, asked=tile_px is not None)
        self.identity = {"network": self._decoder.fingerprint, "reading": repr(config), "tile_px": self._side}

    def normalise(self, frames: NDArray) -> NDArray:
        """Counts (n, H, W) as the network wants them."""
        c, frames = self._config, frames.astype(np.float32)
        if c.normalisation == "min_max":
            lowest = frames.min(axis=(1, 2), keepdims=True)
            span = frames.max(axis=(1, 2), keepdims=True) - lowest
            return (frames - lowest) / np.where(span > 0, span, 1.0).astype(np.float32)  # a flat frame is dark, not NaN
        if c.normalisation == "photons":
            frames = frames - np.float32(c.offset_adu)
        return frames / np.float32(c.divide_by_adu)

    def _read_group(self, counts: NDArray, first_frame: int) -> Localizations:
        n, height, width = counts.shape
        images = np.zeros((self.group, height, width), np.float32)
        images[:n] = self.normalise(counts)
        side = self._side
        # a frame that is small one way may be longer the other for the same memory
        tall, wide = (side * side // min(other, side) for other in (width, height))
        found: list[list[Localizations]] = [[] for _ in range(n)]
        for rows in cut(height, min(height, tall), self._halo):
            for columns in cut(width, min(width, wide), self._halo):
                volumes = self._decoder(images[:, rows.window, columns.window])
                for k in range(n):
                    found[k].append(self._peaks(volumes[k], rows, columns, first_frame + k))
        return concatenate([locs for frame in found for locs in frame])

    def _peaks(self, volume: Any, rows: Tile, columns: Tile, number: int) -> Localizations:
        c, up = self._config, self._upsampling
        locs = volume_peaks(
            np.moveaxis(np.asarray(volume), -1, 0),
            pixel_um=c.pixel_um,
            z_min_um=c.z_min_um,
            z_max_um=c.z_max_um,
            threshold=c.threshold,
            upsampling=up,
            radius=c.radius,
            shift_fine_px=c.shift_fine_px,
            frame=number,
            rows=(up * rows.core_in_window.start, up * rows.core_in_window.stop),
            columns=(up * columns.core_in_window.start, up * columns.core_in_window.stop),
        )
        x_um, y_um = columns.window.start * c.pixel_um, rows.window.start * c.pixel_um
        return replace(locs, x_um=locs.x_um + x_um, y_um=locs.y_um + y_um)
