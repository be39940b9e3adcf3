"""Draw labelled frames from a fitted generator: the surroundings of a frame of the movie, with new emitters.

Nothing is stored: a frame is drawn on the device from its key, as a simulated one is. Its surroundings (haze,
background, read noise) are a sample of the posterior of one frame of the movie, turned or mirrored and cut. Its
emitters are new; their number, brightness and depth follow the movie or the settings. So light that the model could
not explain at the place of an old emitter does not lie under a new one.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from optics import Camera, Emitters, Psf, adu_to_photons, render_scenes, sample_camera, sample_camera_differentiable
from optics.pytree import pytree, replace, static
from training.generator.model import FittedModel, reference_read_e2, render_surroundings
from training.generator.posterior import Posterior, Sample, sample_posterior
from training.scenes import Frames

PRESENT = 0.5  # probability from which a slot counts as an emitter of the movie
_LOG_JITTER = 0.15  # of a drawn brightness: the pool holds estimates of some hundred emitters, not their distribution


@dataclasses.dataclass(frozen=True)
class EmitterCorrection:
    """Factors from the emitters that a fit infers to those of the movie (`training.generator.statistics`).

    `number` multiplies their number, `brightness` their median photons, `spread` the spread of their log photons.
    """

    number: float = 1.0
    brightness: float = 1.0
    spread: float = 1.0

    def correct(self, log_photons: NDArray) -> NDArray:
        """Correct the log photons (M,) of inferred emitters.

        >>> np.exp(EmitterCorrection(brightness=2.0).correct(np.log([100.0, 300.0]))).round(6)
        array([200., 600.])
        """
        middle = log_photons.mean()
        return middle + math.log(self.brightness) + self.spread * (log_photons - middle)


_UNCORRECTED = EmitterCorrection()


@dataclasses.dataclass(frozen=True)
class DrawSettings:
    """How drawn scenes differ from the movie's.

    `density` and `brightness` multiply the movie's own. `places` "near" puts emitters around those of the movie's
    frame, with a spread of `jitter_um`; "even" puts them anywhere; "both" does each in half of the frames. `depths`
    "even" spreads them over the range, "movie" keeps each depth with its brightness.
    """

    density: float = 1.0
    brightness: float = 1.0
    places: Literal["near", "even", "both"] = "both"
    jitter_um: float = 0.3
    depths: Literal["even", "movie"] = "even"


@pytree
class SceneGenerator:
    """A fitted generator as a source of frames; made by `make_generator`.

    `posteriors` of the F crops have leaves (F, ...). `pool` (M, 2) has log photons and z of the movie's emitters,
    `counts` (F,) the expected number in each crop. `psf` is the movie's, as fitted. `even_share` is the share of frames
    with emitters anywhere. Crops have `crop_px`, frames `frame_px` pixels a side; a frame has at most `capacity`
    emitters.
    """

    fitted: FittedModel
    posteriors: Posterior
    pool: jax.Array
    counts: jax.Array
    psf: Psf
    density: jax.Array
    brightness: jax.Array
    jitter_um: jax.Array
    even_share: jax.Array
    crop_px: int = static()
    frame_px: int = static()
    capacity: int = static()
    depths: str = static()


def make_generator(
    fitted: FittedModel,
    posteriors: Posterior,
    psf: Psf,
    *,
    crop_px: int,
    frame_px: int,
    settings: DrawSettings = DrawSettings(),
    correction: EmitterCorrection = _UNCORRECTED,
    largest: float | None = None,
) -> SceneGenerator:
    """Build a source of frames of `frame_px` pixels, cut from the crops of `crop_px` pixels that were fitted.

    `correction` turns the emitters of `posteriors` into those of the movie. `largest` (by default
    `correction.number`) sets the emitter capacity, a static shape: generators that differ only in their correction
    share one compiled program if it is the same. Raises `ValueError` where no crop has an emitter.
    """
    present = np.asarray(jax.nn.sigmoid(posteriors.presence)) > PRESENT
    location = np.asarray(posteriors.location.mean)
    depth = np.asarray(fitted.model.ranges.depth_um(location[..., 2]))
    if not present.any():
        raise ValueError("no frame has an emitter that the model finds: there is no brightness to draw from")
    share = min(1.0, (frame_px / crop_px) ** 2)
    factor = correction.number if largest is None else largest
    fullest = float(present.sum(axis=1).max()) * factor * settings.density * share
    return SceneGenerator(
        fitted=fitted,
        posteriors=posteriors,
        pool=jnp.asarray(np.stack([correction.correct(location[present][:, 3]), depth[present]], axis=1)),
        counts=jnp.asarray(correction.number * present.sum(axis=1)),
        psf=psf,
        density=jnp.asarray(settings.density, dtype=float),
        brightness=jnp.asarray(settings.brightness, dtype=float),
        jitter_um=jnp.asarray(settings.jitter_um, dtype=float),
        even_share=jnp.asarray({"near": 0.0, "even": 1.0, "both": 0.5}[settings.places]),
        crop_px=crop_px,
        frame_px=frame_px,
        # three deviations of a Poisson distribution above its largest mean
        capacity=max(4, math.ceil(fullest + 3 * math.sqrt(fullest) + 1)),
        depths=settings.depths,
    )


@pytree
class GeneratedScene:
    """One scene: its emitters, the `background` (H, W) around them in photons, and `read_scale` (H, W), the read
    variance over the camera's."""

    emitters: Emitters
    background: jax.Array
    read_scale: jax.Array


