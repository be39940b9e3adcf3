"""From a list decoder's maps to its list: two ways to say which pixels speak of one emitter."""

import math
from typing import Any, Literal

import jax
import numpy as np
from numpy.typing import NDArray

import localization
from localization import Localizations, make_localizations
from nets import ListMaps

ReadOutName = Literal["peaks", "claims"]
WINDOW_PX = 2  # pixels further than this from a pick do not join it
SAME_SIGMAS = 3.0  # two pixels speak of one emitter where their claims differ by less than this many sigmas,
SAME_UM = (0.2, 0.2, 0.4)  # or by less than this in x, y, z
RAW = 0.01  # pixels of less probability are left out
_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def maps_to_localizations(
    maps: ListMaps,
    pixel_um: float,
    *,
    first_frame: int = 0,
    threshold: float = 0.5,
    raw_threshold: float = 0.1,
    share_borders: bool = True,
    read_out: ReadOutName = "claims",
    focal: bool = False,
) -> Localizations:
    """Read the list out of a list decoder's maps (B, H, W); frame numbers count from `first_frame`.

    Where the maps tell species apart, `channel` is the likeliest of each emitter and `p_channel` its probability: the
    mean of what the pixels say that speak of it, weighted as their claims are.

    "claims" gathers the pixels around a pick that claim the same place (`gather_claims`): their probabilities are one
    emitter's, cut at 1. `focal`: the maps are of a network trained with the focal weight, see `without_focus`.

    "peaks" adds the four neighbours' probability to a local maximum's, wherever they claim it. With `share_borders`
    its position is the mean of the mixture of both, and sigma that mixture's: see `mixture_means`. Without, it is what
    the larger one says alone: errors of single emitters are 2 to 8 % larger then (benchmarks/single_emitters.py).
    """
    # frame by frame: one program of one shape, so that a probability has the same bits however many frames there are
    sigmoids = [np.asarray(jax.nn.sigmoid(frame), np.float64) for frame in maps.logit]
    probability = np.reshape(sigmoids, maps.logit.shape)
    if focal:
        probability = without_focus(probability)
    if read_out == "claims":
        at, score, mean, sigma, told = gather_claims(maps, probability, pixel_um, threshold=threshold)
    else:
        *at, score = localization.list_peaks(probability, raw_threshold=raw_threshold, threshold=threshold)
        at = tuple(at)
        if share_borders:
            mean, sigma, told = mixture_means(maps, probability, at, pixel_um)
        else:
            mean, sigma, told = _means(maps, at, pixel_um), np.asarray(maps.sigma)[at], _species(maps, at)
    several = told.shape[1] > 0
    return make_localizations(
        first_frame + at[0],
        mean[:, 0],
        mean[:, 1],
        mean[:, 2],
        photons=mean[:, 3],
        background=np.asarray(maps.background)[at],
        sigma_x_um=sigma[:, 0],
        sigma_y_um=sigma[:, 1],
        sigma_z_um=sigma[:, 2],
        score=score,
        channel=np.argmax(told, axis=1) if several else 0,
        extras={"p_channel": np.minimum(told.max(axis=1), 1.0)} if several else None,
    )


def without_focus(p: NDArray) -> NDArray:
    """Return the probability that a network trained with the focal weight means by its output p.

    Where an emitter lies in a pixel with probability q, the loss -q (1 - p) log p - (1 - q) p log(1 - p) is least at a
    p nearer to 1/2 than q. Setting its slope to zero gives q = B / (A + B) with A = (1 - p) / p - log p and
    B = p / (1 - p) - log(1 - p).

    >>> without_focus(np.array([0.5, 0.2, 0.9])).round(3)
    array([0.5  , 0.078, 0.981])
    """
    p = np.clip(p, 1e-12, 1 - 1e-12)
    a, b = (1 - p) / p - np.log(p), p / (1 - p) - np.log1p(-p)
    return b / (a + b)


