"""Bead stacks simulated with a Tetrapod, their truth, and the phase error of a retrieval from them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from optics import Psf, make_camera, make_microscope, make_psf, masks, sample_camera
from optics.masks.sampling import mask_grid, sample_mask
from optics.psf import image_of, pupil_fields
from optics.retrieval.beads import BeadStack, make_bead_stack
from optics.retrieval.types import Retrieval
from optics.retrieval.undetermined import defocus_phase, pupil_weight, wrapped

BEAD_XYZ_UM = (0.06, -0.09, 0.02)
BLUR_UM = 0.08


@dataclasses.dataclass(frozen=True)
class SimulatedStack:
    """`stack` noisy, `clean` (Z, K, K) its expectation, `psf` that it was made with."""

    stack: BeadStack
    clean: NDArray
    psf: Psf


def simulated_stack(focus_um: NDArray, image_px: int, *, photons: float, background: float, seed: int = 0):
    """A Tetrapod bead with Poisson noise. Its sampling of the pupil is finer than the retrieval's own."""
    scope = make_microscope(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.605, pixel_um=0.11, focus_um=0.0)
    psf = make_psf(
        scope, mask=masks.tetrapod(4.0, scope), blur_um=BLUR_UM, image_px=image_px, pupil_px=image_px + 30, ring_px=16
    )
    shared = pupil_fields(psf)

    @jax.jit
    def images(focus):
        return jax.lax.map(lambda f: image_of(psf, shared, jnp.array(BEAD_XYZ_UM), refocus_um=f), focus)

    clean = photons * np.asarray(images(jnp.asarray(focus_um, jnp.float32)), dtype=float) + background
    noisy = np.asarray(sample_camera(jax.random.key(seed), make_camera(), jnp.asarray(clean, jnp.float32)))
    return SimulatedStack(make_bead_stack(noisy, focus_um, scope), clean, psf)


def phase_error_rad(result: Retrieval, truth: Psf) -> dict[str, float]:
    """Rms difference of retrieved and true phase inside the critical-angle circle, least over what is not determined.

    Piston, tilt and defocus are taken off; each cell counts alike, as the difference's wrapped value.
    """
    scope, cells = truth.microscope, len(result.phase_rad)
    assert truth.mask is not None
    x, y = mask_grid(cells)
    true = np.angle(np.asarray(sample_mask(truth.mask, x, y, float(scope.wavelength_um))))
    weight = pupil_weight(np.ones_like(true), float(scope.n_sample / scope.na))
    family = np.stack([np.asarray(x, float), np.asarray(y, float), defocus_phase(scope, cells)])
    difference = result.phase_rad + result.beads[0].focus_offset_um * defocus_phase(scope, cells) - true

    def away(parameters):
        return -np.abs(np.sum(weight * np.exp(1j * (difference - np.tensordot(parameters, family, 1)))))

    tilts, foci = (-2.0, 0.0, 2.0), (-0.05, 0.0, 0.05)
    starts = [(a, b, c) for a in tilts for b in tilts for c in foci]
    best = min(
        (minimize(away, start, method="Nelder-Mead", options={"maxiter": 4000}) for start in starts),
        key=lambda found: found.fun,
    )
    rest = wrapped(difference - np.tensordot(best.x, family, 1))
    rest = wrapped(rest - np.angle(np.sum(weight * np.exp(1j * rest))))
    return {"phase_error_rms_rad": float(np.sqrt(np.sum(weight * rest**2))), "agreement": float(-best.fun)}
