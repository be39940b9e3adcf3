"""What a decoder is trained to lower: likelihoods for lists, distances of blurred densities for volumes and images."""

import jax
import jax.numpy as jnp

from nets import ListMaps
from optics.types import Emitters

HEAT = 100.0  # an emitter's mass in Deep-STORM's target, and
GAIN = 2.0  # that of the kernel which its network's own spikes are blurred with: one emitter is 50 of its output
_TINY = 1e-6  # keeps the logarithm and the variance of an empty frame finite
_LOG_2PI = 1.8378770664093453


def pixel_centres(shape: tuple[int, ...], pixel_um: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x (1, W) and y (H, 1) of pixel centres in frame coordinates, um."""
    height, width = shape
    return (jnp.arange(width) + 0.5)[None, :] * pixel_um, (jnp.arange(height) + 0.5)[:, None] * pixel_um


def count_loss(logit: jax.Array, n_emitters: jax.Array) -> jax.Array:
    """Negative log-likelihood of the true count, each pixel an independent coin; logit (H, W).

    The sum of the coins is taken as normal, with mean sum(p) and variance sum(p (1 - p)) (Speiser et al.
    2021, doi 10.1038/s41592-021-01236-x).
    """
    p = jax.nn.sigmoid(logit)
    mean, variance = p.sum(), (p * (1 - p)).sum() + _TINY
    return 0.5 * ((n_emitters - mean) ** 2 / variance + jnp.log(variance) + _LOG_2PI)


def mixture_loss(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> jax.Array:
    """Negative log-likelihood of the true emitters under the mixture that one frame's maps describe.

    Each pixel is a Gaussian in (x, y, z, photons) with weight p / sum(p); the loss is summed over the
    frame's emitters. `maps` without the batch axis.
    """
    x, y = pixel_centres(maps.logit.shape, pixel_um)
    mean = jnp.stack([maps.offset_um[..., 0] + x, maps.offset_um[..., 1] + y, maps.z_um, maps.photons])
    sigma = jnp.moveaxis(maps.sigma, -1, 0)
    log_weight = jax.nn.log_sigmoid(maps.logit) - jnp.log(jax.nn.sigmoid(maps.logit).sum() + _TINY)
    log_weight = log_weight - jnp.log(sigma).sum(0) - 2 * _LOG_2PI
    truth = jnp.concatenate([emitters.xyz_um, emitters.photons[:, None]], axis=1)

    def log_likelihood(one):
        distance = (one[:, None, None] - mean) / sigma
        return jax.nn.logsumexp(log_weight - 0.5 * (distance**2).sum(0))

    return -jnp.sum(jnp.where(emitters.valid, jax.vmap(log_likelihood)(truth), 0.0))


def occupancy_loss(logit: jax.Array, emitters: Emitters, pixel_um: jax.Array) -> jax.Array:
    """Cross-entropy of each pixel's probability against "an emitter lies here", summed over (H, W)."""
    height, width = logit.shape
    column = jnp.floor(emitters.xyz_um[:, 0] / pixel_um).astype(int)
    row = jnp.floor(emitters.xyz_um[:, 1] / pixel_um).astype(int)
    inside = emitters.valid & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    target = jnp.zeros_like(logit).at[row, column].max(inside.astype(logit.dtype), mode="drop")
    return jnp.sum(jax.nn.softplus(logit) - target * logit)


def list_loss(
    maps: ListMaps,
    emitters: Emitters,
    background: jax.Array,
    pixel_um: jax.Array,
    *,
    occupancy_weight: float = 0.0,
    background_weight: float = 1.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of a list decoder on one frame, and its parts.

    Count and mixture likelihood, the squared relative error of the background, and optionally the
    per-pixel occupancy. `maps` without the batch axis, `background` (H, W) photons per pixel.
    """
    n_emitters = emitters.valid.sum()
    parts = {
        "count": count_loss(maps.logit, n_emitters),
        "mixture": mixture_loss(maps, emitters, pixel_um),
        "background": jnp.mean((maps.background - background) ** 2) / (jnp.mean(background) + 1.0) ** 2,
    }
    total = parts["count"] + parts["mixture"] + 100 * background_weight * parts["background"]
    if occupancy_weight:
        parts["occupancy"] = occupancy_loss(maps.logit, emitters, pixel_um)
        total = total + occupancy_weight * parts["occupancy"]
    return total, parts


def _smooth(values: jax.Array, taps: jax.Array, axis: int, padding: str) -> jax.Array:
    moved = jnp.moveaxis(values, axis, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    out = jax.lax.conv_general_dilated(flat, taps[None, None, :], (1,), padding)
    return jnp.moveaxis(out.reshape(*moved.shape[:-1], -1), -1, axis)


def volume_loss(prediction: jax.Array, target: jax.Array, scaling: float) -> tuple[jax.Array, dict[str, jax.Array]]:
    """DeepSTORM3D's loss: KDE distance plus overlap (Nehme et al. 2020, doi 10.1038/s41592-020-0853-5).

    `prediction` (B, H, W, D) in 0...scaling, `target` (B, H, W, D) occupied voxels. KDE: mean square of the
    difference from `scaling * target` after a Gaussian of sigma 1 voxel (7 taps, peak 1; no padding in x, y).
    Overlap: 1 - (2 sum(q t) + 1) / (sum(q t) + sum(t**2) + 1) with q = prediction / scaling.
    """
    taps = jnp.exp(-0.5 * (jnp.arange(7, dtype=prediction.dtype) - 3) ** 2)
    difference = prediction - scaling * target
    for axis, padding in ((1, "VALID"), (2, "VALID"), (3, "SAME")):
        difference = _smooth(difference, taps, axis, padding)
    kde = jnp.mean(difference**2)
    shared = jnp.sum(prediction * target) / scaling
    overlap = 1 - (2 * shared + 1) / (shared + jnp.sum(target**2) + 1)
    return kde + overlap, {"kde": kde, "overlap": overlap}


def image_loss(prediction: jax.Array, target: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Deep-STORM's loss: squared distance of blurred densities, plus sparsity.

    `prediction` (B, H, W), `target` (B, H, W) emitters in each fine pixel: the mean of (2 g * prediction -
    100 g * target)**2 and of abs(prediction), g a Gaussian of 7 x 7 taps, sigma 1 fine pixel and sum 1 (Nehme et al.
    2018, doi 10.1364/OPTICA.5.000458, and its code).
    """
    taps = jnp.exp(-0.5 * (jnp.arange(7, dtype=prediction.dtype) - 3) ** 2)
    difference = GAIN * prediction - HEAT * target
    for axis in (1, 2):
        difference = _smooth(difference, taps / taps.sum(), axis, "SAME")
    distance, sparsity = jnp.mean(difference**2), jnp.mean(jnp.abs(prediction))
    return distance + sparsity, {"distance": distance, "sparsity": sparsity}
