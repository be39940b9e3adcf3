"""Slices that a retrieval has not seen, predicted by its PSF: each refitted in x, y, signal and background alone.

Focus, tilt, stage steps, pupil and blur stay as retrieved from the other slices.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from optics import Psf, replace
from optics.psf import image_of, pupil_fields
from optics.retrieval.beads import BeadStack, correlation
from optics.retrieval.retrieve import template_psf
from optics.retrieval.types import Retrieval, RetrievalSettings


def predicted(
    result: Retrieval, fitted: BeadStack, others: BeadStack, settings: RetrievalSettings
) -> tuple[NDArray, NDArray]:
    """Correlation (Z,) of the `others` with the PSF retrieved from `fitted`, and how far each moved (Z, 2), um."""
    bead, radius = result.beads[0], settings.bead_diameter_um / 2
    blur = jnp.sqrt(result.psf.blur_um**2 + radius**2 / 5)  # pyright: ignore[reportOptionalOperand]
    psf: Psf = replace(template_psf([fitted, others], settings), aberration=result.psf.aberration, blur_um=blur)
    psf = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), psf)
    focus = np.asarray(others.focus_um)
    walked = bead.tilt * (focus - np.asarray(fitted.focus_um).mean())[:, None]
    start = jnp.asarray(bead.xy_um + walked, jnp.float32)
    refocus = jnp.asarray(focus * (1 + result.step_error) + bead.focus_offset_um, jnp.float32)
    refocus = refocus - psf.microscope.focus_um
    images = jnp.asarray(others.images, jnp.float32)

    def models(moved: jax.Array) -> jax.Array:
        shared = pupil_fields(psf)

        @jax.checkpoint
        def image(xy, step):
            return image_of(psf, shared, jnp.array([xy[0], xy[1], radius]), refocus_um=step)

        return jax.lax.map(lambda at: image(*at), (start + moved, refocus), batch_size=8)

    @jax.jit
    def unlike(flat):
        def total(flat):
            a, b = (v - v.mean((1, 2), keepdims=True) for v in (models(0.01 * flat.reshape(-1, 2)), images))
            like = jnp.sum(a * b, (1, 2)) / jnp.sqrt(jnp.sum(a**2, (1, 2)) * jnp.sum(b**2, (1, 2)))
            return jnp.sum(1 - like)

        return jax.value_and_grad(total)(flat)

    def away(flat):
        value, slope = unlike(jnp.asarray(flat, jnp.float32))
        return 1e3 * float(value), 1e3 * np.asarray(slope, dtype=float)

    found = minimize(away, np.zeros(2 * len(focus)), jac=True, method="L-BFGS-B", options={"maxiter": 30})
    moved = 0.01 * found.x.reshape(-1, 2)
    # signal and background are a straight line: Pearson's correlation is blind to them
    return correlation(np.asarray(others.images), np.asarray(jax.jit(models)(jnp.asarray(moved, jnp.float32)))), moved
