"""The model that a phase retrieval descends on: parameters -> pupil -> images of slices -> misfit; and the descent.

Signal and background of every slice are not searched: for a given shape they are a weighted straight line,
solved exactly inside the loss (variable projection, Golub & Pereyra 2003, doi 10.1088/0266-5611/19/2/201).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from optics import adam
from optics.masks.sampling import mask_grid
from optics.psf import image_of, pupil_fields
from optics.pytree import pytree, replace
from optics.types import OpticsError, PhaseMask, Psf
from optics.zernike import osa_to_nm, zernike_basis

Params = dict[str, jax.Array]

# How far one unit of a parameter's update moves it, relative to a phase (radians).
PACE = {
    "phase": 1.0,
    "log_amplitude": 0.1,
    "log_blur": 0.1,
    "xy_um": 0.02,
    "focus_um": 0.1,
    "tilt": 2e-2,
    "step": 1e-2,
}
_LARGE_BEAD_UM = 0.05  # radius beyond which a bead's extent along the axis matters


@pytree
class Slices:
    """All slices of all beads in one row, scaled to unit deviation; what a step reads a part of."""

    images: jax.Array  # (N, K, K)
    weight: jax.Array  # (N, K, K)
    focus_um: jax.Array  # (N,)
    bead: jax.Array  # (N,) index of the bead


def start_params(n_beads: int, cells: int, *, amplitude_modes: int, blur_um: float, seed: int) -> Params:
    """A flat pupil with a trace of noise, which breaks its symmetry; beads in the middle of their crops."""
    noise = 0.01 * jax.random.normal(jax.random.key(seed), (cells, cells), jnp.float32)
    return {
        "phase": noise,
        "log_amplitude": jnp.zeros(amplitude_modes, jnp.float32),
        "log_blur": jnp.log(jnp.float32(blur_um)),
        "xy_um": jnp.zeros((n_beads, 2), jnp.float32),
        "focus_um": jnp.zeros(n_beads, jnp.float32),
        "tilt": jnp.zeros((n_beads, 2), jnp.float32),
        "step": jnp.float32(0.0),
    }


def amplitude_scale(n_modes: int) -> jax.Array:
    """Scale of each amplitude mode (n_modes,): finer modes are damped, so that pupils stay even; piston is fixed."""
    order = np.array([osa_to_nm(j)[0] for j in range(n_modes)])
    return jnp.asarray(np.where(order == 0, 0.0, 1 / (1 + (order / 3) ** 2)), jnp.float32)


def pupil_plate(params: Params, wavelength_um: jax.Array, cells: int) -> PhaseMask:
    """The retrieved pupil as a mask: phase, and amplitude as a transmission that reaches 1."""
    x, y = (jnp.asarray(u, jnp.float32) for u in mask_grid(cells))
    phase = params["phase"]
    if phase.ndim == 1:
        phase = jnp.tensordot(phase, zernike_basis(phase.shape[0], x, y), 1)
    log_amplitude = jnp.zeros_like(x)
    n_modes = params["log_amplitude"].shape[0]
    if n_modes:
        inward = jnp.minimum(1.0, 1 / jnp.hypot(x, y))  # beyond the rim the amplitude goes on with its value there
        modes = zernike_basis(n_modes, inward * x, inward * y)
        log_amplitude = jnp.tensordot(amplitude_scale(n_modes) * params["log_amplitude"], modes, 1)
    wavelength = jnp.asarray(wavelength_um, phase.dtype)
    return PhaseMask(
        opd_um=phase * wavelength / (2 * jnp.pi),
        transmission=jnp.exp(log_amplitude - log_amplitude.max()),
        half_width=jnp.ones((), phase.dtype),
        design_wavelength_um=wavelength,
        wrapped=True,
    )


def slice_images(
    template: Psf,
    params: Params,
    focus_um: jax.Array,
    bead: jax.Array,
    *,
    cells: int,
    centre_um: jax.Array,
    radius_um: float,
) -> jax.Array:
    """Model images (N, K, K) of unit signal for N slices; mean pixel of order 1.

    The focus of a slice is `focus_um` (1 + step) plus the bead's own offset. A bead is a ball on the
    coverslip: laterally a Gaussian of variance radius^2 / 5, axially two planes at +-radius / sqrt(5).
    """
    scope = template.microscope
    plate = pupil_plate(params, scope.wavelength_um, cells)
    blur = jnp.sqrt(jnp.exp(2 * params["log_blur"]) + radius_um**2 / 5)
    psf = replace(template, aberration=plate, blur_um=blur)
    shared = pupil_fields(psf)
    heights = (1.0,) if radius_um < _LARGE_BEAD_UM else (1 - 5**-0.5, 1 + 5**-0.5)
    xy_um = params["xy_um"][bead] + params["tilt"][bead] * (focus_um - centre_um)[:, None]
    refocus = focus_um * (1 + params["step"]) + params["focus_um"][bead] - scope.focus_um

    @jax.checkpoint
    def image(xy_um, refocus_um):
        planes = [
            image_of(psf, shared, jnp.array([xy_um[0], xy_um[1], h * radius_um]), refocus_um=refocus_um)
            for h in heights
        ]
        return sum(planes) / len(planes)

    images = jax.lax.map(lambda at: image(*at), (xy_um, refocus), batch_size=min(8, len(focus_um)))
    return images * template.image_px**2


def line_fit(images: jax.Array, model: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Signal and background (N,) of the weighted line images = signal * model + background, per slice."""
    total = weight.sum((1, 2))
    share = weight / total[:, None, None]
    mean_m, mean_i = jnp.sum(share * model, (1, 2)), jnp.sum(share * images, (1, 2))
    centred = model - mean_m[:, None, None]
    signal = jnp.sum(share * centred * images, (1, 2)) / jnp.sum(share * centred**2, (1, 2))
    return signal, mean_i - signal * mean_m


