"""Particle tracks from localizations (by laptrack), and the diffusion that they show."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from localization.linking import frame_pairs
from localization.types import LocalizationError, Localizations

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


def find_tracks(
    locs: Localizations,
    *,
    max_step_um: float,
    max_step_z_um: float | None = None,
    gap_frames: int = 1,
    max_gap_step_um: float | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Ints:
    """Find the track of each localization, (n,), numbered from 0 by the tracks' first appearance.

    Localizations of consecutive frames are linked by the assignment of the smallest sum of squared steps, each below
    `max_step_um`; then ends and beginnings with up to `gap_frames` dark frames between them, below
    `max_gap_step_um` (None: `max_step_um`; a larger one lets single steps that long through as well). Depth counts in
    units of `max_step_z_um` (None: `max_step_um`) where laterally it is `max_step_um`. What stays alone is a track of
    one. Jaqaman et al. 2008 (doi 10.1038/nmeth.1237) in the implementation of laptrack, which sees one group of
    localizations that could be linked at a time; `report(done, total)` counts their rows. Channels are kept apart.

    Raises LocalizationError for a step that is not positive and for a gap that is no whole number.

    >>> from localization import make_localizations
    >>> locs = make_localizations([0, 1, 2, 0, 1], [1.0, 1.1, 1.2, 5.0, 5.1], [1.0] * 5, [0.0] * 5)
    >>> find_tracks(locs, max_step_um=0.3)
    array([0, 0, 0, 1, 1])
    """
    max_step_z_um = max_step_um if max_step_z_um is None else max_step_z_um
    max_gap_step_um = max_step_um if max_gap_step_um is None else max_gap_step_um
    steps = {"max_step_um": max_step_um, "max_step_z_um": max_step_z_um, "max_gap_step_um": max_gap_step_um}
    for name, value in steps.items():
        if not (np.isfinite(value) and value > 0):
            raise LocalizationError(f"find_tracks: {name} is {value}; give a positive distance in um")
    if int(gap_frames) != gap_frames or gap_frames < 0:
        raise LocalizationError(f"find_tracks: gap_frames is {gap_frames}; give a whole number of frames from 0 on")
    n_rows = locs.frame.size
    if n_rows == 0:
        return np.zeros(0, np.int64)
    gap_frames = min(int(gap_frames), int(np.ptp(locs.frame)))  # no dark frames beyond the movie's
    z_scale = 1.0 if np.isinf(max_step_z_um) else max_step_um / max_step_z_um
    # in units of the largest step
    position = np.stack([locs.x_um, locs.y_um, locs.z_um * z_scale], axis=1) / max_step_um
    reach = max(1.0, max_gap_step_um / max_step_um) if gap_frames else 1.0
    order = np.lexsort((position[:, 2], position[:, 1], position[:, 0], locs.channel, locs.frame))
    gap_reach = max_gap_step_um / max_step_um
    group = _groups(position, locs.frame, locs.channel, gap_frames, reach)
    # channels are told apart by their groups alone, which laptrack sees one at a time
    simple, clear = _unambiguous_links(position, locs.frame, group, gap_frames, gap_reach)
    rows = order[~clear[group[order]]]
    further = _laptrack_links(position, locs.frame, group, rows, gap_frames, gap_reach, report)
    links = np.concatenate([simple, further])
    joined = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n_rows, n_rows))
    label = connected_components(joined, directed=False)[1]
    # tracks by their first row in order of frame and place
    _, first, number = np.unique(label[order], return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(first.size)
    track = np.empty(n_rows, np.int64)
    track[order] = rank[number]
    return track


def _groups(position: Floats, frame: Ints, channel: Ints, gap_frames: int, reach: float) -> Ints:
    """Number each row's group: rows of two groups can never be linked, not even through others."""
    rows = np.arange(frame.size)
    edges = []
    for step in range(1, gap_frames + 2):
        a, b, _ = frame_pairs(position, frame, rows, rows, step, reach)
        same = channel[a] == channel[b]
        edges.append(np.stack([a[same], b[same]], axis=1))
    pairs = np.concatenate(edges)
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(rows.size, rows.size))
    return connected_components(graph, directed=False)[1]


def _unambiguous_links(
    position: Floats, frame: Ints, group: Ints, gap_frames: int, gap_reach: float
) -> tuple[Ints, NDArray[np.bool_]]:
    """Link the groups in which no row has two candidates; returns links (L, 2) and which groups these are.

    There any link costs less than two loose ends, so that the assignment takes them all: most of a sparse movie,
    without a solver.
    """
    clear = np.ones(int(group.max()) + 1, bool)
    rows = np.arange(frame.size)
    first, second, _ = _within(position, frame, group, rows, rows, [1], 1.0)
    links = np.stack([first, second], axis=1)
    for taken in (first, second):
        clear[group[np.bincount(taken, minlength=frame.size) > 1]] = False
    links = links[clear[group[links[:, 0]]]]
    if gap_frames:
        loose = clear[group]
        is_end, is_start = loose.copy(), loose.copy()
        is_end[links[:, 0]], is_start[links[:, 1]] = False, False
        steps = range(1, gap_frames + 2)
        end, start, _ = _within(
            position, frame, group, np.flatnonzero(is_end), np.flatnonzero(is_start), steps, gap_reach
        )
        for taken in (end, start):
            clear[group[np.bincount(taken, minlength=frame.size) > 1]] = False
        links = np.concatenate([links, np.stack([end, start], axis=1)])
        links = links[clear[group[links[:, 0]]]]
    return links, clear


