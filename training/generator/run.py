"""From a movie to a fitted generator: crops, proposals, networks, the PSF's residual, and files that hold it all."""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from localization.types import LocalizationError
from nets.dlp import Ranges, Seen
from nets.dlp_types import Posterior
from optics import Psf, make_camera
from optics.fits.matched_filter import choose_depths, make_templates
from optics.psf_io import load_psf, save_psf
from optics.psf_table import tabulate_psf
from optics.pytree import replace
from optics.whole_file import write_text
from training.checkpoint import Checkpoints, latest_step, restore
from training.config import MicroscopeConfig
from training.generator.config import GeneratorConfig
from training.generator.crops import Crops, read_crops
from training.generator.draw import Law
from training.generator.files import GeneratorFacts, flat, write_arrays
from training.generator.fit import Each, FitState, init_fit, learn_movie, make_fit_step, refine, see_all
from training.generator.model import SceneModel
from training.generator.psf import PsfReport, bright_stamps, learn_residual
from training.generator.search import believe, search
from training.generator.statistics import learn_law
from training.generator.summary import Judged, examples, judge, summary
from training.instrument import build_psf, file_path
from training.run_folder import Report, RunFolder, TimeLimit
from training.settings import ConfigError, to_dict

_FLAT_UM = 0.01  # half the depth of the table for emitters in one plane
_SURE, _LEAST_SHARE = 6.0, 0.2  # standard deviations of an emitter; share of crops that must show one
_DARKEST = 0.5  # photons a pixel: the least level that others are measured by
_FIT_TAG, _HELD_OUT_TAG, _SHARED_TAG, _TOLD_TAG, _SEARCH_TAG, _LAW_TAG = 11, 12, 13, 14, 15, 16


@dataclasses.dataclass(frozen=True)
class _Job:
    """What a generator's config.json holds."""

    generator: GeneratorConfig
    movie: dict


def generator_psf(config: GeneratorConfig) -> Psf:
    """The PSF that a generator starts from; raises `ConfigError` or `OpticsError`."""
    depths = (config.z_min_um, config.z_max_um)
    if not config.psf_file:
        return build_psf(config.microscope, config.psf, config.mask, depths)
    psf = load_psf(file_path(config.psf_file, "psf_file"))
    if psf.dipole == "fixed":
        raise ConfigError(f"psf_file = {config.psf_file!r} is that of a fixed dipole; emitters here turn freely")
    for field in dataclasses.fields(MicroscopeConfig):
        asked, theirs = getattr(config.microscope, field.name), float(getattr(psf.microscope, field.name))
        if asked is not None and not np.isclose(asked, theirs, rtol=1e-5):
            raise ConfigError(
                f"psf_file = {config.psf_file!r} has {field.name} = {theirs:g}, not microscope.{field.name} = {asked:g}"
            )
    return psf


def depth_range(config: GeneratorConfig, psf: Psf) -> tuple[float, float]:
    """Depths that are tabulated: the configured ones, or a thin layer around one plane."""
    if config.deep:
        return config.z_min_um, config.z_max_um
    scope = psf.microscope
    matched = float(scope.n_sample) == float(scope.n_coverslip) == float(scope.n_immersion)
    low = config.z_min_um - _FLAT_UM
    low = low if matched else max(low, 0.0)
    return low, low + 2 * _FLAT_UM


