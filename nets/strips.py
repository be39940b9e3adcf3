"""Inference of the localization network on a CPU: the fine layers in strips of rows that stay in the cache.

Nine tenths of the work is at the output's resolution, where one layer of a 121 x 121 frame with 121 depths
fills 113 MB; writing and reading such maps costs as much as the convolutions. Here each strip goes through
all fine layers at once, with the rows that it needs of its neighbours computed again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nets.blocks import depth_to_space, leaky_relu, nearest_upsample

STRIP_ROWS = 44  # fine rows a strip, even: fewer recompute more of the neighbours, more leave the cache
LAYOUT = ("NHWC", "HWIO", "NHWC")
LANES = 16  # channels are padded with zeros to a multiple of this: one vector register of float32


class _Block(NamedTuple):
    """Convolution, LeakyReLU and evaluation-mode batch norm: scale * leaky(conv + bias) + shift."""

    kernel: jax.Array
    bias: jax.Array
    scale: jax.Array
    shift: jax.Array


def _channels(v: jax.Array) -> jax.Array:
    return v.reshape(1, 1, 1, -1)


def _affine(weight: dict, stats: dict) -> tuple[jax.Array, jax.Array]:
    scale = weight["scale"] * lax.rsqrt(stats["var"] + 1e-5)
    return _channels(scale), _channels(weight["bias"] - scale * stats["mean"])


def _block(variables: dict, name: str) -> _Block:
    params = variables["params"][name]
    affine = _affine(params["norm"], variables["batch_stats"][name]["norm"])
    return _Block(params["conv"]["kernel"], _channels(params["conv"]["bias"]), *affine)


def _run(block: _Block, x: jax.Array, dilation: int = 1, rows: str = "SAME") -> jax.Array:
    """The block with zero padding of the columns, and of the rows where `rows` is "SAME"."""
    reach = dilation * (block.kernel.shape[0] // 2)
    y = lax.conv_general_dilated(
        x,
        block.kernel,
        (1, 1),
        ((reach, reach) if rows == "SAME" else (0, 0), (reach, reach)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=LAYOUT,
    )
    return block.scale * leaky_relu(y + block.bias) + block.shift


def _fill(x: jax.Array, axis: int) -> jax.Array:
    """Zeros up to a multiple of LANES; padded channels stay exactly 0 through every block."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % LANES)
    return jnp.pad(x, widths)


def _upsampled(block: _Block, x: jax.Array) -> jax.Array:
    """Nearest upsampling, then the block, without ever making the upsampled map.

    A 3 x 3 kernel on doubled pixels sees only 2 x 2 different ones, so each of the four output phases is a
    2 x 2 convolution at the coarse resolution: 16 multiplications a pixel block instead of 36.
    `x` (1, h + 2, w, C), one row of halo on each side -> (1, 2 h, 2 w, O).
    """
    k = block.kernel
    x = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    h, w = x.shape[1] - 2, x.shape[2] - 2
    phases = []
    for p, row in enumerate(([k[0], k[1] + k[2]], [k[0] + k[1], k[2]])):
        r = jnp.stack(row)
        for q, pair in enumerate(([r[:, 0], r[:, 1] + r[:, 2]], [r[:, 0] + r[:, 1], r[:, 2]])):
            view = x[:, p : p + h + 1, q : q + w + 1]
            phases.append(lax.conv_general_dilated(view, jnp.stack(pair, 1), (1, 1), "VALID", dimension_numbers=LAYOUT))
    y = depth_to_space(jnp.concatenate(phases, axis=-1))
    return block.scale * leaky_relu(y + block.bias) + block.shift


def localize_in_strips(config: Any, variables: dict, x: jax.Array) -> jax.Array:
    """Compute the evaluation-mode output (B, u H, u W, depth) of a localization network, u = 2 or 4.

    `config` is its `LocalizationNetConfig`, `x` (B, H, W, 1). Equal to the module's output up to the order of
    summation.
    """
    scale, shift = _affine(variables["params"]["norm"], variables["batch_stats"]["norm"])
    image = scale * x + shift
    out = _run(_block(variables, "layer1"), image)
    for i, dilation in enumerate(config.dilations[1:], start=2):
        out = out + _run(_block(variables, f"layer{i}"), jnp.concatenate([out, image], axis=-1), dilation)
    out = jnp.concatenate([out, image], axis=-1)
    ups = config.upsampling.bit_length() - 1
    for i in range(1, ups):
        out = _run(_block(variables, f"deconv{i}"), nearest_upsample(out))
    first = len(config.dilations) + 1
    wide = []
    for i in range(first, first + 3):
        b = _block(variables, f"layer{i}")
        kernel = _fill(b.kernel, 3) if i == first else _fill(_fill(b.kernel, 2), 3)
        wide.append(_Block(kernel, *(_fill(v, 3) for v in b[1:])))
    final = variables["params"][f"layer{first + 3}"]
    end_kernel = _fill(final["kernel"][0, 0], 0)
    up_block = _block(variables, f"deconv{ups}")

    batch, half_rows, half_columns, _ = out.shape
    height, width = 2 * half_rows, 2 * half_columns
    rows = min(STRIP_ROWS, height)
    strips = -(-height // rows)
    out = jnp.pad(out, ((0, 0), (3, 3), (0, 0), (0, 0)))

    def zero_outside(y, row):
        """Layers see zeros outside the frame, not what the halo rows there would compute."""
        at = row + jnp.arange(y.shape[1])
        return jnp.where(((at >= 0) & (at < height))[None, :, None, None], y, 0)

    def strip(index, volume):
        # The last strip starts early enough to be full: some rows are computed twice, with the same result.
        frame, row = index // strips, jnp.minimum((index % strips) * rows, height - rows)
        y = lax.dynamic_slice(out, (frame, row // 2, 0, 0), (1, rows // 2 + 6, half_columns, out.shape[-1]))
        y = zero_outside(_upsampled(up_block, y), row - 4)[:, 1:-1]
        y = zero_outside(_run(wide[0], y, rows="VALID"), row - 2)
        y = zero_outside(y[:, 1:-1] + _run(wide[1], y, rows="VALID"), row - 1)
        y = y[:, 1:-1] + _run(wide[2], y, rows="VALID")
        y = jnp.clip(y @ end_kernel + _channels(final["bias"]), 0, config.scaling)
        return lax.dynamic_update_slice(volume, y, (frame, row, 0, 0))

    volume = jnp.zeros((batch, height, width, config.depth), x.dtype)
    return lax.fori_loop(0, batch * strips, strip, volume)
