"""Explain crowded frames: add candidates, fit everything, take out the insignificant, until no more come.

One frame's search is a small program (`explain_one`) that asks for fits and for candidates. The two are compiled once,
fits for each number of slots, so that a search costs what its emitters do. Alternating additions from the residual with
joint local descent is ADCG (Boyd, Schiebinger and Recht 2017, doi 10.1137/15M1035793).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from optics.fits.crowd import Crowd, CrowdModel, Frame
from optics.fits.crowd_search import Bank, Candidates, in_proportion
from optics.fits.reread import Readings
from optics.fits.shakes import Box, Place, doubtful, mattering, places, slid, slide_um, surprising
from optics.fits.smooth import MOST_SPREAD
from optics.fits.turns import likelier, merged, neighbours, together_or_alone, turned, unsure, worst
from optics.fits.wishes import Fit, Fitted, Guess, Look, Reread, Start, Wish, begin, serve

_TOGETHER = 32  # frames at once on an accelerator
_FIRST_ROUNDS = 0.7  # of the level: while emitters are missing, noise is more than it will be
_PARTNER = 0.15  # overlap of two images: without the one the other may be enough
_CLEAN = 0.1  # gain in log-likelihood that ends a fit after which emitters are taken out
_WORTHLESS = 1.0  # gain in log-likelihood of a round that ends the search
_BETTER = 0.5  # and of an explanation that replaces another
_IMITABLE = 0.2  # of an emitter's information, at its worst depth: if a background leaves less, it looks like one
_STRUCTURED, _EVEN = 0.1, 0.02  # of the light of a pixel: a background varies by much, and hardly
_FEWER = 3  # times fewer candidates are added where all together make the frame less likely
_AGAIN = 6  # times that what is worst explained is taken out, where there are several species
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
class Found:
    """A frame explained: a `crowd` without free slots, (n, 4) standard deviations of x, y, z (um) and photons.

    `significance` (n,) is by how many standard deviations each emitter's photons differ from 0; `mean` (H, W) the
    frame that is expected, in photons; `rounds` of additions that it took. `posterior` (S, n) of each of S species,
    whose light is as frequent beforehand.
    """

    crowd: Crowd
    std: NDArray
    significance: NDArray
    mean: NDArray
    rounds: int
    posterior: NDArray


_Program = Generator[Wish, Any, Found]


def search_frames(
    model: CrowdModel,
    bank: Bank,
    frames: Frame,
    starts: Sequence[Start | None] | None = None,
    search: Search | None = None,
    together: int | None = None,
    inner_um: Box | None = None,
) -> list[Found]:
    """Explain frames (F, H, W).

    `starts` are lists to begin with, for each frame `xyz_um` (n, 3) in the frame and `photons` (n,), of a decoder for
    instance, and where there are several species the number of each emitter's (n,); None begins with nothing. There is
    no limit to the number of emitters: slots are added as they are needed. Up to `together` frames are served at once
    (None: one on a processor, 32 on an accelerator). Of windows of a larger frame `inner_um` is the box, x then y from
    the window's corner, whose emitters are wanted: those that do not touch them are explained, and not looked at a
    second time.
    """
    search = search or Search()
    faintest = max(search.faintest, float(bank.faintest))
    sized = replace(search, per_round=in_proportion(search.per_round, model.shape), faintest=faintest)
    if together is None:
        together = 1 if jax.default_backend() == "cpu" else _TOGETHER
    imitated = float(bank.kept.min()) < _IMITABLE
    if together == 1:  # on the host a frame is cut out of them without a program
        frames = jax.device_get(frames)
    begins = starts if starts is not None else [None] * frames.adu.shape[0]
    programs: dict[int, _Program] = {}
    for k, start in enumerate(begins):
        frame = jax.tree.map(lambda leaf, k=k: leaf[k], frames)
        programs[k] = explain_one(begin(model, frame, start), sized, slide_um(model), inner_um, model.species, imitated)
    found: dict[int, Found] = {}
    waiting = list(programs)
    answers: dict[int, Any] = {}
    while waiting or answers:
        # as many frames at a time as are served together: what a mean takes on the device is bounded
        for k in waiting[: together - len(answers)]:
            answers[k] = None
        waiting = [k for k in waiting if k not in answers]
        wishes: dict[int, Wish] = {}
        for k, answer in answers.items():
            try:
                wishes[k] = programs[k].send(answer)
            except StopIteration as end:
                found[k] = end.value
        answers = serve(model, bank, frames, wishes, together)
    return [found[k] for k in range(len(programs))]


def explain_one(
    start: Guess, search: Search, slide: float, inner_um: Box | None = None, species: int = 1, imitated: bool = False
) -> _Program:
    """The search of one frame.

    Where a background may look like an emitter (`imitated`), it takes the light before there are any: if it has got
    much structure, emitters are searched once more over an even one, which may vary when they are there.

    What looks wrong is moved, or taken out with its partner and the frame searched from there (`shakes`); the
    explanation with the smaller misfit, each emitter costing what a false one is worth, is kept, until none is better.
    """
    kept, level, rounds = yield from _add_and_clean(start, search, species)
    price = level**2 / 2

    def cost(fitted: Fitted) -> float:
        return fitted.misfit + fitted.evidence + price * fitted.emitters.size

    def better(tried: Fitted) -> Fitted:
        return tried if cost(tried) < cost(kept) - _BETTER else kept

    if imitated and float(kept.emitters.spread) > _STRUCTURED * float(np.median(kept.mean)):
        first, _, n = yield from _add_and_clean(start, search, species, _EVEN)
        rounds += n
        tried = yield Fit(first.emitters, search.steps[1], _CLEAN)
        kept = better(tried)
    seen: set[Place] = set()
    for number in range(search.shakes):
        before, wanted = kept, mattering(kept, inner_um)
        moved = np.array([place not in seen for place in places(kept.emitters)], bool) & surprising(kept) & wanted
        seen.update(place for place, here in zip(places(kept.emitters), moved, strict=True) if here)
        for depth_um in (-slide, slide) if moved.any() else ():
            tried = yield Fit(slid(before, moved, depth_um), search.steps[1], _CLEAN)
            kept = better(tried)
        if species > 1:
            kept = yield from _merged(kept, price, search)
        out = doubtful(kept, level, n_partners=number + 1, wanted=mattering(kept, inner_um))
        if out.any():
            tried, _, n = yield from _add_and_clean(kept.emitters.keep(~out), search, species)
            rounds += n
            kept = better(tried)
        if kept is before and number:  # with one partner, and with two
            break
    asked: set[Place] = set()
    for number in range(_AGAIN if species > 1 else 0):
        out = worst(kept, mattering(kept, inner_um), asked, alone=bool(number % 2))
        if not out.any():
            break
        tried, _, n = yield from _add_and_clean(kept.emitters.keep(~out), search, species)
        rounds += n
        kept = better(tried)
    last: Fitted = yield Fit(kept.emitters, search.steps[1], search.gains[1])
    n = len(last.emitters.photons)
    posterior = np.ones((1, n))
    if species > 1 and n:
        last, posterior = yield from _told(last, search)
    crowd = Crowd(
        xyz_um=last.emitters.xyz_um,  # pyright: ignore[reportArgumentType]
        photons=last.emitters.photons,  # pyright: ignore[reportArgumentType]
        blur_px2=last.emitters.blur_px2,  # pyright: ignore[reportArgumentType]
        present=np.ones(n, bool),  # pyright: ignore[reportArgumentType]
        level=last.emitters.level,  # pyright: ignore[reportArgumentType]
        spread=last.emitters.spread,  # pyright: ignore[reportArgumentType]
        damping=np.zeros(()),  # pyright: ignore[reportArgumentType]
        misfit=np.asarray(last.misfit),  # pyright: ignore[reportArgumentType]
        stray=np.zeros(()),  # pyright: ignore[reportArgumentType]
        channel=last.emitters.channel,  # pyright: ignore[reportArgumentType]
    )
    std = np.sqrt(np.maximum(np.diagonal(last.covariance, axis1=1, axis2=2), 0))
    return Found(crowd, std, last.significance, np.asarray(last.mean), rounds, posterior)


def _add_and_clean(
    start: Guess, search: Search, species: int = 1, most_spread: float = MOST_SPREAD
) -> Generator[Wish, Any, tuple[Fitted, float, int]]:
    """Add and fit until nothing is added, then take out what is not significant, the weakest first."""
    steps, gain = search.steps[0], search.gains[0]
    fitted: Fitted = yield Fit(start, steps, gain, most_spread)
    rounds, level, least, stale = 0, 0.0, np.inf, 0
    for rounds in range(1, search.rounds + 1):
        before = fitted.misfit
        candidates: Candidates = yield Look(fitted.mean, fitted.emitters.level, fitted.emitters.spread)
        level, strength = float(candidates.level), np.asarray(candidates.strength)
        taken = np.flatnonzero(strength > 0)[: search.per_round]
        if not taken.size:
            break
        more = yield from _with_more(fitted, candidates, taken, steps, gain, most_spread)
        if more is None:
            break
        fitted = more
        if species > 1:
            fitted = yield from _as_they_look(fitted, steps, gain, most_spread)
        keep = fitted.significance > _FIRST_ROUNDS * level
        if not keep.all():  # what was taken out leaves its light to the others, or is a candidate again
            fitted = yield Fit(fitted.emitters.keep(keep), steps, gain, most_spread)
        if (
            rounds > 1 and abs(before - fitted.misfit) < _WORTHLESS
        ):  # what came was taken out again, or is worth nothing
            break
        if species > 1:  # species that take each other's place can go round in circles
            worth = fitted.misfit + level**2 / 2 * fitted.emitters.size
            stale = 0 if worth < least - _WORTHLESS else stale + 1
            least = min(least, worth)
            if stale == _STALE:
                break
    fitted = yield Fit(fitted.emitters, search.steps[1], _CLEAN, most_spread)
    while (out := _weakest(fitted, level, search.faintest)).any():
        fitted = yield Fit(fitted.emitters.keep(~out), steps, _CLEAN, most_spread)
    return fitted, level, rounds


def _with_more(
    fitted: Fitted, candidates: Candidates, taken: NDArray, steps: int, gain: float, most_spread: float
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
        tried: Fitted = yield Fit(more, steps, gain, most_spread)
        if tried.misfit + tried.evidence < fitted.misfit + fitted.evidence + _BETTER:
            return tried
    return None


def _as_they_look(fitted: Fitted, steps: int, gain: float, most_spread: float) -> Generator[Wish, Any, Fitted]:
    """Turn emitters into the species that the frame says they are, where all together is likelier then."""
    for _ in range(_TURNS):
        if not fitted.emitters.size:
            return fitted
        read: Readings = yield Reread(fitted, starts=2)
        which = likelier(fitted, read)
        while which.any():
            tried: Fitted = yield Fit(
                turned(fitted.emitters, which, read.gain.argmax(axis=0), read), steps, gain, most_spread
            )
            if tried.misfit + tried.evidence < fitted.misfit + fitted.evidence - _BETTER:
                break
            if which.sum() == 1:
                return fitted
            # neighbours that turn at once may each explain the same light: the one that gains most alone
            which = np.arange(which.size) == np.argmax(np.where(which, read.gain.max(axis=0), -np.inf))
        else:
            return fitted
        fitted = tried
    return fitted


def _merged(fitted: Fitted, price: float, search: Search) -> Generator[Wish, Any, Fitted]:
    """Put one emitter of any species in the place of two, where all is likelier then: two can look like another."""
    pairs = neighbours(fitted.emitters)
    if not len(pairs):
        return fitted
    read: Readings = yield Reread(fitted, tuple(map(tuple, pairs.tolist())))
    for some in together_or_alone(pairs, read.gain.max(axis=0), -price):
        tried: Fitted = yield Fit(merged(fitted.emitters, pairs, some, read), search.steps[1], _CLEAN)
        saved = price * (fitted.emitters.size - tried.emitters.size)
        if tried.misfit + tried.evidence < fitted.misfit + fitted.evidence + saved - _BETTER:
            return tried
    return fitted


def _told(fitted: Fitted, search: Search) -> Generator[Wish, Any, tuple[Fitted, NDArray]]:
    """The posterior (S, n) of every emitter's species; with neighbours that share its light fitted anew as well."""
    read: Readings = yield Reread(fitted)
    every = np.arange(fitted.emitters.size)
    lead = read.gain - read.gain[fitted.emitters.channel, every][None]
    for k, number in unsure(fitted, lead):
        tried: Fitted = yield Fit(turned(fitted.emitters, every == k, number, read), search.steps[1], _CLEAN)
        gained = fitted.misfit + fitted.evidence - tried.misfit - tried.evidence
        lead[number, k] = gained
        if gained > 0:
            fitted = tried
            lead[:, k] -= gained
    odds = np.exp(np.minimum(lead, 0.0))
    return fitted, odds / odds.sum(axis=0)


def _weakest(fitted: Fitted, level: float, faintest: float) -> NDArray:
    """Which emitters (n,) are not significant or too dim, but for those that overlap a weaker one: without it they may
    be enough.
    """
    weak = (fitted.significance < level) | (fitted.emitters.photons < faintest)
    weaker = weak[None] & (fitted.significance[None] < fitted.significance[:, None])
    return weak & ~(weaker & (fitted.overlap > _PARTNER)).any(axis=1)
