"""Phase masks: a library of published shapes, and a mask's phasor at any point of the pupil."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.grids import mask_centres
from optics.mask_io import load as load  # masks.load, masks.save
from optics.mask_io import save as save
from optics.pytree import replace
from optics.types import Microscope, OpticsError, PhaseMask, make_mask
from optics.zernike import zernike_mode

MASK_PX = 256
# A smooth mask works at every wavelength; its design wavelength only turns its path into radians.
LABEL_WAVELENGTH_UM = 0.6
# Below this length the mean of four phasors has no direction that rounding has not made.
SMALLEST_PHASOR = 1e-6


def sample_mask(mask: PhaseMask, x: ArrayLike, y: ArrayLike, wavelength_um: ArrayLike) -> jax.Array:
    """Evaluate a mask's complex transmission at points (x, y) of the unit pupil (radius 1 is the NA).

    `x`, `y` dimensionless and of one shape S, `wavelength_um` a number; returns complex S. Bilinear in the
    optical path between cell centres, constant in the outer half cell; outside the mask's square the
    phase is 0 and the transmission 1. A wrapped mask is interpolated as a phasor, brought back to unit
    modulus, and keeps its design phase at every wavelength: `check_wavelength` refuses another one on
    the host. Differentiable in path, transmission, x, y and (unwrapped) wavelength.

    >>> tilted = zernike([(1, 1, 0.1)], size=64)
    >>> phase_rad = jnp.angle(sample_mask(tilted, jnp.array([0.5, 2.0]), jnp.zeros(2), 0.6))
    >>> [round(float(p), 4) for p in phase_rad]
    [1.0472, 0.0]
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    inside, gather = _bilinear(mask, x, y)
    if mask.wrapped:
        path = 2 * jnp.pi / mask.design_wavelength_um * mask.opd_um
        cosine, sine = _unit(gather(jnp.cos(path)), gather(jnp.sin(path)))
        phasor = jax.lax.complex(cosine, sine)
    else:
        phase = 2 * jnp.pi / jnp.asarray(wavelength_um) * gather(mask.opd_um)
        phasor = jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
    return jnp.where(inside, phasor * gather(mask.transmission), 1.0)


def sample_path_um(mask: PhaseMask, x: ArrayLike, y: ArrayLike) -> jax.Array:
    """Optical path (um) of an unwrapped mask at points (x, y) of the unit pupil; 0 outside its square.

    Bilinear, as in `sample_mask`. Raises `OpticsError` for a wrapped mask, which has no path to interpolate.

    >>> round(float(sample_path_um(zernike([(1, 1, 0.1)], size=64), 0.5, 0.0)), 6)
    0.1
    """
    if mask.wrapped:
        raise OpticsError("a wrapped mask has no path between its cells; unwrap it, or sample its phasor")
    inside, gather = _bilinear(mask, jnp.asarray(x), jnp.asarray(y))
    return jnp.where(inside, gather(mask.opd_um), 0.0)


def check_wavelength(mask: PhaseMask | None, wavelength_um: ArrayLike) -> None:
    """Refuse, on the host, a wrapped mask at a wavelength (um) other than the one it was designed for.

    Raises `OpticsError`; an unwrapped mask, or None, passes at every wavelength.

    >>> check_wavelength(flat(), 0.58)
    """
    if mask is None or not mask.wrapped:
        return
    design, asked = float(mask.design_wavelength_um), float(jnp.asarray(wavelength_um))
    if abs(design - asked) > 1e-6 * design:
        raise OpticsError(
            f"the mask is wrapped at {design:g} um and means nothing at wavelength_um = {asked:g}; "
            "unwrap it, use its design wavelength, or give its material (optics.fabrication.at_wavelength)"
        )


def rotate_180(mask: PhaseMask) -> PhaseMask:
    """Turn a mask by 180 degrees: what a published mask needs when its model transforms with exp(-i k r).

    Exact, because the cells lie symmetrically about the axis.

    >>> coma = zernike([(3, 1, 0.1)], size=32)
    >>> bool(jnp.allclose(rotate_180(coma).opd_um, -coma.opd_um, atol=1e-6))
    True
    """
    return replace(mask, opd_um=mask.opd_um[::-1, ::-1], transmission=mask.transmission[::-1, ::-1])


