"""Pairs found emitters with true ones, frame by frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from localization.scores.gate import Gate, MatchMode
from localization.types import Localizations

Index = NDArray[np.int64]
_DENSE_CELLS_MAX = 4_000_000  # above this a dense cost matrix (32 MB) loses to the sparse solver


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs (found_index[k], truth_index[k]) by ascending found_index, and counts per frame with emitters.

    `found_index` and `truth_index` have shape (pairs,); `frame`, `n_found`, `n_truth` and `n_pairs` have
    shape (frames,), with `frame` ascending.
    """

    found_index: Index
    truth_index: Index
    frame: Index
    n_found: Index
    n_truth: Index
    n_pairs: Index


def match(
    found: Localizations,
    truth: Localizations,
    *,
    lateral_um: float = 0.25,
    axial_um: float | None = 0.5,
    ball_um: float | None = None,
    mode: MatchMode = "gated",
) -> Matches:
    """Pair found with true emitters of the same frame, each at most once; channels are not looked at.

    The sizes and the mode are those of `Gate`, which stands for them: `match(found, truth, **gate)`. mode "gated":
    as many pairs as possible inside the gate, then the smallest sum of squared gate-normalised distances. mode
    "deepstorm3d": all emitters of a frame are assigned first, by the smallest sum of 3D distances, and pairs of
    `ball_um` (0.1 um when None) or more are cut afterwards, which can lose pairs that the gate would have kept.
    Raises LocalizationError where `Gate` does.

    >>> from localization import make_localizations
    >>> found = make_localizations([0, 0], [1.00, 3.0], [1.0, 1.0], [0.0, 0.0])
    >>> match(found, make_localizations([0], [1.05], [1.0], [0.1])).found_index
    array([0])
    """
    gate = Gate(lateral_um, axial_um, ball_um, mode)
    if gate.mode == "deepstorm3d":
        pairs = _assign_then_cut(found, truth, gate.radius_um, axes=2 if gate.flat else 3)
    else:
        pairs = pair_edges(*gated_edges(found, truth, gate))
    return _matches(found, truth, *pairs)


def _matches(found: Localizations, truth: Localizations, found_index: Index, truth_index: Index) -> Matches:
    order = np.argsort(found_index, kind="stable")
    found_index, truth_index = found_index[order], truth_index[order]
    frame = np.union1d(found.frame, truth.frame)
    n_found, n_truth, n_pairs = (
        np.bincount(np.searchsorted(frame, rows), minlength=frame.size)
        for rows in (found.frame, truth.frame, found.frame[found_index])
    )
    return Matches(found_index, truth_index, frame, n_found, n_truth, n_pairs)


def _xyz_um(locs: Localizations) -> NDArray[np.float64]:
    return np.stack([locs.x_um, locs.y_um, locs.z_um], axis=1)


def gated_edges(found: Localizations, truth: Localizations, gate: Gate) -> tuple[Index, Index, NDArray[np.float64]]:
    """Find all pairs inside the gate: found rows, truth rows, squared gate-normalised distances (< 2)."""
    lateral_um = gate.radius_um
    depth_um = lateral_um if gate.ball_um is not None or gate.axial_um is None else gate.axial_um
    if found.frame.size == 0 or truth.frame.size == 0:
        none = np.zeros(0, np.int64)
        return none, none, np.zeros(0)
    # One tree for all frames: the frame number is a fourth axis on which neighbours are 4 gates apart, and
    # the box (maximum norm) of half-width 1 holds every gate. The hair on top keeps rounding from losing a
    # pair on the rim; the strict tests below are in um and decide.
    axes = 2 if gate.flat else 3
    scale_um = np.array([lateral_um, lateral_um, depth_um])[:axes]
    found_points = np.column_stack([_xyz_um(found)[:, :axes] / scale_um, 4.0 * found.frame])
    truth_points = np.column_stack([_xyz_um(truth)[:, :axes] / scale_um, 4.0 * truth.frame])
    found_tree, truth_tree = (KDTree(points, balanced_tree=False) for points in (found_points, truth_points))
    near = found_tree.sparse_distance_matrix(truth_tree, 1.0 + 1e-6, p=np.inf, output_type="ndarray")
    i, j = near["i"].astype(np.int64), near["j"].astype(np.int64)
    lateral_sq = (found.x_um[i] - truth.x_um[j]) ** 2 + (found.y_um[i] - truth.y_um[j]) ** 2
    axial_sq = np.zeros(i.size) if gate.flat else (found.z_um[i] - truth.z_um[j]) ** 2
    if gate.ball_um is None:
        inside = (lateral_sq < lateral_um**2) & (axial_sq < depth_um**2)
    else:
        inside = lateral_sq + axial_sq < lateral_um**2
    cost = lateral_sq / lateral_um**2 + axial_sq / depth_um**2
    return i[inside], j[inside], cost[inside]


