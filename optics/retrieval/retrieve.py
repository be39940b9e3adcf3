"""From bead stacks to the pupil of the instrument: phase, amplitude, blur, and where each bead was.

The pupil's phase is free in every cell of a grid and interpolated as a phasor, so that the descent may wind
and unwind it; that is what lets it find a Tetrapod from a flat start, where smooth bases (Zernike modes,
cosines) end in local minima. Signal and background of every slice are not searched: for a given shape they
are a weighted straight line, solved exactly inside the loss (variable projection, Golub & Pereyra 2003,
doi 10.1088/0266-5611/19/2/201). Three stages: few slices on a coarse pupil find the basin, all slices refine
it by least squares, then the camera's likelihood weighs the pixels (a scoring iteration: its fixed point is
the maximum of the quasi-likelihood with that variance).
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from optics.masks.sampling import mask_grid
from optics.progress import Event, Report, silent
from optics.psf import make_psf
from optics.pytree import replace
from optics.retrieval.beads import SECOND_BEAD, BeadStack, correlation, noise_ceiling, second_bead_px, sharpest_focus_um
from optics.retrieval.findings import findings, super_critical_share
from optics.retrieval.model import Params, Slices, descend, line_fit, pupil_plate, slice_images, start_params
from optics.retrieval.noise import NoiseModel, estimate_noise, structured_share
from optics.retrieval.types import BeadFit, Retrieval, RetrievalSettings
from optics.retrieval.undetermined import pupil_weight, remove_undetermined, wrapped, zernike_table
from optics.types import OpticsError, PhaseMask, Psf
from optics.zernike import osa_to_nm

# Weight of the smoothness prior while the basin is sought: loose, so that the phase may wind and unwind.
SEARCH_SMOOTHNESS = 1e-4


def template_psf(stacks: Sequence[BeadStack], settings: RetrievalSettings, *, coarse: bool = False) -> Psf:
    """The `Psf` that a retrieval starts from, sampled for the farthest focus; float32. `coarse` for the search."""
    scope = stacks[0].microscope
    far = max(float(jnp.abs(stack.focus_um - sharpest_focus_um(stack)).max()) for stack in stacks)
    image_px = stacks[0].images.shape[-1]
    psf = make_psf(
        replace(scope, focus_um=jnp.asarray(far)),
        image_px=image_px,
        kind=settings.kind,
        polarisation=settings.polarisation,
        blur_um=settings.blur_um,
        pixel="centre" if coarse else "integrated",
        z_range_um=(0.0, max(settings.bead_diameter_um, 0.02)),
    )
    if coarse:
        psf = replace(psf, pupil_px=2 * math.ceil(0.42 * psf.pupil_px), ring_px=math.ceil(0.5 * psf.ring_px))
    psf = replace(psf, microscope=scope)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), psf)


def mask_cells(stack: BeadStack, settings: RetrievalSettings) -> int:
    """Cells a side of the retrieved mask: 2.2 times what a stamp of this size resolves, 80 to 192."""
    if settings.mask_px is not None:
        return settings.mask_px
    scope = stack.microscope
    nyquist = stack.images.shape[-1] * float(scope.pixel_um) * 2 * float(scope.na) / float(scope.wavelength_um)
    return int(np.clip(8 * math.ceil(2.2 * nyquist / 8), 80, 192))


def as_slices(stacks: Sequence[BeadStack], weights: Sequence[np.ndarray], scales: Sequence[float]) -> Slices:
    """Join beads into one row of slices; images of bead b divided by `scales[b]`."""
    f32 = partial(np.asarray, dtype=np.float32)
    return Slices(
        images=jnp.asarray(np.concatenate([f32(s.images) / scale for s, scale in zip(stacks, scales, strict=True)])),
        weight=jnp.asarray(np.concatenate([f32(w) for w in weights])),
        focus_um=jnp.asarray(np.concatenate([f32(s.focus_um) for s in stacks])),
        bead=jnp.asarray(np.concatenate([np.full(len(s.focus_um), b) for b, s in enumerate(stacks)])),
    )


def even_weights(stack: BeadStack, scale: float) -> np.ndarray:
    """Least-squares weights: the misfit of a slice is the unexplained part of its variance."""
    images = np.asarray(stack.images, dtype=float) / scale
    return np.asarray(stack.usable) / (images.var(axis=(1, 2)) * images[0].size)[:, None, None]


class Stopwatch:
    """Seconds since the start, and the events a retrieval reports."""

    def __init__(self, report: Report, total: int):
        self.started, self.report, self.total, self.done = time.perf_counter(), report, total, 0
        self.history: list[tuple[str, int, float, float]] = []

    def stage(self, name: str, steps: int) -> Callable[[int, float], None]:
        before, self.done = self.done, self.done + steps

        def show(step: int, misfit: float) -> None:
            seconds = time.perf_counter() - self.started
            self.history.append((name, step, seconds, misfit))
            self.report(Event(name, before + step, self.total, {"misfit": misfit, "seconds": seconds}))

        return show


def retrieve_psf(
    stacks: BeadStack | Sequence[BeadStack],
    settings: RetrievalSettings | None = None,
    *,
    report: Report = silent,
) -> Retrieval:
    """Retrieve the PSF of an instrument from one bead stack, or from several jointly.

    All stacks share microscope and crop size. `report` receives an `Event` every ten steps, its stage "find", "twin",
    "refine" or "likelihood", its numbers "misfit", the part of the images' variance left unexplained, and "seconds".
    Runs in float32 and gives the same result for the same `settings.seed`. A host function: minutes on two cores.
    Raises `OpticsError` for stacks that do not belong together, two beads in a crop, or a fit that diverges.

    >>> from optics import make_microscope
    >>> scope = make_microscope(na=1.2, n_immersion=1.33, n_sample=1.33, wavelength_um=0.6, pixel_um=0.1)
    >>> retrieve_psf([])
    Traceback (most recent call last):
    optics.types.OpticsError: no bead stack to retrieve from
    """
    stacks = [stacks] if isinstance(stacks, BeadStack) else list(stacks)
    settings = RetrievalSettings() if settings is None else settings
    _check_stacks(stacks)
    job = _prepare(stacks, settings)
    find, refine, weigh = settings.steps
    watch = Stopwatch(report, find + find // 4 + refine + 2 * (weigh // 2))

    params = start_params(
        len(stacks), job.cells, amplitude_modes=settings.amplitude_modes, blur_um=settings.blur_um, seed=settings.seed
    )
    params["focus_um"] = jnp.asarray([-sharpest_focus_um(stack) for stack in stacks], jnp.float32)
    few, coarse = thinned(job.whole, 14), template_psf(stacks, settings, coarse=True)
    params = job.search(params, few, coarse, steps=find, rate=0.15, show=watch.stage("find", find))
    twin_misfit = _twin_misfit(job, params, few, coarse, watch)
    params = _settled(params)
    if settings.phase == "zernike":
        params = {**params, "phase": _as_modes(params, settings.n_zernike)}
    _, _, smoothness = _weigh(job, params)
    params = job.descend(
        params, job.whole, job.template, steps=refine, rate=0.05, batch=settings.batch_slices, smoothness=smoothness,
        seed=settings.seed, show=watch.stage("refine", refine),
    )  # fmt: skip
    # the camera's likelihood: the same misfit, each pixel weighed by its variance, which is estimated twice
    params = _settled(params)
    noises, likelihood = [], job.whole
    for half in (1, 2):
        noises, likelihood, smoothness = _weigh(job, params)
        params = job.descend(
            params, likelihood, job.template, steps=weigh // 2, rate=0.02 / half, batch=2 * settings.batch_slices,
            smoothness=smoothness, seed=settings.seed + half, show=watch.stage("likelihood", weigh // 2),
        )  # fmt: skip
    return _finish(job, params, noises, likelihood, twin_misfit, watch)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What a retrieval reads all along: the stacks, the model's template and sizes, all slices weighed evenly.

    `scales` are the deviations that images are divided by, `even` the weights of each stack.
    """

    stacks: Sequence[BeadStack]
    settings: RetrievalSettings
    template: Psf
    cells: int
    radius_um: float
    scales: Sequence[float]
    even: Sequence[NDArray]
    whole: Slices

    def descend(self, params: Params, slices: Slices, template: Psf, **how: Any) -> Params:
        """Descend on the misfit of slices; `how` as in `model.descend`."""
        return descend(params, slices, template, cells=self.cells, radius_um=self.radius_um, **how)

    def search(self, params: Params, few: Slices, coarse: Psf, **how: Any) -> Params:
        """Descend on few slices of a coarse pupil, stage and tilt as they were read."""
        fixed = {"batch": 14, "smoothness": SEARCH_SMOOTHNESS, "seed": self.settings.seed, "frozen": ("tilt", "step")}
        return self.descend(params, few, coarse, **fixed, **how)


