"""Labelled frames out of a fitted scene model: surroundings as some frame had them, emitters drawn anew.

Nothing is stored: a frame is drawn on the device from its key, as a simulated one is. Its surroundings (haze,
background, read noise) are a draw from what is believed about one frame of the movie, turned or mirrored and cut; its
emitters follow the movie's own number, brightness and depth, or are told otherwise, so that what the model could not
explain at an old emitter's place does not sit under a new one.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nets.dlp_types import Draw, Posterior
from optics import Camera, Emitters, Psf, adu_to_photons, render_scenes, sample_camera, sample_camera_differentiable
from optics.pytree import pytree, replace, static
from training.generator.model import Movie, SceneModel, Variables, least_read_e2, sample_posterior, surroundings
from training.scenes import Frames

_KEPT = 0.5  # probability from which a slot counts as an emitter of the movie
_LOG_JITTER = 0.15  # of a drawn brightness: the pool holds estimates of some hundred emitters, not the law itself


@dataclasses.dataclass(frozen=True)
class Law:
    """What a movie's emitters are over those that the fit believes in: factors of their number, of their median
    brightness and of the spread of its logarithm (`training.scene_law`)."""

    number: float = 1.0
    light: float = 1.0
    spread: float = 1.0

    def of_movie(self, log_photons: NDArray) -> NDArray:
        """Log photons (M,) of the movie's emitters from those that are believed in."""
        middle = log_photons.mean()
        return middle + math.log(self.light) + self.spread * (log_photons - middle)


_AS_BELIEVED = Law()


@dataclasses.dataclass(frozen=True)
class DrawSettings:
    """How drawn scenes differ from the movie's.

    `density` and `brightness` multiply the movie's own. `places` "near" lays emitters around those of the frame, with a
    spread of `jitter_um`; "even" anywhere; "both" does each in half of the frames. `depths` "even" spreads them over
    the range, "movie" keeps the movie's depths with their brightness.
    """

    density: float = 1.0
    brightness: float = 1.0
    places: Literal["near", "even", "both"] = "both"
    jitter_um: float = 0.3
    depths: Literal["even", "movie"] = "even"


@pytree
class GeneratedScenes:
    """A fitted scene model as a source of frames; made by `make_scenes`.

    `bank` has leaves (F, ...). `pool` (M, 2): log photons and z of the movie's emitters, `counts` (F,) how many are
    expected in each frame. `psf` is the movie's own, as fitted. `density`, `brightness`, `jitter_um` and `even_share`
    (of frames with emitters anywhere) are data.
    """

    model: SceneModel
    variables: Variables
    movie: Movie
    bank: Posterior
    pool: jax.Array
    counts: jax.Array
    psf: Psf
    density: jax.Array
    brightness: jax.Array
    jitter_um: jax.Array
    even_share: jax.Array
    bank_px: int = static()
    frame_px: int = static()
    capacity: int = static()
    depths: str = static()


def make_scenes(
    model: SceneModel,
    variables: Variables,
    movie: Movie,
    bank: Posterior,
    psf: Psf,
    *,
    bank_px: int,
    frame_px: int,
    settings: DrawSettings = DrawSettings(),
    law: Law = _AS_BELIEVED,
    most: float | None = None,
) -> GeneratedScenes:
    """A source of frames of `frame_px`, cut from crops of `bank_px`; `law` says how the movie's emitters differ from
    those that `bank` believes in. There is room for `most` (by default `law.number`) times as many as it believes
    in: the room is a shape, and laws with the same room share one compiled program. Raises `ValueError` where it
    believes in none."""
    kept = np.asarray(jax.nn.sigmoid(bank.presence)) > _KEPT
    place = np.asarray(bank.place.mean)
    depth = np.asarray(model.ranges.depth_um(place[..., 2]))
    if not kept.any():
        raise ValueError("no frame has an emitter that the model believes in: nothing to draw brightness from")
    counts = law.number * kept.sum(axis=1)
    share = min(1.0, (frame_px / bank_px) ** 2)
    fullest = float(kept.sum(axis=1).max()) * (law.number if most is None else most) * settings.density * share
    return GeneratedScenes(
        model=model,
        variables=variables,
        movie=movie,
        bank=bank,
        pool=jnp.asarray(np.stack([law.of_movie(place[kept][:, 3]), depth[kept]], axis=1)),
        counts=jnp.asarray(counts),
        psf=psf,
        density=jnp.asarray(settings.density, dtype=float),
        brightness=jnp.asarray(settings.brightness, dtype=float),
        jitter_um=jnp.asarray(settings.jitter_um, dtype=float),
        even_share=jnp.asarray({"near": 0.0, "even": 1.0, "both": 0.5}[settings.places]),
        bank_px=bank_px,
        frame_px=frame_px,
        # three deviations of a Poisson law above the most
        capacity=max(4, math.ceil(fullest + 3 * math.sqrt(fullest) + 1)),
        depths=settings.depths,
    )


@pytree
class DrawnScene:
    """One scene: its emitters, and (H, W) the light around them in photons and the read variance over the camera's."""

    emitters: Emitters
    level: jax.Array
    read_scale: jax.Array


