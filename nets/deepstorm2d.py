"""Deep-STORM: frames in, an image of the emitters' density on a finer grid out, without depth.

"published" is the encoder and decoder of Nehme et al. 2018 (doi:10.1364/OPTICA.5.000458), which works on the frame
enlarged beforehand; "light" looks at the camera's own pixels and enlarges what it found, the layout of AutoDS's
networks (npj Imaging 2025, doi:10.1038/s44303-025-00123-w): a tenth of the work. "quick" has the layers of "light"
without zeros around them (`nets.deepstorm_quick`): it makes no enlarged maps and trains on what it reads.
"""

import dataclasses
import math
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.api import NetConfig
from nets.blocks import Conv, batch_norm, depth_to_space
from nets.deepstorm_quick import convolve, corner_kernel, crop_corners, halo_px, spans
from nets.errors import NetsError

PUBLISHED_CHANNELS = (32, 64, 128, 512, 128, 64, 32)
LIGHT_CHANNELS = (32, 64, 128, 256, 128, 64)
LIGHT_FINE_CHANNELS = 32
POOLED = 8  # fine pixels a side of what "published" makes one pixel of


@dataclasses.dataclass(frozen=True)
class DeepStormConfig(NetConfig):
    """Which of the networks, and how many fine pixels a camera pixel becomes on each side.

    `width` scales the channels of all layers (1: as published). Frames reach the network through
    `nets.network_input`, which brings them to its scale: each stretched to [0, 1] for "published" (its mean and
    variance over the data are then a batch norm's), each to mean 0 and variance 1 for the others. In training "quick"
    answers for the pixels at least `nets.deepstorm_quick.halo_px` from the frame's border; in evaluation for all, the
    frame mirrored beyond its border.

    >>> DeepStormConfig("light").receptive_field_px, DeepStormConfig("published").receptive_field_px
    (19, 7)
    """

    SPIKE: ClassVar[float] = 50.0  # what one emitter sums to in the trained network's output

    variant: Literal["published", "light", "quick"] = "light"
    upsampling: int = 8
    width: float = 1.0

    def __post_init__(self):
        if self.variant not in ("published", "light", "quick"):
            raise NetsError(f"variant: {self.variant!r} is unknown; use 'published', 'light' or 'quick'")
        if self.upsampling not in (2, 4, 8, 16):
            raise NetsError(f"upsampling: {self.upsampling} is not 2, 4, 8 or 16")
        if not 0 < self.width <= 4:
            raise NetsError(f"width: {self.width} must be above 0 and at most 4; 1 is the published one")

    def channels(self, count: int) -> int:
        """Return the channels of a layer that has `count` as published."""
        return max(1, round(count * self.width))

    def module(self) -> nn.Module:
        return DeepStorm(self)

    @property
    def receptive_field_px(self) -> int:
        """Return the width in camera pixels of the square that decides about the fine pixels of one camera pixel."""
        if self.variant == "quick":
            return 2 * halo_px(self.upsampling) + 1
        if self.variant == "light":
            low, high = 0, self.upsampling - 1
            for _ in range(int(math.log2(self.upsampling))):
                low, high = low - 2, high + 2  # 5 x 5
                low, high = math.floor((low + 0.5) / 2 - 0.5), math.ceil((high + 0.5) / 2 - 0.5)  # bilinear
            return high - low + 1 + 2 * len(LIGHT_CHANNELS)
        # fine pixels low to high of one block that is pooled together, from the output inwards
        low, high = 0, max(POOLED, self.upsampling) - 1
        for _ in range(3):
            low, high = (low - 1) // 2, (high + 1) // 2  # 3 x 3, then nearest enlargement
        for _ in range(3):
            low, high = 2 * (low - 1), 2 * (high + 1) + 1  # 3 x 3, then pooling
        low, high = low - 1, high + 1
        return high // self.upsampling - low // self.upsampling + 1

    @property
    def frame_multiple(self) -> int:
        """Return by how many camera pixels a window may be moved without changing what is pooled together."""
        return max(1, POOLED // self.upsampling) if self.variant == "published" else 1

    def finish(self, output: jax.Array) -> jax.Array:
        """Return the density in emitters per fine pixel, cut at 0."""
        return jnp.maximum(output, 0.0) * (1 / self.SPIKE)

    def normalise(self, frames: jax.Array) -> jax.Array:
        """Bring whole frames (..., H, W) to the network's scale, each by itself; a flat frame becomes 0."""
        axes = (-2, -1)
        if self.variant == "published":
            low, high = frames.min(axes, keepdims=True), frames.max(axes, keepdims=True)
            span = high - low
            return (frames - low) / jnp.where(span > 0, span, 1.0)
        spread = frames.std(axes, keepdims=True)
        return (frames - frames.mean(axes, keepdims=True)) / jnp.where(spread > 0, spread, 1.0)


def _enlarge(x: jax.Array, factor: int) -> jax.Array:
    """Repeat every pixel factor x factor times."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


class _Block(nn.Module):
    """Convolution, batch norm, ReLU, in this order."""

    features: int
    size: int
    bias: float | None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return jax.nn.relu(batch_norm(train, "norm")(Conv(self.features, self.size, bias=self.bias, name="conv")(x)))


class DeepStorm(nn.Module):
    """(B, H, W, 1) -> (B, u H, u W); use it through `nets.init` and `nets.apply`."""

    config: DeepStormConfig

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers = {"published": self._published, "light": self._light, "quick": self._quick}
        x = layers[self.config.variant](x, train)
        return Conv(1, size=1, gain=1.0, bias=None, name="density")(x)[..., 0]

    def _published(self, x: jax.Array, train: bool) -> jax.Array:
        c = self.config
        height, width = (c.upsampling * n for n in x.shape[1:3])
        # "the data set's mean and standard deviation", kept up during training
        x = nn.BatchNorm(
            use_running_average=not train, momentum=0.9, epsilon=1e-5, use_bias=False, use_scale=False, name="data"
        )(x)
        x = _enlarge(x, c.upsampling)
        x = jnp.pad(x, ((0, 0), (0, -height % POOLED), (0, -width % POOLED), (0, 0)))
        for i, count in enumerate(PUBLISHED_CHANNELS):
            if i > 3:
                x = _enlarge(x, 2)
            x = _Block(c.channels(count), 3, None, name=f"block{i + 1}")(x, train)
            if i < 3:
                x = nn.max_pool(x, (2, 2), (2, 2))
        return x[:, :height, :width]

    def _light(self, x: jax.Array, train: bool) -> jax.Array:
        c = self.config
        for i, count in enumerate(LIGHT_CHANNELS):
            x = _Block(c.channels(count), 3, 0.0, name=f"block{i + 1}")(x, train)
        for i in range(int(math.log2(c.upsampling))):
            b, h, w, channels = x.shape
            x = jax.image.resize(x, (b, 2 * h, 2 * w, channels), "bilinear")
            x = _Block(c.channels(LIGHT_FINE_CHANNELS), 5, 0.0, name=f"fine{i + 1}")(x, train)
        return x

    def _quick(self, x: jax.Array, train: bool) -> jax.Array:
        c = self.config
        halo = halo_px(c.upsampling)
        if not train:
            x = jnp.pad(x, ((0, 0), (halo, halo), (halo, halo), (0, 0)), mode="symmetric")
        elif min(x.shape[1:3]) <= 2 * halo:
            raise NetsError(f"frames of {x.shape[1]} x {x.shape[2]} px leave nothing inside {halo} px; train on larger")
        rows, columns = (spans(c.upsampling, side - 2 * halo) for side in x.shape[1:3])
        for i, count in enumerate(LIGHT_CHANNELS):
            x = _Corners(c.channels(count), 3, False, name=f"block{i + 1}")(x, train)
        for i in range(len(rows) - 1):
            x = _Corners(c.channels(LIGHT_FINE_CHANNELS), 5, True, name=f"fine{i + 1}")(x, train)
            x = crop_corners(x, (rows[i], columns[i]), (rows[i + 1], columns[i + 1]))
        return x


class _Corners(nn.Module):
    """`_Block` with a bias and without padding, after bilinear enlargement where it is asked for."""

    features: int
    size: int
    enlarge: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = Taps(self.features, self.size, self.enlarge, name="conv")(x)
        b, h, w, channels = x.shape
        x = x.reshape(b, h, w, channels // self.features, self.features)
        x = jax.nn.relu(batch_norm(train, "norm")(x)).reshape(b, h, w, channels)
        return depth_to_space(x) if self.enlarge else x


class Taps(nn.Module):
    """The variables of `Conv`, applied without padding; around the corners of the coarse grid where it enlarges."""

    features: int
    size: int
    enlarge: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        spread = math.sqrt(2.0 / math.prod(shape[:3]))
        kernel = self.param("kernel", nn.initializers.constant(spread), shape, x.dtype).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), x.dtype).astype(x.dtype)
        bias = jnp.tile(bias, 4 if self.enlarge else 1).reshape(1, 1, 1, -1)
        return convolve(x, corner_kernel(kernel) if self.enlarge else kernel) + bias
