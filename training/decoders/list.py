"""The list decoder: likelihoods to lower, and lists from its maps (after DECODE, doi 10.1038/s41592-021-01236-x)."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import localization
import nets
from localization import Localizations, make_localizations
from nets import ListMaps
from optics.types import Emitters
from training.config import RunConfig
from training.decoders.decoder import Core, Decoder, Metrics, ReadOut, Tiling
from training.scenes import Frames
from training.settings import ConfigError

IN_FOCUS_UM = 0.05  # half the depth that a decoder without depth reports as its sigma in z
TILE_PX = 512  # side of a piece: some 130 MB a layer for 8 frames
_TINY = 1e-6  # keeps the logarithm and the variance of an empty frame finite
_LOG_2PI = 1.8378770664093453
_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def make_net(run: RunConfig) -> nets.ListNetConfig:
    """Make the network's configuration, with ranges taken from the scenes that it will read."""
    d, s = run.decoder, run.scene
    flat = s.z_max_um == s.z_min_um
    low, high = s.z_min_um, max(s.z_max_um, s.z_min_um + 0.1)
    if flat:
        low, high = s.z_min_um - IN_FOCUS_UM, s.z_max_um + IN_FOCUS_UM
    brightest = s.photons_max if s.photons == "uniform" else s.photons_mean * (1 + 5 / math.sqrt(s.photons_shape))
    ceiling = 1.5 * s.background_max
    return nets.ListNetConfig(
        pixel_um=run.microscope.pixel_um,
        z_min_um=low,
        z_max_um=high,
        photons_max=1.2 * brightest,
        background_max=max(1.6 * ceiling, 10.0),
        input_offset=0.5 * (s.background_min + s.background_max),
        input_scale=max(0.5 * (s.background_min + s.background_max), 5.0),
        input_transform=d.input_transform,
        channels=d.channels,
        head_channels=d.head_channels,
        dilations=d.dilations,
        half_resolution=d.half_resolution,
        frames=d.frames,  # pyright: ignore[reportArgumentType]  (checked by the configuration)
        position_channels=d.position_channels,
        field_px=s.field_px if d.position_channels else 0,
        fixed_z=flat,
    )


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


