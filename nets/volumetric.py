"""The volumetric networks of DeepSTORM3D: frames in, emitter density on a grid of depths out.

Layouts, names and parameter shapes are those that were published (Nehme et al. 2020,
doi:10.1038/s41592-020-0853-5), so that published weights load; depth is the channel axis.
"""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.api import NetConfig, Variables
from nets.blocks import Conv, ConvLeakyNorm, batch_norm, nearest_upsample
from nets.errors import NetsError
from nets.strips import localize_in_strips


@dataclasses.dataclass(frozen=True)
class LocalizationNetConfig(NetConfig):
    """Sizes of the localization network: a dilated trunk, lateral upsampling, three wide layers.

    `depth` planes in z; `dilations` of the six trunk layers, (1, 1, 2, 4, 8, 16) for a large PSF and
    (1, 1, 2, 4, 1, 1) for a compact one; `upsampling` 4 or 1; the output lies in [0, scaling]. `level_layers` follow
    the trunk without upsampling: 2 is the network of AutoDS3D (doi:10.1038/s44303-025-00123-w), with `upsampling` 1.

    >>> LocalizationNetConfig(depth=121).receptive_field_px
    68
    >>> LocalizationNetConfig(depth=40, upsampling=1, level_layers=2).receptive_field_px
    75
    """

    depth: int
    dilations: tuple[int, ...] = (1, 1, 2, 4, 8, 16)
    upsampling: int = 4
    scaling: float = 800.0
    channels: int = 64
    level_layers: int = 0

    def __post_init__(self):
        _check_sizes(self)
        if self.level_layers and (self.upsampling != 1 or self.level_layers < 0):
            raise NetsError(f"level_layers: {self.level_layers} go with upsampling 1; give 0 beside another")
        if len(self.dilations) < 2 or any(d < 1 for d in self.dilations):
            raise NetsError(f"dilations: {self.dilations} must be two or more integers >= 1")
        if self.upsampling not in (1, 2, 4):
            raise NetsError(f"upsampling: {self.upsampling} is not 1, 2 or 4")

    def module(self) -> nn.Module:
        return LocalizationNet(self)

    @property
    def receptive_field_px(self) -> int:
        # From the output inwards: [low, high] is what the first fine pixel sees, in pixels of each resolution.
        low, high = -3, 3  # layers 7, 8, 9
        for _ in range(int(math.log2(self.upsampling))):
            low, high = (low - 1) // 2, (high + 1) // 2
        return high - low + 1 + 2 * (sum(self.dilations) + self.level_layers)

    def evaluate(self, variables: Variables, x: jax.Array) -> Any:
        """Run the network, on a CPU with its fine layers in strips (`nets.strips`)."""
        plain = functools.partial(LocalizationNet(self).apply, train=False)
        if self.upsampling == 1:
            return plain(variables, x)
        # Chosen when the program is lowered: an accelerator wants whole maps, not strips.
        strips = functools.partial(localize_in_strips, self)
        return jax.lax.platform_dependent(variables, x, cpu=strips, default=plain)


@dataclasses.dataclass(frozen=True)
class OpticsDesignNetConfig(NetConfig):
    """Sizes of the network that DeepSTORM3D learns a mask with: nine layers, no dilation, no upsampling.

    `depth` planes in z; the output lies in [0, scaling].

    >>> OpticsDesignNetConfig(depth=51).receptive_field_px
    19
    """

    depth: int
    layers: int = 9
    scaling: float = 100.0
    channels: int = 64

    def __post_init__(self):
        _check_sizes(self)

    def module(self) -> nn.Module:
        return OpticsDesignNet(self)

    @property
    def receptive_field_px(self) -> int:
        return 2 * self.layers + 1


def _check_sizes(config) -> None:
    for name in ("depth", "channels", "scaling", *(("layers",) if hasattr(config, "layers") else ())):
        if not getattr(config, name) > 0:
            raise NetsError(f"{name}: {getattr(config, name)} is not positive; give a number above 0")


class LocalizationNet(nn.Module):
    """(B, H, W, 1) -> (B, u H, u W, depth); use it through `nets.init` and `nets.apply`."""

    config: LocalizationNetConfig

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        c = self.config
        image = batch_norm(train, "norm")(x)
        out = _trunk(c.channels, c.dilations, image, train)
        if c.upsampling > 1 or c.level_layers:
            out = jnp.concatenate([out, image], axis=-1)
        for i in range(c.level_layers):
            out = ConvLeakyNorm(c.channels, name=f"deconv{i + 1}")(out, train)
        for i in range(int(math.log2(c.upsampling))):
            out = ConvLeakyNorm(c.channels, name=f"deconv{i + 1}")(nearest_upsample(out), train)
        first = len(c.dilations) + 1
        out = ConvLeakyNorm(c.depth, name=f"layer{first}")(out, train)
        for i in (first + 1, first + 2):
            out = out + ConvLeakyNorm(c.depth, name=f"layer{i}")(out, train)
        out = Conv(c.depth, size=1, gain=1 / 3, name=f"layer{first + 3}")(out)
        return jnp.clip(out, 0, c.scaling)


class OpticsDesignNet(nn.Module):
    """(B, H, W, 1) -> (B, H, W, depth); use it through `nets.init` and `nets.apply`."""

    config: OpticsDesignNetConfig

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        c = self.config
        image = batch_norm(train, "norm")(x)
        out = _trunk(c.channels, (1,) * c.layers, image, train)
        out = Conv(c.depth, size=1, gain=1 / 3, name=f"layer{c.layers + 1}")(out)
        return jnp.clip(out, 0, c.scaling)


def _trunk(channels: int, dilations: tuple[int, ...], image: jax.Array, train: bool) -> jax.Array:
    """Residual layers that are handed the normalised image again and again."""
    out = ConvLeakyNorm(channels, dilation=dilations[0], name="layer1")(image, train)
    for i, dilation in enumerate(dilations[1:], start=2):
        layer = ConvLeakyNorm(channels, dilation=dilation, name=f"layer{i}")
        out = out + layer(jnp.concatenate([out, image], axis=-1), train)
    return out
