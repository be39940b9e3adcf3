"""Where a decoder's training frames come from: naive and tuned simulation, generated scenes, the experiment itself.

Each source is a function of keys and a PSF, as `training.step.make_train_step` takes it; the frames are in photons.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from optics import Psf, make_camera
from optics.background import Background, RandomField, UniformLevel
from optics.fits.matched_filter import local_background
from optics.pytree import replace
from training.config import DecoderConfig, MicroscopeConfig, OptimiserConfig, RunConfig, SceneConfig
from training.generator.draw import generate
from training.scenes import Frames, make_scene, simulate
from worlds.scene_learned import MOVIE_SEED, Learning, learned_scenes
from worlds.scene_world import SHEET_READ_E, World, draw_many, in_photons, mixed_frames, with_mask

Draw = Callable[[jax.Array, Psf], Frames]
ARMS = ("naive", "tuned", "generated", "oracle")
_BLOCK_PX, _LAGS = 8, np.arange(2, 13)


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What a simulation is tuned to by hand; photons per pixel and pixels."""

    level: float
    contrast: float
    correlation_px: float
    levels: tuple[float, float]
    count: float
    photons_mean: float
    photons_shape: float


def tune(world: World, n: int) -> Tuning:
    """Level, contrast and correlation of the movie's background, by medians of blocks; number and brightness of its
    emitters as they are in truth: what the best of hands would find."""
    frames = draw_many(MOVIE_SEED, world, n)
    light = np.asarray(frames.emitters.photons)[np.asarray(frames.emitters.valid)]
    images = in_photons(world, frames).images
    ground = np.asarray(jax.vmap(lambda image: local_background(image, _BLOCK_PX))(images))
    level = float(ground.mean())
    contrast, correlation_px = correlation(ground / level - 1)
    least, most = np.quantile(ground, [0.05, 0.95])
    return Tuning(
        level=level,
        contrast=contrast,
        correlation_px=correlation_px,
        levels=(float(least), float(most)),
        count=float(light.size / n),
        photons_mean=float(light.mean()),
        photons_shape=float(np.clip(light.mean() ** 2 / light.var(), 0.5, 20.0)),
    )


def correlation(field: np.ndarray) -> tuple[float, float]:
    """Contrast and correlation length (px) of the log-normal field whose covariance (N, H, W) has at 2 to 12 pixels.

    Shorter distances hold what noise and emitters leave.
    """
    field = field - field.mean()
    covariance = np.array(
        [0.5 * ((field[:, d:] * field[:, :-d]).mean() + (field[..., d:] * field[..., :-d]).mean()) for d in _LAGS]
    )
    target = np.log1p(np.maximum(covariance, 0.0))
    lengths = np.linspace(2.0, 40.0, 200)
    shapes = np.exp(-(_LAGS**2) / (2 * lengths[:, None] ** 2))
    height = (shapes @ target) / np.sum(shapes**2, axis=1)
    misfit = np.sum((target - height[:, None] * shapes) ** 2, axis=1)
    best = int(np.argmin(misfit))
    return float(np.sqrt(np.expm1(max(height[best], 1e-4)))), float(lengths[best])


def run_config(world: World, tuning: Tuning, *, steps: int, seed: int) -> RunConfig:
    """What all arms share: decoder, its ranges, optimiser; the scene is the naive one."""
    kind = world.kind
    middle = 0.5 * sum(kind.z_um)
    scene = SceneConfig(
        frame_px=kind.frame_px,
        count_min=0,
        count_max=kind.capacity - 2,
        z_min_um=kind.z_um[0] if kind.deep else middle,
        z_max_um=kind.z_um[1] if kind.deep else middle,
        margin_um=0.0,
        photons_min=0.25 * kind.photons[0],
        photons_max=2.5 * kind.photons[-1],
        background_min=tuning.levels[0],
        background_max=tuning.levels[1],
    )
    return RunConfig(
        microscope=MicroscopeConfig(pixel_um=kind.pixel_um),
        scene=scene,
        decoder=DecoderConfig(channels=24, head_channels=24, dilations=(1, 1, 2, 2, 1, 1)),
        optimiser=OptimiserConfig(steps=steps, batch=8, learning_rate=2e-3),
        seed=seed,
    )


def simulated(world: World, run: RunConfig, tuning: Tuning, *, tuned: bool, differentiable: bool = False) -> Draw:
    """Frames of our own simulator through the calibrated PSF: naive, or tuned to the movie by hand."""
    config = run.scene
    if tuned:
        config = dataclasses.replace(
            config,
            count_max=max(2, round(2 * tuning.count)),
            photons="gamma",
            photons_mean=tuning.photons_mean,
            photons_shape=tuning.photons_shape,
        )
    background: Background = UniformLevel(*tuning.levels)
    if tuned:
        background = RandomField(tuning.level, tuning.contrast, tuning.correlation_px)
    # whoever tunes has taken dark frames; whoever does not, reads the data sheet
    read_e = float(np.sqrt(np.mean(np.asarray(world.chip.read_noise_e) ** 2))) if tuned else SHEET_READ_E
    camera = make_camera(
        gain_adu_per_e=float(world.camera.gain_adu_per_e),
        offset_adu=float(world.camera.offset_adu),
        quantum_efficiency=float(world.camera.quantum_efficiency),
        read_noise_e=read_e,
    )
    scene = make_scene(config, world.kind.pixel_um, world.kind.capacity)

    def draw(keys: jax.Array, psf: Psf) -> Frames:
        return simulate(keys, psf, scene, background, camera, differentiable=differentiable)

    return draw


def oracle(world: World, *, differentiable: bool = False) -> Draw:
    """Frames of the experiment itself, behind the mask of the PSF that is asked for."""

    def draw(keys: jax.Array, psf: Psf) -> Frames:
        return in_photons(world, mixed_frames(keys, with_mask(world, psf), differentiable=differentiable))

    return draw


def generated(scenes, *, differentiable: bool = False) -> Draw:
    """Frames of a fitted generator, behind the mask of the PSF that is asked for."""

    def draw(keys: jax.Array, psf: Psf) -> Frames:
        own = replace(scenes.psf, mask=psf.mask)
        return generate(keys, scenes, own, differentiable=differentiable, stray=differentiable)

    return draw


def source(
    arm: str, name: str, world: World, run: RunConfig, tuning: Tuning, learning: Learning, folder: Path
) -> tuple[Draw, dict]:
    """The frames of one arm, and what there is to tell of them."""
    if arm == "oracle":
        return oracle(world), {}
    if arm == "generated":
        scenes, told = learned_scenes(name, world, learning, folder)
        return generated(scenes), {"fit": told}
    return simulated(world, run, tuning, tuned=arm == "tuned"), {"tuning": dataclasses.asdict(tuning)}
