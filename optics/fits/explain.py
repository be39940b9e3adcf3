"""Explain crowded frames: add candidates, fit everything, take out the insignificant, until no more come.

One frame's search is a small program (`_explain_one`) that asks for fits and for candidates. The two are compiled once,
fits for each number of slots, so that a search costs what its emitters do. Alternating additions from the residual with
joint local descent is ADCG (Boyd, Schiebinger and Recht 2017, doi 10.1137/15M1035793).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from optics.fits.crowd import Crowd, CrowdFit, CrowdModel, Frame, fit_crowd, no_emitters
from optics.fits.crowd_search import Bank, Candidates, propose

_LEAST_SLOTS = 8  # then doubled
_FIRST_ROUNDS = 0.7  # of the level: while emitters are missing, noise is more than it will be
_SHARE = 0.3  # of the strongest candidate of a round: weaker ones wait, for they may be what it leaves
_DIM, _WEAK = 0.5, 3.0  # of the median photons, and of the level of significance: below both an emitter is doubtful
_SURPRISE = 3.0  # standard deviations of the misfit above what noise leaves: something is not explained
_ALIKE, _PARTNER = 0.7, 0.15  # overlaps of two images: suspicious by itself, and enough to be the other half
_WORTHLESS = 1.0  # gain in log-likelihood of a round that ends the search
_BETTER = 0.5  # and of an explanation that replaces another


@dataclass(frozen=True)
class Search:
    """How long to search: rounds of additions, candidates a round, and times that doubtful emitters are taken out.

    `steps` and `gains` are the derivatives at most, and the gain in log-likelihood that ends a fit, of the fits within
    rounds and of the last one.
    """

    rounds: int = 20
    per_round: int = 8
    shakes: int = 3
    steps: tuple[int, int] = (3, 15)
    gains: tuple[float, float] = (0.5, 0.02)


@dataclass(frozen=True)
class Found:
    """A frame explained: a `crowd` without free slots, (n, 4) standard deviations of x, y, z (um) and photons.

    `significance` (n,) is by how many standard deviations each emitter's photons differ from 0; `mean` (H, W) the
    frame that is expected, in photons; `rounds` of additions that it took.
    """

    crowd: Crowd
    std: NDArray
    significance: NDArray
    mean: NDArray
    rounds: int


@dataclass(frozen=True)
class _Emitters:
    """What a fit starts from, on the host."""

    xyz_um: NDArray
    photons: NDArray
    level: NDArray

    def keep(self, which: NDArray) -> "_Emitters":
        return _Emitters(self.xyz_um[which], self.photons[which], self.level)

    def add(self, xyz_um: NDArray, photons: NDArray) -> "_Emitters":
        return _Emitters(np.concatenate([self.xyz_um, xyz_um]), np.concatenate([self.photons, photons]), self.level)


@dataclass(frozen=True)
class _Fitted:
    """What came back, without free slots; `mean` stays on the device."""

    emitters: _Emitters
    misfit: float
    covariance: NDArray
    overlap: NDArray
    mean: jax.Array

    @property
    def significance(self) -> NDArray:
        return _significance(self.emitters.photons, self.covariance)


@dataclass(frozen=True)
class _Fit:
    """A frame's wish: fit these."""

    emitters: _Emitters
    max_steps: int
    least_gain: float


@dataclass(frozen=True)
class _Look:
    """A frame's wish: candidates in what this mean leaves."""

    mean: jax.Array
    level: float


_Program = Generator[_Fit | _Look, Any, Found]


def search_frames(
    model: CrowdModel,
    bank: Bank,
    frames: Frame,
    starts: Sequence[tuple[NDArray, NDArray] | None] | None = None,
    search: Search | None = None,
) -> list[Found]:
    """Explain frames (F, H, W) one after the other.

    `starts` are lists to begin with, for each frame `xyz_um` (n, 3) in the frame and `photons` (n,), of a decoder for
    instance; None begins with nothing. There is no limit to the number of emitters: slots are added as they are needed.
    """
    search = search or Search()
    found = []
    for k in range(frames.adu.shape[0]):
        frame = jax.tree.map(lambda leaf, k=k: leaf[k], frames)
        program = _explain_one(
            float(bank.level), int(frame.valid.sum()), _begin(model, frame, starts[k] if starts else None), search
        )
        answer: Any = None
        while True:
            try:
                wish = program.send(answer)
            except StopIteration as end:
                found.append(end.value)
                break
            answer = _serve(model, bank, frame, wish)
    return found


