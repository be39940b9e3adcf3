"""Re-initialise emitters that gradient ascent left in a wrong place, and keep the posterior with the higher bound.

Ascent moves emitters; it does not exchange them. An emitter that the first proposals put in a wrong place or depth
keeps its light, and others mend what it leaves. So the presence of all emitters is lowered; surroundings and emitters
ascend together, and light returns where it is needed; empty slots move to emitters in the residual; and all ascend
again. A frame keeps the posterior with the higher bound. Birth and death as in Richardson and Green 1997
(doi 10.1111/1467-9868.00095), decided by the bound and not by chance.
"""

import functools

import jax
import jax.numpy as jnp

from optics.fits.matched_filter import propose
from optics.progress import Report, silent
from optics.pytree import replace
from training.generator.bound import KlWeights, frame_loss
from training.generator.fit import FitSettings
from training.generator.model import FittedModel, expected_components, photon_variance
from training.generator.posterior import Normal, Posterior
from training.generator.refine import (
    encode_and_refine,
    map_chunks,
    propose_in_frames,
    refine,
)

_LOWERED = -1.5  # log-odds that presences are lowered to: most light is off, the slope that brings it back is not
_EMPTY = 0.2  # probability below which a slot may move
_NEW = 3.0  # standard deviations in the residual from which a slot moves there
_NATS = 14.0  # what an emitter there must explain (S^2 / 2) to start with even odds
_START_STD = (0.02, 0.02, 0.3, 0.2)  # of a new emitter: x and y in um, depth score, log photons
_SAMPLES = 8  # of the posterior, for its expected components and for its bound


def infer_posteriors(
    keys: tuple[jax.Array, jax.Array],
    fitted: FittedModel,
    frames: jax.Array,
    settings: FitSettings,
    report: Report = silent,
) -> Posterior:
    """Infer the posteriors (leaves (F, ...)) of frames (F, H, W) that the fit has not seen, as the fit does.

    `keys` are those of the refinement and of the search, which runs with `settings.second_look`.
    """
    evidence = propose_in_frames(fitted.model, frames)
    posteriors = encode_and_refine(keys[0], fitted, frames, evidence, settings, report)
    return search(keys[1], fitted, frames, posteriors, settings, report) if settings.second_look else posteriors


def search(
    key: jax.Array,
    fitted: FittedModel,
    frames: jax.Array,
    posteriors: Posterior,
    settings: FitSettings,
    report: Report = silent,
) -> Posterior:
    """Re-initialise the emitters of frames (F, H, W) and keep the posterior with the higher bound.

    `posteriors` and the result have leaves (F, ...). Takes `2 settings.refine_steps` steps per frame.
    """
    chunk = functools.partial(_search_chunk, key, fitted, settings)
    return map_chunks(chunk, (frames, posteriors), len(frames), report)


def _search_chunk(
    key: jax.Array, fitted: FittedModel, settings: FitSettings, frames: jax.Array, before: Posterior
) -> Posterior:
    keys = jax.random.split(key, 4)
    lowered = replace(before, presence=jnp.minimum(before.presence, _LOWERED))
    after = refine(keys[0], fitted, frames, lowered, settings)
    after = _place_in_chunk(keys[1], fitted, frames, after)
    after = refine(keys[2], fitted, frames, after, settings)
    bound_before, bound_after = (_bounds(keys[3], fitted, frames, one, settings.kl) for one in (before, after))

    def better(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where((bound_after > bound_before).reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(better, after, before)


@jax.jit
def _place_in_chunk(key: jax.Array, fitted: FittedModel, frames: jax.Array, posteriors: Posterior) -> Posterior:
    return jax.vmap(lambda frame, posterior: place_empty_slots(key, fitted, frame, posterior))(frames, posteriors)


def place_empty_slots(key: jax.Array, fitted: FittedModel, frame: jax.Array, posterior: Posterior) -> Posterior:
    """Move the empty slots of one frame's posterior to emitters found in the residual, the strongest first."""
    model = fitted.model
    parts = expected_components(key, fitted, posterior, (frame.shape[0], frame.shape[1]), samples=_SAMPLES)
    variance = photon_variance(model.camera, parts.rate, fitted.movie.log_gain, parts.read_scale)
    found = propose(
        model.templates, frame - parts.rate, variance, model.ranges.pixel_um,
        capacity=model.config.slots, radius_px=model.radius_px,
    )  # fmt: skip
    presence = jax.nn.sigmoid(posterior.presence)
    order = jnp.argsort(presence)  # the emptiest slot gets the strongest proposal
    rank = jnp.argsort(order)
    xyz_um, photons, significance = found.xyz_um[rank], found.photons[rank], found.significance[rank]
    moves = (presence < _EMPTY) & (significance > _NEW)
    log_odds = 0.5 * jnp.clip(0.5 * significance**2 - _NATS, -6.0, 6.0)
    log_photons = jnp.log(jnp.maximum(photons, 1.0))[:, None]
    depth = model.ranges.depth_score(xyz_um[:, 2:])
    mean = jnp.concatenate([jnp.zeros_like(xyz_um[:, :2]), depth, log_photons], axis=1)
    location = posterior.location
    return replace(
        posterior,
        anchor_um=jnp.where(moves[:, None], xyz_um[:, :2], posterior.anchor_um),
        presence=jnp.where(moves, log_odds, posterior.presence),
        location=Normal(
            jnp.where(moves[:, None], mean, location.mean),
            jnp.where(moves[:, None], jnp.log(jnp.array(_START_STD)), location.log_std),
        ),
    )


@functools.partial(jax.jit, static_argnames="kl")
def _bounds(key: jax.Array, fitted: FittedModel, frames: jax.Array, posteriors: Posterior, kl: KlWeights) -> jax.Array:
    """Estimate the evidence bound of each frame, nats, (F,), from the same random numbers for all."""

    def sampled(key: jax.Array) -> jax.Array:
        return jax.vmap(lambda frame, posterior: frame_loss(key, fitted, frame, posterior, kl)[0])(frames, posteriors)

    return -jax.lax.map(sampled, jax.random.split(key, _SAMPLES)).mean(axis=0)