def generate_scene(key: jax.Array, generator: SceneGenerator) -> GeneratedScene:
    """Draw one labelled scene of `frame_px` pixels."""
    keys = jax.random.split(key, 3)
    # few draws of many numbers: each generator of random numbers takes half a second to compile
    uniform = jax.random.uniform(keys[0], (6,))
    index = _pick(uniform[0], len(generator.counts))
    posterior = jax.tree.map(lambda leaf: leaf[index], generator.posteriors)
    sample = sample_posterior(keys[1], generator.fitted.model.ranges, posterior)
    haze, background, read_scale = render_surroundings(generator.fitted, sample, (generator.crop_px, generator.crop_px))
    turn = _pick(uniform[1:4], 2)  # one of the eight turns and mirrors of a square
    corner = _pick(uniform[4:], generator.crop_px - generator.frame_px + 1)  # column and row where the frame starts
    size = (generator.frame_px, generator.frame_px)
    background, read_scale = (
        jax.lax.dynamic_slice(_turned(part, turn), (corner[1], corner[0]), size)
        for part in (haze + background, read_scale)
    )
    emitters = _draw_emitters(keys[2], generator, sample, generator.counts[index], turn, corner)
    return GeneratedScene(emitters, background, read_scale)


def _pick(uniform: jax.Array, count: int) -> jax.Array:
    """Turn numbers that are even in 0...1 into equally likely integers 0...count - 1."""
    return jnp.floor(uniform * count).astype(int)


def _turned(image: jax.Array, turn: jax.Array) -> jax.Array:
    """Mirror an image in x and y, then transpose it, where the bits of `turn` (3,) are set."""
    image = jnp.where(turn[0] > 0, image[:, ::-1], image)
    image = jnp.where(turn[1] > 0, image[::-1], image)
    return jnp.where(turn[2] > 0, image.T, image)


def _turned_xy(xy_um: jax.Array, turn: jax.Array, side_um: jax.Array | float) -> jax.Array:
    """Turn positions (N, 2) as `_turned` turns their image of `side_um`."""
    xy_um = jnp.where(turn[:2] > 0, side_um - xy_um, xy_um)
    return jnp.where(turn[2] > 0, xy_um[:, ::-1], xy_um)