def _begin(model: CrowdModel, frame: Frame, start: tuple[NDArray, NDArray] | None) -> _Emitters:
    empty = _empty(model, frame)
    xyz, photons = start if start is not None else (np.zeros((0, 3)), np.zeros(0))
    return _Emitters(np.asarray(xyz, float).reshape(-1, 3), np.asarray(photons, float), np.asarray(empty.level))


_empty = jax.jit(partial(no_emitters, capacity=1))
_propose = jax.jit(propose)
_fit_crowd = jax.jit(fit_crowd)


def _serve(model: CrowdModel, bank: Bank, frame: Frame, wish: _Fit | _Look) -> "_Fitted | Candidates":
    if isinstance(wish, _Look):
        return jax.device_get(_propose(model, bank, frame, wish.mean, wish.level))
    n = len(wish.emitters.photons)
    start = _with_slots(model, wish.emitters, _slots(n))
    return _without_slots(_fit_crowd(model, frame, start, wish.max_steps, wish.least_gain), n)


def _slots(n: int) -> int:
    slots = _LEAST_SLOTS
    while slots < n:
        slots *= 2
    return slots


def _with_slots(model: CrowdModel, emitters: _Emitters, slots: int) -> Crowd:
    n, dtype = len(emitters.photons), emitters.level.dtype
    height, width = model.surface.shape
    middle = np.array([width / 2, height / 2, 0.0]) * float(model.pixel_um)
    middle[2] = np.mean(model.table.z_range_um)
    xyz, photons = np.tile(middle, (slots, 1)), np.ones(slots)
    xyz[:n], photons[:n] = emitters.xyz_um, emitters.photons
    low, high = np.asarray(model.table.z_range_um)
    xyz[:, 2] = np.clip(xyz[:, 2], low, high)
    return Crowd(
        xyz_um=xyz.astype(dtype),  # pyright: ignore[reportArgumentType]
        photons=photons.astype(dtype),  # pyright: ignore[reportArgumentType]
        present=np.arange(slots) < n,  # pyright: ignore[reportArgumentType]
        level=emitters.level,  # pyright: ignore[reportArgumentType]
        damping=np.asarray(0.0, dtype),  # pyright: ignore[reportArgumentType]
        misfit=np.asarray(0.0, dtype),  # pyright: ignore[reportArgumentType]
    )


def _without_slots(fit: CrowdFit, n: int) -> _Fitted:
    crowd, covariance, overlap = jax.device_get((fit.crowd, fit.covariance, fit.overlap))
    emitters = _Emitters(crowd.xyz_um[:n].astype(float), crowd.photons[:n].astype(float), crowd.level)
    return _Fitted(emitters, float(crowd.misfit), covariance[:n].astype(float), overlap[:n, :n], fit.mean)


def _significance(photons: NDArray, covariance: NDArray) -> NDArray:
    """By how many standard deviations each emitter's photons (n,) differ from 0 where it stands.

    Position given, all other emitters and the background unknown: what the likelihood ratio of leaving it out is.
    """
    scale = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 1e-30))
    with np.errstate(invalid="ignore"):  # nothing is known of an emitter whose image is outside the frame
        unit = np.nan_to_num(covariance / (scale[:, :, None] * scale[:, None, :]), nan=0.0)
    inverse = np.linalg.inv(unit + 1e-6 * np.eye(4))
    return photons / (scale[:, 3] / np.sqrt(np.maximum(inverse[:, 3, 3], 1.0)))


