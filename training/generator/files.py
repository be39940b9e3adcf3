"""A fitted generator on disk: a folder with its networks, the posteriors of its crops, its PSF and its camera.

Names inside the files are older than those of the classes; this module maps one to the other.
"""

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

from optics import Psf, make_camera
from optics.psf_io import load_psf
from optics.whole_file import whole_file
from training.config import CameraConfig, MicroscopeConfig, RunConfig
from training.generator.config import GeneratorConfig
from training.generator.draw import DrawSettings, EmitterCorrection, SceneGenerator, make_generator
from training.generator.model import FittedModel, GeneratorModel, MovieParameters
from training.generator.posterior import Normal, Posterior, Ranges
from training.settings import ConfigError, from_dict, to_dict

FORMAT = "colocus-generator-3"
SHIPPED = Path(__file__).parent / "shipped"
_AS_IT_IS = DrawSettings()
_LEAVES = {"location": "place", "appearance": "look"}  # leaves of a posterior that bank.npz calls otherwise


@dataclasses.dataclass(frozen=True)
class GeneratorFacts:
    """Contents of generator.json: the configuration of a fitted generator and the ranges of what it draws.

    `camera` turns the movie's counts into photons. `photons` of emitters and `background` of pixels are percentiles 2,
    50 and 98; `counts` are the least, mean and most emitters per crop. Photons and counts are the movie's: `correction`
    leads to them from the emitters of the posteriors.
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
    correction: EmitterCorrection = EmitterCorrection()
    format: str = FORMAT

    @property
    def ranges(self) -> Ranges:
        """Pixel size and depths of the emitters."""
        low, high = self.z_um
        return Ranges(self.config.microscope.pixel_um, (low, high), self.config.is_3d)


def correction_values(correction: EmitterCorrection) -> dict[str, float]:
    """Return the factors of a correction by their names in generator.json and metrics.json."""
    return {"number": correction.number, "light": correction.brightness, "spread": correction.spread}


def facts_to_dict(facts: GeneratorFacts) -> dict[str, Any]:
    """Convert facts to the values of generator.json."""
    values = {"law" if name == "correction" else name: value for name, value in to_dict(facts).items()}
    return {**values, "law": correction_values(facts.correction)}


def _facts(values: dict[str, Any]) -> GeneratorFacts:
    values = dict(values)
    factors = dict(values.pop("law", {}))
    if "light" in factors:
        factors["brightness"] = factors.pop("light")
    return from_dict(GeneratorFacts, {**values, "correction": factors})


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed .npz of float32 and integers, whole or not at all."""
    small = {name: np.asarray(a) for name, a in arrays.items()}
    small = {name: a.astype(np.float32) if a.dtype.kind == "f" else a for name, a in small.items()}
    with whole_file(path) as part:
        np.savez_compressed(part, **small)  # pyright: ignore[reportArgumentType]


def network_arrays(fitted: FittedModel) -> dict[str, Any]:
    """Return the arrays of networks.npz: the networks' variables and the movie's parameters."""
    return {**_flat(fitted.variables, "variables"), **_flat(fitted.movie, "movie")}


def posterior_arrays(posteriors: Posterior) -> dict[str, Any]:
    """Return the arrays of bank.npz that hold posteriors (leaves (F, ...))."""
    leaves = {field.name: getattr(posteriors, field.name) for field in dataclasses.fields(posteriors)}
    return _flat({_LEAVES.get(name, name): leaf for name, leaf in leaves.items()}, "bank")


def _flat(tree: Any, prefix: str) -> dict[str, Any]:
    """Return the leaves of a pytree by their path, `prefix/...`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {f"{prefix}/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Read a file of `write_arrays`. Raises `ConfigError` where it is missing or damaged."""
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
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = jnp.asarray(array, dtype=float)
    return tree


def _posteriors(arrays: dict[str, NDArray]) -> Posterior:
    stored = _nested(arrays, "bank")
    leaves = {f.name: stored.pop(_LEAVES.get(f.name, f.name)) for f in dataclasses.fields(Posterior)}
    if stored:
        raise TypeError(f"unknown arrays bank/{', '.join(stored)}")
    built: Any = {name: Normal(**leaf) if isinstance(leaf, dict) else leaf for name, leaf in leaves.items()}
    return Posterior(**built)


