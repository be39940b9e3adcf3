"""Fit a scene model to a movie's frames: the networks over all frames, what is believed about each one, and from that
once more what all frames share."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

from nets import dlp
from nets.dlp import Seen
from nets.dlp_types import Normal, Posterior
from optics.pytree import pytree, replace
from training.generator.field import field_divergence
from training.generator.model import (
    KlWeights,
    Movie,
    SceneModel,
    Variables,
    compose,
    frame_loss,
    movie_loss,
    noise_prior,
    photon_variance,
    sample_posterior,
    see,
    smooth,
    white_share,
)

_STEP_UM = 0.1  # of x and y, of a pixel; of z and log photons as they are
_SMOOTH_PX = 1.5  # of what is left of a frame: taken off before noise is measured
_NOISE_FRAMES = 128  # that the noise is measured in: a pixel of each is one of millions
_AT_A_TIME = 8  # frames that are seen, refined or explained together

Each = Callable[[int, int], None]  # told how many frames are done, and of how many


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """How long and how fast a scene model is fitted.

    `steps` of `batch` frames for the networks, whose divergences count in full after `warmup` of them (a share);
    then `refine_steps` for each frame's own posterior, from where the networks put it, and twice as many for a second
    look (`training.scene_search`), where one is asked for.
    """

    steps: int = 1500
    batch: int = 4
    learning_rate: float = 2e-3
    warmup: float = 0.2
    refine_steps: int = 150
    refine_rate: float = 0.05
    second_look: bool = True
    kl: KlWeights = KlWeights()


@pytree
class FitState:
    """Everything that a fit carries from one step to the next; step k draws from the seed and k."""

    step: jax.Array
    variables: Variables
    movie: Movie
    optimiser: Any


def start_movie(model: SceneModel, seen: Seen) -> Movie:
    """The movie's numbers as the proposals of all frames (leaves (F, ...)) suggest them."""
    sure = seen.proposals.significance > 8.0
    log_light = jnp.where(sure, jnp.log(jnp.maximum(seen.proposals.photons, 1.0)), jnp.nan)
    spread = jnp.clip(jnp.nan_to_num(jnp.nanstd(log_light), nan=0.5), 0.2, 1.5)
    middle = jnp.nan_to_num(jnp.nanmedian(log_light), nan=jnp.log(1000.0))
    count = jnp.maximum(sure.sum(axis=-1).mean(), 0.1)
    return Movie(jnp.log(count), middle, jnp.log(spread), *(jnp.zeros(()) for _ in range(5)))


def see_all(model: SceneModel, frames: jax.Array) -> Seen:
    """`see` of frames (F, H, W), one after the other."""
    return in_parts(functools.partial(_see_some, model), (frames,), len(frames))


@jax.jit
def _see_some(model: SceneModel, frames: jax.Array) -> Seen:
    return jax.lax.map(lambda frame: see(model, frame), frames, batch_size=4)


