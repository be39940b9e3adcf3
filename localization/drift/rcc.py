"""Redundant cross-correlation: every pair of segments is shifted onto each other, and the shifts must add up."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from localization.drift.segments import Estimate, Floats, Ints, Method, Segments, cells, halves, summit
from localization.types import LocalizationError

fft: Any = scipy.fft  # whose declared types are those of its dispatcher

SIGNIFICANT = 6.0  # a summit's height over the window's own scatter: noise alone stays below 5 in such a window
_CELL_UM = 0.1  # side of the lateral cells whose depths are compared
_TILE_UM = 12.5  # sides of the tiles that bound memory
# multiplications per small matrix product: on more, BLAS starts threads that on a busy machine wait for each other
_PRODUCT = 50_000
_SPECTRUM_MAX = 50_000_000  # frequencies times pairs of segments, in depth: 0.8 GB
_COUNTS_MAX = 30_000_000  # bins of depth, of some cells at a time


@dataclass(frozen=True, eq=False)
class Pairs:
    """Shifts (P, axes) in um of segment `second` against `first`, and how far each summit stands out.

    `shift_um` of the whole and of two halves of the field of view; `significance` (P,) in standard deviations of
    the correlation elsewhere in the window; `at_edge` (P,) where the summit lies at the end of the search.
    """

    first: Ints
    second: Ints
    shift_um: Floats
    halves_um: Floats
    significance: Floats
    at_edge: NDArray[np.bool_]


def _lateral(xy_um: Floats, segments: Segments, pixel_um: float, search_um: float) -> Estimate:
    pairs = lateral_pairs(xy_um, segments, pixel_um=pixel_um, search_um=search_um)
    return _estimate(pairs, segments, pixel_um, search_um, "xy", "x and y")


def _axial(xyz_um: Floats, segments: Segments, pixel_um: float, search_um: float) -> Estimate:
    xy_um, z_um = xyz_um[:, :2], xyz_um[:, 2]
    cell = cells(xy_um, _CELL_UM)
    pairs = axial_pairs(cell, halves(xy_um), z_um, segments, pixel_um=pixel_um, search_um=search_um)
    return _estimate(pairs, segments, pixel_um, search_um, "z", "z")


def _estimate(pairs: Pairs, segments: Segments, pixel_um: float, search_um: float, key: str, axes: str) -> Estimate:
    solved = solve(pairs, segments.count, pixel_um=pixel_um, search_um=search_um, axes=axes)
    diagnostics = {
        f"pairs_{key}": float(pairs.first.size),
        f"pairs_used_{key}": float(solved.used),
        f"pairs_faint_{key}": float(solved.faint),
        f"pairs_contradicting_{key}": float(solved.contradicting),
        f"closure_{key}_um": solved.closure_um,
        f"median_significance_{key}": float(np.median(pairs.significance)),
    }
    note = (
        f"{axes}: {solved.used} of {pairs.first.size} pairs of segments were used; {solved.faint} had no "
        f"clear peak within {search_um:g} um, {solved.contradicting} contradicted the others"
    )
    enough = solved.used >= 0.8 * pairs.first.size
    return Estimate(solved.drift_um, solved.noise_um, diagnostics, () if enough else (note,))


METHOD = Method(_lateral, _axial, pixel_um=0.025, rows_each=1000, most=30, local=False)


def lateral_pairs(xy_um: Floats, segments: Segments, *, pixel_um: float, search_um: float) -> Pairs:
    """Measure the shifts in x and y of all pairs of segments (Wang et al. 2014, doi 10.1364/OE.22.015982).

    Images of the segments, blurred by one pixel, are correlated tile by tile: a tile of one segment with a larger
    tile of the other, so that no pair within `search_um` is lost. The tiles' checkerboard gives two halves
    of the structure that share no molecule.
    """
    low, span = xy_um.min(axis=0), np.ptp(xy_um, axis=0)
    tiles = [2 * max(1, int(np.ceil(side / 2 / _TILE_UM))) for side in span]
    reach = int(np.ceil(search_um / pixel_um))
    side_px = [int(np.ceil(max(side / n, pixel_um) / pixel_um)) + 1 for side, n in zip(span, tiles, strict=True)]
    size = [fft.next_fast_len(px + 2 * reach + 4, real=True) for px in side_px]
    bandpass = _bandpass(size, reach)
    first, second = np.triu_indices(segments.count, 1)
    window = 2 * reach + 1
    correlation = np.zeros((2, first.size, window, window), np.float32)
    pixel = np.floor((xy_um - low) / pixel_um).astype(np.int64)
    for column, row, near in _tiles(pixel, segments, side_px, tiles[1], reach):
        filled = np.flatnonzero([rows.size > 0 for rows in near])
        if filled.size < 2:
            continue  # nothing to compare: a row alone, as failed fits are
        corner = np.array([column * side_px[0], row * side_px[1]])
        inner, outer = _tile_spectra([pixel[rows] - corner for rows in near], side_px, reach, size)
        half = correlation[(column + row) % 2]
        for i in filled:
            pairs = np.arange(*np.searchsorted(first, [i, i + 1]))
            pairs = pairs[np.isin(second[pairs], filled)]
            for block in (pairs[k : k + 16] for k in range(0, pairs.size, 16)):
                at = slice(block[0], block[-1] + 1) if block[-1] - block[0] < block.size else block  # views are quicker
                spectrum = inner[i].conj() * outer[second[at]] * bandpass
                image = fft.irfft2(spectrum, s=size, workers=2)
                half[at] += image[:, :window, :window]
    return _measure(first, second, correlation, pixel_um, reach)


def _tiles(
    pixel: Ints, segments: Segments, side_px: list[int], across: int, reach: int
) -> Iterator[tuple[int, int, list[Ints]]]:
    """Give each tile that holds rows, with the rows of every segment in it and `reach` around it.

    Empty tiles take no time: a field may be wide, so long as little of it is filled.
    """
    segment = np.full(len(pixel), -1)
    for k in range(segments.count):
        segment[segments.rows(k)] = k
    used = np.flatnonzero(segment >= 0)
    tile = pixel[used] // side_px
    code = tile[:, 0] * across + tile[:, 1]
    order = used[np.argsort(code, kind="stable")]  # by tile: those of a column of tiles lie together
    code = np.sort(code)
    margin = [-(-reach // side) for side in side_px]
    for own in np.unique(code).tolist():
        column, row = divmod(own, across)
        first_row, last_row = max(0, row - margin[1]), min(across - 1, row + margin[1])
        columns = range(column - margin[0], column + margin[0] + 1)
        ends = [np.searchsorted(code, [c * across + first_row, c * across + last_row + 1]) for c in columns]
        around = np.concatenate([order[a:b] for a, b in ends])
        offset = pixel[around] - np.array([column * side_px[0], row * side_px[1]])
        around = around[((offset >= -reach) & (offset < np.array(side_px) + reach)).all(axis=1)]
        around = around[np.argsort(segment[around], kind="stable")]
        yield column, row, np.split(around, np.searchsorted(segment[around], np.arange(1, segments.count)))


def _tile_spectra(near_px: list[Ints], side_px: list[int], reach: int, size: list[int]) -> tuple[NDArray, NDArray]:
    """Transform a tile, and the tile with a margin of `reach`, per segment, from its rows' pixels in the tile."""
    inner = np.zeros((len(near_px), size[0], size[1] // 2 + 1), np.complex64)
    outer = np.zeros_like(inner)
    for k, at in enumerate(near_px):
        inside = at[((at >= 0) & (at < side_px)).all(axis=1)]
        # the margin moves the outer tile by `reach`: index s of the correlation is a shift of s - reach
        for spectra, points in ((inner, inside), (outer, at + reach)):
            if points.size:
                codes = points[:, 0] * size[1] + points[:, 1]
                image = np.bincount(codes, minlength=size[0] * size[1]).astype(np.float32)
                spectra[k] = fft.rfft2(image.reshape(size), workers=2)
    return inner, outer


def _bandpass(size: list[int], reach: int) -> NDArray[np.float32]:
    """Make the filter: both images' blur of one pixel, less what is broader than a third of the search."""
    frequency2 = np.add.outer(np.fft.fftfreq(size[0]) ** 2, np.fft.rfftfreq(size[1]) ** 2) * 4 * np.pi**2
    broad = np.exp(-frequency2 * (reach / 3) ** 2 / 2)
    return (np.exp(-frequency2) * (1 - broad)).astype(np.float32)


def axial_pairs(
    cell: Ints, half: Ints, z_um: Floats, segments: Segments, *, pixel_um: float, search_um: float
) -> Pairs:
    """Measure the shifts in z of all pairs of segments, from histograms of depth in every lateral cell.

    `cell` (n,) numbers the cell of a row from 0, after the lateral drift was taken out; `half` (n,) is 0 or 1.
    """
    reach = int(np.ceil(search_um / pixel_um))
    depth = np.floor((z_um - z_um.min()) / pixel_um).astype(np.int64)
    size = fft.next_fast_len(int(depth.max()) + 1 + 2 * reach, real=True)
    if (size // 2 + 1) * segments.count**2 > _SPECTRUM_MAX:
        raise LocalizationError(
            f"drift in z: {np.ptp(z_um):.0f} um of depth in {segments.count} segments are too many bins of "
            f"{pixel_um * 1e3:.0f} nm; raise pixel_z_um, take larger segment_frames, or cut the depths"
        )
    segment = np.full(cell.size, -1)
    for k in range(segments.count):
        segment[segments.rows(k)] = k
    # a cell counts by its pairs: those with a tenth of the typical density would take the time and add nothing
    density = np.bincount(cell)[cell]
    used = np.flatnonzero((segment >= 0) & (density >= 0.1 * density.mean()))
    used = used[np.lexsort((cell[used], half[used]))]
    first, second = np.triu_indices(segments.count, 1)
    spectrum = np.zeros((2, size // 2 + 1, segments.count, segments.count), np.complex128)
    for part in range(2):
        rows = used[half[used] == part]
        new = np.r_[True, np.diff(cell[rows]) != 0] if rows.size else np.zeros(0, bool)
        number = np.cumsum(new) - 1  # the half's own cells, from 0
        step = min(max(16, _PRODUCT // segments.count**2), max(1, _COUNTS_MAX // (segments.count * size)))
        for begin in range(0, int(number[-1]) + 1 if rows.size else 0, step):
            a, b = np.searchsorted(number, [begin, begin + step])
            cells = int(number[b - 1]) - begin + 1
            codes = (segment[rows[a:b]] * cells + number[a:b] - begin) * size + depth[rows[a:b]]
            counts = np.bincount(codes, minlength=segments.count * cells * size).astype(np.float32)
            spectra = fft.rfft(counts.reshape(segments.count, cells, size), workers=2)
            spectra = np.ascontiguousarray(spectra.transpose(2, 0, 1))
            spectrum[part] += spectra.conj() @ spectra.transpose(0, 2, 1)
    frequency2 = (2 * np.pi * np.fft.rfftfreq(size)) ** 2
    bandpass = np.exp(-frequency2) * (1 - np.exp(-frequency2 * (reach / 3) ** 2 / 2))
    by_pair = spectrum[:, :, first, second].transpose(0, 2, 1) * bandpass
    shifts = np.asarray(fft.irfft(by_pair, n=size))
    window = np.concatenate([shifts[..., -reach:], shifts[..., : reach + 1]], axis=-1)
    return _measure(first, second, window, pixel_um, reach)


def _measure(first: Ints, second: Ints, correlation: NDArray, pixel_um: float, reach: int) -> Pairs:
    """Find the summits of the correlations (2 halves, pairs, window of one or two axes)."""
    axes = correlation.ndim - 2
    whole = correlation.sum(axis=0)
    shift, halves = np.zeros((first.size, axes)), np.zeros((2, first.size, axes))
    significance, at_edge = np.zeros(first.size), np.zeros(first.size, bool)
    for pair, image in enumerate(whole):
        start = np.unravel_index(int(image.argmax()), image.shape)
        start = tuple(int(s) for s in start)
        middle = np.median(image)
        scatter = 1.4826 * np.median(np.abs(image - middle))
        significance[pair] = (image[start] - middle) / max(scatter, 1e-30)
        at_edge[pair] = min(start) < 2 or max(start) > 2 * reach - 2
        shift[pair] = (summit(image, start, 2.0) - reach) * pixel_um
        for h in range(2):
            halves[h, pair] = (summit(correlation[h, pair], start, 2.0) - reach) * pixel_um
    return Pairs(first, second, shift, halves, significance, at_edge)


@dataclass(frozen=True, eq=False)
class Solved:
    """Drift of segments (S, axes) with mean 0, its standard error per axis, and how well the pairs agree."""

    drift_um: Floats
    noise_um: Floats
    closure_um: float
    used: int
    faint: int
    contradicting: int


def solve(pairs: Pairs, count: int, *, pixel_um: float, search_um: float, axes: str) -> Solved:
    """Solve for the drift by least squares over the clear pairs, without those that contradict the others.

    Raises LocalizationError where the remaining pairs do not connect all segments, with the numbers.
    """
    clear = (pairs.significance >= SIGNIFICANT) & ~pairs.at_edge
    _require_connected(pairs, clear, count, axes, search_um, "stands out")
    keep = clear.copy()
    residual = np.zeros(pairs.first.size)
    for _ in range(20):
        drift = _least_squares(pairs, pairs.shift_um, keep, count, residual, pixel_um)
        residual = np.linalg.norm(drift[pairs.second] - drift[pairs.first] - pairs.shift_um, axis=1)
        # shifts of honest pairs agree within a fraction of the blurred pixel
        limit = max(2 * pixel_um, 4 * 1.4826 * float(np.median(residual[keep])))
        kept = clear & (residual < limit)
        if (kept == keep).all():
            break
        keep = kept
    _require_connected(pairs, keep, count, axes, search_um, "agrees with the others")
    drift = _least_squares(pairs, pairs.shift_um, keep, count, np.zeros_like(residual), pixel_um)
    parts = [_least_squares(pairs, half, keep, count, residual, pixel_um) for half in pairs.halves_um]
    # each half has about twice the variance of the whole, their difference four times
    difference = parts[0] - parts[1]
    noise = 1.4826 * np.median(np.abs(difference - np.median(difference, axis=0)), axis=0) / 2
    closure = float(np.sqrt(np.mean(residual[keep] ** 2)))
    return Solved(drift, noise, closure, int(keep.sum()), int((~clear).sum()), int((clear & ~keep).sum()))


def _least_squares(pairs: Pairs, shift_um: Floats, keep: NDArray, count: int, residual: Floats, pixel_um: float):
    """Fit the drift (S, axes) of mean 0 to the shifts; larger residuals weigh less (Cauchy)."""
    weight = 1 / (1 + (residual[keep] / pixel_um) ** 2)
    a, b = pairs.first[keep], pairs.second[keep]
    laplacian = np.zeros((count, count))
    np.add.at(laplacian, (a, a), weight)
    np.add.at(laplacian, (b, b), weight)
    np.subtract.at(laplacian, (a, b), weight)
    np.subtract.at(laplacian, (b, a), weight)
    right = np.zeros((count, shift_um.shape[1]))
    np.subtract.at(right, a, weight[:, None] * shift_um[keep])
    np.add.at(right, b, weight[:, None] * shift_um[keep])
    return np.linalg.solve(laplacian + 1 / count, right)  # the constant makes the mean 0


def _require_connected(pairs: Pairs, keep: NDArray, count: int, axes: str, search_um: float, what: str) -> None:
    graph = sparse.coo_matrix((np.ones(int(keep.sum())), (pairs.first[keep], pairs.second[keep])), (count, count))
    parts = connected_components(graph, directed=False)[0]
    if parts == 1:
        return
    edge = int((pairs.at_edge & (pairs.significance >= SIGNIFICANT)).sum())
    if edge:
        remedy = f"{edge} clear peaks lie at the end of the search of {search_um:g} um: raise search_um"
    else:
        remedy = "give a larger segment_frames; points without common structure cannot be aligned"
    raise LocalizationError(
        f"drift in {axes}: the correlation peak {what} for {int(keep.sum())} of {keep.size} pairs of segments, which "
        f"leaves {parts} groups of segments apart (median height {np.median(pairs.significance):.1f} standard "
        f"deviations, {SIGNIFICANT:g} needed); {remedy}"
    )
