"""Adaptive intersection maximisation: a segment is moved until it meets the most of the others' localizations."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localization.drift.segments import Estimate, Floats, Ints, Method, Segments, cells, halves, summit
from localization.types import LocalizationError

SIGNIFICANT = 5.0  # standard deviations: of the 81 values of a window noise alone reaches 2.5, and 4 by climbing
REACH = 4  # the window is +- this many bins around the last estimate
_CELL_UM = 0.06  # least side of the lateral cells whose depths are compared
_SETTLED = 3  # passes against all other segments
_GROUPS = (20, 10, 5)  # of segments, in the first pass
_ENOUGH = 0.6  # share of segments with a clear summit that a drift can be drawn from
_BINS_MAX = 150_000_000


@dataclass(frozen=True, eq=False)
class _Grid:
    """The bins in which localizations meet: `bins(rows, drift_um)` gives each row's; `steps` lead to those around."""

    bins: Callable[[Ints, Floats], Ints]
    n_bins: int
    steps: Ints
    pixel_um: float
    search_um: float
    names: str


def _lateral(xy_um: Floats, segments: Segments, pixel_um: float, search_um: float) -> Estimate:
    """Estimate drift in x and y (Ma et al. 2024, doi 10.1126/sciadv.adm7765), on bins of `pixel_um`."""
    low = xy_um.min(axis=0) - search_um - (REACH + 2) * pixel_um
    size = np.ceil((xy_um.max(axis=0) - low + search_um) / pixel_um).astype(np.int64) + REACH + 3
    if int(size[0]) * int(size[1]) > _BINS_MAX:
        raise LocalizationError(
            f"drift: {size[0]} x {size[1]} bins of {pixel_um * 1e3:.0f} nm are too many; raise pixel_um, or cut the "
            "field (colocus filter, x_um=[from,to] y_um=[from,to])"
        )

    def bins(rows: Ints, drift_um: Floats) -> Ints:
        at = np.floor((xy_um[rows] - drift_um - low) / pixel_um).astype(np.int64)
        return at[:, 0] * size[1] + at[:, 1]

    offsets = np.arange(-REACH, REACH + 1)
    steps = np.add.outer(offsets * size[1], offsets)
    grid = _Grid(bins, int(size[0] * size[1]), steps, pixel_um, search_um, "x and y")
    return _align(grid, halves(xy_um), segments)


def _axial(xyz_um: Floats, segments: Segments, pixel_um: float, search_um: float) -> Estimate:
    """Estimate drift in z: as laterally, on bins of depth inside lateral cells."""
    xy_um, z_um = xyz_um[:, :2], xyz_um[:, 2]
    most = int(np.ceil((np.ptp(z_um) + 2 * search_um) / pixel_um)) + 4 * REACH
    cell = cells(xy_um, _cell_side_um(xy_um, most))
    low = z_um.min() - search_um - (REACH + 2) * pixel_um
    depths = int(np.ceil((z_um.max() + search_um - low) / pixel_um)) + REACH + 3
    count = int(cell.max()) + 1
    if count * depths > _BINS_MAX:
        raise LocalizationError(
            f"drift: {count} cells of {depths} depths are too many; raise pixel_z_um or cut the region"
        )

    def bins(rows: Ints, drift_um: Floats) -> Ints:
        return cell[rows] * depths + np.floor((z_um[rows] - drift_um[0] - low) / pixel_um).astype(np.int64)

    grid = _Grid(bins, count * depths, np.arange(-REACH, REACH + 1), pixel_um, search_um, "z")
    return _align(grid, halves(xy_um), segments)


def _cell_side_um(xy_um: Floats, depths: int) -> float:
    """Choose the side of the lateral cells: the usual one, or more where bins would not fit in memory."""
    area = float(np.prod(np.ptp(xy_um, axis=0) + _CELL_UM))
    side = _CELL_UM
    while min(area / side**2, len(xy_um)) * depths > _BINS_MAX:
        side *= 1.5
    return side


def _align(grid: _Grid, half: Ints, segments: Segments) -> Estimate:
    count, axes, names = segments.count, grid.steps.ndim, grid.names
    drift = _forward(grid, segments)
    significance = np.full(count, np.inf)
    parts = np.zeros((2, count, axes))
    for number in range(_SETTLED):
        reference = _counts(grid, segments, drift, significance)
        before, drift = drift, drift.copy()
        for k in range(count):
            rows = segments.rows(k)
            codes, own = np.unique(grid.bins(rows, before[k]), return_counts=True)
            inside = significance[k] >= SIGNIFICANT
            if inside:
                reference[codes] -= own.astype(np.int32)  # a segment is not to meet itself
            drift[k], found = _climb(grid, reference, rows, before[k])
            if number == _SETTLED - 1:
                for h in range(2):
                    part = rows[half[rows] == h]
                    parts[h, k] = _climb(grid, reference, part, before[k])[0]
            if inside:
                reference[codes] += own.astype(np.int32)
            significance[k] = found
        _require_summits(significance, names)
        drift = _filled(drift, significance, segments.centre_frame)
    clear = significance >= SIGNIFICANT
    difference = (parts[0] - parts[1])[clear]
    noise = 1.4826 * np.median(np.abs(difference - np.median(difference, axis=0)), axis=0) / 2
    key, filled = names.replace(" and ", ""), int((~clear).sum())
    diagnostics = {
        f"segments_filled_{key}": float(filled),
        f"median_significance_{key}": float(np.median(significance)),
    }
    note = (
        f"{names}: {filled} of {count} segments have no clear summit of intersections; "
        "their drift is drawn from their neighbours"
    )
    return Estimate(drift, noise, diagnostics, (note,) if filled else ())