def mixture_loss(maps: ListMaps, emitters: Emitters, pixel_um: jax.Array) -> jax.Array:
    """Return the negative log-likelihood of the true emitters under the mixture that one frame's maps describe.

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
    """Return the cross-entropy of each pixel's probability against "an emitter lies here", summed over (H, W)."""
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
    """Return the loss of a list decoder on one frame, and its parts.

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


def maps_to_localizations(
    maps: ListMaps,
    pixel_um: float,
    *,
    first_frame: int = 0,
    threshold: float = 0.5,
    raw_threshold: float = 0.1,
    share_borders: bool = True,
) -> Localizations:
    """Read the list out of a list decoder's maps (B, H, W); frame numbers count from `first_frame`.

    An emitter near a pixel's border is described by two pixels, each with its share of the probability. With
    `share_borders` its position is the mean of the mixture of both, and sigma that mixture's: see `mixture_means`.
    Without, it is what the larger one says alone: errors of single emitters are 2 to 8 % larger then
    (benchmarks/single_emitters.py).
    """
    # frame by frame: one program of one shape, so that a probability has the same bits however many frames there are
    sigmoids = [np.asarray(jax.nn.sigmoid(frame), np.float64) for frame in maps.logit]
    probability = np.reshape(sigmoids, maps.logit.shape)
    b, i, j, score = localization.list_peaks(probability, raw_threshold=raw_threshold, threshold=threshold)
    if share_borders:
        mean, sigma = mixture_means(maps, probability, (b, i, j), pixel_um)
    else:
        mean, sigma = _means(maps, (b, i, j), pixel_um), np.asarray(maps.sigma)[b, i, j]
    return make_localizations(
        first_frame + b,
        mean[:, 0],
        mean[:, 1],
        mean[:, 2],
        photons=mean[:, 3],
        background=np.asarray(maps.background)[b, i, j],
        sigma_x_um=sigma[:, 0],
        sigma_y_um=sigma[:, 1],
        sigma_z_um=sigma[:, 2],
        score=score,
    )


def _means(maps: ListMaps, at: tuple[NDArray, ...], pixel_um: float) -> NDArray:
    """(x, y, z, photons) that the pixels `at` (b, i, j) claim, in frame coordinates: (P, 4)."""
    _, i, j = at
    offset = np.asarray(maps.offset_um)[at]
    x, y = (j + 0.5) * pixel_um + offset[:, 0], (i + 0.5) * pixel_um + offset[:, 1]
    return np.stack([x, y, np.asarray(maps.z_um)[at], np.asarray(maps.photons)[at]], axis=1)


def mixture_means(
    maps: ListMaps, probability: NDArray, picks: tuple[NDArray, ...], pixel_um: float, gate: float = 3.0
) -> tuple[NDArray, NDArray]:
    """Return mean and standard deviation (P, 4) of (x, y, z, photons) at each pick, with what its neighbours add.

    The loss lets the pixels beside an emitter share it: their normal laws, weighted by probability, are one law,
    whose mean is the best estimate. A neighbour of the 4 takes part unless it is a pick of its own, claims a
    position further than `gate` sigmas from the pick's: it speaks of another emitter, then.
    """
    b, i, j = picks
    own, sigma = _means(maps, picks, pixel_um), np.asarray(maps.sigma, np.float64)[picks]
    weight = probability[picks]
    taken = np.zeros(probability.shape, bool)
    taken[picks] = True
    total, first, second = weight.copy(), weight[:, None] * own, weight[:, None] * sigma**2
    spread = np.zeros_like(own)
    height, width = probability.shape[1:]
    for di, dj in _NEIGHBOURS:
        row, column = np.clip(i + di, 0, height - 1), np.clip(j + dj, 0, width - 1)
        at = (b, row, column)
        theirs, their_sigma = _means(maps, at, pixel_um), np.asarray(maps.sigma, np.float64)[at]
        far = np.abs(theirs - own) > gate * np.maximum(sigma, their_sigma)
        share = np.where(taken[at] | far[:, :3].any(axis=1), 0.0, probability[at])
        total += share
        first += share[:, None] * theirs
        second += share[:, None] * their_sigma**2
        spread += share[:, None] * (theirs - own) ** 2
    mean = first / total[:, None]
    variance = (second + spread) / total[:, None] - (mean - own) ** 2
    return mean, np.sqrt(np.maximum(variance, 0.0))


def loss(run: RunConfig, pixel_um: jax.Array, output: Any, frames: Frames) -> tuple[jax.Array, Metrics]:
    """Return the mean loss of a batch and its parts."""
    losses, metrics = jax.vmap(
        lambda maps, emitters, background: list_loss(
            maps,
            emitters,
            background,
            pixel_um,
            occupancy_weight=run.optimiser.occupancy_weight,
            background_weight=run.optimiser.background_weight,
        )
    )(output, frames.emitters, frames.background)
    return losses.mean(), jax.tree.map(jnp.mean, metrics)


def read_out(run: RunConfig | None, pixel_um: float, threshold: float, share_borders: bool = True) -> ReadOut:
    """Return the function that reads maps; `threshold` is a probability. Raises `ConfigError`."""
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold = {threshold:g} must be a probability above 0, at most 1")

    def read(output: Any, *, first_frame: int = 0, core: Core | None = None) -> Localizations:
        assert core is None  # maps are put together before they are read
        return maps_to_localizations(
            output, pixel_um, first_frame=first_frame, threshold=threshold, share_borders=share_borders
        )

    return read


def tiling(net: nets.ListNetConfig) -> Tiling:
    """Cut frames into pieces that hold the whole receptive field of their core."""
    step = 2 if net.half_resolution else 1
    halo = -(-(net.receptive_field_px // 2) // step) * step
    # Padding is what the network itself takes for "no frame here": its input's zero.
    return Tiling(halo, TILE_PX, step, fill=net.input_offset, batched=True)


LIST = Decoder(make_net, loss, read_out, tiling, label="list decoder")
