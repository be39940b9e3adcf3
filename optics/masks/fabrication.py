"""A mask as it is etched into a plate: heights of material, in levels, at any wavelength.

`etched_mask` leads back to a `PhaseMask`, so that bounds and images can be computed for what was made instead of for
what was meant. `etch` and `regrid` are host functions; an SLM's grey levels are in `optics/masks/slm.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.masks.dispersion import Dispersion, check_range, path_per_height
from optics.masks.sampling import mask_grid, sample_mask, sample_path_um
from optics.pytree import pytree, static
from optics.types import OpticsError, PhaseMask, make_mask

# one program, where each of its steps would be compiled for itself
_sample = jax.jit(sample_mask)


@pytree
class EtchedMask:
    """A plate with a height of material in every cell, (M, M) in um: what an etching process makes.

    `level` (M, M) numbers the heights from 0 in ascending order (-1: not quantised). The square's half side is
    `half_width` pupil radii, its cells `pitch_um` wide on the plate (None: not known). A `wrapped` plate was cut to
    one wave at `design_wavelength_um`.
    """

    height_um: jax.Array
    level: jax.Array
    transmission: jax.Array
    half_width: jax.Array
    design_wavelength_um: jax.Array
    dispersion: Dispersion
    pitch_um: jax.Array | None = None
    wrapped: bool = static(default=True)


def regrid(mask: PhaseMask, size: int, half_width: float) -> PhaseMask:
    """A mask on (size, size) cells of another square, by bilinear interpolation (of the phasor, if wrapped).

    For the cells of a device: an etched plate or SLM whose pupil is D cells wide has half_width = size / D.
    Outside the old square the path is 0 and the transmission 1. Raises `OpticsError` for a size below 2.

    >>> from optics.masks.library import astigmatism
    >>> regrid(astigmatism(0.07, size=64), 90, 1.1).opd_um.shape
    (90, 90)
    """
    if size < 2:
        raise OpticsError(f"size = {size} must be at least 2")
    x, y = mask_grid(size, half_width)
    phasor = _sample(mask, x, y, mask.design_wavelength_um)
    wavelength = float(mask.design_wavelength_um)
    opd = jnp.angle(phasor) * wavelength / (2 * np.pi) if mask.wrapped else sample_path_um(mask, x, y)
    return make_mask(
        opd,
        transmission=jnp.clip(jnp.abs(phasor), 0, 1),
        half_width=half_width,
        design_wavelength_um=wavelength,
        wrapped=mask.wrapped,
    )


def etch(
    mask: PhaseMask,
    dispersion: Dispersion,
    *,
    levels: int | None = None,
    depths_um: ArrayLike | None = None,
    wrap: bool | None = None,
    pitch_um: float | None = None,
) -> EtchedMask:
    """Turn a mask into heights of material: path / (n - n_medium) at the design wavelength, lowest cell 0.

    `wrap` cuts the height to one wave (None: as the mask is wrapped). `levels` N makes them multiples of a wave / N,
    or where not wrapped N heights from lowest to highest; `depths_um` gives the heights that the process can make,
    of which each cell takes the nearest (the wave taken round where wrapped). Without either: any height.
    Raises `OpticsError` for a wavelength at which the index is not known, a wrapped mask that is not to be wrapped,
    levels below 2, both levels and depths, or depths that are negative, repeated or fewer than 2.

    >>> from optics.masks.dispersion import fused_silica
    >>> from optics.masks.library import astigmatism
    >>> etched = etch(astigmatism(0.1, design_wavelength_um=0.6, size=64), fused_silica(), levels=4, wrap=True)
    >>> len(np.unique(etched.height_um)), round(float(etched.height_um.max() / 0.6 * 0.458), 2)
    (4, 0.75)
    """
    wavelength = float(mask.design_wavelength_um)
    check_range(dispersion, wavelength)
    wrap = mask.wrapped if wrap is None else wrap
    if mask.wrapped and not wrap:
        raise OpticsError("the mask is wrapped: its heights beyond one wave are not known; unwrap it first")
    if levels is not None and depths_um is not None:
        raise OpticsError("give levels or depths_um, not both")
    if levels is not None and not (isinstance(levels, int | np.integer) and levels >= 2):
        raise OpticsError(f"levels = {levels!r} must be a whole number of at least 2")
    per_height = float(path_per_height(dispersion, wavelength))
    path = np.asarray(mask.opd_um, dtype=float)
    wave_um = wavelength / per_height
    if wrap:
        height = np.mod(path / per_height, wave_um)
    else:
        # the pupil decides lowest and highest: corners that no light meets are cut to that
        inside = path[_in_pupil(path.shape[0], float(mask.half_width))]
        height = (np.clip(path, inside.min(), inside.max()) - inside.min()) / per_height
    if levels is not None:
        top = wave_um * (1 - 1 / levels) if wrap else float(height.max())
        steps: np.ndarray | None = np.linspace(0, top, levels)
    else:
        steps = None if depths_um is None else _checked_depths(depths_um)
    level = np.full(height.shape, -1)
    if steps is not None:
        level = nearest_step(height, steps, wave_um if wrap else None)
        height = steps[level]
    return EtchedMask(
        height_um=jnp.asarray(height, dtype=float),
        level=jnp.asarray(level),
        transmission=mask.transmission,
        half_width=mask.half_width,
        design_wavelength_um=mask.design_wavelength_um,
        dispersion=dispersion,
        pitch_um=None if pitch_um is None else jnp.asarray(pitch_um, dtype=float),
        wrapped=wrap,
    )


def _in_pupil(size: int, half_width: float) -> np.ndarray:
    """Cells that light inside the pupil meets: to half a cell outside it."""
    x, y = (np.asarray(u) for u in mask_grid(size, half_width))
    return np.hypot(x, y) <= 1 + half_width / size


def _checked_depths(depths_um: ArrayLike) -> np.ndarray:
    depths = np.sort(np.ravel(np.asarray(depths_um, dtype=float)))
    if depths.size < 2 or not np.isfinite(depths).all() or depths[0] < 0 or not (np.diff(depths) > 0).all():
        raise OpticsError("depths_um must be at least two different heights of 0 um or more, 0 among them if it is one")
    if depths[-1] > 100:
        raise OpticsError(f"depths_um reaches {depths[-1]:g}, which looks like nanometres; give um")
    return depths


def nearest_step(values: np.ndarray, steps: np.ndarray, turn: float | None) -> np.ndarray:
    """Index of the step (K,) nearest to each value; with a `turn`, values and steps that far apart are the same.

    >>> nearest_step(np.array([0.1, 0.9]), np.array([0.0, 0.5]), 1.0)
    array([0, 0])
    """
    if turn is None:
        return np.searchsorted((steps[1:] + steps[:-1]) / 2, values, side="right")
    order = np.argsort(np.mod(steps, turn), kind="stable")
    ring = np.mod(steps, turn)[order]
    edges = np.append((ring[1:] + ring[:-1]) / 2, (ring[-1] + ring[0] + turn) / 2)
    # from half way between the last and the first on, so that every value lies below the last edge
    first = edges[-1] - turn
    return order[np.searchsorted(edges[:-1], np.mod(values - first, turn) + first, side="right")]


def etched_mask(
    etched: EtchedMask, wavelength_um: ArrayLike | None = None, *, depth_error: ArrayLike = 0.0
) -> PhaseMask:
    """The mask that an etched plate is at a wavelength (None: its design): height (1 + depth_error) (n - n_medium).

    A wrapped plate's walls are no whole wave at another wavelength: the mask keeps them, as its phase at
    `wavelength_um`, which becomes its design wavelength. Differentiable in heights, wavelength and depth error.

    >>> from optics.masks.dispersion import fused_silica
    >>> from optics.masks.library import astigmatism
    >>> plate = etch(astigmatism(0.1, design_wavelength_um=0.6, size=64), fused_silica(), wrap=True)
    >>> round(float(etched_mask(plate, 0.7).design_wavelength_um), 3), etched_mask(plate, 0.7).wrapped
    (0.7, True)
    """
    wavelength = etched.design_wavelength_um if wavelength_um is None else jnp.asarray(wavelength_um, dtype=float)
    per_height = path_per_height(etched.dispersion, wavelength)
    return PhaseMask(
        opd_um=etched.height_um * (1 + jnp.asarray(depth_error)) * per_height,
        transmission=etched.transmission,
        half_width=etched.half_width,
        design_wavelength_um=wavelength,
        wrapped=etched.wrapped,
    )


def at_wavelength(
    mask: PhaseMask, dispersion: Dispersion, wavelength_um: float, *, etched_wrap: bool = False
) -> PhaseMask:
    """A mask at another wavelength (um), made of a material: the same heights, another index.

    An unwrapped mask scales by the ratio of (n - n_medium); a wrapped one, or any with `etched_wrap` (a smooth
    design that was etched modulo one wave), keeps the walls of its surface. Raises `OpticsError` for a wavelength
    at which the index is not known.

    >>> from optics.masks.dispersion import fused_silica
    >>> from optics.masks.library import double_helix
    >>> from optics.types import make_microscope
    >>> scope = make_microscope(na=1.4, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=0.1)
    >>> moved = at_wavelength(double_helix(3.0, scope, size=64), fused_silica(), 0.67)
    >>> round(float(moved.design_wavelength_um), 3)
    0.67
    """
    check_range(dispersion, wavelength_um)
    return etched_mask(etch(mask, dispersion, wrap=mask.wrapped or etched_wrap), wavelength_um)
