"""A PSF that is known by its pictures: what a file of another program says of it, and its table for the fits.

The pictures are pixels of a camera already, a few slices apart, with a cubic polynomial in each cell between them
(splines): whoever wrote the file integrated over pixels by recording beads. `tabulate_calibration` makes the
`PsfTable` of them that `fit_emitters` and everything above it read; nothing else is known of the optics.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from optics.psf_table import PsfTable, tabulate_images
from optics.types import OpticsError

_SPARE_PX = 2  # of the pictures on each side, for emitters beside the stamp's centre
_FIRST_DEGREES = 9, 8  # across; along z, to which a third of the slices in the range is added
_TRIES = 8


@dataclass(frozen=True, eq=False)
class CalibratedImages:
    """Cubic polynomials between the pixels and slices of a PSF's pictures.

    `cells` (64, Z, Y, X): the coefficients in the cell that begins at slice k, row i, column j, of
    dz**a dy**b dx**c with index 16 a + 4 b + c and offsets from 0 to 1. The emitter is at row `centre_px[0]`, column
    `centre_px[1]`; slice k shows it at depth `z_first_um + k * z_step_um`, and `z_step_um` may be negative.
    """

    cells: NDArray
    centre_px: tuple[float, float]
    pixel_um: float
    z_first_um: float
    z_step_um: float
    image_px: int

    @property
    def z_range_um(self) -> tuple[float, float]:
        """Depths of the first and the last slice, the lower one first."""
        ends = (self.z_first_um, self.z_first_um + self.cells.shape[1] * self.z_step_um)
        return min(ends), max(ends)

    def images(self, points_um: NDArray) -> NDArray[np.float64]:
        """Pictures (N, image_px**2) of one photon at points (N, 3) in um, x and y from the stamp's centre."""
        points = np.asarray(points_um, np.float64)
        half = (self.image_px - 1) / 2
        at = np.stack(
            [
                (points[:, 2] - self.z_first_um) / self.z_step_um,
                self.centre_px[0] - points[:, 1] / self.pixel_um - half,
                self.centre_px[1] - points[:, 0] / self.pixel_um - half,
            ],
            axis=1,
        )
        last = np.array([self.cells.shape[1], *(n - self.image_px + 1 for n in self.cells.shape[2:])])
        if (at < -1e-6).any() or (at > last + 1e-6).any():
            raise OpticsError("a point lies outside of the calibrated slices or too far from the stamp's centre")
        cell = np.clip(np.floor(at), 0, last - 1).astype(int)
        offset = at - cell
        powers = offset[:, :, None] ** np.arange(4)
        products = np.einsum("na,nb,nc->nabc", *(powers[:, k] for k in range(3))).reshape(len(points), 64)
        side, pictures = self.image_px, np.empty((len(points), self.image_px**2))
        for n, (slice_, row, column) in enumerate(cell):
            block = self.cells[:, slice_, row : row + side, column : column + side].reshape(64, -1)
            pictures[n] = products[n] @ block
        return pictures


def spline_cells(pictures: NDArray) -> NDArray[np.float64]:
    """Coefficients (64, Z - 1, Y - 1, X - 1) of the cubic spline (not-a-knot) through pictures (Z, Y, X).

    >>> spline_cells(np.arange(5.0)[:, None, None] * np.ones((5, 4, 4)))[[0, 16], 2, 0, 0].round(9).tolist()
    [2.0, 1.0]
    """
    cells = np.asarray(pictures, np.float64)
    if cells.ndim != 3 or min(cells.shape) < 4:
        raise OpticsError(f"pictures of shape {cells.shape} must be (slices, rows, columns), at least 4 of each")
    for axis in range(3):
        here = 2 * axis  # each axis that is done has left one of four powers in front
        spline = make_interp_spline(np.arange(cells.shape[here]), cells, k=3, axis=here)
        begin = np.arange(cells.shape[here] - 1)
        powers = [spline(begin, nu=n) / math.factorial(n) for n in range(4)]
        cells = np.moveaxis(np.stack(powers), 0, axis)
    return cells.reshape(64, *cells.shape[3:])


def stamp_side(shape: tuple[int, ...], asked: int | None, name: str) -> int:
    """The stamp's side for pictures of (rows, columns): odd, with two spare pixels around it. Raises `OpticsError`."""
    largest = min(shape) - 2 * _SPARE_PX
    largest -= 1 - largest % 2
    if largest < 7:
        raise OpticsError(f"{name}: pictures of {shape[0]} x {shape[1]} px are too small; at least 11 px are needed")
    if asked is not None and not 7 <= asked <= largest:
        raise OpticsError(f"{name}: a stamp of {asked} px must lie between 7 and {largest} px (stamp_px)")
    return asked or largest


def tabulate_calibration(
    calibration: CalibratedImages,
    z_range_um: tuple[float, float] | None = None,
    *,
    reach_px: float = 1.5,
    tolerance: float = 3e-3,
) -> PsfTable:
    """Tabulate the pictures of a calibration, over all its slices or the depths `z_range_um` within them.

    `tolerance` is what a table may be off by: real calibrations carry noise that no smooth series follows. Raises
    `OpticsError` for depths beyond the slices.
    """
    low, high = calibration.z_range_um if z_range_um is None else z_range_um
    least, most = calibration.z_range_um
    if not (least - 1e-9 <= low < high <= most + 1e-9):
        raise OpticsError(
            f"z from {low:g} to {high:g} um leaves what was calibrated: {least:.4g} to {most:.4g} um "
            "(z_min_um and z_max_um)"
        )
    slices = (high - low) / abs(calibration.z_step_um)
    return tabulate_images(
        calibration.images,
        (low, high),
        image_px=calibration.image_px,
        pixel_um=calibration.pixel_um,
        degrees=(_FIRST_DEGREES[0], int(_FIRST_DEGREES[1] + slices / 3)),
        reach_px=reach_px,
        tolerance=tolerance,
        tries=_TRIES,
    )
