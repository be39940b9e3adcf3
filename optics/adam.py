"""Adam, the optimiser of a retrieval and of a noisy design: two running means of the slope (arXiv 1412.6980)."""

from typing import Any, NamedTuple

import jax

# how much of a mean is kept at a step, and how much of it is new
_MEAN, _SQUARE = (0.9, 0.1), (0.99, 0.01)


class Moments(NamedTuple):
    """Running means of the slope and of its square, each a tree like the parameters."""

    first: Any
    second: Any


def no_moments(params: Any) -> Moments:
    """Return the moments before the first step, for a tree of numpy or jax arrays.

    >>> import jax.numpy as jnp
    >>> moments, mean, root = update(no_moments(jnp.zeros(2)), jnp.array([3.0, -4.0]), 1)
    >>> (mean / root).round(3).tolist()  # the first step goes as far in every direction
    [1.0, -1.0]
    """
    zeros = jax.tree.map(lambda leaf: leaf.__array_namespace__().zeros_like(leaf), params)
    return Moments(zeros, zeros)


def update(moments: Moments, slope: Any, count: Any) -> tuple[Moments, Any, Any]:
    """Take in a slope; `count` is 1 for the first. Returns the moments, the unbiased mean and root mean square.

    The step is rate * mean / (root + something small): against the slope.
    """

    def root(square):
        return square.__array_namespace__().sqrt(square / (1 - _SQUARE[0] ** count))

    first = jax.tree.map(lambda m, g: _MEAN[0] * m + _MEAN[1] * g, moments.first, slope)
    second = jax.tree.map(lambda v, g: _SQUARE[0] * v + _SQUARE[1] * g**2, moments.second, slope)
    mean = jax.tree.map(lambda m: m / (1 - _MEAN[0] ** count), first)
    return Moments(first, second), mean, jax.tree.map(root, second)
