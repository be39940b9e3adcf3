"""What is in the patches of a stretch of frames: AutoDS's features, and density and brightness beyond its peaks.

AutoDS counts peaks (npj Imaging 2025, doi 10.1038/s44303-025-00123-w); where spots overlap, or are dim, peaks are too
few or noise. How pixels fluctuate together says more: emitters that blink independently give neighbouring pixels a
common second cumulant of density times brightness squared, and a third of density times brightness cubed, to which the
noise of single pixels adds nothing (the cumulants of SOFI, Dertinger et al. 2009, doi 10.1073/pnas.0907866106). Their
ratio is the brightness, and the density follows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from localization.patches.layout import Patches
from localization.patches.levels import difficulty_level, notebook_level
from localization.types import LocalizationError

FLUCTUATING = 12  # frames from which on pixels are compared with their own mean; fewer with the patch's
DARK = 0.25  # share of the pixels that are taken for background
SURE = 5.5  # sigmas of a matched filter at which a peak cannot be noise
SEEN = 4.5  # sigmas below which a patch of a frame is called empty
ALIKE = 1.1  # what the third cumulant's density lacks where the brightness of emitters spreads by a sixth
_LAGS = {1.0: ((0, 1), (1, 0)), 4.0: ((0, 2), (2, 0))}  # squared distance in px: shifts
_CORNERS = (((0, 1), (1, 0)), ((0, 1), (1, 1)), ((1, 0), (1, 1)), ((1, -1), (1, 0)))  # three of 2 x 2 pixels
_DARK_PX, _AROUND_PX = 1.5, 21
_CENTRE = np.float32(ndimage.gaussian_filter1d(np.eye(1, 31, 15)[0], _DARK_PX)[15] ** 2)  # weight of the pixel itself
_NEXT_PX = 4
_USUAL_PX, _USUAL_SPREAD_PX = 1.25, 0.25
_WIDTHS = (0.7, 3.0)  # px, sigmas that spots of a microscope have


@dataclass(frozen=True, eq=False)
class PatchFeatures:
    """Features of R x C patches over a stretch of frames, each (R, C) unless said otherwise.

    `background` and `noise` are mean and spread of the dark pixels, `peak` what the brightest pixel of a mean emitter
    stands above the background (all in the frames' unit), `snr` = peak / noise, `density_per_um2` emitters per frame
    and area, `width_px` (a number) the sigma of spots, `level` 1 to 4, 0 where
    nothing is seen. `counted_per_um2` and `counted_snr` are the
    published features: peaks above mean + 3 std, the noise outside 5 x 5 boxes. `seen` (T, R, C): whether anything
    stands out of the noise in a patch of a frame; `empty`: nothing does in any.
    """

    patches: Patches
    background: NDArray[np.float64]
    noise: NDArray[np.float64]
    peak: NDArray[np.float64]
    snr: NDArray[np.float64]
    density_per_um2: NDArray[np.float64]
    width_px: float
    counted_per_um2: NDArray[np.float64]
    counted_snr: NDArray[np.float64]
    level: NDArray[np.int64]
    seen: NDArray[np.bool_]

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Patches with nothing to read in any frame."""
        return np.logical_not(self.seen.any(axis=0))


def patch_features(
    frames: ArrayLike, patches: Patches, pixel_um: float, *, width_px: float | None = None, parity: bool = False
) -> PatchFeatures:
    """Measure the patches of a stretch of frames (T, H, W), in counts or photons.

    `width_px` is the sigma of spots where it is known; else it is measured. Densities and ratios are those of emitters
    whose brightness spreads by a sixth, unless more of them are surely seen than those explain: then it spreads more.
    `parity` takes levels from the published peaks by the published notebook's rule. Raises LocalizationError for
    frames of another shape or with values that are not finite.

    >>> from localization.patches import cut_patches
    >>> frames = np.random.default_rng(0).normal(100, 5, (20, 70, 70))
    >>> bool(patch_features(frames, cut_patches((70, 70), 0.1), 0.1).density_per_um2[0, 0] < 0.05)
    True
    """
    stack = np.asarray(frames, np.float32)
    if stack.ndim != 3 or 0 in stack.shape or stack.shape[1:] != (patches.row_edges[-1], patches.column_edges[-1]):
        raise LocalizationError(f"patch_features: frames of shape {stack.shape} are not (T, H, W) of these patches")
    if not np.isfinite(stack).all():
        raise LocalizationError("patch_features: frames hold NaN or infinite values; mask or replace those pixels")
    if not pixel_um > 0:
        raise LocalizationError(f"patch_features: pixel_um = {pixel_um} must be positive")
    area = patches.pixels * pixel_um**2
    background, noise = _dark(stack, patches)
    products = _Products(stack, patches)
    second, third = products.second, products.third
    count = len(stack) * patches.pixels
    clear = second[1.0] > 5 * np.maximum(noise, 1e-30) ** 2 / np.sqrt(count)
    sigma = _width(second, clear, count, noise) if width_px is None else width_px
    seen, sure, sure_peak = _standing_out(stack, patches, background, noise, sigma)
    density, peak = _emitters(second, third, clear, sigma, area / patches.pixels, sure / area)
    still = ~clear & (sure > 0)  # what does not blink is counted
    density, peak = np.where(still, sure / area, density), np.where(still, sure_peak, peak)
    snr = np.divide(peak, noise, out=np.zeros_like(peak), where=noise > 0)
    counted, counted_snr, over = _counted(stack, patches, background)
    level = notebook_level(counted / area, over) if parity else difficulty_level(density, snr)
    level = np.where(seen.any(axis=0), level, 0)
    return PatchFeatures(
        patches, background, noise, peak, snr, density, sigma, counted / area, counted_snr, level, seen
    )


def _dark(stack: NDArray[np.float32], patches: Patches) -> tuple[NDArray, NDArray]:
    """Mean and noise of the darkest pixels of each patch.

    Dark are those whose neighbours are, under a Gaussian of 1.5 px, for the 21 px around them; noise is what is left of
    them by a filter that answers neither to level, slope nor bend of the image (Immerkaer 1996,
    doi 10.1006/cviu.1996.0060).
    """
    shape = patches.shape
    level, power = np.zeros(shape), np.zeros(shape)
    for frame in stack:
        # without the pixel itself, so that its own noise does not choose it
        smooth = ndimage.gaussian_filter(frame, _DARK_PX, mode="reflect") - _CENTRE * frame
        # and less what is around it, so that all of an uneven background has its say
        smooth -= ndimage.uniform_filter(frame, _AROUND_PX, mode="reflect")
        bend = ndimage.correlate1d(frame, [1.0, -2.0, 1.0], axis=0, mode="reflect")
        bend = ndimage.correlate1d(bend, [1.0, -2.0, 1.0], axis=1, mode="reflect")
        for r, c, rows, columns in patches.each():
            part = smooth[rows, columns]
            dark = part <= np.quantile(part, DARK)
            level[r, c] += frame[rows, columns][dark].mean()
            power[r, c] += (bend[rows, columns][dark] ** 2).mean() / 36
    return level / len(stack), np.sqrt(power / len(stack))


class _Products:
    """Second and third cumulants between neighbouring pixels, averaged over each patch and the stretch."""

    def __init__(self, stack: NDArray[np.float32], patches: Patches) -> None:
        n = len(stack)
        steady = n >= FLUCTUATING
        mean = stack.mean(axis=0, dtype=np.float64).astype(np.float32) if steady else None
        two, three = (n / (n - 1), n**2 / ((n - 1) * (n - 2))) if steady else (1.0, 1.0)
        second = {lag: np.zeros(patches.shape) for lag in _LAGS}
        third = np.zeros(patches.shape)
        for frame in stack:
            moved = frame - mean if mean is not None else _level(frame, patches)
            near = np.pad(moved, 2)
            for lag, shifts in _LAGS.items():
                second[lag] += patches.mean(moved * sum((_shifted(near, *s) for s in shifts), 0 * moved))
            corners = sum((_shifted(near, *a) * _shifted(near, *b) for a, b in _CORNERS), 0 * moved)
            third += patches.mean(moved * corners)
        inside = np.pad(np.ones(stack.shape[1:], np.float32), 2)  # partners beyond the frame count for nothing
        none = 0 * inside[2:-2, 2:-2]
        pairs = {lag: patches.mean(sum((_shifted(inside, *s) for s in shifts), none)) for lag, shifts in _LAGS.items()}
        triples = patches.mean(sum((_shifted(inside, *a) * _shifted(inside, *b) for a, b in _CORNERS), none))
        self.second = {lag: two * total / (n * np.maximum(pairs[lag], 1e-9)) for lag, total in second.items()}
        self.third = three * third / (n * np.maximum(triples, 1e-9))


def _level(frame: NDArray[np.float32], patches: Patches) -> NDArray[np.float32]:
    """A frame less the mean of each patch."""
    mean = patches.mean(frame).astype(np.float32)
    rows, columns = np.diff(patches.row_edges), np.diff(patches.column_edges)
    return frame - np.repeat(np.repeat(mean, rows, axis=0), columns, axis=1)


def _shifted(padded: NDArray, down: int, right: int) -> NDArray:
    """The pixel that far down and right of each, of an image with 2 zeros around it."""
    height, width = padded.shape
    return padded[2 + down : height - 2 + down, 2 + right : width - 2 + right]


def _width(second: dict[float, NDArray], clear: NDArray, count: NDArray, noise: NDArray) -> float:
    """Sigma of spots in px, from how fast the common fluctuation of two pixels falls with their distance.

    Their ratio at 1 and 2 px is exp(3 / 4 s2). Where little is seen the width that microscopes are built for weighs in.
    """
    near, far = (float((second[lag] * count)[clear].sum()) for lag in (1.0, 4.0))
    usual, spread = 3 / (4 * _USUAL_PX**2), 1.5 * _USUAL_SPREAD_PX / _USUAL_PX**3
    if not (near > 0 and far > 0):
        return _USUAL_PX
    error = float(np.sqrt((count * noise**4)[clear].sum() / 2))
    found = math.hypot(error / near, error / far)
    ratio = (usual / spread**2 + math.log(near / far) / found**2) / (1 / spread**2 + 1 / found**2)
    return float(np.clip(math.sqrt(3 / (4 * max(ratio, 1e-3))), *_WIDTHS))


def _emitters(
    second: dict[float, NDArray],
    third: NDArray,
    clear: NDArray,
    sigma: float,
    pixel_area: NDArray,
    least: NDArray,
) -> tuple[NDArray, NDArray]:
    """Density per um2 and mean peak of each patch, of Gaussian spots of `sigma` px.

    Emitters of brightness a (of a spot centred on a pixel): second = rho E[a2] pi s2 exp(-r2 / 4 s2), third = rho E[a3]
    (2 pi s2 / 3) exp(-(sum of squared distances) / 6 s2). With a from a gamma distribution of shape k, the density is
    (k + 2)2 / (k (k + 1)) times that of equal ones: `ALIKE`, unless `least` asks for more.
    """
    g2 = second[1.0] / (math.pi * sigma**2) * math.exp(1 / (4 * sigma**2))
    g3 = third / (2 * math.pi * sigma**2 / 3) * math.exp(4 / (6 * sigma**2))  # 1 + 1 + 2 between three of 2 x 2 pixels
    good = clear & (g2 > 0) & (g3 > 0)
    safe2, safe3 = np.where(good, g2, 1.0), np.where(good, g3, 1.0)
    equal = safe2**3 / safe3**2 / pixel_area
    factor = np.clip(least / equal, ALIKE, 1e3)
    # (k + 2)2 = f k (k + 1): the positive root of (f - 1) k2 + (f - 4) k - 4 = 0
    f = factor
    k = (4 - f + np.sqrt((f - 4) ** 2 + 16 * (f - 1))) / (2 * (f - 1))
    # where an emitter lies in its brightest pixel takes some of its peak
    off_centre = (math.sqrt(2 * math.pi) * sigma * math.erf(0.5 / (math.sqrt(2) * sigma))) ** 2
    peak = safe3 / safe2 * k / (k + 2) * off_centre
    return np.where(good, equal * factor, 0.0), np.where(good, peak, 0.0)


def _standing_out(
    stack: NDArray[np.float32], patches: Patches, background: NDArray, noise: NDArray, sigma: float
) -> tuple[NDArray[np.bool_], NDArray, NDArray]:
    """What stands out of the noise: (seen (T, R, C), sure peaks a frame, their mean height)."""
    seen = np.zeros((len(stack), *patches.shape), bool)
    sure, height = np.zeros(patches.shape), np.zeros(patches.shape)
    wide = 2.5 * sigma
    gain = _filter_noise(sigma, wide)  # what the filter leaves of white noise
    scale = np.repeat(np.repeat(noise * gain, np.diff(patches.row_edges), 0), np.diff(patches.column_edges), 1)
    for t, frame in enumerate(stack):
        found = ndimage.gaussian_filter(frame, sigma, mode="reflect") - ndimage.gaussian_filter(
            frame, wide, mode="reflect"
        )
        found[found <= 1e-6 * np.abs(frame)] = 0.0  # rounding, in a frame without noise
        # what stands next to a patch counts in it too, as its light does
        seen[t] = patches.largest(ndimage.maximum_filter(found - SEEN * scale, 2 * _NEXT_PX + 1)) > 0
        top = (found == ndimage.maximum_filter(found, 3, mode="nearest")) & (found > SURE * scale)
        sure += patches.mean(top) * patches.pixels
        height += patches.mean(np.where(top, frame, 0)) * patches.pixels
    mean = np.divide(height, sure, out=np.zeros_like(height), where=sure > 0)
    return seen, sure / len(stack), np.where(sure > 0, np.maximum(mean - background, 0), 0.0)


def _filter_noise(sigma: float, wide: float) -> float:
    """Spread of white noise of spread 1 after the difference of two Gaussians."""
    mixed = sigma**2 + wide**2
    return math.sqrt((1 / sigma**2 + 1 / wide**2) / (4 * math.pi) - 1 / (math.pi * mixed))


def _counted(stack: NDArray[np.float32], patches: Patches, background: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """The published features: peaks a frame, their height over the noise's spread, and over the noise's mean."""
    counts, snr, over, frames = (np.zeros(patches.shape) for _ in range(4))
    for frame in stack:
        top = frame == ndimage.maximum_filter(frame, 3, mode="nearest")
        for r, c, image, peaks in _thresholded(frame - background.min(), top, patches):
            counts[r, c] += peaks.sum()
            around = np.logical_not(ndimage.maximum_filter(peaks, 5))
            if not peaks.any() or not around.any():
                continue
            base, spread = image[around].mean(), image[around].std()
            frames[r, c] += 1
            snr[r, c] += (image[peaks].mean() - base) / spread if spread > 0 else 0.0
            over[r, c] += image[peaks].mean() / base if base > 0 else 0.0
    frames = np.maximum(frames, 1)
    return counts / len(stack), snr / frames, over / frames


def _thresholded(
    frame: NDArray, top: NDArray[np.bool_], patches: Patches
) -> Iterator[tuple[int, int, NDArray, NDArray[np.bool_]]]:
    """Each patch with its maxima above mean + 3 std."""
    for r, c, rows, columns in patches.each():
        image = frame[rows, columns]
        yield r, c, image, top[rows, columns] & (image > image.mean() + 3 * image.std())
