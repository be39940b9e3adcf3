"""The convolution and its hand-written weight gradient."""

import itertools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nets import NetsError
from nets.conv import STRIP_PX, conv2d


def _reference(x, kernel, dilation):
    """Slow, obvious: one shifted product per tap, in numpy float64."""
    size = kernel.shape[0]
    reach = dilation * (size // 2)
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = x.shape[1:3]
    out = np.zeros((*x.shape[:3], kernel.shape[-1]))
    for a, b in itertools.product(range(size), range(size)):
        rows, columns = dilation * a, dilation * b
        out += padded[:, rows : rows + height, columns : columns + width] @ np.asarray(kernel[a, b], np.float64)
    return out


def _example(shape, c_out, size, dtype):
    rng = np.random.default_rng(3)
    shapes = shape, (size, size, shape[-1], c_out), (*shape[:3], c_out)
    return tuple(jnp.asarray(rng.normal(size=s), dtype) for s in shapes)


SHAPES = [
    ((2, 8, 8, 3), 5, 3, 1),
    ((1, 7, 11, 2), 4, 3, 2),
    ((3, 9, 5, 4), 1, 3, 4),  # dilation as large as half the image
    ((2, 5, 5, 3), 2, 3, 8),  # taps that only ever see padding
    ((2, 6, 7, 3), 2, 1, 1),
    ((1, 6, 9, 2), 3, 5, 1),
    ((2, STRIP_PX // 32 + 5, 32, 2), 3, 3, 2),  # several strips, the last one not full
]


@pytest.mark.parametrize(("shape", "c_out", "size", "dilation"), SHAPES)
def test_forward_is_the_sum_of_shifted_products(shape, c_out, size, dilation):
    """The convolution is a zero-padded cross-correlation, whatever the size and dilation."""
    x, kernel, _ = _example(shape, c_out, size, jnp.float32)
    # up to 50 products of order one: 50 roundings of 6e-8 of a partial sum near 7, their square root
    np.testing.assert_allclose(conv2d(x, kernel, dilation), _reference(x, kernel, dilation), atol=2e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-5), (jnp.float64, 1e-13)])
@pytest.mark.parametrize(("shape", "c_out", "size", "dilation"), SHAPES)
def test_gradients_match_xla(shape, c_out, size, dilation, dtype, tolerance):
    """Both gradients equal those that XLA derives from the plain convolution, relative to their largest."""
    with jax.enable_x64(True):
        x, kernel, g = _example(shape, c_out, size, dtype)

        def plain(x, kernel):
            return lax.conv_general_dilated(
                x,
                kernel,
                (1, 1),
                "SAME",
                rhs_dilation=(dilation, dilation),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )

        @jax.jit
        def both(x, kernel, g):
            ours = jax.vjp(lambda x, k: conv2d(x, k, dilation), x, kernel)[1](g)
            return ours, jax.vjp(plain, x, kernel)[1](g)

        ours, theirs = both(x, kernel, g)
    for got, want in zip(ours, theirs, strict=True):
        assert got.dtype == dtype
        # sums of thousands: roundings add up with the square root of their number, 100 x 6e-8 (1e-16) of the largest
        np.testing.assert_allclose(got, want, atol=tolerance * float(np.abs(want).max()))


def test_weight_gradient_is_linear_in_the_batch():
    """vmap over examples and summing gives the same weight gradient as the batch does."""
    x, kernel, g = _example((4, 8, 8, 3), 2, 3, jnp.float32)

    def weight_gradient(x, g):
        return jax.vjp(lambda k: conv2d(x, k, 2), kernel)[1](g)[0]

    single = jax.vmap(weight_gradient)(x[:, None], g[:, None]).sum(0)
    # 256 products of order one: 256 roundings of 6e-8 of a partial sum near 16 are 2e-4, were they all one way
    np.testing.assert_allclose(single, weight_gradient(x, g), atol=1e-4)


@pytest.mark.parametrize(("platform", "loops"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_each_platform_gets_its_own_gradient(platform, loops):
    """A program lowered here for an accelerator holds XLA's convolution gradient, not the CPU's loop."""
    x, kernel, _ = _example((2, 8, 8, 3), 4, 3, jnp.float32)
    gradient = jax.jit(jax.grad(lambda k: (conv2d(x, k) ** 2).sum()))
    text = jax.export.export(gradient, platforms=[platform])(kernel).mlir_module()
    assert ("stablehlo.while" in text) == loops


@pytest.mark.parametrize("shape", [(2, 2), (3, 5)])
def test_kernels_without_a_centre_are_refused(shape):
    """An even or oblong kernel has no 'same' convolution and says so."""
    with pytest.raises(NetsError, match="square and odd"):
        conv2d(jnp.zeros((1, 4, 4, 1)), jnp.zeros((*shape, 1, 1)))
