"""Pictures of a table: counts per pixel, or every row as a Gaussian as wide as its own uncertainty."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline
from scipy.special import ndtr

from localization.extent import far_rows
from localization.types import LocalizationError, Localizations

RenderMode = Literal["histogram", "gaussian"]
Region = tuple[tuple[float, float], tuple[float, float]]

MAX_PIXELS = 400_000_000  # 1.6 GB of float32
_REACH = 4.0  # Gaussians are cut at this many sigma (6e-5 per side) and scaled up to what was cut
_FINE_SIGMA_PX = 4.0  # wider ones are summed on every second, fourth, ... pixel, at 2 to 4 steps per sigma
_CELLS = 2_000_000  # pixels of Gaussians at a time
_MARGIN = 4  # steps of a coarse grid beyond the picture: the spline's ends lie outside


def to_image(
    locs: Localizations,
    pixel_um: float,
    *,
    mode: RenderMode = "histogram",
    region_um: Region | None = None,
    z_range_um: tuple[float, float] | None = None,
    sigma_um: float | None = None,
    min_sigma_um: float = 0.0,
    weights: ArrayLike | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.float32]:
    """Draw a table as an image (H, W), in rows (or summed `weights`, shape (n,)) per pixel.

    `region_um` is ((x0, x1), (y0, y1)); row 0 begins at y0, column 0 at x0, and the last ones may end beyond x1
    and y1. Without it, it is `table_region_um`. `z_range_um` (low <= z < high) leaves rows out. mode "gaussian"
    draws every row with its own sigma_x_um and sigma_y_um (with `sigma_um` for all where given, and never less
    than `min_sigma_um`), integrated over pixels, so that a row adds 1 to the image less what crosses its border:
    a region is a cut-out of the whole picture. Against the exact sum the error is below 0.1 % of a row's peak.
    An empty table gives zeros. Raises LocalizationError for lengths that are not positive, a region without
    area, a picture above `max_pixels`, and rows without a sigma where it is needed.

    >>> from localization import make_localizations
    >>> locs = make_localizations([0, 0], [0.15, 0.35], [0.05, 0.05], [0.0, 0.0])
    >>> to_image(locs, 0.1, region_um=((0.0, 0.4), (0.0, 0.1)))
    array([[0., 1., 0., 1.]], dtype=float32)
    """
    if mode not in ("histogram", "gaussian"):
        raise LocalizationError(f"to_image: unknown mode {mode!r}; use 'histogram' or 'gaussian'")
    if region_um is None:
        region_um = table_region_um(locs, pixel_um)
        try:
            height, width = image_shape(pixel_um, region_um, max_pixels=max_pixels)
        except LocalizationError as error:
            raise LocalizationError(f"{error}{far_rows(locs, ('x_um', 'y_um')).hint()}") from error
    else:
        height, width = image_shape(pixel_um, region_um, max_pixels=max_pixels)
    kept = _inside_z(locs, z_range_um)
    (x0_um, _), (y0_um, _) = region_um
    x_px, y_px = (locs.x_um[kept] - x0_um) / pixel_um, (locs.y_um[kept] - y0_um) / pixel_um
    weight = _weights(locs, weights)[kept]
    if mode == "histogram":
        return _histogram(x_px, y_px, weight, height, width)
    sx_px, sy_px = (s[kept] / pixel_um for s in _sigmas_um(locs, sigma_um, min_sigma_um, kept))
    return _gaussians(x_px, y_px, sx_px, sy_px, weight, height, width)


def table_region_um(locs: Localizations, pixel_um: float, margin_um: float = 0.0) -> Region:
    """Find the bounding box ((x0, x1), (y0, y1)) of a table, outwards to whole pixels from 0; one pixel if empty.

    >>> from localization import make_localizations
    >>> table_region_um(make_localizations([0], [0.7], [0.3], [0.0]), 0.5)
    ((0.5, 1.0), (0.0, 0.5))
    """
    _check_pixel(pixel_um)
    if locs.frame.size == 0:
        return ((0.0, pixel_um), (0.0, pixel_um))
    (x0, x1), (y0, y1) = (
        (np.floor((column.min() - margin_um) / pixel_um), np.floor((column.max() + margin_um) / pixel_um) + 1)
        for column in (locs.x_um, locs.y_um)
    )
    return ((float(x0 * pixel_um), float(x1 * pixel_um)), (float(y0 * pixel_um), float(y1 * pixel_um)))


def image_shape(pixel_um: float, region_um: Region, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Count rows and columns of a picture of `region_um`, before memory is asked for.

    >>> image_shape(0.1, ((0.0, 2.0), (0.0, 1.05)))
    (11, 20)
    """
    _check_pixel(pixel_um)
    sides = []
    for name, (low, high) in zip("xy", region_um, strict=True):
        if not (np.isfinite([low, high]).all() and high > low):
            raise LocalizationError(f"to_image: the region spans {low} to {high} um in {name}; give low < high")
        sides.append(np.ceil((high - low) / pixel_um - 1e-6))
    width, height = (max(side, 1.0) for side in sides)
    if width * height > max_pixels:
        raise LocalizationError(
            f"to_image: {width:.0f} x {height:.0f} pixels of {1e3 * pixel_um:g} nm are more than the "
            f"{max_pixels / 1e6:g} million allowed; take larger pixels or a smaller region"
        )
    return int(height), int(width)


