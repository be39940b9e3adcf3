"""Stamps: small square pictures around single emitters, cut out of frames, and their place in the frames."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from optics.pytree import pytree, replace
from optics.types import Camera, OpticsError


@pytree
class Stamps:
    """N stamps of K x K pixels: `images` (N, K, K) as the frames are, `valid` (N, K, K) where a frame has pixels.

    Their first pixels lie at `first_row`, `first_column` (N,) of frame `frame` (N,). `camera` holds the pixels of its
    maps, (N, K, K), under each stamp; None without one. `fit_emitters` takes images, camera and valid as they are.
    """

    images: np.ndarray
    valid: np.ndarray
    frame: np.ndarray
    first_row: np.ndarray
    first_column: np.ndarray
    camera: Camera | None


def cut_stamps(
    frames: ArrayLike,
    frame: ArrayLike,
    row: ArrayLike,
    column: ArrayLike,
    image_px: int,
    *,
    camera: Camera | None = None,
    edge: str = "refuse",
) -> Stamps:
    """Cut stamps of `image_px` pixels around pixels (`row`, `column`) of `frames` (F, H, W); all three (N,).

    Positions are in pixels, pixel i covers [i, i + 1): indices (whole numbers) or fractions. A fraction picks the
    nearest stamp, so that the emitter lies within half a pixel of its centre. `camera` has scalars or (H, W) maps. A
    stamp that sticks out is refused, or with edge="mask" filled with zeros that `valid` leaves out, if its middle is
    inside.
    Raises `OpticsError` naming the argument.

    >>> stamps = cut_stamps(np.arange(800.0).reshape(2, 20, 20), [1], [10], [9], 5)
    >>> stamps.images.shape, int(stamps.first_row[0]), float(stamps.images[0, 2, 2]) == 400 + 20 * 10 + 9
    ((1, 5, 5), 8, True)
    """
    pictures = np.asarray(frames)
    if pictures.ndim != 3:
        raise OpticsError(f"frames must be (F, H, W), not of shape {pictures.shape}")
    if not 3 <= image_px:
        raise OpticsError(f"image_px = {image_px} must be at least 3 pixels")
    if edge not in ("refuse", "mask"):
        raise OpticsError(f"edge = {edge!r} must be 'refuse' or 'mask'")
    index, *place = (np.atleast_1d(np.asarray(part)) for part in (frame, row, column))
    if any(part.shape != index.shape or part.ndim != 1 for part in place):
        raise OpticsError(f"frame, row and column must have one length, not {[p.shape for p in (index, *place)]}")
    count, height, width = pictures.shape
    if len(index) and not (np.issubdtype(index.dtype, np.integer) and 0 <= index.min() and index.max() < count):
        raise OpticsError(f"frame must hold whole numbers from 0 to {count - 1}")
    first = [_first_pixel(part, image_px) for part in place]
    middle = [part + image_px // 2 for part in first]
    lost = (middle[0] < 0) | (middle[0] >= height) | (middle[1] < 0) | (middle[1] >= width)
    if lost.any():
        raise OpticsError(f"{lost.sum()} positions lie outside the frames of {height} x {width} pixels: row first?")
    rows, columns = (part[:, None] + np.arange(image_px) for part in first)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    if edge == "refuse" and not inside.all():
        out = int((~inside.all(axis=(1, 2))).sum())
        raise OpticsError(f"{out} stamps of {image_px} px stick out of the frame; drop them or give edge='mask'")
    rows, columns = np.clip(rows, 0, height - 1)[:, :, None], np.clip(columns, 0, width - 1)[:, None, :]
    images = np.where(inside, pictures[index[:, None, None], rows, columns], 0).astype(pictures.dtype)
    return Stamps(
        images=images,
        valid=inside,
        frame=index,
        first_row=first[0],
        first_column=first[1],
        camera=None if camera is None else _under(camera, (height, width), rows, columns),
    )


def to_frame_um(stamps: Stamps, xyz_um: ArrayLike, pixel_um: float) -> np.ndarray:
    """Positions (N, 3) in frame coordinates (origin: the outer corner of the first pixel) from those in the stamps.

    >>> stamps = cut_stamps(np.zeros((1, 20, 20)), [0], [10], [9], 5)
    >>> to_frame_um(stamps, np.zeros((1, 3)), 0.1).round(6).tolist()
    [[0.95, 1.05, 0.0]]
    """
    centre_px = np.stack([stamps.first_column, stamps.first_row], axis=1) + stamps.images.shape[-1] / 2
    return np.asarray(xyz_um) + np.concatenate([centre_px * float(pixel_um), np.zeros((len(centre_px), 1))], axis=1)


def _first_pixel(place: np.ndarray, image_px: int) -> np.ndarray:
    if not np.isfinite(place).all():
        raise OpticsError("row or column holds NaN or Inf")
    # a whole number names a pixel, whose centre lies half a pixel further
    position = place + 0.5 if np.issubdtype(place.dtype, np.integer) else place
    return np.floor(position - image_px / 2 + 0.5).astype(int)


def _under(camera: Camera, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> Camera:
    """The camera with the part of its maps that lies under each stamp."""
    maps = {}
    for field in dataclasses.fields(camera):
        value = getattr(camera, field.name)
        if np.ndim(value) == 2:
            if np.shape(value) != shape:
                raise OpticsError(f"camera.{field.name} has shape {np.shape(value)}, the frames {shape}")
            maps[field.name] = jnp.asarray(np.asarray(value)[rows, columns])
    return replace(camera, **maps)
