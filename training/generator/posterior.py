"""The posterior over the latent variables of one frame, and samples from it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from numpy.typing import NDArray

from optics.pytree import pytree


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Where emitters may be: `pixel_um`, depths `z_um` (lowest, highest); `is_3d` False where all lie in one plane.

    A depth is stored as its normal score: Phi(score) is the fraction of the way from the lowest to the highest depth,
    so that standard normal scores are even depths and no sample leaves the range.
    """

    pixel_um: float
    z_um: tuple[float, float]
    is_3d: bool

    def depth_um(self, score: jax.Array | NDArray) -> jax.Array:
        """Convert scores to depths of the same shape; in 2D every depth is the middle of the range."""
        low, high = self.z_um
        fraction = norm.cdf(score) if self.is_3d else 0.5 + 0 * score
        return low + (high - low) * jnp.asarray(fraction)

    def depth_score(self, z_um: jax.Array | NDArray) -> jax.Array:
        """Convert depths to scores; depths are first clipped to 2 % inside the range, so that scores are finite."""
        low, high = self.z_um
        return norm.ppf(jnp.clip((jnp.asarray(z_um) - low) / max(high - low, 1e-9), 0.02, 0.98))


@pytree
class Normal:
    """Independent Gaussians: `mean` and `log_std`, of one shape."""

    mean: jax.Array
    log_std: jax.Array


@pytree
class Posterior:
    """The posterior of one frame with K emitter slots; posteriors of F frames have leaves (F, ...).

    `anchor_um` (K, 2): x and y of the proposals, fixed while the other leaves are refined. `presence` (K,): logit of
    the probability that the slot holds an emitter. `location` (K, 4): x and y from the anchor (um), depth score
    (`Ranges.depth_um`), log photons. `haze` (K, 2): logit of its brightness, log of its size. `appearance` (K, F):
    shape of the haze. `background` (h, w, C), or (1, 1, code): latents of the level. `noise` (h, w): log of the read
    variance over the camera's, on the background's cells.
    """

    anchor_um: jax.Array
    presence: jax.Array
    location: Normal
    haze: Normal
    appearance: Normal
    background: Normal
    noise: Normal


@pytree
class Sample:
    """A sample of a `Posterior`: `xyz_um` (K, 3), `photons` (K,), `presence` (K,) probabilities, and the latents."""

    xyz_um: jax.Array
    photons: jax.Array
    presence: jax.Array
    haze: jax.Array
    appearance: jax.Array
    background: jax.Array
    noise: jax.Array


def sample_posterior(key: jax.Array, ranges: Ranges, posterior: Posterior) -> Sample:
    """Sample all latents of one frame's posterior; presence stays a probability."""
    parts = _gaussians(posterior)
    sizes = [part.mean.size for part in parts]
    # all numbers at once: five generators take five seconds of processor to compile, in every program that samples
    numbers = jnp.split(jax.random.normal(key, (sum(sizes),), parts[0].mean.dtype), np.cumsum(sizes)[:-1])
    latents = (
        part.mean + jnp.exp(part.log_std) * number.reshape(part.mean.shape)
        for part, number in zip(parts, numbers, strict=True)
    )
    return _as_sample(ranges, posterior, *latents)


def posterior_mean(ranges: Ranges, posterior: Posterior) -> Sample:
    """Return the sample whose latents are the means of one frame's posterior."""
    return _as_sample(ranges, posterior, *(part.mean for part in _gaussians(posterior)))


def _gaussians(posterior: Posterior) -> tuple[Normal, ...]:
    return posterior.location, posterior.haze, posterior.appearance, posterior.background, posterior.noise


def _as_sample(
    ranges: Ranges,
    posterior: Posterior,
    location: jax.Array,
    haze: jax.Array,
    appearance: jax.Array,
    background: jax.Array,
    noise: jax.Array,
) -> Sample:
    xy_um = posterior.anchor_um + location[:, :2]
    return Sample(
        xyz_um=jnp.concatenate([xy_um, ranges.depth_um(location[:, 2:3])], axis=1),
        photons=jnp.exp(jnp.clip(location[:, 3], 0.0, 16.0)),
        presence=jax.nn.sigmoid(posterior.presence),
        haze=haze,
        appearance=appearance,
        background=background,
        noise=noise,
    )
