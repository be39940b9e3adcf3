"""A smooth surface over a frame, with a prior: how much it varies, and over what distance.

A Gaussian random field of correlation exp(-d^2 / (2 l^2)) is a sum of independent smooth functions of falling weight
(Karhunen and Loeve; Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT Press 2006, ch. 4.3). The
correlation is a product over rows and columns, and so are the functions: a few of each axis carry all but 1e-3 of it.
The mean over the frame is left free. How much a frame's surface varies is learned from the frame itself, by evidence
(MacKay 1992, doi 10.1162/neco.1992.4.3.415): an even background costs an emitter nothing, a structured one is not
explained by emitters.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from optics.pytree import pytree, replace, static
from optics.types import OpticsError

_LEAST_SHARE = 1e-3  # of the strongest function of an axis: what is weaker is left out
_LEAST_SPREAD, MOST_SPREAD = 3e-3, 3.0  # of the mean: what a surface varies by
_LEARNING = 4  # steps; where there is little to learn each one halves the spread


@pytree
class Surface:
    """Functions of a frame (H, W): `rows` (H, A) and `columns` (W, B), the first of each even; a surface has A B
    coefficients in photons per pixel, those without stiffness its means.

    The prior of coefficient (a, b) is a normal distribution of variance spread^2 / `stiffness` (A, B), 0 for the mean.
    """

    rows: jax.Array
    columns: jax.Array
    stiffness: jax.Array
    correlation_px: float = static()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frame."""
        return self.rows.shape[0], self.columns.shape[0]


def make_surface(shape: tuple[int, int], correlation_px: float) -> Surface:
    """Make the surfaces of frames of `shape` (H, W) that vary over `correlation_px` (standard deviation) and more.

    Raises `OpticsError` for a length that is not positive.

    >>> surface = make_surface((40, 64), 12.0)
    >>> flat = even(surface, 7.0)
    >>> flat.shape, bool(jnp.allclose(surface_at(surface, flat), 7.0))
    ((6, 8), True)
    """
    if not (correlation_px > 0 and np.isfinite(correlation_px)):
        raise OpticsError(f"correlation_px = {correlation_px} must be positive and finite")
    (rows, mean_rows), (columns, mean_columns) = (_functions(n, correlation_px) for n in shape)
    stiffness = np.ones((rows.shape[1], columns.shape[1]))
    stiffness[:, 0], stiffness[0, :] = 1 / mean_columns, 1 / mean_rows
    stiffness[0, 0] = 0
    rows, columns, stiffness = (jnp.asarray(part, dtype=float) for part in (rows, columns, stiffness))
    return Surface(rows=rows, columns=columns, stiffness=stiffness, correlation_px=float(correlation_px))


def _functions(n_px: int, correlation_px: float) -> tuple[NDArray, float]:
    """An even function and those of the field about its mean (n_px, A), of unit prior; and the variance of the mean."""
    place = np.arange(n_px)
    field = np.exp(-((place[:, None] - place) ** 2) / (2 * correlation_px**2))
    about = field - field.mean(axis=0)
    about = about - about.mean(axis=1, keepdims=True)
    strength, modes = np.linalg.eigh(about)
    strength, modes = strength[::-1], modes[:, ::-1]
    kept = strength > _LEAST_SHARE * max(strength[0], n_px * 1e-3)
    return np.concatenate([np.ones((n_px, 1)), modes[:, kept] * np.sqrt(strength[kept])], axis=1), float(field.mean())


def stack(surface: Surface, count: int) -> Surface:
    """Surfaces of `count` frames one below the other, (count H, W), each with coefficients and a mean of its own."""
    rows = jax.scipy.linalg.block_diag(*[surface.rows] * count)
    return replace(surface, rows=rows, stiffness=jnp.tile(surface.stiffness, (count, 1)))


def even(surface: Surface, photons: jax.Array | float) -> jax.Array:
    """The coefficients (A, B) of a surface that is `photons` per pixel everywhere."""
    return jnp.where(surface.stiffness == 0, photons, 0.0)


def surface_at(surface: Surface, coefficients: jax.Array) -> jax.Array:
    """The surface (H, W) of coefficients (A, B)."""
    return surface.rows @ coefficients @ surface.columns.T


def project(surface: Surface, images: jax.Array) -> jax.Array:
    """The products (..., A * B) of images (..., H, W) with the surface's functions, summed over pixels."""
    # columns first: that is one large product over all images
    by_row = images @ surface.columns
    return jnp.einsum("ya,...yb->...ab", surface.rows, by_row).reshape(*images.shape[:-2], -1)


def gram(surface: Surface, weight: jax.Array) -> jax.Array:
    """The products (A * B, A * B) of the functions with each other, pixels weighted by `weight` (H, W)."""
    (height, a), (width, b) = surface.rows.shape, surface.columns.shape
    rows = jnp.einsum("ya,yc->yac", surface.rows, surface.rows).reshape(height, -1)
    columns = jnp.einsum("xb,xd->xbd", surface.columns, surface.columns).reshape(width, -1)
    return (rows.T @ weight @ columns).reshape(a, a, b, b).transpose(0, 2, 1, 3).reshape(a * b, a * b)


def roughness(surface: Surface, coefficients: jax.Array, spread: jax.Array) -> jax.Array:
    """Minus the logarithm of the prior of coefficients (A, B), up to a constant: what a structured surface costs."""
    return jnp.sum(surface.stiffness * coefficients**2) / (2 * spread**2)


def learn_spread(
    surface: Surface,
    coefficients: jax.Array,
    information: jax.Array,
    slope: jax.Array,
    spread: jax.Array,
    most_spread: jax.Array | float = MOST_SPREAD,
) -> jax.Array:
    """The spread in photons per pixel that a frame speaks for, from its likelihood by the coefficients (A, B).

    `information` (A B, A B) of the frame about them, all else fitted along, and its `slope` (A B,) there, both without
    the prior. MacKay's iteration: the squares of the coefficients over how many of them the frame determines. It is at
    most `most_spread` of the mean.
    """
    stiffness = surface.stiffness.ravel()
    pull = slope + information @ coefficients.ravel()
    mean = jnp.maximum(jnp.max(jnp.where(surface.stiffness == 0, coefficients, 0.0)), 1.0)
    # in units of the prior of the first spread, so that single precision holds what varies by much and by little
    scale = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(information) + stiffness / spread**2, 1e-30))

    def again(_, spread):
        prior = jnp.diag(stiffness / spread**2 * scale**2 + 1e-6)
        inverse = jnp.linalg.inv(information * scale[:, None] * scale[None] + prior)
        best = scale * (inverse @ (scale * pull))
        variance = scale**2 * jnp.diagonal(inverse)
        told = jnp.sum(jnp.where(stiffness > 0, jnp.clip(1 - stiffness * variance / spread**2, 0.0, 1.0), 0.0))
        found = jnp.sqrt(jnp.sum(stiffness * best**2) / jnp.maximum(told, 0.5))
        return jnp.clip(found, _LEAST_SPREAD * mean, most_spread * mean)

    return jax.lax.fori_loop(0, _LEARNING, again, spread)
