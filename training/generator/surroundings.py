"""Light around the emitters: haze and background (H, W) from the networks' maps, and Gaussian smoothing.

Both are smooth by construction, so that neither can imitate a PSF: haze is a sum of Gaussians no narrower than
`haze_px`, the background is a cubic spline on cells of `cell_px` pixels.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nets.dlp import Dlp, DlpConfig, apply_dlp


def render_haze(
    config: DlpConfig, variables: dict[str, Any], appearance: jax.Array, haze: jax.Array, xy_um: jax.Array,
    shape: tuple[int, int], pixel_um: float,
) -> jax.Array:  # fmt: skip
    """Render haze (H, W) around emitters at `xy_um` (K, 2); one emitter's full map has the value 1.

    `appearance` (K, F) gives each emitter a map of G x G cells, `glimpse_px` exp(haze[:, 1]) / G pixels apart, with
    brightness sigmoid(haze[:, 0]). A cell is a Gaussian with the cell's area and a width of `haze_px` or 0.65 of the
    cells' distance, whichever is larger: nothing is sharper than `haze_px`, and the lattice does not show.
    """
    maps = apply_dlp(config, variables, Dlp.haze, appearance)
    count = maps.shape[-1]
    pitch = config.glimpse_px / count * jnp.exp(haze[:, 1])
    cells = (jnp.arange(count) - (count - 1) / 2) * pitch[:, None]
    width = jnp.maximum(config.haze_px, 0.65 * pitch)[:, None, None]

    def weights(n: int, centre_px: jax.Array) -> jax.Array:
        distance = (jnp.arange(n) + 0.5)[:, None] - (centre_px[:, None] + cells)[:, None, :]
        bell = jnp.exp(-0.5 * (distance / width) ** 2) / (width * math.sqrt(2 * math.pi))
        return bell * pitch[:, None, None]

    y, x = weights(shape[0], xy_um[:, 1] / pixel_um), weights(shape[1], xy_um[:, 0] / pixel_um)
    return jnp.einsum("k,khi,kij,kwj->hw", jax.nn.sigmoid(haze[:, 0]), y, maps, x)


def render_background(
    config: DlpConfig, variables: dict[str, Any], latents: jax.Array, shape: tuple[int, int]
) -> jax.Array:
    """Render the background (H, W), in units of the movie's level, from latents (h, w, C) or (1, 1, code)."""
    if config.background == "code":
        picture = apply_dlp(config, variables, Dlp.picture, latents.reshape(1, -1))[0]
        return 2 * picture[: shape[0], : shape[1]]
    log_level = jnp.clip(apply_dlp(config, variables, Dlp.level, latents[None])[0], -5.0, 5.0)
    return spread_cells(jnp.exp(log_level), shape, float(config.cell_px))


def spread_cells(cells: jax.Array, shape: tuple[int, int], spacing_px: float) -> jax.Array:
    """Interpolate cells (h, w) to pixels (H, W) by cubic B-splines, which stay within the range of the cells' values.

    The first and last cells lie beyond the frame, see `DlpConfig.grid`.

    >>> level = spread_cells(jnp.ones((4, 5)), (20, 24), 10.0)
    >>> level.shape, float(level.std().round(5))
    ((20, 24), 0.0)
    """
    rows, columns = (
        jnp.asarray(_spline(n, m, spacing_px), cells.dtype) for n, m in zip(shape, cells.shape, strict=True)
    )
    return rows @ cells @ columns.T


@functools.lru_cache(maxsize=64)
def _spline(n_px: int, n_cells: int, spacing_px: float) -> NDArray:
    """Return weights (n_px, n_cells) of cubic B-splines at the cells' centres; the end cells are repeated beyond."""
    cells = np.arange(-3, n_cells + 3)
    u = np.abs((np.arange(n_px) + 0.5)[:, None] / spacing_px + 1 - (cells + 0.5))
    weight = np.where(u < 1, 2 / 3 - u**2 + u**3 / 2, np.maximum(2 - u, 0) ** 3 / 6)
    folded = np.zeros((n_px, n_cells))
    np.add.at(folded.T, np.clip(cells, 0, n_cells - 1), weight.T)
    return folded


def smooth(image: jax.Array, sigma_px: float) -> jax.Array:
    """Blur an image (H, W) by a Gaussian; at the edges the weights are normalised over the pixels of the image."""
    rows, columns = (jnp.asarray(_gaussian_weights(n, sigma_px), image.dtype) for n in image.shape)
    return rows @ image @ columns.T


def unsmoothed_variance(shape: tuple[int, int], sigma_px: float) -> NDArray:
    """Return the fraction (H, W) of white noise's variance that remains in `image - smooth(image, sigma_px)`."""
    rows, columns = (_gaussian_weights(n, sigma_px) for n in shape)
    own = np.outer(np.diag(rows), np.diag(columns))
    return 1 - 2 * own + np.outer((rows**2).sum(axis=1), (columns**2).sum(axis=1))


def _gaussian_weights(n: int, sigma_px: float) -> NDArray:
    bell = np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / sigma_px) ** 2)
    return bell / bell.sum(axis=1, keepdims=True)
