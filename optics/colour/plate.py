"""What is in the pupil plane, at every wavelength: a plate of one height or one voltage, a phase for each colour.

What is the same for all colours is the height of the material or the voltage of the panel; what light of a wavelength
meets is a `PhaseMask`, made by `plate_at` and nowhere else. A `PhaseMask` itself is a path that is the same at every
wavelength (a deformable mirror); an `EtchedMask` is height times (n - n_medium), of glass or, with the birefringence
in place of the index, of a liquid crystal (`optics.masks.dispersion`); a `VoltagePlate` looks its phase up in a table
measured on the panel.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from optics.masks.dispersion import Dispersion, check_range, index_table
from optics.masks.fabrication import EtchedMask, etched_mask
from optics.masks.sampling import check_wavelength
from optics.pytree import pytree
from optics.types import OpticsError, PhaseMask


@pytree
class VoltagePlate:
    """A panel of liquid crystal by its own table: `drive` (M, M) numbers that say how hard each pixel is driven.

    `path_um` (L, V) is the optical path at drive `level` (L,), ascending, and wavelength `wavelength_um` (V,),
    ascending; linear between entries. The square's half side is `half_width` pupil radii. Differentiable in `drive`.
    """

    drive: jax.Array
    level: jax.Array
    wavelength_um: jax.Array
    path_um: jax.Array
    half_width: jax.Array


Plate = PhaseMask | EtchedMask | VoltagePlate


def voltage_plate(
    drive: ArrayLike,
    *,
    level: ArrayLike,
    wavelength_um: ArrayLike,
    phase_rad: ArrayLike,
    half_width: float = 1.0,
) -> VoltagePlate:
    """Build a `VoltagePlate` from a measured table of phases (L, V), rising or falling with the level, not wrapped.

    Raises `OpticsError` for axes that do not ascend, a table of another shape, a drive outside it, or NaN.

    >>> plate = voltage_plate([[0.0, 1.0], [2.0, 1.5]], level=[0, 2], wavelength_um=[0.5, 0.7],
    ...                       phase_rad=[[0.0, 0.0], [7.0, 4.6]])
    >>> round(float(plate_at(plate, 0.5).opd_um[0, 1]), 4)  # 3.5 rad at 0.5 um
    0.2785
    """
    drive, level, waves, phase = (np.asarray(v, dtype=float) for v in (drive, level, wavelength_um, phase_rad))
    for name, axis in {"level": level, "wavelength_um": waves}.items():
        if axis.ndim != 1 or axis.size < 2 or not (np.diff(axis) > 0).all():
            raise OpticsError(f"{name} of the panel's table must be at least two numbers in ascending order")
    if waves[-1] > 20:
        raise OpticsError(f"wavelength_um reaches {waves[-1]:g}, which looks like nanometres; give um")
    if phase.shape != (level.size, waves.size) or not np.isfinite(phase).all():
        raise OpticsError(f"phase_rad must be ({level.size}, {waves.size}) numbers without NaN, not {phase.shape}")
    if drive.ndim != 2 or drive.shape[0] != drive.shape[1] or not np.isfinite(drive).all():
        raise OpticsError(f"drive must be a square of numbers without NaN, not of shape {drive.shape}")
    if drive.min() < level[0] or drive.max() > level[-1]:
        raise OpticsError(f"drive lies between {drive.min():g} and {drive.max():g}, the table's levels do not")
    return VoltagePlate(
        drive=jnp.asarray(drive),
        level=jnp.asarray(level),
        wavelength_um=jnp.asarray(waves),
        path_um=jnp.asarray(phase * waves / (2 * np.pi)),
        half_width=jnp.asarray(half_width, dtype=float),
    )


def plate_at(plate: Plate | None, wavelength_um: ArrayLike) -> PhaseMask | None:
    """The mask that light of a wavelength (um) meets; None for a clear pupil. Traceable, differentiable.

    A wrapped `PhaseMask` means nothing beyond its design wavelength: `check_plate` refuses it on the host.

    >>> from optics.masks.dispersion import fused_silica
    >>> from optics.masks.fabrication import etch
    >>> from optics.masks.library import astigmatism
    >>> plate = etch(astigmatism(0.1, design_wavelength_um=0.6, size=32), fused_silica(), wrap=False)
    >>> ratio = plate_at(plate, 0.7).opd_um.max() / plate_at(plate, 0.6).opd_um.max()
    >>> round(float(ratio), 4)  # (n(0.7) - 1) / (n(0.6) - 1)
    0.994
    """
    if plate is None or isinstance(plate, PhaseMask):
        return plate
    if isinstance(plate, EtchedMask):
        return etched_mask(plate, jnp.asarray(wavelength_um))
    wavelength = jnp.asarray(wavelength_um, dtype=plate.path_um.dtype)
    path = jax.vmap(lambda row: jnp.interp(wavelength, plate.wavelength_um, row))(plate.path_um)
    return PhaseMask(
        opd_um=jnp.interp(plate.drive, plate.level, path),
        transmission=jnp.ones_like(plate.drive),
        half_width=plate.half_width,
        design_wavelength_um=wavelength,
        wrapped=True,  # pixels differ by whole waves: their phasors are what lies between them
    )


def check_plate(plate: Plate | None, wavelength_um: ArrayLike) -> None:
    """Refuse, on the host, a plate of which nothing is known at one of the wavelengths (`OpticsError`).

    >>> check_plate(None, 0.58)
    """
    for wavelength in np.ravel(np.asarray(wavelength_um, dtype=float)):
        if isinstance(plate, PhaseMask):
            check_wavelength(plate, wavelength)
        elif isinstance(plate, EtchedMask):
            check_range(plate.dispersion, float(wavelength))
        elif plate is not None:
            low, high = float(plate.wavelength_um[0]), float(plate.wavelength_um[-1])
            if not low <= wavelength <= high:
                raise OpticsError(f"wavelength_um = {wavelength:g} lies outside the panel's table, {low:g} to {high:g}")


def liquid_crystal(resonance_um: float = 0.25, *, low_um: float = 0.4, high_um: float = 1.0) -> Dispersion:
    """The birefringence of a liquid crystal against wavelength, for `etch`: its phase falls faster than 1 / wavelength.

    The single-band model, proportional to (w^2 w0^2) / (w^2 - w0^2) with w0 = `resonance_um` (Wu 1986,
    doi 10.1103/PhysRevA.33.1270), 0.2 at 0.55 um; only ratios matter. A panel addressed modulo 2 pi at the wavelength
    of a mask is `etch(mask, liquid_crystal(), wrap=True)`. Raises `OpticsError` for a resonance within the range.

    >>> from optics.masks.dispersion import path_per_height
    >>> birefringence = liquid_crystal()
    >>> round(float(path_per_height(birefringence, 0.67) / path_per_height(birefringence, 0.58)), 4)
    0.9459
    """
    if not 0 < resonance_um < low_um:
        raise OpticsError(f"resonance_um = {resonance_um:g} must lie below the wavelengths, {low_um:g} and more")
    waves = np.linspace(low_um, high_um, 241)

    def band(wavelength):
        return wavelength**2 / (wavelength**2 - resonance_um**2)

    return index_table(waves, 0.2 * band(waves) / band(0.55), n_medium=0.0)
