"""One list of overlapping windows: an emitter at a seam is listed once, whichever side its windows put it on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from experiments.reading.pieces.tiles import Tile
from localization import Localizations, concatenate, select

REACH_PX = 1.5  # two windows' rows within this are one emitter; each window lists its core and so much around it


def near_core(x_um: NDArray, y_um: NDArray, row: Tile, column: Tile, pixel_um: float) -> NDArray[np.bool_]:
    """Say which places, counted from a window's corner, lie in its core or within reach of it, and in the frame."""
    inside = np.ones(len(x_um), bool)
    for place_um, (low, high) in zip((x_um, y_um), core_box(row, column, pixel_um), strict=True):
        inside &= (place_um >= low) & (place_um < high)
    return inside


def core_box(row: Tile, column: Tile, pixel_um: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the limits in x and in y of a window's core and what is within reach of it, um from its corner."""

    def limits(tile: Tile) -> tuple[float, float]:
        core, end = tile.core_in_window, tile.window.stop - tile.window.start
        # a core that ends with its window ends with the frame: nothing is listed beyond
        low = core.start - REACH_PX * (core.start > 0)
        high = core.stop + REACH_PX * (core.stop < end)
        return low * pixel_um, high * pixel_um

    return limits(column), limits(row)


def join_windows(
    lists: Sequence[Localizations], windows: Sequence[tuple[Tile, Tile]], pixel_um: float
) -> Localizations:
    """Make one list, in order of frame, row and column, of those of `windows` (row, column), which `near_core` chose.

    Rows of different windows that lie within reach of each other are one emitter, the nearest first, one of each
    window; of them that window's stays in whose core their mean lies. A row that no other window has stays if it is in
    its window's own core: the window beyond, which sees as much of it, did not find it there.

    >>> from localization import make_localizations
    >>> sides = [(Tile(slice(0, 9), slice(0, 9)), tile) for tile in (Tile(slice(0, 9), slice(0, 6)),
    ...          Tile(slice(3, 12), slice(6, 12)))]
    >>> both = [make_localizations([0], [x_um], [0.5], [0.0], photons=100) for x_um in (0.62, 0.59)]
    >>> join_windows(both, sides, 0.1).x_um
    array([0.59])
    """
    together = concatenate(list(lists))
    if len(windows) == 1:
        return _ordered(together)
    window = np.repeat(np.arange(len(lists)), [one.frame.size for one in lists])
    core = _core_of(together.x_um, together.y_um, windows, pixel_um)
    kept = core == window
    places = np.column_stack([together.x_um, together.y_um, together.frame * 100 * REACH_PX * pixel_um])
    pairs = KDTree(places).query_pairs(REACH_PX * pixel_um, output_type="ndarray") if len(places) > 1 else []
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    pairs = pairs[window[pairs[:, 0]] != window[pairs[:, 1]]]
    apart = np.sum((places[pairs[:, 0]] - places[pairs[:, 1]]) ** 2, axis=1)
    apart = apart + (together.z_um[pairs[:, 0]] - together.z_um[pairs[:, 1]]) ** 2
    group = {k: [k] for k in np.unique(pairs)}
    for a, b in pairs[np.lexsort((pairs[:, 1], pairs[:, 0], apart))]:
        one, other = group[a], group[b]
        if one is other or np.isin(window[one], window[other]).any():
            continue
        one.extend(other)
        for k in other:
            group[k] = one
    for members in {id(rows): rows for rows in group.values() if len(rows) > 1}.values():
        rows = np.array(sorted(members))
        owner = _core_of(
            together.x_um[rows].mean(keepdims=True), together.y_um[rows].mean(keepdims=True), windows, pixel_um
        )
        kept[rows] = False
        kept[rows[np.argmax(window[rows] == owner[0])]] = True
    return _ordered(select(together, kept))


def _core_of(x_um: NDArray, y_um: NDArray, windows: Sequence[tuple[Tile, Tile]], pixel_um: float) -> NDArray[np.int64]:
    """The number of the window in whose core each place of the frame lies; -1 beyond the frame."""
    owner = np.full(len(x_um), -1)
    place = np.floor(x_um / pixel_um), np.floor(y_um / pixel_um)
    for number, (row, column) in enumerate(windows):
        inside = (place[0] >= column.core.start) & (place[0] < column.core.stop)
        owner[inside & (place[1] >= row.core.start) & (place[1] < row.core.stop)] = number
    return owner


def _ordered(locs: Localizations) -> Localizations:
    return select(locs, np.lexsort((locs.x_um, locs.y_um, locs.frame)))
