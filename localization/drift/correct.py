"""Drift of the stage in x, y and z, from the localizations themselves."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from localization.drift import aim, rcc
from localization.drift.segments import Estimate, Floats, Ints, Segments, curve, curve_error_um, cut_segments
from localization.extent import without_far_rows
from localization.types import LocalizationError, Localizations

DriftMethod = Literal["rcc", "aim"]

METHODS = {"rcc": rcc.METHOD, "aim": aim.METHOD}
_CHECK_PARTS = 6  # of the movie, for the check of a local search


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
    as 2D. Rows far from all others (`localization.extent`) are not used, and corrected like the rest.

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
    if method not in METHODS:
        raise LocalizationError(f"drift: unknown method {method!r}; use 'rcc' or 'aim'")
    how = METHODS[method]
    pixel_um = how.pixel_um if pixel_um is None else pixel_um
    pixel_z_um = 2 * pixel_um if pixel_z_um is None else pixel_z_um
    for name, value in (("search_um", search_um), ("pixel_um", pixel_um), ("pixel_z_um", pixel_z_um)):
        if not (np.isfinite(value) and value > 0):
            raise LocalizationError(f"drift: {name} is {value}; give a positive distance in um")
    if search_um < 5 * max(pixel_um, pixel_z_um):
        raise LocalizationError(
            f"drift: search_um is {search_um:g}; it must be at least 5 pixels (of {pixel_z_um:g} um)"
        )
    used, far = without_far_rows(locs)
    segments = cut_segments(used, segment_frames, rows_each=how.rows_each, most=how.most)
    xy_um = np.stack([used.x_um, used.y_um], axis=1)
    estimates = [how.lateral(xy_um, segments, pixel_um, search_um)]
    corrected_um = xy_um - _at_rows(used, estimates[0].drift_um, segments)
    if how.local:
        estimates.append(_check_ends_meet(used, corrected_um, segments, pixel_um, search_um))
    if float(np.ptp(used.z_um)) == 0.0:
        note = "z: all depths are equal, taken as a 2D table; drift in z was not estimated"
        estimates.append(_unknown(segments.count, 1, note))
    else:
        try:
            xyz_um = np.column_stack([corrected_um, used.z_um])
            estimates.append(how.axial(xyz_um, segments, pixel_z_um, search_um))
        except LocalizationError as error:  # x and y are worth having without it
            estimates.append(_unknown(segments.count, 1, f"z was not corrected: {error}"))
    left_out = far.note("not used for the estimate, and moved like the others")
    drift = _assemble(used, segments, estimates, method, left_out)
    return apply_drift(locs, drift), drift


def _at_rows(locs: Localizations, drift_um: Floats, segments: Segments) -> Floats:
    """Interpolate the drift (n, axes) at each localization from that of the segments (S, axes)."""
    return curve(segments.centre_frame, drift_um, segments.first, segments.last)[locs.frame - segments.first]


def _unknown(count: int, axes: int, *notes: str, **diagnostics: float) -> Estimate:
    """Make an estimate of no drift, whose error is not known."""
    return Estimate(np.zeros((count, axes)), np.full(axes, np.nan), diagnostics, notes)


def _assemble(
    locs: Localizations, segments: Segments, estimates: list[Estimate], method: str, notes_before: tuple[str, ...]
) -> Drift:
    """Join the estimates of the axes into curves of mean zero over the localizations."""
    notes = [*notes_before, *(note for estimate in estimates for note in estimate.notes)]
    if segments.dropped:
        notes.insert(
            0,
            f"{segments.dropped} of {segments.dropped + segments.count} segments hold too few localizations; the curve "
            "passes over them",
        )
    diagnostics: dict[str, float] = {"segments": segments.count, "segment_frames": segments.frames}
    for estimate in estimates:
        diagnostics |= estimate.diagnostics
    segment_um = np.concatenate([estimate.drift_um for estimate in estimates], axis=1)
    noise_um = np.concatenate([estimate.noise_um for estimate in estimates])
    by_frame = curve(segments.centre_frame, segment_um, segments.first, segments.last)
    zero = by_frame[locs.frame - segments.first].mean(axis=0)
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
    return Drift(
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


def apply_drift(locs: Localizations, drift: Drift) -> Localizations:
    """Subtract a drift from a table, such as another channel's of the same movie.

    Before its first frame and after its last one a drift is held as it is there; `frames_outside` says which rows
    that concerns.

    >>> from localization import make_localizations
    >>> zero = np.zeros(3)
    >>> drift = Drift(np.arange(3), zero + 0.1, zero, zero, zero, zero, np.zeros((3, 3)), "rcc", {}, ())
    >>> apply_drift(make_localizations([1, 9], [1.0, 1.0], [2.0, 2.0], [0.0, 0.0]), drift).x_um
    array([0.9, 0.9])
    """
    if locs.frame.size == 0:
        return locs
    at = np.clip(locs.frame - drift.frame[0], 0, drift.frame.size - 1)
    columns = {}
    for axis in ("x_um", "y_um", "z_um"):
        columns[axis] = getattr(locs, axis) - getattr(drift, axis)[at]
        columns[axis].setflags(write=False)
    return replace(locs, **columns)


def frames_outside(locs: Localizations, drift: Drift) -> Ints:
    """Find the rows (k,) of a table whose frames lie before or after those of a drift.

    >>> from localization import make_localizations
    >>> zero = np.zeros(3)
    >>> drift = Drift(np.arange(3), zero, zero, zero, zero, zero, np.zeros((3, 3)), "rcc", {}, ())
    >>> frames_outside(make_localizations([1, 9], [1.0, 1.0], [2.0, 2.0], [0.0, 0.0]), drift)
    array([1])
    """
    return np.flatnonzero((locs.frame < drift.frame[0]) | (locs.frame > drift.frame[-1]))


def _check_ends_meet(
    locs: Localizations, corrected_um: Floats, segments: Segments, pixel_um: float, search_um: float
) -> Estimate:
    """Detect a failed local search: correlate a few long parts of the movie after the correction.

    Returns numbers and notes alone, for no axis. Raises LocalizationError where parts that clearly correlate do so at
    another shift than none.
    """
    span = segments.last - segments.first + 1
    parts = cut_segments(locs, max(segments.frames, -(-span // _CHECK_PARTS)), rows_each=1, most=_CHECK_PARTS)
    pairs = rcc.lateral_pairs(corrected_um, parts, pixel_um=pixel_um, search_um=search_um)
    clear = (pairs.significance >= rcc.SIGNIFICANT) & ~pairs.at_edge
    apart = np.linalg.norm(pairs.shift_um, axis=1)
    numbers = {"check_pairs": float(clear.size), "check_pairs_clear": float(clear.sum())}
    if not clear.any():
        note = "x and y: the parts of the movie are too faint to check the curve by correlation"
        return _unknown(segments.count, 0, note, **numbers)
    farthest = float(apart[clear].max())
    if farthest > 4 * pixel_um:
        raise LocalizationError(
            f"drift in x and y: after the correction {int((apart[clear] > 4 * pixel_um).sum())} of {int(clear.sum())} "
            f"pairs of parts of the movie still lie up to {farthest:.2f} um apart: the drift "
            "jumps by more than the local search; use method 'rcc', with a larger search_um if needed"
        )
    return _unknown(segments.count, 0, **numbers, check_apart_um=farthest)
