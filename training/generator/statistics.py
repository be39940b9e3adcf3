"""How many emitters a movie has and how bright they are, from how many are believed in and how bright those are.

A fit misses dim emitters, takes neighbours for one, and believes in some that are none. How much so is asked of frames
whose emitters are known: those that the fitted generator draws. Number, median brightness and spread of what is drawn
are changed until the same inference believes the same of the drawn frames as of the movie's (indirect inference:
Gourieroux, Monfort and Renault 1993, doi 10.1002/jae.3950080507).
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from nets.dlp_types import Posterior
from optics import Psf
from training.generator.draw import GeneratedScenes, Law, generate, make_scenes
from training.generator.fit import Each, FitSettings, FitState
from training.generator.model import Movie, SceneModel
from training.generator.search import believe

_EMITTERS, _FRAMES = 250, (8, 64)  # that the frames of one round show about, and how many frames may show them
_ROUNDS = 2
_FACTOR = 3.0  # that no number changes by more


@dataclasses.dataclass(frozen=True)
class Believed:
    """Emitters a frame, mean and standard deviation of their log photons."""

    number: float
    log_light: float
    spread: float


def believed(bank: Posterior) -> Believed | None:
    """What posteriors (leaves (F, ...)) believe in; None where there are too few emitters to have a spread."""
    kept = np.asarray(bank.presence) > 0
    light = np.asarray(bank.place.mean, np.float64)[..., 3][kept]
    if len(light) < 8:
        return None
    return Believed(len(light) / len(kept), float(light.mean()), max(float(light.std()), 0.05))


def learn_law(
    key: jax.Array,
    model: SceneModel,
    state: FitState,
    movie: Movie,
    bank: Posterior,
    psf: Psf,
    crop_px: int,
    settings: FitSettings,
    each: Each = lambda done, count: None,
) -> Law:
    """The law of the emitters of a movie of which `bank` (leaves (F, ...)) is believed in `state`; `movie` is what its
    frames share, learned from that."""
    asked = believed(bank)
    if asked is None:
        return Law()
    number = int(np.clip(math.ceil(_EMITTERS / asked.number), *_FRAMES))
    key_draw, key_refine, key_search = jax.random.split(key, 3)

    def ask(law: Law) -> Believed | None:
        # the same keys for every law: what differs between rounds is the law alone
        scenes = make_scenes(
            model, state.variables, movie, bank, psf, bank_px=crop_px, frame_px=crop_px, law=law, most=_FACTOR
        )
        frames = _draw(jax.random.split(key_draw, number), scenes, psf)
        return believed(believe((key_refine, key_search), model, state, frames, settings, each))

    return solve_law(asked, ask)


def solve_law(asked: Believed, ask: Callable[[Law], Believed | None], rounds: int = _ROUNDS) -> Law:
    """The law under which `ask` believes what is `asked`: from the one as believed, each round by what it is off."""
    law = Law()
    for _ in range(rounds):
        found = ask(law)
        if found is None:
            return law
        law = Law(
            number=_held(law.number * asked.number / found.number),
            light=_held(law.light * math.exp(asked.log_light - found.log_light)),
            spread=_held(law.spread * asked.spread / found.spread),
        )
    return law


def _held(factor: float) -> float:
    return float(np.clip(factor, 1 / _FACTOR, _FACTOR))


@jax.jit
def _draw(keys: jax.Array, scenes: GeneratedScenes, psf: Psf) -> jax.Array:
    return generate(keys, scenes, psf).images