def _forward(grid: _Grid, segments: Segments) -> Floats:
    """Estimate a first drift (S, axes): groups of segments, each against all before it, from where the last one was.

    Few long groups stand out more clearly, many short ones drift less within and between: the most that work.
    """
    for most in _GROUPS:
        edges = np.unique(np.round(np.linspace(0, segments.count, min(most, segments.count) + 1)).astype(np.int64))
        groups = [
            segments.order[segments.start[a] : segments.stop[b - 1]] for a, b in zip(edges[:-1], edges[1:], strict=True)
        ]
        centre = np.array([segments.centre_frame[a:b].mean() for a, b in zip(edges[:-1], edges[1:], strict=True)])
        drift, significance = np.zeros((len(groups), grid.steps.ndim)), np.full(len(groups), np.inf)
        reference = np.zeros(grid.n_bins, np.int32)
        last = drift[0]
        for k, rows in enumerate(groups):
            if k > 0:
                drift[k], significance[k] = _climb(grid, reference, rows, last)
            if significance[k] >= SIGNIFICANT:
                last = drift[k]
                _add(reference, grid.bins(rows, last))
        if (significance >= SIGNIFICANT).mean() > _ENOUGH:
            drift = _filled(drift, significance, centre)
            return np.stack([np.interp(segments.centre_frame, centre, axis) for axis in drift.T], axis=1)
        if most == min(_GROUPS) or segments.count <= min(_GROUPS):
            _require_summits(significance[1:], grid.names)
    raise AssertionError("the last choice of groups either returns or raises")


def _add(counts: NDArray[np.int32], codes: Ints) -> None:
    place, number = np.unique(codes, return_counts=True)
    counts[place] += number.astype(np.int32)


def _filled(drift: Floats, significance: Floats, centre: Floats) -> Floats:
    """Interpolate the drift of segments that have no clear summit from their neighbours."""
    clear = significance >= SIGNIFICANT
    return np.stack([np.interp(centre, centre[clear], axis[clear]) for axis in drift.T], axis=1)


def _counts(grid: _Grid, segments: Segments, drift: Floats, significance: Floats) -> NDArray[np.int32]:
    counts = np.zeros(grid.n_bins, np.int32)
    for k in np.flatnonzero(significance >= SIGNIFICANT):
        _add(counts, grid.bins(segments.rows(int(k)), drift[k]))
    return counts


def _climb(grid: _Grid, reference: NDArray[np.int32], rows: Ints, start: Floats) -> tuple[Floats, float]:
    """Climb to the drift (axes,) of the most intersections near `start`; returns it and the summit's significance."""
    drift = start
    significance = 0.0
    for _ in range(25):
        if np.abs(drift).max() > grid.search_um:
            raise LocalizationError(
                f"drift in {grid.names} is larger than the search of {grid.search_um:g} um; raise search_um"
            )
        codes, number = np.unique(grid.bins(rows, drift), return_counts=True)
        met = np.array([np.minimum(reference[codes + step], number).sum() for step in grid.steps.ravel()], np.float64)
        met = met.reshape(grid.steps.shape)
        peak = tuple(int(i) for i in np.unravel_index(int(met.argmax()), met.shape))
        border = np.concatenate([np.take(met, [0, -1], axis).ravel() for axis in range(met.ndim)])
        # Poisson, of meetings that come in clumps where a molecule was localized several times in the segment
        clump = (number**2).sum() / max(1, number.sum())
        scatter = np.sqrt(max(border.mean(), 1.0) * clump)
        significance = (met[peak] - border.mean()) / scatter
        at_border = min(peak) == 0 or max(peak) == 2 * REACH
        place = np.array(peak, np.float64) if at_border else summit(met, peak, 1.5)
        move = (place - REACH) * grid.pixel_um
        drift = drift - move  # what lies further on is met by taking less drift away
        if np.abs(move).max() < 0.5 * grid.pixel_um or significance < SIGNIFICANT and not at_border:
            break
    return drift, significance


def _require_summits(significance: Floats, names: str) -> None:
    clear = int((significance >= SIGNIFICANT).sum())
    if clear <= _ENOUGH * significance.size:
        raise LocalizationError(
            f"drift in {names}: only {clear} of {significance.size} segments meet the others more often at one shift "
            f"than around it (median {np.median(significance):.1f} standard deviations, {SIGNIFICANT:g} needed); "
            "give a larger segment_frames, or try method 'rcc', which follows jumps; points without common structure "
            "cannot be aligned"
        )


METHOD = Method(_lateral, _axial, pixel_um=0.02, rows_each=500, most=100, local=True)