def _explain_one(level: float, n_pixels: int, start: _Emitters, search: Search) -> _Program:
    """The search of one frame.

    One that only adds ends on a local summit now and then: an emitter explained by two at other depths. So what looks
    like that is taken out again with its partner, and the frame searched from there; the explanation with the smaller
    misfit, each emitter costing what a false one is worth, is kept.
    """
    price = level**2 / 2

    def cost(fitted: _Fitted) -> float:
        return fitted.misfit + price * len(fitted.emitters.photons)

    kept, rounds = yield from _add_and_clean(level, start, search)
    seen: set[tuple[float, ...]] = set()
    for number in range(search.shakes):
        surprising = kept.misfit > n_pixels / 2 + _SURPRISE * np.sqrt(n_pixels / 2)
        out = _doubtful(kept, level, surprising, n_partners=number + 1)
        # what was taken out once, led nowhere
        these = tuple(np.round(kept.emitters.xyz_um[out].ravel(), 1))
        if not these or these in seen:
            break
        seen.add(these)
        tried, n = yield from _add_and_clean(level, kept.emitters.keep(~out), search)
        rounds += n
        if cost(tried) < cost(kept) - _BETTER:
            kept = tried
    last: _Fitted = yield _Fit(kept.emitters, search.steps[1], search.gains[1])
    n = len(last.emitters.photons)
    crowd = Crowd(
        xyz_um=last.emitters.xyz_um,  # pyright: ignore[reportArgumentType]
        photons=last.emitters.photons,  # pyright: ignore[reportArgumentType]
        present=np.ones(n, bool),  # pyright: ignore[reportArgumentType]
        level=last.emitters.level,  # pyright: ignore[reportArgumentType]
        damping=np.zeros(()),  # pyright: ignore[reportArgumentType]
        misfit=np.asarray(last.misfit),  # pyright: ignore[reportArgumentType]
    )
    std = np.sqrt(np.maximum(np.diagonal(last.covariance, axis1=1, axis2=2), 0))
    return Found(crowd, std, last.significance, np.asarray(last.mean), rounds)


def _add_and_clean(level: float, start: _Emitters, search: Search) -> Generator[_Fit | _Look, Any, tuple[_Fitted, int]]:
    """Add and fit until nothing is added, then take out what is not significant, the weakest first."""
    steps, gain = search.steps[0], search.gains[0]
    fitted: _Fitted = yield _Fit(start, steps, gain)
    rounds = 0
    for rounds in range(1, search.rounds + 1):
        before = fitted.misfit
        candidates: Candidates = yield _Look(fitted.mean, level)
        strength = np.asarray(candidates.strength)
        taken = np.flatnonzero(strength > _SHARE * strength[0])[: search.per_round]
        if not taken.size:
            break
        more = fitted.emitters.add(np.asarray(candidates.xyz_um)[taken], np.asarray(candidates.photons)[taken])
        fitted = yield _Fit(more, steps, gain)
        keep = fitted.significance > _FIRST_ROUNDS * level
        if not keep.all():  # what was taken out leaves its light to the others
            fitted = yield _Fit(fitted.emitters.keep(keep), steps, gain)
        if rounds > 1 and before - fitted.misfit < _WORTHLESS:
            break
    while True:
        fitted = yield _Fit(fitted.emitters, search.steps[1], 0.1)
        # without the weakest its neighbours may be as significant as they should
        weakest = np.argmin(fitted.significance) if fitted.significance.size else 0
        if not fitted.significance.size or fitted.significance[weakest] >= level:
            return fitted, rounds
        fitted = yield _Fit(fitted.emitters.keep(np.arange(len(fitted.significance)) != weakest), steps, gain)


def _doubtful(fitted: _Fitted, level: float, surprising: bool, n_partners: int) -> NDArray:
    """Which emitters (n,) may be a wrong explanation of others: the weak ones, and whose images overlap theirs most.

    Where the misfit is `surprising` also those that are hard to tell from another.
    """
    photons, overlap = fitted.emitters.photons, fitted.overlap
    if len(photons) < 2:
        return np.zeros(len(photons), bool)
    dim = photons < _DIM * np.median(photons)
    chosen = dim & (fitted.significance < _WEAK * level)
    if surprising:
        chosen |= dim | (overlap > _ALIKE).any(axis=1)
    near = np.sort(overlap, axis=1)[:, -min(n_partners, len(photons) - 1)]
    partners = (overlap >= np.maximum(near, _PARTNER)[:, None]) & chosen[:, None]
    return chosen | partners.any(axis=0)
