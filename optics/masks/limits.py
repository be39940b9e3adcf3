"""What a fabricated mask may look like: smooth, of bounded steps and range, of few levels.

Everything is judged on the cells that light inside the pupil meets, whatever lies outside them.
"""

import jax
import jax.numpy as jnp

from optics.masks.sampling import mask_grid
from optics.pytree import pytree, replace
from optics.types import OpticsError, PhaseMask

# Curvature is counted in waves per (a tenth of the pupil's radius)**2: of order 1 for a mask of a few waves.
_CURVATURE_LENGTH = 0.1


@pytree
class MaskLimits:
    """What a mask must keep to, in um.

    `step_um` bounds the path between neighbouring cells, `range_um` the path from the lowest to the highest
    cell (infinity: no limit). `level_um` is the step of an etching or printing process: paths become multiples
    of it (None: any path).
    """

    step_um: jax.Array | float = jnp.inf
    range_um: jax.Array | float = jnp.inf
    level_um: jax.Array | float | None = None


def check_limits(limits: MaskLimits, wrapped: bool) -> None:
    """Refuse, on the host, a limit that is not positive, or limits on a wrapped mask (`OpticsError`)."""
    for name in ("step_um", "range_um", "level_um"):
        value = getattr(limits, name)
        if value is not None and not float(value) > 0:
            raise OpticsError(f"limits.{name} = {float(value):g} must be positive")
    if wrapped and min(float(limits.step_um), float(limits.range_um)) < jnp.inf:
        raise OpticsError("limits.step_um and range_um mean nothing for a wrapped mask; design an unwrapped one")
    if limits.level_um is not None and not float(limits.level_um) <= min(float(limits.range_um), 10.0):
        raise OpticsError(
            f"limits.level_um = {limits.level_um:g} must not exceed range_um = {limits.range_um:g}, or 10"
        )


def largest_step_um(mask: PhaseMask) -> jax.Array:
    """Largest path (um) between two neighbouring cells inside the pupil, of an unwrapped mask.

    >>> from optics.masks.library import zernike
    >>> tilt = zernike([(1, 1, 0.1)], size=64)  # 0.4 um across the pupil
    >>> round(float(largest_step_um(tilt)), 5)
    0.00625
    """
    return jnp.max(jnp.abs(_steps_um(mask)))


def path_range_um(mask: PhaseMask) -> jax.Array:
    """Path (um) from the lowest to the highest cell inside the pupil, of an unwrapped mask.

    >>> from optics.masks.library import zernike
    >>> bool(abs(path_range_um(zernike([(1, 1, 0.1)], size=256)) - 0.4) < 0.01)
    True
    """
    low, high = _extremes_um(mask)
    return high - low


def roughness(mask: PhaseMask) -> jax.Array:
    """Mean square curvature inside the pupil: the path's Laplacian in waves per (tenth of the pupil radius)**2.

    Independent of the grid for a smooth mask; a pixel-wise one pays for every step between cells.

    >>> from optics.masks.library import flat
    >>> float(roughness(flat(size=32)))
    0.0
    """
    inside = _inside(mask)
    waves = mask.opd_um / mask.design_wavelength_um
    # the four neighbours must lie inside as well
    whole = inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    around = waves[:-2, 1:-1] + waves[2:, 1:-1] + waves[1:-1, :-2] + waves[1:-1, 2:]
    cell = 2 * mask.half_width / mask.opd_um.shape[0] / _CURVATURE_LENGTH
    curvature = jnp.where(whole, around - 4 * waves[1:-1, 1:-1], 0.0) / cell**2
    return jnp.sum(curvature**2) / jnp.maximum(whole.sum(), 1)


def violation(mask: PhaseMask, limits: MaskLimits) -> jax.Array:
    """How far a mask exceeds its step and range limits: 0 where it keeps to them, smooth and growing beyond."""
    step = jnp.maximum(jnp.abs(_steps_um(mask)) / limits.step_um - 1, 0.0)
    low, high = _extremes_um(mask)
    middle = jax.lax.stop_gradient(low + high) / 2
    height = jnp.maximum(jnp.abs(mask.opd_um - middle) / (limits.range_um / 2) - 1, 0.0)
    return jnp.mean(step**2) + jnp.mean(jnp.where(_inside(mask), height, 0.0) ** 2)


def shrink_factor(mask: PhaseMask, limits: MaskLimits) -> jax.Array:
    """The largest factor, at most 1, by which a mask's path may be multiplied to keep to step and range."""
    step = limits.step_um / jnp.maximum(largest_step_um(mask), 1e-30)
    height = limits.range_um / jnp.maximum(path_range_um(mask), 1e-30)
    factor = jnp.minimum(jnp.minimum(step, height), 1.0)
    # one rounding below the limit, never one above
    return jnp.where(factor < 1, factor * (1 - 4 * jnp.finfo(factor.dtype).eps), 1.0)


def round_to_levels(mask: PhaseMask, limits: MaskLimits) -> PhaseMask:
    """The mask with its path in whole levels, counted from its lowest cell; unchanged without `level_um`.

    The gradient passes as if nothing had been rounded (straight-through, arXiv 1308.3432).

    >>> from optics.masks.library import zernike
    >>> stepped = round_to_levels(zernike([(1, 1, 0.1)], size=16), MaskLimits(level_um=0.05))
    >>> bool(jnp.allclose(jnp.diff(jnp.unique(jnp.round(stepped.opd_um, 6))), 0.05, atol=1e-5))
    True
    """
    if limits.level_um is None:
        return mask
    lowest = jax.lax.stop_gradient(_extremes_um(mask)[0])
    # to the nearest, and never above the range
    highest = jnp.floor(limits.range_um / limits.level_um * (1 + 1e-6))
    levels = jnp.minimum(jnp.round((mask.opd_um - lowest) / limits.level_um), highest)
    return replace(mask, opd_um=mask.opd_um + jax.lax.stop_gradient(levels * limits.level_um - mask.opd_um))


def _inside(mask: PhaseMask) -> jax.Array:
    size = mask.opd_um.shape[0]
    x, y = mask_grid(size, mask.half_width)
    # a diagonal more than the pupil: interpolation reads those cells too
    return jnp.hypot(x, y) <= 1 + 2.83 * mask.half_width / size


def _extremes_um(mask: PhaseMask) -> tuple[jax.Array, jax.Array]:
    inside = _inside(mask)
    low = jnp.min(jnp.where(inside, mask.opd_um, jnp.inf))
    return low, jnp.max(jnp.where(inside, mask.opd_um, -jnp.inf))


def _steps_um(mask: PhaseMask) -> jax.Array:
    """Differences between neighbours that both lie inside the pupil, 0 elsewhere: (2, M, M)."""
    inside, path = _inside(mask), mask.opd_um
    across = jnp.where(inside[:, 1:] & inside[:, :-1], path[:, 1:] - path[:, :-1], 0.0)
    down = jnp.where(inside[1:] & inside[:-1], path[1:] - path[:-1], 0.0)
    return jnp.stack([jnp.pad(across, ((0, 0), (0, 1))), jnp.pad(down, ((0, 1), (0, 0)))])
