"""Blinks of one molecule in consecutive frames, merged into one localization."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from localization.types import FloatColumn, LocalizationError, Localizations

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
_LARGEST_UM = 5.0  # a blink that reappears further off is another molecule, or the radius is in nm

# What becomes of an extra column (localization.io.extras) where localizations of one molecule are merged: `detections`
# adds up, a likelihood is the product of those of its rows, a group stays where all rows have the same. What another
# column means is not known.
MERGED: Mapping[str, str] = {
    "width_x_um": "mean",
    "width_y_um": "mean",
    "detections": "sum",
    "background_noise": "mean",
    "chi2": "mean",
    "group": "same",
    "net_gradient": "mean",
    "log_likelihood": "sum",
}


@dataclass(frozen=True, eq=False)
class Linked:
    """Merged localizations, and where they come from.

    `locs` has one row per molecule's appearance, at its first frame; `molecule` (n,) is the row of `locs` that each
    row of the input went into; `count` (m,) is how many rows a molecule has, `last_frame` (m,) where it ends.
    `left_out` names the extra columns that have no meaning for merged rows.
    """

    locs: Localizations
    molecule: Ints
    count: Ints
    last_frame: Ints
    left_out: tuple[str, ...] = ()


def link_blinks(
    locs: Localizations, *, radius_um: float, z_radius_um: float | None = None, gap_frames: int = 0
) -> Linked:
    """Merge localizations of one molecule in consecutive frames; up to `gap_frames` dark frames may lie between.

    A localization goes on with one at most, of the same channel, whose distance is below 1 in units of `radius_um`
    laterally and `z_radius_um` in depth (None: twice `radius_um`): first pairs without a gap, then with ever longer
    ones, and among equal gaps the nearest first. Positions are means weighted by 1 / sigma^2 (plain means along an
    axis where a sigma of the molecule is unknown, or is none: infinite, zero or negative), sigmas 1 / sqrt(sum of 1 /
    sigma^2), photons summed, background and score means. The extra column `detections` counts the localizations of a
    row, summed over rows that already count; other extra columns become means, sums or what all rows have alike, as
    `MERGED` says, and those that are not named there are left out. Raises LocalizationError for a radius that is not
    positive or a gap that is no whole number.

    >>> from localization import make_localizations
    >>> locs = make_localizations([0, 1, 9], [1.00, 1.01, 1.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0], photons=500.0)
    >>> linked = link_blinks(locs, radius_um=0.05)
    >>> linked.molecule, linked.locs.photons
    (array([0, 0, 1]), array([1000., 500.]))
    """
    z_radius_um = 2 * radius_um if z_radius_um is None else z_radius_um
    for name, value in (("radius_um", radius_um), ("z_radius_um", z_radius_um)):
        if not (np.isfinite(value) and value > 0):
            raise LocalizationError(f"link_blinks: {name} is {value}; give a positive distance in um")
        if value > _LARGEST_UM:
            raise LocalizationError(
                f"link_blinks: {name} = {value:g} um is more than {_LARGEST_UM:g}; if that is nm, divide by 1000"
            )
    if int(gap_frames) != gap_frames or gap_frames < 0:
        raise LocalizationError(f"link_blinks: gap_frames is {gap_frames}; give a whole number of frames from 0 on")
    n_rows = locs.frame.size
    position = np.stack([locs.x_um / radius_um, locs.y_um / radius_um, locs.z_um / z_radius_um], axis=1)
    # row order does not matter: ties go to the earlier frame, then to the smaller position
    order = np.lexsort((locs.z_um, locs.y_um, locs.x_um, locs.channel, locs.frame))
    position, frame, channel = position[order], locs.frame[order], locs.channel[order]
    follower, leader = np.full(n_rows, -1), np.full(n_rows, -1)
    longest = min(int(gap_frames), int(np.ptp(frame))) if n_rows else 0  # no dark frames beyond the movie's
    for step in range(1, longest + 2):
        tails, heads = np.flatnonzero(follower < 0), np.flatnonzero(leader < 0)
        a, b, distance = frame_pairs(position, frame, tails, heads, step)
        same = channel[a] == channel[b]
        a, b = _nearest_first(a[same], b[same], distance[same], n_rows)
        follower[a], leader[b] = b, a
    chain = _chains(leader)
    molecule = np.empty(n_rows, np.int64)
    molecule[order] = chain
    return _merge(locs, molecule)


def frame_pairs(
    position: Floats, frame: Ints, early: Ints, late: Ints, step: int, reach: float = 1.0
) -> tuple[Ints, Ints, Floats]:
    """Find pairs (row of `early`, row of `late`) whose frames are `step` apart and whose distance is below `reach`.

    `position` (n, axes) is in units of the radii; `early` and `late` are rows of the table. Returns the rows and
    the distances.
    """
    if early.size == 0 or late.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    # frames further apart than any reach: one tree serves all of them
    far = 2.5 * reach
    first = int(frame.min())
    early_points = np.column_stack([position[early], (frame[early] + step - first) * far])
    late_points = np.column_stack([position[late], (frame[late] - first) * far])
    tree = KDTree(late_points, balanced_tree=False, compact_nodes=False)
    found = KDTree(early_points, balanced_tree=False, compact_nodes=False).sparse_distance_matrix(
        tree, reach, output_type="ndarray"
    )
    inside = found["v"] < reach
    return early[found["i"][inside]], late[found["j"][inside]], found["v"][inside]


def _nearest_first(a: Ints, b: Ints, distance: Floats, n_rows: int) -> tuple[Ints, Ints]:
    """Choose pairs greedily, nearest first, each row at most once: rounds of mutually nearest."""
    order = np.lexsort((b, a, distance))
    a, b = a[order], b[order]
    taken_a, taken_b = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    free_a, free_b = np.ones(n_rows, bool), np.ones(n_rows, bool)
    while a.size:
        rank = np.arange(a.size)
        best_a, best_b = np.full(n_rows, a.size), np.full(n_rows, a.size)
        np.minimum.at(best_a, a, rank)
        np.minimum.at(best_b, b, rank)
        mutual = (best_a[a] == rank) & (best_b[b] == rank)
        taken_a.append(a[mutual])
        taken_b.append(b[mutual])
        free_a[a[mutual]] = False
        free_b[b[mutual]] = False
        left = free_a[a] & free_b[b]
        a, b = a[left], b[left]
    return np.concatenate(taken_a), np.concatenate(taken_b)


def _chains(leader: Ints) -> Ints:
    """Number each row's chain, (n,), counted by the chains' first rows."""
    root = np.where(leader < 0, np.arange(leader.size), leader)
    while (root[root] != root).any():
        root = root[root]
    return np.unique(root, return_inverse=True)[1]


def _merge(locs: Localizations, molecule: Ints) -> Linked:
    n_molecules = int(molecule.max()) + 1 if molecule.size else 0
    count = np.bincount(molecule, minlength=n_molecules)

    def total(values: NDArray) -> Floats:
        return np.bincount(molecule, weights=values, minlength=n_molecules).astype(np.float64)

    columns: dict[str, NDArray] = {}
    for axis in "xyz":
        value, sigma = getattr(locs, f"{axis}_um"), getattr(locs, f"sigma_{axis}_um")
        known = total(~((sigma > 0) & np.isfinite(sigma))) == 0
        least = np.full(n_molecules, np.inf)
        np.fmin.at(least, molecule, np.where(sigma > 0, sigma, np.inf))
        # relative to the molecule's best row: the square of a tiny sigma is no number
        weight = np.ones(locs.frame.size)
        np.divide(least[molecule], sigma, out=weight, where=known[molecule])
        weight = weight**2
        sum_of_weights = total(weight)
        # relative to the molecule's plain mean: no digits are lost far from the origin
        centre = total(value) / count
        columns[f"{axis}_um"] = centre + total(weight * (value - centre[molecule])) / sum_of_weights
        columns[f"sigma_{axis}_um"] = np.where(known, least / np.sqrt(sum_of_weights), np.nan)
    columns["photons"] = total(locs.photons)
    columns["background"], columns["score"] = total(locs.background) / count, total(locs.score) / count
    first, last = np.full(n_molecules, np.iinfo(np.int64).max), np.full(n_molecules, -1)
    np.minimum.at(first, molecule, locs.frame)
    np.maximum.at(last, molecule, locs.frame)
    channel = np.zeros(n_molecules, np.int64)
    channel[molecule] = locs.channel
    columns |= {"frame": first, "channel": channel}
    extras, left_out = _merge_extras(locs.extras, molecule, count)
    for column in (*columns.values(), *extras.values()):
        column.setflags(write=False)
    merged = Localizations(**columns, extras=MappingProxyType(extras), movie=locs.movie)
    return Linked(merged, molecule, count, last, left_out)


def _merge_extras(
    extras: Mapping[str, FloatColumn], molecule: Ints, count: Ints
) -> tuple[dict[str, FloatColumn], tuple[str, ...]]:
    def total(values: FloatColumn) -> FloatColumn:
        return np.bincount(molecule, weights=values, minlength=count.size).astype(np.float64)

    rows = extras.get("detections", np.ones(molecule.size))
    merged = {"detections": total(np.where(rows >= 1, rows, 1.0))}  # a row is at least the one that it is
    for label, values in extras.items():
        how = MERGED.get(label)
        if how == "mean":
            merged[label] = total(values) / count
        elif how == "sum" and label != "detections":
            merged[label] = total(values)
        elif how == "same":
            least, most = np.full(count.size, np.inf), np.full(count.size, -np.inf)
            np.minimum.at(least, molecule, values)
            np.maximum.at(most, molecule, values)
            merged[label] = np.where(least == most, least, np.nan)
    return merged, tuple(label for label in extras if label not in MERGED)
