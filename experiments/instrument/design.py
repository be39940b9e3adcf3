"""`colocus design`: a mask of least bound over a depth range, and what it is worth beside masks of the library."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import optics
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
from optics.design.target import target_bounds_um
from training import CameraConfig, ConfigError, LearnConfig, MaskConfig, MicroscopeConfig, PsfConfig
from training.config import FamilyName
from training.instrument import build_camera, build_family, build_mask, build_psf

Event = dict[str, Any]
OURS = "designed"
_DEPTH_STEP_UM = 0.35
_SCORED_DEPTHS, _SCORED_AMONG = 41, 9
_ASTIGMATISM_RMS_UM = (0.04, 0.06, 0.09, 0.13, 0.2, 0.3)
_MASK_PX = 128  # cells of the masks compared with: one size, one compiled program


def _check(condition: bool, field: str, value: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{field} = {value!r} {remedy}")


@dataclasses.dataclass(frozen=True)
class DesignConfig:
    """What `colocus design` looks for: the least bound of an emitter of `photons` on `background` photons per pixel.

    Over `depths` depths from `z_min_um` to `z_max_um` (None: one in 0.35 um), their mean, rms or worst, x, y and z by
    `axis_weights`; among emitters of `density_per_um2` if that is above 0 (`photons_min` to `photons_max`; 0: as
    bright). The mask is of `n_modes` Zernike modes ("zernike"), of `n_cosines` x `n_cosines` cosines ("smooth") or free
    in `size_px` x `size_px` cells ("pixel"). `starts` random masks and `start_masks` are followed for `screening`
    iterations, the best for `iterations`, then for `dense_iterations` among neighbours (kept if that is better in
    scenes not seen before). `free_focus` lets the focus move. `smoothness` (None: only as much as free cells need),
    `max_step_um` between cells, `max_range_um` and `level_um` say what can be made. The search takes pixels at their
    centres; scores are made as `psf` says.
    """

    microscope: MicroscopeConfig = MicroscopeConfig()
    psf: PsfConfig = PsfConfig(pixel="integrated")
    camera: CameraConfig = CameraConfig()
    z_min_um: float = 0.0
    z_max_um: float = 4.0
    depths: int | None = None
    photons: float = 3500.0
    background: float = 50.0
    over_depths: Literal["mean", "rms", "worst"] = "mean"
    axis_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    density_per_um2: float = 0.0
    photons_min: float = 0.0
    photons_max: float = 0.0
    scenes: int = 16
    neighbours: int = 10
    parametrisation: FamilyName = "zernike"
    n_modes: int = 55
    n_cosines: int = 16
    size_px: int = 64
    starts: int = 4
    start_masks: tuple[MaskConfig, ...] = ()
    screening: int = 30
    iterations: int = 150
    dense_iterations: int = 60
    optimiser: Literal["auto", "lbfgs", "adam"] = "auto"
    learning_rate_rad: float = 0.03
    free_focus: bool = True
    smoothness: float | None = None
    max_step_um: float | None = None
    max_range_um: float | None = None
    level_um: float | None = None
    seed: int = 0

    def __post_init__(self):
        _check(self.z_min_um < self.z_max_um, "z_min_um", self.z_min_um, f"must be below z_max_um = {self.z_max_um:g}")
        _check(self.density_per_um2 >= 0, "density_per_um2", self.density_per_um2, "must not be negative")
        _check(self.n_modes >= 4, "n_modes", self.n_modes, "must be at least 4")
        for name in ("n_cosines", "size_px", "scenes", "neighbours", "dense_iterations"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        _check(
            0 <= self.photons_min <= self.photons_max,
            "photons_min",
            self.photons_min,
            f"must lie between 0 and photons_max = {self.photons_max:g}",
        )
        if self.psf.pupil_px is not None or self.psf.ring_px is not None:
            raise ConfigError(
                "psf.pupil_px and psf.ring_px are chosen by a design, which would exploit too few; leave out"
            )
        m = self.microscope
        matched = m.n_sample == m.n_immersion and m.n_coverslip in (None, m.n_sample)
        if self.z_min_um < 0 and not matched:
            raise ConfigError(
                f"z_min_um = {self.z_min_um:g} lies above the coverslip, which has a meaning only where n_sample, "
                "n_coverslip and n_immersion are equal; start at 0"
            )

    @property
    def z_range_um(self) -> tuple[float, float]:
        return self.z_min_um, self.z_max_um


@dataclasses.dataclass(frozen=True)
class ScoredMask:
    """A mask at its best focus: bounds (Z, 3) in nm at depths `z_um`, and among neighbours (or None)."""

    label: str
    psf: Psf
    objective_nm: float
    z_um: np.ndarray
    bounds_nm: np.ndarray
    among_z_um: np.ndarray | None
    among_nm: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class DesignResult:
    """What a design came to. `scored` begins with our mask, and is empty after an interruption."""

    design: Design
    stages: tuple[tuple[str, Design], ...]
    scored: tuple[ScoredMask, ...]
    seconds: float


def targets(config: DesignConfig) -> tuple[DesignTarget, DesignTarget | None]:
    """What the search minimises: alone, and among neighbours (None without a density). Raises `OpticsError`."""
    common = {
        "photons": config.photons,
        "background": config.background,
        "over_depths": config.over_depths,
        "axis_weights": config.axis_weights,
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


def design(config: DesignConfig, report: Callable[[Event], None] = lambda event: None) -> DesignResult:
    """Search, then score. Raises `ConfigError` or `OpticsError` before long work.

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

    def tell(stage: str):
        def pass_on(event: optics.Event) -> None:
            report({"event": "evaluation", **event.numbers, "done": event.done, "planned": event.total, "stage": stage})

        return pass_on

    found = design_mask(
        key_alone, psf, family, alone, starts=config.starts, start_masks=begin,
        screening=config.screening, iterations=config.iterations, report=tell("alone"), **common,
    )  # fmt: skip
    stages = [("alone", found)]
    if among is not None and found.finished:
        found = design_mask(
            key_among, found.psf, family, among, starts=0,
            # the best for one emitter alone, and what the other starts came to: one may suit a crowd better
            start_masks=[("least bound alone", found.mask), *found.screened],
            screening=1, iterations=config.dense_iterations, report=tell("among neighbours"), **common,
        )  # fmt: skip
        stages.append(("among neighbours", found))
        if found.finished and not _is_better(config, found.psf, stages[0][1].psf, among):
            found = stages[0][1]
    scored = score(config, found, report) if found.finished else ()
    return DesignResult(found, tuple(stages), scored, time.perf_counter() - started)


