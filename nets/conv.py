"""A 'same' convolution whose weight gradient is written for the CPU, where XLA's own is its weak spot."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from nets.errors import NetsError

# Pixels of one matrix product in the weight gradient: one 64 x 64 image, or a strip of a larger one.
# Smaller strips leave the two cores waiting on each other, larger ones fall out of the cache.
STRIP_PX = 4096


def _convolve(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding="SAME",
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def kernel_gradient_xla(x: jax.Array, g: jax.Array, size: int, dilation: int) -> jax.Array:
    """Return the gradient of a kernel (size, size, C, O) as XLA computes it, on any device."""
    kernel = jnp.zeros((size, size, x.shape[-1], g.shape[-1]), x.dtype)
    _, pullback = jax.vjp(lambda k: _convolve(x, k, dilation), kernel)
    return pullback(g)[0]


def _shift(x: jax.Array, by: int, axis: int) -> jax.Array:
    """Entry i becomes entry i + `by` of the axis, zero where there is none."""
    moves = [(0, 0, 0)] * x.ndim
    moves[axis] = (-by, by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), moves)


def kernel_gradient_strips(x: jax.Array, g: jax.Array, size: int, dilation: int) -> jax.Array:
    """Sum over image strips of one matrix product each.

    dK[a, b] = sum over pixels of x[r + a, c + b]^T g[r, c]. Moving the row shift to g gives
    x[r, c + b]^T g[r - a, c], so `size` column-shifted copies of x against `size` row-shifted copies of g
    hold all size^2 blocks in one product: a third of the copying of an im2col with 9 C columns, and a
    squarer, faster product. benchmarks/conv_gradient.py times it against XLA's own and against the im2col.
    """
    batch, height, width, c_in = x.shape
    c_out = g.shape[-1]
    shifts = [dilation * (tap - size // 2) for tap in range(size)]
    reach = shifts[-1]
    rows = max(1, min(height, STRIP_PX // width))
    strips = -(-height // rows)
    fill = strips * rows - height  # rows of zeros that make the strips equal; they add nothing
    if strips > 1:  # a strip of g needs its neighbours' rows; whole images are shifted in the cache instead
        x = jnp.pad(x, ((0, 0), (0, fill), (0, 0), (0, 0)))
        g = jnp.pad(g, ((0, 0), (reach, reach + fill), (0, 0), (0, 0)))

    def add_strip(total, index):
        image, row = index // strips, (index % strips) * rows
        x_strip = lax.dynamic_slice(x, (image, row, 0, 0), (1, rows, width, c_in))
        if strips > 1:
            g_shifted = [lax.dynamic_slice(g, (image, row + reach - s, 0, 0), (1, rows, width, c_out)) for s in shifts]
        else:
            g_image = lax.dynamic_slice(g, (image, 0, 0, 0), (1, rows, width, c_out))
            g_shifted = [_shift(g_image, -s, axis=1) for s in shifts]
        x_shifted = [_shift(x_strip, s, axis=2) for s in shifts]
        left = jnp.concatenate([s.reshape(rows * width, c_in) for s in x_shifted], axis=1)
        right = jnp.concatenate([s.reshape(rows * width, c_out) for s in g_shifted], axis=1)
        # Transposed in memory first: XLA would fold the transpose into a slower product (10-25 % at 64 channels).
        return total + lax.optimization_barrier(left.T) @ right, None

    zero = jnp.zeros((size * c_in, size * c_out), x.dtype)
    total, _ = lax.scan(add_strip, zero, jnp.arange(batch * strips))
    return total.reshape(size, c_in, size, c_out).transpose(2, 0, 1, 3)


_convolve_trained = jax.custom_vjp(_convolve, nondiff_argnums=(2,))


def _forward(x, kernel, dilation):
    return _convolve(x, kernel, dilation), (x, kernel)


def _backward(dilation, saved, g):
    x, kernel = saved
    size = kernel.shape[0]
    _, pullback = jax.vjp(lambda image: _convolve(image, kernel, dilation), x)
    own = functools.partial(kernel_gradient_strips, size=size, dilation=dilation)
    xla = functools.partial(kernel_gradient_xla, size=size, dilation=dilation)
    # Chosen when the program is lowered, not when it is traced: the same trace may go to a GPU.
    return pullback(g)[0], lax.platform_dependent(x, g, cpu=own, default=xla)


_convolve_trained.defvjp(_forward, _backward)


def conv2d(x: jax.Array, kernel: jax.Array, dilation: int = 1) -> jax.Array:
    """Convolve with zero padding to the same size, stride 1.

    `x` (B, H, W, C), `kernel` (k, k, C, O) with k odd -> (B, H, W, O), both of one dtype. Reverse-mode
    differentiable; raises `NetsError` for an even or oblong kernel.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.ones((1, 3, 3, 1), jnp.float32), jnp.ones((3, 3, 1, 1), jnp.float32)
    >>> conv2d(x, kernel)[0, :, 1, 0]
    Array([6., 9., 6.], dtype=float32)
    """
    size, width = kernel.shape[:2]
    if size != width or size % 2 == 0:
        raise NetsError(f"kernel: {size} x {width} is not square and odd; use 1 x 1, 3 x 3, ...")
    return _convolve_trained(x, kernel, dilation)  # pyright: ignore[reportReturnType]
