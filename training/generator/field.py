"""The prior of a smooth background: the divergence of a grid of latents from a random field of learned roughness.

The prior of a frame's latents z on a grid is N(0, s Q^-1), Q = tau (kappa^2 + L) with the grid's Laplacian L (a
Gaussian Markov random field; Rue and Held 2005, doi 10.1201/9780203492024, ch. 3), of a strength s that differs from
frame to frame: 1/s ~ Gamma(a, 1). Over s that is a multivariate t, and for an independent Gaussian posterior the bound

    KL <= (a + n/2) log(1 + E[z' Q z] / 2) + log Gamma(a) - log Gamma(a + n/2) - log|Q| / 2 - sum log std - n/2

holds with equality for the best posterior of s (Jensen). Q is diagonal in the cosines of the grid. Smooth and wide
light costs little; structure as sharp as an emitter costs more, the smoother the movie's background is.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from numpy.typing import NDArray

_SHAPE = 1.0  # a, of the strength's distribution: heavy tails, for smooth frames beside rough ones


def field_divergence(mean: jax.Array, log_std: jax.Array, log_rough: jax.Array, log_range: jax.Array) -> jax.Array:
    """Compute the bound in nats for latents of `mean` and `log_std` (h, w).

    `log_rough` is -log(tau), `log_range` is -log(kappa).

    >>> flat = field_divergence(jnp.ones((4, 5)), jnp.full((4, 5), -2.0), jnp.zeros(()), jnp.log(3.0))
    >>> bumpy = field_divergence(jnp.eye(4, 5) * 2, jnp.full((4, 5), -2.0), jnp.zeros(()), jnp.log(3.0))
    >>> bool(flat < bumpy)
    True
    """
    rows, columns = (_cosines(n) for n in mean.shape)
    level = sum(jnp.meshgrid(_laplacian(mean.shape[0]), _laplacian(mean.shape[1]), indexing="ij"))
    precision = jnp.exp(-log_rough) * (jnp.exp(-2 * log_range) + level)
    waves = rows @ mean @ columns.T
    diagonal = (rows**2).T @ precision @ columns**2  # of Q
    square = jnp.sum(precision * waves**2) + jnp.sum(diagonal * jnp.exp(2 * log_std))
    n = mean.size
    strength = (_SHAPE + n / 2) * jnp.log1p(square / 2) + gammaln(_SHAPE) - gammaln(_SHAPE + n / 2)
    return strength - 0.5 * jnp.sum(jnp.log(precision)) - jnp.sum(log_std) - n / 2


def _laplacian(n: int) -> NDArray:
    return 2 - 2 * np.cos(np.pi * np.arange(n) / n)


@functools.lru_cache(maxsize=64)
def _cosines(n: int) -> NDArray:
    """Return the orthonormal cosines (n, n) in which the Laplacian of n cells in a row is diagonal."""
    k, x = np.arange(n)[:, None], np.arange(n)[None] + 0.5
    return np.cos(np.pi * k * x / n) * np.sqrt(np.where(k == 0, 1.0, 2.0) / n)