def resample(mask: PhaseMask, size: int) -> PhaseMask:
    """Resample a mask onto (size, size) cells of the same square, by averaging where cells grow.

    Each new cell is the mean of bilinear samples no farther apart than the old cells (of the phasor, for
    a wrapped mask, whose new path lies within half a wavelength of 0).
    Raises `OpticsError` for a size below 2.

    >>> resample(flat(size=64), 48).opd_um.shape
    (48, 48)
    """
    if size < 2:
        raise OpticsError(f"size = {size} must be at least 2")
    fine = -(-mask.opd_um.shape[0] // size)
    x, y = mask_grid(size * fine, mask.half_width)
    _, gather = _bilinear(mask, x, y)

    def mean(cells: jax.Array) -> jax.Array:
        return gather(cells).reshape(size, fine, size, fine).mean(axis=(1, 3))

    if mask.wrapped:
        path = 2 * jnp.pi / mask.design_wavelength_um * mask.opd_um
        phase_rad = jnp.arctan2(mean(jnp.sin(path)), mean(jnp.cos(path)))
        opd_um = phase_rad * mask.design_wavelength_um / (2 * jnp.pi)
    else:
        opd_um = mean(mask.opd_um)
    return replace(mask, opd_um=opd_um, transmission=mean(mask.transmission))


def mask_grid(size: int, half_width: ArrayLike = 1.0) -> tuple[jax.Array, jax.Array]:
    """Cell centres (x, y) of a (size, size) mask, in pupil radii, each of shape (size, size).

    >>> x, y = mask_grid(4)
    >>> x[0].tolist(), y[:, 0].tolist()
    ([-0.75, -0.25, 0.25, 0.75], [-0.75, -0.25, 0.25, 0.75])
    """
    centre = mask_centres(size, half_width)
    x, y = jnp.meshgrid(centre, centre)
    return x, y


def flat(*, design_wavelength_um: float = LABEL_WAVELENGTH_UM, size: int = MASK_PX) -> PhaseMask:
    """A mask that changes nothing, (size, size): the start of a learned one.

    >>> float(jnp.abs(flat(size=8).opd_um).max())
    0.0
    """
    return make_mask(np.zeros((size, size)), design_wavelength_um=design_wavelength_um)


def zernike(
    modes: Sequence[tuple[int, int, float]],
    *,
    design_wavelength_um: float = LABEL_WAVELENGTH_UM,
    size: int = MASK_PX,
) -> PhaseMask:
    """A sum of Zernike modes (n, m, rms in um) on the unit pupil, as a (size, size) mask.

    m > 0 is the cosine, m < 0 the sine. Two cells outside the pupil the surface goes on with the value it
    has there, so that the path stays smooth across the rim and bounded in the corners.
    Raises `OpticsError` where (n, m) is no mode.

    >>> mask = zernike([(2, 2, 0.07), (4, 0, 0.01)], size=64)
    >>> mask.wrapped, mask.opd_um.shape
    (False, (64, 64))
    """
    return make_mask(_surface_um(modes, size), design_wavelength_um=design_wavelength_um)


def astigmatism(rms_um: float, *, design_wavelength_um: float = LABEL_WAVELENGTH_UM, size: int = MASK_PX) -> PhaseMask:
    """Vertical astigmatism, mode (2, 2) of `rms_um`: what a cylindrical lens does.

    Two line foci along z, 4 sqrt(6) n rms / NA^2 apart at low aperture (doi 10.1126/science.1153529).

    >>> astigmatism(0.07, size=64).opd_um.shape
    (64, 64)
    """
    return zernike([(2, 2, rms_um)], design_wavelength_um=design_wavelength_um, size=size)


# rms amplitudes of modes (n, m) as a share of the rms defocus at the end of the range.
# Tetrapod: read off the published 4 um mask of DeepSTORM3D (NA 1.45 in index 1.33; doi
# 10.1038/s41592-020-0853-5), whose path is a Zernike sum to rounding. Its orientation, its defocus and
# spherical terms and its modes of other m (none above 8 % of the largest) are left out. The mean bound over
# x, y, z (scalar model, NA 1.35 in 1.40, 3500 photons, 50 of background per pixel) is within 6 % of the least
# that these three modes reach at 2, 3, 4 and 6 um, with nearly the same shares.
TETRAPOD_SHARES = ((2, 2, -0.166), (4, 2, 0.308), (6, 2, 0.024))
# Saddle point: the minimum of that mean bound at 3 um over the two lowest modes.
SADDLE_POINT_SHARES = ((2, 2, -0.147), (4, 2, 0.376))


def saddle_point(range_um: float, microscope: Microscope, *, size: int = MASK_PX) -> PhaseMask:
    """Saddle-point mask for a depth range of about 3 um (idea: doi 10.1103/PhysRevLett.113.133902).

    Astigmatism and secondary astigmatism of opposite sign (`SADDLE_POINT_SHARES`, our own optimum: the
    published surface is not public), scaled as `tetrapod` is.
    Raises `OpticsError` for a range that is not positive.

    >>> from optics.types import make_microscope
    >>> scope = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.67, pixel_um=0.11)
    >>> saddle_point(3.0, scope, size=64).opd_um.shape
    (64, 64)
    """
    return _scaled_to_range(SADDLE_POINT_SHARES, range_um, microscope, size)


def tetrapod(range_um: float, microscope: Microscope, *, size: int = MASK_PX) -> PhaseMask:
    """Tetrapod mask for a depth range in um (shape: doi 10.1021/acs.nanolett.5b01396).

    One shape (`TETRAPOD_SHARES`), scaled. Light goes where the gradient of mask + defocus sends it.
    Multiply both by s: at the same fraction of the range the image is the same, s times larger. So the
    modes are proportional to the rms defocus at the end of the range, n (range / 2) rms(cos theta), which
    holds NA and index exactly, and do not depend on the wavelength. They lie on the pupil that carries
    propagating light, of radius min(iris_na, n_sample) / NA. Lobes lie along x for
    z > focus_um and along y for z < focus_um.
    Raises `OpticsError` for a range that is not positive.

    >>> from optics.types import make_microscope
    >>> scope = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.67, pixel_um=0.11)
    >>> tetrapod(4.0, scope, size=64).opd_um.shape
    (64, 64)
    """
    return _scaled_to_range(TETRAPOD_SHARES, range_um, microscope, size)


def double_helix(
    range_um: float, microscope: Microscope, *, zones: int | None = None, size: int = MASK_PX
) -> PhaseMask:
    """Double-helix mask: two lobes that turn about their middle by at most 180 degrees over `range_um`.

    Zone l = 1 ... L of the pupil carries a vortex of charge 2 l - 1 (vortices in Fresnel zones:
    doi 10.1364/OL.38.000585; charges that grow by 2 make two lobes). Zone edges lie at equal steps of
    cos theta in the sample (Fresnel zones of equal area at low aperture), so that depth dephases
    neighbouring zones alike and the lobes turn evenly. `zones` None: the fewest that keep the turn,
    k n (1 - cos theta_max) range / (2 L), within 180 degrees. Wrapped: made for one wavelength.
    Raises `OpticsError` for a range that is not positive or fewer than two zones.

    >>> from optics.types import make_microscope
    >>> scope = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.67, pixel_um=0.11)
    >>> double_helix(3.0, scope, size=64).wrapped
    True
    """
    _check_range(range_um)
    useful, n_sample = _useful_pupil(microscope)
    na, wavelength_um = float(microscope.na), float(microscope.wavelength_um)
    cosine_rim = np.sqrt(max(0.0, 1 - (useful * na / n_sample) ** 2))
    if zones is None:
        zones = max(2, int(np.ceil(n_sample * (1 - cosine_rim) * range_um / wavelength_um)))
    if zones < 2:
        raise OpticsError(f"zones = {zones}: a double helix needs at least 2")
    x, y = (np.asarray(u, dtype=float) for u in mask_grid(size))
    sine = np.minimum(np.hypot(x, y), useful) * na / n_sample
    fall = (1 - np.sqrt(np.maximum(0.0, 1 - sine**2))) / (1 - cosine_rim)
    charge = 2 * np.minimum(np.floor(fall * zones), zones - 1) + 1
    turns = charge * np.arctan2(y, x) / (2 * np.pi)
    return make_mask(wavelength_um * (turns - np.round(turns)), design_wavelength_um=wavelength_um, wrapped=True)


def _check_range(range_um: float) -> None:
    if not 0 < range_um < np.inf:
        raise OpticsError(f"range_um = {range_um:g} must be positive")


def _useful_pupil(microscope: Microscope) -> tuple[float, float]:
    """Radius of the pupil that carries propagating light from any depth, in NA; and the sample's index."""
    n_sample = float(microscope.n_sample)
    return min(float(microscope.iris_na), n_sample) / float(microscope.na), n_sample


def _scaled_to_range(shares, range_um: float, microscope: Microscope, size: int) -> PhaseMask:
    """Modes (n, m, share), in units of the rms defocus at the end of the range, on the useful pupil."""
    _check_range(range_um)
    useful, n_sample = _useful_pupil(microscope)
    defocus_um = _defocus_rms_um(range_um / 2, useful * float(microscope.na), n_sample)
    modes = [(n, m, share * defocus_um) for n, m, share in shares]
    path = _surface_um(modes, size, useful)
    return make_mask(path, design_wavelength_um=float(microscope.wavelength_um))


def _defocus_rms_um(depth_um: float, na: float, n_sample: float) -> float:
    """rms over the pupil of the path n depth cos theta of an emitter `depth_um` from focus."""
    # cos theta is uniform-area sampled: (na r / n)^2 with r^2 uniform on [0, 1]
    squared = (np.arange(4096) + 0.5) / 4096 * (na / n_sample) ** 2
    return float(n_sample * depth_um * np.std(np.sqrt(1 - squared)))


def _surface_um(modes: Sequence[tuple[int, int, float]], size: int, radius: float = 1.0) -> jax.Array:
    """Zernike sum on a disc of `radius` pupil radii; two cells outside it the rim's value goes on."""
    x, y = (u / radius for u in mask_grid(size))
    rim = 1 + 4 / (size * radius)
    inward = jnp.minimum(1.0, rim / jnp.hypot(x, y).clip(rim / 2))
    terms = [rms_um * zernike_mode(n, m, inward * x, inward * y) for n, m, rms_um in modes]
    return sum(terms, start=jnp.zeros_like(x))


def _bilinear(mask: PhaseMask, x: jax.Array, y: jax.Array):
    """Whether points lie in the mask's square, and a function that interpolates its cells there."""
    size = mask.opd_um.shape[0]
    inside = (jnp.abs(x) <= mask.half_width) & (jnp.abs(y) <= mask.half_width)
    rows, columns = (((u / mask.half_width + 1) * (size / 2) - 0.5).clip(0, size - 1) for u in (y, x))
    row, column = (jnp.floor(u).clip(0, size - 2) for u in (rows, columns))
    down, right = rows - row, columns - column
    first = row.astype(int) * size + column.astype(int)

    def gather(cells: jax.Array) -> jax.Array:
        flat_cells = cells.ravel()
        top = (1 - right) * flat_cells[first] + right * flat_cells[first + 1]
        bottom = (1 - right) * flat_cells[first + size] + right * flat_cells[first + size + 1]
        return (1 - down) * top + down * bottom

    return inside, gather


def _unit(cosine: jax.Array, sine: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A phasor brought to unit length; where it has none (half way across a jump of pi) phase 0."""
    squared = cosine**2 + sine**2
    has_length = squared > SMALLEST_PHASOR**2
    # the inner where keeps the untaken branch's gradient finite
    length = jnp.sqrt(jnp.where(has_length, squared, 1.0))
    return jnp.where(has_length, cosine / length, 1.0), jnp.where(has_length, sine / length, 0.0)
