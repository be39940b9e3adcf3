"""Frames to learn from for a level of AutoDS: density, signal over noise and structure drawn anew for each.

A level stands for a mean of two (`localization.patches.levels`), so that its patches may be sparse and faint or crowded
and bright. Frames of a level are drawn from all pairs of density and ratio whose mean lies near it, molecules evenly
spread or along lines or in clusters: a patch of cells is more crowded in places than its mean says.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares

from optics import Camera, Emitters, Psf, adu_to_photons, render_scenes, sample_camera
from optics.pytree import pytree, static
from training.scenes import Frames
from worlds.mle_cases import exact_images

ANY = 0  # frames of every level
PIXEL_UM = 0.107
DENSITY_PER_UM2, CROWDED_PER_UM2, CROWDED_SHARE = (0.05, 3.0), 5.5, 0.3  # of level 4's frames, and where they end
RATIO = (1.5, 11.0)
BACKGROUND_E = (20.0, 400.0)
REACH_UM = 0.27
NEAR = 0.75  # how far from a level the mean of two may lie
PEAK_SHARE = 0.1  # of a molecule's light in its brightest pixel: what a ratio is turned into photons with
KINDS = {"even": 0.4, "lines": 0.35, "clusters": 0.25}
_ANCHORS = 6
_TRIES = 64


@pytree
class CrowdScene:
    """What frames of a level are drawn from; numbers are data, so that levels share one compiled program."""

    level: jax.Array
    crowded: jax.Array
    reach_um: float = static()
    capacity: int = static()
    frame_px: int = static()

    def said(self) -> dict[str, Any]:
        """Say the ranges, for a record."""
        return {
            "density_per_um2": DENSITY_PER_UM2,
            "crowded_to_per_um2": CROWDED_PER_UM2,
            "crowded_share": round(float(self.crowded), 3),
            "ratio": RATIO,
            "background_e": BACKGROUND_E,
            "from_level": NEAR,
            "kinds": KINDS,
        }


def crowd_scene(level: int, frame_px: int) -> CrowdScene:
    """Make the scene of a level (`ANY`: all of them) for frames of `frame_px` square."""
    capacity = int(np.ceil(1.02 * CROWDED_PER_UM2 * (frame_px * PIXEL_UM) ** 2))
    share = {ANY: CROWDED_SHARE / 4, 4: CROWDED_SHARE}.get(level, 0.0)
    return CrowdScene(jnp.asarray(float(level)), jnp.asarray(share), REACH_UM, capacity, frame_px)


def draw_frames(keys: jax.Array, psf: Psf, scene: CrowdScene, camera: Camera) -> Frames:
    """Draw a frame per key, in photons, with what is true about it."""
    shape = (scene.frame_px, scene.frame_px)
    emitters, background = jax.vmap(_drawn, (0, None, None))(keys, scene, camera.read_noise_e)
    light, stray = render_scenes(psf, emitters, shape, chunk=32)
    level = background + stray[:, None, None] / scene.frame_px**2
    noise = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    adu = jax.vmap(sample_camera, (0, None, 0))(noise, camera, light + level)
    return Frames(images=adu_to_photons(camera, adu), emitters=emitters, background=level)


def _drawn(key: jax.Array, scene: CrowdScene, read_noise_e: jax.Array) -> tuple[Emitters, jax.Array]:
    """One frame's emitters and background (H, W)."""
    keys = jax.random.split(jax.random.fold_in(key, 0), 9)
    density, ratio = pair_of_level(keys[0], scene)
    side = scene.frame_px * PIXEL_UM
    low, high = np.log(BACKGROUND_E)
    level = jnp.exp(jax.random.uniform(keys[1], minval=low, maxval=high))
    slope = jax.random.uniform(keys[2], (2,), minval=-0.4, maxval=0.4)
    place = (jnp.arange(scene.frame_px) + 0.5) / scene.frame_px - 0.5
    background = level * (1 + slope[0] * place[:, None] + slope[1] * place)
    count = jax.random.poisson(keys[3], density * side**2)
    slots = jnp.arange(scene.capacity)
    xy = molecule_places(keys[4], scene.capacity, side)
    z = jax.random.uniform(keys[5], slots.shape, minval=-scene.reach_um, maxval=scene.reach_um)
    spread = jax.random.uniform(keys[6], minval=0.05, maxval=0.4)
    bright = jnp.maximum(1 + spread * jax.random.normal(keys[7], slots.shape), 0.2)
    photons = ratio * jnp.sqrt(level + read_noise_e**2) / PEAK_SHARE * bright
    return Emitters(jnp.concatenate([xy, z[:, None]], axis=1), photons, slots < count), background