def _is_better(config: DesignConfig, new: Psf, old: Psf, among: DesignTarget) -> bool:
    """Whether the objective of `new` is less in scenes that no search has seen."""
    key = jax.random.key(config.seed + 2)
    unseen = _many_scenes(among)
    at_one = replace(old, pupil_px=max(new.pupil_px, old.pupil_px), ring_px=max(new.ring_px, old.ring_px))
    alike = replace(new, pupil_px=at_one.pupil_px, ring_px=at_one.ring_px)
    return bool(_objective(key, alike, unseen) < _objective(key, at_one, unseen))


def _many_scenes(target: DesignTarget) -> DesignTarget:
    assert target.neighbours is not None
    z = jnp.linspace(*target.z_range_um, _SCORED_AMONG)
    return replace(target, z_um=z, neighbours=replace(target.neighbours, n_scenes=64, n_stamps=32))


def score(config: DesignConfig, found: Design, report: Callable[[Event], None]) -> tuple[ScoredMask, ...]:
    """Bounds of the designed mask and of the library's, each at its own best focus if the focus is free."""
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
    report({"event": "scoring", "mask": OURS, "done": 0, "total": total})
    ours = replace(base, mask=found.mask, microscope=found.psf.microscope)
    scored = [_scored(config, OURS, ours, key, target)]
    for done, (label, candidates) in enumerate(others, 1):
        report({"event": "scoring", "mask": label, "done": done, "total": total})
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


def _finite(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def _scored(config: DesignConfig, label: str, psf: Psf, key: jax.Array, target: DesignTarget) -> ScoredMask:
    z = np.linspace(*config.z_range_um, _SCORED_DEPTHS)
    bounds = _bounds(psf, z, target.photons, target.background, target.camera).marginal[:, :3]
    among_z = among = None
    if target.neighbours is not None:
        target = _many_scenes(target)
        among_z, among = np.asarray(target.z_um), 1e3 * np.asarray(_target_bounds(key, psf, target), float)
    value = float(_objective(key, psf, target))
    return ScoredMask(label, psf, 1e3 * value, z, 1e3 * np.asarray(bounds, float), among_z, among)
