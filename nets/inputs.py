"""From frames to what a network takes: the channel axis, frames at its scale, and where in the field they lie."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from nets import deepstorm2d
from nets.api import NetConfig
from nets.deepstorm2d import DeepStormConfig
from nets.errors import NetsError
from nets.listnet import ListNetConfig


def position_maps(shape: tuple[int, int], origin_px: ArrayLike, field_px: int) -> jax.Array:
    """x and y of each pixel of a crop, over a camera field of `field_px` pixels a side scaled to [-1, 1].

    `shape` (H, W), `origin_px` (2,) column and row of the crop's first pixel in the field -> (H, W, 2). The outer
    corners of the field are at -1 and 1, its centre at 0.

    >>> position_maps((1, 2), (0, 3), 4)[0, :, 0].tolist()
    [-0.75, -0.25]
    """
    origin = jnp.asarray(origin_px)
    x = 2 * (origin[0] + jnp.arange(shape[1]) + 0.5) / field_px - 1
    y = 2 * (origin[1] + jnp.arange(shape[0]) + 0.5) / field_px - 1
    return jnp.stack(jnp.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


def normalise_frames(config: NetConfig, frames: jax.Array) -> jax.Array:
    """Whole frames (..., H, W) at the scale of a network that takes each relative to itself; else as they are."""
    return deepstorm2d.normalise_frames(config, frames) if isinstance(config, DeepStormConfig) else frames


def with_neighbours(config: NetConfig, movie: jax.Array) -> jax.Array:
    """Consecutive frames as a decoder takes them: (n, H, W), or for one of three frames (n + 2, H, W) -> (n, H, W, 3).

    The first and the last frame are neighbours only. At the ends of a movie repeat its first and its last frame:
    emitters that stay on are what the decoder was trained on. Raises `NetsError` for too few frames.

    >>> with_neighbours(ListNetConfig(frames=3), jnp.zeros((6, 8, 8))).shape
    (4, 8, 8, 3)
    """
    context = (config.frames if isinstance(config, ListNetConfig) else 1) - 1
    if movie.ndim != 3 or movie.shape[0] <= context:
        raise NetsError(f"movie: shape {movie.shape} is not (n + {context}, H, W) with n of at least 1")
    if not context:
        return movie
    return jnp.stack([movie[k : movie.shape[0] - context + k] for k in range(context + 1)], axis=-1)


def network_input(config: NetConfig, images: jax.Array, origin_px: ArrayLike | None = None) -> jax.Array:
    """The input (B, H, W, C) of `nets.apply` for frames in photons.

    `images` (B, H, W), or (B, H, W, 3) for a decoder of three frames. `origin_px` (2,) or (B, 2), column and row
    of each image's first pixel in the camera field, for a decoder with position channels (default: (0, 0)).
    Raises `NetsError` where the images do not have the decoder's frames.

    >>> network_input(ListNetConfig(frames=3), jnp.zeros((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """
    frames = config.frames if isinstance(config, ListNetConfig) else 1
    if images.ndim == 3 and frames == 1:
        images = normalise_frames(config, images)[..., None]
    elif images.ndim != 4 or images.shape[-1] != frames or frames == 1:
        wanted = "(B, H, W)" if frames == 1 else f"(B, H, W, {frames})"
        raise NetsError(f"images: shape {images.shape} is not {wanted}, which this decoder reads")
    if not (isinstance(config, ListNetConfig) and config.position_channels):
        return images
    origins = jnp.broadcast_to(jnp.asarray((0, 0) if origin_px is None else origin_px), (images.shape[0], 2))
    shape = (images.shape[1], images.shape[2])
    place = jax.vmap(lambda origin: position_maps(shape, origin, config.field_px))(origins)
    return jnp.concatenate([images, place.astype(images.dtype)], axis=-1)
