"""Second looks at an explanation: which emitters may be wrong, and where else they may be.

A search that only adds ends on a local summit now and then: an emitter explained by two at other depths, or one that
stands beside its summit on a slanted ridge, its image cut off by the frame.
"""

import numpy as np
from numpy.typing import NDArray

from optics.fits.crowd import CrowdModel
from optics.fits.wishes import Fitted, Guess

_DIM, _WEAK = 0.5, 3.0  # of the median photons, and of the level of significance: below both an emitter is doubtful
PARTNER = 0.15  # overlap of two images: the one may be the other half, and what is done to the one changes the other
_ALIKE = 0.7  # overlap that is suspicious by itself
_SURPRISE = 4.0  # standard deviations of what is left in an emitter's image above noise: it is not explained
_SLIDE = 0.075  # of the range of depths: how far one is moved along what is known least of it


Place = tuple[float, ...]
Box = tuple[tuple[float, float], tuple[float, float]]  # of x and of y, um


def slide_um(model: CrowdModel) -> float:
    """How far in depth another summit of an emitter is looked for."""
    low, high = np.asarray(model.table.z_range_um, float)
    return _SLIDE * float(high - low)


def places(emitters: Guess) -> list[Place]:
    """Where emitters stand, to a tenth of a um."""
    return [tuple(place) for place in np.round(emitters.xyz_um, 1).tolist()]


def surprising(fitted: Fitted) -> NDArray[np.bool_]:
    """Which emitters (n,) leave more in their image than noise is."""
    return fitted.surprise > _SURPRISE


def mattering(fitted: Fitted, inner_um: Box | None) -> NDArray[np.bool_]:
    """Which emitters (n,) stand in a box, or overlap one that does; all without a box."""
    xyz = fitted.emitters.xyz_um
    if inner_um is None:
        return np.ones(len(xyz), bool)
    inside = np.ones(len(xyz), bool)
    for place, (low, high) in zip(xyz.T, inner_um, strict=False):
        inside &= (place >= low) & (place < high)
    return inside | ((fitted.overlap > PARTNER) & inside[None]).any(axis=1)


def doubtful(
    fitted: Fitted, level: float, n_partners: int, wanted: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Which emitters (n,) may be a wrong explanation of others: the weak ones, and whose images overlap theirs most.

    Where something is left in an emitter's image also those that are dim, or hard to tell from it. Only those of
    `wanted` (n,) are doubted (None: all); their partners are any.
    """
    photons, overlap = fitted.emitters.photons, fitted.overlap
    if len(photons) < 2:
        return np.zeros(len(photons), bool)
    dim, left = photons < _DIM * np.median(photons), surprising(fitted)
    chosen = dim & (left | (fitted.significance < _WEAK * level))
    chosen |= left & (overlap > _ALIKE).any(axis=1)
    chosen &= True if wanted is None else wanted
    near = np.sort(overlap, axis=1)[:, -min(n_partners, len(photons) - 1)]
    partners = (overlap >= np.maximum(near, PARTNER)[:, None]) & chosen[:, None]
    return chosen | partners.any(axis=0)
