"""The two optimisers: one for the decoder, one for the mask, each with its own schedule."""

from typing import Any

import jax
import optax
import optax.contrib

from training.config import LearnConfig, OptimiserConfig

FEW = 16  # channels of a layer that Muon leaves to Adam, as one does with inputs and outputs


def warm_cosine(peak: float, steps: int, warmup: int) -> optax.Schedule:
    """Rise to `peak` over `warmup` steps, then fall as a cosine to 1 % of it at `steps`."""
    warmup = min(warmup, max(1, steps // 2))
    return optax.warmup_cosine_decay_schedule(0.1 * peak, peak, warmup, max(steps, warmup + 1), 0.01 * peak)


def decoder_optimiser(config: OptimiserConfig) -> optax.GradientTransformation:
    """Make the decoder's optimiser, with a clipped gradient norm: Adam, or Muon for the kernels of hidden layers.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) turns the momentum of a matrix into the nearest
    orthogonal one, so that all its directions move alike; biases, and kernels that see or say few channels, are Adam's,
    with the same kind of momentum (Nesterov's).
    """
    schedule = warm_cosine(config.learning_rate, config.steps, config.warmup_steps)
    if config.method == "adam":
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(schedule))
    kernels = warm_cosine(config.kernel_learning_rate, config.steps, config.warmup_steps)
    muon = optax.contrib.muon(
        kernels, adam_learning_rate=schedule, muon_weight_dimension_numbers=hidden_kernels, weight_decay=0.0
    )
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), muon)


def hidden_kernels(params: Any) -> Any:
    """Mark kernels (..., in, out) of layers between `FEW` channels and more: all but the last axis are one."""

    def mark(leaf: Any) -> optax.contrib.MuonDimensionNumbers | None:
        hidden = leaf.ndim > 1 and min(leaf.shape[-2:]) >= FEW
        return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1) if hidden else None

    return jax.tree.map(mark, params)


def mask_optimiser(learn: LearnConfig, config: OptimiserConfig) -> optax.GradientTransformation:
    """Make Adam in radians; at rest during the last `freeze_fraction` of the run, when the decoder catches up."""
    moving = max(1, round(config.steps * (1 - learn.freeze_fraction)))
    cosine = warm_cosine(learn.learning_rate_rad, moving, config.warmup_steps)

    def schedule(step):
        return cosine(step) * (step < moving)

    return optax.adam(schedule)
