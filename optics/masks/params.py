"""Families of masks that can be learned or designed: an array of parameters -> PhaseMask, and back.

Parameters are radians at the design wavelength (a cell's phase, or the rms of a mode), so that one learning
rate fits every kind. They are plain arrays, for optax; everything else is in the frozen config. `FAMILIES` is the
table of them, by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from optics.masks.library import LABEL_WAVELENGTH_UM
from optics.masks.sampling import check_wavelength, mask_grid, sample_mask, sample_path_um
from optics.pytree import pytree, replace, static
from optics.types import OpticsError, PhaseMask
from optics.zernike import noll_to_nm, osa_to_nm, zernike_mode

# Least cells a side of a grid on which modes are fitted: finer than any mode one would learn.
FIT_PX = 96


class MaskParametrisation(Protocol):
    """A family of masks: an array of parameters -> PhaseMask, and the parameters nearest to a mask.

    A frozen pytree whose sizes are static. The path must be LINEAR in the parameters, `opd_um` of `s * params` is `s`
    times that of `params`: a design shrinks its parameters to bring a mask within the limits of its fabrication.
    """

    @property
    def wrapped(self) -> bool:
        """Whether its masks are known modulo a wave only; limits of steps and smoothness mean nothing for them."""
        ...

    def params_shape(self) -> tuple[int, ...]:
        """Return the shape of the parameters."""
        ...

    def to_mask(self, params: jax.Array) -> PhaseMask:
        """Build the mask of parameters in radians at the design wavelength; linear, differentiable, 0 is flat."""
        ...

    def project(self, mask: PhaseMask) -> jax.Array:
        """Return the parameters whose mask is nearest to `mask` over the pupil. A host function.

        Raises `OpticsError` where `mask` is wrapped at another wavelength, or has no smooth path and needs one.
        """
        ...


def to_mask(config: MaskParametrisation, params: ArrayLike) -> PhaseMask:
    """Build the mask that `params` (radians at the design wavelength) describe; differentiable.

    Raises `OpticsError` where `params` has not the shape `config.params_shape()`.

    >>> to_mask(ZernikePhase(n_modes=6, size=32), jnp.zeros(6)).opd_um.shape
    (32, 32)
    """
    params = jnp.asarray(params)
    if params.shape != config.params_shape():
        raise OpticsError(f"mask parameters have shape {params.shape}, not {config.params_shape()}")
    return config.to_mask(params)


def init_params(config: MaskParametrisation, mask: PhaseMask | None = None) -> jax.Array:
    """Parameters to start from: of a flat mask, or those nearest to `mask` (least squares over the pupil).

    A host function. Raises `OpticsError` where `mask` is wrapped and has no smooth path (phase vortices) but
    the family needs one, was wrapped at another wavelength, or has a transmission, which no family here has.

    >>> from optics.masks.library import astigmatism
    >>> start = init_params(ZernikePhase(n_modes=6, design_wavelength_um=0.6), astigmatism(0.06, size=128))
    >>> round(float(start[5]), 3)  # 2 pi 0.06 / 0.6
    0.628
    """
    if mask is None:
        return jnp.zeros(config.params_shape())
    if not bool((mask.transmission == 1).all()):
        raise OpticsError("the mask has a transmission below 1, which a learned phase mask would lose")
    return config.project(mask)


def unwrap(mask: PhaseMask) -> PhaseMask:
    """Unwrap a mask, on the host: the path that is continuous over its support within the pupil.

    The support is where the path is not exactly 0. Phase steps between neighbours are taken as less than pi;
    since the result is accepted only if it is the same along every way, the order of the cells does not
    matter (Itoh's condition, doi 10.1364/AO.21.002470).
    Raises `OpticsError` where the phase has vortices, or the support falls apart.

    >>> from optics.masks.library import zernike
    >>> tilt = zernike([(1, 1, 0.5)], design_wavelength_um=0.6, size=64)
    >>> turns = tilt.opd_um / 0.6
    >>> wrapped = replace(tilt, opd_um=0.6 * (turns - jnp.round(turns)), wrapped=True)
    >>> unwrap(wrapped).wrapped
    False
    """
    return _unwrap(mask)[0]


@pytree
class PixelPhase:
    """A phase per cell, (size, size), unbounded, as DeepSTORM3D learns (doi 10.1038/s41592-020-0853-5).

    `wrapped` interpolates the cells as phasors: for a start from a mask that cannot be unwrapped.

    >>> mask = to_mask(PixelPhase(size=16), jnp.full((16, 16), jnp.pi))
    >>> round(float(mask.opd_um[0, 0]), 6)
    0.3
    """

    size: int = static()
    wrapped: bool = static(default=False)
    design_wavelength_um: jax.Array | float = LABEL_WAVELENGTH_UM
    half_width: jax.Array | float = 1.0

    def params_shape(self) -> tuple[int, ...]:
        return (self.size, self.size)

    def to_mask(self, params: jax.Array) -> PhaseMask:
        return _mask(params, self.design_wavelength_um, self.half_width, self.wrapped)

    def project(self, mask: PhaseMask) -> jax.Array:
        check_wavelength(mask, self.design_wavelength_um)
        if mask.wrapped and not self.wrapped:
            mask = unwrap(mask)
        radians_per_um = 2 * jnp.pi / jnp.asarray(self.design_wavelength_um)
        if mask.opd_um.shape == self.params_shape() and float(mask.half_width) == float(self.half_width):
            return radians_per_um * mask.opd_um
        x, y = mask_grid(self.size, self.half_width)
        if mask.wrapped:
            return jnp.angle(sample_mask(mask, x, y, self.design_wavelength_um))
        return radians_per_um * sample_path_um(mask, x, y)


@pytree
class ZernikePhase:
    """Amplitudes (n_modes,) of the first Zernike modes, rms radians, in OSA/ANSI or in Noll order.

    >>> ZernikePhase(n_modes=4, order="noll").modes()
    [(0, 0), (1, 1), (1, -1), (2, 0)]
    """

    n_modes: int = static()
    order: Literal["osa", "noll"] = static(default="osa")
    size: int = static(default=128)
    design_wavelength_um: jax.Array | float = LABEL_WAVELENGTH_UM

    @property
    def wrapped(self) -> bool:
        return False

    def modes(self) -> list[tuple[int, int]]:
        if self.order == "osa":
            return [osa_to_nm(j) for j in range(self.n_modes)]
        return [noll_to_nm(j) for j in range(1, self.n_modes + 1)]

    def basis(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.stack([zernike_mode(n, m, x, y) for n, m in self.modes()])

    def params_shape(self) -> tuple[int, ...]:
        return (self.n_modes,)

    def to_mask(self, params: jax.Array) -> PhaseMask:
        x, y = mask_grid(self.size)
        # as in the library: two cells outside the pupil the surface goes on with its value there
        rim = 1 + 4 / self.size
        inward = jnp.minimum(1.0, rim / jnp.hypot(x, y).clip(rim / 2))
        phase_rad = jnp.einsum(
            "j,jyx->yx", params, self.basis(inward * x, inward * y), precision=jax.lax.Precision.HIGHEST
        )
        return _mask(phase_rad, self.design_wavelength_um)

    def project(self, mask: PhaseMask) -> jax.Array:
        # its own cells are exact; a mask narrower than the pupil has none where its path is 0
        covers = float(mask.half_width) >= 1
        x, y = mask_grid(*((mask.opd_um.shape[0], mask.half_width) if covers else (FIT_PX, 1.0)))
        phase_rad, known = _phase_in_pupil(mask, x, y, self.design_wavelength_um)
        return _least_squares(self.basis(x, y), phase_rad, known)


@pytree
class SmoothPhase:
    """A low-pass mask: amplitudes (n_cosines, n_cosines), rms radians, of cosines over the mask's square.

    Entry (k, l) is cos(pi k v) cos(pi l u), u and v running from 0 to 1 across columns and rows: a discrete
    cosine series cut off at (n_cosines - 1) / 2 periods across the square.

    >>> mask = to_mask(SmoothPhase(n_cosines=4, size=32), jnp.zeros((4, 4)).at[0, 0].set(jnp.pi))
    >>> round(float(mask.opd_um[3, 5]), 6)
    0.3
    """

    n_cosines: int = static()
    size: int = static(default=128)
    design_wavelength_um: jax.Array | float = LABEL_WAVELENGTH_UM
    half_width: jax.Array | float = 1.0

    @property
    def wrapped(self) -> bool:
        return False

    def params_shape(self) -> tuple[int, ...]:
        return (self.n_cosines, self.n_cosines)

    def to_mask(self, params: jax.Array) -> PhaseMask:
        cosines = _cosines(self.n_cosines, self.size)
        phase_rad = jnp.einsum("ky,kl,lx->yx", cosines, params, cosines, precision=jax.lax.Precision.HIGHEST)
        return _mask(phase_rad, self.design_wavelength_um, self.half_width)

    def project(self, mask: PhaseMask) -> jax.Array:
        size = max(FIT_PX, 4 * self.n_cosines)
        cosines = _cosines(self.n_cosines, size)
        basis = jnp.einsum("ky,lx->klyx", cosines, cosines).reshape(-1, size, size)
        x, y = mask_grid(size, self.half_width)
        phase_rad, known = _phase_in_pupil(mask, x, y, self.design_wavelength_um)
        # outside the pupil the corners leave some sums of cosines free: those below a thousandth are left out
        return _least_squares(basis, phase_rad, known, rcond=1e-3).reshape(self.params_shape())


@dataclass(frozen=True)
class Family:
    """A family that a configuration can name: `make(number, design_wavelength_um=...)`, and how a sentence calls it.

    `setting` is what a configuration calls the number that says how fine the family is ("n_modes", "n_cosines" or
    "size_px"); `words` may hold it. `smoothness` is what a design asks of it where nothing else is asked for: a mask
    whose every cell is free scatters light in ways that no pupil sampling follows.
    """

    make: Callable[..., MaskParametrisation]
    setting: str
    words: str
    smoothness: float = 0.0


# Every family that has a name: a class and a line here make a new one, at run time too.
FAMILIES: dict[str, Family] = {
    "zernike": Family(ZernikePhase, "n_modes", "{n_modes} Zernike modes"),
    "pixel": Family(PixelPhase, "size_px", "{size_px} x {size_px} pixels", smoothness=0.01),
    "smooth": Family(SmoothPhase, "n_cosines", "{n_cosines} x {n_cosines} cosines"),
}


def _mask(
    phase_rad: jax.Array, wavelength_um: ArrayLike, half_width: ArrayLike = 1.0, wrapped: bool = False
) -> PhaseMask:
    dtype = phase_rad.dtype
    wavelength = jnp.asarray(wavelength_um, dtype)
    return PhaseMask(
        opd_um=phase_rad * wavelength / (2 * jnp.pi),
        transmission=jnp.ones_like(phase_rad),
        half_width=jnp.asarray(half_width, dtype),
        design_wavelength_um=wavelength,
        wrapped=wrapped,
    )


def _cosines(n_cosines: int, size: int) -> jax.Array:
    """(n_cosines, size), each row of unit rms."""
    k = jnp.arange(n_cosines)[:, None]
    scale = jnp.where(k == 0, 1.0, jnp.sqrt(2.0))
    return scale * jnp.cos(jnp.pi * k * (jnp.arange(size) + 0.5)[None, :] / size)


def _phase_in_pupil(mask: PhaseMask, x: jax.Array, y: jax.Array, wavelength_um: ArrayLike):
    """Phase (radians) of a mask at (x, y), and where it is known: the pupil, and if wrapped the support."""
    check_wavelength(mask, wavelength_um)
    known = x**2 + y**2 <= 1
    if mask.wrapped:
        mask, support = _unwrap(mask)
        share = sample_path_um(replace(mask, opd_um=jnp.asarray(support, dtype=float)), x, y)
        known = known & (share > 0.999)  # all four neighbours
    return 2 * jnp.pi / jnp.asarray(wavelength_um) * sample_path_um(mask, x, y), known


def _least_squares(basis: jax.Array, values: jax.Array, known: jax.Array, rcond: float | None = None) -> jax.Array:
    design = np.asarray(basis)[:, np.asarray(known)].T
    return jnp.asarray(np.linalg.lstsq(design, np.asarray(values)[np.asarray(known)], rcond=rcond)[0])


def _unwrap(mask: PhaseMask) -> tuple[PhaseMask, np.ndarray]:
    """The unwrapped mask, and the cells (bool) over which its path is continuous."""
    turns = np.asarray(mask.opd_um, dtype=float) / float(mask.design_wavelength_um)
    x, y = (np.asarray(u) for u in mask_grid(turns.shape[0], mask.half_width))
    reach = 1 + 2 * float(mask.half_width) / turns.shape[0]
    support = (turns != 0) & (np.hypot(x, y) <= reach)
    cells = np.arange(turns.size).reshape(turns.shape)
    pairs = []
    for here, there in (
        ((slice(None), slice(1, None)), (slice(None), slice(-1))),
        ((slice(1, None),), (slice(-1),)),
    ):
        both = support[here] & support[there]
        pairs.append(np.stack([cells[here][both], cells[there][both]]))
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(first.size), (first, second)), shape=(turns.size, turns.size)).tocsr()
    _, label = connected_components(graph, directed=False)
    labels, counts = np.unique(label[support.ravel()], return_counts=True)
    if counts.size == 0:
        return replace(mask, wrapped=False), support
    if counts.max() < 0.99 * counts.sum():
        raise OpticsError(f"the mask's support falls into {counts.size} parts; unwrap it before loading")
    connected = (label == labels[counts.argmax()]).reshape(turns.shape) & support
    flat_turns, whole = turns.ravel(), np.zeros(turns.size)
    order, parent = breadth_first_order(graph, int(cells[connected][0]), directed=False)
    for cell in order[1:]:
        step = flat_turns[cell] - flat_turns[parent[cell]]
        whole[cell] = whole[parent[cell]] - np.round(step)
    steps = (flat_turns + whole)[first] - (flat_turns + whole)[second]
    broken = int((np.abs(steps) > 0.5 + 1e-6)[connected.ravel()[first]].sum())
    if broken:
        raise OpticsError(
            f"the mask has phase vortices ({broken} steps over half a wave are left) and no smooth path; "
            "learn it as PixelPhase(wrapped=True)"
        )
    whole -= np.round(np.median(whole[connected.ravel()]))
    path = turns + np.where(connected, whole.reshape(turns.shape), 0)
    opd_um = jnp.asarray(path * float(mask.design_wavelength_um), dtype=mask.opd_um.dtype)
    return replace(mask, opd_um=opd_um, wrapped=False), connected