def pair_edges(i: Index, j: Index, cost: NDArray[np.float64]) -> tuple[Index, Index]:
    """Match a sparse bipartite graph exactly, one connected component at a time."""
    if i.size == 0:
        return i, j
    found_rows, i = np.unique(i, return_inverse=True)
    truth_rows, j = np.unique(j, return_inverse=True)
    n_i, n_j = found_rows.size, truth_rows.size
    graph = coo_matrix((np.ones(i.size, np.int8), (i, n_i + j)), shape=(n_i + n_j, n_i + n_j))
    n_components, label = connected_components(graph, directed=False)
    size_i = np.bincount(label[:n_i], minlength=n_components)
    size_j = np.bincount(label[n_i:], minlength=n_components)
    edge_label = label[i]

    # A component with one emitter on either side can hold one pair: its cheapest edge.
    star = np.minimum(size_i, size_j)[edge_label] == 1
    star_edges = np.flatnonzero(star)
    star_edges = star_edges[np.lexsort((cost[star_edges], edge_label[star_edges]))]
    first = np.diff(edge_label[star_edges], prepend=-1) != 0
    chosen = [star_edges[first]]

    # The others: edges grouped by component, nodes numbered within it.
    edges = np.flatnonzero(~star)
    edges = edges[np.argsort(edge_label[edges], kind="stable")]
    rank_i, rank_j = _rank_within(label[:n_i], size_i), _rank_within(label[n_i:], size_j)
    local_i, local_j, local_cost = rank_i[i[edges]], rank_j[j[edges]], cost[edges]
    starts = np.flatnonzero(np.diff(edge_label[edges], prepend=-1))
    stops = np.append(starts, edges.size)[1:]
    labels = edge_label[edges[starts]]
    for start, stop, n, m in zip(
        starts.tolist(), stops.tolist(), size_i[labels].tolist(), size_j[labels].tolist(), strict=True
    ):
        part = slice(start, stop)
        solve = _solve_dense if n * m <= _DENSE_CELLS_MAX else _solve_sparse
        chosen.append(edges[start + solve(local_i[part], local_j[part], local_cost[part], n, m)])
    kept = np.concatenate(chosen)
    return found_rows[i[kept]], truth_rows[j[kept]]


def _rank_within(label: NDArray, size: Index) -> Index:
    """Number each node within its component, 0-based; `size` counts the nodes of every component."""
    order = np.argsort(label, kind="stable")
    rank = np.empty(label.size, np.int64)
    rank[order] = np.arange(label.size) - np.repeat(np.cumsum(size) - size, size)
    return rank


def _solve_dense(i: Index, j: Index, cost: NDArray[np.float64], n: int, m: int) -> Index:
    """Find the edges of the best matching of an n x m component."""
    # Every pair costs less than 2, so a reward above 2 min(n, m) per pair makes one more pair worth more than
    # any distances: the number of pairs comes first, the distances second. No edge = no reward.
    reward = 2.0 * min(n, m) + 1.0
    table = np.zeros((n, m))
    table[i, j] = cost - reward
    rows, columns = linear_sum_assignment(table)
    position = np.full((n, m), -1)
    position[i, j] = np.arange(i.size)
    taken = position[rows, columns]
    return taken[taken >= 0]


def _solve_sparse(i: Index, j: Index, cost: NDArray[np.float64], n: int, m: int) -> Index:
    """Do what `_solve_dense` does, without the n x m table."""
    # Each row also has an edge to a column of its own that stands for "unmatched" and costs the reward. One
    # is added to every edge, since the solver takes a stored zero for "no edge"; each row pays it exactly
    # once.
    reward = 2.0 * min(n, m) + 1.0
    alone = np.arange(n)
    weights = np.concatenate([cost, np.full(n, reward)]) + 1.0
    rows, columns = np.concatenate([i, alone]), np.concatenate([j, m + alone])
    graph = csr_matrix((weights, (rows, columns)), shape=(n, m + n))
    partner = np.empty(n, np.int64)
    solved_rows, solved_columns = min_weight_full_bipartite_matching(graph)
    partner[solved_rows] = solved_columns
    return np.flatnonzero(partner[i] == j)


def _assign_then_cut(found: Localizations, truth: Localizations, radius_um: float, *, axes: int) -> tuple[Index, Index]:
    """Assign by distance over a whole frame, then cut, as DeepSTORM3D's evaluation does."""
    found_xyz, truth_xyz = _xyz_um(found)[:, :axes], _xyz_um(truth)[:, :axes]
    found_order, truth_order = (np.argsort(locs.frame, kind="stable") for locs in (found, truth))
    frames = np.intersect1d(found.frame, truth.frame)
    found_start, found_stop = _frame_slices(found.frame[found_order], frames)
    truth_start, truth_stop = _frame_slices(truth.frame[truth_order], frames)
    pairs_i, pairs_j = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for f in range(frames.size):
        rows_i = found_order[found_start[f] : found_stop[f]]
        rows_j = truth_order[truth_start[f] : truth_stop[f]]
        distance_um = cdist(found_xyz[rows_i], truth_xyz[rows_j])
        a, b = linear_sum_assignment(distance_um)
        near = distance_um[a, b] < radius_um
        pairs_i.append(rows_i[a[near]])
        pairs_j.append(rows_j[b[near]])
    return np.concatenate(pairs_i), np.concatenate(pairs_j)


def _frame_slices(sorted_frame: Index, frames: Index) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.searchsorted(sorted_frame, frames, "left"), np.searchsorted(sorted_frame, frames, "right")
