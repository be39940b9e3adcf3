"""Offset, gain and read noise of a camera from dark and flat frames: the photon-transfer curve, pixel by pixel.

A flat is a movie of constant light. Over levels of light, variance = gain * (mean - offset) + read variance, in
every pixel (Janesick 2007, doi 10.1117/3.725073, ch. 5; per pixel Huang et al. 2013, doi 10.1038/nmeth.2488).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from localization.camera.photometry import rounding_step
from localization.camera.saturation import readings_pile_up
from localization.io.movie import Movie
from localization.types import LocalizationError

_CHUNK_PX = 2**24  # pixels that are read at a time
_LEAST_FRAMES = 8
_BLOCKS = 4  # blocks a side for the jackknife
_PILED_UP = 1e-4  # share of the readings on the last value of the range that is no chance
_HOT = 5e-3  # share of the pixels that may sit there by themselves
_BENT = 0.05  # share of the signal's variance that a straight photon-transfer line may miss at the brightest level


@dataclass(frozen=True, eq=False)
class LevelStatistics:
    """One movie of constant light, or of none: mean and variance over time of each pixel, in counts.

    `mean_adu`, `variance_adu` (H, W), the variance without the frames' common flicker and without that of rounding
    to multiples of `step_adu`. `share_lowest` and `share_highest` are the shares of readings that pile up on the
    least and the largest value, 0 where those are only the ends of a tail. `drift` is the variance about the mean
    over that of successive frames, less 1: above 0 where pixels drift.
    """

    mean_adu: NDArray[np.float64]
    variance_adu: NDArray[np.float64]
    frames: int
    step_adu: float
    lowest_adu: float
    highest_adu: float
    share_lowest: float
    share_highest: float
    flicker: float
    drift: float


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """A camera's numbers with one standard error each, and its maps (H, W).

    `read_noise_e` is the rms over pixels, `read_noise_median_e` the median. `bend` is the share by which the
    variance of the brightest level leaves the straight line (None with a single level). `level_mean_adu`,
    `level_variance_adu` (levels,) are means over pixels, the dark first. `map_error` is the relative standard error
    of one pixel's gain. `warnings` are sentences for a user.
    """

    gain_adu_per_e: float
    offset_adu: float
    read_noise_e: float
    gain_error: float
    offset_error_adu: float
    read_noise_error_e: float
    read_noise_median_e: float
    bend: float | None
    offset_map_adu: NDArray[np.float64]
    gain_map_adu_per_e: NDArray[np.float64]
    read_noise_map_e: NDArray[np.float64]
    map_error: float
    level_mean_adu: NDArray[np.float64]
    level_variance_adu: NDArray[np.float64]
    warnings: tuple[str, ...]


def measure_level(
    frames: ArrayLike | Movie,
    dark: LevelStatistics | None = None,
    *,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> LevelStatistics:
    """Measure mean and variance over time of every pixel of a movie (T, H, W) of constant light.

    The light's common flicker, read off the frames' means, is taken out of the variance; it is proportional to
    the pixel's light, for which `dark` gives the zero. A `Movie` is read from disk twice, in parts. `report`
    receives frames read and to be read.
    Raises LocalizationError for fewer than 8 frames, NaN or Inf, and a dark of another size.

    >>> rng = np.random.default_rng(0)
    >>> level = measure_level(rng.poisson(50.0, (200, 16, 16)))
    >>> bool(abs(level.mean_adu.mean() - 50) < 0.2), bool(abs(level.variance_adu.mean() - 50) < 2)
    (True, True)
    """
    source = frames if isinstance(frames, Movie) else np.asarray(frames)
    name = f"{source.path}: " if isinstance(source, Movie) else ""
    if len(source.shape) != 3:
        raise LocalizationError(f"{name}frames have shape {source.shape}; pass a movie (frames, height, width)")
    n, shape = source.shape[0], source.shape[1:]
    if n < _LEAST_FRAMES:
        raise LocalizationError(f"{name}{n} frames are too few to measure noise; record at least 100 ({n} < 8)")
    if dark is not None and dark.mean_adu.shape != shape:
        raise LocalizationError(
            f"{name}frames of {shape[0]} x {shape[1]} px do not fit the dark's {dark.mean_adu.shape[0]} x "
            f"{dark.mean_adu.shape[1]}; record both with one region of interest"
        )
    total, frame_means, low, high = np.zeros(shape), [], np.inf, -np.inf
    step = rounding_step(_parts(source, 2).__next__())
    for done, part in _counted(source):
        if not np.isfinite(part).all():
            raise LocalizationError(f"{name}frames hold NaN or Inf; pass the camera's counts")
        total += part.sum(axis=0)
        frame_means.extend(part.mean(axis=(1, 2)))
        low, high = min(low, part.min()), max(high, part.max())
        report(done, 2 * n)
    mean = total / n
    offset = 0.0 if dark is None else dark.mean_adu
    light, change = mean - offset, np.array(frame_means) - np.mean(frame_means)
    # a dark has no light to flicker: what its frames have in common is the offset's own
    pattern = light / light.mean() if dark is not None and light.mean() > 0 else np.ones(shape)
    about_mean, successive, previous = np.zeros(shape), 0.0, None
    ends = np.zeros(4)  # readings on the lowest value, next to it, next to the highest, on it
    touched = np.zeros((2, *shape), bool)  # pixels that ever read the lowest, the highest
    for done, part in _counted(source):
        left = part - mean - change[done - len(part) : done, None, None] * pattern
        about_mean += (left**2).sum(axis=0)
        row = left if previous is None else np.concatenate([previous[None], left])
        successive += (np.diff(row, axis=0) ** 2).sum()
        previous = left[-1]
        ends += [np.count_nonzero(part == value) for value in (low, low + step, high - step, high)]
        touched |= [(part == value).any(axis=0) for value in (low, high)]
        report(n + done, 2 * n)
    variance = about_mean / (n - 1)
    share = ends / (n * mean.size)
    piled = [
        step > 0
        and high > low
        and readings_pile_up(share[end], share[beside], where.mean(), least=_PILED_UP, least_places=_HOT)
        for end, beside, where in ((0, 1, touched[0]), (3, 2, touched[1]))
    ]
    by_steps = successive / (2 * (n - 1) * mean.size)
    return LevelStatistics(
        mean_adu=mean,
        variance_adu=variance - step**2 / 12,
        frames=n,
        step_adu=step,
        lowest_adu=float(low),
        highest_adu=float(high),
        share_lowest=float(share[0]) if piled[0] else 0.0,
        share_highest=float(share[3]) if piled[1] else 0.0,
        flicker=float(np.std(change) / max(abs(np.mean(light)), 1e-300)),
        drift=float(variance.mean() / by_steps - 1) if by_steps > 0 else 0.0,
    )


def _parts(source: Movie | NDArray, most: int | None = None) -> Iterator[NDArray]:
    n, height, width = source.shape
    size = most or max(1, _CHUNK_PX // (height * width))
    for first in range(0, n, size):
        stop = min(first + size, n)
        part = source.read(first, stop) if isinstance(source, Movie) else source[first:stop]
        yield np.asarray(part, dtype=np.float64)


def _counted(source: Movie | NDArray) -> Iterator[tuple[int, NDArray]]:
    done = 0
    for part in _parts(source):
        done += len(part)
        yield done, part


def calibrate_camera(dark: LevelStatistics, flats: Sequence[LevelStatistics]) -> CameraCalibration:
    """Measure offset, gain and read noise of the camera that recorded a dark and at least one flat.

    The gain is the slope of variance less the dark's against mean less the dark's, weighted by the variance's own
    error, for each pixel and for the whole sensor; errors of the whole are a jackknife over 4 x 4 blocks. Flats that
    saturate are left out with a warning; so warned are few frames, drift, a photon-transfer curve that bends, and
    noise finer than a count.
    Assumed: light that is constant but for a common flicker, pixels that do not share charge, one exposure time.
    Raises LocalizationError where no flat is usable or brighter than the dark, or the dark is cut off at its least
    value.

    >>> rng = np.random.default_rng(0)
    >>> electrons = lambda light: rng.poisson(light, (100, 32, 32)) + rng.normal(0, 1.5, (100, 32, 32))
    >>> dark, flat = (measure_level(np.round(100 + 2 * electrons(light))) for light in (0.0, 200.0))
    >>> found = calibrate_camera(dark, [flat])
    >>> abs(found.gain_adu_per_e - 2) < 0.03, abs(found.offset_adu - 100) < 0.1, abs(found.read_noise_e - 1.5) < 0.05
    (True, True, True)
    """
    usable, warnings = _usable(dark, flats)
    line = _Line(
        signal=np.array([flat.mean_adu - dark.mean_adu for flat in usable]),
        variance=np.array([flat.variance_adu - dark.variance_adu for flat in usable]),
        # a variance from n samples has the variance 2 variance^2 / n
        weight=np.array([flat.frames / 2 / float(np.mean(flat.variance_adu)) ** 2 for flat in usable]),
    )
    block = _blocks(dark.mean_adu.shape)
    gain, offset, read = _numbers(line, dark, np.ones(block.shape, bool))
    if not gain > 0:
        raise LocalizationError(
            "the flats are no noisier than the dark; check that they are single exposures, not averages"
        )
    left_out = np.array([_numbers(line, dark, block != k) for k in np.unique(block)])
    n = len(left_out)
    errors = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))
    signal, variance = np.mean(line.signal, axis=(1, 2)), np.mean(line.variance, axis=(1, 2))
    read_map = np.sqrt(np.maximum(dark.variance_adu, 0)) / gain
    bend = _bend(signal, variance, line.weight, len(usable))
    if bend is not None and abs(bend) > _BENT:
        warnings.append(
            f"the photon-transfer curve bends: at the brightest level the variance is {100 * bend:+.0f} % off the "
            "line; leave out the brightest flats, or the gain is a compromise"
        )
    return CameraCalibration(
        gain_adu_per_e=float(gain),
        offset_adu=float(offset),
        read_noise_e=float(read),
        gain_error=float(errors[0]),
        offset_error_adu=float(errors[1]),
        read_noise_error_e=float(errors[2]),
        read_noise_median_e=float(np.median(read_map)),
        bend=bend,
        offset_map_adu=dark.mean_adu,
        gain_map_adu_per_e=_slope(line.weight[:, None, None], line.signal, line.variance),
        read_noise_map_e=read_map,
        map_error=float(1 / np.sqrt(float(np.sum(line.weight * signal**2))) / gain),
        level_mean_adu=np.array([float(np.mean(level.mean_adu)) for level in (dark, *usable)]),
        level_variance_adu=np.array([float(np.mean(level.variance_adu)) for level in (dark, *usable)]),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, eq=False)
class _Line:
    """The photon-transfer line of every pixel: signal and variance less the dark's (levels, H, W), weight (levels,)."""

    signal: NDArray
    variance: NDArray
    weight: NDArray


