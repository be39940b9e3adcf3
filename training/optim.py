"""The two optimisers: one for the decoder, one for the mask, each with its own schedule."""

import optax

from training.config import LearnConfig, OptimiserConfig


def warm_cosine(peak: float, steps: int, warmup: int) -> optax.Schedule:
    """Rise to `peak` over `warmup` steps, then fall as a cosine to 1 % of it at `steps`."""
    warmup = min(warmup, max(1, steps // 2))
    return optax.warmup_cosine_decay_schedule(0.1 * peak, peak, warmup, max(steps, warmup + 1), 0.01 * peak)


def decoder_optimiser(config: OptimiserConfig) -> optax.GradientTransformation:
    """Make Adam with a clipped gradient norm."""
    schedule = warm_cosine(config.learning_rate, config.steps, config.warmup_steps)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(schedule))


def mask_optimiser(learn: LearnConfig, config: OptimiserConfig) -> optax.GradientTransformation:
    """Make Adam in radians; at rest during the last `freeze_fraction` of the run, when the decoder catches up."""
    moving = max(1, round(config.steps * (1 - learn.freeze_fraction)))
    cosine = warm_cosine(learn.learning_rate_rad, moving, config.warmup_steps)

    def schedule(step):
        return cosine(step) * (step < moving)

    return optax.adam(schedule)
