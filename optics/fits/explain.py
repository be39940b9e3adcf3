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
from optics.fits.crowd_search import Bank, in_proportion
from optics.fits.parts import Part, cost, part_by_part, slid
from optics.fits.reread import Readings
from optics.fits.rounds import BETTER, CLEAN, Beside, Search, add_and_clean
from optics.fits.shakes import Box, Place, doubtful, mattering, places, slide_um, surprising
from optics.fits.turns import merged, neighbours, together_or_alone, turned, unsure, worst
from optics.fits.wishes import Fit, Fitted, Guess, Reread, Start, Wish, begin, serve

_TOGETHER = 32  # frames at once on an accelerator
_IMITABLE = 0.2  # of an emitter's information, at its worst depth: if a background leaves less, it looks like one
_STRUCTURED, _EVEN = 0.1, 0.02  # of the light of a pixel: a background varies by much, and hardly
_AGAIN = 6  # times that what is worst explained is taken out, where there are several species


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
    reach_um = model.table.image_px / 2 * float(model.pixel_um)
    if together == 1:  # on the host a frame is cut out of them without a program
        frames = jax.device_get(frames)
    begins = starts if starts is not None else [None] * frames.adu.shape[0]
    programs: dict[int, _Program] = {}
    for k, start in enumerate(begins):
        frame = jax.tree.map(lambda leaf, k=k: leaf[k], frames)
        programs[k] = explain_one(
            begin(model, frame, start), sized, slide_um(model), inner_um, model.species, imitated, reach_um
        )
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
    start: Guess,
    search: Search,
    slide: float,
    inner_um: Box | None = None,
    species: int = 1,
    imitated: bool = False,
    reach_um: float = np.inf,
) -> _Program:
    """The search of one frame.

    Where a background may look like an emitter (`imitated`), it takes the light before there are any: if it has got
    much structure, emitters are searched once more over an even one, which may vary when they are there.

    What looks wrong is moved, or taken out with its partner and searched again from there (`shakes`), one group of
    emitters after the other; the explanation with the smaller misfit, each emitter costing what a false one is worth,
    is kept, until none is better. `reach_um` is how far an emitter's light goes.
    """
    kept, level, rounds = yield from add_and_clean(start, search, species)
    price = level**2 / 2

    def better(tried: Fitted) -> Fitted:
        return tried if cost(tried, price) < cost(kept, price) - BETTER else kept

    if imitated and float(kept.emitters.spread) > _STRUCTURED * float(np.median(kept.mean)):
        first, _, n = yield from add_and_clean(start, search, species, Beside(_EVEN))
        rounds += n
        tried = yield Fit(first.emitters, search.steps[1], CLEAN)
        kept = better(tried)

    def slid_both_ways(part: Part) -> Generator[Wish, Any, Fitted]:
        tries = []
        for depth_um in (-slide, slide):
            tried: Fitted = yield Fit(slid(part, depth_um), search.steps[1], CLEAN, around=part.around)
            tries.append(tried)
        return min(tries, key=lambda tried: cost(tried, price))

    def searched_again(part: Part) -> Generator[Wish, Any, Fitted]:
        nonlocal rounds
        near_um = None if part.around is None else part.emitters.xyz_um[part.chosen]
        beside = Beside(around=part.around, places_um=near_um, reach_um=reach_um)
        tried, _, n = yield from add_and_clean(part.emitters.keep(~part.chosen), search, species, beside)
        rounds += n
        return tried

    whole = species > 1
    seen: set[Place] = set()
    in_vain: set[frozenset[Place]] = set()
    for number in range(search.shakes):
        before, wanted = kept, mattering(kept, inner_um)
        moved = np.array([place not in seen for place in places(kept.emitters)], bool) & surprising(kept) & wanted
        seen.update(place for place, here in zip(places(kept.emitters), moved, strict=True) if here)
        kept = yield from part_by_part(kept, moved, slid_both_ways, price, search.steps[1], whole=whole)
        if species > 1:
            kept = yield from _merged(kept, price, search)
        out = doubtful(kept, level, n_partners=number + 1, wanted=mattering(kept, inner_um))
        kept = yield from part_by_part(
            kept, out, searched_again, price, search.steps[1], anew=True, whole=whole, in_vain=in_vain
        )
        if kept is before and number:  # with one partner, and with two
            break
    asked: set[Place] = set()
    for number in range(_AGAIN if species > 1 else 0):
        out = worst(kept, mattering(kept, inner_um), asked, alone=bool(number % 2))
        if not out.any():
            break
        tried, _, n = yield from add_and_clean(kept.emitters.keep(~out), search, species)
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


def _merged(fitted: Fitted, price: float, search: Search) -> Generator[Wish, Any, Fitted]:
    """Put one emitter of any species in the place of two, where all is likelier then: two can look like another."""
    pairs = neighbours(fitted.emitters)
    if not len(pairs):
        return fitted
    read: Readings = yield Reread(fitted, tuple(map(tuple, pairs.tolist())))
    for some in together_or_alone(pairs, read.gain.max(axis=0), -price):
        tried: Fitted = yield Fit(merged(fitted.emitters, pairs, some, read), search.steps[1], CLEAN)
        saved = price * (fitted.emitters.size - tried.emitters.size)
        if tried.misfit + tried.evidence < fitted.misfit + fitted.evidence + saved - BETTER:
            return tried
    return fitted


def _told(fitted: Fitted, search: Search) -> Generator[Wish, Any, tuple[Fitted, NDArray]]:
    """The posterior (S, n) of every emitter's species; with neighbours that share its light fitted anew as well."""
    read: Readings = yield Reread(fitted)
    every = np.arange(fitted.emitters.size)
    lead = read.gain - read.gain[fitted.emitters.channel, every][None]
    for k, number in unsure(fitted, lead):
        tried: Fitted = yield Fit(turned(fitted.emitters, every == k, number, read), search.steps[1], CLEAN)
        gained = fitted.misfit + fitted.evidence - tried.misfit - tried.evidence
        lead[number, k] = gained
        if gained > 0:
            fitted = tried
            lead[:, k] -= gained
    odds = np.exp(np.minimum(lead, 0.0))
    return fitted, odds / odds.sum(axis=0)
