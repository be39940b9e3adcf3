"""One emitter on several detection paths: two focal planes (biplane), two polarisations, two arms of a splitter.

Each path is a `Psf` of its own: its focus, its polariser, its mask. What one path's image sums to is the part of the
light that goes there, so that information adds over paths (`fisher.fisher_matrix` takes a `SplitPsf` too).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.psf import psf_image
from optics.pytree import pytree, replace
from optics.types import OpticsError, Psf


@pytree
class SplitPsf:
    """C detection paths that see one emitter at once.

    `paths` C `Psf` of one stamp size; `fraction` (C,) is the share of the light that the splitter sends to each, its
    polariser not counted; `registration` (C, 2, 3) takes the emitter's x, y (um) to where each path sees it:
    xy_path = registration @ (x, y, 1), rotation and shift between the images of one camera or of two.
    """

    paths: tuple[Psf, ...]
    fraction: jax.Array
    registration: jax.Array


def make_split_psf(
    paths: Sequence[Psf],
    *,
    fraction: ArrayLike | None = None,
    shift_um: ArrayLike | None = None,
    registration: ArrayLike | None = None,
) -> SplitPsf:
    """Build a `SplitPsf` from C paths, checking each argument.

    `fraction` (C,): by default the light is shared evenly among the paths that compete for it, so that x and y
    behind a polarising splitter have 1 each, two foci a half. `shift_um` (C, 2) is a registration without rotation.
    Raises `OpticsError` for no path, stamps of different sizes, both or neither dipole, shares that are negative or add
    up to more than the light, or a registration of the wrong shape.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> halves = [make_psf(scope, image_px=21, polarisation=axis) for axis in ("x", "y")]
    >>> make_split_psf(halves).fraction.tolist()
    [1.0, 1.0]
    """
    paths = tuple(paths)
    if not paths:
        raise OpticsError("paths must name at least one Psf")
    for name in ("image_px", "dipole"):
        values = {getattr(path, name) for path in paths}
        if len(values) > 1:
            raise OpticsError(f"the paths' {name} must agree, not {sorted(values)}")
    passes = np.array([[path.polarisation in ("both", axis) for axis in "xy"] for path in paths])
    count = len(paths)
    share = 1 / np.max(passes * passes.sum(axis=0), axis=1) if fraction is None else np.asarray(fraction, float)
    if share.shape != (count,) or not np.isfinite(share).all() or (share < 0).any():
        raise OpticsError(f"fraction must be {count} numbers from 0 to 1, not {np.asarray(fraction).tolist()}")
    if (passes.T @ share > 1 + 1e-6).any():
        raise OpticsError(f"fraction = {share.tolist()} adds up to more than the light; it must not exceed 1")
    if shift_um is not None and registration is not None:
        raise OpticsError("shift_um is part of registration; give one of them")
    if registration is None:
        moved = np.zeros((count, 2)) if shift_um is None else np.asarray(shift_um, float)
        if moved.shape != (count, 2):
            raise OpticsError(f"shift_um must have shape ({count}, 2), not {moved.shape}")
        registration = np.concatenate([np.broadcast_to(np.eye(2), (count, 2, 2)), moved[:, :, None]], axis=2)
    placed = np.asarray(registration, float)
    if placed.shape != (count, 2, 3) or not np.isfinite(placed).all():
        raise OpticsError(f"registration must be finite, of shape ({count}, 2, 3), not {placed.shape}")
    return SplitPsf(
        paths=paths, fraction=jnp.asarray(share, dtype=float), registration=jnp.asarray(placed, dtype=float)
    )


def biplane(psf: Psf, separation_um: ArrayLike, fraction: ArrayLike = 0.5) -> SplitPsf:
    """Two focal planes, `separation_um` apart around the focus of `psf`, the shallower first.

    `fraction` is the share of the first. The sampling of `psf` must carry both: make it with a `z_range_um` that is
    half the separation longer at both ends. Traceable: a mask can be designed for it.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> pair = biplane(make_psf(scope, image_px=21, z_range_um=(-0.8, 0.8)), 0.6)
    >>> [round(float(path.microscope.focus_um), 3) for path in pair.paths]
    [-0.3, 0.3]
    """
    half = jnp.asarray(separation_um) / 2
    focus = psf.microscope.focus_um
    paths = tuple(replace(psf, microscope=replace(psf.microscope, focus_um=focus + side)) for side in (-half, half))
    first = jnp.asarray(fraction, dtype=jnp.result_type(focus))
    return SplitPsf(paths=paths, fraction=jnp.stack([first, 1 - first]), registration=_unmoved(2, focus))


def polarisation_split(psf: Psf) -> SplitPsf:
    """The x and y polarised images of a `Psf` that detects both: a polarising splitter without loss.

    Raises `OpticsError` for a scalar `Psf` or one behind a polariser. Traceable.
    """
    if psf.kind == "scalar" or psf.polarisation != "both":
        raise OpticsError(
            f"a Psf with kind = {psf.kind!r} and polarisation = {psf.polarisation!r} has no two polarisations to "
            "split; make it with kind='vectorial', polarisation='both'"
        )
    focus = psf.microscope.focus_um
    paths = (replace(psf, polarisation="x"), replace(psf, polarisation="y"))
    return SplitPsf(paths=paths, fraction=jnp.ones(2, jnp.result_type(focus)), registration=_unmoved(2, focus))


def _unmoved(count: int, like: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.eye(2, 3, dtype=jnp.result_type(like)), (count, 2, 3))


def split_image(split: SplitPsf, xyz_um: jax.Array, dipole_rad: jax.Array | None = None) -> jax.Array:
    """Images of one point on all paths, for one detected photon: (C, image_px, image_px) photons per pixel.

    `xyz_um` (3,) and `dipole_rad` (2,) as in `psf_image`. Each image sums to what goes its way; the images of all
    paths of a splitter without loss to 1.

    >>> from optics import make_microscope, make_psf
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> split = polarisation_split(make_psf(scope, image_px=11, pixel="centre"))
    >>> jax.jit(split_image)(split, jnp.zeros(3)).shape
    (2, 11, 11)
    """
    images = []
    for path, share, affine in zip(split.paths, split.fraction, split.registration, strict=True):
        seen = affine[:, 0] * xyz_um[0] + affine[:, 1] * xyz_um[1] + affine[:, 2]
        images.append(share * psf_image(path, jnp.append(seen, xyz_um[2]), dipole_rad=dipole_rad))
    return jnp.stack(images)