def _usable(dark: LevelStatistics, flats: Sequence[LevelStatistics]) -> tuple[list[LevelStatistics], list[str]]:
    """Choose the flats to measure the gain with, by rising light, and collect warnings. Raises where none is left."""
    if dark.share_lowest > 0:
        raise LocalizationError(
            f"the dark frames are cut off at {dark.lowest_adu:g} ({100 * dark.share_lowest:.2g} % of the readings): "
            "raise the camera's offset, or record without background subtraction"
        )
    usable: list[LevelStatistics] = []
    warnings: list[str] = []
    for number, flat in enumerate(flats, 1):
        if flat.share_highest > 0:
            warnings.append(
                f"flat {number} saturates at {flat.highest_adu:g} ({100 * flat.share_highest:.2g} % of the readings) "
                "and is left out; record it with less light"
            )
        elif not np.mean(flat.mean_adu) - np.mean(dark.mean_adu) > np.sqrt(max(np.mean(dark.variance_adu), 0.0)) / 10:
            warnings.append(f"flat {number} is no brighter than the dark and is left out")
        else:
            usable.append(flat)
    if not usable:
        raise LocalizationError(
            "no flat is left to measure the gain with: " + "; ".join(warnings or ["none was given"])
        )
    usable.sort(key=lambda flat: float(np.mean(flat.mean_adu)))
    return usable, warnings + _doubts(dark, usable)


