"""Phase masks of published shapes, and the table of them: `LIBRARY`, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optics.masks.sampling import mask_grid
from optics.types import Microscope, OpticsError, PhaseMask, make_mask
from optics.zernike import zernike_mode

MASK_PX = 256
# A smooth mask works at every wavelength; its design wavelength only turns its path into radians.
LABEL_WAVELENGTH_UM = 0.6


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


@dataclass(frozen=True)
class LibraryMask:
    """A mask that a configuration can name: how it is made, and how a sentence calls it.

    `make` takes the number that a configuration calls `parameter` ("range_um" or "rms_um"; "": none), then the
    `Microscope` where `needs_microscope`, else the keyword `design_wavelength_um`. `words` may hold the number:
    "astigmatism of {rms_um:g} um rms".
    """

    make: Callable[..., PhaseMask]
    words: str
    parameter: str = ""
    needs_microscope: bool = False

    def build(self, microscope: Microscope, number: float | None = None, **more: Any) -> PhaseMask:
        """Make the mask for a microscope; `number` is its parameter's value, `more` goes to `make` (`size`)."""
        numbers = (number,) if self.parameter else ()
        if self.needs_microscope:
            return self.make(*numbers, microscope, **more)
        return self.make(*numbers, design_wavelength_um=float(microscope.wavelength_um), **more)


# Every mask that has a name. Configurations, their errors and their sentences read this table: a function and a line
# here make a new one, at run time too (`LIBRARY["mine"] = LibraryMask(...)` in a notebook).
LIBRARY: dict[str, LibraryMask] = {
    "flat": LibraryMask(flat, "flat"),
    "astigmatism": LibraryMask(astigmatism, "astigmatism of {rms_um:g} um rms", "rms_um"),
    "saddle_point": LibraryMask(saddle_point, "saddle point for {range_um:g} um", "range_um", needs_microscope=True),
    "tetrapod": LibraryMask(tetrapod, "tetrapod for {range_um:g} um", "range_um", needs_microscope=True),
    "double_helix": LibraryMask(double_helix, "double helix for {range_um:g} um", "range_um", needs_microscope=True),
}


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
