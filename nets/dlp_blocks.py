"""Layers of `nets.dlp`: the convolutional stems, glimpse and picture decoders of deep latent particles.

Layouts follow DLPv2 (Daniel and Tamar 2024, Transactions on Machine Learning Research) in the sizes that PILPEL
published (doi 10.1101/2025.07.16.665148): convolution without bias, group norm over four groups (five where four do
not divide), ReLU; padding repeats the edge, so that a flat frame stays flat.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from nets.start import fan_in_spread


class PlainBlock(nn.Module):
    """Convolution, group norm and ReLU: (B, H, W, C) -> (B, H', W', features); `upsample` doubles the sides."""

    features: int
    size: int = 3
    upsample: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(_norm(self.features)(_conv(x, self.features, self.size, 1)))
        return _twice(x) if self.upsample else x


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside a skip; `stride` 2 halves the sides, `upsample` doubles them."""

    features: int
    stride: int = 1
    upsample: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.relu(_norm(self.features)(_conv(x, self.features, 3, self.stride)))
        y = _norm(self.features)(_conv(y, self.features, 3, 1))
        if self.stride > 1 or x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), (self.stride, self.stride), use_bias=False, kernel_init=fan_in_spread)(x)
        y = nn.relu(x + y)
        return _twice(y) if self.upsample else y


class Stem(nn.Module):
    """Map frames or glimpses to features: the first width at full size, each further width at half the size before."""

    widths: tuple[int, ...]
    first_size: int = 3
    out: int = 32
    residual: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def block(y: jax.Array, width: int, stride: int) -> jax.Array:
            if self.residual:
                return ResidualBlock(width, stride)(y)
            return nn.relu(_norm(width)(_conv(y, width, 3, stride)))

        x = block(PlainBlock(self.widths[0], self.first_size)(x), self.widths[0], 1)
        for width in self.widths[1:]:
            x = block(block(x, width, 2), width, 1)
        return nn.Conv(self.out, (1, 1), kernel_init=fan_in_spread)(x)


class Dense(nn.Module):
    """Linear layers with ReLU after each but the last, and after the first where `first_linear` is not set."""

    widths: tuple[int, ...]
    first_linear: bool = False
    last_relu: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, width in enumerate(self.widths):
            x = nn.Dense(width, kernel_init=fan_in_spread)(x)
            last = i == len(self.widths) - 1
            if (not last or self.last_relu) and not (i == 0 and self.first_linear):
                x = nn.relu(x)
        return x


class GlimpseDecoder(nn.Module):
    """Map appearances (N, F) to maps (N, G, G, 2) of transparency and brightness, both in 0...1.

    G is 8, doubled for each width after the first.
    """

    hidden: int
    widths: tuple[int, ...] = (32, 64, 64)
    last: int = 32

    @nn.compact
    def __call__(self, appearance: jax.Array) -> jax.Array:
        first = self.widths[0]
        x = Dense((self.hidden, self.hidden, 64 * first), last_relu=True)(appearance)
        x = x.reshape(-1, 8, 8, first)
        for width in self.widths[1:]:
            x = ResidualBlock(width, upsample=True)(x)
        x = PlainBlock(self.last)(x)
        return nn.sigmoid(nn.Conv(2, (1, 1), kernel_init=fan_in_spread)(x))


class PictureDecoder(nn.Module):
    """Map codes (B, D) to pictures (B, side, side) in 0...1 by the published background decoder.

    Maps of 8 x 8 are doubled by a residual block of 32 features and by one for each of `widths`, padded by a pixel and
    cut to `side`.
    """

    side: int
    hidden: int = 256
    widths: tuple[int, ...] = (256, 128, 64)

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        x = Dense((self.hidden, self.hidden, 2048), last_relu=True)(code).reshape(-1, 8, 8, 32)
        x = ResidualBlock(32, upsample=True)(x)
        for width in self.widths:
            x = ResidualBlock(width, upsample=True)(x)
        x = jnp.pad(PlainBlock(32)(x), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        x = nn.Conv(1, (1, 1), kernel_init=fan_in_spread)(x)
        cut = (x.shape[1] - self.side) // 2 + (x.shape[1] - self.side) % 2
        return nn.sigmoid(x[:, cut : cut + self.side, cut : cut + self.side, 0])


def _conv(x: jax.Array, features: int, size: int, stride: int) -> jax.Array:
    reach = size // 2
    x = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    return nn.Conv(features, (size, size), (stride, stride), "VALID", use_bias=False, kernel_init=fan_in_spread)(x)


def _norm(features: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups=4 if features % 4 == 0 else 5, epsilon=1e-4)


def _twice(x: jax.Array) -> jax.Array:
    b, h, w, c = x.shape
    return jax.image.resize(x, (b, 2 * h, 2 * w, c), "bilinear")