def _prepare(stacks: Sequence[BeadStack], settings: RetrievalSettings) -> _Job:
    scales = [float(np.std(np.asarray(stack.images))) for stack in stacks]
    even = [even_weights(stack, scale) for stack, scale in zip(stacks, scales, strict=True)]
    return _Job(
        stacks=stacks,
        settings=settings,
        template=template_psf(stacks, settings),
        cells=mask_cells(stacks[0], settings),
        radius_um=settings.bead_diameter_um / 2,
        scales=scales,
        even=even,
        whole=as_slices(stacks, even, scales),
    )


def _settled(params: Params, width_cells: float = 1.0, stray_rad: float = 0.7) -> Params:
    """The phase with cells that the descent left a turn away drawn back to their neighbours.

    Such a cell is a pair of vortices; the smoothness prior, blind to turns, pins it. The direction of a Gaussian
    mean of phasors, which a steep phase does not change, frees it: for cells farther from it than `stray_rad`.
    """
    phase = np.asarray(params["phase"], dtype=float)
    if phase.ndim == 1:
        return params
    x, y = (np.asarray(u) for u in mask_grid(len(phase)))
    inside = np.hypot(x, y) <= 1  # beyond the rim the phase means nothing
    parts = (gaussian_filter(inside * part(phase), width_cells) for part in (np.cos, np.sin))
    mean = next(parts) + 1j * next(parts)
    stray = np.abs(wrapped(phase - np.angle(mean))) > stray_rad
    return {**params, "phase": jnp.asarray(np.where(stray, np.angle(mean), phase), jnp.float32)}


