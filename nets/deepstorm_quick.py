"""Deep-STORM's light layout written for speed: enlargement and convolution are one step on the coarse grid.

A fine pixel of a map that was enlarged bilinearly, then convolved with 5 x 5 taps, is a sum over 4 x 4 coarse pixels.
The four fine pixels around a corner of the coarse grid look at the same 4 x 4, so one convolution with four times the
channels makes them all: two thirds of the multiplications, and no enlarged map. Nothing is padded: a window of the
frame answers for the pixels whose whole neighbourhood it holds.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nets.api import Variables
from nets.blocks import depth_to_space

TRUNK_LAYERS = 6  # 3 x 3, on the camera's grid
_EPSILON = 1e-5  # of the batch norms


@functools.cache
def _corner_weights() -> np.ndarray:
    """Weights (4 coarse, 2 fine, 5 taps) along one axis: tap t of fine pixel p around a corner is made of these."""
    weights = np.zeros((4, 2, 5))
    for p in range(2):
        for tap in range(5):
            fine = 3 + p + tap - 2  # coarse pixel 0 begins at fine 0, the corner lies between coarse 1 and 2
            centre = (fine + 0.5) / 2 - 0.5
            low = int(np.floor(centre))
            weights[low, p, tap] += 1 - (centre - low)
            if centre > low:
                weights[low + 1, p, tap] += centre - low
    return weights


def corner_kernel(kernel: jax.Array) -> jax.Array:
    """Turn a kernel (5, 5, C, O) after bilinear enlargement into one (4, 4, C, 4 O) on the coarse grid.

    Channels are (fine row, fine column, O) of the 2 x 2 fine pixels around a corner.
    """
    w = jnp.asarray(_corner_weights(), kernel.dtype)
    whole = jnp.einsum("ipt,jqs,tsco->ijcpqo", w, w, kernel)
    return whole.reshape(4, 4, kernel.shape[2], 4 * kernel.shape[3])


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve (B, H, W, C) with (k, k, C, O) without padding."""
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def spans(upsampling: int, side_px: int) -> list[tuple[int, int]]:
    """List first and stop of what each grid must hold, from the camera's to the finest, for an output of `side_px`.

    In pixels of that grid from the output's first camera pixel.

    >>> spans(8, 10)
    [(-3, 13), (-3, 23), (-2, 42), (0, 80)]
    """
    first, stop, factor = 0, upsampling * side_px, upsampling
    found = [(first, stop)]
    while factor > 1:
        first, stop, factor = (first - 3) // 2, -(-(stop + 3) // 2), factor // 2
        found.append((first, stop))
    return found[::-1]


def halo_px(upsampling: int) -> int:
    """Return how many camera pixels around its output a window must hold: 9 at 8 x."""
    return TRUNK_LAYERS - spans(upsampling, 1)[0][0]


def crop_corners(y: jax.Array, coarse: tuple[tuple[int, int], ...], fine: tuple[tuple[int, int], ...]) -> jax.Array:
    """Cut fine pixels (B, H, W, C) made from corners of the `coarse` spans (rows, columns) down to the `fine` ones."""
    for axis, ((start, _), (first, stop)) in enumerate(zip(coarse, fine, strict=True), start=1):
        y = lax.slice_in_dim(y, first - (2 * start + 3), stop - (2 * start + 3), axis=axis)
    return y


def _folded(variables: Variables, name: str) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias of a convolution with its batch norm in them, as in evaluation."""
    params, stats = variables["params"][name], variables["batch_stats"][name]["norm"]
    scale = params["norm"]["scale"] * lax.rsqrt(stats["var"] + _EPSILON)
    bias = (params["conv"]["bias"] - stats["mean"]) * scale + params["norm"]["bias"]
    return params["conv"]["kernel"] * scale.reshape(1, 1, 1, -1), bias.reshape(1, 1, 1, -1)


def read_window(variables: Variables, x: jax.Array, upsampling: int) -> jax.Array:
    """Evaluate the light network on windows (B, h + 2 halo, w + 2 halo), at its scale: (B, u h, u w).

    `variables` are those of either light variant; no window's border shows, what lies around it is in it. Equal to the
    layer-by-layer network but for rounding.
    """
    halo = halo_px(upsampling)
    rows, columns = (spans(upsampling, side - 2 * halo) for side in x.shape[1:3])
    variables = jax.tree.map(lambda leaf: leaf.astype(x.dtype), variables)
    y = x[..., None]
    for i in range(TRUNK_LAYERS):
        kernel, bias = _folded(variables, f"block{i + 1}")
        y = jax.nn.relu(convolve(y, kernel) + bias)
    levels = len(rows) - 1
    for i in range(levels):
        kernel, bias = _folded(variables, f"fine{i + 1}")
        y = jax.nn.relu(convolve(y, corner_kernel(kernel)) + jnp.tile(bias, (1, 1, 1, 4)))
        if i == levels - 1:  # the last layer looks at single pixels: before the corners are spread, they are few
            y = y.reshape(*y.shape[:3], 4, -1) @ variables["params"]["density"]["kernel"][0, 0, :, 0]
        y = crop_corners(depth_to_space(y), (rows[i], columns[i]), (rows[i + 1], columns[i + 1]))
    return y[..., 0]
