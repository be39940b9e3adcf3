"""Random scenes and the frames that a microscope makes of them: drawn on the device, fresh every step."""

import jax
import jax.numpy as jnp

from optics import Camera, Emitters, Psf, adu_to_photons, render_scenes, sample_background, sample_camera
from optics import sample_camera_differentiable as sample_smoothly
from optics.background import Background
from optics.field import FieldAberration, aberration_at
from optics.pytree import pytree, replace, static
from training.blinking import blink
from training.config import SceneConfig

# tags of the keys that scenes without neighbours, blinking or a field never draw
_BEFORE, _AFTER, _BLINK, _ORIGIN, _NOISE = 101, 102, 103, 104, 105


@pytree
class Frames:
    """B simulated frames in photons, and what is true about them.

    `images` (B, H, W), or (B, H, W, 3) where a scene shows a frame with the one before and the one after: the truth
    is that of the middle one, `middle`. `background` (B, H, W) photons per pixel; leaves of `emitters` are
    (B, N, ...). `origin_px` (B, 2), column and row of the first pixel in the camera's field, None without a field.
    """

    images: jax.Array
    emitters: Emitters
    background: jax.Array
    origin_px: jax.Array | None = None

    @property
    def middle(self) -> jax.Array:
        """The frames (B, H, W) that the truth is about."""
        return self.images if self.images.ndim == 3 else self.images[..., self.images.shape[-1] // 2]


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
    lifetime_frames: jax.Array
    truth_photons_min: jax.Array
    capacity: int = static()
    frame_px: int = static()
    photons: str = static()
    n_frames: int = static(default=1)
    blinking: bool = static(default=False)
    field_px: int = static(default=0)


def make_scene(
    config: SceneConfig, pixel_um: jax.Array | float, capacity: int | None = None, n_frames: int = 1
) -> Scene:
    """Make the ranges of a configuration; `capacity` defaults to its largest count, `n_frames` is 1 or 3.

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
        lifetime_frames=jnp.asarray(config.lifetime_frames),
        truth_photons_min=jnp.asarray(config.truth_photons_min),
        capacity=max(config.count_max, capacity or 0),
        frame_px=config.frame_px,
        photons=config.photons,
        n_frames=n_frames,
        blinking=config.lifetime_frames > 0,
        field_px=config.field_px,
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


def sample_frames(key: jax.Array, scene: Scene) -> tuple[Emitters, Emitters]:
    """Draw a scene over its frames: (what each frame shows, what is true of the middle one).

    Leaves (n_frames, N, ...) and (capacity, ...). Without blinking and neighbours both are `sample_scene`'s
    emitters; else the truth are those of them that give at least `truth_photons_min` in the middle frame.
    """
    emitters = sample_scene(key, scene)
    if scene.n_frames == 1 and not scene.blinking:
        shown = jax.tree.map(lambda leaf: leaf[None], emitters)
    else:
        before, after = (sample_scene(jax.random.fold_in(key, tag), scene) for tag in (_BEFORE, _AFTER))
        key_blink = jax.random.fold_in(key, _BLINK)
        shown = blink(key_blink, emitters, before, after, scene.lifetime_frames, scene.n_frames)
    middle = jax.tree.map(lambda leaf: leaf[scene.n_frames // 2, : scene.capacity], shown)
    return shown, replace(middle, valid=middle.valid & (middle.photons >= scene.truth_photons_min))


def frame_keys(key: jax.Array, first: int | jax.Array, batch: int) -> jax.Array:
    """Make one key per frame, by its number: a frame is the same whichever device, or batch, draws it."""
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
    field: FieldAberration | None = None,
) -> Frames:
    """Draw one scene per key, render it, add background and camera noise, convert back to photons.

    Light that falls outside the emitters' stamps comes back as an even background (`render_scenes`): a mask
    that throws light away pays for it, as it does in a sample that goes on beyond the frame.

    `differentiable` swaps the exact camera noise for its reparametrised Gaussian, through which gradients
    reach the `psf`. With a `field` each frame has the PSF of its centre's place in the field.
    """
    shape, n = (scene.frame_px, scene.frame_px), scene.n_frames
    keys_scene, keys_background, keys_camera = jnp.unstack(jax.vmap(lambda k: jax.random.split(k, 3))(keys), axis=1)
    shown, truth = jax.vmap(sample_frames, (0, None))(keys_scene, scene)
    level = jax.vmap(lambda k: sample_background(k, background, shape))(keys_background)
    origin_px = _origins(keys_scene, scene) if scene.field_px else None
    if field is None:
        together = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), shown)
        light, stray = render_scenes(psf, together, shape, chunk=chunk)
    else:
        assert origin_px is not None, "a field of aberrations needs scene.field_px"
        light, stray = _render_in_field(psf, field, scene, shown, origin_px, chunk)
    light, stray = light.reshape(-1, n, *shape), stray.reshape(-1, n)
    level = level[:, None] + stray[..., None, None] / (scene.frame_px**2)
    sample = sample_smoothly if differentiable else sample_camera
    if n > 1:  # noise of its own in each of the frames
        keys_camera = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, _NOISE), n))(keys_camera).reshape(
            -1
        )
    adu = jax.vmap(sample, (0, None, 0))(keys_camera, camera, (light + level).reshape(-1, *shape))
    images = adu_to_photons(camera, adu)
    if n > 1:
        images = jnp.moveaxis(images.reshape(-1, n, *shape), 1, -1)
    return Frames(images=images, emitters=truth, background=level[:, n // 2], origin_px=origin_px)


def _origins(keys: jax.Array, scene: Scene) -> jax.Array:
    """Column and row of each frame's first pixel, anywhere in the field that the frame fits in: (B, 2)."""
    free = scene.field_px - scene.frame_px + 1
    return jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, _ORIGIN), (2,), 0, free))(keys)


def _render_in_field(
    psf: Psf, field: FieldAberration, scene: Scene, shown: Emitters, origin_px: jax.Array, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """`render_scenes` with the PSF of each frame's place, one scene after the other."""
    shape = (scene.frame_px, scene.frame_px)

    def one(drawn):
        emitters, origin = drawn
        place = 2 * (origin + scene.frame_px / 2) / scene.field_px - 1
        return render_scenes(replace(psf, zernike_um=aberration_at(field, place)), emitters, shape, chunk=chunk)

    return jax.lax.map(one, (shown, origin_px))
