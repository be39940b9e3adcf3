"""Emitters turned into another species, and two of one taken for one of another: which may be wrong, what then."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optics.fits.reread import Readings
from optics.fits.shakes import PARTNER, Place, places, surprising
from optics.fits.wishes import Fitted, Guess

_GAIN = 0.5  # in log-likelihood, for which an emitter is turned
_CLEAR = 20.0  # of log-likelihood: neighbours that follow do not make up for more
_NEAR_UM = 0.6  # apart at most: two that may be one of another species
_MOST = 6  # emitters of a frame that are fitted as another species together with all others


def likelier(fitted: Fitted, read: Readings) -> NDArray[np.bool_]:
    """Which emitters (n,) the frame takes for another species, or for the same elsewhere."""
    best = read.gain.argmax(axis=0)
    own = read.gain[fitted.emitters.channel, np.arange(best.size)]
    return (best != fitted.emitters.channel) & (read.gain.max(axis=0) > np.maximum(own, 0.0) + _GAIN)


def turned(emitters: Guess, which: NDArray[np.bool_], number: ArrayLike, read: Readings) -> Guess:
    """Emitters, those of a mask (n,) as the species `number` (n,) and where they stand best as that."""
    kinds, every = np.broadcast_to(number, which.shape), np.arange(which.size)
    return replace(
        emitters,
        channel=np.where(which, kinds, emitters.channel),
        xyz_um=np.where(which[:, None], read.xyz_um[kinds, every], emitters.xyz_um),
        photons=np.where(which, read.photons[kinds, every], emitters.photons),
    )


def neighbours(emitters: Guess) -> NDArray[np.int64]:
    """Pairs (P, 2) of emitters that stand so close that they may be one of another species."""
    apart = np.linalg.norm(emitters.xyz_um[:, None, :2] - emitters.xyz_um[None, :, :2], axis=2)
    return np.argwhere(np.triu(apart < _NEAR_UM, 1))


def together_or_alone(pairs: NDArray[np.int64], gain: NDArray, least_gain: float) -> list[list[int]]:
    """Which of P pairs to replace by one emitter each: all whose `gain` (P,) is enough, then, if that fails, the best.

    An emitter is of one pair alone.
    """
    chosen: list[int] = []
    used: set[int] = set()
    for k in np.argsort(-gain, kind="stable").tolist():
        if gain[k] > least_gain and not used & set(pairs[k].tolist()):
            chosen.append(k)
            used |= set(pairs[k].tolist())
    return [chosen, chosen[:1]] if len(chosen) > 1 else [chosen] if chosen else []


def merged(emitters: Guess, pairs: NDArray[np.int64], which: list[int], read: Readings) -> Guess:
    """Emitters, each of those pairs replaced by one of the species that its light is likeliest of."""
    kinds = read.gain.argmax(axis=0)[which]
    left = np.ones(emitters.size, bool)
    left[pairs[which].ravel()] = False
    return emitters.keep(left).add(read.xyz_um[kinds, which], read.photons[kinds, which], kinds)


def worst(fitted: Fitted, wanted: NDArray[np.bool_], asked: set[Place], *, alone: bool) -> NDArray[np.bool_]:
    """Which emitters (n,) to take out: the one in whose image most is left, and unless `alone` all that share it so.

    Those are linked by overlapping images in which something is left. Only one of `wanted` (n,) that does not stand
    where one was `asked` before; its place is noted there, when it was taken out alone.
    """
    left = surprising(fitted)
    fresh = np.array([place not in asked for place in places(fitted.emitters)], bool) & left & wanted
    if not fresh.any():
        return fresh
    out = np.arange(left.size) == np.argmax(np.where(fresh, fitted.surprise, -np.inf))
    if alone:
        asked.add(places(fitted.emitters)[int(np.argmax(out))])
        return out
    while (more := out | (((fitted.overlap > PARTNER) & out[None]).any(axis=1) & left)).sum() > out.sum():
        out = more
    return out


def unsure(fitted: Fitted, lead: NDArray) -> list[tuple[int, int]]:
    """Emitters and the species that they may be as well, least sure first, by the leads (S, n) over what they are.

    The leads are those with neighbours held. Where these share an emitter's light they would follow, so that leads far
    below 0 mean less; where they do not, only an emitter that is likelier something else is asked again.
    """
    n = fitted.emitters.size
    shared = fitted.overlap.max(axis=1) > PARTNER if n > 1 else np.zeros(n, bool)
    asked = (lead > np.where(shared, -_CLEAR, 0.0)[None]) & (np.arange(len(lead))[:, None] != fitted.emitters.channel)
    pairs = np.argwhere(asked)
    order = np.argsort(-lead[asked], kind="stable")[:_MOST]
    return [(int(k), int(number)) for number, k in pairs[order]]
