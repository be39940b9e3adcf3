"""Refine the posterior of each frame by gradient ascent on its evidence bound, a few frames at a time."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optics.progress import Event, Report, silent
from optics.pytree import replace
from training.generator.bound import frame_loss
from training.generator.evidence import FrameEvidence, encode_posterior, propose_emitters
from training.generator.fit import FitSettings
from training.generator.model import FittedModel, GeneratorModel
from training.generator.posterior import Normal, Posterior, Ranges

CHUNK = 8  # frames that are computed together
_STEP_PX = 1.0  # of x and y for one unit of the optimiser; depth score and log photons move by 1
_PRESENCE_STEP = 4.0  # of the logit


def map_chunks(function: Callable[..., Any], trees: tuple, count: int, report: Report = silent) -> Any:
    """Apply `function` to `CHUNK` frames of `trees` (leaves (F, ...)) at a time and join the results.

    Every call has the same shapes, so that the function is compiled once and memory is bounded.
    """
    parts = []
    for first in range(0, count, CHUNK):
        frames = jnp.minimum(jnp.arange(first, first + CHUNK), count - 1)
        parts.append(jax.block_until_ready(function(*jax.tree.map(lambda leaf: leaf[frames], trees))))  # noqa: B023
        report(Event("frame", min(first + CHUNK, count), count))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


def propose_in_frames(model: GeneratorModel, frames: jax.Array) -> FrameEvidence:
    """Apply `propose_emitters` to frames (F, H, W); the leaves of the result are (F, ...)."""
    return map_chunks(functools.partial(_propose_chunk, model), (frames,), len(frames))


@jax.jit
def _propose_chunk(model: GeneratorModel, frames: jax.Array) -> FrameEvidence:
    return jax.lax.map(lambda frame: propose_emitters(model, frame), frames, batch_size=4)


def encode_and_refine(
    key: jax.Array,
    fitted: FittedModel,
    frames: jax.Array,
    evidence: FrameEvidence,
    settings: FitSettings,
    report: Report = silent,
) -> Posterior:
    """Predict the posteriors of frames (F, H, W) by the networks and refine them; all leaves are (F, ...)."""

    def chunk(frames: jax.Array, evidence: FrameEvidence) -> Posterior:
        return _ascend(key, fitted, frames, _encode_chunk(fitted, evidence), settings)

    return map_chunks(chunk, (frames, evidence), len(frames), report)


def refine(
    key: jax.Array,
    fitted: FittedModel,
    frames: jax.Array,
    posteriors: Posterior,
    settings: FitSettings,
    report: Report = silent,
) -> Posterior:
    """Refine posteriors (leaves (F, ...)) of frames (F, H, W) by `settings.refine_steps` steps."""

    def chunk(frames: jax.Array, posteriors: Posterior) -> Posterior:
        return _ascend(key, fitted, frames, posteriors, settings)

    return map_chunks(chunk, (frames, posteriors), len(frames), report)


@jax.jit
def _encode_chunk(fitted: FittedModel, evidence: FrameEvidence) -> Posterior:
    return jax.vmap(lambda one: encode_posterior(fitted.model, fitted.variables, one))(evidence)


def _step_sizes(ranges: Ranges, posterior: Posterior) -> Posterior:
    """Return how far one unit of the optimiser moves each leaf of a posterior."""
    location = jnp.array([_STEP_PX * ranges.pixel_um] * 2 + [1.0 if ranges.is_3d else 0.0, 1.0])
    ones = jax.tree.map(jnp.ones_like, posterior)
    return replace(
        ones,
        anchor_um=jnp.zeros_like(posterior.anchor_um),
        presence=_PRESENCE_STEP * ones.presence,
        location=Normal(ones.location.mean * location, ones.location.log_std),
    )


@functools.partial(jax.jit, static_argnames="settings")
def _ascend(
    key: jax.Array, fitted: FittedModel, frames: jax.Array, start: Posterior, settings: FitSettings
) -> Posterior:
    """Ascend each frame's bound by Adam with falling steps; a new sample of the posterior every step."""
    schedule = optax.cosine_decay_schedule(settings.refine_rate, settings.refine_steps, 0.02)
    optimiser = optax.adam(schedule, b1=0.9, b2=0.99)

    def one_frame(frame: jax.Array, start: Posterior) -> Posterior:
        sizes = _step_sizes(fitted.model.ranges, start)

        def loss(moved: Posterior, key: jax.Array) -> jax.Array:
            posterior = jax.tree.map(lambda a, b, s: a + s * b, start, moved, sizes)
            return frame_loss(key, fitted, frame, posterior, settings.kl)[0]

        def step(carry, i):
            moved, memory = carry
            grads = jax.grad(loss)(moved, jax.random.fold_in(key, i))
            updates, memory = optimiser.update(grads, memory)
            return (optax.apply_updates(moved, updates), memory), None

        moved = jax.tree.map(jnp.zeros_like, start)
        (moved, _), _ = jax.lax.scan(step, (moved, optimiser.init(moved)), jnp.arange(settings.refine_steps))
        return jax.tree.map(lambda a, b, s: a + s * b, start, moved, sizes)

    return jax.vmap(one_frame)(frames, start)
