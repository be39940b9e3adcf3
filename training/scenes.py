"""Random scenes and the frames that a microscope makes of them: drawn on the device, fresh every step."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from optics import (
    Camera,
    Emitters,
    Psf,
    WingPlan,
    Wings,
    adu_to_photons,
    make_wings,
    render_scenes,
    render_wings,
    sample_background,
    sample_camera,
)
from optics import sample_camera_differentiable as sample_smoothly
from optics.background import Background
from optics.field import FieldAberration, aberration_at
from optics.pytree import pytree, replace, static
from training.blinking import blink
from training.colours import Looks, render_species
from training.config import SceneConfig

# tags of the keys that scenes without neighbours, blinking, a field, surroundings or species never draw
_BEFORE, _AFTER, _BLINK, _ORIGIN, _NOISE, _AROUND, _COLOUR = 101, 102, 103, 104, 105, 106, 107


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

    `capacity` is the most emitters a frame can hold. With `wings` the light around the stamps is drawn, and emitters
    beyond the frame with it: `around_um` are half the sides of the squares about the frame's centre between which they
    lie, `around_ratio` how many there are for each in the frame. With `shares` (S,) emitters are of S species, each
    that often. See `SceneConfig` for the other fields.
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
    around_um: jax.Array
    around_ratio: jax.Array
    capacity: int = static()
    frame_px: int = static()
    photons: str = static()
    n_frames: int = static(default=1)
    blinking: bool = static(default=False)
    field_px: int = static(default=0)
    around_capacity: int = static(default=0)
    wings: WingPlan | None = static(default=None)
    shares: jax.Array | None = None


def make_scene(
    config: SceneConfig,
    pixel_um: jax.Array | float,
    capacity: int | None = None,
    n_frames: int = 1,
    wings: WingPlan | None = None,
    shares: jax.Array | None = None,
) -> Scene:
    """Make the ranges of a configuration; `capacity` defaults to its largest count, `n_frames` is 1 or 3.

    `wings` says how far light around the stamps is drawn (`optics.plan_wings`); without it, it is an even background.
    `shares` says how often each of several species occurs.

    >>> make_scene(SceneConfig(count_max=5), 0.11).capacity
    5
    """
    side, margin = config.frame_px * pixel_um, config.margin_um
    capacity = max(config.count_max, capacity or 0)
    # emitters farther off than a picture's half show nothing in the frame
    reach = margin if wings is None else max(margin, (wings.side_px + 1) / 2 * pixel_um)
    ratio = 4 * ((side / 2 + reach) ** 2 - (side / 2 + margin) ** 2) / (side - 2 * margin) ** 2
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
        around_um=jnp.array([side / 2 + margin, side / 2 + reach]),
        around_ratio=jnp.asarray(ratio),
        around_capacity=0 if wings is None else math.ceil(capacity * float(ratio)) + 1,
        wings=wings,
        capacity=capacity,
        frame_px=config.frame_px,
        photons=config.photons,
        n_frames=n_frames,
        blinking=config.lifetime_frames > 0,
        field_px=config.field_px,
        shares=shares,
    )


def sample_scene(key: jax.Array, scene: Scene) -> Emitters:
    """Draw the emitters of one frame.

    The number is uniform from count_min to count_max, positions are uniform in the scene's box, photons
    uniform or gamma, the species one of several by their shares. Frame coordinates, um. The first emitters are the
    same whatever the capacity.

    >>> emitters = sample_scene(jax.random.key(0), make_scene(SceneConfig(count_min=3, count_max=5), 0.11))
    >>> emitters.xyz_um.shape, bool(3 <= emitters.valid.sum() <= 5)
    ((5, 3), True)
    """
    key_count, key_place, key_photons = jax.random.split(key, 3)
    slots = jnp.arange(scene.capacity)
    count = jax.random.randint(key_count, (), scene.count_min, scene.count_max + 1)
    share = _uniform(key_place, slots, 3)
    xyz = scene.low_um + share * (scene.high_um - scene.low_um)
    channel = None if scene.shares is None else _species(jax.random.fold_in(key, _COLOUR), scene.shares, slots)
    return Emitters(xyz_um=xyz, photons=_photons(key_photons, scene, slots), valid=slots < count, channel=channel)


def _species(key: jax.Array, shares: jax.Array, slots: jax.Array) -> jax.Array:
    drawn = _uniform(key, slots, 1)[:, 0]
    return jnp.minimum(jnp.searchsorted(jnp.cumsum(shares), drawn, side="right"), shares.size - 1).astype(jnp.int32)


def _one_each(key: jax.Array, slots: jax.Array) -> jax.Array:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, slots)


def _uniform(key: jax.Array, slots: jax.Array, n: int) -> jax.Array:
    """Numbers that are even in 0...1, n for each slot, the same whatever the number of slots."""
    return jax.vmap(lambda k: jax.random.uniform(k, (n,)))(_one_each(key, slots))


def _photons(key: jax.Array, scene: Scene, slots: jax.Array) -> jax.Array:
    keys = _one_each(key, slots)
    if scene.photons == "uniform":
        spread = jax.vmap(jax.random.uniform)(keys)
        return scene.photons_min + spread * (scene.photons_max - scene.photons_min)
    shape = scene.photons_shape
    return jax.vmap(lambda k: jax.random.gamma(k, shape))(keys) * (scene.photons_mean / shape)


def sample_around(key: jax.Array, scene: Scene, count: jax.Array) -> Emitters:
    """Draw the emitters beyond a frame with `count` of them in it, as dense as those, with photons and depths alike.

    They fill the band between the two squares of `around_um`: four rectangles, each a quarter turn of the last.
    """
    key_place, key_photons, key_number = jax.random.split(key, 3)
    slots = jnp.arange(scene.around_capacity)
    number = jnp.floor(count * scene.around_ratio + jax.random.uniform(key_number))
    along, across, depth, turn = _uniform(key_place, slots, 4).T
    inner, outer = scene.around_um
    u, v = inner + along * (outer - inner), -inner + across * (outer + inner)
    turn = jnp.floor(4 * turn)
    x, y = jnp.where(turn % 2 == 0, u, v), jnp.where(turn % 2 == 0, v, -u)
    sign = jnp.where(turn < 2, 1.0, -1.0)
    centre = 0.5 * (scene.low_um + scene.high_um)
    z = scene.low_um[2] + depth * (scene.high_um[2] - scene.low_um[2])
    return Emitters(
        xyz_um=jnp.stack([centre[0] + sign * x, centre[1] + sign * y, z], axis=1),
        photons=_photons(key_photons, scene, slots),
        valid=slots < number,
    )


def sample_frames(key: jax.Array, scene: Scene) -> tuple[Emitters, Emitters]:
    """Draw a scene over its frames: (what each frame shows, what is true of the middle one).

    Leaves (n_frames, N, ...) and (capacity, ...). Without blinking and neighbours both are `sample_scene`'s
    emitters; else the truth are those of them that give at least `truth_photons_min` in the middle frame. Emitters
    beyond the frame are shown, but not true.
    """
    shown = _over_frames(key, scene, lambda k: sample_scene(k, scene))
    middle = jax.tree.map(lambda leaf: leaf[scene.n_frames // 2, : scene.capacity], shown)
    truth = replace(middle, valid=middle.valid & (middle.photons >= scene.truth_photons_min))
    if scene.wings is not None:
        count = sample_scene(key, scene).valid.sum()
        key_around = jax.random.fold_in(key, _AROUND)
        around = _over_frames(key_around, scene, lambda k: sample_around(k, scene, count))
        shown = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), shown, around)
    return shown, truth


def _over_frames(key: jax.Array, scene: Scene, sample: Callable[[jax.Array], Emitters]) -> Emitters:
    """The emitters that `sample` draws, over the frames of a scene: leaves (n_frames, N, ...)."""
    emitters = sample(key)
    if scene.n_frames == 1 and not scene.blinking:
        return jax.tree.map(lambda leaf: leaf[None], emitters)
    before, after = (sample(jax.random.fold_in(key, tag)) for tag in (_BEFORE, _AFTER))
    key_blink = jax.random.fold_in(key, _BLINK)
    return blink(key_blink, emitters, before, after, scene.lifetime_frames, scene.n_frames)


def frame_keys(key: jax.Array, first: int | jax.Array, batch: int) -> jax.Array:
    """Make one key per frame, by its number: a frame is the same whichever device, or batch, draws it."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(batch))


