"""What makes a kind of decoder: its network, its loss, how its output becomes a list, how a frame is cut for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

import nets
from localization import Localizations
from training.config import RunConfig
from training.scenes import Frames
from training.settings import ConfigError

Metrics = dict[str, jax.Array]
Core = tuple[slice, slice]


class ReadOut(Protocol):
    """A function from a network's output to a list.

    `output` has the frames on its first axis, the first of them is frame `first_frame` of the list. Of a piece of a
    frame only emitters in `core`, its rows and columns in camera pixels of the piece, are listed.
    """

    def __call__(self, output: Any, *, first_frame: int = 0, core: Core | None = None) -> Localizations: ...


@dataclass(frozen=True)
class Tiling:
    """How a movie's frames are cut for a network, in camera pixels.

    A piece answers for its core, which lies `halo_px` inside it; pieces begin at multiples of `step_px`. `side_px` is
    their side unless the user gives one, `fine` the output's pixels to a camera pixel, `fill` what the network takes
    for "nothing there". With `together` the pieces' outputs are put together before they are read; else, where the
    whole is too large, each is read by itself. `batched` networks take as many frames at a time as the user says,
    others one.
    """

    halo_px: int
    side_px: int
    step_px: int = 1
    fine: int = 1
    fill: float = 0.0
    together: bool = True
    batched: bool = False


def plain_identity(threshold: float, gain_adu_per_photon: float, offset_adu: float) -> dict[str, Any]:
    """Name the numbers that decide how a decoder reads counts, for jobs that are interrupted and go on."""
    return {"threshold": threshold, "gain_adu_per_photon": gain_adu_per_photon, "offset_adu": offset_adu}


@dataclass(frozen=True)
class Decoder:
    """One kind of decoder; `training.decoders.KINDS` holds them by name.

    `make_net(run)` is the network's configuration. `loss(run, pixel_um, output, frames)` is the mean over the batch
    and its parts. `read_out(run, pixel_um, threshold, share_borders)` returns a `ReadOut`; the threshold is a share of
    `full_scale(run)`, the output's largest value, and `threshold(run)` the share unless the user gives
    one. `tiling(net)` is for movies. `sees_stamp`: the network must see a whole stamp of the PSF. `identity` names, in
    JSON, what decides how counts are read; `label` is how messages call it.
    """

    make_net: Callable[[RunConfig], nets.NetConfig]
    loss: Callable[[RunConfig, jax.Array, Any, Frames], tuple[jax.Array, Metrics]]
    read_out: Callable[[RunConfig, float, float, bool], ReadOut]
    tiling: Callable[[Any], Tiling]
    threshold: Callable[[RunConfig], float] = lambda run: 0.5
    full_scale: Callable[[RunConfig], float] = lambda run: 1.0
    sees_stamp: bool = True
    identity: Callable[[RunConfig, float, float, float], dict[str, Any]] = lambda run, *numbers: plain_identity(
        *numbers
    )
    label: str = "decoder"


def check_single_frames(run: RunConfig) -> None:
    """Refuse settings of a network that sees one frame and not where it lies (`ConfigError`)."""
    d = run.decoder
    if d.frames != 1 or d.position_channels:
        raise ConfigError(f"decoder.frames and decoder.position_channels belong to kind 'list', not {d.kind!r}")


def smooth(values: jax.Array, taps: jax.Array, axis: int, padding: str) -> jax.Array:
    """Convolve along one axis with `taps`; `padding` is "SAME" or "VALID"."""
    moved = jnp.moveaxis(values, axis, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    out = jax.lax.conv_general_dilated(flat, taps[None, None, :], (1,), padding)
    return jnp.moveaxis(out.reshape(*moved.shape[:-1], -1), -1, axis)
