"""A generator fitted to a movie of the simulated experiment: the one place where the other scripts get theirs."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optics import Psf
from training.config import CameraConfig, MaskConfig, MicroscopeConfig, PsfConfig
from training.generator.bound import KlWeights
from training.generator.config import GeneratorConfig
from training.generator.crops import read_crops
from training.generator.draw import DrawSettings, SceneGenerator, make_generator
from training.generator.files import load_generator
from training.generator.fit import FitSettings
from training.generator.model import Branches, GeneratorModel
from training.generator.run import fit_generator
from training.generator.start import generator_psf, make_model
from worlds import ROOT
from worlds.scene_world import BLUR_UM, EFFICIENCY, GAIN, NA, OFFSET, SHEET_READ_E, WAVELENGTH_UM, World, movie

RUNS = ROOT / "runs"
MOVIE_SEED = 11
_ALL_KL = tuple(field.name for field in dataclasses.fields(KlWeights))


@dataclasses.dataclass(frozen=True)
class Learning:
    """How a generator is fitted: to how many frames, for how long, and what is left out."""

    frames: int = 128
    steps: int = 1200
    refine_steps: int = 150
    haze: bool = True
    background: bool = True
    noise: bool = True
    kl: float = 1.0
    places: str = "both"
    jitter_um: float = 0.3
    haze_px: float = 2.5
    cell_px: int = 6
    smooth_px: float = 3.0
    learn_psf: bool = False
    second_look: bool = True
    law: bool = True
    seed: int = 0

    @property
    def label(self) -> str:
        """A name for a folder: what differs from the defaults, but for what only drawing knows."""
        changed = {k: v for k, v in vars(self).items() if v != getattr(Learning(), k)}
        fitted = {k: v for k, v in changed.items() if k not in ("places", "jitter_um", "law")}
        return "-".join(f"{k}={v}" for k, v in sorted(fitted.items())) or "default"


def add_learning(parser: argparse.ArgumentParser) -> None:
    """The arguments that every script shares: how its generator is fitted."""
    default = Learning()
    parser.add_argument("--movie", type=int, default=default.frames, help="frames that the generator is shown")
    parser.add_argument("--fit-steps", type=int, default=default.steps, help="of the generator")
    parser.add_argument("--refine-steps", type=int, default=default.refine_steps)
    parser.add_argument("--haze-px", type=float, default=default.haze_px, help="how sharp its haze may be")
    parser.add_argument("--cell-px", type=int, default=default.cell_px, help="how sharp its background may be")
    parser.add_argument("--smooth-px", type=float, default=default.smooth_px, help="what its templates do not see")
    parser.add_argument("--generators", type=Path, default=RUNS / "scene_generators")


def learning_of(arguments: argparse.Namespace) -> Learning:
    return Learning(
        frames=arguments.movie,
        steps=arguments.fit_steps,
        refine_steps=arguments.refine_steps,
        haze_px=arguments.haze_px,
        cell_px=arguments.cell_px,
        smooth_px=arguments.smooth_px,
    )


def generator_config(world: World, learning: Learning) -> GeneratorConfig:
    """What a laboratory would write down: its optics as calibrated and its camera's data sheet."""
    kind = world.kind
    middle = 0.5 * sum(kind.z_um)
    return GeneratorConfig(
        microscope=MicroscopeConfig(
            na=NA, n_immersion=1.518, n_sample=1.33, wavelength_um=WAVELENGTH_UM, pixel_um=kind.pixel_um,
            focus_um=kind.focus_um,
        ),
        psf=PsfConfig(stamp_px=kind.stamp_px, pixel="integrated", blur_um=BLUR_UM),
        mask=MaskConfig(name="tetrapod", range_um=2.0) if kind.deep else MaskConfig(),
        camera=CameraConfig(
            gain_adu_per_e=GAIN, offset_adu=OFFSET, read_noise_e=SHEET_READ_E, quantum_efficiency=EFFICIENCY
        ),
        photometry="camera",
        z_min_um=kind.z_um[0] if kind.deep else middle,
        z_max_um=kind.z_um[1] if kind.deep else middle,
        crop_px=kind.frame_px,
        crops=learning.frames,
        held_out=0.0,
        slots=kind.capacity,
        haze_px=learning.haze_px,
        cell_px=learning.cell_px,
        smooth_px=learning.smooth_px,
        fit=FitSettings(
            steps=learning.steps,
            refine_steps=learning.refine_steps,
            second_look=learning.second_look,
            kl=KlWeights(**dict.fromkeys(_ALL_KL, learning.kl)),
        ),
        learn_psf=learning.learn_psf,
        branches=Branches(learning.haze, learning.background, learning.noise),
        seed=learning.seed,
    )  # fmt: skip


def generator_path(name: str, learning: Learning, folder: Path) -> Path:
    return folder / f"{name}-{learning.label}"


def learned_scenes(name: str, world: World, learning: Learning, folder: Path) -> tuple[SceneGenerator, dict[str, Any]]:
    """The generator of the world's movie, fitted or read back from `folder`, and what its fit said."""
    config = generator_config(world, learning)
    place = generator_path(name, learning, folder)
    told = fit_generator(config, movie(MOVIE_SEED, world, learning.frames), place, resume=True)
    settings = DrawSettings(places=learning.places, jitter_um=learning.jitter_um)  # pyright: ignore[reportArgumentType]
    scenes = load_generator(place, world.kind.frame_px, settings)
    return (scenes if learning.law else _as_believed(scenes, settings)), told


def _as_believed(scenes: SceneGenerator, settings: DrawSettings) -> SceneGenerator:
    """The same without the movie's law: as many emitters, and as bright, as the fit believes in."""
    return make_generator(
        scenes.fitted, scenes.posteriors, scenes.psf, crop_px=scenes.crop_px,
        frame_px=scenes.frame_px, settings=settings,
    )  # fmt: skip


def model_of(world: World, learning: Learning, psf: Psf | None = None) -> tuple[GeneratorModel, jax.Array]:
    """The scene model with templates and table of `psf` (else the calibrated one); the movie's frames in photons."""
    config = generator_config(world, learning)
    crops = read_crops(config, movie(MOVIE_SEED, world, learning.frames))
    return make_model(config, generator_psf(config) if psf is None else psf, crops), jnp.asarray(
        np.asarray(crops.fit), dtype=float
    )