def _weigh(job: _Job, params: Params) -> tuple[list[NoiseModel], Slices, float]:
    """Noise of each bead, all slices weighed by the inverse of its variance, and the weight of the smoothness prior.

    The weights are scaled so that the misfit goes on from where it is. The part of a bead's residual that is structure
    (`structured_share`), which no camera's noise explains, is weighed evenly: bright pixels count by their light. The
    prior is Gaussian: second differences between cells of `settings.roughness_rad`, in the same units as the misfit.
    """
    noises: list[NoiseModel] = []
    weights, structured, unexplained, chi2 = [], [], 0.0, 0.0
    for b, (stack, share, scale) in enumerate(zip(job.stacks, job.even, job.scales, strict=True)):
        model, _, background = _fit_lines(job, params, b)
        noise = estimate_noise(stack, model, background)
        weight = np.asarray(stack.usable) / noise.variance(model - background[:, None, None])
        square = (np.asarray(stack.images) - model) ** 2
        unexplained += float(np.sum(share * square)) / scale**2
        chi2 += float(np.sum(weight * square))
        noises.append(noise)
        weights.append(weight * scale**2)
        structured.append(structured_share(stack, model))
    unit = unexplained / chi2
    mixed = [
        part * share + (1 - part) * unit * weight
        for part, share, weight in zip(structured, job.even, weights, strict=True)
    ]
    smoothness = 2 * unit / len(job.whole.focus_um) * job.cells**2 / job.settings.roughness_rad**2
    return noises, as_slices(job.stacks, mixed, job.scales), smoothness


