"""Rounds of a search: add candidates, fit, take out the insignificant, until no more come."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from optics.fits.crowd_search import Candidates
from optics.fits.reread import Readings
from optics.fits.shakes import PARTNER
from optics.fits.smooth import MOST_SPREAD
from optics.fits.turns import likelier, turned
from optics.fits.wishes import Fit, Fitted, Guess, Look, Reread, Wish

CLEAN = 0.1  # gain in log-likelihood that ends a fit after which emitters are taken out
BETTER = 0.5  # and of an explanation that replaces another
_FIRST_ROUNDS = 0.7  # of the level: while emitters are missing, noise is more than it will be
_WORTHLESS = 1.0  # gain in log-likelihood of a round that ends the search
_FEWER = 3  # times fewer candidates are added where all together make the frame less likely
_STALE = 2  # rounds in a row that make nothing better end the search of several species
_TURNS = 2  # times that emitters are turned into another species before more are looked for


@dataclass(frozen=True)
class Search:
    """How long to search: rounds of additions, candidates a round, and times that doubtful emitters are taken out.

    `per_round` is for 64 x 64 px; larger frames have more in proportion.

    `steps` and `gains` are the derivatives at most, and the gain in log-likelihood that ends a fit, of the fits within
    rounds and of the last one. What has fewer than `faintest` photons in the end is taken out.
    """

    rounds: int = 20
    per_round: int = 8
    shakes: int = 3
    steps: tuple[int, int] = (2, 10)
    gains: tuple[float, float] = (0.5, 0.02)
    faintest: float = 0.0


@dataclass(frozen=True)
class Beside:
    """What goes with the emitters that a search may change.

    The background varies by at most `most_spread` of its mean. `around` is the light (H, W) of emitters that stay, None
    where there are no others; candidates are then those within `reach_um` of one of `places_um` (m, 2).
    """

    most_spread: float = MOST_SPREAD
    around: jax.Array | None = None
    places_um: NDArray | None = None
    reach_um: float = np.inf

    def fit(self, guess: Guess, max_steps: int, least_gain: float) -> Fit:
        """The wish to fit these emitters."""
        return Fit(guess, max_steps, least_gain, self.most_spread, self.around)

    def chosen(self, candidates: Candidates, most: int) -> NDArray[np.int64]:
        """The numbers of candidates that count, strongest first, `most` of them."""
        counts = np.asarray(candidates.strength) > 0
        if self.places_um is not None:
            apart = np.asarray(candidates.xyz_um)[:, None, :2] - self.places_um[None, :, :2]
            counts &= (np.abs(apart).max(axis=2) < self.reach_um).any(axis=1)
        return np.flatnonzero(counts)[:most]


def add_and_clean(
    start: Guess, search: Search, species: int = 1, beside: Beside | None = None
) -> Generator[Wish, Any, tuple[Fitted, float, int]]:
    """Add and fit until nothing is added, then take out what is not significant, the weakest first."""
    steps, gain = search.steps[0], search.gains[0]
    beside = beside or Beside()
    fitted: Fitted = yield beside.fit(start, steps, gain)
    rounds, level, least, stale = 0, 0.0, np.inf, 0
    for rounds in range(1, search.rounds + 1):
        before = fitted.misfit
        candidates: Candidates = yield Look(fitted.mean, fitted.emitters.level, fitted.emitters.spread)
        level, taken = float(candidates.level), beside.chosen(candidates, search.per_round)
        if not taken.size:
            break
        more = yield from _with_more(fitted, candidates, taken, search, beside)
        if more is None:
            break
        fitted = more
        if species > 1:
            fitted = yield from _as_they_look(fitted, search, beside)
        keep = fitted.significance > _FIRST_ROUNDS * level
        if not keep.all():  # what was taken out leaves its light to the others, or is a candidate again
            fitted = yield beside.fit(fitted.emitters.keep(keep), steps, gain)
        if rounds > 1 and abs(before - fitted.misfit) < _WORTHLESS:
            break  # what came was taken out again, or is worth nothing
        if species > 1:  # species that take each other's place can go round in circles
            worth = fitted.misfit + level**2 / 2 * fitted.emitters.size
            stale = 0 if worth < least - _WORTHLESS else stale + 1
            least = min(least, worth)
            if stale == _STALE:
                break
    fitted = yield beside.fit(fitted.emitters, search.steps[1], CLEAN)
    while (out := _weakest(fitted, level, search.faintest)).any():
        fitted = yield beside.fit(fitted.emitters.keep(~out), steps, CLEAN)
    return fitted, level, rounds


def _with_more(
    fitted: Fitted, candidates: Candidates, taken: NDArray, search: Search, beside: Beside
) -> Generator[Wish, Any, Fitted | None]:
    """Add those that are taken, or as many of the strongest as make the frame no less likely; None if none does.

    What a frame tells of an emitter beyond its rim is little, and its light may be overrated by far: in the end the
    strongest inside is tried alone.
    """
    kinds = None if candidates.channel is None else np.asarray(candidates.channel)
    xyz, photons = np.asarray(candidates.xyz_um), np.asarray(candidates.photons)
    fewer = [taken[: -(-taken.size // share)] for share in (1, _FEWER, taken.size)]
    fewer.append(taken[np.asarray(candidates.inside)[taken]][:1])
    for some in map(list, dict.fromkeys(tuple(each.tolist()) for each in fewer if each.size)):
        more = fitted.emitters.add(xyz[some], photons[some], None if kinds is None else kinds[some])
        tried: Fitted = yield beside.fit(more, search.steps[0], search.gains[0])
        if tried.misfit + tried.evidence < fitted.misfit + fitted.evidence + BETTER:
            return tried
    return None


def _as_they_look(fitted: Fitted, search: Search, beside: Beside) -> Generator[Wish, Any, Fitted]:
    """Turn emitters into the species that the frame says they are, where all together is likelier then."""
    for _ in range(_TURNS):
        if not fitted.emitters.size:
            return fitted
        read: Readings = yield Reread(fitted, starts=2)
        which = likelier(fitted, read)
        while which.any():
            other = turned(fitted.emitters, which, read.gain.argmax(axis=0), read)
            tried: Fitted = yield beside.fit(other, search.steps[0], search.gains[0])
            if tried.misfit + tried.evidence < fitted.misfit + fitted.evidence - BETTER:
                break
            if which.sum() == 1:
                return fitted
            # neighbours that turn at once may each explain the same light: the one that gains most alone
            which = np.arange(which.size) == np.argmax(np.where(which, read.gain.max(axis=0), -np.inf))
        else:
            return fitted
        fitted = tried
    return fitted


def _weakest(fitted: Fitted, level: float, faintest: float) -> NDArray:
    """Which emitters (n,) are not significant or too dim, but for those that overlap a weaker one: without it they may
    be enough.
    """
    weak = (fitted.significance < level) | (fitted.emitters.photons < faintest)
    weaker = weak[None] & (fitted.significance[None] < fitted.significance[:, None])
    return weak & ~(weaker & (fitted.overlap > PARTNER)).any(axis=1)
