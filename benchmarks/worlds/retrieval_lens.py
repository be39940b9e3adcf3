"""A photographic lens with an etched Tetrapod: the retrieved phase against the height map that was made.

A lens images paraxially, so that its images stay the same when NA' = q NA, pixel' = pixel / q, focus' = focus /
q^2: it is a scalar microscope in air of NA' = 0.3. All lengths are halved once more, the wavelength among them, which
changes no image either: so the scan stays within what `make_bead_stack` takes. Pixel and focus per millimetre of the
source's travel are unknown (the recording gives neither aperture nor distances). The scan without a plate gives both,
but for the sign of the focus; the etched phase, put in at every angle, either side up, with both signs and some zeros
of the focus, gives the rest. The phase is then retrieved from a flat start without it: what the calibration knows of it
is which way the focus runs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import rotate
from scipy.optimize import minimize

from optics import Report, make_microscope, make_psf, replace
from optics.masks.sampling import mask_grid, sample_mask
from optics.psf import image_of, pupil_fields
from optics.retrieval.beads import BeadStack, correlation, make_bead_stack
from optics.retrieval.retrieve import retrieve_psf
from optics.retrieval.types import Retrieval, RetrievalSettings
from optics.retrieval.undetermined import agreement, defocus_phase, pupil_weight, wrapped
from optics.types import PhaseMask, Psf
from worlds import DATA

SCALE = 0.5
NA, WAVELENGTH_UM, INDEX_STEP = 0.3, SCALE * 0.561, 0.4595
APERTURE_PX = 394
SIDES: dict[str, Callable[[NDArray], NDArray]] = {"as filed": lambda h: h, "mirrored": lambda h: h[:, ::-1]}
CLEAR_SLICES = (0, 3, 5, 6, 7, 9, 11, 13, 15)
FIT_SLICES = (0, 3, 6, 9, 12, 15, 18, 21, 24, 27)


def recorded() -> tuple[NDArray, NDArray]:
    """Images (31, 151, 151) and travel of the source (31,), mm."""
    images = np.asarray(tifffile.imread(DATA / "bbl-lens-psf" / "tetrapod_31x1mm.tif"), dtype=float)
    return images, np.arange(-10.0, 21.0)


def recorded_clear() -> tuple[NDArray, NDArray]:
    """The scan without a plate: images (16, 181, 181) and travel (16,), mm."""
    images = np.asarray(tifffile.imread(DATA / "bbl-lens-psf" / "clear_aperture_16x2mm.tif"), dtype=float)
    return images, np.arange(-10.0, 21.0, 2.0)


def etched_plate(side: str, angle_deg: float) -> PhaseMask:
    """The etched glass as a plate over the lens's aperture, turned in its holder."""
    height = SIDES[side](np.load(DATA / "bbl-lens-psf" / "tetrapod_height_um.npy").astype(float))
    # heights are wrapped: no mean of two of them means anything
    height = rotate(height, angle_deg, reshape=False, order=0)
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


class Scan:
    """Images of a scan, and how like them a lens is: flat parameters (log pixel, a, b, c, x, y, log blur).

    The focus is a + b s + c s^2 of the travel s in mm, blur and place are in pixels.
    """

    UNIT = np.array([0.02, 1.0, 0.05, 0.005, 0.5, 0.5, 0.2])

    def __init__(self, images: NDArray, travel_mm: NDArray, chosen: Sequence[int]):
        self.seen = jnp.asarray(images[list(chosen)], jnp.float32)
        self.travel_mm = jnp.asarray(travel_mm[list(chosen)], jnp.float32)
        y, x = np.indices(images.shape[1:]) - (images.shape[1] - 1) / 2
        light = np.clip(images - 2, 0, None)
        self.centre_px = [(light * u).sum() / light.sum() for u in (x, y)]
        self.px = images.shape[1]

    def like(self, flat: NDArray, psf: Psf, pick: NDArray | None = None) -> float:
        """Mean correlation over the picked slices."""
        pick = np.arange(len(self.seen)) if pick is None else pick
        return float(_like(jnp.asarray(flat, jnp.float32), psf, self.seen[pick], self.travel_mm[pick]))

    def refined(self, flat: NDArray, psf: Psf) -> tuple[float, NDArray]:
        def away(step):
            at = jnp.asarray(flat + self.UNIT * step, jnp.float32)
            value, gradient = _like_and_slope(at, psf, self.seen, self.travel_mm)
            return -1e2 * float(value), -1e2 * self.UNIT * np.asarray(gradient, dtype=float)

        found = minimize(away, np.zeros(7), jac=True, method="L-BFGS-B", options={"maxiter": 80})
        return -found.fun / 1e2, flat + self.UNIT * found.x


