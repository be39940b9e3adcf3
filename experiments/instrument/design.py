"""`colocus design`: a mask of least bound over a depth range, and what it is worth beside masks of the library."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.instrument.design_config import DesignConfig
from experiments.instrument.design_result import OURS, DesignResult, ScoredMask
from optics import (
    Design,
    DesignTarget,
    MaskLimits,
    Neighbours,
    Psf,
    depth_bounds,
    design_mask,
    make_target,
    masks,
    objective_um,
    refocus,
    replace,
)
from optics.design import at_full_sampling
from optics.design.target import target_bounds_um, target_crosstalk_um2
from optics.progress import Event, Report, silent
from training import CameraConfig, LearnConfig, MaskConfig
from training.instrument import build_camera, build_family, build_mask, build_psf

_DEPTH_STEP_UM = 0.35
_SCORED_DEPTHS, _SCORED_AMONG = 41, 9
_ASTIGMATISM_RMS_UM = (0.04, 0.06, 0.09, 0.13, 0.2, 0.3)
_MASK_PX = 128  # cells of the masks compared with: one size, one compiled program


def targets(config: DesignConfig) -> tuple[DesignTarget, DesignTarget | None]:
    """Make what the search minimises: alone, and among neighbours (None without a density). Raises `OpticsError`."""
    common = {
        "photons": config.photons,
        "background": config.background,
        "over_depths": config.over_depths,
        "axis_weights": config.axis_weights,
        "crosstalk_weight": config.crosstalk_weight,
        "camera": None if config.camera == CameraConfig() else build_camera(config.camera),
    }
    span_um = config.z_max_um - config.z_min_um
    # coarser, and a mask would learn the depths that are looked at and neglect those between
    depths = max(5, int(np.ceil(span_um / _DEPTH_STEP_UM)) + 1) if config.depths is None else config.depths
    alone = make_target(config.z_range_um, n_depths=depths, **common)
    if config.density_per_um2 == 0:
        return alone, None
    around = Neighbours(
        density_per_um2=config.density_per_um2,
        photons_range=(config.photons_min, config.photons_max) if config.photons_max > 0 else None,
        n_scenes=config.scenes,
        n_neighbours=config.neighbours,
    )
    # fewer depths: a scene costs as much as many, and those that follow draw new ones
    return alone, make_target(config.z_range_um, n_depths=min(depths, 6), neighbours=around, **common)


def design(config: DesignConfig = DesignConfig(), report: Report = silent) -> DesignResult:
    """Find the phase mask of least bound over a depth range, then score it beside masks of the library.

    Raises `ConfigError` or `OpticsError` before long work.

    Ctrl-C during the search ends it with what it has: `result.design.finished` is then False.
    """
    started = time.perf_counter()
    searched = dataclasses.replace(config.psf, pixel="centre")
    psf = build_psf(config.microscope, searched, MaskConfig("flat"), config.z_range_um)
    family = build_family(
        LearnConfig(config.parametrisation, config.n_modes, config.size_px, config.n_cosines),
        config.microscope.wavelength_um,
    )
    begin = [(mask.label or mask.name, build_mask(mask, psf.microscope)) for mask in config.start_masks]
    alone, among = targets(config)
    key_alone, key_among = jax.random.split(jax.random.key(config.seed))
    smoothness = masks.FAMILIES[config.parametrisation].smoothness
    common: dict[str, Any] = {
        "free_focus": config.free_focus,
        "smoothness": smoothness if config.smoothness is None else config.smoothness,
        "limits": MaskLimits(
            step_um=np.inf if config.max_step_um is None else config.max_step_um,
            range_um=np.inf if config.max_range_um is None else config.max_range_um,
            level_um=config.level_um,
        ),
        "optimiser": config.optimiser,
        "learning_rate_rad": config.learning_rate_rad,
    }

    def with_least(stage: str) -> Report:
        least_um = np.inf

        def show(event: Event) -> None:
            nonlocal least_um
            least_um = min(least_um, event.numbers["objective_um"])
            numbers = {**event.numbers, "least_um": least_um}
            report(Event(f"{stage}: {event.stage}", event.done, event.total, numbers))

        return show

    found = design_mask(
        key_alone, psf, family, alone, starts=config.starts, start_masks=begin,
        screening=config.screening, iterations=config.iterations, report=with_least("alone"), **common,
    )  # fmt: skip
    stages = [("alone", found)]
    if among is not None and found.finished:
        found = design_mask(
            key_among, found.psf, family, among, starts=0,
            # the best for one emitter alone, and what the other starts came to: one may suit a crowd better
            start_masks=[("least bound alone", found.mask), *found.screened],
            screening=1, iterations=config.dense_iterations, report=with_least("among neighbours"), **common,
        )  # fmt: skip
        stages.append(("among neighbours", found))
        if found.finished and not _is_better(config, found.psf, stages[0][1].psf, among):
            found = stages[0][1]
    scored = score(config, found, report) if found.finished else ()
    return DesignResult(config, found, tuple(stages), scored, time.perf_counter() - started)


def _is_better(config: DesignConfig, new: Psf, old: Psf, among: DesignTarget) -> bool:
    """Tell whether the objective of `new` is less in scenes that no search has seen."""
    key = jax.random.key(config.seed + 2)
    unseen = _many_scenes(among)
    at_one = replace(old, pupil_px=max(new.pupil_px, old.pupil_px), ring_px=max(new.ring_px, old.ring_px))
    alike = replace(new, pupil_px=at_one.pupil_px, ring_px=at_one.ring_px)
    return bool(_objective(key, alike, unseen) < _objective(key, at_one, unseen))


def _many_scenes(target: DesignTarget) -> DesignTarget:
    assert target.neighbours is not None
    z = jnp.linspace(*target.z_range_um, _SCORED_AMONG)
    return replace(target, z_um=z, neighbours=replace(target.neighbours, n_scenes=64, n_stamps=32))


def score(config: DesignConfig, found: Design, report: Report) -> tuple[ScoredMask, ...]:
    """Compute bounds of the designed mask and of the library's, each at its own best focus if the focus is free."""
    alone, among = targets(config)
    target = alone if among is None else among
    span_um = config.z_max_um - config.z_min_um
    base = build_psf(config.microscope, config.psf, MaskConfig("flat"), config.z_range_um)
    # one sampling for all, that of the focus that needs the most: one compiled program
    base = at_full_sampling(base, config.z_range_um, focus_um=span_um / 2)
    scope = base.microscope
    key = jax.random.key(config.seed + 1)
    compared = {"flat": (None,), "astigmatism": _ASTIGMATISM_RMS_UM, "tetrapod": (span_um,), "double_helix": (span_um,)}
    others = [
        (name.replace("_", " "), [masks.LIBRARY[name].build(scope, number, size=_MASK_PX) for number in numbers])
        for name, numbers in compared.items()
    ]
    total = 1 + len(others)
    report(Event(f"scoring {OURS}:", 0, total))
    ours = replace(base, mask=found.mask, microscope=found.psf.microscope)
    scored = [_scored(config, OURS, ours, key, target)]
    for done, (label, candidates) in enumerate(others, 1):
        report(Event(f"scoring {label}:", done, total))
        psfs = [replace(base, mask=mask) for mask in candidates]
        if config.free_focus:
            # where alone is best is near enough for scenes too, and much sooner found
            psfs = [refocus(key, psf, alone, span_um / 2) for psf in psfs]
        values = [_finite(float(_objective(key, psf, alone))) for psf in psfs]
        scored.append(_scored(config, label, psfs[int(np.argmin(values))], key, target))
    return tuple(scored)


_objective = jax.jit(objective_um)
_target_bounds = jax.jit(target_bounds_um)
_bounds = jax.jit(depth_bounds)
_crosstalk = jax.jit(target_crosstalk_um2)


def _finite(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def _scored(config: DesignConfig, label: str, psf: Psf, key: jax.Array, target: DesignTarget) -> ScoredMask:
    z = np.linspace(*config.z_range_um, _SCORED_DEPTHS)
    bounds = _bounds(psf, z, target.photons, target.background, target.camera).marginal[:, :3]
    among_z = among = None
    if target.neighbours is not None:
        target = _many_scenes(target)
        among_z, among = np.asarray(target.z_um), 1e3 * np.asarray(_target_bounds(key, psf, target), float)
    value, crosstalk = float(_objective(key, psf, target)), float(_crosstalk(psf, target))
    return ScoredMask(label, psf, 1e3 * value, z, 1e3 * np.asarray(bounds, float), among_z, among, crosstalk)
