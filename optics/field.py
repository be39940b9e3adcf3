"""Aberrations that change over the camera's field: each Zernike coefficient a polynomial of the position."""

import io
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.pytree import pytree
from optics.types import OpticsError
from optics.whole_file import save_bytes

FORMAT = "colocus-field-1"


@pytree
class FieldAberration:
    """Zernike coefficients as polynomials of the position in the field.

    `coefficients_um` (modes, terms): mode j in OSA order, unit rms, as `zernike_um` of a `Psf`; the terms are
    1, x, y, x**2, x y, y**2, x**3, ... with x and y over the field scaled to [-1, 1], y down.
    """

    coefficients_um: jax.Array


def make_field_aberration(coefficients_um: ArrayLike) -> FieldAberration:
    """Build a `FieldAberration` from (modes, terms) coefficients in um rms, checking them.

    The number of terms is that of a whole degree: 1, 3, 6, 10, ... Raises `OpticsError` for another shape, NaN or
    Inf, and coefficients that look like nanometres.

    >>> astigmatism = [[0, 0, 0]] * 5 + [[0.0, 0.05, 0.0]]
    >>> round(float(aberration_at(make_field_aberration(astigmatism), jnp.array([-1.0, 0.3]))[5]), 3)
    -0.05
    """
    values = jnp.asarray(coefficients_um, dtype=float)
    if values.ndim != 2 or 0 in values.shape:
        raise OpticsError(f"coefficients_um must be (modes, terms), not of shape {values.shape}")
    if _terms(_degree(values.shape[1])) != values.shape[1]:
        raise OpticsError(
            f"coefficients_um has {values.shape[1]} terms; give all terms up to a degree: 1, 3, 6, 10, 15, ..."
        )
    if not bool(jnp.isfinite(values).all()):
        raise OpticsError("coefficients_um holds NaN or Inf; give 0 for a term that is not there")
    if float(jnp.abs(values).max()) > 10:
        raise OpticsError("coefficients_um above 10 um rms looks like nanometres or waves; give um")
    return FieldAberration(coefficients_um=values)


def _terms(degree: int) -> int:
    return (degree + 1) * (degree + 2) // 2


def _degree(terms: int) -> int:
    degree = 0
    while _terms(degree) < terms:
        degree += 1
    return degree


def field_terms(xy: jax.Array, degree: int) -> jax.Array:
    """The monomials of x and y up to a total degree, in the order of `FieldAberration`: (2,) -> (terms,).

    >>> field_terms(jnp.array([2.0, 3.0]), 2).tolist()
    [1.0, 2.0, 3.0, 4.0, 6.0, 9.0]
    """
    x, y = xy[0], xy[1]
    # integer exponents, so that the derivative at 0 is finite
    return jnp.stack([x ** (n - k) * y**k for n in range(degree + 1) for k in range(n + 1)])


def aberration_at(field: FieldAberration, xy: jax.Array) -> jax.Array:
    """Zernike coefficients (modes,), um rms, at `xy` (2,) in the field scaled to [-1, 1].

    They are the `zernike_um` of the `Psf` there: `replace(psf, zernike_um=aberration_at(field, xy))`.
    """
    terms = field_terms(xy, _degree(field.coefficients_um.shape[1]))
    return jnp.matmul(field.coefficients_um, terms, precision=jax.lax.Precision.HIGHEST)


def save_field(path: str | os.PathLike, field: FieldAberration) -> None:
    """Save a `FieldAberration` as .npz, moved into place when complete. Raises `OpticsError` for another suffix."""
    path = Path(path)
    if path.suffix != ".npz":
        raise OpticsError(f"{path}: a field of aberrations is saved as .npz")
    buffer = io.BytesIO()
    np.savez(buffer, format=FORMAT, coefficients_um=np.asarray(field.coefficients_um))
    save_bytes(path, buffer.getvalue())


def load_field(path: str | os.PathLike) -> FieldAberration:
    """Read what `save_field` wrote, or any .npz with `coefficients_um`. Raises `OpticsError` naming the file."""
    path = Path(path)
    if not path.is_file():
        raise OpticsError(f"{path}: no such file; give the .npz of a field of aberrations")
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            if "coefficients_um" not in file.files:
                raise OpticsError(f"it has no array 'coefficients_um' (it holds {', '.join(file.files) or 'nothing'})")
            return make_field_aberration(file["coefficients_um"])
    except OpticsError as error:
        raise OpticsError(f"{path}: {error}") from error
    except Exception as error:  # whatever a broken or foreign file makes the reader trip over
        raise OpticsError(f"{path}: not the .npz of a field of aberrations") from error
