"""What a list decoder's maps cost where the truth is known: likelihoods to lower, a function for each kind of loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nets import ListMaps
from optics.types import Emitters

Parts = dict[str, jax.Array]
SINKHORN_ROUNDS = 20
OCCUPANCY = 3.0  # weight of the focal occupancy beside the claims' likelihood
_TINY = 1e-6  # keeps the logarithm and the variance of an empty frame finite
_LOG_2PI = 1.8378770664093453


def pixel_centres(shape: tuple[int, ...], pixel_um: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return x (1, W) and y (H, 1) of pixel centres in frame coordinates, um."""
    height, width = shape
    return (jnp.arange(width) + 0.5)[None, :] * pixel_um, (jnp.arange(height) + 0.5)[:, None] * pixel_um


def count_loss(logit: jax.Array, n_emitters: jax.Array) -> jax.Array:
    """Return the negative log-likelihood of the true count, each pixel an independent coin; logit (H, W).

    The sum of the coins is taken as normal, with mean sum(p) and variance sum(p (1 - p)) (Speiser et al.
    2021, doi 10.1038/s41592-021-01236-x).
    """
    p = jax.nn.sigmoid(logit)
    mean, variance = p.sum(), (p * (1 - p)).sum() + _TINY
    return 0.5 * ((n_emitters - mean) ** 2 / variance + jnp.log(variance) + _LOG_2PI)