def draw_scene(key: jax.Array, scenes: GeneratedScenes) -> DrawnScene:
    """Draw one labelled scene of `frame_px` pixels."""
    keys = jax.random.split(key, 3)
    # few draws of many numbers: each generator takes half a second to compile
    share = jax.random.uniform(keys[0], (6,))
    index = _pick(share[0], len(scenes.counts))
    posterior = jax.tree.map(lambda leaf: leaf[index], scenes.bank)
    draw = sample_posterior(keys[1], scenes.model, posterior)
    whole = (scenes.bank_px, scenes.bank_px)
    haze, background, read_scale = surroundings(scenes.model, scenes.variables, scenes.movie, draw, whole)
    turn = _pick(share[1:4], 2)  # one of the eight turns and mirrors of a square
    corner = _pick(share[4:], scenes.bank_px - scenes.frame_px + 1)  # column and row that the frame begins at
    level, read_scale = (_turned(part, turn) for part in (haze + background, read_scale))
    size = (scenes.frame_px, scenes.frame_px)
    level, read_scale = (jax.lax.dynamic_slice(part, (corner[1], corner[0]), size) for part in (level, read_scale))
    emitters = _draw_emitters(keys[2], scenes, draw, scenes.counts[index], turn, corner)
    return DrawnScene(emitters, level, read_scale)


def _pick(share: jax.Array, count: int) -> jax.Array:
    """0...count - 1, each as likely, of numbers that are even in 0...1."""
    return jnp.floor(share * count).astype(int)


def _turned(image: jax.Array, turn: jax.Array) -> jax.Array:
    """Mirrored in x and y, then transposed, where the bits of `turn` (3,) say so."""
    image = jnp.where(turn[0] > 0, image[:, ::-1], image)
    image = jnp.where(turn[1] > 0, image[::-1], image)
    return jnp.where(turn[2] > 0, image.T, image)


def _turned_places(xy_um: jax.Array, turn: jax.Array, side_um: jax.Array | float) -> jax.Array:
    xy_um = jnp.where(turn[:2] > 0, side_um - xy_um, xy_um)
    return jnp.where(turn[2] > 0, xy_um[:, ::-1], xy_um)


def _draw_emitters(
    key: jax.Array, scenes: GeneratedScenes, draw: Draw, count: jax.Array, turn: jax.Array, corner: jax.Array
) -> Emitters:
    """New emitters for the part of a frame that is shown."""
    key_number, key_even, key_normal = jax.random.split(key, 3)
    n, pixel_um = scenes.capacity, scenes.model.ranges.pixel_um
    side_um = scenes.frame_px * pixel_um
    share = (scenes.frame_px / scenes.bank_px) ** 2
    number = jax.random.poisson(key_number, jnp.maximum(count, 0.5) * scenes.density * share)
    even = jax.random.uniform(key_even, (5 * n + 1,))
    x, y, own_share, pool_share, depth_share = even[1:].reshape(5, n)
    normal = jax.random.normal(key_normal, (3 * n,)).reshape(3, n)
    anywhere = jnp.stack([x, y], axis=1) * side_um
    # near one of the frame's own emitters, chosen by how sure the model is of them
    sure = jnp.cumsum(draw.presence + 1e-6)
    chosen = jnp.searchsorted(sure, own_share * sure[-1], side="right", method="compare_all")
    chosen = jnp.minimum(chosen, len(sure) - 1)
    own = _turned_places(draw.xyz_um[:, :2], turn, scenes.bank_px * pixel_um) - corner * pixel_um
    near = own[chosen] + scenes.jitter_um * normal[:2].T
    inside = jnp.all((near >= 0) & (near < side_um), axis=1, keepdims=True)
    xy_um = jnp.where((even[0] < scenes.even_share) | ~inside, anywhere, near)
    log_photons, z_pool = scenes.pool[_pick(pool_share, len(scenes.pool))].T
    light = jnp.exp(log_photons + _LOG_JITTER * normal[2])
    low, high = scenes.model.ranges.z_um
    z = low + (high - low) * depth_share if scenes.depths == "even" else z_pool
    if not scenes.model.ranges.deep:
        z = jnp.full((n,), 0.5 * (low + high))
    return Emitters(
        xyz_um=jnp.concatenate([xy_um, z[:, None]], axis=1),
        photons=scenes.brightness * light,
        valid=jnp.arange(n) < number,
    )


def generate(
    keys: jax.Array,
    scenes: GeneratedScenes,
    psf: Psf,
    *,
    differentiable: bool = False,
    stray: bool = False,
    chunk: int = 32,
) -> Frames:
    """Draw one frame per key: scenes through `psf`, read by the movie's camera, back in photons.

    `differentiable` as in `training.scenes.simulate`. With `stray`, light that leaves the stamps comes back as an even
    background, as there: for a mask that is learned; the movie's own background holds that of its own mask.
    """
    keys_scene, keys_camera = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    drawn = jax.vmap(lambda key: draw_scene(key, scenes))(keys_scene)
    shape = (scenes.frame_px, scenes.frame_px)
    light, lost = render_scenes(psf, drawn.emitters, shape, chunk=chunk)
    level = drawn.level + (lost[:, None, None] / scenes.frame_px**2 if stray else 0.0)
    sample = sample_camera_differentiable if differentiable else sample_camera
    images = jax.vmap(lambda key, rate, scale: _read(key, scenes, rate, scale, sample))(
        keys_camera, light + level, drawn.read_scale
    )
    return Frames(images=images, emitters=drawn.emitters, background=level)


def _read(key: jax.Array, scenes: GeneratedScenes, rate: jax.Array, read_scale: jax.Array, sample) -> jax.Array:
    """One reading, in photons, with the noise that the movie showed: a gain off by g makes shot noise of g rate."""
    gain = jnp.exp(scenes.movie.log_gain)
    camera: Camera = scenes.model.camera
    read_e = jnp.sqrt(least_read_e2(camera) * read_scale) * camera.em_gain
    own = replace(camera, read_noise_e=read_e / gain)
    return gain * adu_to_photons(own, sample(key, own, rate / gain))
