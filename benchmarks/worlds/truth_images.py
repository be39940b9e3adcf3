"""Images of one emitter for the joint fit on sets with truth, as a table: what each set states or calibrates with."""

from collections.abc import Callable

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from experiments.reading.spots import SpotTable
from optics.psf_table import tabulate_images
from worlds import DATA
from worlds.truth_data import TruthSet, epfl_calibration

_BEAD_PX = 67  # of the EPFL bead's crop: its pictures end at a circle of 25 px radius
# The planes have five principal components above their noise; a polynomial in z of degree 8 through every second plane
# predicts the others best.
_CAP_BEAD = "2"
_BEAD_COMPONENTS, _BEAD_DEGREE = 5, 8


def gaussian_of(sigma_um: float, pixel_um: float, image_px: int) -> SpotTable:
    """Gaussian spots of one known width, integrated over pixels; their third coordinate changes nothing."""
    edges = (np.arange(image_px + 1) - image_px / 2) * pixel_um

    def images(points: NDArray) -> NDArray:
        x, y = (np.diff(ndtr((edges - points[:, k, None]) / sigma_um)) for k in (0, 1))
        return (y[:, :, None] * x[:, None, :]).reshape(len(points), -1)

    return _table(images, (0.0, 1.0), image_px, pixel_um, (9, 1), deep=False)


def two_lobes(one: TruthSet, image_px: int = 21) -> SpotTable:
    """Two Gaussians that turn with z: width, distance and turn fitted to the emitters of the calibrating frame."""
    assert one.training is not None
    truth, frame, pixel = one.training.truth, np.asarray(one.training.frames[0], float), one.pixel_um
    crops, places = [], np.stack([truth.x_um, truth.y_um, truth.z_um], axis=1)
    half = image_px // 2
    for n, (x_um, y_um, _) in enumerate(places):
        row, column = (round(at / pixel - 0.5) for at in (y_um, x_um))
        crops.append(frame[row - half : row + half + 1, column - half : column + half + 1])
        places[n, :2] -= np.array([column + 0.5, row + 0.5]) * pixel

    def images(points: NDArray, shape: NDArray) -> NDArray:
        sigma, distance, angle, turn = shape
        edges = (np.arange(image_px + 1) - image_px / 2) * pixel
        total = np.zeros((len(points), image_px, image_px))
        for side in (-0.5, 0.5):
            at = side * distance, angle + turn * points[:, 2]
            x, y = points[:, 0] + at[0] * np.cos(at[1]), points[:, 1] + at[0] * np.sin(at[1])
            across, down = (np.diff(ndtr((edges - centre[:, None]) / sigma)) / 2 for centre in (x, y))
            total += down[:, :, None] * across[:, None, :]
        return total.reshape(len(points), -1)

    data = np.stack(crops).reshape(len(crops), -1)

    def rest(shape: NDArray) -> NDArray:
        drawn = images(places, shape)
        drawn = drawn - drawn.mean(axis=1, keepdims=True)
        light = (drawn * data).sum(axis=1) / (drawn**2).sum(axis=1)
        return (data - data.mean(axis=1, keepdims=True) - light[:, None] * drawn).ravel() / data.std()

    starts = (np.array([pixel, 4 * pixel, angle, turn]) for angle in np.arange(0, np.pi, 0.5) for turn in (-1.5, 1.5))
    shape = min((least_squares(rest, start) for start in starts), key=lambda fit: fit.cost).x
    return _table(lambda p: images(p, shape), (-0.8, 0.8), image_px, pixel, (12, 24), deep=True)


def epfl_bead(image_px: int = 51) -> SpotTable:
    """The pictures of the calibrating bead, smoothed, moved by their Fourier transforms."""
    movie = np.asarray(tifffile.imread(DATA / "vipr-epfl-dh-beads" / "rows_000-090.tif"), float)
    (x_um, y_um), z_um = epfl_calibration()
    row, column = (round(at / 0.1 - 0.5) for at in (y_um, x_um))
    half = _BEAD_PX // 2
    planes, seen = _around(movie, row, column)
    # the frame ends 20 px above the bead: the cap beyond is that of another one, moved to the same place in its pixel
    (x2_um, y2_um), _ = epfl_calibration(_CAP_BEAD)
    row2, column2 = (round(at / 0.1 - 0.5) for at in (y2_um, x2_um))
    moved = np.array([x_um - x2_um, y_um - y2_um]) / 0.1 - np.array([column - column2, row - row2])
    cap = _moved(_around(movie, row2, column2)[0], *(np.full(len(movie), by) for by in moved))
    planes = np.where(seen, planes, cap)
    away = np.hypot(*np.meshgrid(*[np.arange(_BEAD_PX) - half] * 2))
    planes *= away < 27
    low, high = float(z_um.min()), float(z_um.max())
    left, strength, right = np.linalg.svd(planes.reshape(len(z_um), -1), full_matrices=False)
    along = left[:, :_BEAD_COMPONENTS] * strength[:_BEAD_COMPONENTS]
    series = np.polynomial.chebyshev.chebfit(_unit(z_um, low, high), along, _BEAD_DEGREE) @ right[:_BEAD_COMPONENTS]
    light = float(planes.sum(axis=(1, 2)).mean())
    rest = np.array([x_um - (column + 0.5) * 0.1, y_um - (row + 0.5) * 0.1])  # of the bead from its crop's middle
    cut = (_BEAD_PX - image_px) // 2

    def images(points: NDArray) -> NDArray:
        basis = np.polynomial.chebyshev.chebvander(_unit(points[:, 2], low, high), _BEAD_DEGREE)
        pictures = (basis @ series).reshape(-1, _BEAD_PX, _BEAD_PX) / light
        moved = _moved(pictures, *((points[:, k] - rest[k]) / 0.1 for k in (0, 1)))
        return moved[:, cut : cut + image_px, cut : cut + image_px].reshape(len(points), -1)

    return _table(images, (low, high), image_px, 0.1, (14, 9), deep=True, tolerance=8e-3)


def _around(movie: NDArray, row: int, column: int) -> tuple[NDArray, NDArray[np.bool_]]:
    """The counts over the offset around a pixel (n, side, side), and which of them are in the frame (side, side)."""
    half = _BEAD_PX // 2
    padded = np.pad(movie - 100.0, ((0, 0), (half, half), (half, half)), constant_values=np.nan)
    crop = padded[:, row : row + _BEAD_PX, column : column + _BEAD_PX]
    return np.nan_to_num(crop), np.isfinite(crop[0])


def _moved(pictures: NDArray, dx_px: NDArray, dy_px: NDArray) -> NDArray:
    """Pictures (n, side, side), each moved by its own fraction of a pixel, by Fourier transform."""
    side = pictures.shape[1]
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    phase = np.exp(-2j * np.pi * (fy * dy_px[:, None, None] + fx * dx_px[:, None, None]))
    return np.fft.irfft2(np.fft.rfft2(pictures) * phase, (side, side))


def _unit(z_um: NDArray, low: float, high: float) -> NDArray:
    return np.clip((2 * z_um - low - high) / (high - low), -1, 1)


def _table(
    images: Callable[[NDArray], NDArray],
    z_range_um: tuple[float, float],
    image_px: int,
    pixel_um: float,
    degrees: tuple[int, int],
    *,
    deep: bool,
    tolerance: float = 3e-3,
) -> SpotTable:
    table = tabulate_images(
        images, z_range_um, image_px=image_px, pixel_um=pixel_um, degrees=degrees, tolerance=tolerance
    )
    return SpotTable(table, pixel_um, deep=deep)
