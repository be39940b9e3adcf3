"""Fourier ring correlation: the detail that two halves of a table have in common."""

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal.windows import tukey

from localization.extent import without_far_rows
from localization.pictures.render_image import Region, image_shape, table_region_um, to_image
from localization.types import LocalizationError, Localizations, select

Split = Literal["blocks", "random"]

# Nieuwenhuizen et al. 2013, doi 10.1038/nmeth.2448: threshold and split into blocks of time; Banterle et al. 2013,
# doi 10.1016/j.jsb.2013.05.004, have the same measure
FRC_THRESHOLD = 1.0 / 7.0
_TAPER = 0.25  # an eighth of the picture is faded out on either side
_BLOCK_FRAMES_MAX, _BLOCKS_MIN = 500, 20
_SIDE_MAX_PX = 12_000  # about 3 GB of pictures and spectra
_ROWS_MIN = 100
_ROWS_AT_ONCE = 128  # lines of a spectrum at a time


@dataclass(frozen=True, eq=False)
class RingCorrelation:
    """A ring correlation and where it falls below the threshold.

    `correlation` is the mean over the splits, `smoothed` that curve smoothed; both (rings,) at `frequency_per_um`.
    `resolution_um` is 1 / (the frequency where `smoothed` first falls below `threshold`), and NaN where it never
    does, which `reason` then explains (it is empty otherwise). `split_resolution_um` holds the value of every split
    by itself, `spread_um` their standard deviation: of the dealing alone, less than that of another recording. `notes`
    names rows that were left out.
    """

    frequency_per_um: NDArray[np.float64]
    correlation: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    threshold: float
    resolution_um: float
    spread_um: float
    split_resolution_um: NDArray[np.float64]
    reason: str
    n_rows: int
    pixel_um: float
    notes: tuple[str, ...] = ()