def fit_optimiser(settings: FitSettings) -> optax.GradientTransformation:
    """Adam with a clipped norm, warmed up, then falling as a cosine."""
    peak, steps = settings.learning_rate, settings.steps
    schedule = optax.warmup_cosine_decay_schedule(0.1 * peak, peak, max(1, min(50, steps // 4)), steps + 1, 0.02 * peak)
    # all leaves in a line: adam's arithmetic for each of 133 takes eight seconds of processor to compile
    return optax.flatten(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)))


def init_fit(key: jax.Array, model: SceneModel, seen: Seen, settings: FitSettings) -> FitState:
    """The state before the first step."""
    trained: Any = (dlp.init_dlp(key, model.config), start_movie(model, seen))
    return FitState(jnp.zeros((), jnp.int32), trained[0], trained[1], fit_optimiser(settings).init(trained))


def make_fit_step(settings: FitSettings, seed: int) -> Callable[..., tuple[FitState, dict[str, jax.Array]]]:
    """The compiled step: (state, model, frames (F, H, W), seen) -> (state, metrics); metrics are means a frame."""
    optimiser = fit_optimiser(settings)

    @jax.jit
    def step(state: FitState, model: SceneModel, frames: jax.Array, seen: Seen):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        key_pick, key_draw = jax.random.split(key)
        picked = jax.random.choice(key_pick, len(frames), (settings.batch,), replace=False)
        warm = jnp.clip(state.step / max(settings.warmup * settings.steps, 1.0), 0.02, 1.0)

        def loss(trained):
            variables, movie = trained
            # what the networks do not explain yet is not noise: the gain waits for `learn_movie`
            movie = replace(movie, log_gain=jax.lax.stop_gradient(movie.log_gain))

            def one(key, i):
                frame, what = frames[i], jax.tree.map(lambda leaf: leaf[i], seen)
                posterior = dlp.encode(model.config, variables, what, model.ranges)
                return frame_loss(key, model, variables, movie, frame, posterior, settings.kl, warm)

            losses, parts = jax.vmap(one)(jax.random.split(key_draw, settings.batch), picked)
            total = losses.mean() + movie_loss(movie) / len(frames)
            return total / frames[0].size, jax.tree.map(jnp.mean, parts)

        trained: Any = (state.variables, state.movie)
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        updates, memory = optimiser.update(grads, state.optimiser)
        moved: Any = optax.apply_updates(trained, updates)
        metrics = {"loss": value, **metrics, "gradient": optax.tree.norm(grads)}
        return FitState(state.step + 1, moved[0], moved[1], memory), metrics

    return step


def refine(
    key: jax.Array,
    model: SceneModel,
    state: FitState,
    frames: jax.Array,
    seen: Seen | None,
    settings: FitSettings,
    start: Posterior | None = None,
    each: Each = lambda done, count: None,
) -> Posterior:
    """What is believed about each frame, leaves (F, ...): `start`, or the networks' answer to `seen`, improved by
    descent on its bound."""

    def some(frames: jax.Array, seen: Seen | None, begin: Posterior | None) -> Posterior:
        begin = _encode(model, state.variables, seen) if begin is None else begin
        return _descend(key, model, state.variables, state.movie, frames, begin, settings)

    return in_parts(some, (frames, seen, start), len(frames), each)


def in_parts(some: Callable[..., Any], what: tuple, count: int, each: Each = lambda done, count: None) -> Any:
    """`some` of a few frames of `what` (trees of leaves (F, ...)) at a time: one compilation and bounded memory."""
    parts = []
    for first in range(0, count, _AT_A_TIME):
        pick = jnp.minimum(jnp.arange(first, first + _AT_A_TIME), count - 1)
        parts.append(jax.block_until_ready(some(*jax.tree.map(lambda leaf: leaf[pick], what))))  # noqa: B023
        each(min(first + _AT_A_TIME, count), count)
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


@jax.jit
def _encode(model: SceneModel, variables: Variables, seen: Seen) -> Posterior:
    return jax.vmap(lambda what: dlp.encode(model.config, variables, what, model.ranges))(seen)


def _rates(model: SceneModel, posterior: Posterior) -> Posterior:
    """How far one unit of a descent's step moves each leaf."""
    place = jnp.array([_STEP_UM * model.ranges.pixel_um * 10] * 2 + [1.0 if model.ranges.deep else 0.0, 1.0])
    ones = jax.tree.map(jnp.ones_like, posterior)
    return replace(
        ones,
        anchor_um=jnp.zeros_like(posterior.anchor_um),
        presence=4 * ones.presence,
        place=Normal(ones.place.mean * place, ones.place.log_std),
    )


def _descend_plain(key, model, variables, movie, frames, begin: Posterior, settings: FitSettings) -> Posterior:
    schedule = optax.cosine_decay_schedule(settings.refine_rate, settings.refine_steps, 0.02)
    optimiser = optax.adam(schedule, b1=0.9, b2=0.99)

    def one(frame: jax.Array, start: Posterior) -> Posterior:
        scale = _rates(model, start)

        def loss(moved: Posterior, key: jax.Array) -> jax.Array:
            posterior = jax.tree.map(lambda a, b, s: a + s * b, start, moved, scale)
            return frame_loss(key, model, variables, movie, frame, posterior, settings.kl)[0]

        def step(carry, i):
            moved, memory = carry
            grads = jax.grad(loss)(moved, jax.random.fold_in(key, i))
            updates, memory = optimiser.update(grads, memory)
            return (optax.apply_updates(moved, updates), memory), None

        moved = jax.tree.map(jnp.zeros_like, start)
        (moved, _), _ = jax.lax.scan(step, (moved, optimiser.init(moved)), jnp.arange(settings.refine_steps))
        return jax.tree.map(lambda a, b, s: a + s * b, start, moved, scale)

    return jax.vmap(one)(frames, begin)


_descend = jax.jit(_descend_plain, static_argnums=6)


def learn_movie(key: jax.Array, model: SceneModel, state: FitState, frames: jax.Array, bank: Posterior) -> Movie:
    """What all frames (F, H, W) share, anew, from what is believed about each of them (leaves (F, ...)).

    The networks' answers explain a frame less well than refined ones, and what they leave looks like noise while they
    are trained. Number and brightness of the emitters have a closed form; how rough and wide the backgrounds are
    minimises their cost. The noise's gain and read variance maximise the likelihood of what is left of the frames less
    what is smooth of it: noise is white, what a model misses is not.
    """
    p = jax.nn.sigmoid(bank.presence)
    light, spread = bank.place.mean[..., 3], bank.place.log_std[..., 3]
    total = jnp.maximum(p.sum(), 1e-3)
    middle = (p * light).sum() / total
    variance = (p * ((light - middle) ** 2 + jnp.exp(2 * spread))).sum() / total
    movie = replace(
        state.movie,
        log_count=jnp.log(jnp.maximum(p.sum(axis=-1).mean(), 0.05)),
        log_photons=middle,
        log_spread=0.5 * jnp.log(jnp.clip(variance, 0.1**2, 2.0**2)),
    )
    picked = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _NOISE_FRAMES)).astype(int))
    some = jax.tree.map(lambda leaf: leaf[picked], (frames, bank))
    left = functools.partial(_left, key, model, state.variables, state.movie)
    rate, square, cells = in_parts(left, some, len(picked))
    begin = np.array([state.movie.log_gain, state.movie.log_read], np.float64)
    bounds = [(-1.5, 1.5), (-4.0, 8.0) if model.branches.noise else (begin[1], begin[1])]

    def nats(pair):
        value, slope = _noise_cost(jnp.asarray(pair, rate.dtype), model, rate, square, cells)
        return float(value), np.asarray(slope, np.float64)

    gain, read = scipy.optimize.minimize(nats, begin, jac=True, bounds=bounds, method="L-BFGS-B").x
    movie = replace(movie, log_gain=jnp.asarray(gain, rate.dtype), log_read=jnp.asarray(read, rate.dtype))
    return _learn_field(model, movie, bank.background)