def psf_radius_px(images: NDArray) -> int:
    """Pixels, at least 2, at which images (Z, K, K) shifted against themselves are half alike: their core's size."""
    side = images.shape[-1]
    spectra = np.fft.rfft2(images - images.mean(axis=(1, 2), keepdims=True), (2 * side, 2 * side))
    alike = np.fft.irfft2(np.abs(spectra) ** 2, (2 * side, 2 * side))
    alike /= alike[:, :1, :1]
    steps = np.arange(side // 2)
    along = 0.5 * (alike[:, steps, 0] + alike[:, 0, steps])
    reach = [int(np.argmax(line < 0.5)) if (line < 0.5).any() else side // 4 for line in along]
    return int(np.clip(np.median(reach), 2, max(2, side // 4)))


def make_model(config: GeneratorConfig, psf: Psf, crops: Crops) -> SceneModel:
    """What a fit is given: the PSF's table and templates, the camera and the movie's level."""
    depths = depth_range(config, psf)
    side = config.crop_px
    if psf.image_px > side:
        raise ConfigError(f"crop_px = {side} is smaller than the PSF's stamp of {psf.image_px} px; make it larger")
    table = tabulate_psf(psf, depths, reach_px=1.0)
    depth, images = choose_depths(table)
    level = float(np.median(crops.fit))
    if level < -2:
        raise ConfigError(
            f"half of the pixels are below {level:.3g} photons; make camera.offset_adu smaller, or give its camera"
        )
    return SceneModel(
        templates=make_templates(depth, images, (side, side), smooth_px=config.smooth_px),
        table=table,
        camera=make_camera(**dataclasses.asdict(crops.camera)),
        level=jnp.asarray(max(level, _DARKEST), dtype=float),
        config=config.networks(),
        ranges=Ranges(float(config.microscope.pixel_um), depths, config.deep),
        branches=config.branches,
        radius_px=config.radius_px or psf_radius_px(images),
        block_px=int(np.clip(psf.image_px, 24, max(24, side // 2))),
    )


def fit_scenes(
    config: GeneratorConfig,
    movie: Path | str | NDArray,
    folder: Path | str,
    *,
    resume: bool = False,
    report: Report = lambda event: None,
    deadline_s: float | None = None,
) -> dict[str, Any]:
    """Fit a generator to a movie's crops into `folder`; returns what metrics.json holds. `load_scenes` reads it back.

    Writes config.json, log.jsonl, checkpoints/ (until it is finished), networks.npz, bank.npz, psf.npz, examples.npz,
    generator.json and metrics.json. `report` receives {"event": "stage", "stage"} and {"event": "step" | "refine",
    "step", "steps", "seconds", ...}. With `resume` it goes on from the newest checkpoint, to the same result. Past
    `deadline_s` (of `time.monotonic`) it saves and raises `TimeLimit`.

    Raises `ConfigError`, `LocalizationError` or `OpticsError`, before the fit, for a movie without emitters and all
    that `read_crops` refuses.
    """
    claimed = RunFolder.claim(folder, _Job(config, _identity(movie)), resume=resume, what="a generator")
    folder = claimed.path
    if resume and (folder / "metrics.json").exists():
        return json.loads((folder / "metrics.json").read_text())
    started = time.perf_counter()

    def tell(kind: str, **values: Any) -> None:
        report({"event": kind, **values, "seconds": time.perf_counter() - started})

    tell("stage", stage="reading the movie")
    psf = generator_psf(config)
    crops = read_crops(config, movie)
    if len(crops.fit) < config.fit.batch:
        raise ConfigError(f"fit.batch = {config.fit.batch} is more than the {len(crops.fit)} crops; make it smaller")
    tell("stage", stage="tabulating the PSF")
    model = make_model(config, psf, crops)
    frames, held = jnp.asarray(crops.fit, dtype=float), jnp.asarray(crops.held_out, dtype=float)
    tell("stage", stage="looking for emitters")
    seen = see_all(model, frames)
    check_emitters(np.asarray(seen.proposals.significance))
    claimed.begin()
    state = _descend(config, model, frames, seen, claimed, resume, tell, deadline_s)

    def key(tag: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(config.seed), tag)

    def each(what: str) -> Each:
        def told(done: int, count: int) -> None:
            tell("refine", what=what, step=done, steps=count)
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise TimeLimit(f"stopped while {what}; to be resumed from the last checkpoint")

        return told

    def shared(state: FitState, model: SceneModel, bank: Posterior) -> FitState:
        _check_finite(bank)
        return replace(state, movie=learn_movie(key(_SHARED_TAG), model, state, frames, bank))

    bank = refine(key(_FIT_TAG), model, state, frames, seen, config.fit, each=each("refining"))
    state = shared(state, model, bank)
    tell("stage", stage="comparing the PSF with the brightest emitters")
    given = psf
    psf, found = _psf_report(config, given, model, state, bank, frames)
    if psf is not given:
        tell("stage", stage="tabulating the learned PSF")
        model = replace(make_model(config, psf, crops), radius_px=model.radius_px, block_px=model.block_px)
        seen = see_all(model, frames)
        told = each("refining with the learned PSF")
        bank = refine(key(_FIT_TAG), model, state, frames, seen, config.fit, each=told)
    asked = state
    if config.fit.second_look:
        bank = search(key(_SEARCH_TAG), model, asked, frames, bank, config.fit, each("looking again for emitters"))
    state = shared(asked, model, bank)
    judged = judge(key(_TOLD_TAG), model, state, bank, frames)
    if judged.counts.sum() == 0:
        raise LocalizationError(
            "the model believes in no emitter of this movie: is it the right PSF, and are camera gain and offset right?"
        )
    tell("stage", stage="asking of drawn frames what was asked of the movie's")
    told = each("looking for emitters in drawn frames")
    law = learn_law(key(_LAW_TAG), model, asked, state.movie, bank, psf, config.crop_px, config.fit, told)
    judged_held = None
    if len(held):
        keys, told = (key(_HELD_OUT_TAG), key(_SEARCH_TAG)), each("looking for emitters in held-out crops")
        held_bank = believe(keys, model, state, held, config.fit, told)
        _check_finite(held_bank)
        judged_held = judge(key(_TOLD_TAG), model, state, held_bank, held)
    tell("stage", stage="writing")
    metrics = summary(config, crops, model, state, judged, judged_held, found, law)
    metrics["seconds"] = time.perf_counter() - started
    write_arrays(folder / "networks.npz", {**flat(state.variables, "variables"), **flat(state.movie, "movie")})
    write_arrays(folder / "bank.npz", {**flat(bank, "bank"), "fit_at": crops.fit_at, "held_out_at": crops.held_out_at})
    save_psf(folder / "psf.npz", psf, notes={"from": "colocus generate fit"})
    write_arrays(folder / "examples.npz", examples(key(_TOLD_TAG), model, state, bank, frames, judged))
    facts = _facts(config, crops, model, judged, law)
    write_text(folder / "generator.json", json.dumps(to_dict(facts), indent=1) + "\n")
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # networks.npz has what they were for
    return json.loads((folder / "metrics.json").read_text())  # as a second call returns it


def check_emitters(significance: NDArray) -> None:
    """Refuse crops whose proposals (F, K) are no emitters (`LocalizationError`)."""
    strongest = significance.max(axis=1)
    share = float(np.mean(strongest > _SURE))
    if share < _LEAST_SHARE:
        raise LocalizationError(
            f"no emitters found: {100 * share:.0f} % of the crops show a spot like the PSF beyond {_SURE:g} standard "
            f"deviations of the noise (the median crop's strongest has {np.median(strongest):.1f}); check PSF, depths "
            "and camera, or choose a brighter part of the movie"
        )


def _descend(
    config: GeneratorConfig,
    model: SceneModel,
    frames: jax.Array,
    seen: Seen,
    folder: RunFolder,
    resume: bool,
    tell,
    deadline_s: float | None,
) -> FitState:
    """The networks' steps, from the newest checkpoint where there is one."""
    settings = config.fit
    state = init_fit(jax.random.key(config.seed), model, seen, settings)
    done = latest_step(folder.path) if resume else None
    if done is not None:
        state = restore(folder.path, state, done)
    first, total = int(state.step), settings.steps
    if first == total:
        return state
    step, checkpoints = make_fit_step(settings, config.seed), Checkpoints(folder.path)
    save_every, log_every = max(1, min(250, total // 4)), max(1, total // 100)
    try:
        for number in range(first + 1, total + 1):
            state, metrics = step(state, model, frames, seen)
            late = deadline_s is not None and time.monotonic() > deadline_s and number < total
            if number % log_every == 0 or number in (first + 1, total):
                values = {name: float(value) for name, value in metrics.items()}
                tell("step", step=number, steps=total, **values)
                folder.log({"event": "step", "step": number, **values})
                if not np.isfinite(values["loss"]):
                    raise FloatingPointError(f"the loss is not finite at step {number}; lower fit.learning_rate")
            if number % save_every == 0 or number == total or late:
                checkpoints.save(number, state)
            if late:
                raise TimeLimit(f"stopped at step {number} of {total}; resume {folder.path}")
    finally:
        checkpoints.close()
    return state


def _check_finite(bank: Posterior) -> None:
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(bank)):
        raise FloatingPointError("what is believed about some crop is not finite; lower fit.refine_rate")


def _psf_report(
    config: GeneratorConfig, psf: Psf, model: SceneModel, state: FitState, bank: Posterior, frames: jax.Array
) -> tuple[Psf, PsfReport | None]:
    """The PSF with its learned residual, and how well it explains the brightest emitters; None where there are none.

    A PSF of the wrong optics stays as it is: it is reported, not bent towards the frames. So does one that what was
    learned does not make better.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), _TOLD_TAG)
    stamps = bright_stamps(key, model, state.variables, state.movie, bank, frames)
    raw = bright_stamps(key, model, state.variables, state.movie, bank, frames, raw=True)
    if stamps is None or raw is None:
        return psf, None
    learned, found = learn_residual(psf, stamps, raw, deep=config.deep)
    return (learned if config.learn_psf and found.improves and not found.suspect else psf), found


def _facts(config: GeneratorConfig, crops: Crops, model: SceneModel, judged: Judged, law: Law) -> GeneratorFacts:
    low, high = model.ranges.z_um
    counts, photons = law.number * judged.counts, np.exp(law.of_movie(np.log(judged.photons)))
    return GeneratorFacts(
        config=config,
        camera=crops.camera,
        z_um=(low, high),
        level=float(model.level),
        radius_px=model.radius_px,
        block_px=model.block_px,
        photons=tuple(float(v) for v in np.percentile(photons, [2, 50, 98])),
        background=tuple(float(v) for v in judged.background),
        counts=(float(counts.min()), float(counts.mean()), float(counts.max())),
        law=law,
    )


def _identity(movie: Path | str | NDArray) -> dict[str, Any]:
    if isinstance(movie, np.ndarray):
        return {"array": list(movie.shape), "sum": float(np.sum(movie, dtype=np.float64))}
    path = Path(movie).resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    return {"path": str(path), "bytes": sum(file.stat().st_size for file in files)}
