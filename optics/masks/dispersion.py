"""How the path through a mask's material changes with wavelength: etched glass, or a liquid crystal's table.

A mask on disk or in a `PhaseMask` is an optical path at its design wavelength. What is the same at every wavelength
is the thickness of material; `path_per_height` turns one into the other.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.pytree import pytree, static
from optics.types import OpticsError


@pytree
class Dispersion:
    """Refractive index against wavelength, of a material in a medium of index `n_medium`.

    `numbers` (2, J): for "sellmeier" B and C (um^2) of n^2 = 1 + sum B w^2 / (w^2 - C); for "table" wavelengths (um)
    and indices, linear between them. `low_um` to `high_um` is where it holds.
    """

    numbers: jax.Array
    n_medium: jax.Array
    low_um: jax.Array
    high_um: jax.Array
    kind: Literal["sellmeier", "table"] = static(default="sellmeier")


def fused_silica(n_medium: float = 1.0) -> Dispersion:
    """Fused silica, 0.21 to 3.71 um (Malitson 1965, doi 10.1364/JOSA.55.001205).

    >>> round(float(refractive_index(fused_silica(), 0.5876)), 4)
    1.4585
    """
    b = np.array([0.6961663, 0.4079426, 0.8974794])
    c_um = (0.0684043, 0.1162414, 9.896161)
    return sellmeier(b, np.square(c_um), low_um=0.21, high_um=3.71, n_medium=n_medium)


def sellmeier(b: ArrayLike, c_um2: ArrayLike, *, low_um: float, high_um: float, n_medium: float = 1.0) -> Dispersion:
    """A material from its Sellmeier coefficients B and C (um^2), (J,) each.

    Raises `OpticsError` where the two differ in length or the index is not above the medium's.

    >>> float(path_per_height(sellmeier([1.25], [0.0], low_um=0.3, high_um=2.0), 0.6))
    0.5
    """
    numbers = [np.atleast_1d(np.asarray(values, dtype=float)) for values in (b, c_um2)]
    return _checked(numbers, low_um, high_um, n_medium, "sellmeier")


def index_table(wavelength_um: ArrayLike, index: ArrayLike, *, n_medium: float = 1.0) -> Dispersion:
    """A material from a table: wavelengths in um, ascending, and an index for each, (J,) with J >= 2.

    For a liquid crystal give its birefringence as `index` and `n_medium=0`: its path is thickness times that.
    Raises `OpticsError` for wavelengths that do not ascend or look like nanometres, or a wrong shape.

    >>> round(float(path_per_height(index_table([0.5, 0.7], [0.22, 0.20], n_medium=0.0), 0.6)), 3)
    0.21
    """
    numbers = [np.atleast_1d(np.asarray(values, dtype=float)) for values in (wavelength_um, index)]
    waves = numbers[0]
    if waves.ndim != 1 or waves.size < 2 or not (np.diff(waves) > 0).all():
        raise OpticsError("the table of indices needs at least two wavelengths, in ascending order")
    return _checked(numbers, waves[0], waves[-1], n_medium, "table")


def _checked(
    numbers: list[np.ndarray], low_um: float, high_um: float, n_medium: float, kind: Literal["sellmeier", "table"]
) -> Dispersion:
    if numbers[0].shape != numbers[1].shape or numbers[0].ndim != 1:
        raise OpticsError(f"a {kind} needs two lists of one length, not {numbers[0].shape} and {numbers[1].shape}")
    if not all(np.isfinite(part).all() for part in numbers) or not np.isfinite(n_medium):
        raise OpticsError(f"the {kind} holds NaN or Inf")
    if not 0 < low_um < high_um:
        raise OpticsError(f"low_um = {low_um:g} and high_um = {high_um:g} must be positive, low first")
    if high_um > 20:
        raise OpticsError(f"high_um = {high_um:g} looks like nanometres; give wavelengths in um")
    made = Dispersion(
        numbers=jnp.asarray(np.stack(numbers), dtype=float),
        n_medium=jnp.asarray(n_medium, dtype=float),
        low_um=jnp.asarray(low_um, dtype=float),
        high_um=jnp.asarray(high_um, dtype=float),
        kind=kind,
    )
    middle = path_per_height(made, (low_um + high_um) / 2)
    if not float(middle) > 0:
        raise OpticsError(f"n_medium = {n_medium:g} must be below the index of the material")
    return made


def refractive_index(dispersion: Dispersion, wavelength_um: ArrayLike) -> jax.Array:
    """Index of the material at a wavelength in um, of any shape; differentiable.

    >>> round(float(refractive_index(fused_silica(), 0.4861)), 4)
    1.4631
    """
    wavelength = jnp.asarray(wavelength_um, dtype=dispersion.numbers.dtype)
    first, second = dispersion.numbers
    if dispersion.kind == "table":
        return jnp.interp(wavelength, first, second)
    squared = wavelength[..., None] ** 2
    first, second = (numbers.reshape((1,) * (squared.ndim - 1) + (-1,)) for numbers in (first, second))
    return jnp.sqrt(1 + jnp.sum(first * squared / (squared - second), axis=-1))


def path_per_height(dispersion: Dispersion, wavelength_um: ArrayLike) -> jax.Array:
    """Optical path that a unit of height makes: the index less that of the medium.

    >>> round(float(path_per_height(fused_silica(), 0.6328)), 4)
    0.457
    """
    return refractive_index(dispersion, wavelength_um) - dispersion.n_medium


def check_range(dispersion: Dispersion, wavelength_um: float) -> None:
    """Refuse, on the host, a wavelength at which the model does not hold (`OpticsError`).

    >>> check_range(fused_silica(), 0.6)
    """
    low, high = float(dispersion.low_um), float(dispersion.high_um)
    if not low <= wavelength_um <= high:
        raise OpticsError(
            f"wavelength_um = {wavelength_um:g} lies outside {low:g} to {high:g} um, where the index is known"
        )