def _slope(weight: NDArray, signal: NDArray, variance: NDArray) -> NDArray:
    """Fit the slope of the weighted line through the origin, over the levels."""
    return np.sum(weight * signal * variance, axis=0) / np.sum(weight * signal**2, axis=0)


def _numbers(line: _Line, dark: LevelStatistics, keep: NDArray) -> NDArray:
    """Estimate gain, offset and read noise (3,) of the pixels that are kept."""
    gain = _slope(line.weight, line.signal[:, keep].mean(axis=1), line.variance[:, keep].mean(axis=1))
    read = np.sqrt(max(np.mean(dark.variance_adu[keep]), 0.0)) / gain
    return np.array([gain, np.mean(dark.mean_adu[keep]), read])


def _blocks(shape: tuple[int, ...]) -> NDArray:
    row, column = (np.arange(n) * _BLOCKS // n for n in shape)
    return row[:, None] * _BLOCKS + column


def _bend(signal: NDArray, variance: NDArray, weight: NDArray, levels: int) -> float | None:
    """Fit the quadratic part of the photon-transfer curve at the brightest level, as a share of its straight part."""
    if levels < 2:
        return None
    design = np.sqrt(weight)[:, None] * np.column_stack([signal, signal**2]) / signal.max() ** np.array([1, 2])
    straight, square = np.linalg.lstsq(design, np.sqrt(weight) * variance, rcond=None)[0]
    return float(square / straight)


def _doubts(dark: LevelStatistics, flats: Sequence[LevelStatistics]) -> list[str]:
    doubts = []
    few = [level.frames for level in (dark, *flats) if level.frames < 100]
    if few:
        doubts.append(
            f"only {min(few)} frames: a pixel's own variance is known to {100 * np.sqrt(2 / (min(few) - 1)):.0f} %; "
            "the maps want 100 frames or more"
        )
    if np.sqrt(max(np.mean(dark.variance_adu), 0.0)) < 0.5 * dark.step_adu:
        doubts.append(
            f"the read noise is finer than a count ({dark.step_adu:g}); rounding hides it, so that its size is rough"
        )
    for name, level in (("dark", dark), *((f"flat at {np.mean(flat.mean_adu):.0f}", flat) for flat in flats)):
        if level.drift > 0.05:
            doubts.append(
                f"the {name} drifts: its variance is {100 * level.drift:.0f} % above that of successive frames"
            )
        if level.share_lowest > 0:
            doubts.append(f"the {name} is cut off at {level.lowest_adu:g}")
    return doubts