def _within(position, frame, group, early, late, steps, reach: float) -> tuple[Ints, Ints, Floats]:
    """Find the `frame_pairs` of all `steps`, within groups."""
    found = [frame_pairs(position, frame, early, late, step, reach) for step in steps]
    a, b, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    same = group[a] == group[b]
    return a[same], b[same], distance[same]


def _laptrack_links(position, frame, group, rows, gap_frames: int, gap_reach: float, report) -> Ints:
    """Link some rows, group by group; returns (L, 2). Costs are fixed, so that groups are independent."""
    if rows.size == 0:
        return np.zeros((0, 2), np.int64)
    from laptrack import LapTrack  # takes seconds

    tracker = LapTrack(  # pyright: ignore[reportCallIssue]
        cutoff=1.0,
        gap_closing_cutoff=gap_reach**2 if gap_frames else False,
        gap_closing_max_frame_count=gap_frames + 1,
        # of no link at all, per end: laptrack's own default is 1.05 times the largest cost that happens to occur
        track_start_cost=1.05,
        track_end_cost=1.05,
        segment_start_cost=1.05 * gap_reach**2,
        segment_end_cost=1.05 * gap_reach**2,
    )
    rows = rows[np.argsort(group[rows], kind="stable")]  # by group, in it by frame and place
    bounds = np.flatnonzero(np.r_[True, np.diff(group[rows]) != 0, True])
    links: list[tuple[int, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the versions of pandas and networkx below laptrack
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
            if stop - start > 1:
                own = rows[start:stop]
                first = frame[own[0]]
                by_frame = np.searchsorted(frame[own] - first, np.arange(frame[own[-1]] - first + 2))
                coordinates = [position[own[a:b]] for a, b in zip(by_frame[:-1], by_frame[1:], strict=True)]
                tree = tracker.predict(coordinates)
                links += [(own[by_frame[f] + i], own[by_frame[g] + j]) for (f, i), (g, j) in tree.edges()]
            report(int(stop), rows.size)
    return np.array(links, np.int64).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Diffusion of tracks, with the error of localization told apart.

    Per track (T,): `track`, `steps` (that were used), `d_um2_s` and its standard error `d_error_um2_s`
    (NaN below 3 steps). Over all tracks: `pooled_um2_s` with the bounds `low_um2_s`, `high_um2_s` of its 95 %
    interval, per axis `axis_um2_s` (axes,) and the localization error `noise_um` (axes,), 0 where the estimate is
    below it. `step_frames` is the length of the steps, in frames: 1, or 2 in a list with rows in every other frame; a
    mean where steps of several lengths were used.
    """

    track: Ints
    steps: Ints
    d_um2_s: Floats
    d_error_um2_s: Floats
    pooled_um2_s: float
    low_um2_s: float
    high_um2_s: float
    axis_um2_s: Floats
    noise_um: Floats
    step_frames: float


def diffusion(
    locs: Localizations, track: Ints, *, frame_s: float, exposure_share: float = 1.0, axes: str = "xyz", seed: int = 0
) -> Diffusion:
    """Estimate diffusion by the covariance of consecutive steps, which localization error leaves unbiased.

    Per axis D = <dx_n^2> / (2 T) + <dx_n dx_n+1> / T, T the time of a step, and the variance of a localization is
    2 R D dt - <dx_n dx_n+1>, R = exposure_share / 6 the blur by motion within an exposure of that share of the frame dt
    (Vestergaard, Blainey and Flyvbjerg 2014, doi 10.1103/PhysRevE.89.022726, eqs. 14 and 16; a track's error from
    eq. 17). What two steps share is one exposure, whatever their lengths, so that both hold for any T. The steps are
    those of the length that most have (one frame; two where every other frame was recorded), and those across further
    dark frames are left out; only where no two of that length follow each other do all count, T their mean time.
    `axes` are those that count: "xy" for 2D tables. The interval draws tracks with replacement, 400 times, from `seed`.

    Raises LocalizationError for a `track` that does not fit the table, times that are not positive, and tracks
    of fewer than three rows.

    >>> from localization import make_localizations
    >>> rng = np.random.default_rng(0)
    >>> path = np.cumsum(rng.normal(0, 0.1, (2000, 2)), axis=0)  # D = 0.1^2 / (2 dt)
    >>> locs = make_localizations(np.arange(2000), *path.T, np.zeros(2000))
    >>> d = diffusion(locs, np.zeros(2000, int), frame_s=0.05, exposure_share=0.0, axes="xy").pooled_um2_s
    >>> bool(abs(d - 0.1) < 0.01)
    True
    """
    track = np.asarray(track, np.int64)
    if track.shape != locs.frame.shape:
        raise LocalizationError(
            f"diffusion: track has shape {track.shape}, the table {locs.frame.shape}; pass one per row"
        )
    if not 0 < frame_s < np.inf:
        raise LocalizationError(f"diffusion: frame_s is {frame_s}; give the seconds from frame to frame")
    if not 0 <= exposure_share <= 1:
        raise LocalizationError(f"diffusion: exposure_share is {exposure_share}; give a share of the frame, 0 to 1")
    if not axes or set(axes) - set("xyz"):
        raise LocalizationError(f"diffusion: axes is {axes!r}; give some of 'xyz'")
    order = np.lexsort((locs.frame, track))
    own, frame = track[order], locs.frame[order]
    place = np.stack([getattr(locs, f"{axis}_um")[order] for axis in axes], axis=1)
    step = np.diff(place, axis=0)
    whole, lag = _steps_of_one_length(own, frame)
    twice = whole[:-1] & whole[1:]
    names, number = np.unique(own, return_inverse=True)

    def totals(values: NDArray, mask: NDArray) -> Floats:
        at = number[: mask.size][mask]
        sums = [np.bincount(at, weights=v, minlength=names.size) for v in values[mask].T]
        return np.stack(sums, axis=1).astype(np.float64)

    squares, products = totals(step**2, whole), totals(step[:-1] * step[1:], twice)
    steps = np.bincount(number[:-1][whole], minlength=names.size)
    turns = np.bincount(number[: twice.size][twice], minlength=names.size)
    if turns.sum() == 0:
        raise LocalizationError(
            "diffusion: no track has three localizations in different frames, which its estimate needs; link with a "
            "larger max_step_um or gap_frames"
        )
    frames = np.bincount(number[:-1][whole], weights=lag[whole], minlength=names.size)
    blur = exposure_share / 6

    def estimate(squares, products, steps, turns, frames) -> tuple[Floats, Floats]:
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_square, covariance, length = squares / steps, products / turns, frames / steps
        d = mean_square / (2 * length * frame_s) + covariance / (length * frame_s)
        return d, (blur * mean_square + (2 * blur - length) * covariance) / length

    d = estimate(squares, products, steps[:, None], turns[:, None], frames[:, None])[0]
    d_axes, variance_axes = estimate(squares.sum(axis=0), products.sum(axis=0), steps.sum(), turns.sum(), frames.sum())
    rng = np.random.default_rng(seed)
    useful = np.flatnonzero(steps > 0)
    drawn = []
    for _ in range(400):
        weight = np.bincount(rng.integers(0, useful.size, useful.size), minlength=useful.size)
        sums = [weight @ values[useful] for values in (squares, products)]
        counts = [weight @ values[useful] for values in (steps, turns, frames)]
        drawn.append(estimate(*sums, *counts)[0].mean())
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    d_track = d.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # eq. 17, with the pooled error of localization and the track's own D; axes are independent. Its N is that of an
        # unbroken row of steps: a broken one tells as little more as it has pairs of steps
        length = frames / steps
        ratio = np.maximum(variance_axes.mean(), 0) / (np.maximum(d_track, 1e-12) * length * frame_s)
        ratio -= 2 * blur / length
        spread = (6 + 4 * ratio + 2 * ratio**2) / (turns + 1) + 4 * (1 + ratio) ** 2 / (turns + 1) ** 2
        error = np.abs(d_track) * np.sqrt(spread / len(axes))
    d_track, error = (np.where((steps >= 3) & (turns >= 2), value, np.nan) for value in (d_track, error))
    return Diffusion(
        names, steps, d_track, error, float(d_axes.mean()), float(low), float(high), d_axes,
        np.sqrt(np.maximum(variance_axes, 0)), float(frames.sum() / steps.sum()),
    )  # fmt: skip


def _steps_of_one_length(track: Ints, frame: Ints) -> tuple[NDArray[np.bool_], Ints]:
    """Choose the steps (n - 1,) of rows by track and frame that diffusion is estimated from; and all steps' frames.

    Those of the length that most of them have, or all where no two of that length follow each other in a track.
    """
    lag = np.diff(frame)
    inside = (np.diff(track) == 0) & (lag > 0)
    if not inside.any():
        return inside, lag
    lengths, number = np.unique(lag[inside], return_counts=True)
    usual = inside & (lag == lengths[np.argmax(number)])
    return (usual if (usual[:-1] & usual[1:]).any() else inside), lag
