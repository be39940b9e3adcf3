"""A photographic lens with an etched Tetrapod: the retrieved phase against the height map that was made.

A lens images paraxially, so that its images stay the same when NA' = q NA, pixel' = pixel / q, focus' = focus /
q^2: it is a scalar microscope in air of NA' = 0.3. All lengths are halved once more, the wavelength among them, which
changes no image either: so the scan stays within what `make_bead_stack` takes. Pixel and focus per millimetre of the
source's travel are unknown (the recording gives neither aperture nor distances). They are calibrated with the etched
phase known; the phase is then retrieved from a flat start without it. That calibration also decides the direction of
the focus, and with it the twin, and which way round the plate lay.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tifffile
from numpy.typing import NDArray
from reference_files import DATA
from scipy.optimize import minimize

from optics import make_microscope, make_psf, replace
from optics.bead_stack import BeadStack, correlation, make_bead_stack
from optics.masks import mask_grid, sample_mask
from optics.phase_retrieval import retrieve_psf
from optics.psf import image_of, pupil_fields
from optics.pupil_gauge import agreement, defocus_phase, pupil_weight, wrapped
from optics.retrieval_types import Retrieval, RetrievalSettings
from optics.types import PhaseMask

SCALE = 0.5
NA, WAVELENGTH_UM, INDEX_STEP = 0.3, SCALE * 0.561, 0.4595
APERTURE_PX = 394
TURNS: dict[str, Callable[[NDArray], NDArray]] = {
    "as filed": lambda h: h,
    "transposed": lambda h: h.T,
    "mirrored": lambda h: h[:, ::-1],
    "turned by 90 degrees": lambda h: np.rot90(h),
}
FIT_SLICES = (0, 3, 6, 9, 12, 15, 18, 21, 24, 27)


def recorded() -> tuple[NDArray, NDArray]:
    """Images (31, 151, 151) and travel of the source (31,), mm."""
    images = np.asarray(tifffile.imread(DATA / "bbl-lens-psf" / "tetrapod_31x1mm.tif"), dtype=float)
    return images, np.arange(-10.0, 21.0)


def etched_plate(turn: Callable[[NDArray], NDArray]) -> PhaseMask:
    """The etched glass as a plate over the lens's aperture."""
    height = turn(np.load(DATA / "bbl-lens-psf" / "tetrapod_height_um.npy").astype(float))
    first = (len(height) - APERTURE_PX) // 2
    opd = SCALE * INDEX_STEP * height[first : first + APERTURE_PX, first : first + APERTURE_PX]
    return PhaseMask(
        opd_um=jnp.asarray(opd, jnp.float32),
        transmission=jnp.ones_like(jnp.asarray(opd, jnp.float32)),
        half_width=jnp.asarray(1.0, jnp.float32),
        design_wavelength_um=jnp.asarray(WAVELENGTH_UM, jnp.float32),
        wrapped=True,
    )


def lens(pixel_um: float, plate: PhaseMask | None, image_px: int, far_um: float):
    scope = make_microscope(
        na=NA, n_immersion=1.0, n_sample=1.0, n_coverslip=1.0, wavelength_um=WAVELENGTH_UM, pixel_um=pixel_um,
        focus_um=far_um,
    )  # fmt: skip
    psf = make_psf(scope, aberration=plate, kind="scalar", image_px=image_px, blur_um=0.1, pixel="centre")
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), psf)


