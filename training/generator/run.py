"""Fit a generator to a movie: crops, proposals, networks, posteriors, the PSF, and the files that hold the result."""

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
from optics import Psf
from optics.progress import Event, Report, silent
from optics.psf_io import save_psf
from optics.pytree import replace
from optics.whole_file import write_text
from training.checkpoint import latest_step, restore
from training.generator.config import GeneratorConfig
from training.generator.crops import Crops, read_crops
from training.generator.draw import EmitterCorrection
from training.generator.evidence import FrameEvidence
from training.generator.files import GeneratorFacts, facts_to_dict, network_arrays, posterior_arrays, write_arrays
from training.generator.fit import FitState, init_fit, make_fit_step
from training.generator.model import FittedModel, GeneratorModel
from training.generator.movie import estimate_movie
from training.generator.posterior import Posterior
from training.generator.psf import PsfReport, cut_bright_stamps, fit_aberrations
from training.generator.refine import encode_and_refine, propose_in_frames
from training.generator.search import infer_posteriors, search
from training.generator.start import check_emitters, generator_psf, make_model
from training.generator.statistics import learn_correction
from training.generator.summary import FitQuality, assess_fit, example_crops, summarise
from training.loop import Schedule, train
from training.run_folder import RunFolder, TimeLimit
from training.settings import ConfigError

_REFINE, _HELD_OUT, _MOVIE, _ASSESS, _SEARCH, _CORRECT = 11, 12, 13, 14, 15, 16  # tags of the stages' random keys


@dataclasses.dataclass(frozen=True)
class _Job:
    """Contents of a generator's config.json."""

    generator: GeneratorConfig
    movie: dict


