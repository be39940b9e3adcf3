"""The layers that the networks are made of: convolution, and DeepSTORM3D's conv - activation - norm."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from nets.conv import conv2d

LEAK = 0.2  # negative slope of DeepSTORM3D's LeakyReLU


def leaky_relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0.2 x), element by element."""
    return jnp.maximum(x, LEAK * x)


class Conv(nn.Module):
    """Convolve (B, H, W, C) -> (B, H, W, features), zero padding to the same size.

    `gain` is the variance of an output for inputs of unit mean square, `bias` the value it starts from (None: none).
    A kernel is declared filled with its standard deviation; `nets.start.drawn` multiplies the random
    numbers in.
    """

    features: int
    size: int = 3
    dilation: int = 1
    gain: float = 2.0
    bias: tuple[float, ...] | float | None = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        spread = math.sqrt(self.gain / math.prod(shape[:3]))
        kernel = self.param("kernel", nn.initializers.constant(spread), shape, x.dtype)
        y = conv2d(x, kernel.astype(x.dtype), self.dilation)
        if self.bias is None:
            return y
        level = np.broadcast_to(np.asarray(self.bias), (self.features,))
        bias = self.param("bias", lambda _: jnp.asarray(level, x.dtype))
        return y + bias.astype(x.dtype).reshape(1, 1, 1, -1)


def batch_norm(train: bool, name: str) -> nn.BatchNorm:
    """Normalise by batch statistics in training, by running ones otherwise, with the published networks' settings.

    eps 1e-5 and momentum 0.9, which PyTorch writes as 0.1.
    """
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, name=name)


class ConvLeakyNorm(nn.Module):
    """Convolution, LeakyReLU(0.2), batch norm, in this order: the block of DeepSTORM3D."""

    features: int
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        # gain 1/3: the published code starts from PyTorch's default, uniform with variance 1 / (3 fan_in)
        x = leaky_relu(Conv(self.features, dilation=self.dilation, gain=1 / 3, name="conv")(x))
        return batch_norm(train, "norm")(x)


def space_to_depth(x: jax.Array) -> jax.Array:
    """Fold 2 x 2 pixels into channels: (B, 2h, 2w, C) -> (B, h, w, 4C)."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def depth_to_space(x: jax.Array) -> jax.Array:
    """Unfold channels into 2 x 2 pixels, the inverse of `space_to_depth`: (B, h, w, 4C) -> (B, 2h, 2w, C)."""
    b, h, w, c = x.shape
    return x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)


def nearest_upsample(x: jax.Array) -> jax.Array:
    """Repeat every pixel 2 x 2 times: (B, H, W, C) -> (B, 2H, 2W, C)."""
    b, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)
