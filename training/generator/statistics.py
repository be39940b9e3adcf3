"""Correct the statistics of the emitters that a generator draws for the bias of its fit.

A fit misses dim emitters, takes neighbours for one emitter, and finds some that do not exist. How large these errors
are shows in frames whose emitters are known: those that the fitted generator draws. Number, median brightness and
spread of the drawn emitters are changed until the same inference finds the same statistics in drawn frames as in the
movie (indirect inference: Gourieroux, Monfort and Renault 1993, doi 10.1002/jae.3950080507).
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from optics import Psf
from optics.progress import Report, silent
from training.generator.draw import EmitterCorrection, SceneGenerator, generate, make_generator
from training.generator.fit import FitSettings
from training.generator.model import FittedModel
from training.generator.posterior import Posterior
from training.generator.search import infer_posteriors

_EMITTERS, _FRAMES = 250, (8, 64)  # emitters that the frames of a round should show; least and most frames
_ROUNDS = 2
_LIMIT = 3.0  # largest factor of a correction
_LEAST_EMITTERS, _LEAST_SPREAD = 8, 0.05  # below which a spread is not measured


@dataclasses.dataclass(frozen=True)
class EmitterStatistics:
    """Statistics of inferred emitters: `number` per frame, mean and standard deviation of their log photons."""

    number: float
    log_photons: float
    spread: float


def emitter_statistics(posteriors: Posterior) -> EmitterStatistics | None:
    """Measure the emitters in posteriors (leaves (F, ...)); None where there are too few to have a spread."""
    present = np.asarray(posteriors.presence) > 0
    log_photons = np.asarray(posteriors.location.mean, np.float64)[..., 3][present]
    if len(log_photons) < _LEAST_EMITTERS:
        return None
    spread = max(float(log_photons.std()), _LEAST_SPREAD)
    return EmitterStatistics(len(log_photons) / len(present), float(log_photons.mean()), spread)


def learn_correction(
    key: jax.Array,
    inference: FittedModel,
    drawing: FittedModel,
    posteriors: Posterior,
    psf: Psf,
    crop_px: int,
    settings: FitSettings,
    report: Report = silent,
) -> EmitterCorrection:
    """Learn how the movie's emitters differ from those of `posteriors` (leaves (F, ...)).

    `inference` is the model that inferred the posteriors, `drawing` the one that draws frames of `crop_px` pixels: its
    movie parameters were estimated from the posteriors.
    """
    target = emitter_statistics(posteriors)
    if target is None:
        return EmitterCorrection()
    number = int(np.clip(math.ceil(_EMITTERS / target.number), *_FRAMES))
    key_draw, key_refine, key_search = jax.random.split(key, 3)

    def measure(correction: EmitterCorrection) -> EmitterStatistics | None:
        # the same keys in every round: rounds differ by the correction alone
        generator = make_generator(
            drawing, posteriors, psf, crop_px=crop_px, frame_px=crop_px, correction=correction, largest=_LIMIT
        )
        frames = _draw(jax.random.split(key_draw, number), generator, psf)
        return emitter_statistics(infer_posteriors((key_refine, key_search), inference, frames, settings, report))

    return solve_correction(target, measure)


def solve_correction(
    target: EmitterStatistics,
    measure: Callable[[EmitterCorrection], EmitterStatistics | None],
    rounds: int = _ROUNDS,
) -> EmitterCorrection:
    """Find the correction under which `measure` returns `target`.

    Each round multiplies the factors by the ratio of target and measurement, within a factor of 3 in all. It stops
    early where `measure` returns None: too few emitters.
    """
    correction = EmitterCorrection()
    for _ in range(rounds):
        found = measure(correction)
        if found is None:
            return correction
        correction = EmitterCorrection(
            number=_limited(correction.number * target.number / found.number),
            brightness=_limited(correction.brightness * math.exp(target.log_photons - found.log_photons)),
            spread=_limited(correction.spread * target.spread / found.spread),
        )
    return correction


def _limited(factor: float) -> float:
    return float(np.clip(factor, 1 / _LIMIT, _LIMIT))


@jax.jit
def _draw(keys: jax.Array, generator: SceneGenerator, psf: Psf) -> jax.Array:
    return generate(keys, generator, psf).images
