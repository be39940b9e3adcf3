"""Decorrelation analysis: the finest detail of one picture, told from that picture alone."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray
from scipy.signal.windows import tukey

from localization.types import LocalizationError

# Descloux, Grussmayer, Radenovic 2019, doi 10.1038/s41592-019-0515-7: the curve, the sweep of filters up to 0.15 px
_FILTERS, _NARROWEST_PX = 10, 0.15
_LEAST_FALL = 1e-3  # of the curve behind a maximum that counts
_LEAST_HEIGHT = 0.05  # of a maximum that counts: below, it is noise that was filtered
_TAPER = 0.25  # an eighth of the picture is faded out on either side, as for the ring correlation
_SIDE_MIN_PX = 32
_ROWS_AT_ONCE = 128  # lines of a spectrum at a time


@dataclass(frozen=True, eq=False)
class Decorrelation:
    """A decorrelation analysis: `resolution_um` is 1 / `cutoff_per_um`, the highest frequency with structure.

    `curve` (rings,) at `frequency_per_um` is that of the picture as it is, `height` its maximum's height: about 0 for
    noise, 1 for a picture without any. `filtered` (rings,) is the curve of the high-pass filter, a Gaussian of
    `filter_px` taken away, whose maximum lies farthest out. All are NaN where no curve has a maximum; `reason` says so
    then, and is empty otherwise.
    """

    frequency_per_um: NDArray[np.float64]
    curve: NDArray[np.float64]
    filtered: NDArray[np.float64]
    cutoff_per_um: float
    resolution_um: float
    height: float
    filter_px: float
    pixel_um: float
    reason: str


def decorrelation(picture: ArrayLike, pixel_um: float) -> Decorrelation:
    """Measure the finest detail of a picture (H, W) by decorrelation analysis (Descloux et al. 2019).

    The picture's spectrum is compared with itself set to unit strength inside growing discs of frequency: structure
    makes the correlation rise, noise beyond the last structure makes it fall. High-pass filters, weak to strong, bring
    out the finest structure; the maximum that lies farthest out is the cut-off. The picture needs some noise and pixels
    finer than its detail: without noise, or where structure goes on to the finest pixel, there is no fall. Grids,
    repeated pixels and stripes count as detail. Raises LocalizationError for another shape, sides below 32 pixels,
    values that are not finite, and a pixel that is not positive.

    >>> draw = np.random.default_rng(0)
    >>> spectrum = np.fft.rfft2(draw.normal(size=(200, 200)))
    >>> spectrum[np.hypot(np.fft.fftfreq(200)[:, None], np.fft.rfftfreq(200)) > 0.2] = 0  # detail down to 5 pixels
    >>> picture = np.fft.irfft2(spectrum) + draw.normal(0, 0.02, (200, 200))
    >>> bool(abs(decorrelation(picture, 0.01).resolution_um / 0.05 - 1) < 0.03)
    True
    """
    image = np.array(picture, np.float32)
    if image.ndim != 2 or min(image.shape) < _SIDE_MIN_PX:
        raise LocalizationError(
            f"decorrelation: the picture has shape {image.shape}; pass rows and columns, {_SIDE_MIN_PX} or more of each"
        )
    if not np.isfinite(image).all():
        raise LocalizationError("decorrelation: the picture holds NaN or infinite values; cut them out or fill them")
    if not (np.isfinite(pixel_um) and pixel_um > 0):
        raise LocalizationError(f"decorrelation: pixel_um is {pixel_um}; give a positive length in um")
    height, width = image.shape
    image -= image.mean(dtype=np.float64)
    image *= tukey(height, _TAPER).astype(np.float32)[:, None] * tukey(width, _TAPER).astype(np.float32)
    strength, power, count = _ring_sums(image)
    rings = len(count)
    cycles = (np.arange(rings) + 0.5) / rings * 0.5  # per pixel, of the middle of a ring

    def curve(filter_px: float | None) -> NDArray[np.float64]:
        kept = np.ones(rings) if filter_px is None else -np.expm1(-2 * (np.pi * filter_px * cycles) ** 2)
        total = np.sqrt((kept**2 * power).sum() * np.cumsum(count))
        return np.divide(np.cumsum(kept * strength), total, out=np.zeros(rings), where=total > 0)

    plain = curve(None)
    found = {0.0: _summit(plain)}
    start = found[0.0][0]
    widest_px = max(2.0 / (2 * cycles[start]), 2.0) if start >= 0 else min(height, width) / 4
    filters = np.geomspace(widest_px, _NARROWEST_PX, _FILTERS)
    for _ in range(2):  # coarsely, then between the neighbours of the best one
        for filter_px in filters:
            found[float(filter_px)] = _summit(curve(float(filter_px)))
        best_px = max(found, key=lambda width_px: found[width_px])
        near = np.sort(filters)
        at = int(np.searchsorted(near, best_px))
        filters = np.geomspace(near[min(at + 1, near.size - 1)], near[max(at - 1, 0)], _FILTERS)
    best_px = max(found, key=lambda width_px: found[width_px])
    ring = found[best_px][0]
    frequency = (np.arange(rings) + 1) / rings * 0.5 / pixel_um  # of the outer border of a ring
    if ring < 0:
        return Decorrelation(
            frequency, plain, np.full(rings, np.nan), float("nan"), float("nan"), float("nan"), float("nan"), pixel_um,
            "no frequency beyond which noise begins: the picture is noise alone, or free of noise, or its pixels are "
            "too coarse for its detail",
        )  # fmt: skip
    cutoff = float(frequency[ring])
    return Decorrelation(
        frequency_per_um=frequency,
        curve=plain,
        filtered=curve(best_px or None),
        cutoff_per_um=cutoff,
        resolution_um=1.0 / cutoff,
        height=float(plain[start]) if start >= 0 else 0.0,
        filter_px=best_px,
        pixel_um=pixel_um,
        reason="",
    )


def _ring_sums(image: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum modulus, squared modulus and number of a spectrum's pixels on rings that end at half a cycle per pixel."""
    height, width = image.shape
    rings = min(height, width) // 2
    spectrum = np.asarray(scipy.fft.rfft2(image, workers=-1, overwrite_x=True))
    down, across = scipy.fft.fftfreq(height), scipy.fft.rfftfreq(width)
    # a real image's spectrum is stored by half: every column but the first and the last stands for two
    twice = np.where((across == 0) | ((across == 0.5) & (width % 2 == 0)), 1.0, 2.0)
    sums = np.zeros((3, rings + 1))
    for start in range(0, height, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        radius = np.hypot(down[rows, None], across)
        ring = np.minimum((2 * rings * radius).astype(np.int64), rings).ravel()  # the corners: one more
        modulus = np.abs(spectrum[rows]).astype(np.float64)
        for k, weight in enumerate((modulus * twice, modulus**2 * twice, np.broadcast_to(twice, modulus.shape))):
            sums[k] += np.bincount(ring, weight.ravel(), minlength=rings + 1)
    return sums[0, :rings], sums[1, :rings], sums[2, :rings]


def _summit(curve: NDArray[np.float64]) -> tuple[int, float]:
    """Find the ring of the last maximum behind which the curve falls, and its height; (-1, 0) without one."""
    end = curve.size
    while end > 1:
        at = int(np.argmax(curve[:end]))
        if at == 0:
            break
        if at < end - 1 and curve[at] - curve[at:].min() >= _LEAST_FALL:
            return (at, float(curve[at])) if curve[at] >= _LEAST_HEIGHT else (-1, 0.0)
        end = at
    return -1, 0.0
