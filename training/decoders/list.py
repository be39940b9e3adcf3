"""The list decoder: its network, the loss of a batch, its read-out, how frames are cut for it."""

import math
from typing import Any

import jax
import jax.numpy as jnp

import nets
from localization import Localizations
from training.config import DecoderConfig, RunConfig
from training.decoders.decoder import Core, Decoder, Metrics, ReadOut, Tiling
from training.decoders.list_losses import list_loss
from training.decoders.list_readout import maps_to_localizations
from training.scenes import Frames
from training.settings import ConfigError

IN_FOCUS_UM = 0.05  # half the depth that a decoder without depth reports as its sigma in z
CLAIMS_THRESHOLD = 0.3
TILE_PX = 512  # side of a piece: some 130 MB a layer for 8 frames


def make_net(run: RunConfig) -> nets.ListNetConfig:
    """Make the network's configuration, with ranges taken from the scenes that it will read."""
    d, s = run.decoder, run.scene
    flat = s.z_max_um == s.z_min_um
    low, high = s.z_min_um, max(s.z_max_um, s.z_min_um + 0.1)
    if flat:
        low, high = s.z_min_um - IN_FOCUS_UM, s.z_max_um + IN_FOCUS_UM
    brightest = s.photons_max if s.photons == "uniform" else s.photons_mean * (1 + 5 / math.sqrt(s.photons_shape))
    ceiling = 1.5 * s.background_max
    return nets.ListNetConfig(
        pixel_um=run.microscope.pixel_um,
        z_min_um=low,
        z_max_um=high,
        photons_max=1.2 * brightest,
        background_max=max(1.6 * ceiling, 10.0),
        input_offset=0.5 * (s.background_min + s.background_max),
        input_scale=max(0.5 * (s.background_min + s.background_max), 5.0),
        input_transform=d.input_transform,
        channels=d.channels,
        head_channels=d.head_channels,
        dilations=d.dilations,
        half_resolution=d.half_resolution,
        frames=d.frames,  # pyright: ignore[reportArgumentType]  (checked by the configuration)
        position_channels=d.position_channels,
        field_px=s.field_px if d.position_channels else 0,
        fixed_z=flat,
        species=max(1, len(run.species)),
    )


def loss(run: RunConfig, pixel_um: jax.Array, output: Any, frames: Frames) -> tuple[jax.Array, Metrics]:
    """Return the mean loss of a batch and its parts."""
    losses, metrics = jax.vmap(
        lambda maps, emitters, background: list_loss(
            maps,
            emitters,
            background,
            pixel_um,
            loss=run.decoder.loss,
            occupancy_weight=run.optimiser.occupancy_weight,
            background_weight=run.optimiser.background_weight,
            colour_weight=run.optimiser.colour_weight,
        )
    )(output, frames.emitters, frames.background)
    return losses.mean(), jax.tree.map(jnp.mean, metrics)


def read_out(run: RunConfig | None, pixel_um: float, threshold: float, share_borders: bool = True) -> ReadOut:
    """Return the function that reads maps; `threshold` is a probability. Without a run every peak is read by itself."""
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold = {threshold:g} must be a probability above 0, at most 1")
    way = DecoderConfig(read_out="peaks") if run is None else run.decoder

    def read(output: Any, *, first_frame: int = 0, core: Core | None = None) -> Localizations:
        assert core is None  # maps are put together before they are read
        return maps_to_localizations(
            output,
            pixel_um,
            first_frame=first_frame,
            threshold=threshold,
            share_borders=share_borders,
            read_out=way.read_out,
            focal=way.loss == "direct",
        )

    return read


def tiling(net: nets.ListNetConfig) -> Tiling:
    """Cut frames into pieces that hold the whole receptive field of their core."""
    step = 2 if net.half_resolution else 1
    halo = -(-(net.receptive_field_px // 2) // step) * step
    # Padding is what the network itself takes for "no frame here": its input's zero.
    return Tiling(halo, TILE_PX, step, fill=net.input_offset, batched=True)


def threshold(run: RunConfig) -> float:
    """Return the probability that gives the best list.

    A list gains in Jaccard index by each row that is more likely true than J / (1 + J): 0.3 to 0.5 where J is 0.4 to 1,
    and claims are somewhat likelier than they say (benchmarks/decoder_losses.py).
    """
    return CLAIMS_THRESHOLD if run.decoder.read_out == "claims" else 0.5


LIST = Decoder(make_net, loss, read_out, tiling, threshold, label="list decoder")
