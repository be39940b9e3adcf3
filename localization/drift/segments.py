"""What both drift estimators share: segments of a movie, the summit of a correlation, a curve through segments."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from localization.types import LocalizationError, Localizations

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

MIN_ROWS = 50  # fewer localizations than this say nothing about a segment
FRAMES_MAX = 10_000_000  # a curve has a value for each: 0.3 GB


@dataclass(frozen=True, eq=False)
class Segments:
    """Rows of a table by segment of the movie: `order[start[k]:stop[k]]` are those of segment k.

    `centre_frame` (S,) is the mean frame of a segment's localizations, `frames` the length of a segment, `first`
    and `last` the movie's frames that hold localizations, `dropped` the number of segments with too few.
    """

    order: Ints
    start: Ints
    stop: Ints
    centre_frame: Floats
    frames: int
    first: int
    last: int
    dropped: int

    @property
    def count(self) -> int:
        """Number of usable segments."""
        return self.start.size

    def rows(self, k: int) -> Ints:
        """Rows of segment k."""
        return self.order[self.start[k] : self.stop[k]]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Drift of the segments (S, axes) in um, its standard error (axes,), and what is known about both.

    `diagnostics` holds the method's numbers, `notes` what the user should know.
    """

    drift_um: Floats
    noise_um: Floats
    diagnostics: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """A way to estimate drift: `lateral(xy_um, segments, pixel_um, search_um)`, then `axial(xyz_um, ...)`.

    `pixel_um` is the usual pixel. Segments are chosen to hold `rows_each` localizations, with at most `most` of them.
    A method with `local` search follows the drift from segment to segment and may lose it where it jumps.
    """

    lateral: Callable[[Floats, Segments, float, float], Estimate]
    axial: Callable[[Floats, Segments, float, float], Estimate]
    pixel_um: float
    rows_each: int
    most: int
    local: bool