def pair_of_level(key: jax.Array, scene: CrowdScene) -> tuple[jax.Array, jax.Array]:
    """Density and ratio whose levels' mean is near the scene's: the first such of many."""
    first, second, third, fourth = jax.random.split(key, 4)
    density = jax.random.uniform(first, (_TRIES,), minval=DENSITY_PER_UM2[0], maxval=DENSITY_PER_UM2[1])
    more = jax.random.uniform(second, (_TRIES,), minval=DENSITY_PER_UM2[1], maxval=CROWDED_PER_UM2)
    density = jnp.where(jax.random.uniform(third) < scene.crowded, more, density)
    ratio = jax.random.uniform(fourth, (_TRIES,), minval=RATIO[0], maxval=RATIO[1])
    mean = (jnp.clip(2 * density, 1, 4) + jnp.clip(5 - ratio / 2, 1, 4)) / 2
    good = (jnp.abs(mean - scene.level) <= NEAR) | (scene.level == ANY)
    chosen = jnp.argmax(good)
    return density[chosen], ratio[chosen]


def molecule_places(key: jax.Array, n: int, side: float) -> jax.Array:
    """Places (n, 2) in a square of `side` um: even, near lines, or in clusters; what leaves it comes in again."""
    keys = jax.random.split(key, 7)
    even = jax.random.uniform(keys[0], (n, 2)) * side
    anchor = jax.random.uniform(keys[1], (_ANCHORS, 2)) * side
    angle = jax.random.uniform(keys[2], (_ANCHORS,)) * jnp.pi
    along = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    own = jax.random.randint(keys[3], (n,), 0, _ANCHORS)
    off = jax.random.normal(keys[4], (n, 2))
    # a line as long as the frame, 15 nm thick; a cluster of 80 to 250 nm
    line = anchor[own] + along[own] * (even[:, :1] - side / 2) + 0.015 * off
    wide = 0.08 + 0.17 * jax.random.uniform(keys[5], (_ANCHORS, 1))
    cluster = anchor[own] + wide[own] * off
    which = jnp.searchsorted(jnp.cumsum(jnp.asarray(list(KINDS.values()))), jax.random.uniform(keys[6]))
    return jnp.mod(jnp.stack([even, line, cluster])[jnp.minimum(which, 2)], side)


def spot_sigmas_px(psf: Psf, low_um: float, high_um: float) -> dict[str, float]:
    """Fit Gaussians to the images of molecules at these depths: their least, mean and largest sigma in px."""
    z = np.linspace(low_um, high_um, 11 if high_um > low_um else 1)
    images = np.asarray(exact_images(psf, jnp.asarray(np.stack([0 * z, 0 * z, z], axis=1))))
    at = np.arange(images.shape[-1]) - images.shape[-1] // 2
    square = at[:, None] ** 2 + at**2

    def sigma(image: np.ndarray) -> float:
        def off(p: np.ndarray) -> np.ndarray:
            return (p[0] * np.exp(-square / (2 * p[1] ** 2)) + p[2] - image).ravel()

        return float(least_squares(off, [image.max(), 1.1, 0.0]).x[1])

    found = [sigma(image) for image in images]
    return {"least": round(min(found), 3), "mean": round(float(np.mean(found)), 3), "largest": round(max(found), 3)}
