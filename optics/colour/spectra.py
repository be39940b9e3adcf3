"""Spectra of dyes and filters, and the few wavelengths with weights that stand for their product.

A band enters the optics as W wavelengths that carry its first 2 W moments: Gauss quadrature of the spectrum itself
(Golub and Welsch 1969, doi 10.1090/S0025-5718-69-99647-1). Files are in nanometres, everything else in um.
"""

import csv
import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optics.colour.species import Species, make_species
from optics.types import OpticsError

GAP_UM = 0.020  # between entries of a spectrum where it is not dark: more, and what lies between is a guess
_DARK = 0.01  # of the peak
_STEP_UM = 2e-5  # of the sum over a spectrum: filters have edges
_LEAST_LIGHT = 0.01  # of a dye's light that its filters must let through


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """Values (n,) at wavelengths (n,) in um, ascending; linear between them, 0 beyond."""

    name: str
    wavelength_um: NDArray[np.float64]
    value: NDArray[np.float64]

    def at(self, wavelength_um: ArrayLike) -> NDArray[np.float64]:
        """Return the value at other wavelengths."""
        return np.interp(np.asarray(wavelength_um, float), self.wavelength_um, self.value, left=0.0, right=0.0)


def make_spectrum(name: str, wavelength_um: ArrayLike, value: ArrayLike) -> Spectrum:
    """Build a spectrum, checking it; raises `OpticsError` where it has a gap, NaN, or wavelengths out of order.

    >>> make_spectrum("notch", [0.50, 0.51, 0.60], [1.0, 1.0, 1.0])
    Traceback (most recent call last):
    optics.types.OpticsError: notch: nothing between 510 and 600 nm, where the spectrum is not dark; fill the gap...
    """
    waves, values = np.asarray(wavelength_um, float), np.asarray(value, float)
    if waves.ndim != 1 or waves.size < 2 or values.shape != waves.shape:
        raise OpticsError(f"{name}: a spectrum needs at least two wavelengths and a value for each")
    bad = ~(np.isfinite(waves) & np.isfinite(values))
    if bad.any():
        raise OpticsError(f"{name}: entry {np.argmax(bad)} (from 0) is no number; take it out, or fill it")
    if not (np.diff(waves) > 0).all():
        where = 1000 * waves[np.argmax(np.diff(waves) <= 0)]
        raise OpticsError(f"{name}: wavelengths must ascend, each once; look behind {where:g} nm")
    if not 0.1 < waves[0] < waves[-1] < 5:
        raise OpticsError(f"{name}: wavelengths from {waves[0]:g} to {waves[-1]:g} um are not those of a spectrum")
    if values.min() < -_DARK * values.max() or not values.max() > 0:
        raise OpticsError(f"{name}: values must not be negative, nor 0 throughout")
    lit = np.maximum(values[1:], values[:-1]) > _DARK * values.max()
    wide = lit & (np.diff(waves) > GAP_UM + 1e-9)
    if wide.any():
        k = int(np.argmax(wide))
        raise OpticsError(
            f"{name}: nothing between {1000 * waves[k]:g} and {1000 * waves[k + 1]:g} nm, where the spectrum is not "
            "dark; fill the gap"
        )
    return Spectrum(name, waves, np.maximum(values, 0.0))