def generator_folder(name: str | os.PathLike, key: str = "generator") -> Path:
    """Find the folder of a generator from a path, with environment variables, or the name of a shipped one."""
    text = os.path.expandvars(os.fspath(name))
    if unset := re.search(r"\$\{?\w+\}?", text):
        raise ConfigError(f"{key} = {os.fspath(name)!r}: the environment variable {unset[0].strip('${}')} is not set")
    folder = Path(text)
    if not folder.exists() and (SHIPPED / text / "generator.json").is_file():
        return SHIPPED / text
    return folder


def load_facts(folder: str | os.PathLike) -> GeneratorFacts:
    """Read the facts of a fitted generator. Raises `ConfigError` for a folder that is none, or not finished."""
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
    return _facts(values)


@dataclasses.dataclass(frozen=True)
class SavedGenerator:
    """Parts of a fitted generator; its model is without templates and table, which drawing does not need."""

    facts: GeneratorFacts
    fitted: FittedModel
    posteriors: Posterior
    psf: Psf


def load_parts(folder: str | os.PathLike) -> SavedGenerator:
    """Read the parts of a fitted generator. Raises `ConfigError`, or `OpticsError` for its PSF."""
    facts, folder = load_facts(folder), generator_folder(folder)
    networks, bank = read_arrays(folder / "networks.npz"), read_arrays(folder / "bank.npz")
    try:
        variables = _nested(networks, "variables")
        movie = MovieParameters(**_nested(networks, "movie"))
        posteriors = _posteriors(bank)
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{folder} holds networks of another version ({error}); fit the generator again") from error
    model = GeneratorModel(
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
    return SavedGenerator(facts, FittedModel(model, variables, movie), posteriors, load_psf(folder / "psf.npz"))


def load_generator(folder: str | os.PathLike, frame_px: int, settings: DrawSettings = _AS_IT_IS) -> SceneGenerator:
    """Load a fitted generator as a source of frames of `frame_px` pixels. Raises `ConfigError`, `OpticsError`.

    >>> load_generator("no-such-folder", 64)
    Traceback (most recent call last):
    training.settings.ConfigError: no-such-folder is no generator (no generator.json): name the folder of colocus ...
    """
    saved = load_parts(folder)
    side = saved.facts.config.crop_px
    if not 8 <= frame_px <= side:
        raise ConfigError(
            f"frame_px = {frame_px} must lie between 8 and {side}, the side of the crops that {folder} was fitted to"
        )
    return make_generator(
        saved.fitted, saved.posteriors, saved.psf,
        crop_px=side, frame_px=frame_px, settings=settings, correction=saved.facts.correction,
    )  # fmt: skip


def check_microscope(microscope: MicroscopeConfig, facts: GeneratorFacts) -> None:
    """Refuse a run whose microscope is not that of a generator's movie (`ConfigError`)."""
    expected = facts.config.microscope
    for field in dataclasses.fields(MicroscopeConfig):
        a, b = getattr(microscope, field.name), getattr(expected, field.name)
        if a != b and (a is None or b is None or not math.isclose(a, b, rel_tol=1e-5)):
            raise ConfigError(
                f"microscope.{field.name} = {a} is not that of scene.generator, {b}; set it so "
                "(the generator's folder has a run.toml that does)"
            )


def with_generator(run: RunConfig, generator: str) -> RunConfig:
    """Set a run's depths, photons, density, background and camera to those of a generator, and train it on its scenes.

    The run is then also scored on such scenes. Raises `ConfigError` where the run's microscope is another one.
    """
    facts = load_facts(generator)
    check_microscope(run.microscope, facts)
    scene = dataclasses.replace(run.scene, generator=generator, **scene_ranges(facts, run.scene.frame_px))
    return dataclasses.replace(run, scene=scene, camera=facts.camera)


def scene_ranges(facts: GeneratorFacts, frame_px: int) -> dict[str, Any]:
    """Return the fields of a `SceneConfig` that a generator sets: counts, depths, photons and background."""
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
