"""Assess a fitted generator: how well it explains the crops, in numbers for metrics.json and in example pictures."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from training.generator.config import GeneratorConfig
from training.generator.crops import Crops
from training.generator.draw import PRESENT, EmitterCorrection
from training.generator.files import correction_values
from training.generator.model import (
    Components,
    FittedModel,
    GeneratorModel,
    expected_components,
    photon_variance,
    reference_read_e2,
)
from training.generator.posterior import Posterior
from training.generator.psf import SUSPECT, PsfReport
from training.generator.refine import map_chunks

_EXAMPLES = 4  # crops in the panels
_BAD_CHI2 = 1.3


@dataclasses.dataclass(frozen=True, eq=False)
class FitQuality:
    """How well a model explains F crops.

    `chi2` (F,) per pixel and the `counts` (F,) of emitters; `photons` and `z_um` of all emitters; percentiles 2, 50, 98
    of the `background` (haze included); mean `light` per pixel of emitters, haze and background.
    """

    chi2: NDArray
    counts: NDArray
    photons: NDArray
    z_um: NDArray
    background: tuple[float, float, float]
    light: tuple[float, float, float]


def _explain(
    key: jax.Array, fitted: FittedModel, posteriors: Posterior, frames: jax.Array
) -> tuple[Components, jax.Array]:
    """Compute the expected components of frames and the residuals in standard deviations, (F, H, W) each."""
    return map_chunks(functools.partial(_explain_chunk, key, fitted), (posteriors, frames), len(frames))


@jax.jit
def _explain_chunk(
    key: jax.Array, fitted: FittedModel, posteriors: Posterior, frames: jax.Array
) -> tuple[Components, jax.Array]:
    shape = (frames.shape[1], frames.shape[2])

    def one_frame(item):
        posterior, frame = item
        parts = expected_components(key, fitted, posterior, shape)
        camera, log_gain = fitted.model.camera, fitted.movie.log_gain
        variance = photon_variance(camera, parts.rate, log_gain, parts.read_scale) + parts.ambiguity
        return parts, (frame - parts.rate) / jnp.sqrt(variance)

    return jax.lax.map(one_frame, (posteriors, frames), batch_size=2)


def assess_fit(key: jax.Array, fitted: FittedModel, posteriors: Posterior, frames: jax.Array) -> FitQuality:
    """Assess how well a model and the posteriors (leaves (F, ...)) explain frames (F, H, W)."""
    parts, residual = _explain(key, fitted, posteriors, frames)
    present = np.asarray(jax.nn.sigmoid(posteriors.presence)) > PRESENT
    location = np.asarray(posteriors.location.mean)[present]
    surroundings = np.asarray(parts.haze + parts.background)
    low, middle, high = (float(v) for v in np.percentile(surroundings, [2, 50, 98]))
    emitters, haze, background = (float(part.mean()) for part in (parts.emitters, parts.haze, parts.background))
    return FitQuality(
        chi2=np.asarray((residual**2).mean(axis=(1, 2))),
        counts=present.sum(axis=1),
        photons=np.exp(location[:, 3]),
        z_um=np.asarray(fitted.model.ranges.depth_um(location[:, 2])),
        background=(low, middle, high),
        light=(emitters, haze, background),
    )


def example_crops(
    key: jax.Array, fitted: FittedModel, posteriors: Posterior, frames: jax.Array, quality: FitQuality
) -> dict[str, NDArray]:
    """Take a few crops apart, from sparse to crowded.

    The arrays (n, H, W) are in photons, residuals in standard deviations; `xy_px` (M, 3) has x, y and crop of the
    emitters.
    """
    order = np.argsort(quality.counts, kind="stable")
    shown = order[np.unique(np.linspace(0.15 * len(order), len(order) - 1, _EXAMPLES).astype(int))]
    chosen = jax.tree.map(lambda leaf: leaf[shown], posteriors)
    parts, residual = _explain(key, fitted, chosen, frames[shown])
    presence = np.asarray(jax.nn.sigmoid(chosen.presence))
    crop, slot = np.nonzero(presence > PRESENT)
    xy_um = np.asarray(chosen.anchor_um + chosen.location.mean[..., :2])[crop, slot]
    return {
        "input": np.asarray(frames[shown]),
        "reconstruction": np.asarray(parts.rate),
        "emitters": np.asarray(parts.emitters),
        "haze": np.asarray(parts.haze),
        "background": np.asarray(parts.background),
        "residual": np.asarray(residual),
        "xy_px": np.column_stack([xy_um / float(fitted.model.ranges.pixel_um), crop]).astype(float),
        "crop": shown,
    }


def summarise(
    config: GeneratorConfig,
    crops: Crops,
    fitted: FittedModel,
    quality: FitQuality,
    held_out: FitQuality | None,
    psf: PsfReport | None,
    correction: EmitterCorrection,
) -> dict[str, Any]:
    """Collect the numbers of metrics.json, with `warnings` in words."""
    model, movie = fitted.model, fitted.movie
    area_um2 = (config.crop_px * config.microscope.pixel_um) ** 2
    q = float(model.camera.quantum_efficiency)
    numbers = {
        "crops": len(crops.fit),
        "held_out_crops": len(crops.held_out),
        "emitters_per_crop": {"mean": float(quality.counts.mean()), "std": float(quality.counts.std())},
        "emitters_per_um2": float(quality.counts.mean() / area_um2),
        "drawn_over_believed": correction_values(correction),
        "photons": {
            "law": {"median": math.exp(float(movie.log_photons)), "log_std": math.exp(float(movie.log_spread))},
            "percentiles_2_50_98": np.percentile(quality.photons, [2, 50, 98]).tolist(),
        },
        "z_um_percentiles_2_50_98": np.percentile(quality.z_um, [2, 50, 98]).tolist(),
        "level_photons": float(model.level),
        "background_percentiles_2_50_98": list(quality.background),
        "light_per_pixel": dict(zip(("emitters", "haze", "background"), quality.light, strict=True)),
        "noise": {
            "gain_over_camera": math.exp(float(movie.log_gain)),
            "read_noise_photons": math.sqrt(math.exp(float(movie.log_read)) * float(reference_read_e2(model.camera)))
            / q,
        },
        "chi2_per_pixel": {
            "fit": float(quality.chi2.mean()),
            "held_out": None if held_out is None else float(held_out.chi2.mean()),
        },
        "camera": dataclasses.asdict(crops.camera),
        "psf": None if psf is None else {**dataclasses.asdict(psf), "suspect": psf.suspect},
        "radius_px": model.radius_px,
        "notes": list(crops.notes),
    }
    return {**numbers, "warnings": warnings_of(config, model, quality, held_out, psf)}


def warnings_of(
    config: GeneratorConfig,
    model: GeneratorModel,
    quality: FitQuality,
    held_out: FitQuality | None,
    psf: PsfReport | None,
) -> list[str]:
    """Say in words what speaks against a fit: its PSF, its slots, its noise, its depths."""
    warnings = []
    if psf is None:
        warnings.append("No emitter stands alone: whether the PSF belongs to this movie could not be checked.")
    elif psf.suspect:
        warnings.append(
            f"THE PSF DOES NOT BELONG TO THESE FRAMES: it leaves {100 * psf.misfit:.0f} % (rms) of the brightest "
            f"emitters' light unexplained, above {100 * SUSPECT:.0f} %. It was kept as given; check microscope, mask, "
            "its orientation, and depths, or retrieve it from beads (colocus retrieve)."
        )
    full = float(np.mean(quality.counts >= model.config.slots))
    if full > 0.1:
        warnings.append(
            f"{100 * full:.0f} % of the crops use all {model.config.slots} slots: raise slots, or make crop_px smaller."
        )
    for name, part in (("fit", quality), ("held-out", held_out)):
        # crops without a free slot keep emitters that no noise explains
        if full <= 0.1 and part is not None and not 1 / _BAD_CHI2 < (chi2 := float(part.chi2.mean())) < _BAD_CHI2:
            relation = "noisier than" if chi2 > 1 else "less noisy than"
            warnings.append(
                f"Chi-square of the {name} crops is {chi2:.2f} a pixel: the frames are {relation} the model; "
                "check the camera's gain and read noise."
            )
    if config.is_3d and len(quality.z_um):
        low, high = model.ranges.z_um
        margin = 0.02 * (high - low)
        edge = float(np.mean((quality.z_um < low + margin) | (quality.z_um > high - margin)))
        if edge > 0.2:
            warnings.append(
                f"{100 * edge:.0f} % of the emitters lie at an end of the depth range: z_min_um ... z_max_um is too "
                "narrow, or structure is taken for emitters there (look at the panels)."
            )
    return warnings
