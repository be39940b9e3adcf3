"""The PSF of a form through depth and the precision that it allows: what `colocus crlb` computes, kept compiled."""

import base64
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from app.pictures.png import png
from experiments.instrument.crlb import arm_psf
from experiments.instrument.crlb_config import CrlbConfig
from optics import Camera, Psf, depth_bounds, psf_image, replace
from training import ConfigError, build, build_camera, from_dict, load_config

_SHOWN, _ENLARGED = 7, 2
# samples of the pupil and of its ring beyond the critical angle, never fewer than asked for: each number is compiled
# anew, so that a form that changes should find its program there; the bounds move by less than 3e-4
_PUPIL_STEP, _RING_STEP = 96, 16


def draw_bounds(settings: dict[str, Any]) -> dict[str, Any]:
    """Draw a PSF through depth and bound the precision, from settings of `colocus crlb` with one arm.

    Returns depths `z_um`, the bounds `x_nm`, `y_nm`, `z_nm`, the depths `shown_um` of the picture, and the `picture`,
    a PNG in base64: square root of the light, each depth on its own scale. Raises `ConfigError` or `OpticsError`.
    """
    config = from_dict(CrlbConfig, settings)
    psf = arm_psf(config, config.arms[0])
    if not isinstance(psf, Psf):
        raise ConfigError(f"detection = {config.detection!r} has two images; colocus crlb draws both")
    camera = build_camera(config.camera)
    return drawn(psf, (config.z_min_um, config.z_max_um), config.depths, config.photons, config.background, camera)


def draw_learned(arm: str, snapshot: str) -> dict[str, Any]:
    """Draw the PSF of a mask that is being learned: `arm` is the folder of its run, `snapshot` one of its masks.

    Bounds are those of the brightest molecules of its scenes on their mean background. Raises `ConfigError`.
    """
    run = load_config(Path(arm))
    parts = build(run)
    opd_um = np.load(snapshot, allow_pickle=False)
    mask = parts.psf.mask
    if mask is None or opd_um.shape != mask.opd_um.shape:
        raise ConfigError(f"{Path(snapshot).name} is no mask of this run")
    psf, scene = replace(parts.psf, mask=replace(mask, opd_um=jax.numpy.asarray(opd_um))), run.scene
    background = (scene.background_min + scene.background_max) / 2
    return drawn(psf, (scene.z_min_um, scene.z_max_um), 13, scene.photons_max, background, parts.camera)


def drawn(
    psf: Psf, z_range_um: tuple[float, float], depths: int, photons: float, background: float, camera: Camera
) -> dict[str, Any]:
    """Return the picture of a PSF and its bounds, as plain values."""
    psf = replace(psf, pupil_px=_rounded(psf.pupil_px, _PUPIL_STEP), ring_px=_rounded(psf.ring_px, _RING_STEP))
    z_um, shown_um = np.linspace(*z_range_um, depths), np.linspace(*z_range_um, _SHOWN)
    marginal = np.asarray(_bounds(psf, z_um, photons, background, camera), float)
    images = np.asarray(_images(psf, shown_um))
    curves = {f"{axis}_nm": _known(1e3 * marginal[:, k]) for k, axis in enumerate("xyz")}
    return {"z_um": z_um.tolist(), **curves, "shown_um": shown_um.tolist(), "picture": _picture(images)}


def _rounded(samples: int, step: int) -> int:
    return step * max(math.ceil(samples / step), 1)


def _known(values: NDArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


@jax.jit
def _bounds(psf: Psf, z_um: NDArray, photons: float, background: float, camera: Camera) -> jax.Array:
    return depth_bounds(psf, z_um, photons, background, camera).marginal


@jax.jit
def _images(psf: Psf, z_um: NDArray) -> jax.Array:
    return jax.lax.map(lambda z: psf_image(psf, jax.numpy.zeros(3).at[2].set(z)), z_um)


def _picture(images: NDArray) -> str:
    """Lay images (Z, K, K) side by side, with a pixel's width of nothing between them."""
    light = np.sqrt(np.maximum(images, 0))
    light = light / np.maximum(light.max(axis=(1, 2), keepdims=True), 1e-12)
    grey = np.rint(255 * light).astype(np.uint8).repeat(_ENLARGED, 1).repeat(_ENLARGED, 2)
    opaque = np.stack([grey, np.full_like(grey, 255)], axis=-1)
    row = np.concatenate([np.pad(image, ((0, 0), (0, 4), (0, 0))) for image in opaque], axis=1)[:, :-4]
    pixels = np.concatenate([np.repeat(row[..., :1], 3, axis=2), row[..., 1:]], axis=2)
    return base64.b64encode(png(pixels)).decode()
