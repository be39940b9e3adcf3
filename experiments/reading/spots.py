"""What a spot looks like, as a table that the fits read: of a `Psf`, or Gaussian spots of unknown width."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from optics import Psf, Wings, make_wings, plan_wings
from optics.calibrations import CalibratedImages, tabulate_calibration
from optics.psf import without_plates
from optics.psf_table import PsfTable, evaluate_on_host, tabulate_psf
from optics.wings.sizes import wing_fields
from training import ConfigError

_REACH_PX = 1.5
_WIDTHS = 1.7  # widths from sigma / 1.7 to sigma * 1.7
_DEGREES = (9, 7)  # of the Gaussian's series across and in width: off by 1e-3 at a sigma of 0.7 px
_TOLERANCE = 3e-4

_make_wings = jax.jit(make_wings, static_argnames=("plan", "shape"))


@dataclass(frozen=True)
class SpotTable:
    """A table of images and whether its third coordinate is a depth in um (else the Gaussian's log width).

    `psf` is the model of which the images are, where there is one: it also knows the light around the stamps.
    """

    table: PsfTable
    pixel_um: float
    deep: bool
    psf: Psf | None = None

    @property
    def image_px(self) -> int:
        """Side of a stamp."""
        return self.table.image_px

    def reach_px(self, share: float = 0.9) -> int:
        """How far from an emitter `share` of its stamp's light lies, along rows and along columns, at every depth."""
        side = self.image_px
        low, high = np.asarray(self.table.z_range_um, np.float64)
        z = np.linspace(low, high, 9)
        images = evaluate_on_host(self.table, np.column_stack([0 * z, 0 * z, z]))[:, 0].reshape(-1, side, side)
        apart = np.abs(np.arange(side) - (side - 1) / 2)
        within = apart[None] <= np.arange(side // 2 + 1)[:, None]
        held = np.stack([images.sum(axis=axis) @ within.T for axis in (1, 2)])
        enough = np.all(held >= share * images.sum(axis=(1, 2))[None, :, None], axis=(0, 1))
        return int(np.argmax(enough)) if enough.any() else side // 2

    def wings(self, shape: tuple[int, int]) -> Wings | None:
        """The light around the stamps in frames of `shape` (H, W); None where it is not known."""
        if self.psf is None:
            return None
        low, high = np.asarray(self.table.z_range_um, np.float64)
        plan = plan_wings(self.psf, shape, (float(low), float(high)))
        if plan.side_px <= self.image_px:
            return None
        return _make_wings(without_plates(self.psf), plan, shape, wing_fields(self.psf, plan))

    def at_end(self, z_um: NDArray) -> NDArray[np.bool_]:
        """Say which depths (or log widths) stand at an end of what the table holds."""
        low, high = np.asarray(self.table.z_range_um, np.float64)
        near = 1e-3 * (high - low)
        return (z_um <= low + near) | (z_um >= high - near)


def is_psf(model: Path) -> bool:
    """Say whether a file is a calibrated PSF of one plane."""
    return {"header.npy", "microscope.na.npy"} <= _held(model)


def is_planes(model: Path) -> bool:
    """Say whether a file is a calibrated PSF of several planes."""
    return {"header.npy", "registration.npy", "path0.microscope.na.npy"} <= _held(model)


def _held(model: Path) -> set[str]:
    """The names of what is in an .npz; none where it is no such file."""
    if model.suffix.lower() != ".npz" or not model.is_file():
        return set()
    try:
        with zipfile.ZipFile(model) as file:
            return set(file.namelist())
    except (OSError, zipfile.BadZipFile):
        return set()


def psf_spots(psf: Psf, z_range_um: tuple[float, float], tolerance: float = 1e-3) -> SpotTable:
    """Tabulate the images of a `Psf` over a range of depths. Raises `OpticsError`."""
    if psf.dipole == "fixed":
        raise ConfigError("the PSF is of fixed dipoles, whose orientation a movie does not tell; use dipole free")
    table = tabulate_psf(psf, z_range_um, tolerance=tolerance)
    return SpotTable(table, float(psf.microscope.pixel_um), deep=True, psf=psf)


def calibration_spots(calibration: CalibratedImages, z_range_um: tuple[float, float]) -> SpotTable:
    """Tabulate the pictures of another program's calibration over a range of depths. Raises `OpticsError`."""
    return SpotTable(tabulate_calibration(calibration, z_range_um), calibration.pixel_um, deep=True)


def gaussian_spots(sigma_um: float, pixel_um: float, image_px: int | None = None) -> SpotTable:
    """Tabulate Gaussian spots integrated over pixels, sigma `sigma_um` times 1.7**u with u from -1 to 1 in place of z.

    A width that is fitted along keeps chi-square and photons right where the focus wanders.

    >>> spots = gaussian_spots(0.13, 0.1)
    >>> spots.image_px, bool(abs(float(spots.table.error)) < 3e-3)
    (13, True)
    """
    if not 0.5 <= sigma_um / pixel_um <= 10:
        raise ConfigError(
            f"gaussian_sigma_um = {sigma_um:g} is {sigma_um / pixel_um:.2g} pixels of pixel_um = {pixel_um:g}; "
            "both are lengths in the sample in um, sigma about 0.21 wavelength / NA"
        )
    side = image_px or 2 * int(np.ceil(4.5 * sigma_um / pixel_um)) + 1
    reach, (lateral, axial) = _REACH_PX * pixel_um, _DEGREES
    edges = (np.arange(side + 1) - side / 2) * pixel_um

    def profile(centre_um: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Share of the light in each pixel along one axis, (..., side)."""
        sigma = (sigma_um * _WIDTHS**u)[..., None]
        return np.diff(ndtr((edges - centre_um[..., None]) / sigma), axis=-1)

    def images(unit: np.ndarray) -> np.ndarray:
        x, y = (profile(reach * unit[:, k], unit[:, 2]) for k in (0, 1))
        return (y[:, :, None] * x[:, None, :]).reshape(len(unit), -1)

    nodes, to_series = zip(*(_nodes(n + 1) for n in (lateral, lateral, axial)), strict=True)
    grid = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1)
    series = images(grid.reshape(-1, 3)).reshape(*grid.shape[:3], -1)
    for axis, matrix in enumerate(to_series):
        series = np.moveaxis(np.tensordot(matrix, series, axes=(1, axis)), 0, axis)
    terms = np.stack(np.meshgrid(*(np.arange(len(n)) for n in nodes), indexing="ij"), axis=-1).reshape(-1, 3)
    left, strength, right = np.linalg.svd(series.reshape(len(terms), -1), full_matrices=False)
    kept = int(np.sum(strength > _TOLERANCE / 10 * strength[0]))
    coefficients, pictures = left[:, :kept] * strength[:kept], right[:kept]
    witnesses = np.random.default_rng(0).uniform(-1, 1, (48, 3))
    cheb = [np.polynomial.chebyshev.chebvander(witnesses[:, k], n - 1) for k, n in enumerate(grid.shape[:3])]
    product = cheb[0][:, terms[:, 0]] * cheb[1][:, terms[:, 1]] * cheb[2][:, terms[:, 2]]
    exact = images(witnesses)
    off = np.linalg.norm(product @ coefficients @ pictures - exact, axis=1) / np.linalg.norm(exact, axis=1)
    table = PsfTable(
        coefficients=jnp.asarray(coefficients, dtype=float),
        pictures=jnp.asarray(pictures, dtype=float),
        terms=jnp.asarray(terms),
        reach_um=jnp.asarray(reach, dtype=float),
        z_range_um=jnp.asarray((-1.0, 1.0), dtype=float),
        error=jnp.asarray(off.max(), dtype=float),
        image_px=side,
        reach_px=_REACH_PX,
        degrees=(lateral, axial),
    )
    return SpotTable(table, pixel_um, deep=False)


def _nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n roots of T_n, and the matrix (n, n) from values there to coefficients of T_0 ... T_(n-1)."""
    roots = np.cos((np.arange(n) + 0.5) * np.pi / n)
    return roots, np.linalg.inv(np.polynomial.chebyshev.chebvander(roots, n - 1))
