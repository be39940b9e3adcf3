"""A map from beads that both colours show."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from localization.registration.consensus import agreeing
from localization.registration.matched import Matched
from localization.registration.transform import TERMS, Floats, fitted, make_transform
from localization.types import LocalizationError, Localizations

_BEAD_UM = 0.15  # localizations of one bead lie within this
_PARTNER_UM = 0.1  # partners, under a map that is nearly right
_SPARE = 3  # beads beyond those that the map needs
_ROWS_MAX = 500_000


def match_beads(first: Localizations, second: Localizations, kind: str, search_um: float) -> Matched:
    """Pair the beads of two lists, and fit the map to the pairs."""
    a, b = (beads_of(locs, name) for locs, name in ((first, "first"), (second, "second")))
    needed = TERMS[kind] // 2 + _SPARE
    if min(len(a), len(b)) < needed:
        raise LocalizationError(
            f"register: {len(a)} and {len(b)} beads; a map of kind '{kind}' needs {needed} that both lists show"
        )
    tree = KDTree(a)
    near = tree.query_ball_point(b, search_um)
    ends = [np.asarray(others, np.int64) for others in near]
    i = np.repeat(np.arange(len(b)), [others.size for others in ends])
    j = np.concatenate([*ends, np.zeros(0, np.int64)])
    i, j = _fewer(i, j, b, a)
    coarse, agree = agreeing(b[i], a[j], _PARTNER_UM)
    if np.unique(i[agree]).size < needed:
        raise LocalizationError(
            f"register: no map within {search_um:g} um brings {needed} beads or more of the {len(b)} onto one of the "
            f"{len(a)} of the first list ({np.unique(i[agree]).size} at most); raise search_um, or register "
            "by structures"
        )
    transform = make_transform(kind, b)
    placed = coarse.moved(b)
    for _ in range(5):
        distance, partner = (np.asarray(found) for found in tree.query(placed))
        back = np.asarray(KDTree(placed).query(a)[1])
        pair = (distance < _PARTNER_UM) & (back[partner] == np.arange(len(b)))
        # a pair far outside the others' scatter is of two beads; 3 median distances hold 99.7 % of a plane's scatter
        pair &= distance <= max(3 * float(np.median(distance[pair])), 1e-6) if pair.any() else False
        if pair.sum() < needed:
            raise LocalizationError(
                f"register: {int(pair.sum())} pairs of beads within {1e3 * _PARTNER_UM:g} nm; '{kind}' needs {needed}"
            )
        transform = fitted(transform, b[pair], a[partner[pair]])
        placed = transform.moved(b)
    left = a[partner[pair]] - placed[pair]
    numbers = {"beads_first": float(len(a)), "beads_second": float(len(b)), "pairs": float(pair.sum())}
    return Matched(transform, placed[pair], left, np.broadcast_to(np.eye(2), (len(left), 2, 2)), numbers, ())


def beads_of(locs: Localizations, name: str) -> Floats:
    """Find the beads (n, 2) of a list: places with a localization in half of its frames or more."""
    xy = np.stack([locs.x_um, locs.y_um], axis=1)
    if len(xy) > _ROWS_MAX:
        raise LocalizationError(
            f"register: the {name} list of beads has {len(xy)} rows; {_ROWS_MAX} are enough, cut it"
        )
    pairs = KDTree(xy).query_pairs(_BEAD_UM / 2, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(xy),) * 2)
    count, bead = connected_components(graph, directed=False)
    size = np.bincount(bead, minlength=count)
    place = np.stack([np.bincount(bead, axis, count) for axis in xy.T], axis=1) / size[:, None]
    spread = np.sqrt(np.bincount(bead, ((xy - place[bead]) ** 2).sum(axis=1), count) / size)
    frames = np.unique(locs.frame).size
    return place[(size >= frames / 2) & (spread < _BEAD_UM)]


def _fewer(i, j, b: Floats, a: Floats):
    """Keep, of all possible pairs, those near the most frequent shift where there are too many to try."""
    if i.size <= 400:
        return i, j
    shift = a[j] - b[i]
    tree = KDTree(shift)
    crowd = np.array([len(found) for found in tree.query_ball_point(shift, 0.3)])
    near = np.hypot(*(shift - shift[int(crowd.argmax())]).T)
    kept = np.argsort(near)[: max(400, 4 * len(b))]
    return i[kept], j[kept]
