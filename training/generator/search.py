"""A second look for emitters, where the first one ended: descent moves what a posterior has, it does not exchange it.

An emitter that the first proposals put in a wrong place or depth keeps its light, and others mend what it leaves. So
all presences are put down; surroundings and emitters descend together, and light comes back as far as it is needed;
empty slots go where the residual shows emitters; and all descends again. Each frame keeps the answer of the higher
bound.
Birth and death as in Richardson and Green 1997 (doi 10.1111/1467-9868.00095), taken by bound and not by chance.
"""

import functools

import jax
import jax.numpy as jnp

from nets.dlp_types import Normal, Posterior
from optics.fits.matched_filter import propose
from optics.pytree import replace
from training.generator.fit import Each, FitSettings, FitState, in_parts, refine, see_all
from training.generator.model import KlWeights, SceneModel, expected_parts, frame_loss, photon_variance

_DOWN = -1.5  # log-odds that presences are put down to: most light is off, the slope that brings it back is not
_EMPTY = 0.2  # probability of a slot below which it may go elsewhere
_NEW = 3.0  # standard deviations in the residual from which a slot goes there
_NATS = 14.0  # what an emitter there must explain (S^2 / 2) to begin as likely as not
_START_STD = (0.02, 0.02, 0.3, 0.2)  # of a new emitter: x and y in um, its depth's score, log photons
_DRAWS = 8  # of the posterior, for what it expects and for its bound


def search(
    key: jax.Array,
    model: SceneModel,
    state: FitState,
    frames: jax.Array,
    bank: Posterior,
    settings: FitSettings,
    each: Each = lambda done, count: None,
) -> Posterior:
    """What is believed about each frame (F, H, W), leaves (F, ...), with other emitters where the bound is higher.

    Twice `settings.refine_steps` steps a frame.
    """
    some = functools.partial(_search_some, key, model, state, settings)
    return in_parts(some, (frames, bank), len(frames), each)


def believe(
    keys: tuple[jax.Array, jax.Array],
    model: SceneModel,
    state: FitState,
    frames: jax.Array,
    settings: FitSettings,
    each: Each = lambda done, count: None,
) -> Posterior:
    """What the fitted model believes about frames (F, H, W) that it has not seen: both looks, a key for each."""
    bank = refine(keys[0], model, state, frames, see_all(model, frames), settings, each=each)
    return search(keys[1], model, state, frames, bank, settings, each) if settings.second_look else bank


def _search_some(
    key: jax.Array, model: SceneModel, state: FitState, settings: FitSettings, frames: jax.Array, bank: Posterior
) -> Posterior:
    keys = jax.random.split(key, 4)
    down = replace(bank, presence=jnp.minimum(bank.presence, _DOWN))
    found = refine(keys[0], model, state, frames, None, settings, down)
    found = _births(keys[1], model, state, frames, found)
    found = refine(keys[2], model, state, frames, None, settings, found)
    before, after = (_bounds(keys[3], model, state, frames, some, settings.kl) for some in (bank, found))

    def better(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where((after > before).reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(better, found, bank)


@jax.jit
def _births(key: jax.Array, model: SceneModel, state: FitState, frames: jax.Array, bank: Posterior) -> Posterior:
    return jax.vmap(lambda frame, posterior: births(key, model, state, frame, posterior))(frames, bank)


def births(key: jax.Array, model: SceneModel, state: FitState, frame: jax.Array, posterior: Posterior) -> Posterior:
    """One frame's posterior with its empty slots where the residual has emitters, the strongest first."""
    parts = expected_parts(
        key, model, state.variables, state.movie, posterior, (frame.shape[0], frame.shape[1]), draws=_DRAWS
    )
    variance = photon_variance(model.camera, parts.rate, state.movie.log_gain, parts.read_scale)
    found = propose(
        model.templates, frame - parts.rate, variance, model.ranges.pixel_um,
        capacity=model.config.slots, radius_px=model.radius_px,
    )  # fmt: skip
    presence = jax.nn.sigmoid(posterior.presence)
    order = jnp.argsort(presence)  # the emptiest slot gets the strongest proposal
    rank = jnp.argsort(order)
    xyz_um, photons, significance = found.xyz_um[rank], found.photons[rank], found.significance[rank]
    moves = (presence < _EMPTY) & (significance > _NEW)
    evidence = 0.5 * jnp.clip(0.5 * significance**2 - _NATS, -6.0, 6.0)
    light = jnp.log(jnp.maximum(photons, 1.0))[:, None]
    mean = jnp.concatenate([jnp.zeros_like(xyz_um[:, :2]), model.ranges.score(xyz_um[:, 2:]), light], axis=1)
    place = posterior.place
    return replace(
        posterior,
        anchor_um=jnp.where(moves[:, None], xyz_um[:, :2], posterior.anchor_um),
        presence=jnp.where(moves, evidence, posterior.presence),
        place=Normal(
            jnp.where(moves[:, None], mean, place.mean),
            jnp.where(moves[:, None], jnp.log(jnp.array(_START_STD)), place.log_std),
        ),
    )


@functools.partial(jax.jit, static_argnames="kl")
def _bounds(
    key: jax.Array, model: SceneModel, state: FitState, frames: jax.Array, bank: Posterior, kl: KlWeights
) -> jax.Array:
    """The evidence's bound of each frame, nats, (F,): means over the same draws for all."""

    def draw(key: jax.Array) -> jax.Array:
        def cost(frame: jax.Array, posterior: Posterior) -> jax.Array:
            return frame_loss(key, model, state.variables, state.movie, frame, posterior, kl)[0]

        return jax.vmap(cost)(frames, bank)

    return -jax.lax.map(draw, jax.random.split(key, _DRAWS)).mean(axis=0)
