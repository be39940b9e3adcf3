"""Estimate the parameters that all frames of a movie share from the frames' refined posteriors.

The networks explain a frame less well than its refined posterior, and what they miss looks like noise while they are
trained. So number, brightness, noise and background field are estimated once more at the end.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from optics.pytree import replace
from training.generator.bound import noise_loss
from training.generator.field import field_divergence
from training.generator.model import FittedModel, GeneratorModel, MovieParameters, compose, photon_variance
from training.generator.posterior import Normal, Posterior, sample_posterior
from training.generator.refine import map_chunks
from training.generator.surroundings import smooth, unsmoothed_variance

_SMOOTH_PX = 1.5  # scale above which a residual is structure that the model misses, not noise
_NOISE_FRAMES = 128  # frames that the noise is measured in: their pixels are millions


def estimate_movie(key: jax.Array, fitted: FittedModel, frames: jax.Array, posteriors: Posterior) -> MovieParameters:
    """Estimate the movie's parameters from the posteriors (leaves (F, ...)) of its frames (F, H, W).

    Number and brightness of the emitters have a closed form. Roughness and range of the background minimise the
    field's divergence. Gain and read variance maximise the likelihood of the residuals, from which smooth structure is
    subtracted: noise is white, structure that the model misses is not.
    """
    movie = _estimate_emitters(fitted.movie, posteriors)
    movie = _estimate_noise(key, fitted, movie, frames, posteriors)
    return _estimate_field(fitted.model, movie, posteriors.background)


def _estimate_emitters(movie: MovieParameters, posteriors: Posterior) -> MovieParameters:
    """Estimate number, median brightness and spread of brightness."""
    p = jax.nn.sigmoid(posteriors.presence)
    log_photons, log_std = posteriors.location.mean[..., 3], posteriors.location.log_std[..., 3]
    total = jnp.maximum(p.sum(), 1e-3)
    middle = (p * log_photons).sum() / total
    variance = (p * ((log_photons - middle) ** 2 + jnp.exp(2 * log_std))).sum() / total
    return replace(
        movie,
        log_count=jnp.log(jnp.maximum(p.sum(axis=-1).mean(), 0.05)),
        log_photons=middle,
        log_spread=0.5 * jnp.log(jnp.clip(variance, 0.1**2, 2.0**2)),
    )


def _estimate_noise(
    key: jax.Array, fitted: FittedModel, movie: MovieParameters, frames: jax.Array, posteriors: Posterior
) -> MovieParameters:
    """Estimate gain and read variance from the residuals of up to `_NOISE_FRAMES` frames."""
    picked = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _NOISE_FRAMES)).astype(int))
    chosen = jax.tree.map(lambda leaf: leaf[picked], (frames, posteriors))
    rate, square, cells = map_chunks(functools.partial(_residuals, key, fitted), chosen, len(picked))
    model = fitted.model
    start = np.array([fitted.movie.log_gain, fitted.movie.log_read], np.float64)
    bounds = [(-1.5, 1.5), (-4.0, 8.0) if model.branches.noise else (start[1], start[1])]

    def loss(pair):
        value, slope = _noise_cost(jnp.asarray(pair, rate.dtype), model, rate, square, cells)
        return float(value), np.asarray(slope, np.float64)

    gain, read = scipy.optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return replace(movie, log_gain=jnp.asarray(gain, rate.dtype), log_read=jnp.asarray(read, rate.dtype))


@jax.jit
def _residuals(key: jax.Array, fitted: FittedModel, frames: jax.Array, posteriors: Posterior):
    """Sample each frame's posterior; return the rate, the squared residual and the read variance's cells, (F, H, W).

    The residual is less its smooth part and scaled so that white noise keeps its variance.
    """
    model, movie = fitted.model, fitted.movie
    shape = (frames.shape[1], frames.shape[2])
    kept = unsmoothed_variance(shape, _SMOOTH_PX)

    def one_frame(key, frame, posterior):
        parts = compose(fitted, sample_posterior(key, model.ranges, posterior), shape)
        cells = parts.read_scale / jnp.exp(movie.log_read) if model.branches.noise else parts.read_scale
        residual = frame - parts.rate
        return parts.rate, (residual - smooth(residual, _SMOOTH_PX)) ** 2 / kept, cells

    return jax.vmap(one_frame)(jax.random.split(key, len(frames)), frames, posteriors)


@jax.jit
def _noise_cost(pair: jax.Array, model: GeneratorModel, rate: jax.Array, square: jax.Array, cells: jax.Array):
    """Compute minus the log-likelihood per pixel, with the prior, and its slope in (log gain, log read variance)."""

    def cost(pair):
        read_scale = cells * jnp.exp(pair[1]) if model.branches.noise else cells
        variance = photon_variance(model.camera, rate, pair[0], read_scale)
        return 0.5 * jnp.mean(square / variance + jnp.log(variance)) + noise_loss(*pair) / rate.size

    return jax.value_and_grad(cost)(pair)


def _estimate_field(model: GeneratorModel, movie: MovieParameters, background: Normal) -> MovieParameters:
    """Estimate the background field's roughness and range from latents (F, h, w, C)."""
    if model.config.background == "code" or not model.branches.background:
        return movie
    start = np.array([movie.log_rough, movie.log_range], np.float64)
    dtype = background.mean.dtype

    def loss(pair):
        value, slope = _field_cost(jnp.asarray(pair, dtype), background.mean[..., 0], background.log_std[..., 0])
        return float(value), np.asarray(slope, np.float64)

    best = scipy.optimize.minimize(loss, start, jac=True, bounds=[(-8.0, 8.0), (-2.0, 5.0)], method="L-BFGS-B").x
    rough, wide = (jnp.asarray(value, dtype) for value in best)
    return replace(movie, log_rough=rough, log_range=wide)


@jax.jit
def _field_cost(pair: jax.Array, mean: jax.Array, log_std: jax.Array):
    """Compute the mean divergence of log levels (F, h, w) and its slope in (log roughness, log range)."""

    def cost(pair):
        return jax.vmap(lambda m, s: field_divergence(m, s, pair[0], pair[1]))(mean, log_std).mean()

    return jax.value_and_grad(cost)(pair)
