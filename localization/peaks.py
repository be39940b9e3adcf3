"""Turns what a network paints (a volume, or a map of probabilities) into discrete emitters."""

from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from localization.types import LocalizationError, Localizations, make_localizations

DEEPSTORM3D_RADIUS = 4  # voxels; half-side of the published non-maximum-suppression cube
DECODE_SPLIT_THRESHOLD = 0.6  # above it, a pixel beside a maximum counts as an emitter of its own

_CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
# A maximum must beat the neighbours before it in raster order and equal those after it, so that of equal
# neighbours exactly one is the maximum.
_BEFORE = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
_AFTER = ((0, 1), (1, -1), (1, 0), (1, 1))


def volume_peaks(
    volume: ArrayLike,
    *,
    pixel_um: float,
    z_min_um: float,
    z_max_um: float,
    threshold: float,
    upsampling: int = 4,
    radius: int = DEEPSTORM3D_RADIUS,
    shift_fine_px: float = 0.0,
    frame: int = 0,
    rows: tuple[int, int] | None = None,
    columns: tuple[int, int] | None = None,
) -> Localizations:
    """Localize one frame from a volume (D, H, W) of non-negative confidences, as DeepSTORM3D does.

    A voxel is a peak when it is above `threshold` (strict) and nothing in the cube of side 2 radius + 1
    around it is larger; of equal maxima all are kept. Its position is refined by the centre of mass of the
    volume in that cube, below the threshold too, with zeros outside the volume. The score is the peak's
    value.

    H and W are `upsampling` times those of the camera frame, whose pixel is `pixel_um` in the sample; z runs
    from `z_min_um` to `z_max_um` over the D planes. With i the voxel index and d the refinement, in voxels:

        x_um = (i + d + 0.5 + shift_fine_px) * pixel_um / upsampling
        z_um = z_min_um + (i + d + 0.5) * (z_max_um - z_min_um) / D

    That is the plain geometry: in units of fine = pixel_um / upsampling, voxel i covers i to i + 1 from the
    outer corner. The published code works from the centre of the frame and with u = upsampling, W camera
    pixels, writes x_c = (i + d - floor(u W / 2) + 2 + 0.5) * fine. Its forward model puts x_c = 0 in the
    middle of the frame, so x_um = x_c + u W / 2 * fine, and for u = 4 its "+ 2" is our shift_fine_px = 2 (u
    W is even). Where the 2 comes from: its training labels are i = floor(x_c / fine) + u floor(W / 2),
    which for odd W lies u / 2 voxels before the image's own grid. A network trained on them has learned
    that offset and wants shift_fine_px = u / 2 (2 at u = 4, 0.5 at u = 1) for odd W, and 0 for even W. Of
    the published weights demo 2 wants 2; demo 3 and demo 5 want 0 (they predate those labels, it seems;
    with 2 they are 55 nm off).

    Only peaks whose voxel lies in `rows` and `columns` (start, stop; default all) are returned. What lies
    beyond still takes part: with overlapping pieces of a large volume, each peak comes out once and the same.

    Raises LocalizationError for a volume that is not (D, H, W), negative or not finite, a negative
    threshold, and sizes that are not positive.

    >>> volume = np.zeros((3, 16, 16)); volume[1, 5, 9] = 100.0
    >>> locs = volume_peaks(volume, pixel_um=0.1, z_min_um=0.0, z_max_um=3.0, threshold=40.0)
    >>> [round(float(v[0]), 4) for v in (locs.x_um, locs.y_um, locs.z_um, locs.score)]
    [0.2375, 0.1375, 1.5, 100.0]
    """
    values = np.asarray(volume)
    _check_volume(values, pixel_um, z_min_um, z_max_um, threshold, upsampling, radius)
    # Zeros all round stand for what lies outside; a flat view then reaches every neighbour by one stride.
    padded = np.pad(values, radius)
    flat = padded.ravel()
    _, height, width = padded.shape
    offsets = sorted(product(range(-radius, radius + 1), repeat=3), key=lambda o: o[0] ** 2 + o[1] ** 2 + o[2] ** 2)
    steps = [(dz * height + dy) * width + dx for dz, dy, dx in offsets]

    # Candidates are few; each neighbour, nearest first, strikes out those that it exceeds.
    peaks = np.flatnonzero(flat > threshold)
    inside = np.ones(peaks.size, bool)
    for wanted, place in ((rows, peaks // width % height), (columns, peaks % width)):
        if wanted is not None:
            inside &= (place >= wanted[0] + radius) & (place < wanted[1] + radius)
    peaks = peaks[inside]
    for step in steps:
        peaks = peaks[flat[peaks + step] <= flat[peaks]]

    mass, moment = np.zeros(peaks.size), np.zeros((3, peaks.size))
    for offset, step in zip(offsets, steps, strict=True):
        weight = flat[peaks + step].astype(np.float64)
        mass += weight
        for axis in range(3):
            if offset[axis]:
                moment[axis] += offset[axis] * weight
    index = np.stack(np.unravel_index(peaks, padded.shape)) - radius
    z, y, x = index + moment / mass + 0.5
    fine_um = pixel_um / upsampling
    return make_localizations(
        frame=np.full(peaks.size, frame),
        x_um=(x + shift_fine_px) * fine_um,
        y_um=(y + shift_fine_px) * fine_um,
        z_um=z_min_um + z * (z_max_um - z_min_um) / values.shape[0],
        score=flat[peaks],
    )


def _check_volume(
    values: NDArray,
    pixel_um: float,
    z_min_um: float,
    z_max_um: float,
    threshold: float,
    upsampling: int,
    radius: int,
) -> None:
    if values.ndim != 3 or 0 in values.shape:
        raise LocalizationError(f"volume_peaks: the volume has shape {values.shape}; pass one (D, H, W)")
    if not values.min() >= 0 or not np.isfinite(values.max()):
        raise LocalizationError("volume_peaks: the volume holds negative, NaN or infinite values; clamp it at 0 first")
    if not threshold >= 0:
        raise LocalizationError(f"volume_peaks: threshold is {threshold}; it must be 0 or more")
    if not (pixel_um > 0 and z_max_um > z_min_um and upsampling >= 1 and radius >= 1):
        raise LocalizationError(
            f"volume_peaks: pixel_um {pixel_um}, z {z_min_um} to {z_max_um}, upsampling {upsampling}, radius "
            f"{radius}; need a positive pixel, z_max above z_min, and at least 1 for the others"
        )


def list_peaks(
    probability: ArrayLike,
    *,
    raw_threshold: float = 0.1,
    threshold: float = 0.5,
    split_threshold: float = DECODE_SPLIT_THRESHOLD,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pick the emitters from maps of per-pixel probability, in the way DECODE introduced.

    A pixel is picked when it is above `raw_threshold` and the largest of its 3 x 3 neighbourhood (of equal
    neighbours the first in raster order), or when it is above `split_threshold` without being the largest
    (a second emitter next door). Its probability is that of itself and its 4 neighbours, summed and cut at
    1: an emitter near a pixel's border shares its probability with the next pixel. Picks of at least
    `threshold` stay.

    `probability` has shape (H, W) or (B, H, W). Returns (b, i, j, p): batch index, row, column, and summed
    probability, each of shape (picks,), in raster order; the caller gathers the other maps at [b, i, j].
    Raises LocalizationError for another shape, values outside [0, 1], and thresholds outside [0, 1].

    >>> probability = np.zeros((5, 5)); probability[2, 2:4] = [0.5, 0.25]
    >>> list_peaks(probability)
    (array([0]), array([2]), array([2]), array([0.75]))
    """
    maps = np.asarray(probability)
    if maps.ndim == 2:
        maps = maps[None]
    if maps.ndim != 3:
        raise LocalizationError(f"list_peaks: probability has shape {maps.shape}; pass (H, W) or (B, H, W)")
    if maps.size and not (maps.min() >= 0 and maps.max() <= 1):
        raise LocalizationError("list_peaks: probabilities outside [0, 1] or NaN; apply the sigmoid first")
    thresholds = {"raw_threshold": raw_threshold, "threshold": threshold, "split_threshold": split_threshold}
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise LocalizationError(f"list_peaks: {name} is {value}; it must lie in [0, 1]")

    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    flat, width = padded.ravel(), padded.shape[2]
    candidates = np.flatnonzero(flat > raw_threshold)
    value = flat[candidates]
    largest = np.ones(candidates.size, bool)
    for di, dj in _BEFORE:
        largest &= value > flat[candidates + di * width + dj]
    for di, dj in _AFTER:
        largest &= value >= flat[candidates + di * width + dj]

    picks = candidates[largest | (value > split_threshold)]
    summed = np.zeros(picks.size)
    for di, dj in _CROSS:
        summed += flat[picks + di * width + dj]
    summed = np.minimum(summed, 1.0)
    kept = summed >= threshold
    b, i, j = np.unravel_index(picks[kept], padded.shape)
    return b, i - 1, j - 1, summed[kept]
