"""Train the networks of a generator: the state of a fit and its compiled step over all frames of a movie."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nets.dlp import init_dlp
from optics.pytree import pytree, replace
from training.generator.bound import KlWeights, frame_loss, movie_loss
from training.generator.evidence import FrameEvidence, encode_posterior
from training.generator.model import FittedModel, GeneratorModel, MovieParameters, Variables

_CERTAIN = 8.0  # standard deviations from which a proposal counts for the starting number and brightness


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """Length and rates of a fit.

    The networks take `steps` steps of `batch` frames; the divergences of haze, background and noise reach their full
    weight after the share `warmup` of the steps. Then every frame's posterior is refined by `refine_steps` steps. With
    `second_look`, `training.generator.search` re-initialises its emitters, which takes twice as many steps again.
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
    """State between two steps of a fit; the random numbers of step k follow from the seed and k."""

    step: jax.Array
    variables: Variables
    movie: MovieParameters
    optimiser: Any


def start_movie(evidence: FrameEvidence) -> MovieParameters:
    """Estimate the movie's starting parameters from the proposals of all its frames (leaves (F, ...))."""
    certain = evidence.proposals.significance > _CERTAIN
    log_photons = jnp.where(certain, jnp.log(jnp.maximum(evidence.proposals.photons, 1.0)), jnp.nan)
    spread = jnp.clip(jnp.nan_to_num(jnp.nanstd(log_photons), nan=0.5), 0.2, 1.5)
    median = jnp.nan_to_num(jnp.nanmedian(log_photons), nan=jnp.log(1000.0))
    count = jnp.maximum(certain.sum(axis=-1).mean(), 0.1)
    return MovieParameters(jnp.log(count), median, jnp.log(spread), *(jnp.zeros(()) for _ in range(5)))


def fit_optimiser(settings: FitSettings) -> optax.GradientTransformation:
    """Build Adam with a clipped gradient norm; the rate warms up, then falls as a cosine."""
    peak, steps = settings.learning_rate, settings.steps
    schedule = optax.warmup_cosine_decay_schedule(0.1 * peak, peak, max(1, min(50, steps // 4)), steps + 1, 0.02 * peak)
    # all leaves in a line: adam's arithmetic for each of 133 takes eight seconds of processor to compile
    return optax.flatten(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)))


def init_fit(key: jax.Array, model: GeneratorModel, evidence: FrameEvidence, settings: FitSettings) -> FitState:
    """Draw the state before the first step; `evidence` of all frames has leaves (F, ...)."""
    trained: Any = (init_dlp(key, model.config), start_movie(evidence))
    return FitState(jnp.zeros((), jnp.int32), trained[0], trained[1], fit_optimiser(settings).init(trained))


def make_fit_step(settings: FitSettings, seed: int) -> Callable[..., tuple[FitState, dict[str, jax.Array]]]:
    """Build the compiled step: (state, model, frames (F, H, W), evidence) -> (state, metrics averaged over frames)."""
    optimiser = fit_optimiser(settings)

    @jax.jit
    def step(state: FitState, model: GeneratorModel, frames: jax.Array, evidence: FrameEvidence):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        key_pick, key_sample = jax.random.split(key)
        picked = jax.random.choice(key_pick, len(frames), (settings.batch,), replace=False)
        warm = jnp.clip(state.step / max(settings.warmup * settings.steps, 1.0), 0.02, 1.0)

        def loss(trained):
            variables, movie = trained
            # light that the networks do not explain yet is not noise: `estimate_movie` learns the gain
            movie = replace(movie, log_gain=jax.lax.stop_gradient(movie.log_gain))

            def one_frame(key, i):
                posterior = encode_posterior(model, variables, jax.tree.map(lambda leaf: leaf[i], evidence))
                return frame_loss(key, FittedModel(model, variables, movie), frames[i], posterior, settings.kl, warm)

            losses, terms = jax.vmap(one_frame)(jax.random.split(key_sample, settings.batch), picked)
            total = losses.mean() + movie_loss(movie) / len(frames)
            return total / frames[0].size, jax.tree.map(jnp.mean, terms)

        trained: Any = (state.variables, state.movie)
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(trained)
        updates, memory = optimiser.update(grads, state.optimiser)
        moved: Any = optax.apply_updates(trained, updates)
        metrics = {"loss": value, **metrics, "gradient": optax.tree.norm(grads)}
        return FitState(state.step + 1, moved[0], moved[1], memory), metrics

    return step
