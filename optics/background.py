"""Backgrounds in photons per pixel, behind one protocol: `sample_background(key, config, shape)`.

A config is a frozen pytree whose numbers are leaves, so a change of level compiles nothing anew. A new kind
of background is a class with `sample(key, shape)`; `sample_background` takes it as it is.
"""

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from optics.pytree import pytree
from optics.types import OpticsError


class Background(Protocol):
    """Anything that can draw an (H, W) background of expected photons per pixel."""

    def sample(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array: ...


def sample_background(key: jax.Array, config: Background, shape: tuple[int, int]) -> jax.Array:
    """Draw one background of `shape` (H, W), in expected photons per pixel, non-negative.

    `config` is one of this file's classes, or any `Background`.

    >>> sample_background(jax.random.key(0), Constant(20.0), (2, 3)).tolist()
    [[20.0, 20.0, 20.0], [20.0, 20.0, 20.0]]
    """
    return config.sample(key, shape)


@pytree
class Constant:
    """The same level everywhere, in photons per pixel.

    >>> sample_background(jax.random.key(0), Constant(5.0), (1, 2)).tolist()
    [[5.0, 5.0]]
    """

    photons: jax.Array | float

    def sample(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        return jnp.full(shape, self.photons, dtype=float)


@pytree
class UniformLevel:
    """One level per frame, uniform between two bounds in photons per pixel.

    >>> level = sample_background(jax.random.key(0), UniformLevel(10.0, 20.0), (2, 2))
    >>> bool((level == level[0, 0]).all() & (level[0, 0] >= 10) & (level[0, 0] <= 20))
    True
    """

    low_photons: jax.Array | float
    high_photons: jax.Array | float

    def sample(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        level = jax.random.uniform(key, (), minval=self.low_photons, maxval=self.high_photons)
        return jnp.full(shape, level)


@pytree
class SuperGaussian:
    """A rotated super-Gaussian hump on a floor: DeepSTORM3D's non-uniform background, in photons per pixel.

    exp(-q^2), q the quadratic form of a rotated Gaussian; sigma 1/5 to 2/5 of the frame along each axis,
    turned by -45 to 45 degrees, centre within `centre_px` of the frame's, then stretched so that its least
    value in the frame is the floor and its largest the peak. Floor and peak are drawn uniformly between 1 and
    1.5 times `floor_photons` and `peak_photons` (defaults theirs; doi 10.1038/s41592-020-0853-5, its code).

    >>> hump = sample_background(jax.random.key(0), SuperGaussian(), (40, 40))
    >>> bool((hump.min() >= 20) & (hump.min() <= 30) & (hump.max() >= 100) & (hump.max() <= 150))
    True
    """

    floor_photons: jax.Array | float = 20.0
    peak_photons: jax.Array | float = 100.0
    centre_px: jax.Array | float = 10.0

    def sample(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        key_sigma, key_angle, key_centre, key_level = jax.random.split(key, 4)
        size = jnp.array(shape[::-1], dtype=float)
        sigma_x, sigma_y = jax.random.uniform(key_sigma, (2,), minval=0.2, maxval=0.4) * size
        angle_rad = jax.random.uniform(key_angle, (), minval=-jnp.pi / 4, maxval=jnp.pi / 4)
        centre_x, centre_y = jax.random.uniform(key_centre, (2,), minval=-1.0, maxval=1.0) * self.centre_px
        floor, peak = jax.random.uniform(key_level, (2,), minval=1.0, maxval=1.5) * jnp.array(
            [self.floor_photons, self.peak_photons]
        )
        x = (jnp.arange(shape[1]) - (shape[1] - 1) / 2 - centre_x)[None, :]
        y = (jnp.arange(shape[0]) - (shape[0] - 1) / 2 - centre_y)[:, None]
        along = jnp.cos(angle_rad) * x + jnp.sin(angle_rad) * y
        across = jnp.cos(angle_rad) * y - jnp.sin(angle_rad) * x
        hump = jnp.exp(-(((along / sigma_x) ** 2 / 2 + (across / sigma_y) ** 2 / 2) ** 2))
        span = jnp.maximum(hump.max() - hump.min(), jnp.finfo(hump.dtype).tiny)  # a frame of one pixel is flat
        return floor + (peak - floor) * (hump - hump.min()) / span


@pytree
class RandomField:
    """A smooth, never negative random field: autofluorescence and out-of-focus light.

    Log-normal: exp of a Gaussian random field whose correlation is exp(-d^2 / (2 correlation_px^2)) at
    distance d, so that nothing is finer than about correlation_px. Drawn on a torus of twice the frame, so
    that opposite sides are independent where correlation_px is below a quarter of the frame. Its mean over
    draws is `mean_photons` per pixel and its standard deviation `contrast` times that.

    >>> field = sample_background(jax.random.key(0), RandomField(30.0, 0.4, 8.0), (32, 48))
    >>> field.shape, bool((field > 0).all())
    ((32, 48), True)
    """

    mean_photons: jax.Array | float
    contrast: jax.Array | float
    correlation_px: jax.Array | float

    def sample(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        padded = (2 * shape[0], 2 * shape[1])
        distance2 = sum(
            jnp.minimum(jnp.arange(n), n - jnp.arange(n)).reshape(side) ** 2.0
            for n, side in zip(padded, [(-1, 1), (1, -1)], strict=True)
        )
        covariance = jnp.exp(-distance2 / (2 * jnp.asarray(self.correlation_px) ** 2))
        # a long correlation on a finite torus leaves small negative eigenvalues: cut, and the rest rescaled
        power = jnp.maximum(jnp.fft.fft2(covariance).real, 0)
        power = power / power.mean()
        white = jax.random.normal(key, padded, power.dtype)
        field = jnp.fft.ifft2(jnp.sqrt(power) * jnp.fft.fft2(white)).real[: shape[0], : shape[1]]
        variance = jnp.log1p(jnp.asarray(self.contrast) ** 2)
        return self.mean_photons * jnp.exp(jnp.sqrt(variance) * field - variance / 2)


def check_background(config: Constant | UniformLevel | SuperGaussian | RandomField) -> None:
    """Refuse, on the host, a background whose numbers cannot be.

    Raises `OpticsError` that names the field: negative or not finite, bounds out of order, or a correlation
    length of 0.

    >>> check_background(UniformLevel(10.0, 20.0))
    """
    for name, value in vars(config).items():
        number = float(np.asarray(value))
        if not 0 <= number < np.inf:
            raise OpticsError(f"background {name} = {number:g} must be 0 or more and finite")
    if isinstance(config, UniformLevel) and float(config.low_photons) > float(config.high_photons):
        raise OpticsError("background low_photons must not exceed high_photons")
    if isinstance(config, SuperGaussian) and 1.5 * float(config.floor_photons) > float(config.peak_photons):
        raise OpticsError("background peak_photons must be at least 1.5 times floor_photons")
    if isinstance(config, RandomField) and not float(config.correlation_px) > 0:
        raise OpticsError("background correlation_px must be positive")