def _learn_field(model: SceneModel, movie: Movie, level: Normal) -> Movie:
    """With how rough and how wide the backgrounds are whose posteriors have leaves (F, h, w, C)."""
    if model.config.background == "code" or not model.branches.background:
        return movie
    begin = np.array([movie.log_rough, movie.log_range], np.float64)

    def nats(pair):
        value, slope = _field_cost(jnp.asarray(pair, level.mean.dtype), level.mean[..., 0], level.log_std[..., 0])
        return float(value), np.asarray(slope, np.float64)

    found = scipy.optimize.minimize(nats, begin, jac=True, bounds=[(-8.0, 8.0), (-2.0, 5.0)], method="L-BFGS-B").x
    rough, wide = (jnp.asarray(value, level.mean.dtype) for value in found)
    return replace(movie, log_rough=rough, log_range=wide)


@jax.jit
def _field_cost(pair: jax.Array, mean: jax.Array, log_std: jax.Array):
    """Mean cost of backgrounds (F, h, w) in nats and its slope, of (log roughness, log range)."""

    def cost(pair):
        return jax.vmap(lambda m, s: field_divergence(m, s, pair[0], pair[1]))(mean, log_std).mean()

    return jax.value_and_grad(cost)(pair)


@jax.jit
def _left(key, model: SceneModel, variables: Variables, movie: Movie, frames: jax.Array, bank: Posterior):
    """Of a draw of each frame's posterior: its rate, the square of what it leaves that is not smooth, scaled so that
    white noise keeps its variance, and the read variance's cells."""
    kept = white_share((frames.shape[1], frames.shape[2]), _SMOOTH_PX)

    def one(key, frame, posterior):
        draw = sample_posterior(key, model, posterior)
        parts = compose(model, variables, movie, draw, (frame.shape[0], frame.shape[1]))
        cells = parts.read_scale / jnp.exp(movie.log_read) if model.branches.noise else parts.read_scale
        rest = frame - parts.rate
        return parts.rate, (rest - smooth(rest, _SMOOTH_PX)) ** 2 / kept, cells

    return jax.vmap(one)(jax.random.split(key, len(frames)), frames, bank)


@jax.jit
def _noise_cost(pair: jax.Array, model: SceneModel, rate: jax.Array, square: jax.Array, cells: jax.Array):
    """Minus the log-likelihood's mean a pixel and its slope, of (log gain, log read variance), their prior included."""

    def cost(pair):
        read_scale = cells * jnp.exp(pair[1]) if model.branches.noise else cells
        variance = photon_variance(model.camera, rate, pair[0], read_scale)
        return 0.5 * jnp.mean(square / variance + jnp.log(variance)) + noise_prior(*pair) / rate.size

    return jax.value_and_grad(cost)(pair)
