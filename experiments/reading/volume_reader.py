"""DeepSTORM3D's published networks as readers: weights without a run, read by the settings beside them."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import nets
from experiments.reading.network_reader import NetworkReader
from nets.weights import COMPACT_PSF
from training import ConfigError, from_dict
from training.decoders.volume import VolumeConfig, read_volumes, volume_tiling

# The published networks (doi 10.1038/s41592-020-0853-5, parameter scripts of its code). Of the three only
# demo 2 wants the shift of two fine pixels that the published read-out adds: see `volume_peaks`.
PUBLISHED: Mapping[str, VolumeConfig] = {
    "demo2": VolumeConfig(0.0, 4.0, "divide", threshold=40.0, shift_fine_px=2.0),
    "demo3": VolumeConfig(2.0, 6.0, "min_max", threshold=80.0),
    "demo5": VolumeConfig(2.0, 6.0, "min_max", threshold=80.0, dilations=COMPACT_PSF),
}


def load_volume_config(name_or_path: str | Path) -> VolumeConfig:
    """Load the settings of a DeepSTORM3D network: a name in `PUBLISHED` or a TOML file. Raises `ConfigError`.

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


def normalise(config: VolumeConfig, counts: NDArray) -> NDArray:
    """Scale counts (n, H, W) as the network wants them."""
    frames = counts.astype(np.float32)
    if config.normalisation == "min_max":
        lowest = frames.min(axis=(1, 2), keepdims=True)
        span = frames.max(axis=(1, 2), keepdims=True) - lowest
        return (frames - lowest) / np.where(span > 0, span, 1.0).astype(np.float32)  # a flat frame is dark, not NaN
    if config.normalisation == "photons":
        frames = frames - np.float32(config.offset_adu)
    return frames / np.float32(config.divide_by_adu)


def volume_reader(
    net: nets.LocalizationNetConfig,
    variables: nets.Variables,
    config: VolumeConfig,
    tile_px: int | None = None,
    description: str = "DeepSTORM3D network",
) -> NetworkReader:
    """Make the reader of a volumetric network: a frame a device at a time, a large one in overlapping pieces."""
    return NetworkReader(
        net,
        variables,
        partial(normalise, config),
        volume_tiling(net, config.radius),
        read_volumes(config, net.upsampling, config.pixel_um),
        pixel_um=config.pixel_um,
        min_frame_px=net.receptive_field_px,
        identity={"reading": repr(config)},
        tile_px=tile_px,
        description=description,
    )