def likeness(flat: jax.Array, psf: Psf, seen: jax.Array, travel_mm: jax.Array) -> jax.Array:
    pixel, blur = jnp.exp(flat[0]), jnp.exp(flat[6])
    tuned = replace(psf, microscope=replace(psf.microscope, pixel_um=pixel), blur_um=blur * pixel)
    shared = pupil_fields(tuned)
    focus = flat[1] + flat[2] * travel_mm + flat[3] * travel_mm**2

    @jax.checkpoint
    def image(f):
        place = jnp.array([flat[4] * pixel, flat[5] * pixel, 0.0])
        return image_of(tuned, shared, place, refocus_um=f - psf.microscope.focus_um)

    models = jax.lax.map(image, focus, batch_size=3)
    a, b = (v - v.mean((1, 2), keepdims=True) for v in (models, seen))
    return jnp.mean(jnp.sum(a * b, (1, 2)) / jnp.sqrt(jnp.sum(a**2, (1, 2)) * jnp.sum(b**2, (1, 2))))


_like = jax.jit(likeness)
_like_and_slope = jax.jit(jax.value_and_grad(likeness))


def calibrated(images: NDArray, travel_mm: NDArray) -> dict[str, Any]:
    """Pixel, focus (a + b s + c s^2 of the travel s in mm) and blur that make the etched phase look like the images."""
    open_scan = Scan(*recorded_clear(), CLEAR_SLICES)
    clear = lens(0.2, None, open_scan.px, 50.0)
    tried = []
    for pixel in np.geomspace(0.08, 0.5, 14):
        for rate in np.geomspace(0.5, 8.0, 16):
            for middle_mm in (0.0, 0.6, 1.2):
                flat = np.array([np.log(pixel), -rate * middle_mm, rate, 0.0, *open_scan.centre_px, np.log(0.7)])
                tried.append((open_scan.like(flat, clear, np.array([0, 2, 6])), flat))
    tried.sort(key=lambda t: -t[0])
    alike, flat = max((open_scan.refined(start, clear) for _, start in tried[:4]), key=lambda r: r[0])
    print("lens, no plate:", round(alike, 4), np.exp(flat[0]).round(4), flat[1:].round(4).tolist(), flush=True)

    scan, few = Scan(images, travel_mm, FIT_SLICES), np.array([1, 4, 8])
    tried = []
    for side in SIDES:
        for angle in np.arange(0.0, 360.0, 10.0):
            psf = lens(0.2, etched_plate(side, angle), scan.px, 50.0)
            for sign in (-1.0, 1.0):
                for shift_mm in (2.0, 3.0, 4.0, 5.0):
                    rate, bend = sign * flat[2], sign * flat[3]
                    zero = sign * flat[1] - rate * shift_mm
                    start = np.array([flat[0], zero, rate, bend, *scan.centre_px, flat[6]])
                    tried.append((scan.like(start, psf, few), side, angle, start))
    tried.sort(key=lambda t: -t[0])
    print("lens, coarse:", [(round(v, 3), side, a, f[1:3].round(2).tolist()) for v, side, a, f in tried[:6]])
    best: tuple[float, str, float, NDArray] = (-1.0, "", 0.0, tried[0][3])
    for _, side, angle, start in tried[:4]:
        for turn in (0.0, -5.0, 5.0):
            like, found = scan.refined(start, lens(0.2, etched_plate(side, angle + turn), scan.px, 50.0))
            best = max(best, (like, side, angle + turn, found), key=lambda r: r[0])
    for turn in (-3.0, -1.5, 1.5, 3.0):
        like, found = scan.refined(best[3], lens(0.2, etched_plate(best[1], best[2] + turn), scan.px, 50.0))
        best = max(best, (like, best[1], best[2] + turn, found), key=lambda r: r[0])
    like, side, angle, found = best
    print("lens, refined:", round(like, 4), side, angle, found.round(4).tolist(), flush=True)
    return {
        "plate": side,
        "angle_deg": angle,
        "correlation_mean_without_plate": alike,
        "correlation_mean_of_the_etched_phase": like,
        "pixel_um": float(np.exp(found[0])),
        "pixel_um_without_plate": float(np.exp(flat[0])),
        "focus_um_of_travel_mm": [float(v) for v in found[1:4]],
        "focus_um_of_travel_mm_without_plate": [float(v) for v in flat[1:4]],
        "blur_px": float(np.exp(found[6])),
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


def lens_retrieval(show: Report) -> tuple[dict[str, Any], Retrieval, BeadStack]:
    images, travel_mm = recorded()
    found = calibrated(images, travel_mm)
    stack = lens_stack(images, travel_mm, found)
    result = retrieve_psf(stack, lens_settings(found), report=show)
    against = against_etching(result, stack, etched_plate(found["plate"], found["angle_deg"]))
    match = correlation(images, result.beads[0].model_adu)
    alone, etched = found["correlation_mean_without_plate"], found["correlation_mean_of_the_etched_phase"]
    why = (
        "A lens of unknown focal length, 8-bit frames that look denoised. Without the plate the model's mean "
        f"correlation over the scan is {alone:.3f}; with the etched phase put in, at its best angle, {etched:.3f}: the "
        "plate does more than its height file says in the plane of the stop. Retrieved and etched phase agree to "
        f"{against['agreement_retrieved']:.2f} (twin: {against['agreement_twin']:.2f}) but for tilt and defocus."
    )
    row = {"calibration": found, **against, "correlation_mean": float(match.mean()), "why": why}
    return row, result, stack
