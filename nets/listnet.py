"""The list decoder: per pixel a probability, a position, a brightness, their uncertainties, a background.

The outputs are those that DECODE introduced (Speiser et al. 2021, doi:10.1038/s41592-021-01236-x); the
network is our own: a dilated residual trunk without normalisation layers, because runs are short and a
batch norm would tie a frame's answer to its neighbours.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from nets.api import NetConfig
from nets.blocks import Conv, depth_to_space, leaky_relu, space_to_depth
from nets.errors import NetsError
from optics.pytree import pytree

Z_MARGIN = 1.2  # z is bounded by a range this much wider than the scenes', so that tanh is not saturated inside
SIGMA_FLOOR = 2e-3  # of each quantity's scale: keeps the likelihood bounded when a sigma collapses


@pytree
class ListMaps:
    """What the list decoder says about each pixel of (B, H, W) frames.

    `logit` (B, H, W) of the probability that an emitter sits in the pixel; `offset_um` (B, H, W, 2) its
    (x, y) relative to the pixel's centre; `z_um`, `photons` (B, H, W); `sigma` (B, H, W, 4) standard
    deviations of (x_um, y_um, z_um, photons), all positive; `background` (B, H, W) photons per pixel. Of a decoder
    that tells S species apart, `channel` (B, H, W, S) is the logarithm of each one's probability; None of others.
    """

    logit: jax.Array
    offset_um: jax.Array
    z_um: jax.Array
    photons: jax.Array
    sigma: jax.Array
    background: jax.Array
    channel: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class ListNetConfig(NetConfig):
    """Sizes and ranges of a list decoder.

    The input is (frames - input_offset) / input_scale, in photons; `input_transform` "sqrt" compresses it
    further like a variance stabilising transform. `photons_max` and `background_max` are never exceeded:
    leave some room above the scenes' largest. `offset_max_px` 1 lets a pixel claim an emitter just across
    its border. `half_resolution` runs the trunk on 2 x 2 pixel blocks: a quarter of the work and twice the
    receptive field for the same channels and dilations.

    With `frames` 3 the network sees the frame before and the frame after as channels, and describes the middle one.
    With `position_channels` it is told where in a camera field of `field_px` pixels a side it looks, so that it can
    follow a PSF that changes over the field (CoordConv, as in FD-DeepLoc: Fu et al. 2023,
    doi:10.1038/s41592-023-01775-5); `nets.network_input` makes the channels. `fixed_z` leaves z at the middle of
    its range with a sigma of half of it: for emitters that all lie in one plane. With `species` of 2 or more the
    network says, per pixel, which of them its emitter is: the colour head, a softmax over as many further outputs.

    >>> ListNetConfig(dilations=(1, 2, 4), half_resolution=False).receptive_field_px
    19
    """

    pixel_um: float = 0.11
    z_min_um: float = 0.0
    z_max_um: float = 4.0
    photons_max: float = 80_000.0
    background_max: float = 250.0
    input_offset: float = 50.0
    input_scale: float = 50.0
    input_transform: Literal["linear", "sqrt"] = "linear"
    channels: int = 64
    head_channels: int = 48
    dilations: tuple[int, ...] = (1, 1, 2, 2, 4, 4, 8, 8, 1, 1)
    half_resolution: bool = True
    offset_max_px: float = 1.0
    sigma_max: float = 3.0
    logit_bias: float = -6.0
    frames: Literal[1, 3] = 1
    position_channels: bool = False
    field_px: int = 0
    fixed_z: bool = False
    # a reader is known by this text and by its arrays, whose shapes say it: as before there were species
    species: int = dataclasses.field(default=1, repr=False)

    def __post_init__(self):
        if self.frames not in (1, 3):
            raise NetsError(f"frames: {self.frames} is neither 1 nor 3 (the frame before, the frame, the one after)")
        if self.position_channels and self.field_px < 1:
            raise NetsError(f"field_px: {self.field_px} is no side of a camera field; position_channels need it")
        positive = ("pixel_um", "photons_max", "background_max", "input_scale", "channels", "head_channels")
        for name in (*positive, "offset_max_px", "sigma_max"):
            if not getattr(self, name) > 0:
                raise NetsError(f"{name}: {getattr(self, name)} is not positive; give a number above 0")
        if self.species < 1:
            raise NetsError(f"species: {self.species} must be at least 1")
        if not self.z_max_um > self.z_min_um:
            raise NetsError(f"z_max_um: {self.z_max_um} is not above z_min_um {self.z_min_um}; swap them")
        if not self.dilations or any(d < 1 for d in self.dilations):
            raise NetsError(f"dilations: {self.dilations} must be one or more integers >= 1")
        if self.input_transform not in ("linear", "sqrt"):
            raise NetsError(f"input_transform: {self.input_transform!r} is unknown; use 'linear' or 'sqrt'")

    def module(self) -> nn.Module:
        return ListNet(self)

    @property
    def input_channels(self) -> int:
        """The frames, then x and y of each pixel in the field."""
        return self.frames + 2 * self.position_channels

    @property
    def context(self) -> int:
        return self.frames // 2

    @property
    def receptive_field_px(self) -> int:
        reach = 1 + sum(self.dilations)  # the stem's 3 x 3 and the trunk
        if self.half_resolution:
            # the head's 3 x 3 touches two half-resolution pixels a side: one pixel further on one side
            return 2 * (2 * reach + 2)
        return 2 * (reach + 1) + 1

    def arrange(self, images: jax.Array, origin_px: ArrayLike | None = None) -> jax.Array:
        """Append to the frames, where the decoder is told its place, x and y of each pixel in the field."""
        images = images if self.frames > 1 else images[..., None]
        if not self.position_channels:
            return images
        origins = jnp.broadcast_to(jnp.asarray((0, 0) if origin_px is None else origin_px), (images.shape[0], 2))
        shape = (images.shape[1], images.shape[2])
        place = jax.vmap(lambda origin: position_maps(shape, origin, self.field_px))(origins)
        return jnp.concatenate([images, place.astype(images.dtype)], axis=-1)


def position_maps(shape: tuple[int, int], origin_px: ArrayLike, field_px: int) -> jax.Array:
    """Return x and y of each pixel of a crop, over a camera field of `field_px` pixels a side scaled to [-1, 1].

    `shape` (H, W), `origin_px` (2,) column and row of the crop's first pixel in the field -> (H, W, 2). The outer
    corners of the field are at -1 and 1, its centre at 0.

    >>> position_maps((1, 2), (0, 3), 4)[0, :, 0].tolist()
    [-0.75, -0.25]
    """
    origin = jnp.asarray(origin_px)
    x = 2 * (origin[0] + jnp.arange(shape[1]) + 0.5) / field_px - 1
    y = 2 * (origin[1] + jnp.arange(shape[0]) + 0.5) / field_px - 1
    return jnp.stack(jnp.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


class ListNet(nn.Module):
    """The list decoder as a module; use it through `nets.init` and `nets.apply`."""

    config: ListNetConfig

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> ListMaps:
        c = self.config
        place = x[..., c.frames :]
        x = (x[..., : c.frames] - c.input_offset) / c.input_scale
        if c.input_transform == "sqrt":
            # 2 sign(x) (sqrt(1 + |x|) - 1), written so that the slope at 0, which a mask learns from, is 1
            x = 2 * x / (jnp.sqrt(1 + jnp.abs(x)) + 1)
        if c.position_channels:
            x = jnp.concatenate([x, place], axis=-1)
        height, width = x.shape[1:3]
        features = self._full_resolution(x) if not c.half_resolution else self._half_resolution(x)
        features = leaky_relu(Conv(c.head_channels, name="head")(leaky_relu(features)))
        # order: logit | x, y, z, photons | four sigmas | background | species
        bias = (c.logit_bias, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -2.0, -1.0)
        told = c.species if c.species > 1 else 0
        raw = Conv(10 + told, size=1, gain=0.1, bias=bias + (0.0,) * told, name="out")(features)
        return self._maps(raw[:, :height, :width])

    def _trunk(self, x: jax.Array) -> jax.Array:
        # gain / depth: the sum of all branches starts with the variance of one layer, which is what lets
        # the trunk do without normalisation
        gain = 2.0 / len(self.config.dilations)
        for i, dilation in enumerate(self.config.dilations):
            x = x + Conv(self.config.channels, dilation=dilation, gain=gain, name=f"trunk{i}")(leaky_relu(x))
        return x

    def _full_resolution(self, x: jax.Array) -> jax.Array:
        return self._trunk(Conv(self.config.channels, gain=1.0, name="stem")(x))

    def _half_resolution(self, x: jax.Array) -> jax.Array:
        c = self.config
        odd = [(0, n % 2) for n in x.shape[1:3]]
        x = jnp.pad(x, ((0, 0), *odd, (0, 0)))
        trunk = self._trunk(Conv(c.channels, gain=1.0, name="stem")(space_to_depth(x)))
        fine = depth_to_space(Conv(4 * c.head_channels, size=1, gain=1.0, name="unfold")(leaky_relu(trunk)))
        return fine + Conv(c.head_channels, gain=1.0, name="skip")(x)

    def _maps(self, raw: jax.Array) -> ListMaps:
        c = self.config
        z_half = 0.5 * (c.z_max_um - c.z_min_um)
        scale = jnp.array([[[[c.pixel_um, c.pixel_um, z_half, c.photons_max]]]], raw.dtype)
        z_um = c.z_min_um + z_half * (1 + Z_MARGIN * jnp.tanh(raw[..., 3]))
        sigma = scale * (SIGMA_FLOOR + c.sigma_max * jax.nn.sigmoid(raw[..., 5:9]))
        if c.fixed_z:  # a likelihood that knows z exactly would tighten its sigma without end
            z_um = jnp.full_like(z_um, c.z_min_um + z_half)
            sigma = sigma.at[..., 2].set(z_half)
        return ListMaps(
            logit=raw[..., 0],
            offset_um=c.offset_max_px * c.pixel_um * jnp.tanh(raw[..., 1:3]),
            z_um=z_um,
            photons=c.photons_max * jax.nn.sigmoid(raw[..., 4]),
            sigma=sigma,
            background=c.background_max * jax.nn.sigmoid(raw[..., 9]),
            channel=jax.nn.log_softmax(raw[..., 10:]) if c.species > 1 else None,
        )