def cut_segments(locs: Localizations, segment_frames: int | None, *, rows_each: int, most: int) -> Segments:
    """Cut a movie into segments of equal length.

    `segment_frames` None: as many segments as hold `rows_each` localizations on average, at most `most`, at
    least 3. Segments with fewer than `MIN_ROWS` localizations are left out. Raises LocalizationError for an
    empty table, too few frames, and fewer than two usable segments.
    """
    n_rows = locs.frame.size
    if n_rows == 0:
        raise LocalizationError("drift: the table is empty; there is nothing to estimate drift from")
    first, last = int(locs.frame.min()), int(locs.frame.max())
    span = last - first + 1
    if span > FRAMES_MAX:
        raise LocalizationError(
            f"drift: the localizations span {span} frames, more than {FRAMES_MAX}; are these times? "
            "Number the frames, or cut the list (colocus filter LIST --out GOOD 'frames=[from,to]')"
        )
    if segment_frames is None:
        wanted = int(np.clip(n_rows // rows_each, 3, most))
        segment_frames = -(-span // wanted)
    if int(segment_frames) != segment_frames or segment_frames < 1:
        raise LocalizationError(f"drift: segment_frames is {segment_frames}; give a whole number of frames above 0")
    frames = int(segment_frames)
    count = max(1, round(span / frames))
    if count < 2:
        raise LocalizationError(
            f"drift: the localizations span {span} frames, fewer than two segments of {frames}; give a smaller "
            "segment_frames, or leave so short a movie as it is"
        )
    edges = np.round(np.linspace(first, last + 1, count + 1)).astype(np.int64)
    order = np.argsort(locs.frame, kind="stable")
    bounds = np.searchsorted(locs.frame[order], edges)
    start, stop = bounds[:-1], bounds[1:]
    full = stop - start >= MIN_ROWS
    if full.sum() < 2:
        raise LocalizationError(
            f"drift: only {int(full.sum())} of {count} segments of {frames} frames hold {MIN_ROWS} localizations or "
            f"more (median {np.median(stop - start):.0f}); give a larger segment_frames"
        )
    start, stop = start[full], stop[full]
    centre = np.array([locs.frame[order[a:b]].mean() for a, b in zip(start, stop, strict=True)])
    return Segments(order, start, stop, centre, frames, first, last, int(count - full.sum()))


def summit(values: NDArray, start: tuple[int, ...], width_px: float) -> Floats:
    """Find the summit of `values` (one or two axes) near the index `start`, in fractions of a pixel.

    A parabola is fitted with Gaussian weights of standard deviation `width_px` that are centred anew on each
    estimate: what is symmetric about the summit, as the autocorrelation of any structure is, does not move it.
    """
    centre = np.array(start, np.float64)
    reach = int(np.ceil(3.5 * width_px))
    low = [max(0, s - reach) for s in start]
    high = [min(n, s + reach + 1) for s, n in zip(start, values.shape, strict=True)]
    part = values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float64)
    grid = np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij")
    points = np.stack([axis.ravel() for axis in grid], axis=1)
    part = part.ravel() / max(1e-30, float(np.abs(part).max()))
    for _ in range(12):
        d = points - centre
        root = np.exp(-np.sum(d**2, axis=1) / (4 * width_px**2))
        columns = [np.ones(len(d)), *d.T, *(d**2).T]
        if d.shape[1] == 2:
            columns.append(d[:, 0] * d[:, 1])
        fit = np.linalg.lstsq(np.stack(columns, axis=1) * root[:, None], part * root, rcond=None)[0]
        n = d.shape[1]
        hessian = np.diag(2 * fit[1 + n : 1 + 2 * n])
        if n == 2:
            hessian[0, 1] = hessian[1, 0] = fit[5]
        if np.linalg.eigvalsh(hessian).max() >= 0:
            return np.array(start, np.float64)  # no summit here: the caller's significance test says so
        step = np.clip(np.linalg.solve(hessian, -fit[1 : 1 + n]), -0.5, 0.5)
        centre = np.clip(centre + step, np.array(start) - 2.0 * width_px, np.array(start) + 2.0 * width_px)
        if np.abs(step).max() < 1e-4:
            break
    return centre


def curve(centre_frame: Floats, drift_um: Floats, first: int, last: int) -> Floats:
    """Interpolate the drift (frames, axes) at each frame from `first` to `last` from the segments' (S, axes).

    A cubic spline, between segments alone: before the first centre and after the last one the curve goes on
    straight, along the line through the two outermost segments.
    """
    frames = np.arange(first, last + 1, dtype=np.float64)
    if centre_frame.size < 4:
        inside = np.stack([np.interp(frames, centre_frame, axis) for axis in drift_um.T], axis=1)
    else:
        spline = make_interp_spline(centre_frame, drift_um, k=3, bc_type="natural")
        inside = spline(np.clip(frames, centre_frame[0], centre_frame[-1]))
    for a, b, outside in ((0, 1, frames < centre_frame[0]), (-1, -2, frames > centre_frame[-1])):
        slope = (drift_um[a] - drift_um[b]) / (centre_frame[a] - centre_frame[b])
        inside[outside] = drift_um[a] + (frames[outside, None] - centre_frame[a]) * slope
    return inside


def curve_error_um(drift_um: Floats, noise_um: float) -> float:
    """Estimate the standard error of the curve at a frame, from the error of a segment's drift (both in um).

    Between segments the drift is taken to wander like Brownian motion of variance q per frame. Means over
    segments of L frames then have second differences of variance q L (plus 6 noise^2), and what interpolation
    between the means misses has a variance of q L / 12 at a segment's centre and q L / 6 at its border.
    """
    if drift_um.size < 3:
        return float(np.hypot(noise_um, np.ptp(drift_um) / 8**0.5))
    wander = np.mean(np.diff(drift_um, 2) ** 2) - 6 * noise_um**2
    return float(np.sqrt(noise_um**2 + max(0.0, float(wander)) / 8))


def halves(xy_um: Floats) -> Ints:
    """Part the field of view as a checkerboard, (n,) of 0 and 1: two halves of the structure that share no molecule."""
    low, span = xy_um.min(axis=0), np.maximum(np.ptp(xy_um, axis=0), 1e-9)
    tiles = 2 * np.maximum(1, np.ceil(span / 25))
    return (np.floor((xy_um - low) / span * tiles * (1 - 1e-12)).astype(np.int64).sum(axis=1)) % 2


def cells(xy_um: Floats, side_um: float) -> Ints:
    """Number the lateral cell of each row, (n,), over the cells that are not empty."""
    at = np.floor((xy_um - xy_um.min(axis=0)) / side_um).astype(np.int64)
    return np.unique(at[:, 0] * (int(at[:, 1].max()) + 1) + at[:, 1], return_inverse=True)[1]