def claims(maps: ListMaps, pixel_um: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return mean and sigma (H, W, 4) of (x, y, z, photons) that each pixel claims, in frame coordinates."""
    x, y = pixel_centres(maps.logit.shape, pixel_um)
    mean = jnp.stack([maps.offset_um[..., 0] + x, maps.offset_um[..., 1] + y, maps.z_um, maps.photons], axis=-1)
    return mean, maps.sigma


def true_rows(emitters: Emitters) -> jax.Array:
    """Return (x, y, z, photons) of each emitter: (N, 4)."""
    return jnp.concatenate([emitters.xyz_um, emitters.photons[:, None]], axis=1)


def mixture_loss(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> jax.Array:
    """Return the negative log-likelihood of the true emitters under the mixture that one frame's maps describe.

    Each pixel is a Gaussian in (x, y, z, photons) with weight p / sum(p); the loss is summed over the
    frame's emitters. `maps` without the batch axis.
    """
    mean, sigma = (jnp.moveaxis(part, -1, 0) for part in claims(maps, pixel_um))
    log_weight = jax.nn.log_sigmoid(maps.logit) - jnp.log(jax.nn.sigmoid(maps.logit).sum() + _TINY)
    log_weight = log_weight - jnp.log(sigma).sum(0) - 2 * _LOG_2PI

    def log_likelihood(one):
        distance = (one[:, None, None] - mean) / sigma
        return jax.nn.logsumexp(log_weight - 0.5 * (distance**2).sum(0))

    return -jnp.sum(jnp.where(emitters.valid, jax.vmap(log_likelihood)(true_rows(emitters)), 0.0))


def own_pixels(emitters: Emitters, shape: tuple[int, ...], pixel_um: jax.Array) -> tuple[jax.Array, ...]:
    """Return row and column (N,) of the pixel that each emitter lies in, and which of them lie in the frame."""
    height, width = shape
    column = jnp.floor(emitters.xyz_um[:, 0] / pixel_um).astype(int)
    row = jnp.floor(emitters.xyz_um[:, 1] / pixel_um).astype(int)
    return row, column, emitters.valid & (column >= 0) & (column < width) & (row >= 0) & (row < height)


def occupancy_loss(logit: jax.Array, emitters: Emitters, pixel_um: jax.Array, *, focal: bool = False) -> jax.Array:
    """Return the cross-entropy of each pixel's probability against "an emitter lies here", summed over (H, W).

    With the `focal` weight each pixel counts by how far it is from the truth (Lin et al. 2017, doi
    10.1109/ICCV.2017.324, exponent 1), so that thousands of empty pixels do not drown the few that are not.
    """
    row, column, inside = own_pixels(emitters, logit.shape, pixel_um)
    target = jnp.zeros_like(logit).at[row, column].max(inside.astype(logit.dtype), mode="drop")
    entropy = jax.nn.softplus(logit) - target * logit
    return jnp.sum(entropy * jnp.abs(target - jax.nn.sigmoid(logit))) if focal else jnp.sum(entropy)


def claim_loss(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> jax.Array:
    """Return the negative log-likelihood of each emitter under what the pixel that it lies in says, summed.

    `maps` without the batch axis; the claim is normal in x, y, z and photons, each with its sigma.
    """
    row, column, inside = own_pixels(emitters, maps.logit.shape, pixel_um)
    row, column = jnp.where(inside, row, 0), jnp.where(inside, column, 0)
    mean, sigma = claims(maps, pixel_um)
    distance = (true_rows(emitters) - mean[row, column]) / sigma[row, column]
    each = (0.5 * distance**2 + jnp.log(sigma[row, column])).sum(axis=1) + 2 * _LOG_2PI
    return jnp.sum(jnp.where(inside, each, 0.0))


def colour_loss(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> jax.Array:
    """Return the cross-entropy of each emitter's species under what the pixels around it say, summed over emitters.

    Those are the four pixels whose centres stand around it, by their bilinear weights: an emitter near a border is
    claimed from both sides of it. Pixels beyond the frame say nothing. `maps.channel` (H, W, S), without a batch axis.
    """
    assert maps.channel is not None and emitters.channel is not None
    height, width = maps.logit.shape
    place = emitters.xyz_um[:, :2] / pixel_um - 0.5
    first = jnp.floor(place)
    share = place - first
    total = jnp.zeros(())
    for right in (0, 1):
        for down in (0, 1):
            column, row = (first + jnp.array([right, down])).astype(int).T
            inside = emitters.valid & (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = jnp.abs(1 - right - share[:, 0]) * jnp.abs(1 - down - share[:, 1])
            said = maps.channel[jnp.where(inside, row, 0), jnp.where(inside, column, 0)]
            own = jnp.take_along_axis(said, emitters.channel[:, None], axis=1)[:, 0]
            total = total - jnp.sum(jnp.where(inside, weight * own, 0.0))
    return total


def transport_plan(cost: jax.Array, valid: jax.Array, empty: jax.Array, softness: float = 1.0) -> jax.Array:
    """Return how much of each pixel (P,) explains each emitter (N,), by entropic transport: (N, P).

    `cost` (N, P) of an emitter explained by a pixel, `empty` (P,) of a pixel that explains none. Each emitter is
    explained once, each pixel explains at most one; of all plans this has the least cost less `softness` times its
    entropy, after `SINKHORN_ROUNDS` of scaling rows and columns (Cuturi 2013, arXiv 1306.0895), in logarithms. The
    pixels' surplus goes to one more row, "nothing here".
    """
    n, p = valid.sum(), empty.size
    log_kernel = jnp.where(valid[:, None], -(cost - empty) / softness, -jnp.inf)
    log_rest = jnp.log(jnp.maximum(p - n, 1).astype(cost.dtype))

    def round_(potentials, _):
        rows, rest = potentials
        columns = -jnp.logaddexp(jax.nn.logsumexp(log_kernel + rows[:, None], axis=0), rest)
        rows = jnp.where(valid, -jax.nn.logsumexp(log_kernel + columns, axis=1), 0.0)
        return (rows, log_rest - jax.nn.logsumexp(columns)), columns

    (rows, _), columns = jax.lax.scan(round_, (jnp.zeros_like(cost[:, 0]), log_rest), None, length=SINKHORN_ROUNDS)
    return jnp.where(valid[:, None], jnp.exp(log_kernel + rows[:, None] + columns[-1]), 0.0)


def transport_loss(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> jax.Array:
    """Return the cost of the best soft assignment of pixels to emitters: each emitter by pixels that claim it, once.

    The cost of a pair is the negative log-likelihood of the emitter under the pixel's claim and of the pixel's
    occupancy; pixels that are left pay for theirs. The plan is held fixed while descending (set prediction by
    transport, after SHOT, arXiv 2512.10683, from its equations).
    """
    mean, sigma = (part.reshape(-1, 4) for part in claims(maps, pixel_um))
    logit = maps.logit.ravel()
    distance = (true_rows(emitters)[:, None] - mean) / sigma
    claim = (0.5 * distance**2 + jnp.log(sigma)).sum(axis=-1) + 2 * _LOG_2PI
    full, empty = jax.nn.softplus(-logit), jax.nn.softplus(logit)
    plan = transport_plan(*jax.lax.stop_gradient((claim + full, emitters.valid, empty)))
    return jnp.sum(jnp.where(plan > 0, plan * (claim + full - empty), 0.0)) + jnp.sum(empty)


def mixture_parts(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> Parts:
    """Count and mixture: how many there are, and where, whichever pixels say so (after DECODE)."""
    return {"count": count_loss(maps.logit, emitters.valid.sum()), "mixture": mixture_loss(maps, emitters, pixel_um)}


def direct_parts(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> Parts:
    """Whether an emitter lies in a pixel, with the focal weight, and what the pixel that it lies in says of it."""
    focal = OCCUPANCY * occupancy_loss(maps.logit, emitters, pixel_um, focal=True)
    return {"focal": focal, "claim": claim_loss(maps, emitters, pixel_um)}


def transport_parts(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> Parts:
    """The best soft assignment of pixels to emitters."""
    return {"transport": transport_loss(maps, emitters, pixel_um)}


LOSSES: dict[str, Callable[[ListMaps, Emitters, jax.Array], Parts]] = {
    "mixture": mixture_parts,
    "direct": direct_parts,
    "transport": transport_parts,
}


def list_loss(
    maps: ListMaps,
    emitters: Emitters,
    background: jax.Array,
    pixel_um: jax.Array,
    *,
    loss: str = "mixture",
    occupancy_weight: float = 0.0,
    background_weight: float = 1.0,
    colour_weight: float = 10.0,
) -> tuple[jax.Array, Parts]:
    """Return the loss of a list decoder on one frame, and its parts.

    `loss`, one of `LOSSES`, says how maps are compared with emitters; added are the squared relative error of the
    background, optionally the per-pixel occupancy, and where maps tell species apart `colour_weight` times their
    cross-entropy. `maps` without the batch axis, `background` (H, W) photons per pixel.
    """
    parts = LOSSES[loss](maps, emitters, pixel_um)
    error = jnp.mean((maps.background - background) ** 2) / (jnp.mean(background) + 1.0) ** 2
    total = sum(parts.values(), 100 * background_weight * error)
    parts["background"] = error
    if occupancy_weight:
        parts["occupancy"] = occupancy_loss(maps.logit, emitters, pixel_um)
        total = total + occupancy_weight * parts["occupancy"]
    if maps.channel is not None:
        parts["colour"] = colour_loss(maps, emitters, pixel_um)
        total = total + colour_weight * parts["colour"]
    return total, parts