@dataclasses.dataclass(frozen=True)
class _Progress:
    """Reports of the stages of a fit, its random keys and its deadline (of `time.monotonic`)."""

    seed: int
    report: Report
    started: float
    deadline_s: float | None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def stage(self, name: str, done: int = 0, total: int = 0, **numbers: float) -> None:
        self.report(Event(name, done, total, {**numbers, "seconds": self.seconds}))

    def frames(self, name: str) -> Report:
        """Return the receiver of a stage's progress, which raises `TimeLimit` past the deadline."""

        def report(event: Event) -> None:
            self.stage(name, event.done, event.total)
            if self.deadline_s is not None and time.monotonic() > self.deadline_s:
                raise TimeLimit(f"stopped while {name}; to be resumed from the last checkpoint")

        return report

    def key(self, tag: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.seed), tag)


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A fit between two stages: crops (F, P, P), their posteriors, the model and its PSF.

    `inference` is the model that inferred the posteriors, `fitted` the one whose movie parameters were estimated from
    them. `evidence` holds the proposals; `psf_report` says how well the PSF explains the brightest emitters.
    """

    config: GeneratorConfig
    crops: Crops
    frames: jax.Array
    evidence: FrameEvidence
    psf: Psf
    inference: FittedModel
    fitted: FittedModel
    posteriors: Posterior
    psf_report: PsfReport | None = None


def fit_generator(
    config: GeneratorConfig,
    movie: Path | str | NDArray,
    folder: Path | str,
    *,
    resume: bool = False,
    report: Report = silent,
    deadline_s: float | None = None,
) -> dict[str, Any]:
    """Fit a generator to a movie into `folder`; return the contents of metrics.json. `load_generator` loads it.

    `movie` is a file that `localization.open_movie` reads, or an array (T, H, W). Writes config.json, log.jsonl,
    checkpoints/ (until it is finished), networks.npz, bank.npz, psf.npz, examples.npz, generator.json and metrics.json.
    `report` receives events: stages in words, some with the frames done, and the steps of the networks with their loss.
    With `resume` it continues from the newest checkpoint, to the same result. Past `deadline_s` (of `time.monotonic`)
    it saves and raises `TimeLimit`.

    Raises `ConfigError`, `LocalizationError` or `OpticsError`, before the fit, for a movie without emitters and for
    what `read_crops` refuses.
    """
    claimed = RunFolder.claim(folder, _Job(config, _identity(movie)), resume=resume, what="a generator")
    folder = claimed.path
    if resume and (folder / "metrics.json").exists():
        return json.loads((folder / "metrics.json").read_text())
    progress = _Progress(config.seed, report, time.perf_counter(), deadline_s)
    progress.stage("reading the movie")
    psf, crops = generator_psf(config), read_crops(config, movie)
    if len(crops.fit) < config.fit.batch:
        raise ConfigError(f"fit.batch = {config.fit.batch} is more than the {len(crops.fit)} crops; make it smaller")
    progress.stage("tabulating the PSF")
    model, frames = make_model(config, psf, crops), jnp.asarray(crops.fit, dtype=float)
    progress.stage("looking for emitters")
    evidence = propose_in_frames(model, frames)
    check_emitters(np.asarray(evidence.proposals.significance))
    claimed.begin()
    state = _train(config, model, frames, evidence, claimed, resume, progress)
    fit = _first_posteriors(
        config, crops, frames, evidence, psf, FittedModel(model, state.variables, state.movie), progress
    )
    fit = _check_psf(fit, progress)
    fit = _search(fit, progress)
    quality = assess_fit(progress.key(_ASSESS), fit.fitted, fit.posteriors, frames)
    if quality.counts.sum() == 0:
        raise LocalizationError(
            "the model finds no emitter in this movie: is it the right PSF, and are camera gain and offset right?"
        )
    correction = _correct(fit, progress)
    held_out = _assess_held_out(fit, progress)
    progress.stage("writing")
    metrics = summarise(config, crops, fit.fitted, quality, held_out, fit.psf_report, correction)
    _write(fit, {**metrics, "seconds": progress.seconds}, quality, correction, progress, folder)
    return json.loads((folder / "metrics.json").read_text())  # as a second call returns it


def _train(
    config: GeneratorConfig,
    model: GeneratorModel,
    frames: jax.Array,
    evidence: FrameEvidence,
    folder: RunFolder,
    resume: bool,
    progress: _Progress,
) -> FitState:
    """Train the networks, from the newest checkpoint where there is one."""
    settings = config.fit
    state = init_fit(jax.random.key(config.seed), model, evidence, settings)
    done = latest_step(folder.path) if resume else None
    if done is not None:
        state = restore(folder.path, state, done)
    total = settings.steps
    schedule = Schedule(total, max(1, total // 100), max(1, min(250, total // 4)), "fit.learning_rate")
    step = make_fit_step(settings, config.seed)

    def log(number: int, values: dict[str, float]) -> None:
        folder.log({"event": "step", "step": number, **values})
        progress.stage("step", number, total, **values)

    return train(
        lambda state: step(state, model, frames, evidence),
        state, int(state.step), folder, schedule, log, deadline_s=progress.deadline_s,
    )  # fmt: skip


def _first_posteriors(
    config: GeneratorConfig,
    crops: Crops,
    frames: jax.Array,
    evidence: FrameEvidence,
    psf: Psf,
    trained: FittedModel,
    progress: _Progress,
) -> _Fit:
    """Refine the posteriors that the trained networks predict, and estimate the movie's parameters from them."""
    posteriors = encode_and_refine(
        progress.key(_REFINE), trained, frames, evidence, config.fit, progress.frames("refining")
    )
    fit = _Fit(config, crops, frames, evidence, psf, trained, trained, posteriors)
    return _estimate_movie(fit, progress)


def _estimate_movie(fit: _Fit, progress: _Progress) -> _Fit:
    """Estimate the movie's parameters from the posteriors, which must be finite (`FloatingPointError`)."""
    _check_finite(fit.posteriors)
    movie = estimate_movie(progress.key(_MOVIE), fit.inference, fit.frames, fit.posteriors)
    return dataclasses.replace(fit, fitted=replace(fit.inference, movie=movie))


def _check_psf(fit: _Fit, progress: _Progress) -> _Fit:
    """Compare the PSF with the brightest emitters; where `learn_psf` finds a better one, refine once more with it.

    A PSF of the wrong optics stays as it is: it is reported, not bent towards the frames. So does one that the fitted
    aberrations do not improve.
    """
    progress.stage("comparing the PSF with the brightest emitters")
    config, key = fit.config, progress.key(_ASSESS)
    stamps = cut_bright_stamps(key, fit.fitted, fit.posteriors, fit.frames)
    raw = cut_bright_stamps(key, fit.fitted, fit.posteriors, fit.frames, raw=True)
    fit = dataclasses.replace(fit, inference=fit.fitted)
    if stamps is None or raw is None:
        return fit
    learned, report = fit_aberrations(fit.psf, stamps, raw, is_3d=config.is_3d)
    fit = dataclasses.replace(fit, psf_report=report)
    if not config.learn_psf or not report.improves or report.suspect:
        return fit
    progress.stage("tabulating the learned PSF")
    old = fit.inference.model
    model = replace(make_model(config, learned, fit.crops), radius_px=old.radius_px, block_px=old.block_px)
    inference = replace(fit.inference, model=model)
    evidence = propose_in_frames(model, fit.frames)
    on_progress = progress.frames("refining with the learned PSF")
    posteriors = encode_and_refine(progress.key(_REFINE), inference, fit.frames, evidence, config.fit, on_progress)
    return dataclasses.replace(
        fit, psf=learned, inference=inference, fitted=inference, evidence=evidence, posteriors=posteriors
    )


