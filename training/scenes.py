"""Random scenes and the frames that a microscope makes of them: drawn on the device, fresh every step."""

import jax
import jax.numpy as jnp

from optics import Camera, Emitters, Psf, adu_to_photons, render_scenes, sample_background, sample_camera
from optics import sample_camera_differentiable as sample_smoothly
from optics.background import Background
from optics.pytree import pytree, static
from training.config import SceneConfig


@pytree
class Frames:
    """B simulated frames in photons, (B, H, W), and what is true about them.

    `background` (B, H, W) photons per pixel; leaves of `emitters` are (B, N, ...).
    """

    images: jax.Array
    emitters: Emitters
    background: jax.Array


@pytree
class Scene:
    """The ranges that emitters are drawn from; numbers are data, so that new ranges need no new compilation.

    `capacity` is the most emitters a frame can hold. See `SceneConfig` for the fields.
    """

    count_min: jax.Array
    count_max: jax.Array
    low_um: jax.Array
    high_um: jax.Array
    photons_min: jax.Array
    photons_max: jax.Array
    photons_shape: jax.Array
    photons_mean: jax.Array
    capacity: int = static()
    frame_px: int = static()
    photons: str = static()


def make_scene(config: SceneConfig, pixel_um: jax.Array | float, capacity: int | None = None) -> Scene:
    """The ranges of a configuration; `capacity` defaults to its largest count.

    >>> make_scene(SceneConfig(count_max=5), 0.11).capacity
    5
    """
    side, margin = config.frame_px * pixel_um, config.margin_um
    return Scene(
        count_min=jnp.asarray(config.count_min),
        count_max=jnp.asarray(config.count_max),
        low_um=jnp.array([margin, margin, config.z_min_um]),
        high_um=jnp.array([side - margin, side - margin, config.z_max_um]),
        photons_min=jnp.asarray(config.photons_min),
        photons_max=jnp.asarray(config.photons_max),
        photons_shape=jnp.asarray(config.photons_shape),
        photons_mean=jnp.asarray(config.photons_mean),
        capacity=max(config.count_max, capacity or 0),
        frame_px=config.frame_px,
        photons=config.photons,
    )


def sample_scene(key: jax.Array, scene: Scene) -> Emitters:
    """Draw the emitters of one frame.

    The number is uniform from count_min to count_max, positions are uniform in the scene's box, photons
    uniform or gamma. Frame coordinates, um. The first emitters are the same whatever the capacity.

    >>> emitters = sample_scene(jax.random.key(0), make_scene(SceneConfig(count_min=3, count_max=5), 0.11))
    >>> emitters.xyz_um.shape, bool(3 <= emitters.valid.sum() <= 5)
    ((5, 3), True)
    """
    key_count, key_place, key_photons = jax.random.split(key, 3)
    slots = jnp.arange(scene.capacity)
    count = jax.random.randint(key_count, (), scene.count_min, scene.count_max + 1)
    one_each = jax.vmap(jax.random.fold_in, (None, 0))
    share = jax.vmap(lambda k: jax.random.uniform(k, (3,)))(one_each(key_place, slots))
    xyz = scene.low_um + share * (scene.high_um - scene.low_um)
    keys = one_each(key_photons, slots)
    if scene.photons == "uniform":
        spread = jax.vmap(jax.random.uniform)(keys)
        photons = scene.photons_min + spread * (scene.photons_max - scene.photons_min)
    else:
        shape = scene.photons_shape
        photons = jax.vmap(lambda k: jax.random.gamma(k, shape))(keys) * (scene.photons_mean / shape)
    return Emitters(xyz_um=xyz, photons=photons, valid=slots < count)


def frame_keys(key: jax.Array, first: int | jax.Array, batch: int) -> jax.Array:
    """One key per frame, by its number: a frame is the same whichever device, or batch, draws it."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(batch))


def simulate(
    keys: jax.Array,
    psf: Psf,
    scene: Scene,
    background: Background,
    camera: Camera,
    *,
    differentiable: bool = False,
    chunk: int = 32,
) -> Frames:
    """Draw one scene per key, render it, add background and camera noise, convert back to photons.

    Light that falls outside the emitters' stamps comes back as an even background (`render_scenes`): a mask
    that throws light away pays for it, as it does in a sample that goes on beyond the frame.

    `differentiable` swaps the exact camera noise for its reparametrised Gaussian, through which gradients
    reach the `psf`.
    """
    shape = (scene.frame_px, scene.frame_px)
    keys_scene, keys_background, keys_camera = jnp.unstack(jax.vmap(lambda k: jax.random.split(k, 3))(keys), axis=1)
    emitters = jax.vmap(sample_scene, (0, None))(keys_scene, scene)
    level = jax.vmap(lambda k: sample_background(k, background, shape))(keys_background)
    light, stray = render_scenes(psf, emitters, shape, chunk=chunk)
    level = level + stray[:, None, None] / (scene.frame_px**2)
    light = light + level
    sample = sample_smoothly if differentiable else sample_camera
    adu = jax.vmap(sample, (0, None, 0))(keys_camera, camera, light)
    return Frames(images=adu_to_photons(camera, adu), emitters=emitters, background=level)