def gather_claims(
    maps: ListMaps, probability: NDArray, pixel_um: float, *, threshold: float
) -> tuple[tuple[NDArray, ...], NDArray, NDArray, NDArray, NDArray]:
    """Gather pixels that claim one place into emitters: picks (b, i, j), probabilities (P,), means and sigmas (P, 4).

    Beside them the probabilities of S species (P, S), the mean of what the gathered pixels say; S = 0 of one colour.

    A network that is not sure of a pixel spreads an emitter's probability over several, and each of them says where it
    lies. Pixels in the window around another whose claims of (x, y, z) are the same, within `SAME_SIGMAS` or
    `SAME_UM`, back it. The pixel with most behind it is picked: its emitter's probability is the sum of theirs, cut at
    1, its place and photons are the mean of the mixture of their normal laws, sigma is that mixture's. Then the next,
    of pixels that are not yet part of one. Emitters of at least `threshold` stay, in raster order of their pick.

    Picks of a round are made together: those that no pixel within two windows beats. They share no pixel, and the list
    is that of picking one by one.
    """
    reach = 2 * WINDOW_PX
    left = np.pad(probability, ((0, 0), (reach, reach), (reach, reach)))
    shape, flat = left.shape, left.ravel()
    behind = np.zeros_like(flat)
    rivals = _offsets(reach, shape[2])
    window = np.array([0, *_offsets(WINDOW_PX, shape[2])])
    at = np.flatnonzero(flat > RAW)
    speaks = np.zeros(flat.size, bool)
    speaks[at] = True
    claim, sigma = np.zeros((flat.size, 4)), np.ones((flat.size, 4))
    species = np.zeros((flat.size, 0 if maps.channel is None else maps.channel.shape[-1]))
    b, i, j = np.unravel_index(at, shape)
    inner = (b, i - reach, j - reach)
    claim[at], sigma[at] = _means(maps, inner, pixel_um), np.asarray(maps.sigma, np.float64)[inner]
    species[at] = _species(maps, inner)
    backs = np.stack([speaks[at + step] & _same(claim, sigma, at, at + step) for step in window], axis=1)
    found: list[tuple[NDArray, ...]] = []
    while at.size:
        behind[at] = (backs * flat[at[:, None] + window]).sum(axis=1)
        best = np.arange(at.size)
        for step in rivals:  # of equal pixels the first in raster order is picked
            theirs, own = behind[at[best] + step], behind[at[best]]
            best = best[(theirs < own) | ((theirs == own) & (step > 0))]
        members = at[best][:, None] + window
        share = backs[best] * flat[members]
        total = share.sum(axis=1)
        weight = (share / total[:, None])[..., None]
        mean = (weight * claim[members]).sum(axis=1)
        variance = (weight * (sigma[members] ** 2 + (claim[members] - mean[:, None]) ** 2)).sum(axis=1)
        told = (weight * species[members]).sum(axis=1)
        kept = total >= threshold
        found.append(tuple(part[kept] for part in (at[best], np.minimum(total, 1.0), mean, np.sqrt(variance), told)))
        flat[members[backs[best]]] = 0.0
        behind[at] = 0.0
        alive = flat[at] > 0
        at, backs = at[alive], backs[alive]
    if not found:
        nothing = np.zeros(0, int)
        return (nothing, nothing, nothing), np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4)), species[:0]
    pick, score, mean, deviation, told = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(pick)
    b, i, j = np.unravel_index(pick[order], shape)
    return (b, i - reach, j - reach), score[order], mean[order], deviation[order], told[order]


def _same(claim: NDArray, sigma: NDArray, one: NDArray, other: NDArray) -> Any:
    """Whether pixels `one` and `other` (flat indices) claim the same place, up to what they are sure of."""
    apart = np.abs(claim[one] - claim[other])[:, :3]
    sure = np.maximum(sigma[one], sigma[other])[:, :3]
    return np.all(apart <= np.maximum(SAME_SIGMAS * sure, SAME_UM), axis=1)


def _offsets(radius: int, width: int) -> list[int]:
    """Steps in a flat image to all neighbours within `radius`, nearest first."""
    side = range(-radius, radius + 1)
    around = sorted(((di, dj) for di in side for dj in side if di or dj), key=lambda o: math.hypot(*o))
    return [di * width + dj for di, dj in around]


def _means(maps: ListMaps, at: tuple[NDArray, ...], pixel_um: float) -> NDArray:
    """(x, y, z, photons) that the pixels `at` (b, i, j) claim, in frame coordinates: (..., 4)."""
    _, i, j = at
    offset = np.asarray(maps.offset_um)[at]
    x, y = (j + 0.5) * pixel_um + offset[..., 0], (i + 0.5) * pixel_um + offset[..., 1]
    return np.stack([x, y, np.asarray(maps.z_um)[at], np.asarray(maps.photons)[at]], axis=-1)


def _species(maps: ListMaps, at: tuple[NDArray, ...]) -> NDArray:
    """Probabilities of S species that the pixels `at` say: (..., S); S = 0 of maps that tell none apart."""
    if maps.channel is None:
        return np.zeros((*at[0].shape, 0))
    return np.exp(np.asarray(maps.channel, np.float64)[at])


def mixture_means(
    maps: ListMaps, probability: NDArray, picks: tuple[NDArray, ...], pixel_um: float, gate: float = 3.0
) -> tuple[NDArray, NDArray, NDArray]:
    """Return mean and standard deviation (P, 4) of (x, y, z, photons) at each pick, with what its neighbours add.

    Third the probabilities of S species (P, S), mixed alike.

    The loss lets the pixels beside an emitter share it: their normal laws, weighted by probability, are one law,
    whose mean is the best estimate. A neighbour of the 4 takes part unless it is a pick of its own, claims a
    position further than `gate` sigmas from the pick's: it speaks of another emitter, then.
    """
    b, i, j = picks
    own, sigma = _means(maps, picks, pixel_um), np.asarray(maps.sigma, np.float64)[picks]
    weight = probability[picks]
    taken = np.zeros(probability.shape, bool)
    taken[picks] = True
    total, first, second = weight.copy(), weight[:, None] * own, weight[:, None] * sigma**2
    spread, told = np.zeros_like(own), weight[:, None] * _species(maps, picks)
    height, width = probability.shape[1:]
    for di, dj in _NEIGHBOURS:
        row, column = np.clip(i + di, 0, height - 1), np.clip(j + dj, 0, width - 1)
        at = (b, row, column)
        theirs, their_sigma = _means(maps, at, pixel_um), np.asarray(maps.sigma, np.float64)[at]
        far = np.abs(theirs - own) > gate * np.maximum(sigma, their_sigma)
        share = np.where(taken[at] | far[:, :3].any(axis=1), 0.0, probability[at])
        total += share
        first += share[:, None] * theirs
        second += share[:, None] * their_sigma**2
        spread += share[:, None] * (theirs - own) ** 2
        told += share[:, None] * _species(maps, at)
    mean = first / total[:, None]
    variance = (second + spread) / total[:, None] - (mean - own) ** 2
    return mean, np.sqrt(np.maximum(variance, 0.0)), told / total[:, None]