def _check_stacks(stacks: Sequence[BeadStack]) -> None:
    if not stacks:
        raise OpticsError("no bead stack to retrieve from")
    first = stacks[0]
    for index, stack in enumerate(stacks):
        if stack.images.shape[1:] != first.images.shape[1:]:
            raise OpticsError(f"crops differ in size: {first.images.shape[1:]} and {stack.images.shape[1:]}")
        same = jax.tree.map(lambda a, b: float(a) == float(b), stack.microscope, first.microscope)
        if not all(jax.tree.leaves(same)):
            raise OpticsError("the stacks come from different microscopes; retrieve each for itself")
        strength, (dx, dy) = second_bead_px(stack.images)
        if strength > SECOND_BEAD:
            raise OpticsError(
                f"stack {index}: every slice repeats itself {dx} px to the side and {dy} px down "
                f"({100 * strength:.0f} %): two beads in one crop; make the crop smaller or choose another bead"
            )


def thinned(slices: Slices, most: int) -> Slices:
    """Choose about `most` slices, evenly through every bead's scan."""
    n = len(slices.focus_um)
    order = np.lexsort((np.asarray(slices.focus_um), np.asarray(slices.bead)))
    chosen = np.sort(order[np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))])
    return Slices(*(leaf[chosen] for leaf in (slices.images, slices.weight, slices.focus_um, slices.bead)))


def _twin_misfit(job: _Job, params: Params, few: Slices, coarse: Psf, watch: Stopwatch) -> float:
    """The unexplained part were the stage to run the other way.

    In a pupil without super-critical light the phase -phase(-k) gives the same images at the opposite focus: the
    twin. It starts there and descends a while.
    """
    n_modes = params["log_amplitude"].shape[0]
    parity = np.array([(-1.0) ** (osa_to_nm(j)[0]) for j in range(n_modes)], np.float32)
    twin = {
        **params,
        "phase": -params["phase"][::-1, ::-1],
        "log_amplitude": params["log_amplitude"] * parity,
        "focus_um": -params["focus_um"],
    }
    misfits = [1.0]
    steps = job.settings.steps[0] // 4
    show = watch.stage("twin", steps)

    def keep(step: int, misfit: float) -> None:
        misfits.append(misfit)
        show(step, misfit)

    job.search(twin, replace(few, focus_um=-few.focus_um), coarse, steps=steps, rate=0.02, show=keep)
    return misfits[-1]


def _as_modes(params: Params, n_modes: int) -> jax.Array:
    phase = np.asarray(params["phase"], dtype=float)
    amplitudes, _ = zernike_table(wrapped(phase), pupil_weight(np.ones_like(phase)), n_modes)
    return jnp.asarray(amplitudes, jnp.float32)


def _fit_lines(job: _Job, params: Params, bead: int, weight: Any = None) -> tuple[NDArray, NDArray, NDArray]:
    """Model (Z, K, K), signal and background (Z,) of one bead in counts."""
    stack = job.stacks[bead]
    focus = jnp.asarray(stack.focus_um, jnp.float32)
    shapes = _slice_images(
        job.template, params, focus, jnp.full(len(focus), bead), cells=job.cells,
        centre_um=jnp.mean(job.whole.focus_um), radius_um=job.radius_um,
    )  # fmt: skip
    shapes, images = np.asarray(shapes, dtype=float), np.asarray(stack.images, dtype=float)
    weight = np.asarray(stack.usable, dtype=float) if weight is None else weight
    signal, background = (np.asarray(v) for v in line_fit(images, shapes, weight))  # pyright: ignore[reportArgumentType]
    model = signal[:, None, None] * shapes + background[:, None, None]
    return model, signal * job.template.image_px**2, background


