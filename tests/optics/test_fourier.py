"""The transform from pupil to image: fast against plain, plain against numpy's FFT, shifts, Parseval."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optics import fourier
from optics.grids import disk_nodes, pixel_centres_um


def random_fields(shape, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (9, 9), (8, 11), (7, 10)])
@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 7), (5, 8)])
def test_folded_intensity_equals_the_plain_field_squared(rows, columns, height, width):
    """Odd and even numbers of nodes and pixels, nodes at other places in every row: 1e-12."""
    rng = np.random.default_rng(1)
    kx = np.sort(rng.uniform(-3, 3, (rows, columns)), axis=1)
    kx = (kx - kx[:, ::-1]) / 2  # the symmetries that `disk_nodes` has
    kx = jnp.asarray((kx + kx[::-1]) / 2)
    ky = np.sort(rng.uniform(-3, 3, rows))
    ky = jnp.asarray((ky - ky[::-1]) / 2)
    fields = random_fields((3, rows, columns))
    x, y = pixel_centres_um(width, 0.3), pixel_centres_um(height, 0.4)
    fast = jax.jit(fourier.intensity)(fields, kx, ky, x, y)
    angle = np.multiply.outer(kx, x)[:, :, None, :] + np.multiply.outer(ky, y)[:, None, :, None]
    kernel = np.exp(1j * angle)  # (row, column, y, x)
    plain = np.sum(np.abs(np.einsum("frq,rqyx->fyx", fields, kernel)) ** 2, axis=0)
    np.testing.assert_allclose(fast, plain, rtol=1e-12, atol=1e-12 * plain.max())


@pytest.mark.parametrize("n", [16, 17])
def test_on_an_fft_grid_it_is_the_fft(n):
    """Nodes and pixels of a DFT: E = n^2 ifft2 origins in the middle: the kernel is exp(+i k r)."""
    values = random_fields((n, n))
    index = np.arange(n) - n // 2
    k, x = jnp.asarray(2 * np.pi * index / n), jnp.asarray(index.astype(float))
    ours = fourier.field(values, jnp.broadcast_to(k, (n, n)), k, x, x)
    theirs = n**2 * np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(np.asarray(values))))
    np.testing.assert_allclose(ours, theirs, atol=1e-11 * np.abs(theirs).max())
    # and Parseval of the discrete transform
    assert float(jnp.sum(jnp.abs(ours) ** 2)) == pytest.approx(float(n**2 * jnp.sum(jnp.abs(values) ** 2)), rel=1e-12)


def test_parseval_over_the_plane():
    """A pupil that fades smoothly: the image plane's power is (2 pi)^2 times the pupil's, to 1e-6."""
    nodes = disk_nodes(48, 0, 6.0, 99.0)
    x, y = nodes.x, nodes.y[:, None]
    pupil = jnp.exp(-2 * ((x - 0.5) ** 2 + y**2) + 1j * (0.4 * x * y - 0.7 * y))
    grid = pixel_centres_um(64, 0.25)
    light = fourier.intensity((pupil * nodes.weight)[None], x, nodes.y, grid, grid)
    power = (2 * jnp.pi) ** 2 * jnp.sum(jnp.abs(pupil) ** 2 * nodes.weight)
    assert float(light.sum() * 0.25**2) == pytest.approx(float(power), rel=1e-6)


def test_a_linear_phase_moves_the_image():
    """exp(-i k r0) puts the picture at r0: one pixel to the right, along columns, to 1e-12 of the peak."""
    nodes = disk_nodes(24, 0, 3.0, 99.0)
    pupil = jnp.exp(1j * 0.3 * nodes.x**2) * nodes.weight
    grid = pixel_centres_um(15, 0.3)
    still = fourier.intensity(pupil[None], nodes.x, nodes.y, grid, grid)
    moved = fourier.intensity((pupil * jnp.exp(-1j * nodes.x * 0.3))[None], nodes.x, nodes.y, grid, grid)
    np.testing.assert_allclose(moved[:, 1:], still[:, :-1], atol=1e-12 * float(still.max()))


def test_gradient_of_the_folded_transform_equals_that_of_the_plain_one():
    """By the fields and by the nodes' places."""
    nodes = disk_nodes(9, 0, 3.0, 99.0)
    grid = pixel_centres_um(6, 0.3)
    weights = jnp.asarray(np.random.default_rng(2).uniform(size=(6, 6)))
    real = random_fields((9, 9)).real

    def fast(scale, real):
        light = fourier.intensity((real + 0.5j)[None], scale * nodes.x, scale * nodes.y, grid, grid)
        return jnp.sum(weights * light)

    def plain(scale, real):
        return jnp.sum(weights * jnp.abs(fourier.field(real + 0.5j, scale * nodes.x, scale * nodes.y, grid, grid)) ** 2)

    def gradient(function):
        return jax.jit(jax.grad(function, (0, 1)))(1.1, real)

    for ours, truth in zip(gradient(fast), gradient(plain), strict=True):
        np.testing.assert_allclose(ours, truth, rtol=1e-9, atol=1e-9)