def _search(fit: _Fit, progress: _Progress) -> _Fit:
    """Re-initialise emitters where `fit.second_look` is set, and estimate the movie's parameters anew."""
    if fit.config.fit.second_look:
        on_progress = progress.frames("looking again for emitters")
        posteriors = search(
            progress.key(_SEARCH), fit.inference, fit.frames, fit.posteriors, fit.config.fit, on_progress
        )
        fit = dataclasses.replace(fit, posteriors=posteriors)
    return _estimate_movie(fit, progress)


def _correct(fit: _Fit, progress: _Progress) -> EmitterCorrection:
    """Learn the bias of the inference in drawn frames, whose emitters are known."""
    progress.stage("measuring in drawn frames what the fit misses")
    return learn_correction(
        progress.key(_CORRECT), fit.inference, fit.fitted, fit.posteriors, fit.psf, fit.config.crop_px, fit.config.fit,
        progress.frames("looking for emitters in drawn frames"),
    )  # fmt: skip


def _assess_held_out(fit: _Fit, progress: _Progress) -> FitQuality | None:
    """Assess the model on the held-out crops; None where there are none."""
    if not len(fit.crops.held_out):
        return None
    frames = jnp.asarray(fit.crops.held_out, dtype=float)
    keys = progress.key(_HELD_OUT), progress.key(_SEARCH)
    on_progress = progress.frames("looking for emitters in held-out crops")
    posteriors = infer_posteriors(keys, fit.fitted, frames, fit.config.fit, on_progress)
    _check_finite(posteriors)
    return assess_fit(progress.key(_ASSESS), fit.fitted, posteriors, frames)


def _check_finite(posteriors: Posterior) -> None:
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(posteriors)):
        raise FloatingPointError("the posterior of some crop is not finite; lower fit.refine_rate")


def _write(
    fit: _Fit,
    metrics: dict[str, Any],
    quality: FitQuality,
    correction: EmitterCorrection,
    progress: _Progress,
    folder: Path,
) -> None:
    """Write all files of a fitted generator; metrics.json, the last, says that it is finished."""
    crops, posteriors = fit.crops, fit.posteriors
    write_arrays(folder / "networks.npz", network_arrays(fit.fitted))
    places = {"fit_at": crops.fit_at, "held_out_at": crops.held_out_at}
    write_arrays(folder / "bank.npz", {**posterior_arrays(posteriors), **places})
    save_psf(folder / "psf.npz", fit.psf, notes={"from": "colocus generate fit"})
    examples = example_crops(progress.key(_ASSESS), fit.fitted, posteriors, fit.frames, quality)
    write_arrays(folder / "examples.npz", examples)
    facts = _facts(fit, quality, correction)
    write_text(folder / "generator.json", json.dumps(facts_to_dict(facts), indent=1) + "\n")
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # networks.npz replaces them


def _facts(fit: _Fit, quality: FitQuality, correction: EmitterCorrection) -> GeneratorFacts:
    model = fit.fitted.model
    low, high = model.ranges.z_um
    counts, photons = correction.number * quality.counts, np.exp(correction.correct(np.log(quality.photons)))
    return GeneratorFacts(
        config=fit.config,
        camera=fit.crops.camera,
        z_um=(low, high),
        level=float(model.level),
        radius_px=model.radius_px,
        block_px=model.block_px,
        photons=tuple(float(v) for v in np.percentile(photons, [2, 50, 98])),
        background=tuple(float(v) for v in quality.background),
        counts=(float(counts.min()), float(counts.mean()), float(counts.max())),
        correction=correction,
    )


def _identity(movie: Path | str | NDArray) -> dict[str, Any]:
    if isinstance(movie, np.ndarray):
        return {"array": list(movie.shape), "sum": float(np.sum(movie, dtype=np.float64))}
    path = Path(movie).resolve()
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    return {"path": str(path), "bytes": sum(file.stat().st_size for file in files)}