def calibrated(images: NDArray, travel_mm: NDArray) -> dict[str, Any]:
    """Pixel, focus (a + b s + c s^2 of the travel s in mm) and blur that make the etched phase look like the images."""
    chosen = list(FIT_SLICES)
    seen, s = jnp.asarray(images[chosen], jnp.float32), jnp.asarray(travel_mm[chosen], jnp.float32)
    y, x = np.indices(images.shape[1:]) - (images.shape[1] - 1) / 2
    light = np.clip(images - 2, 0, None)
    centre_px = np.array([(light * u).sum() / light.sum() for u in (x, y)])

    def like(flat, psf, pick):
        """Correlation of each picked slice, for (log pixel, a, b, c, x, y, log blur)."""
        pixel, blur = jnp.exp(flat[0]), jnp.exp(flat[6])
        tuned = replace(psf, microscope=replace(psf.microscope, pixel_um=pixel), blur_um=blur * pixel)
        shared = pupil_fields(tuned)
        at, shown = s[pick], seen[pick]
        focus = flat[1] + flat[2] * at + flat[3] * at**2

        @jax.checkpoint
        def image(f):
            place = jnp.array([flat[4] * pixel, flat[5] * pixel, 0.0])
            return image_of(tuned, shared, place, refocus_um=f - psf.microscope.focus_um)

        models = jax.lax.map(image, focus, batch_size=4)
        a, b = (v - v.mean((1, 2), keepdims=True) for v in (models, shown))
        return jnp.sum(a * b, (1, 2)) / jnp.sqrt(jnp.sum(a**2, (1, 2)) * jnp.sum(b**2, (1, 2)))

    score = jax.jit(lambda flat, psf, pick: like(flat, psf, pick).mean())
    slope = jax.jit(jax.value_and_grad(lambda flat, psf, pick: 1 - like(flat, psf, pick).mean()))
    few, every = jnp.array([1, 4, 9]), jnp.arange(len(chosen))
    tried = []
    for name, turn in TURNS.items():
        psf = lens(0.2, etched_plate(turn), images.shape[1], 50.0)
        for pixel in np.geomspace(0.11, 0.2, 5):
            for rate in np.outer([-1, 1], np.geomspace(1.6, 4.0, 5)).ravel():
                for middle_mm in (3.0, 4.0, 5.0):
                    flat = np.array([np.log(pixel), -rate * middle_mm, rate, 0.0, *centre_px, np.log(2.0)])
                    tried.append((float(score(jnp.asarray(flat, jnp.float32), psf, few)), name, flat))
    tried.sort(key=lambda t: -t[0])
    print("lens, coarse:", [(round(v, 3), n, np.exp(f[0]).round(2), f[1:3].round(2).tolist()) for v, n, f in tried[:8]])
    unit = np.array([0.02, 1.0, 0.05, 0.005, 0.5, 0.5, 0.2])
    refined = []
    for _, name, flat in tried[:4]:
        psf = lens(0.2, etched_plate(TURNS[name]), images.shape[1], 50.0)

        def away(step, flat=flat, psf=psf):
            value, gradient = slope(jnp.asarray(flat + unit * step, jnp.float32), psf, every)
            return 1e2 * float(value), 1e2 * unit * np.asarray(gradient, dtype=float)

        found = minimize(away, np.zeros(7), jac=True, method="L-BFGS-B", options={"maxiter": 80})
        refined.append((1 - found.fun / 1e2, name, flat + unit * found.x))
        print("lens, refined:", round(refined[-1][0], 4), name, refined[-1][2].round(3).tolist(), flush=True)
    best, name, flat = max(refined, key=lambda r: r[0])
    return {
        "plate": name,
        "correlation_mean_of_the_etched_phase": best,
        "pixel_um": float(np.exp(flat[0])),
        "focus_um_of_travel_mm": [float(v) for v in flat[1:4]],
        "blur_px": float(np.exp(flat[6])),
        "runner_up_turned_otherwise": max((r[0] for r in refined if r[1] != name), default=None),
    }


def lens_stack(images: NDArray, travel_mm: NDArray, found: dict[str, Any]) -> BeadStack:
    a, b, c = found["focus_um_of_travel_mm"]
    scope = lens(found["pixel_um"], None, images.shape[1], 0.0).microscope
    return make_bead_stack(images, a + b * travel_mm + c * travel_mm**2, scope)


def lens_settings(found: dict[str, Any]) -> RetrievalSettings:
    return RetrievalSettings(
        kind="scalar", bead_diameter_um=0.0, blur_um=min(0.9, found["blur_px"] * found["pixel_um"])
    )


def against_etching(result: Retrieval, stack: BeadStack, plate: PhaseMask) -> dict[str, float]:
    """Agreement of retrieved and etched phase over the aperture, also of its half turn and of its twin."""
    cells = len(result.phase_rad)
    x, y = mask_grid(cells)
    total = result.phase_rad + result.beads[0].focus_offset_um * defocus_phase(stack.microscope, cells)
    weight = pupil_weight(np.ones_like(total))
    etched = np.angle(np.asarray(sample_mask(plate, x, y, WAVELENGTH_UM)))
    ramps = np.stack([np.asarray(x, float), np.asarray(y, float), defocus_phase(stack.microscope, cells)])
    shapes = {"retrieved": total, "turned_by_180_degrees": total[::-1, ::-1], "twin": -total[::-1, ::-1]}
    return {
        **{f"agreement_{name}": agreement(wrapped(p), etched, weight, ramps) for name, p in shapes.items()},
        "agreement_retrieved_tilt_alone": agreement(wrapped(total), etched, weight),
    }


def lens_retrieval(show: Callable[[dict[str, Any]], None]) -> tuple[dict[str, Any], Retrieval, BeadStack]:
    images, travel_mm = recorded()
    found = calibrated(images, travel_mm)
    stack = lens_stack(images, travel_mm, found)
    result = retrieve_psf(stack, lens_settings(found), report=show)
    against = against_etching(result, stack, etched_plate(TURNS[found["plate"]]))
    match = correlation(images, result.beads[0].model_adu)
    return {"calibration": found, **against, "correlation_mean": float(match.mean())}, result, stack