def simulate(
    keys: jax.Array,
    psf: Psf | Looks,
    scene: Scene,
    background: Background,
    camera: Camera,
    *,
    differentiable: bool = False,
    chunk: int = 32,
    field: FieldAberration | None = None,
    wings: Wings | None = None,
) -> Frames:
    """Draw one scene per key, render it, add background and camera noise, convert back to photons.

    Light that falls outside the emitters' stamps comes back as an even background (`render_scenes`): a mask
    that throws light away pays for it, as it does in a sample that goes on beyond the frame. Where the scene has
    `Scene.wings` it is drawn instead, with that of the emitters beyond the frame; only what goes farther than the
    plan is even. `wings` is its table where the PSF is known before (`optics.make_wings`); else it is made here.

    `differentiable` swaps the exact camera noise for its reparametrised Gaussian, through which gradients
    reach the `psf`. With a `field` each frame has the PSF of its centre's place in the field. A scene of several
    species takes the images of each for the `psf` (`training.colours`).
    """
    shape, n = (scene.frame_px, scene.frame_px), scene.n_frames
    keys_scene, keys_background, keys_camera = jnp.unstack(jax.vmap(lambda k: jax.random.split(k, 3))(keys), axis=1)
    shown, truth = jax.vmap(sample_frames, (0, None))(keys_scene, scene)
    level = jax.vmap(lambda k: sample_background(k, background, shape))(keys_background)
    origin_px = _origins(keys_scene, scene) if scene.field_px else None
    everyone = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), shown)
    if scene.wings is not None and not scene.wings.stamped:  # the table draws those beyond the frame
        shown = jax.tree.map(lambda leaf: leaf[:, :, : leaf.shape[2] - _beyond(scene)], shown)
    together = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), shown)
    if not isinstance(psf, Psf):
        light, stray = render_species(psf, together, shape, chunk=chunk)
    elif field is None:
        light, stray = render_scenes(psf, together, shape, chunk=chunk)
    else:
        assert origin_px is not None, "a field of aberrations needs scene.field_px"
        light, stray = _render_in_field(psf, field, scene, shown, origin_px, chunk)
    area_px = scene.frame_px**2
    if scene.wings is not None:
        assert isinstance(psf, Psf), "species are drawn without wings"
        wings = make_wings(psf, scene.wings, shape) if wings is None else wings
        n_slots = everyone.photons.shape[1]
        stamped = scene.wings.stamped | (jnp.arange(n_slots) < n_slots - _beyond(scene))
        around, stray = render_wings(wings, everyone, psf.microscope.pixel_um, stamped)
        light, area_px = light + around, (2 * scene.around_um[1] / psf.microscope.pixel_um) ** 2
    light, stray = light.reshape(-1, n, *shape), stray.reshape(-1, n)
    level = level[:, None] + stray[..., None, None] / area_px
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


def _beyond(scene: Scene) -> int:
    """The slots of emitters beyond the frame: the last ones of those shown."""
    groups = 1 if scene.n_frames == 1 else 3  # on in the middle frame, before and after it
    return groups * scene.around_capacity


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
