"""An experiment that no model of ours knows in closed form: structured light, an uneven camera, a PSF slightly off.

Frames are pure functions of keys, in camera counts, with everything that is true of them. The light around emitters is
a level times a gradient, plus `strength` times that level of a cell body with an edge, filaments out of focus (curves
under a Gaussian of 2.7 to 5 pixels, twice the PSF's own width and more) and vesicle-like blobs. Emitters lie on and
around filaments, log-normal in brightness, some of them cut short as by bleaching. The camera is a chip with smooth
and column-wise patterns of read noise, gain and offset; frames are cut from it anywhere. The PSF has aberrations of
0.026 waves rms and a blur that nobody told the model.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from localization import Gate
from optics import (
    Camera,
    Emitters,
    Microscope,
    Psf,
    adu_to_photons,
    make_camera,
    make_microscope,
    make_psf,
    masks,
    render_scenes,
    sample_background,
    sample_camera,
    sample_camera_differentiable,
)
from optics.background import RandomField
from optics.pytree import pytree, replace, static
from training.scenes import Frames

WAVELENGTH_UM, NA, CHIP_PX = 0.67, 1.4, 192
LEVEL, GAIN, OFFSET, READ_E, SHEET_READ_E, EFFICIENCY = 20.0, 2.0, 100.0, 1.6, 1.0, 0.8
BLUR_UM, TRUE_BLUR_UM = 0.08, 0.09
# OSA modes 0 to 12, um rms: 0.0175 um or 0.026 waves beyond the model; no piston, tilt or defocus
ABERRATION_UM = (0, 0, 0, 0.006, 0, -0.008, 0.004, 0.009, -0.006, 0.003, 0, 0, 0.008)
STRENGTHS = (0.3, 1.0, 3.0)
HARD = frozenset({(1, 0), (1, 1), (2, 0), (2, 1)})  # (strength, photons) by rank: middle or more, middle or less
FILAMENTS, HAZY, VESICLES, POINTS = 3, 4, 12, 48
ON_FILAMENT, BLEACHED, SPREAD, LATERAL_UM = 0.65, 0.3, 0.4, 0.03


@dataclasses.dataclass(frozen=True)
class Kind:
    """What differs between an experiment in focus and one in depth."""

    deep: bool
    pixel_um: float
    stamp_px: int
    frame_px: int
    z_um: tuple[float, float]
    focus_um: float
    photons: tuple[float, float, float]
    emitters: float
    capacity: int

    @property
    def gates(self) -> Gate:
        """When a found emitter is a true one."""
        return Gate(axial_um=0.5 if self.deep else None)


KINDS = {
    "2d": Kind(False, 0.1, 21, 40, (0.25, 0.35), 0.3, (500.0, 1000.0, 2000.0), 6.0, 16),
    "3d": Kind(True, 0.11, 31, 40, (0.0, 2.0), 1.25, (2000.0, 4000.0, 8000.0), 5.0, 14),
}


class Cell(NamedTuple):
    """One cell of the grid, by rank of background strength and of photons."""

    strength: int
    photons: int

    @property
    def hard(self) -> bool:
        """Structured background and low signal: chosen before any decoder was trained."""
        return (self.strength, self.photons) in HARD


CELLS = tuple(Cell(s, p) for s in range(3) for p in range(3))


@pytree
class World:
    """One experiment: its true `psf`, its `chip` (maps of `CHIP_PX`), and what the laboratory believes of its camera.

    `psf_believed` and `camera` are what a model is given.
    """

    psf: Psf
    chip: Camera
    psf_believed: Psf
    camera: Camera
    kind: Kind = static()


@pytree
class WorldFrames:
    """B frames in counts, `adu` (B, H, W), and their truth: `light` of the emitters, `background` around them (photons
    expected per pixel, (B, H, W) each), the maps of the `camera` where each frame lies (B, H, W), and `emitters`."""

    adu: jax.Array
    light: jax.Array
    background: jax.Array
    camera: Camera
    emitters: Emitters


def microscope(kind: Kind) -> Microscope:
    return make_microscope(
        na=NA, n_immersion=1.518, n_sample=1.33, wavelength_um=WAVELENGTH_UM, pixel_um=kind.pixel_um,
        focus_um=kind.focus_um,
    )  # fmt: skip


def make_world(name: str, *, frame_px: int | None = None, stamp_px: int | None = None) -> World:
    """The experiment "2d" or "3d"; frames and stamps of other sizes for tests."""
    kind = KINDS[name]
    kind = dataclasses.replace(kind, frame_px=frame_px or kind.frame_px, stamp_px=stamp_px or kind.stamp_px)
    scope = microscope(kind)
    build = functools.partial(
        make_psf,
        scope,
        mask=masks.tetrapod(2.0, scope) if kind.deep else None,
        image_px=kind.stamp_px,
        z_range_um=kind.z_um,
    )
    return World(
        psf=build(blur_um=TRUE_BLUR_UM, zernike_um=np.array(ABERRATION_UM)),
        chip=make_chip(jax.random.key(71)),
        psf_believed=build(blur_um=BLUR_UM),
        camera=make_camera(
            gain_adu_per_e=GAIN, offset_adu=OFFSET, read_noise_e=SHEET_READ_E, quantum_efficiency=EFFICIENCY
        ),
        kind=kind,
    )


def make_chip(key: jax.Array) -> Camera:
    """Maps of the whole chip: read noise with a smooth pattern and columns, gain and offset with columns."""
    keys = jax.random.split(key, 5)
    shape = (CHIP_PX, CHIP_PX)
    smooth = sample_background(keys[0], RandomField(READ_E, 0.35, 30.0), shape)
    column = jax.random.normal(keys[1], (3, 1, CHIP_PX))
    pixel = jax.random.normal(keys[2], shape)
    return make_camera(
        gain_adu_per_e=GAIN * (1 + 0.02 * column[0]) * jnp.ones(shape),
        offset_adu=OFFSET + 1.0 * column[1] + 0.5 * pixel,
        read_noise_e=smooth * jnp.exp(0.15 * column[2]),
        quantum_efficiency=jnp.full(shape, EFFICIENCY),
    )


def curves(key: jax.Array, count: int, side_px: float) -> jax.Array:
    """`count` curves of `POINTS` points through a frame, (count, POINTS, 2) in pixels: directions that wander."""
    keys = jax.random.split(key, 3)
    middle = jax.random.uniform(keys[0], (count, 1, 2)) * side_px
    heading = jax.random.uniform(keys[1], (count, 1)) * 2 * jnp.pi
    heading = heading + 0.08 * jnp.cumsum(jax.random.normal(keys[2], (count, POINTS)), axis=1)
    step = 2 * side_px / POINTS
    path = step * jnp.cumsum(jnp.stack([jnp.cos(heading), jnp.sin(heading)], axis=-1), axis=1)
    return middle + path - path[:, POINTS // 2 : POINTS // 2 + 1]


def blobs(xy_px: jax.Array, sigma_px: jax.Array, height: jax.Array, side: int) -> jax.Array:
    """Gaussians (N,) of a peak `height` at `xy_px` (N, 2), summed on (side, side) pixels."""
    centre = jnp.arange(side) + 0.5
    bell = jnp.exp(-0.5 * ((centre[None, None] - xy_px.T[..., None]) / sigma_px[None, :, None]) ** 2)
    return jnp.einsum("nx,ny,n->yx", bell[0], bell[1], height, precision="highest")


def filament_haze(key: jax.Array, paths: jax.Array, side: int) -> jax.Array:
    """Curves (M, POINTS, 2) far out of focus: each of its own blur, its crest about 1."""
    key_blur, key_height = jax.random.split(key)
    count = len(paths)
    sigma = jax.random.uniform(key_blur, (count,), minval=2.7, maxval=5.0)
    crest = jnp.exp(0.4 * jax.random.normal(key_height, (count,)))
    height = crest * (2 * side / POINTS) / (sigma * jnp.sqrt(2 * jnp.pi))
    every = functools.partial(jnp.repeat, repeats=POINTS, total_repeat_length=count * POINTS)
    return blobs(paths.reshape(-1, 2), every(sigma), every(height), side)


def cell_body(key: jax.Array, side: int) -> jax.Array:
    """1 inside a cell whose outline is a circle with three waves, 0 outside, an edge of two to four pixels."""
    keys = jax.random.split(key, 4)
    centre = jax.random.uniform(keys[0], (2,), minval=-0.2, maxval=1.2) * side
    radius = jax.random.uniform(keys[1], (), minval=0.4, maxval=1.0) * side
    wave = jax.random.normal(keys[2], (2, 3)) * jnp.array([0.1, 0.06, 0.04])
    edge = jax.random.uniform(keys[3], (), minval=2.0, maxval=4.0)
    at = jnp.arange(side) + 0.5
    x, y = at[None, :] - centre[0], at[:, None] - centre[1]
    angle = jnp.arctan2(y, x)[..., None] * jnp.arange(1, 4)
    outline = radius * (1 + (wave[0] * jnp.cos(angle) + wave[1] * jnp.sin(angle)).sum(-1))
    return jax.nn.sigmoid((outline - jnp.hypot(x, y)) / edge)


def draw_surroundings(key: jax.Array, filaments: jax.Array, strength: jax.Array, side: int) -> jax.Array:
    """The light around the emitters, (side, side) photons per pixel; `filaments`, which carry them, have a haze too."""
    keys = jax.random.split(key, 10)
    hazy = curves(keys[0], HAZY, side)
    haze = filament_haze(keys[1], jnp.concatenate([hazy, filaments]), side)
    places = jax.random.uniform(keys[2], (VESICLES, 2), minval=-0.05, maxval=1.05) * side
    size = jax.random.uniform(keys[3], (VESICLES,), minval=2.7, maxval=4.5)
    bright = jnp.exp(0.6 * jax.random.normal(keys[4], (VESICLES,))) * jax.random.bernoulli(keys[5], 0.6, (VESICLES,))
    vesicles = blobs(places, size, bright, side)
    structure = 0.6 * cell_body(keys[6], side) + 0.6 * haze + 0.5 * vesicles
    slope = jax.random.uniform(keys[7], (2,), minval=-0.3, maxval=0.3)
    across = 2 * (jnp.arange(side) + 0.5) / side - 1
    even = 1 + 0.5 * (slope[0] * across[None, :] + slope[1] * across[:, None])
    level = LEVEL * jnp.exp(0.15 * jax.random.normal(keys[8]))
    return level * (even + strength * structure)


def draw_emitters(key: jax.Array, kind: Kind, filaments: jax.Array, photons: jax.Array) -> Emitters:
    """Emitters of one frame: most on the curves `filaments` (M, POINTS, 2), the others anywhere."""
    keys = jax.random.split(key, 12)
    n, side_um = kind.capacity, kind.frame_px * kind.pixel_um
    low, high = kind.z_um
    which = jax.random.randint(keys[0], (n,), 0, len(filaments))
    point = jax.random.randint(keys[1], (n,), 0, POINTS)
    on_um = filaments[which, point] * kind.pixel_um
    # between two points of a curve, and a little beside it
    along = jax.random.uniform(keys[2], (n, 1)) * 2 * side_um / POINTS
    ahead = filaments[which, jnp.minimum(point + 1, POINTS - 1)] * kind.pixel_um - on_um
    on_um = on_um + along * ahead / jnp.maximum(jnp.linalg.norm(ahead, axis=1, keepdims=True), 1e-6)
    on_um = on_um + LATERAL_UM * jax.random.normal(keys[3], (n, 2))
    seen = jnp.all((on_um > 0) & (on_um < side_um), axis=1)
    bound = seen & jax.random.bernoulli(keys[4], ON_FILAMENT, (n,))
    xy = jnp.where(bound[:, None], on_um, side_um * jax.random.uniform(keys[5], (n, 2)))
    if kind.deep:
        ends = jax.random.uniform(keys[6], (2, len(filaments)), minval=low, maxval=high)
        share = point / POINTS
        on_z = ends[0, which] * (1 - share) + ends[1, which] * share + LATERAL_UM * jax.random.normal(keys[7], (n,))
        z = jnp.where(bound, on_z, jax.random.uniform(keys[8], (n,), minval=low, maxval=high))
        z = jnp.clip(z, low, high)
    else:
        z = jnp.clip(0.5 * (low + high) + LATERAL_UM * jax.random.normal(keys[7], (n,)), low, high)
    light = photons * jnp.exp(SPREAD * jax.random.normal(keys[9], (n,)))
    key_cut, key_share = jax.random.split(keys[10])
    cut = jax.random.bernoulli(key_cut, BLEACHED, (n,))
    light = light * jnp.where(cut, jax.random.uniform(key_share, (n,), minval=0.25, maxval=1.0), 1.0)
    count = jax.random.poisson(keys[11], kind.emitters)
    return Emitters(jnp.concatenate([xy, z[:, None]], axis=1), light, jnp.arange(n) < count)


def draw_frames(
    keys: jax.Array, world: World, strength: jax.Array, photons: jax.Array, *, differentiable: bool = False
) -> WorldFrames:
    """One frame per key (B,), of background `strength` (B,) and median `photons` (B,) each.

    Light that leaves the stamps comes back as an even background, as in `training.scenes.simulate`. `differentiable`
    swaps the camera's noise and rounding for a Gaussian that gradients pass: for the oracle that learns a mask.
    """
    kind, side = world.kind, world.kind.frame_px

    def scene(key, strength, photons):
        key_path, key_around, key_emitters, key_place = jax.random.split(key, 4)
        filaments = curves(key_path, FILAMENTS, side)
        background = draw_surroundings(key_around, filaments, strength, side)
        corner = jax.random.randint(key_place, (2,), 0, CHIP_PX - side + 1)
        cut = jax.tree.map(lambda a: jax.lax.dynamic_slice(a, corner, (side, side)) if a.ndim else a, world.chip)
        return background, draw_emitters(key_emitters, kind, filaments, photons), cut

    keys_scene, keys_camera = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
    background, emitters, camera = jax.vmap(scene)(keys_scene, strength, photons)
    light, stray = render_scenes(world.psf, emitters, (side, side), chunk=32)
    background = background + stray[:, None, None] / side**2
    if differentiable:
        adu = jax.vmap(sample_camera_differentiable)(keys_camera, camera, light + background)
    else:
        adu = jnp.round(jax.vmap(sample_camera)(keys_camera, camera, light + background))
    return WorldFrames(adu, light, background, camera, emitters)


def cell_levels(kind: Kind, cells: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Strengths and median photons (B,) of cells by number (B,) in `CELLS`."""
    return jnp.array(STRENGTHS)[cells // 3], jnp.array(kind.photons)[cells % 3]


def any_cells(keys: jax.Array) -> jax.Array:
    """A cell's number for each key (B,), all as likely."""
    return jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, 1), (), 0, len(CELLS)))(keys)