def read_spectrum(path: str | os.PathLike, column: int = 1) -> Spectrum:
    """Read a spectrum from a table of text: wavelengths in nm in the first column, values in `column`.

    Commas, semicolons or white space; lines of words before the numbers are skipped. Raises `OpticsError` naming the
    file and what is wrong with it.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OpticsError(f"{path}: cannot be read ({error.__class__.__name__}); give a table of text") from error
    numbers, begun = [], False
    separator = next((mark for mark in ",;\t" if mark in text), None)
    lines = csv.reader(text.splitlines(), delimiter=separator) if separator else map(str.split, text.splitlines())
    for number, row in enumerate(lines, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        try:
            numbers.append((float(cells[0]), float(cells[column])))
            begun = True
        except (ValueError, IndexError):
            if begun:
                raise OpticsError(f"{path}: line {number} has no wavelength and value; take it out") from None
    if len(numbers) < 2:
        raise OpticsError(f"{path}: no wavelengths with values in column {column + 1} found")
    nm, values = np.array(numbers).T
    if nm.max() < 20:
        raise OpticsError(f"{path}: wavelengths up to {nm.max():g} look like um; a file of a spectrum is in nm")
    return make_spectrum(path.name, nm / 1000, values)


@dataclasses.dataclass(frozen=True)
class GenericBand:
    """A dye as dyes are, behind a band-pass: emission with its peak at `peak_um`, and what the filter lets through.

    The emission is a Gaussian of standard deviation `blue_um` on the short side of the peak, `red_um` on the long
    side. No particular dye or filter.
    """

    peak_um: float
    blue_um: float = 0.012
    red_um: float = 0.022
    pass_um: tuple[float, float] = (-0.020, 0.030)

    def spectra(self, name: str) -> tuple[Spectrum, Spectrum]:
        """Return emission and filter."""
        waves = np.arange(self.peak_um - 0.08, self.peak_um + 0.16, 0.001)
        width = np.where(waves < self.peak_um, self.blue_um, self.red_um)
        emission = make_spectrum(name, waves, np.exp(-(((waves - self.peak_um) / width) ** 2) / 2))
        low, high = (self.peak_um + edge for edge in self.pass_um)
        return emission, make_spectrum("filter", np.linspace(low, high, 51), np.ones(51))


# bands with a name, for a first look: width of an organic dye, a band-pass of 50 nm
BANDS: dict[str, GenericBand] = {
    "green": GenericBand(0.525),
    "orange": GenericBand(0.580),
    "red": GenericBand(0.670),
    "far_red": GenericBand(0.750),
}


def band_lines(emission: Spectrum, *filters: Spectrum, lines: int = 3) -> tuple[NDArray, NDArray]:
    """Wavelengths (um) and weights of the light that passes: Gauss quadrature with `lines` nodes, weights sum to 1.

    Raises `OpticsError` where the filters let less than a hundredth of the light through, or for no line.

    >>> orange, passed = BANDS["orange"].spectra("orange")
    >>> waves, weights = band_lines(orange, passed, lines=1)
    >>> round(float(waves[0]), 3), weights.tolist()  # one line: the mean wavelength
    (0.585, [1.0])
    """
    if lines < 1:
        raise OpticsError(f"lines = {lines} must be at least 1")
    steps = int(np.ceil((emission.wavelength_um[-1] - emission.wavelength_um[0]) / _STEP_UM)) + 1
    grid = np.linspace(emission.wavelength_um[0], emission.wavelength_um[-1], steps)
    light = emission.at(grid)
    passed = light * np.prod([one.at(grid) for one in filters], axis=0) if filters else light
    if passed.sum() < _LEAST_LIGHT * light.sum():
        names = ", ".join(one.name for one in filters)
        raise OpticsError(f"{emission.name}: less than {_LEAST_LIGHT:.0%} of its light passes {names}; check the pair")
    return _gauss(grid, passed / passed.sum(), lines)


def _gauss(grid: NDArray, mass: NDArray, n: int) -> tuple[NDArray, NDArray]:
    """Nodes and weights (n,) of the Gauss quadrature of a discrete measure: Lanczos, then the Jacobi matrix."""
    centre, width = grid.mean(), np.ptp(grid) / 2
    x, before, now, off = (grid - centre) / width, np.zeros_like(grid), np.sqrt(mass), 0.0
    diagonal, beside = [], []
    for _ in range(n):
        step = x * now - off * before
        diagonal.append(float(now @ step))
        step = step - diagonal[-1] * now
        off = float(np.linalg.norm(step))
        beside.append(off)
        if off < 1e-9:  # the spectrum has no more lines than these
            break
        before, now = now, step / off
    jacobi = np.diag(diagonal) + np.diag(beside[: len(diagonal) - 1], 1) + np.diag(beside[: len(diagonal) - 1], -1)
    nodes, vectors = np.linalg.eigh(jacobi)
    weights = vectors[0] ** 2
    return centre + width * nodes, weights / weights.sum()


def spectrum_species(name: str, emission: Spectrum, *filters: Spectrum, lines: int = 3, **chromatic: float) -> Species:
    """Build a species from a dye's emission and the filters before the camera; `chromatic` as in `make_species`.

    >>> red = spectrum_species("red", *BANDS["red"].spectra("red"))
    >>> red.wavelength_um.shape
    (3,)
    """
    waves, weights = band_lines(emission, *filters, lines=lines)
    return make_species(name, waves, weights, **chromatic)


def named_species(text: str, *, lines: int = 3) -> Species:
    """Make a species from how a user writes one: nanometres ("580"), a band's name ("red"), files of spectra.

    Files are an emission, and filters joined to it by "*": "dye.csv*filter.csv". Raises `OpticsError`.

    >>> round(float(named_species("580").wavelength_um[0]), 3)
    0.58
    """
    try:
        nm = float(text)
    except ValueError:
        nm = None
    if nm is not None:
        if not 100 < nm < 5000:
            raise OpticsError(f"species {text}: a wavelength is given in nm, such as 580")
        return make_species(text, nm / 1000)
    if text in BANDS:
        return spectrum_species(text, *BANDS[text].spectra(text), lines=lines)
    paths = [part.strip() for part in text.split("*")]
    if all(Path(path).suffix for path in paths):
        emission, *filters = map(read_spectrum, paths)
        return spectrum_species(Path(paths[0]).stem, emission, *filters, lines=lines)
    raise OpticsError(
        f"species {text!r} is none of {', '.join(BANDS)}; or give nanometres (580) or files (dye.csv*filter.csv)"
    )
