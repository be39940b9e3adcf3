"""How bright a movie's molecules and its darkness are: what a simulation of it has to know.

Two ways to the same numbers. AutoDS3D's (npj Imaging 2025, doi 10.1038/s44303-025-00123-w) takes the darkest and the
brightest pixel of a sparse region; ours takes the fits of molecules that stand alone.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from localization.filters import count_neighbours
from localization.types import LocalizationError, Localizations

MOST_FRAMES = 1000  # the last ones of a movie
WIDENED = (1.0, 1.4)  # of the darkest pixel's mean and standard deviation
SHARES = (0.5, 1.1)  # of the brightest molecule's photons
_QUIET = 5.0  # standard deviations that a pixel without molecules stays below
_LEAST_ISOLATED = 20

Range = tuple[float, float]


@dataclass(frozen=True)
class DarkestPixel:
    """The pixel (row, column) of a region that is darkest over time: its mean and standard deviation, in counts."""

    row: int
    column: int
    mean_adu: float
    std_adu: float

    @property
    def mean_range_adu(self) -> Range:
        """The darkness that frames are simulated with: the mean, widened."""
        return WIDENED[0] * self.mean_adu, WIDENED[1] * self.mean_adu

    @property
    def std_range_adu(self) -> Range:
        """The noise that frames are simulated with: the standard deviation, widened."""
        return WIDENED[0] * self.std_adu, WIDENED[1] * self.std_adu


def darkest_pixel(frames: ArrayLike) -> DarkestPixel:
    """Find the darkest pixel of a sparse region (T, H, W): what the light is where no molecule is.

    Of pixels that never rise more than 5 standard deviations above their mean, in the last 1,000 frames, that of the
    lowest mean; of all pixels where each does. As the least of many means it is low by their scatter. Raises
    `LocalizationError` for another shape, NaN and a single frame.

    >>> movie = np.random.default_rng(0).normal(100, 5, (400, 8, 8))
    >>> dark = darkest_pixel(movie)
    >>> abs(dark.mean_adu - 100) < 1.5, abs(dark.std_adu - 5) < 0.7
    (True, True)
    """
    movie = _checked(frames, 2)[-MOST_FRAMES:]
    mean, std = movie.mean(axis=0), movie.std(axis=0)
    quiet = movie.max(axis=0) <= mean + _QUIET * std
    row, column = np.unravel_index(np.argmin(np.where(quiet, mean, np.inf) if quiet.any() else mean), mean.shape)
    return DarkestPixel(int(row), int(column), float(mean[row, column]), float(std[row, column]))


def brightest_photons(frames: ArrayLike, peak_shares: ArrayLike, dark: DarkestPixel) -> float:
    """Estimate the photons, in counts, of the brightest molecule of a sparse region (T, H, W) from its brightest pixel.

    `peak_shares` (depths,) is the share of a molecule's light that its brightest pixel has, at depths over the range:
    1 / share is averaged over them, as the molecule's depth is not known. The darkness is taken off first. Noise,
    overlap and a sharp depth make the estimate large; it is why frames are simulated with 0.5 to 1.1 of it (`SHARES`),
    which is still too much where the share changes more than twofold over the depths. Raises
    `LocalizationError` for shares outside (0, 1] and a region that is nowhere brighter than its darkness.

    >>> movie = np.full((5, 9, 9), 10.0); movie[2, 4, 4] = 60.0
    >>> round(brightest_photons(movie, [0.1, 0.05], darkest_pixel(movie)))
    750
    """
    shares = np.atleast_1d(np.asarray(peak_shares, np.float64))
    if not (shares.size and np.all((shares > 0) & (shares <= 1))):
        raise LocalizationError("peak_shares: the share of the light in one pixel must lie in (0, 1]")
    above = float(_checked(frames, 1)[-MOST_FRAMES:].max()) - dark.mean_adu
    if not above > 0:
        raise LocalizationError("no pixel of the region is brighter than its darkest; choose one with molecules")
    return above * float(np.mean(1 / shares))


@dataclass(frozen=True)
class LightLevels:
    """What a list says of a movie: 5 to 95 % of `photons` and `background` (per pixel), 1 to 99 % of `z_um`, and the
    mean and 95 % of the rows in a frame; `isolated` rows tell of photons, out of `rows`."""

    photons: Range
    background: Range
    z_um: Range
    mean_per_frame: float
    many_per_frame: float
    isolated: int
    rows: int


def light_levels(locs: Localizations, n_frames: int, apart_um: float) -> LightLevels:
    """Read off a list of fits how bright molecules and background are, and how many there are in a frame.

    Photons and background are those of molecules with no other within `apart_um` (twice that of a stamp's half) in
    their frame; of all where fewer than 20 stand alone. Raises `LocalizationError` for a list without rows or photons.

    >>> from localization import make_localizations
    >>> levels = light_levels(make_localizations([0, 1, 1], [1, 1, 9], [1, 1, 9], [0, 0.5, 1], photons=[900, 1e3, 1100],
    ...                       background=[9, 10, 11]), 4, 2.0)
    >>> levels.rows, levels.isolated, levels.mean_per_frame
    (3, 3, 0.75)
    """
    photons, background = locs.photons, locs.background
    known = np.isfinite(photons) & np.isfinite(background) & (photons > 0)
    if not known.any():
        raise LocalizationError("no row of the list has photons and a background; fit some frames with molecules first")
    alone = known & isolated(locs, apart_um)
    told = alone if alone.sum() >= _LEAST_ISOLATED else known
    counted = np.bincount(locs.frame - locs.frame.min(), minlength=n_frames)
    return LightLevels(
        photons=_quantiles(photons[told], 0.05),
        background=_quantiles(background[told], 0.05),
        z_um=_quantiles(locs.z_um[known], 0.01),
        mean_per_frame=float(counted.sum() / n_frames),
        many_per_frame=float(np.quantile(counted, 0.95)),
        isolated=int(alone.sum()),
        rows=int(locs.frame.size),
    )


def isolated(locs: Localizations, apart_um: float) -> NDArray[np.bool_]:
    """Say which rows (N,) have no other within `apart_um` sideways in their own frame."""
    # frames as a third axis, on which others are always too far
    own_frame = replace(locs, z_um=locs.frame.astype(np.float64))
    return count_neighbours(own_frame, radius_um=apart_um, z_radius_um=0.5) == 0


def subtract_floor(frames: ArrayLike, block: int = 100, percentile: float = 0.0) -> NDArray[np.float64]:
    """Take from every pixel of a movie (T, H, W) its minimum, or a percentile, over each block of frames.

    AutoDS3D's background removal; what is left of the last block joins the one before it. A minimum lies below the
    background by about 2.5 standard deviations of its noise, and hides a molecule that stays on through a block. The
    joint fit and decoders trained with a background need none of this: they know a background. Raises
    `LocalizationError` for another shape, NaN, and a block or percentile that cannot be.

    >>> movie = np.arange(250.0)[:, None, None] + np.zeros((250, 2, 2))
    >>> left = subtract_floor(movie)
    >>> left[[0, 99, 100, 249], 0, 0].tolist()
    [0.0, 99.0, 0.0, 149.0]
    """
    movie = _checked(frames, 1)
    if block < 1 or not 0 <= percentile <= 100:
        raise LocalizationError(f"block = {block}, percentile = {percentile}: give 1 or more frames, and 0 to 100")
    starts = list(range(0, max(len(movie) // block, 1) * block, block))
    left = np.empty_like(movie)
    for first, stop in zip(starts, [*starts[1:], len(movie)], strict=True):
        part = movie[first:stop]
        left[first:stop] = part - (part.min(axis=0) if percentile == 0 else np.percentile(part, percentile, axis=0))
    return left


def _checked(frames: ArrayLike, least: int) -> NDArray[np.float64]:
    movie = np.asarray(frames, np.float64)
    if movie.ndim != 3 or len(movie) < least or 0 in movie.shape:
        raise LocalizationError(f"frames have shape {movie.shape}; pass a movie of {least} or more (T, H, W)")
    if not np.isfinite(movie).all():
        raise LocalizationError("frames hold NaN or Inf; pass what the camera gave")
    return movie


def _quantiles(values: NDArray, tail: float) -> Range:
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
