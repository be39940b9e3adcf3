"""The focus of a mask: where its bound is least, and how finely the pupil must be sampled while it moves."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar

from optics.design.target import DesignTarget, objective_um
from optics.psf import pupil_samples, ring_samples
from optics.pytree import replace
from optics.types import Psf

NO_BOUND = 20.0  # log of a bound in um that stands for "none at all"
_SCANNED = 15  # focus positions that `refocus` tries first
_objective = jax.jit(objective_um)


def at_full_sampling(psf: Psf, z_range_um: tuple[float, float], *, room: float = 1.0, focus_um: float = 0.0) -> Psf:
    """The PSF with the pupil samples that `make_psf` would choose for it, or never fewer with `room` above 1.

    `room` is how much wider than the stamp the samples must reach, `focus_um` how far the focus may move.
    """
    width = int(np.ceil(room * psf.image_px))
    moved = [replace(psf.microscope, focus_um=psf.microscope.focus_um + shift) for shift in {-focus_um, 0.0, focus_um}]
    return replace(
        psf,
        pupil_px=max(pupil_samples(scope, width, z_range_um) for scope in moved),
        ring_px=max(ring_samples(scope, width) for scope in moved),
    )


def refocus(key: jax.Array, psf: Psf, target: DesignTarget, reach_um: float) -> Psf:
    """The PSF with its focus where the objective is least, within `reach_um` of where it is. A host function.

    For a fair comparison of a given mask with a designed one: a scan, then a bounded search about its best point.
    The samplings are those that `make_psf` would choose for the focus that needs the most of them.
    """
    z_range_um = (float(target.z_range_um[0]), float(target.z_range_um[1]))
    start_um = float(psf.microscope.focus_um)
    roomy = at_full_sampling(psf, z_range_um, focus_um=reach_um)

    def value(focus_um: float) -> float:
        moved = replace(roomy.microscope, focus_um=jnp.asarray(focus_um, roomy.microscope.focus_um.dtype))
        found = float(_objective(key, replace(roomy, microscope=moved), target))
        return found if np.isfinite(found) else float(np.exp(NO_BOUND))

    scan = start_um + reach_um * np.linspace(-1, 1, _SCANNED)
    best = int(np.argmin([value(focus_um) for focus_um in scan]))
    about = (float(scan[max(best - 1, 0)]), float(scan[min(best + 1, _SCANNED - 1)]))
    found = minimize_scalar(value, bounds=about, method="bounded", options={"xatol": 0.005})
    focus_um = jnp.asarray(found.x, roomy.microscope.focus_um.dtype)  # pyright: ignore[reportAttributeAccessIssue]
    return replace(roomy, microscope=replace(psf.microscope, focus_um=focus_um))
