"""The evidence lower bound of a frame: its likelihood less the divergence of its posterior from the prior.

The prior of the emitters is a Poisson process: exp(-lambda) lambda^n times a density for each emitter, even over the
frame and the depth and log-normal in brightness. The posterior keeps K slots, each filled with a probability p_k,
independent of the others; then KL = sum [p log p + (1 - p) log(1 - p)] - sum p log lambda + lambda + sum p KL_k, with
KL_k the divergence of location and photons (Kingman 1993, Poisson Processes, ch. 2; Kingma and Welling 2014, arXiv
1312.6114). The expectation over the slots' presence is exact: with means p and variances p (1 - p), the likelihood's
square grows by sum p (1 - p) (N PSF)^2.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from training.generator.field import field_divergence
from training.generator.model import Components, FittedModel, GeneratorModel, MovieParameters, compose, photon_variance
from training.generator.posterior import Normal, Posterior, sample_posterior

HAZE_LOGIT, HAZE_SIZE_STD, NOISE_STD, GAIN_STD, READ_STD = -2.0, 0.3, 0.3, 0.05, 1.0  # priors
_EMITTER_TERMS = ("presence", "place", "photons")
_LOG_2PI = math.log(2 * math.pi)


@dataclasses.dataclass(frozen=True)
class KlWeights:
    """Weights of the divergences in the objective; with 1 each it is the evidence lower bound.

    `place` weighs the emitters' location, `look` the haze's appearance.
    """

    presence: float = 1.0
    place: float = 1.0
    photons: float = 1.0
    haze: float = 1.0
    look: float = 1.0
    background: float = 1.0
    noise: float = 1.0


def log_likelihood(
    model: GeneratorModel, movie: MovieParameters, frame: jax.Array, components: Components
) -> jax.Array:
    """Compute the log-likelihood of a frame (H, W) in photons, summed over pixels: Gaussian noise around the rate."""
    variance = photon_variance(model.camera, components.rate, movie.log_gain, components.read_scale)
    square = (frame - components.rate) ** 2 + components.ambiguity
    return -0.5 * jnp.sum(square / variance + jnp.log(variance) + _LOG_2PI)


def divergences(
    model: GeneratorModel, movie: MovieParameters, posterior: Posterior, shape: tuple[int, int]
) -> dict[str, jax.Array]:
    """Compute the divergence of each latent from its prior, nats per frame, by the names of `KlWeights`."""
    log_p, log_q = jax.nn.log_sigmoid(posterior.presence), jax.nn.log_sigmoid(-posterior.presence)
    p = jnp.exp(log_p)
    entropy = p * log_p + jnp.exp(log_q) * log_q
    location, photons = _emitter_divergences(model, movie, posterior.location, shape)
    branches = model.branches
    terms = {
        "presence": jnp.sum(entropy - p * movie.log_count) + jnp.exp(movie.log_count),
        "place": jnp.sum(p * location),
        "photons": jnp.sum(p * photons),
        "haze": jnp.zeros(()),
        "look": jnp.zeros(()),
        "background": jnp.zeros(()),
        "noise": jnp.zeros(()),
    }
    if branches.haze:
        prior = jnp.array([HAZE_LOGIT, 0.0]), jnp.log(jnp.array([1.0, HAZE_SIZE_STD]))
        terms["haze"] = _gaussian_kl(posterior.haze, *prior).sum()
        terms["look"] = _gaussian_kl(posterior.appearance, 0.0, 0.0).sum()
    if branches.background:
        terms["background"] = _background_kl(model, movie, posterior.background)
    if branches.noise:
        terms["noise"] = _gaussian_kl(posterior.noise, 0.0, math.log(NOISE_STD)).sum()
    return terms


def _emitter_divergences(
    model: GeneratorModel, movie: MovieParameters, location: Normal, shape: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """Compute each present emitter's divergence (K,) in location, even over the frame, and in photons, log-normal."""
    side_um = [n * model.ranges.pixel_um for n in shape]
    negative_entropy = -0.5 * (_LOG_2PI + 1) - location.log_std  # of each coordinate
    place = negative_entropy[:, 0] + negative_entropy[:, 1] + math.log(side_um[0] * side_um[1])
    depth, brightness = (Normal(location.mean[:, k], location.log_std[:, k]) for k in (2, 3))
    if model.ranges.is_3d:
        place = place + _gaussian_kl(depth, 0.0, 0.0)
    return place, _gaussian_kl(brightness, movie.log_photons, movie.log_spread)


def _background_kl(model: GeneratorModel, movie: MovieParameters, background: Normal) -> jax.Array:
    """Compute the background's divergence: a random field for a grid's log level, normal for all other latents."""
    if model.config.background == "code":
        return _gaussian_kl(background, 0.0, 0.0).sum()
    level = field_divergence(background.mean[..., 0], background.log_std[..., 0], movie.log_rough, movie.log_range)
    others = Normal(background.mean[..., 1:], background.log_std[..., 1:])
    return level + _gaussian_kl(others, 0.0, 0.0).sum()


def _gaussian_kl(normal: Normal, mean_0: Any, log_std_0: Any) -> jax.Array:
    """Compute KL(N(mean, std^2) | N(mean_0, std_0^2)), element by element."""
    mean, log_std = normal.mean, normal.log_std
    ratio = jnp.exp(2 * (log_std - log_std_0))
    return 0.5 * (ratio + (mean - mean_0) ** 2 * jnp.exp(-2 * jnp.asarray(log_std_0)) - 1) + log_std_0 - log_std


def frame_loss(
    key: jax.Array,
    fitted: FittedModel,
    frame: jax.Array,
    posterior: Posterior,
    kl_weights: KlWeights,
    warm: jax.Array | float = 1.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Estimate minus the evidence lower bound of one frame (H, W) in nats; return it and its terms.

    `warm` (0...1) scales the divergences of haze, background and noise, so that these learn first. The divergences of
    emitters always count in full: an emitter without cost takes light that the background has not learned yet, and
    does not give it back.
    """
    shape = (frame.shape[0], frame.shape[1])
    sample = sample_posterior(key, fitted.model.ranges, posterior)
    likelihood = log_likelihood(fitted.model, fitted.movie, frame, compose(fitted, sample, shape))
    terms = divergences(fitted.model, fitted.movie, posterior, shape)
    weights = {name: getattr(kl_weights, name) * (1.0 if name in _EMITTER_TERMS else warm) for name in terms}
    cost = sum(weights[name] * value for name, value in terms.items())
    return cost - likelihood, {"likelihood": likelihood, **terms, "emitters": sample.presence.sum()}


def movie_loss(movie: MovieParameters) -> jax.Array:
    """Compute minus the log prior of the movie's parameters."""
    return noise_loss(movie.log_gain, movie.log_read)


def noise_loss(log_gain: jax.Array, log_read: jax.Array) -> jax.Array:
    """Compute minus the log prior of the noise: gains are known to some per cent, read noise to a factor."""
    return 0.5 * (log_gain / GAIN_STD) ** 2 + 0.5 * (log_read / READ_STD) ** 2
