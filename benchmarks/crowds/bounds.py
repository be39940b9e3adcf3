"""The least scatter of each emitter of a frame among all the others: the Fisher matrix of the true scene, by numpy.

Nothing of the fits is used: images and slopes come from the exact optics at each true position, the matrix of all
positions, all photons and an even background is summed over the pixels of the frame and inverted in double precision.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from optics import Psf
from optics.psf import image_and_slopes, pupil_fields

_AT_ONCE = 4


@jax.jit
def _images(psf: Psf, points: jax.Array) -> jax.Array:
    shared = pupil_fields(psf)
    return jax.lax.map(lambda point: image_and_slopes(psf, shared, point), points, batch_size=_AT_ONCE)


def bounds_in_scene_um(psf: Psf, xyz_um: NDArray, photons: NDArray, level: NDArray) -> NDArray:
    """Standard deviations (N, 3) in um of x, y, z of N emitters of a frame, everything else of the frame unknown.

    `level` (H, W) is what lies behind the emitters, in photons; the noise is that of counted photons. Infinite where
    the frame cannot tell emitters apart.
    """
    n, side, pixel = len(photons), psf.image_px, float(psf.microscope.pixel_um)
    # first column and row of each stamp, its middle as near to the emitter as whole pixels allow
    first = np.round(xyz_um[:, :2] / pixel - side / 2).astype(int)
    inside = np.column_stack([xyz_um[:, :2] - (first + side / 2) * pixel, xyz_um[:, 2]])
    drawn = np.asarray(_images(psf, jnp.asarray(inside, dtype=float)), np.float64)
    height, width = level.shape
    padded = np.zeros((n, 4, height + 2 * side, width + 2 * side))
    for k, (column, row) in enumerate(np.clip(first + side, 0, [width + side, height + side])):
        padded[k, :, row : row + side, column : column + side] = drawn[k]
    on_frame = padded[:, :, side : side + height, side : side + width]
    mean = level + np.einsum("n,nyx->yx", photons, on_frame[:, 0])
    slopes = np.concatenate([on_frame[:, 1:] * photons[:, None, None, None], on_frame[:, :1]], axis=1)
    columns = np.concatenate([slopes.reshape(4 * n, -1), np.ones((1, level.size))]) / np.sqrt(mean).reshape(1, -1)
    scale = 1 / np.linalg.norm(columns, axis=1)
    unit = columns * scale[:, None]
    variance = np.diag(np.linalg.inv(unit @ unit.T)) * scale**2
    variance = np.where(variance > 0, variance, np.inf)
    return np.sqrt(variance[: 4 * n].reshape(n, 4)[:, :3])