def mixed_frames(keys: jax.Array, world: World, *, differentiable: bool = False) -> WorldFrames:
    """One frame per key, each of a cell of the grid at random: what a movie shows, and what the oracle trains on."""
    return draw_frames(keys, world, *cell_levels(world.kind, any_cells(keys)), differentiable=differentiable)


def in_photons(world: World, frames: WorldFrames) -> Frames:
    """The frames as the laboratory's camera calibration reads them, with their truth."""
    return Frames(adu_to_photons(world.camera, frames.adu), frames.emitters, frames.background)


_cell_frames = jax.jit(draw_frames)


def draw_many(seed: int, world: World, n: int, cell: Cell | None = None, batch: int = 20) -> WorldFrames:
    """`n` frames of one cell, or of all mixed; frame k depends on the seed and k alone."""
    key, parts = jax.random.key(seed), []
    for first in range(0, n, batch):
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(batch))
        number = any_cells(keys) if cell is None else jnp.full(batch, 3 * cell.strength + cell.photons)
        parts.append(_cell_frames(keys, world, *cell_levels(world.kind, number)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:n], *parts)


def movie(seed: int, world: World, n: int) -> np.ndarray:
    """Raw counts (n, H, W), uint16: all that a generator is shown."""
    return np.asarray(jnp.clip(draw_many(seed, world, n).adu, 0, 65535)).astype(np.uint16)


def with_mask(world: World, psf: Psf) -> World:
    """The same experiment behind another mask: that of `psf`."""
    return replace(world, psf=replace(world.psf, mask=psf.mask))
