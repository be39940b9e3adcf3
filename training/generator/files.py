"""A fitted generator on disk: a folder with its networks, what it believes about each crop, its PSF and its camera."""

import dataclasses
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nets.dlp import Ranges
from nets.dlp_types import Normal, Posterior
from optics import Psf, make_camera
from optics.psf_io import load_psf
from optics.whole_file import whole_file
from training.config import CameraConfig, MicroscopeConfig, RunConfig
from training.generator.config import GeneratorConfig
from training.generator.draw import DrawSettings, GeneratedScenes, Law, make_scenes
from training.generator.model import Movie, SceneModel, Variables
from training.settings import ConfigError, from_dict

FORMAT = "colocus-generator-3"
SHIPPED = Path(__file__).parent / "shipped"
_AS_IT_IS = DrawSettings()
_NORMALS = ("place", "haze", "look", "background", "noise")


@dataclasses.dataclass(frozen=True)
class GeneratorFacts:
    """What a fitted generator says of itself (generator.json), beyond its configuration.

    `camera` turns the movie's counts into photons. `photons`, `background`: low, middle, high (percentiles 2, 50, 98)
    of emitters and of pixels; `counts` least, mean and most emitters a crop; both of the movie's emitters, which differ
    from those that the posteriors believe in by `law`.
    """

    config: GeneratorConfig
    camera: CameraConfig
    z_um: tuple[float, ...]
    level: float
    radius_px: int
    block_px: int
    photons: tuple[float, ...]
    background: tuple[float, ...]
    counts: tuple[float, ...]
    law: Law = Law()
    format: str = FORMAT

    @property
    def ranges(self) -> Ranges:
        """Where particles may be."""
        low, high = self.z_um
        return Ranges(self.config.microscope.pixel_um, (low, high), self.config.deep)


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed .npz of float32 and integers, whole or not at all."""
    small = {name: np.asarray(a) for name, a in arrays.items()}
    small = {name: a.astype(np.float32) if a.dtype.kind == "f" else a for name, a in small.items()}
    with whole_file(path) as part:
        np.savez_compressed(part, **small)  # pyright: ignore[reportArgumentType]


def flat(tree: Any, prefix: str) -> dict[str, Any]:
    """The leaves of a pytree by their path, `prefix/...`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {f"{prefix}/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The arrays of a file of `write_arrays`. Raises `ConfigError` where it is missing or damaged."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever a broken file makes the reader trip over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path} cannot be read ({reason}); fit the generator again") from error


def _nested(arrays: dict[str, NDArray], prefix: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        if name.startswith(prefix + "/"):
            *parents, leaf = name.removeprefix(prefix + "/").split("/")
            place = tree
            for parent in parents:
                place = place.setdefault(parent, {})
            place[leaf] = jnp.asarray(array, dtype=float)
    return tree


def _posterior(arrays: dict[str, NDArray]) -> Posterior:
    parts = _nested(arrays, "bank")
    filled: dict[str, Any] = {name: Normal(**part) if name in _NORMALS else part for name, part in parts.items()}
    return Posterior(**filled)


def generator_folder(name: str | os.PathLike, key: str = "generator") -> Path:
    """The folder that a path, with environment variables, or the name of a shipped generator stands for."""
    text = os.path.expandvars(os.fspath(name))
    if unset := re.search(r"\$\{?\w+\}?", text):
        raise ConfigError(f"{key} = {os.fspath(name)!r}: the environment variable {unset[0].strip('${}')} is not set")
    folder = Path(text)
    if not folder.exists() and (SHIPPED / text / "generator.json").is_file():
        return SHIPPED / text
    return folder


def load_facts(folder: str | os.PathLike) -> GeneratorFacts:
    """What a generator's folder says of itself. Raises `ConfigError` where it is none, or not finished."""
    folder = generator_folder(folder)
    path = folder / "generator.json"
    if not path.is_file():
        begun = (folder / "config.json").is_file() and (folder / "log.jsonl").is_file()
        remedy = "it is not finished; go on with --resume" if begun else "name the folder of colocus generate fit"
        raise ConfigError(f"{folder} is no generator (no generator.json): {remedy}")
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); fit the generator again") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ConfigError(f"{path} is not of the format {FORMAT}; update Colocus, or fit the generator again")
    return from_dict(GeneratorFacts, values)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """The parts of a fitted generator; `model` without templates and table, which drawing does not need."""

    facts: GeneratorFacts
    model: SceneModel
    variables: Variables
    movie: Movie
    bank: Posterior
    psf: Psf