_slice_images = jax.jit(slice_images, static_argnames=("cells", "radius_um"))


def _finish(
    job: _Job, params: Params, noises: Sequence[NoiseModel], likelihood: Slices, twin_misfit: float, watch: Stopwatch
) -> Retrieval:
    """Put a retrieval together: the pupil without what images leave undetermined, each bead's fit, what was found."""
    scope, settings = job.stacks[0].microscope, job.settings
    ends = np.cumsum([len(stack.focus_um) for stack in job.stacks])[:-1]
    weights = np.split(np.asarray(likelihood.weight, dtype=float), ends)
    fits = [
        _bead_fit(job, params, b, noise, weight) for b, (noise, weight) in enumerate(zip(noises, weights, strict=True))
    ]
    plate = pupil_plate(params, scope.wavelength_um, job.cells)
    amplitude = np.asarray(plate.transmission, dtype=float)
    raw = 2 * np.pi / float(scope.wavelength_um) * np.asarray(plate.opd_um, dtype=float)
    phase, shift_um, focus_um = remove_undetermined(raw, pupil_weight(amplitude), scope)
    psf = _instrument(job, phase, amplitude, float(jnp.exp(params["log_blur"])))
    modes, rest = zernike_table(phase, pupil_weight(amplitude), settings.n_zernike)
    retrieval = Retrieval(
        psf=psf,
        phase_rad=phase,
        amplitude=amplitude,
        beads=tuple(
            dataclasses.replace(f, xy_um=f.xy_um + np.array(shift_um), focus_offset_um=f.focus_offset_um + focus_um)
            for f in fits
        ),
        step_error=float(params["step"]),
        misfit=float(np.mean([np.mean(1 - fit.correlation**2) for fit in fits])),
        twin_misfit=twin_misfit,
        zernike_rad=modes,
        zernike_rest_rad=rest,
        super_critical_share=super_critical_share(psf, settings.bead_diameter_um / 2),
        seconds=time.perf_counter() - watch.started,
        history=tuple(watch.history),
        notes=(),
    )
    return dataclasses.replace(retrieval, notes=tuple(findings(retrieval)))


def _bead_fit(job: _Job, params: Params, bead: int, noise: NoiseModel, weight: NDArray) -> BeadFit:
    """Where a bead was and how well each of its slices is explained."""
    stack = job.stacks[bead]
    model, signal, background = _fit_lines(job, params, bead, weight)
    images, usable = np.asarray(stack.images, dtype=float), np.asarray(stack.usable)
    variance = noise.variance(model - background[:, None, None])
    return BeadFit(
        xy_um=np.asarray(params["xy_um"][bead], dtype=float),
        tilt=np.asarray(params["tilt"][bead], dtype=float),
        focus_offset_um=float(params["focus_um"][bead]),
        signal_adu=signal,
        background_adu=background,
        correlation=correlation(images, model),
        ceiling=noise_ceiling(images),
        chi2=np.sum(usable * (images - model) ** 2 / variance, axis=(1, 2)) / usable.sum(axis=(1, 2)),
        model_adu=model,
        noise=noise,
    )


def _instrument(job: _Job, phase_rad: NDArray, amplitude: NDArray, blur_um: float) -> Psf:
    """The PSF with the retrieved pupil as its aberration."""
    scope = job.stacks[0].microscope
    pupil = PhaseMask(
        opd_um=jnp.asarray(phase_rad * float(scope.wavelength_um) / (2 * np.pi), dtype=float),
        transmission=jnp.asarray(amplitude, dtype=float),
        half_width=jnp.asarray(1.0),
        design_wavelength_um=scope.wavelength_um,
        wrapped=True,
    )
    return make_psf(
        scope,
        aberration=pupil,
        blur_um=blur_um,
        kind=job.settings.kind,
        polarisation=job.settings.polarisation,
        image_px=job.stacks[0].images.shape[-1],
    )
