"""The one smooth map that many shifts agree on, and whether chance would have them agree."""

import numpy as np
from numpy.typing import NDArray

from localization.registration.transform import Floats, Transform, fitted, make_transform

_STRETCH, _TURN = 0.06, 0.08  # largest magnification (6 %) and turn (4.6 degrees) of one microscope's two colours
_PAIRS_MAX = 4000


def agreeing(from_um: Floats, to_um: Floats, tolerance_um: float, rng: int = 0) -> tuple[Transform, NDArray[np.bool_]]:
    """Find the similarity that most pairs of places (n, 2) follow within `tolerance_um`, and which do.

    Every two pairs (4,000 at random of more) propose one; those that stretch or turn the field by more than two colours
    of one microscope do are not tried.
    """
    n = len(from_um)
    draw = np.random.default_rng(rng)
    i, j = np.triu_indices(n, 1)
    if i.size > _PAIRS_MAX:
        chosen = draw.choice(i.size, _PAIRS_MAX, replace=False)
        i, j = i[chosen], j[chosen]
    start, end = (xy[:, 0] + 1j * xy[:, 1] for xy in (from_um, to_um))
    apart = start[j] - start[i]
    scale = np.divide(end[j] - end[i], apart, out=np.zeros_like(apart), where=np.abs(apart) > 10 * tolerance_um)
    usable = (np.abs(np.abs(scale) - 1) < _STRETCH) & (np.abs(np.angle(scale)) < _TURN)
    best = np.zeros(n, bool)
    for at in range(0, int(usable.sum()), 256):
        one, ratio = i[usable][at : at + 256, None], scale[usable][at : at + 256, None]
        left = np.abs(end[one] + ratio * (start - start[one]) - end)
        count = (left < tolerance_um).sum(axis=1)
        if count.max(initial=0) > best.sum():
            best = left[int(count.argmax())] < tolerance_um
    empty = make_transform("similarity", from_um)
    if best.sum() < 2:
        return empty, best
    return fitted(empty, from_um[best], to_um[best]), best