def _check_pixel(pixel_um: float) -> None:
    if not (np.isfinite(pixel_um) and pixel_um > 0):
        raise LocalizationError(f"to_image: pixel_um is {pixel_um}; give a positive length in um")


def _inside_z(locs: Localizations, z_range_um: tuple[float, float] | None) -> NDArray[np.bool_]:
    if z_range_um is None:
        return np.ones(locs.frame.size, bool)
    low, high = z_range_um
    if not low < high:
        raise LocalizationError(f"to_image: z_range_um is {low} to {high}; give low < high")
    return (locs.z_um >= low) & (locs.z_um < high)


def _weights(locs: Localizations, weights: ArrayLike | None) -> NDArray[np.float32]:
    if weights is None:
        return np.ones(locs.frame.size, np.float32)
    weight = np.asarray(weights, np.float32)
    if weight.shape != locs.frame.shape or not np.isfinite(weight).all():
        raise LocalizationError(
            f"to_image: weights have shape {weight.shape}, the table {locs.frame.shape}; give one finite number per row"
        )
    return weight


def _sigmas_um(
    locs: Localizations, sigma_um: float | None, min_sigma_um: float, kept: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not (np.isfinite(min_sigma_um) and min_sigma_um >= 0):
        raise LocalizationError(f"to_image: min_sigma_um is {min_sigma_um}; give a length in um from 0 on")
    if sigma_um is not None:
        if not (np.isfinite(sigma_um) and sigma_um > 0):
            raise LocalizationError(f"to_image: sigma_um is {sigma_um}; give a positive length in um")
        both = np.full(locs.frame.size, max(sigma_um, min_sigma_um))
        return both, both
    bad = kept & ~(np.isfinite(locs.sigma_x_um) & np.isfinite(locs.sigma_y_um))
    bad |= kept & ((locs.sigma_x_um < 0) | (locs.sigma_y_um < 0))
    if bad.any():
        raise LocalizationError(
            f"to_image: {int(bad.sum())} of {int(kept.sum())} rows have no uncertainty in x and y; give sigma_um for "
            "all, drop those rows, or draw a histogram"
        )
    return np.maximum(locs.sigma_x_um, min_sigma_um), np.maximum(locs.sigma_y_um, min_sigma_um)


def _histogram(x_px: NDArray, y_px: NDArray, weight: NDArray, height: int, width: int) -> NDArray[np.float32]:
    image = np.zeros((height, width), np.float32)
    inside = (x_px >= 0) & (x_px < width) & (y_px >= 0) & (y_px < height)
    flat = y_px[inside].astype(np.int64) * width + x_px[inside].astype(np.int64)
    np.add.at(image.reshape(-1), flat, weight[inside])
    return image


def _gaussians(
    x_px: NDArray, y_px: NDArray, sx_px: NDArray, sy_px: NDArray, weight: NDArray, height: int, width: int
) -> NDArray[np.float32]:
    image = np.zeros((height, width), np.float32)
    near = (x_px > -_REACH * sx_px - 1) & (x_px < width + _REACH * sx_px + 1)
    near &= (y_px > -_REACH * sy_px - 1) & (y_px < height + _REACH * sy_px + 1)
    columns = [column[near] for column in (x_px, y_px, sx_px, sy_px, weight)]
    narrow = np.maximum(np.minimum(columns[2], columns[3]), 1e-9)
    level = np.maximum(0, np.floor(np.log2(narrow / _FINE_SIGMA_PX)) + 1).astype(np.int64)
    for coarseness in np.unique(level):
        rows = [column[level == coarseness] for column in columns]
        if coarseness == 0:
            _add_patches(image, *rows, step=1, first=0)
            continue
        step = 2 ** int(coarseness)
        first = -_MARGIN * step  # the fine pixel that the first node stands on
        shape = [-(-side // step) + 2 * _MARGIN + 1 for side in (height, width)]
        coarse = np.zeros(shape, np.float32)
        _add_patches(coarse, *rows, step=step, first=first)
        _add_interpolated(image, coarse, step, first)
    return image


def _add_patches(
    image: NDArray[np.float32],
    x_px: NDArray,
    y_px: NDArray,
    sx_px: NDArray,
    sy_px: NDArray,
    weight: NDArray,
    *,
    step: int,
    first: int,
) -> None:
    """Add the Gaussians' exact integrals over the pixels first, first + step, ... of either axis, in place."""
    half_x, half_y = (np.ceil(_REACH * s / step).astype(np.int64) for s in (sx_px, sy_px))
    # rows of one patch size together, neighbours in the image one after the other: memory is met in order
    order = np.lexsort((x_px, np.floor(y_px / 64.0), half_x, half_y))
    edges = np.flatnonzero((np.diff(half_x[order], prepend=-1) != 0) | (np.diff(half_y[order], prepend=-1) != 0))
    flat, (height, width) = image.reshape(-1), image.shape
    for start, stop in zip(edges, [*edges[1:], order.size], strict=True):
        hx, hy = int(half_x[order[start]]), int(half_y[order[start]])
        at_once = max(1, _CELLS // ((2 * hx + 1) * (2 * hy + 1)))
        for chunk in range(start, stop, at_once):
            rows = order[chunk : min(chunk + at_once, stop)]
            column, along = _integrals(x_px[rows], sx_px[rows], hx, step, first, width)
            row, down = _integrals(y_px[rows], sy_px[rows], hy, step, first, height)
            down *= weight[rows, None]
            cells = row[:, :, None] * width + column[:, None, :]
            np.add.at(flat, cells.reshape(-1), (down[:, :, None] * along[:, None, :]).reshape(-1))


def _integrals(
    centre_px: NDArray, sigma_px: NDArray, half: int, step: int, first: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Compute nodes (n, 2 half + 1) and each Gaussian's integral over their pixels; 0 outside."""
    node = np.floor((centre_px - first) / step).astype(np.int64)[:, None] + np.arange(-half, half + 1)
    left = (node * step + first).astype(np.float64) - centre_px[:, None]
    scale = np.maximum(sigma_px, 1e-9)[:, None]
    if step == 1:  # pixels touch: one value per edge serves two of them, and what was cut is known
        edge = ndtr(np.concatenate([left, left[:, -1:] + 1.0], axis=1) / scale)
        value = np.diff(edge, axis=1) / (edge[:, -1:] - edge[:, :1])
    else:
        value = ndtr((left + 1.0) / scale) - ndtr(left / scale)
    outside = (node < 0) | (node >= size)
    value[outside] = 0.0
    node[outside] = 0
    return node, value.astype(np.float32)


def _add_interpolated(image: NDArray[np.float32], coarse: NDArray[np.float32], step: int, first: int) -> None:
    """Add the cubic spline through the coarse nodes, in place.

    At 2 to 4 nodes per sigma its error is below (step / sigma)^4 / 240 = 3e-4 of a Gaussian's peak per axis.
    """
    height, width = image.shape
    nodes_y, nodes_x = (first + step * np.arange(n) for n in coarse.shape)
    down = make_interp_spline(nodes_y, coarse, k=3, axis=0)
    rows_at_once = max(1, _CELLS // coarse.shape[1])
    for start in range(0, height, rows_at_once):
        rows = np.arange(start, min(start + rows_at_once, height))
        lines = make_interp_spline(nodes_x, down(rows), k=3, axis=1)
        columns_at_once = max(1, _CELLS // rows.size)
        for left in range(0, width, columns_at_once):
            columns = np.arange(left, min(left + columns_at_once, width))
            image[start : rows[-1] + 1, left : columns[-1] + 1] += lines(columns).astype(np.float32)