def load_fitted(folder: str | os.PathLike) -> Fitted:
    """Read a generator back. Raises `ConfigError`, or `OpticsError` for its PSF."""
    facts, folder = load_facts(folder), generator_folder(folder)
    networks, bank = read_arrays(folder / "networks.npz"), read_arrays(folder / "bank.npz")
    try:
        variables = _nested(networks, "variables")
        movie = Movie(**_nested(networks, "movie"))
        posterior = _posterior(bank)
    except TypeError as error:
        raise ConfigError(f"{folder} holds networks of another version ({error}); fit the generator again") from error
    model = SceneModel(
        templates=None,  # pyright: ignore[reportArgumentType]  (proposals are made when a movie is read)
        table=None,  # pyright: ignore[reportArgumentType]  (emitters are drawn by the PSF itself)
        camera=make_camera(**dataclasses.asdict(facts.camera)),
        level=jnp.asarray(facts.level, dtype=float),
        config=facts.config.networks(),
        ranges=facts.ranges,
        branches=facts.config.branches,
        radius_px=facts.radius_px,
        block_px=facts.block_px,
    )
    return Fitted(facts, model, variables, movie, posterior, load_psf(folder / "psf.npz"))


def load_scenes(folder: str | os.PathLike, frame_px: int, settings: DrawSettings = _AS_IT_IS) -> GeneratedScenes:
    """A fitted generator as a source of frames of `frame_px`. Raises `ConfigError`, `OpticsError`.

    >>> load_scenes("no-such-folder", 64)
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-folder is no generator (no generator.json): name the folder of colocus ...
    """
    fitted = load_fitted(folder)
    side = fitted.facts.config.crop_px
    if not 8 <= frame_px <= side:
        raise ConfigError(
            f"frame_px = {frame_px} must lie between 8 and {side}, the side of the crops that {folder} was fitted to"
        )
    return make_scenes(
        fitted.model, fitted.variables, fitted.movie, fitted.bank, fitted.psf,
        bank_px=side, frame_px=frame_px, settings=settings, law=fitted.facts.law,
    )  # fmt: skip


def check_microscope(microscope: MicroscopeConfig, facts: GeneratorFacts) -> None:
    """Refuse a run whose microscope is not the one that a generator's movie was taken with (`ConfigError`)."""
    theirs = facts.config.microscope
    for field in dataclasses.fields(MicroscopeConfig):
        a, b = getattr(microscope, field.name), getattr(theirs, field.name)
        if a != b and (a is None or b is None or not math.isclose(a, b, rel_tol=1e-5)):
            raise ConfigError(
                f"microscope.{field.name} = {a} is not that of scene.generator, {b}; set it so "
                "(the generator's folder has a run.toml that does)"
            )


def with_generator(run: RunConfig, generator: str) -> RunConfig:
    """A run on a generator's scenes: its depths, light, density and camera, so that scores are asked where it learns.

    Raises `ConfigError` where the run's microscope is another one.
    """
    facts = load_facts(generator)
    check_microscope(run.microscope, facts)
    scene = dataclasses.replace(run.scene, generator=generator, **scene_ranges(facts, run.scene.frame_px))
    return dataclasses.replace(run, scene=scene, camera=facts.camera)


def scene_ranges(facts: GeneratorFacts, frame_px: int) -> dict[str, Any]:
    """The fields of a `SceneConfig` that say what a generator shows."""
    share = min(1.0, (frame_px / facts.config.crop_px) ** 2)
    background = tuple(max(b, 0.0) for b in facts.background)
    return {
        "count_min": 1,
        "count_max": max(1, math.ceil(facts.counts[2] * share)),
        "z_min_um": facts.config.z_min_um,
        "z_max_um": facts.config.z_max_um,
        "margin_um": 0.0,
        "photons": "uniform",
        "photons_min": facts.photons[0],
        "photons_max": facts.photons[2],
        "background": "uniform",
        "background_min": background[0],
        "background_max": background[2],
    }
