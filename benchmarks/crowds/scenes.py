"""Frames of 64 x 64 px of preset `quick`'s optics, camera and light, with a stated number of emitters, for each mask.

`drawn` says what becomes of light beyond an emitter's stamp of 57 px. "even": it comes back as an even background, as
`quick` draws scenes. "whole": it is drawn where it falls, and so is that of emitters beyond the frame, as dense as
those in it (`optics.wings`). PSFs are at the full sampling of the pupil, whatever a training would take.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.reading.spots import SpotTable, psf_spots
from localization import Localizations
from optics import Background, Camera, Psf, make_camera, make_wings, plan_wings
from optics.masks import FAMILIES
from training import MaskConfig, emitters_to_localizations
from training.config import MicroscopeConfig, PsfConfig, SceneConfig
from training.instrument import build_background, build_psf
from training.scenes import frame_keys, make_scene, simulate

# what `make demo` had learned on 2026-11-29 (1,000 steps, three minutes): rms radians of OSA modes 0 to 35 at 0.58 um
DEMO_RAD = (
    -0.337, -0.224, -0.170, 0.397, -2.486, 0.413, -0.342, -0.257, 0.260, 0.785, -0.094, 0.292,
    -1.840, 0.284, 0.161, 0.431, 0.026, -0.203, 0.179, 0.521, 0.614, -0.198, -0.056, 0.120,
    0.460, 0.127, 0.039, 0.486, -0.112, 0.052, 0.016, -0.194, 0.088, 0.194, 0.103, -0.016,
)  # fmt: skip
MASKS = {
    "tetrapod": MaskConfig("tetrapod", range_um=4.0),
    "double_helix": MaskConfig("double_helix", range_um=4.0),
    "learned": DEMO_RAD,
    "designed": MaskConfig("designed", design="density-4um"),
    "astigmatism": MaskConfig("astigmatism", rms_um=0.12),
}
DRAWN = ("even", "whole")
SCOPE = MicroscopeConfig(na=1.45, n_immersion=1.518, n_sample=1.33, wavelength_um=0.58, pixel_um=0.11, focus_um=2.0)
SCENE = SceneConfig(
    frame_px=64, z_min_um=0.0, z_max_um=4.0, margin_um=0.65, photons_min=10_000.0, photons_max=60_000.0,
    background="uniform", background_min=25.0, background_max=100.0,
)  # fmt: skip
DEPTHS_UM = (SCENE.z_min_um, SCENE.z_max_um)
STAMP_PX = 57
TABLE_TOLERANCE = 1e-2  # of an image: that of `localize --method joint`
SEED = 2_718_281
_BATCH = 8

_simulate = jax.jit(simulate, static_argnames=("differentiable", "chunk"))
_wings = jax.jit(make_wings, static_argnames=("plan", "shape"))


@dataclass(frozen=True)
class Drawn:
    """Frames (F, H, W) in counts of a camera that counts photons, and the true list.

    `level` (F, H, W) is what is behind the emitters, in photons per pixel; `psf` is the one they were drawn with.
    """

    images: NDArray
    truth: Localizations
    level: NDArray
    psf: Psf


@cache
def psf_of(mask: str, stamp_px: int = STAMP_PX) -> Psf:
    """The PSF of one of `MASKS`."""
    chosen = MASKS[mask]
    if not isinstance(chosen, MaskConfig):
        chosen = (
            FAMILIES["zernike"].make(len(chosen), design_wavelength_um=SCOPE.wavelength_um).to_mask(jnp.array(chosen))
        )
    return build_psf(SCOPE, PsfConfig(stamp_px=stamp_px), chosen, DEPTHS_UM)


@cache
def spots_of(mask: str) -> SpotTable:
    """The table that a reader of this mask's frames has: stamps of 57 px."""
    return psf_spots(psf_of(mask), DEPTHS_UM, TABLE_TOLERANCE)


def camera() -> Camera:
    """The camera of `quick`: it counts photons."""
    return make_camera()


def scene_with(count: int, side_px: int = SCENE.frame_px, margin_um: float = SCENE.margin_um) -> SceneConfig:
    """Scenes of exactly `count` emitters a frame."""
    return dataclasses.replace(SCENE, count_min=count, count_max=max(count, 1), frame_px=side_px, margin_um=margin_um)


def per_um2(count: int, side_px: int = SCENE.frame_px) -> float:
    """Emitters per um^2 of the part of the frame in which they may be."""
    return count / (side_px * SCOPE.pixel_um - 2 * SCENE.margin_um) ** 2


def draw(mask: str, count: int, n: int, drawn: str = "even", *, side_px: int = SCENE.frame_px, first: int = 0) -> Drawn:
    """Draw frames `first` to `first + n` of `count` emitters each: the same scenes for every mask."""
    psf, plan, wings = psf_of(mask), None, None
    if drawn == "whole":
        plan = plan_wings(psf, (side_px, side_px), DEPTHS_UM)
        wings = _wings(psf, plan, (side_px, side_px))
    ranges, level = make_scene(scene_with(count, side_px), SCOPE.pixel_um, wings=plan), build_background(SCENE)
    key, pieces = jax.random.fold_in(jax.random.key(SEED), count), []
    batch = min(_BATCH, n)
    for at in range(first, first + n, batch):
        pieces.append(_simulate(frame_keys(key, at, batch), psf, ranges, level, camera(), wings=wings))
    frames = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:n], *pieces)
    truth = emitters_to_localizations(frames.emitters)
    return Drawn(np.asarray(frames.images), truth, np.asarray(frames.background), psf)


def draw_background(background: Background, n: int, side_px: int = SCENE.frame_px, seed: int = SEED) -> NDArray:
    """Draw n frames (n, H, W) of a background alone, with the noise of counted photons."""
    key = jax.random.key(seed)

    @jax.jit
    def one(number):
        key_level, key_noise = jax.random.split(jax.random.fold_in(key, number))
        level = background.sample(key_level, (side_px, side_px))
        return jax.random.poisson(key_noise, level).astype(level.dtype)

    return np.asarray(jax.lax.map(one, jnp.arange(n)))
