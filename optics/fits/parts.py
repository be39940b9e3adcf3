"""An explanation looked at part by part: what is tried with a group of emitters is judged with all others in place."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from optics.fits.rounds import BETTER, CLEAN
from optics.fits.shakes import PARTNER, Place, places
from optics.fits.wishes import Around, Fit, Fitted, Guess, Wish

_MOST = 0.6  # of a frame's emitters: what is more is no part, and everything is fitted
_MANY = 30  # emitters from which on a frame is looked at in parts: a fit of fewer costs little more than that of a part


@dataclass(frozen=True)
class Part:
    """Some emitters of an explanation, which of them (n,) are `chosen` for a try, and the light (H, W) of all others.

    The others that are not chosen follow. `around` is None where there are no further emitters. `covariance` (n, 4, 4)
    is that of x, y, z (um) and photons.
    """

    emitters: Guess
    chosen: NDArray[np.bool_]
    covariance: NDArray
    around: jax.Array | None


Attempt = Callable[[Part], Generator[Wish, Any, Fitted]]


def cost(fitted: Fitted, price: float) -> float:
    """What an explanation costs: its misfit, what its background costs beside it, and `price` for each emitter."""
    return fitted.misfit + fitted.evidence + price * fitted.emitters.size


def groups(overlap: NDArray, chosen: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Divide the chosen (n,) of emitters into groups (n,) that do not overlap; `overlap` (n, n) is that of images."""
    which = np.flatnonzero(chosen)
    _, label = connected_components(overlap[np.ix_(which, which)] > PARTNER, directed=False)
    return [np.isin(np.arange(chosen.size), which[label == k]) for k in range(label.max(initial=-1) + 1)]


def part_by_part(
    kept: Fitted,
    chosen: NDArray[np.bool_],
    attempt: Attempt,
    price: float,
    max_steps: int,
    *,
    anew: bool = False,
    whole: bool = False,
    in_vain: set[frozenset[Place]] | None = None,
) -> Generator[Wish, Any, Fitted]:
    """Try `attempt` with each group of the chosen (n,), keep what costs less, and fit all together then.

    Those whose images overlap with one of a group follow, all others stay; with `whole` all are one part. An attempt
    answers with the part's emitters moved, or with others in their place (`anew`), which then stay. Groups
    that stand where one of `in_vain` did are not tried again. Returns `kept` itself where nothing was better.
    """
    now, number, together = kept, np.arange(chosen.size), True
    whole |= chosen.size < _MANY
    for group in groups(kept.overlap, chosen) if not whole else [chosen][: int(chosen.any())]:
        near = group | ((kept.overlap > PARTNER) & group[None]).any(axis=1)
        free = np.isin(number, np.flatnonzero(near))
        if whole or free.sum() > _MOST * number.size:
            free[:] = True
        own = np.isin(number[free], np.flatnonzero(group))
        where = frozenset(places(kept.emitters.keep(group)))
        if not own.any() or (in_vain is not None and where in in_vain):  # they went with another group, or stand still
            continue
        emitters = now.emitters.keep(free)
        around: jax.Array | None = None
        if not free.all():
            around = yield Around(now.mean, emitters)
        covariance = kept.covariance[np.maximum(number[free], 0)]
        tried = yield from attempt(Part(emitters, own, covariance, around))
        if cost(tried, price) > now.misfit + now.evidence + price * emitters.size - BETTER:
            if in_vain is not None:
                in_vain.add(where)
            continue
        number = np.concatenate([number[~free], np.full(tried.emitters.size, -1) if anew else number[free]])
        together = around is None
        now = tried if together else replace(tried, emitters=now.emitters.keep(~free).join(tried.emitters))
    if together:  # nothing was better, or all were fitted in the last try
        return now
    settled: Fitted = yield Fit(now.emitters, max_steps, CLEAN)
    return settled if cost(settled, price) < cost(kept, price) - BETTER else kept


def slid(part: Part, depth_um: float) -> Guess:
    """The emitters of a part, its chosen ones moved by `depth_um` along z, and along what goes with it.

    That is the direction in which least is known of their positions.
    """
    xyz = part.emitters.xyz_um.copy()
    for k in np.flatnonzero(part.chosen):
        along = np.linalg.eigh(part.covariance[k, :3, :3])[1][:, -1]
        along = along / along[2] if abs(along[2]) > 0.5 else np.array([0.0, 0.0, 1.0])
        xyz[k] += depth_um * along
    return replace(part.emitters, xyz_um=xyz)