def fourier_ring_correlation(
    locs: Localizations,
    pixel_um: float,
    *,
    rng: np.random.Generator | int,
    region_um: Region | None = None,
    split: Split = "blocks",
    block_frames: int | None = None,
    repeats: int = 5,
    threshold: float = FRC_THRESHOLD,
    smooth_rings: int | None = None,
) -> RingCorrelation:
    """Measure a table's resolution: Fourier ring correlation of random halves (Nieuwenhuizen et al. 2013).

    The rows are dealt into two halves, drawn as histograms of `pixel_um` (an eighth of the resolution or less: a
    quarter makes the value some 4 % larger), faded out at the border and transformed; the correlation of the two
    spectra on rings is smoothed (locally linear, over `smooth_rings` rings, a twentieth of them by default) and read
    where it first falls below `threshold`. split "blocks" deals blocks of `block_frames` frames (by default a
    twentieth of the movie, at most 500 frames), so that a molecule that stays on mostly falls into one half;
    "random" deals rows. `repeats` splits give the spread.

    A molecule that comes back counts as detail in both halves and makes the resolution look better than the
    structure's: link blinks first, and read the value as a bound where they cannot be linked. Rows far from all others
    (`localization.extent`) are left out: in frames, and in x and y where there is no `region_um`. Raises
    LocalizationError for fewer than 100 rows in the region, a single block, lengths that are not positive, and
    pictures above 12,000 pixels a side.

    >>> from localization import make_localizations
    >>> draw = np.random.default_rng(0)
    >>> x_um, y_um = np.tile(draw.uniform(0, 3, (2, 5000)), 2) + draw.normal(0, 0.02, (2, 10000))
    >>> locs = make_localizations(np.repeat([0, 1], 5000), x_um, y_um, np.zeros(10000))
    >>> frc = fourier_ring_correlation(locs, 0.01, rng=0, block_frames=1, repeats=1)
    >>> bool(abs(frc.resolution_um / 0.09 - 1) < 0.1)  # 2 pi sigma / sqrt(ln 7)
    True
    """
    locs, far = without_far_rows(locs, ("frame",) if region_um is not None else ("x_um", "y_um", "frame"))
    region_um = table_region_um(locs, pixel_um) if region_um is None else region_um
    height, width = image_shape(pixel_um, region_um, max_pixels=_SIDE_MAX_PX**2)
    side = cast(int, scipy.fft.next_fast_len(max(height, width), real=True))
    if side > _SIDE_MAX_PX:
        raise LocalizationError(
            f"fourier_ring_correlation: {max(height, width)} pixels a side are more than {_SIDE_MAX_PX}; "
            "take larger pixels or a smaller region"
        )
    if repeats < 1 or not 0 < threshold < 1:
        raise LocalizationError(
            f"fourier_ring_correlation: repeats is {repeats}, threshold {threshold}; need >= 1 and between 0 and 1"
        )
    locs = _in_region(locs, region_um)
    if locs.frame.size < _ROWS_MIN:
        raise LocalizationError(
            f"fourier_ring_correlation: {locs.frame.size} rows in the region; need at least {_ROWS_MIN}"
        )
    draw = np.random.default_rng(rng)
    deal = _dealer(locs, split, block_frames)
    fade_y, fade_x = (tukey(n, _TAPER).astype(np.float32) for n in (height, width))

    def spectrum(table: Localizations) -> NDArray[np.complex64]:
        image = to_image(table, pixel_um, region_um=region_um, max_pixels=_SIDE_MAX_PX**2)
        image *= fade_y[:, None]
        image *= fade_x
        return np.asarray(scipy.fft.rfft2(image, s=(side, side), workers=-1, overwrite_x=True))

    rings = side // 2
    whole, sums = spectrum(locs), _Rings(side, rings)
    power = sums.total(whole, whole)
    halves = (spectrum(select(locs, deal(draw))) for _ in range(repeats))
    curves = np.array([_ring_correlation(half, whole, power, sums) for half in halves])
    frequency = np.arange(rings) / (side * pixel_um)
    span = max(5, -(-rings // 20)) if smooth_rings is None else smooth_rings
    smoothed = smooth_curve(curves.mean(axis=0), span)
    coarsest = span // 2 + 1  # rings that the smoothing mixes with the picture's mean
    resolution_um, reason = _crossing(frequency, smoothed, threshold, pixel_um, coarsest)
    smooth = [smooth_curve(curve, span) for curve in curves]
    each = np.array([_crossing(frequency, curve, threshold, pixel_um, coarsest)[0] for curve in smooth])
    defined = each[np.isfinite(each)]
    return RingCorrelation(
        frequency_per_um=frequency,
        correlation=curves.mean(axis=0),
        smoothed=smoothed,
        threshold=threshold,
        resolution_um=resolution_um,
        spread_um=float(np.std(defined, ddof=1)) if defined.size > 1 else float("nan"),
        split_resolution_um=each,
        reason=reason,
        n_rows=locs.frame.size,
        pixel_um=pixel_um,
        notes=far.note("left out"),
    )


def smooth_curve(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Smooth by local lines with tricube weights over `span` evenly spaced points (LOESS), ends included.

    >>> smooth_curve(np.array([0.0, 1.0, 2.0, 3.0]), 3).round(12)
    array([0., 1., 2., 3.])
    """
    half = max(1, span // 2)
    offset = np.arange(-half, half + 1)
    weight = (1.0 - (np.abs(offset) / (half + 1.0)) ** 3) ** 3

    def moment(series: NDArray, power: int) -> NDArray:  # sum over neighbours of weight * offset**power * value
        full = np.convolve(series, (weight * offset**power)[::-1])
        return full[half : half + series.size]

    ones = np.ones(values.size)
    s0, s1, s2 = (moment(ones, power) for power in range(3))
    t0, t1 = (moment(values, power) for power in range(2))
    return (s2 * t0 - s1 * t1) / (s0 * s2 - s1**2)


def _in_region(locs: Localizations, region_um: Region) -> Localizations:
    (x0, x1), (y0, y1) = region_um
    return select(locs, (locs.x_um >= x0) & (locs.x_um < x1) & (locs.y_um >= y0) & (locs.y_um < y1))


def _dealer(locs: Localizations, split: str, block_frames: int | None):
    """Make the function that draws which rows are in the first half."""
    n = locs.frame.size
    if split == "random":

        def deal_rows(draw: np.random.Generator) -> NDArray[np.bool_]:
            first = np.zeros(n, bool)
            first[draw.permutation(n)[: n // 2]] = True
            return first

        return deal_rows
    if split != "blocks":
        raise LocalizationError(f"fourier_ring_correlation: unknown split {split!r}; use 'blocks' or 'random'")
    start = int(locs.frame.min())
    span = int(locs.frame.max()) - start + 1
    size = max(1, min(_BLOCK_FRAMES_MAX, span // _BLOCKS_MIN)) if block_frames is None else block_frames
    if size < 1 or span <= size:
        raise LocalizationError(
            f"fourier_ring_correlation: {span} frames make one block of block_frames = {size}; take smaller blocks, or "
            "split='random'"
        )
    block = (locs.frame - start) // size
    held, number = np.unique(block, return_inverse=True)

    def deal_blocks(draw: np.random.Generator) -> NDArray[np.bool_]:
        in_first = np.zeros(held.size, bool)
        in_first[draw.permutation(held.size)[: held.size // 2]] = True
        return in_first[number]

    return deal_blocks


class _Rings:
    """Sums over rings of a real image's spectrum (side, side / 2 + 1), ring k at k cycles per side."""

    def __init__(self, side: int, rings: int):
        self.rings = rings
        down = np.minimum(np.arange(side), side - np.arange(side))
        across = np.arange(side // 2 + 1)
        ring = np.empty((side, across.size), np.int16)
        for rows in _row_blocks(side):
            ring[rows] = np.minimum(np.rint(np.hypot(down[rows, None], across)), rings)  # the corners: one more
        self.ring = ring
        # a real image's spectrum is stored by half: every column but the first and the last stands for two
        self.twice = np.where((across == 0) | ((across == side // 2) & (side % 2 == 0)), 1.0, 2.0).astype(np.float32)

    def total(self, a: NDArray[np.complex64], b: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Sum the real part of a times b conjugate, per ring."""
        sums = np.zeros(self.rings + 1)
        for rows in _row_blocks(len(a)):
            product = (a[rows].real * b[rows].real + a[rows].imag * b[rows].imag) * self.twice
            sums += np.bincount(self.ring[rows].reshape(-1), product.reshape(-1), minlength=self.rings + 1)
        return sums[: self.rings]


def _row_blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _ROWS_AT_ONCE, n)) for start in range(0, n, _ROWS_AT_ONCE)]


def _ring_correlation(
    half: NDArray[np.complex64], whole: NDArray[np.complex64], power: NDArray[np.float64], rings: _Rings
) -> NDArray[np.float64]:
    """Correlate a half with the rest of the whole, whose `power` per ring is known, ring by ring.

    The other half's spectrum is whole - half, so that a split costs one transform.
    """
    own, with_whole = rings.total(half, half), rings.total(half, whole)
    shared, rest = with_whole - own, power - 2.0 * with_whole + own
    scale = np.sqrt(np.maximum(own * rest, 0.0))
    return np.divide(shared, scale, out=np.zeros(rings.rings), where=scale > 0)


def _crossing(
    frequency: NDArray[np.float64], curve: NDArray[np.float64], threshold: float, pixel_um: float, coarsest: int
) -> tuple[float, str]:
    """Find 1 / frequency of the first fall below the threshold, by linear interpolation, or NaN and why."""
    below = np.flatnonzero(curve[1:] < threshold) + 1
    if below.size == 0:
        return float("nan"), (
            f"the correlation stays above {threshold:.3f} up to the finest detail of {2e3 * pixel_um:g} nm; take "
            "smaller pixels, and link blinks (one molecule in both halves correlates at every scale)"
        )
    k = int(below[0])
    if k <= coarsest:
        return float("nan"), (
            f"the correlation is below {threshold:.3f} from {1e3 / frequency[k]:.0f} nm on: the halves have no "
            "detail in common; check the drift, or take more localizations"
        )
    part = (curve[k - 1] - threshold) / (curve[k - 1] - curve[k])
    return 1.0 / float(frequency[k - 1] + part * (frequency[k] - frequency[k - 1])), ""
