"""What a fitted generator says of a movie: numbers for metrics.json, pictures for the panels."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nets.dlp_types import Posterior
from training.generator.config import GeneratorConfig
from training.generator.crops import Crops
from training.generator.draw import Law
from training.generator.fit import FitState, in_parts
from training.generator.model import (
    Components,
    Movie,
    SceneModel,
    Variables,
    expected_parts,
    least_read_e2,
    photon_variance,
)
from training.generator.psf import SUSPECT, PsfReport

_SHOWN = 4  # crops in the panels
_KEPT = 0.5  # probability from which a particle is called an emitter
_BAD_CHI2 = 1.3


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """How a model explains F crops: `chi2` (F,) per pixel of what the posteriors expect, `counts` (F,) of emitters,
    the `photons` and `z_um` of all of them, percentiles 2, 50, 98 of the `background` (haze included), and the mean
    light a pixel of emitters, haze and background."""

    chi2: NDArray
    counts: NDArray
    photons: NDArray
    z_um: NDArray
    background: tuple[float, float, float]
    light: tuple[float, float, float]


def _explain(
    key: jax.Array, model: SceneModel, variables: Variables, movie: Movie, bank: Posterior, frames: jax.Array
) -> tuple[Components, jax.Array]:
    """Components that the posteriors expect, and residuals in standard deviations, (F, H, W) each."""
    some = functools.partial(_explain_some, key, model, variables, movie)
    return in_parts(some, (bank, frames), len(frames))


@jax.jit
def _explain_some(
    key: jax.Array, model: SceneModel, variables: Variables, movie: Movie, bank: Posterior, frames: jax.Array
) -> tuple[Components, jax.Array]:
    shape = (frames.shape[1], frames.shape[2])

    def one(item):
        posterior, frame = item
        parts = expected_parts(key, model, variables, movie, posterior, shape)
        variance = photon_variance(model.camera, parts.rate, movie.log_gain, parts.read_scale) + parts.ambiguity
        return parts, (frame - parts.rate) / jnp.sqrt(variance)

    return jax.lax.map(one, (bank, frames), batch_size=2)


def judge(key: jax.Array, model: SceneModel, state: FitState, bank: Posterior, frames: jax.Array) -> Judged:
    """How well a state and the posteriors of `frames` (F, H, W) explain them."""
    parts, residual = _explain(key, model, state.variables, state.movie, bank, frames)
    sure = np.asarray(jax.nn.sigmoid(bank.presence)) > _KEPT
    place = np.asarray(bank.place.mean)[sure]
    around = np.asarray(parts.haze + parts.background)
    low, middle, high = (float(v) for v in np.percentile(around, [2, 50, 98]))
    emitters, haze, background = (float(part.mean()) for part in (parts.emitters, parts.haze, parts.background))
    return Judged(
        chi2=np.asarray((residual**2).mean(axis=(1, 2))),
        counts=sure.sum(axis=1),
        photons=np.exp(place[:, 3]),
        z_um=np.asarray(model.ranges.depth_um(place[:, 2])),
        background=(low, middle, high),
        light=(emitters, haze, background),
    )


def examples(
    key: jax.Array, model: SceneModel, state: FitState, bank: Posterior, frames: jax.Array, judged: Judged
) -> dict[str, NDArray]:
    """Some crops, from empty to crowded, taken apart: arrays (n, H, W) in photons, residuals in standard deviations,
    and `xy_px` (M, 3) of emitters with the crop they are in."""
    order = np.argsort(judged.counts, kind="stable")
    shown = order[np.unique(np.linspace(0.15 * len(order), len(order) - 1, _SHOWN).astype(int))]
    some = jax.tree.map(lambda leaf: leaf[shown], bank)
    parts, residual = _explain(key, model, state.variables, state.movie, some, frames[shown])
    presence = np.asarray(jax.nn.sigmoid(some.presence))
    crop, slot = np.nonzero(presence > _KEPT)
    xy = np.asarray(some.anchor_um + some.place.mean[..., :2])[crop, slot] / float(model.ranges.pixel_um)
    return {
        "input": np.asarray(frames[shown]),
        "reconstruction": np.asarray(parts.rate),
        "emitters": np.asarray(parts.emitters),
        "haze": np.asarray(parts.haze),
        "background": np.asarray(parts.background),
        "residual": np.asarray(residual),
        "xy_px": np.column_stack([xy, crop]).astype(float),
        "crop": shown,
    }


def summary(
    config: GeneratorConfig,
    crops: Crops,
    model: SceneModel,
    state: FitState,
    judged: Judged,
    held_out: Judged | None,
    psf: PsfReport | None,
    law: Law,
) -> dict[str, Any]:
    """The numbers of metrics.json, with `warnings` in words."""
    movie = state.movie
    area_um2 = (config.crop_px * config.microscope.pixel_um) ** 2
    q = float(model.camera.quantum_efficiency)
    found = {
        "crops": len(crops.fit),
        "held_out_crops": len(crops.held_out),
        "emitters_per_crop": {"mean": float(judged.counts.mean()), "std": float(judged.counts.std())},
        "emitters_per_um2": float(judged.counts.mean() / area_um2),
        "drawn_over_believed": dataclasses.asdict(law),
        "photons": {
            "law": {"median": math.exp(float(movie.log_photons)), "log_std": math.exp(float(movie.log_spread))},
            "percentiles_2_50_98": np.percentile(judged.photons, [2, 50, 98]).tolist(),
        },
        "z_um_percentiles_2_50_98": np.percentile(judged.z_um, [2, 50, 98]).tolist(),
        "level_photons": float(model.level),
        "background_percentiles_2_50_98": list(judged.background),
        "light_per_pixel": dict(zip(("emitters", "haze", "background"), judged.light, strict=True)),
        "noise": {
            "gain_over_camera": math.exp(float(movie.log_gain)),
            "read_noise_photons": math.sqrt(math.exp(float(movie.log_read)) * float(least_read_e2(model.camera))) / q,
        },
        "chi2_per_pixel": {
            "fit": float(judged.chi2.mean()),
            "held_out": None if held_out is None else float(held_out.chi2.mean()),
        },
        "camera": dataclasses.asdict(crops.camera),
        "psf": None if psf is None else {**dataclasses.asdict(psf), "suspect": psf.suspect},
        "radius_px": model.radius_px,
        "notes": list(crops.notes),
    }
    return {**found, "warnings": _warnings(config, model, judged, held_out, psf)}


def _warnings(
    config: GeneratorConfig, model: SceneModel, judged: Judged, held_out: Judged | None, psf: PsfReport | None
) -> list[str]:
    said = []
    if psf is None:
        said.append("No emitter stands alone: whether the PSF belongs to this movie could not be checked.")
    elif psf.suspect:
        said.append(
            f"THE PSF DOES NOT BELONG TO THESE FRAMES: it leaves {100 * psf.misfit:.0f} % (rms) of the brightest "
            f"emitters' light unexplained, above {100 * SUSPECT:.0f} %. It was kept as given; check microscope, mask, "
            "its orientation, and depths, or retrieve it from beads (colocus retrieve)."
        )
    full = float(np.mean(judged.counts >= model.config.slots))
    if full > 0.1:
        said.append(
            f"{100 * full:.0f} % of the crops use all {model.config.slots} slots: raise slots, or make crop_px smaller."
        )
    for name, part in (("fit", judged), ("held-out", held_out)):
        # crops without a free slot keep emitters that no noise explains
        if full <= 0.1 and part is not None and not 1 / _BAD_CHI2 < (chi2 := float(part.chi2.mean())) < _BAD_CHI2:
            way = "noisier than" if chi2 > 1 else "less noisy than"
            said.append(
                f"Chi-square of the {name} crops is {chi2:.2f} a pixel: the frames are {way} the model; "
                "check the camera's gain and read noise."
            )
    if config.deep and len(judged.z_um):
        low, high = model.ranges.z_um
        margin = 0.02 * (high - low)
        edge = float(np.mean((judged.z_um < low + margin) | (judged.z_um > high - margin)))
        if edge > 0.2:
            said.append(
                f"{100 * edge:.0f} % of the emitters lie at an end of the depth range: z_min_um ... z_max_um is too "
                "narrow, or structure is taken for emitters there (look at the panels)."
            )
    return said
