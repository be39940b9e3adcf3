"""`colocus generate sample`: labelled frames of a fitted generator as TIFF and a table."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tifffile
from numpy.typing import NDArray

from localization import Localizations, TableWriter, make_localizations
from optics import Camera, make_camera
from optics.bounds.fisher import bound_std, information
from optics.camera import photons_to_adu
from optics.progress import Event, Report, silent
from optics.psf_table import PsfTable, evaluate, tabulate_psf
from optics.whole_file import whole_files, write_text
from training import CameraConfig, ConfigError, to_dict
from training.generator.draw import DrawSettings, SceneGenerator, generate
from training.generator.files import load_facts, load_generator
from training.generator.model import photon_variance
from training.generator.start import depth_range
from training.run_folder import check_folder
from training.scenes import Frames, frame_keys

_LEAST_COUNTS = 0.5  # counts a photon: below, rounding to whole counts would add noise
_PLAIN = CameraConfig(offset_adu=100.0)


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """How many frames, and how they differ from the movie's; see `training.generator.draw.DrawSettings`.

    `frame_px` 0: the size of the crops.
    """

    frames: int = 1000
    seed: int = 0
    frame_px: int = 0
    density: float = 1.0
    brightness: float = 1.0
    places: Literal["near", "even", "both"] = "both"
    depths: Literal["even", "movie"] = "even"
    jitter_um: float = 0.3
    batch: int = 16

    def __post_init__(self):
        for name in ("frames", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("density", "brightness"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} = {getattr(self, name)} must be positive")
        if self.jitter_um < 0:
            raise ConfigError(f"jitter_um = {self.jitter_um} must not be negative")


@dataclasses.dataclass(frozen=True)
class Sampled:
    """What was written into the folder `out`: frames, emitters in all, and notes."""

    out: Path
    frames: int
    emitters: int
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say what was written."""
        files = f"{self.out / 'frames.tif'}, localizations.csv"
        return [*(f"- {note}" for note in self.notes), f"{self.frames} frames with {self.emitters} emitters: {files}"]

    def numbers(self) -> dict[str, Any]:
        """List what was written."""
        return {"frames": self.frames, "emitters": self.emitters, "notes": list(self.notes)}


def generate_sample(
    generator: str | Path, out: Path | str, config: SampleConfig = SampleConfig(), report: Report = silent
) -> Sampled:
    """Write labelled frames of a generator into the folder `out`.

    These are `frames.tif` (camera counts), `localizations.csv` (the truth), `camera.toml` and `config.json`. The table
    has frame, x, y, z, photons, the background at each emitter (photons per pixel) and, as uncertainty, the
    Cramer-Rao bound of an emitter alone there with this camera. The same seed gives the same files. Raises
    `ConfigError` for a folder that holds a run already, or no generator.
    """
    out = Path(out)
    check_folder(out, unused=True)
    facts = load_facts(generator)
    draw = DrawSettings(config.density, config.brightness, config.places, config.jitter_um, config.depths)
    scenes = load_generator(generator, config.frame_px or facts.config.crop_px, draw)
    counts_of, camera, notes = written_camera(facts.camera)
    table = tabulate_psf(scenes.psf, depth_range(facts.config, scenes.psf), reach_px=0.5)
    side, total = scenes.frame_px, config.frames
    emitters = 0

    def batches(writer: TableWriter) -> Iterator[NDArray[np.uint16]]:
        nonlocal emitters
        for first, frames, bounds in draw_batches(scenes, table, config):
            locs = truth_table(frames, bounds, first, float(facts.config.microscope.pixel_um))
            writer.append(locs)
            emitters += locs.frame.size
            counts = np.asarray(counts_of(frames.images))
            yield from np.clip(np.round(counts), 0, 65535).astype(np.uint16)
            report(Event("frame", min(first + config.batch, total), total))

    with whole_files(out, last="config.json") as part:
        with TableWriter(part / "localizations.csv", format="thunderstorm") as writer:
            tifffile.imwrite(
                part / "frames.tif", batches(writer), shape=(total, side, side), dtype=np.uint16,
                photometric="minisblack", compression="zlib", bigtiff=total * side**2 > 2**30,
            )  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in to_dict(camera).items() if value is not None]
        write_text(part / "camera.toml", "\n".join(lines) + "\n")
        written = {"generator": str(Path(generator).absolute()), "sample": to_dict(config), "camera": to_dict(camera)}
        write_text(part / "config.json", json.dumps(written, indent=1) + "\n")
    return Sampled(out, total, emitters, (*notes, *writer.notes))