def misfit_loss(params, slices, template, centre_um, smoothness, *, cells, radius_um):
    """Return misfit plus penalties of a set of slices, and the misfit alone: the unexplained part of the light."""
    model = slice_images(
        template, params, slices.focus_um, slices.bead, cells=cells, centre_um=centre_um, radius_um=radius_um
    )
    signal, background = line_fit(slices.images, model, slices.weight)
    residual = slices.images - signal[:, None, None] * model - background[:, None, None]
    misfit = jnp.sum(slices.weight * residual**2) / len(slices.focus_um)
    phase = params["phase"]
    rough = jnp.zeros(())
    if phase.ndim == 2:
        # second differences: a steep phase is no fault, a ragged one is; 1 - cos knows no wraps
        rough = sum(jnp.mean(1 - jnp.cos(jnp.diff(phase, 2, axis))) for axis in (0, 1))
    # weak priors hold what a short stack leaves open: amplitude near even, stage steps as read, no tilt
    prior = (
        1e-4 * jnp.sum(params["log_amplitude"] ** 2) + 0.02 * params["step"] ** 2 + 1e-2 * jnp.sum(params["tilt"] ** 2)
    )
    return misfit + smoothness * rough + prior, misfit


@partial(jax.jit, static_argnames=("cells", "radius_um", "free"))
def _adam_step(
    params, moments, slices, chosen, template, centre_um, smoothness, rate, count, *, cells, radius_um, free
):
    """One step of Adam on the chosen slices."""
    part = Slices(*(leaf[chosen] for leaf in (slices.images, slices.weight, slices.focus_um, slices.bead)))
    (_, misfit), slope = jax.value_and_grad(misfit_loss, has_aux=True)(
        params, part, template, centre_um, smoothness, cells=cells, radius_um=radius_um
    )
    moments, mean, root = adam.update(moments, slope, count)

    def moved(name):
        direction = mean[name] / (root[name] + 1e-12)
        return params[name] - (rate * PACE[name] * direction if name in free else 0.0)

    return {name: moved(name) for name in params}, moments, misfit


def descend(
    params: Params,
    slices: Slices,
    template: Psf,
    *,
    cells: int,
    radius_um: float,
    steps: int,
    rate: float,
    batch: int,
    smoothness: float,
    seed: int,
    frozen: Sequence[str] = (),
    show: Callable[[int, float], None] = lambda step, misfit: None,
) -> Params:
    """`steps` of Adam with a rate that falls as a cosine; a step sees `batch` slices, each slice once a round."""
    free = tuple(sorted(name for name in params if name not in frozen))
    moments = adam.no_moments(params)
    n, rng, queue = len(slices.focus_um), np.random.default_rng(seed), np.zeros(0, int)
    centre = jnp.mean(slices.focus_um)
    for step in range(steps):
        if len(queue) < batch:
            queue = np.concatenate([queue, rng.permutation(n)]) if batch < n else np.arange(n)
        chosen, queue = np.sort(queue[:batch]), queue[batch:]
        falling = rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        params, moments, misfit = _adam_step(
            params, moments, slices, jnp.asarray(chosen), template, centre, jnp.float32(smoothness),
            jnp.float32(falling), jnp.float32(step + 1), cells=cells, radius_um=radius_um, free=free,
        )  # fmt: skip
        if step % 10 == 9 or step == steps - 1:
            value = float(misfit)
            if not math.isfinite(value):
                raise OpticsError("the retrieval diverged; check wavelength, NA, pixel and focus positions")
            show(step + 1, value)
    return params
