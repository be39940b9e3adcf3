"""Drift of the stage in x, y and z, from the localizations themselves."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from localization.drift import aim as drift_aim
from localization.drift import rcc as drift_rcc
from localization.drift.segments import Floats, Ints, Segments, curve, curve_error_um, cut_segments
from localization.types import COLUMNS, LocalizationError, Localizations

DriftMethod = Literal["rcc", "aim"]

_PIXEL_UM = {"rcc": 0.025, "aim": 0.02}
# localizations per segment that the choice of segments aims at, and the most segments
_CHOICE = {"rcc": (1000, 30), "aim": (500, 100)}
_CHECK_PARTS = 6  # of the movie, for the check of "aim"
_CELL_UM = {"rcc": 0.1, "aim": 0.06}  # side of the lateral cells whose depths are compared


@dataclass(frozen=True, eq=False)
class Drift:
    """Drift at each frame from the first to the last one of a table: what to subtract from its positions.

    `frame`, `x_um`, `y_um`, `z_um` have shape (frames,). The zero is the mean over the localizations, so that a
    correction leaves their centre in place. `error_um` (3,) is the standard error of a curve at a frame, NaN for an
    axis that was not estimated: half the difference between the drifts of two halves of the field of view that share
    no molecule, and what interpolation misses where drift wanders between segments. `segment_frame` (S,)
    and `segment_um` (S, 3) are the estimates behind the curves. `diagnostics` holds the method's numbers,
    `notes` what the user should know.
    """

    frame: Ints
    x_um: Floats
    y_um: Floats
    z_um: Floats
    error_um: Floats
    segment_frame: Floats
    segment_um: Floats
    method: str
    diagnostics: dict[str, float]
    notes: tuple[str, ...]

    @property
    def range_um(self) -> Floats:
        """Largest less smallest drift in x, y, z, shape (3,)."""
        return np.array([np.ptp(axis) for axis in (self.x_um, self.y_um, self.z_um)])


def correct_drift(
    locs: Localizations,
    *,
    method: DriftMethod = "aim",
    segment_frames: int | None = None,
    search_um: float = 1.0,
    pixel_um: float | None = None,
    pixel_z_um: float | None = None,
) -> tuple[Localizations, Drift]:
    """Estimate the drift of a table and take it out; returns the corrected table and the `Drift`.

    method "rcc": redundant cross-correlation of segments of the movie, x and y from images, z from histograms
    in lateral cells (Wang et al. 2014, doi 10.1364/OE.22.015982). "aim": adaptive intersection maximisation (Ma
    et al. 2024, doi 10.1126/sciadv.adm7765), made for many short segments. `segment_frames` None: up to 30 segments for
    "rcc", up to 100 for "aim". `search_um` bounds the shift that is looked for, `pixel_um` (0.025, "aim": 0.02) is the
    pixel or intersection distance, `pixel_z_um` (twice that) the one in depth. A table whose z are all equal is taken
    as 2D.

    Raises LocalizationError, with the numbers, where drift cannot be told: an empty table, too few frames or
    localizations per segment, correlation peaks that do not stand out (no common structure), pairs of segments that
    contradict each other, a drift beyond `search_um`. What is doubtful but usable is in `Drift.notes`.

    >>> from localization import make_localizations
    >>> rng = np.random.default_rng(0)
    >>> place, frame = rng.uniform(1, 5, (40, 2))[rng.integers(0, 40, 4000)], rng.integers(0, 300, 4000)
    >>> x_um, y_um = (place + rng.normal(0, 0.01, (4000, 2))).T
    >>> drift = correct_drift(make_localizations(frame, x_um + 0.0004 * frame, y_um, 0 * x_um))[1]
    >>> bool(abs(drift.x_um[200] - drift.x_um[100] - 0.04) < 0.003), drift.notes[0]
    (True, 'z: all depths are equal, taken as a 2D table; drift in z was not estimated')
    """
    if method not in _PIXEL_UM:
        raise LocalizationError(f"drift: unknown method {method!r}; use 'rcc' or 'aim'")
    pixel_um = _PIXEL_UM[method] if pixel_um is None else pixel_um
    pixel_z_um = 2 * pixel_um if pixel_z_um is None else pixel_z_um
    for name, value in (("search_um", search_um), ("pixel_um", pixel_um), ("pixel_z_um", pixel_z_um)):
        if not (np.isfinite(value) and value > 0):
            raise LocalizationError(f"drift: {name} is {value}; give a positive distance in um")
    if search_um < 5 * max(pixel_um, pixel_z_um):
        raise LocalizationError(
            f"drift: search_um is {search_um:g}; it must be at least 5 pixels (of {pixel_z_um:g} um)"
        )
    rows_each, most = _CHOICE[method]
    segments = cut_segments(locs, segment_frames, rows_each=rows_each, most=most)
    diagnostics: dict[str, float] = {"segments": segments.count, "segment_frames": segments.frames}
    notes: list[str] = []
    if segments.dropped:
        notes.append(
            f"{segments.dropped} of {segments.dropped + segments.count} segments hold too few localizations; the curve "
            "passes over them"
        )
    xy_um = np.stack([locs.x_um, locs.y_um], axis=1)
    estimate = _rcc if method == "rcc" else _aim
    lateral = estimate(locs, xy_um, segments, pixel_um, search_um, diagnostics, notes, None)
    if method == "aim":
        _check_ends_meet(locs, xy_um, lateral[0], segments, pixel_um, search_um, diagnostics, notes)
    flat = float(np.ptp(locs.z_um)) == 0.0
    if flat:
        notes.append("z: all depths are equal, taken as a 2D table; drift in z was not estimated")
        axial = np.zeros((segments.count, 1)), np.full(1, np.nan)
    else:
        at_rows = curve(segments.centre_frame, lateral[0], segments.first, segments.last)[locs.frame - segments.first]
        try:
            axial = estimate(
                locs, xy_um - at_rows, segments, pixel_z_um, search_um, diagnostics, notes, _CELL_UM[method]
            )
        except LocalizationError as error:  # x and y are worth having without it
            notes.append(f"z was not corrected: {error}")
            axial = np.zeros((segments.count, 1)), np.full(1, np.nan)
    segment_um = np.concatenate([lateral[0], axial[0]], axis=1)
    noise_um = np.concatenate([lateral[1], axial[1]])
    by_frame = curve(segments.centre_frame, segment_um, segments.first, segments.last)
    rows = locs.frame - segments.first
    zero = by_frame[rows].mean(axis=0)
    by_frame, segment_um = by_frame - zero, segment_um - zero
    error = np.array([curve_error_um(s, n) for s, n in zip(segment_um.T, noise_um, strict=True)])
    for axis, name in enumerate("xyz"):
        span = float(np.ptp(by_frame[:, axis]))
        if error[axis] > 0.5 * span:
            notes.append(
                f"{name}: the error of {error[axis] * 1e3:.1f} nm is not small against the drift's range of "
                f"{span * 1e3:.1f} nm; the table may be as good without this correction"
            )
    x_um, y_um, z_um = by_frame.T
    drift = Drift(
        frame=np.arange(segments.first, segments.last + 1),
        x_um=x_um,
        y_um=y_um,
        z_um=z_um,
        error_um=error,
        segment_frame=segments.centre_frame,
        segment_um=segment_um,
        method=method,
        diagnostics=diagnostics,
        notes=tuple(notes),
    )
    return apply_drift(locs, drift), drift


def apply_drift(locs: Localizations, drift: Drift) -> Localizations:
    """Subtract a drift from a table, such as another channel's of the same movie.

    Raises LocalizationError where the table has frames that the drift does not cover.

    >>> from localization import make_localizations
    >>> zero = np.zeros(3)
    >>> drift = Drift(np.arange(3), zero + 0.1, zero, zero, zero, zero, np.zeros((3, 3)), "rcc", {}, ())
    >>> apply_drift(make_localizations([1], [1.0], [2.0], [0.0]), drift).x_um
    array([0.9])
    """
    if locs.frame.size == 0:
        return locs
    low, high = int(locs.frame.min()), int(locs.frame.max())
    if low < drift.frame[0] or high > drift.frame[-1]:
        raise LocalizationError(
            f"apply_drift: the table has frames {low} to {high}, the drift {drift.frame[0]} to {drift.frame[-1]}; "
            "estimate it from the whole movie"
        )
    columns = {name: getattr(locs, name) for name in COLUMNS}
    for axis in ("x_um", "y_um", "z_um"):
        columns[axis] = columns[axis] - getattr(drift, axis)[locs.frame - drift.frame[0]]
        columns[axis].setflags(write=False)
    return Localizations(**columns)


def _check_ends_meet(locs, xy_um, drift_um, segments: Segments, pixel_um, search_um, diagnostics, notes) -> None:
    """Correlate a few long parts of the corrected movie: a window that lost its way leaves them apart.

    Raises LocalizationError where parts that clearly correlate do so at another shift than none.
    """
    span = segments.last - segments.first + 1
    parts = cut_segments(locs, max(segments.frames, -(-span // _CHECK_PARTS)), rows_each=1, most=_CHECK_PARTS)
    at_rows = curve(segments.centre_frame, drift_um, segments.first, segments.last)[locs.frame - segments.first]
    pairs = drift_rcc.lateral_pairs(xy_um - at_rows, parts, pixel_um=pixel_um, search_um=search_um)
    clear = (pairs.significance >= drift_rcc.SIGNIFICANT) & ~pairs.at_edge
    apart = np.linalg.norm(pairs.shift_um, axis=1)
    diagnostics["check_pairs"], diagnostics["check_pairs_clear"] = float(clear.size), float(clear.sum())
    if not clear.any():
        notes.append("x and y: the parts of the movie are too faint to check the curve by correlation")
        return
    diagnostics["check_apart_um"] = float(apart[clear].max())
    if diagnostics["check_apart_um"] > 4 * pixel_um:
        raise LocalizationError(
            f"drift in x and y: after the correction {int((apart[clear] > 4 * pixel_um).sum())} of {int(clear.sum())} "
            f"pairs of parts of the movie still lie up to {diagnostics['check_apart_um']:.2f} um apart: the drift "
            "jumps by more than the local search; use method 'rcc', with a larger search_um if needed"
        )


def _halves(xy_um: Floats) -> Ints:
    """Checkerboard of the field of view, (n,) of 0 and 1: two halves of the structure that share no molecule."""
    low, span = xy_um.min(axis=0), np.maximum(np.ptp(xy_um, axis=0), 1e-9)
    tiles = 2 * np.maximum(1, np.ceil(span / 25))
    return (np.floor((xy_um - low) / span * tiles * (1 - 1e-12)).astype(np.int64).sum(axis=1)) % 2


def _cells(xy_um: Floats, side_um: float) -> Ints:
    """Number of the lateral cell of each row, (n,), counted over the cells that are not empty."""
    at = np.floor((xy_um - xy_um.min(axis=0)) / side_um).astype(np.int64)
    return np.unique(at[:, 0] * (int(at[:, 1].max()) + 1) + at[:, 1], return_inverse=True)[1]


def _rcc(locs, xy_um, segments: Segments, pixel_um, search_um, diagnostics, notes, cell_um) -> tuple[Floats, Floats]:
    axes = "x and y" if cell_um is None else "z"
    if cell_um is None:
        pairs = drift_rcc.lateral_pairs(xy_um, segments, pixel_um=pixel_um, search_um=search_um)
    else:
        cells = _cells(xy_um, cell_um)
        pairs = drift_rcc.axial_pairs(
            cells, _halves(xy_um), locs.z_um, segments, pixel_um=pixel_um, search_um=search_um
        )
    solved = drift_rcc.solve(pairs, segments.count, pixel_um=pixel_um, search_um=search_um, axes=axes)
    key = "xy" if cell_um is None else "z"
    diagnostics |= {
        f"pairs_{key}": float(pairs.first.size),
        f"pairs_used_{key}": float(solved.used),
        f"pairs_faint_{key}": float(solved.faint),
        f"pairs_contradicting_{key}": float(solved.contradicting),
        f"closure_{key}_um": solved.closure_um,
        f"median_significance_{key}": float(np.median(pairs.significance)),
    }
    if solved.used < 0.8 * pairs.first.size:
        notes.append(
            f"{axes}: {solved.used} of {pairs.first.size} pairs of segments were used; {solved.faint} had no "
            f"clear peak within {search_um:g} um, {solved.contradicting} contradicted the others"
        )
    return solved.drift_um, solved.noise_um


def _aim(locs, xy_um, segments: Segments, pixel_um, search_um, diagnostics, notes, cell_um) -> tuple[Floats, Floats]:
    half = _halves(xy_um)
    if cell_um is None:
        aligned = drift_aim.align_lateral(xy_um, half, segments, pixel_um=pixel_um, search_um=search_um)
    else:
        depths = int(np.ceil((np.ptp(locs.z_um) + 2 * search_um) / pixel_um)) + 4 * drift_aim.REACH
        cells = _cells(xy_um, drift_aim.cell_side_um(xy_um, depths, cell_um))
        aligned = drift_aim.align_axial(cells, locs.z_um, half, segments, pixel_um=pixel_um, search_um=search_um)
    key, axes = ("xy", "x and y") if cell_um is None else ("z", "z")
    diagnostics |= {
        f"segments_filled_{key}": float(aligned.filled.sum()),
        f"median_significance_{key}": float(np.median(aligned.significance)),
    }
    if aligned.filled.any():
        notes.append(
            f"{axes}: {int(aligned.filled.sum())} of {segments.count} segments have no clear summit of intersections; "
            "their drift is drawn from their neighbours"
        )
    return aligned.drift_um, aligned.noise_um