def written_camera(camera: CameraConfig) -> tuple[Callable[[jax.Array], jax.Array], CameraConfig, tuple[str, ...]]:
    """Choose a file's counts: those of the movie's camera, or of a plain one where that has too few."""
    per_photon = camera.gain_adu_per_e * (camera.em_gain or 1.0) * camera.quantum_efficiency
    notes = ()
    if per_photon < _LEAST_COUNTS or camera == CameraConfig():
        camera = dataclasses.replace(_PLAIN, read_noise_e=camera.read_noise_e)
        notes = ("Frames are written with one count a photon above 100: see camera.toml.",)
    built = make_camera(**dataclasses.asdict(camera))
    return lambda photons: photons_to_adu(built, photons), camera, notes


def draw_batches(
    scenes: SceneGenerator, table: PsfTable, config: SampleConfig
) -> Iterator[tuple[int, Frames, NDArray]]:
    """Draw batches of frames with the number of their first, and the emitters' bounds (B, N, 3) in um."""
    key = jax.random.key(config.seed)
    for first in range(0, config.frames, config.batch):
        frames = _draw(frame_keys(key, first, config.batch), scenes)
        bounds = np.asarray(_bounds(scenes, table, frames))
        count = min(config.batch, config.frames - first)
        yield first, jax.tree.map(lambda leaf: leaf[:count], frames), bounds[:count]  # noqa: B023


@jax.jit
def _draw(keys: jax.Array, scenes: SceneGenerator) -> Frames:
    return generate(keys, scenes, scenes.psf)


@jax.jit
def _bounds(scenes: SceneGenerator, table: PsfTable, frames: Frames) -> jax.Array:
    """Compute the Cramer-Rao bound of each emitter alone, as standard deviations (B, N, 3) of x, y and z.

    Photons and an even background are unknown. Without depth z does not count, and its deviation is 0.
    """
    camera: Camera = scenes.fitted.model.camera
    ranges = scenes.fitted.model.ranges
    pixel_um, is_3d = ranges.pixel_um, ranges.is_3d

    def one(xyz_um: jax.Array, photons: jax.Array, level: jax.Array) -> jax.Array:
        offset = jnp.mod(xyz_um[:2], pixel_um) - 0.5 * pixel_um  # a stamp's centre is a pixel's
        z = jnp.clip(xyz_um[2], table.z_range_um[0], table.z_range_um[1])
        image, *slopes = evaluate(table, jnp.concatenate([offset, z[None]]))
        used = slopes if is_3d else slopes[:2]
        by = jnp.stack([*(photons * s for s in used), image, jnp.ones_like(image)])
        movie = scenes.fitted.movie
        variance = photon_variance(camera, photons * image + level, movie.log_gain, jnp.exp(movie.log_read))
        std = bound_std(information(by, variance))
        return std[:3] if is_3d else jnp.concatenate([std[:2], jnp.zeros(1)])

    place = jnp.clip(jnp.floor(frames.emitters.xyz_um[..., :2] / pixel_um).astype(int), 0, scenes.frame_px - 1)
    level = jax.vmap(lambda image, at: image[at[:, 1], at[:, 0]])(frames.background, place)
    return jax.lax.map(
        lambda item: jax.vmap(one)(*item), (frames.emitters.xyz_um, frames.emitters.photons, level), batch_size=4
    )


def truth_table(frames: Frames, bounds: NDArray, first: int, pixel_um: float) -> Localizations:
    """List what frames show, with the background at each emitter and its bound as uncertainty."""
    frame, slot = np.nonzero(np.asarray(frames.emitters.valid))
    xyz = np.asarray(frames.emitters.xyz_um, np.float64)[frame, slot]
    column, row = np.clip(np.floor(xyz[:, :2] / pixel_um).astype(int), 0, frames.background.shape[1] - 1).T
    std = bounds[frame, slot]
    return make_localizations(
        first + frame,
        *xyz.T,
        photons=np.asarray(frames.emitters.photons)[frame, slot],
        background=np.asarray(frames.background)[frame, row, column],
        sigma_x_um=std[:, 0],
        sigma_y_um=std[:, 1],
        sigma_z_um=np.where(std[:, 2] > 0, std[:, 2], np.nan),
    )