def _draw_emitters(
    key: jax.Array, generator: SceneGenerator, sample: Sample, count: jax.Array, turn: jax.Array, corner: jax.Array
) -> Emitters:
    """Draw new emitters for the part of a crop that the frame shows."""
    key_number, key_uniform, key_normal = jax.random.split(key, 3)
    n, ranges = generator.capacity, generator.fitted.model.ranges
    side_um = generator.frame_px * ranges.pixel_um
    shown = (generator.frame_px / generator.crop_px) ** 2
    number = jax.random.poisson(key_number, jnp.maximum(count, 0.5) * generator.density * shown)
    uniform = jax.random.uniform(key_uniform, (5 * n + 1,))
    x, y, choice, pool_choice, depth_share = uniform[1:].reshape(5, n)
    normal = jax.random.normal(key_normal, (3 * n,)).reshape(3, n)
    anywhere = jnp.stack([x, y], axis=1) * side_um
    # near one of the crop's own emitters, chosen by the probability that it exists
    cumulative = jnp.cumsum(sample.presence + 1e-6)
    chosen = jnp.searchsorted(cumulative, choice * cumulative[-1], side="right", method="compare_all")
    chosen = jnp.minimum(chosen, len(cumulative) - 1)
    own = _turned_xy(sample.xyz_um[:, :2], turn, generator.crop_px * ranges.pixel_um) - corner * ranges.pixel_um
    near = own[chosen] + generator.jitter_um * normal[:2].T
    inside = jnp.all((near >= 0) & (near < side_um), axis=1, keepdims=True)
    xy_um = jnp.where((uniform[0] < generator.even_share) | ~inside, anywhere, near)
    log_photons, z_pool = generator.pool[_pick(pool_choice, len(generator.pool))].T
    photons = jnp.exp(log_photons + _LOG_JITTER * normal[2])
    low, high = ranges.z_um
    z = low + (high - low) * depth_share if generator.depths == "even" else z_pool
    if not ranges.is_3d:
        z = jnp.full((n,), 0.5 * (low + high))
    return Emitters(
        xyz_um=jnp.concatenate([xy_um, z[:, None]], axis=1),
        photons=generator.brightness * photons,
        valid=jnp.arange(n) < number,
    )


def generate(
    keys: jax.Array,
    generator: SceneGenerator,
    psf: Psf,
    *,
    differentiable: bool = False,
    stray: bool = False,
    chunk: int = 32,
) -> Frames:
    """Draw one frame per key (B,): scenes through `psf`, read by the movie's camera, in photons.

    `differentiable` as in `training.scenes.simulate`. With `stray`, light that leaves the stamps returns as an even
    background, as there; use it for a mask that is learned, because the movie's background holds the stray light of
    its own mask.
    """
    keys_scene, keys_camera = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    scenes = jax.vmap(lambda key: generate_scene(key, generator))(keys_scene)
    shape = (generator.frame_px, generator.frame_px)
    light, lost = render_scenes(psf, scenes.emitters, shape, chunk=chunk)
    background = scenes.background + (lost[:, None, None] / generator.frame_px**2 if stray else 0.0)
    sample = sample_camera_differentiable if differentiable else sample_camera
    images = jax.vmap(lambda key, rate, scale: _read(key, generator.fitted, rate, scale, sample))(
        keys_camera, light + background, scenes.read_scale
    )
    return Frames(images=images, emitters=scenes.emitters, background=background)


def _read(key: jax.Array, fitted: FittedModel, rate: jax.Array, read_scale: jax.Array, sample) -> jax.Array:
    """Sample a camera frame, in photons, with the movie's noise: a gain of g makes shot noise of g times the rate."""
    gain = jnp.exp(fitted.movie.log_gain)
    camera: Camera = fitted.model.camera
    read_e = jnp.sqrt(reference_read_e2(camera) * read_scale) * camera.em_gain
    noisy = replace(camera, read_noise_e=read_e / gain)
    return gain * adu_to_photons(noisy, sample(key, noisy, rate / gain))
